import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from boggers.data.windows import Windows
from boggers.errors import UserError


def starts(windows: Windows, epoch: int, size: int, rank: int = 0, world: int = 1) -> list[int]:
    """Where the windows of an epoch begin, for ids that are their own positions.

    Of several readers each takes every batch's rows from its own share of them.
    """
    own = slice(size * rank // world, size * (rank + 1) // world)
    return [
        int(start)
        for index in range(windows.batches(size))
        for start in windows.batch(1, epoch, index, size, own).contexts[:, 0]
    ]


def test_a_window_is_w_tokens_and_the_next() -> None:
    ids = (np.arange(1000) * 7 % 65_536).astype(np.uint16)
    batch = Windows(ids, 100, 900, 8).batch(1, 0, 3, 32)
    assert batch.contexts.shape == (32, 8)
    assert batch.targets.shape == (32,)
    assert batch.contexts.dtype == batch.targets.dtype == torch.int64
    spans = torch.cat([batch.contexts, batch.targets[:, None]], dim=1)
    assert torch.equal(spans - spans[:, :1], torch.arange(9).expand(32, 9) * 7)
    assert spans.min() >= 700
    assert spans.max() < 6300


@settings(deadline=None)
@given(
    st.integers(2, 200),
    st.integers(1, 20),
    st.integers(1, 70),
    st.integers(1, 5),
    st.integers(0, 9),
)
def test_an_epoch_has_every_window_once(
    length: int, window: int, size: int, world: int, epoch: int
) -> None:
    if length <= window:
        return
    windows = Windows(np.arange(length + 20, dtype=np.uint16), 10, 10 + length, window)
    shares = [starts(windows, epoch, size, rank, world) for rank in range(world)]
    assert sorted(start for share in shares for start in share) == list(
        range(10, 10 + length - window)
    )


def test_any_batch_is_found_at_once() -> None:
    windows = Windows(np.arange(300, dtype=np.uint16), 0, 300, 4)
    first = windows.batch(5, 2, 3, 64)
    again = Windows(np.arange(300, dtype=np.uint16), 0, 300, 4).batch(5, 2, 3, 64)
    assert torch.equal(first.contexts, again.contexts)
    assert not torch.equal(first.contexts, windows.batch(5, 3, 3, 64).contexts)
    assert not torch.equal(first.contexts, windows.batch(6, 2, 3, 64).contexts)
    assert len(windows.batch(5, 2, 4, 64).targets) == 296 - 4 * 64
    order = windows.order(5, 2)(np.arange(3 * 64, 4 * 64))
    assert first.contexts[:, 0].tolist() == order.tolist()


def test_the_order_does_not_depend_on_the_batch_size() -> None:
    windows = Windows(np.arange(100, dtype=np.uint16), 0, 100, 4)
    assert starts(windows, 0, 7) == starts(windows, 0, 50)


def test_a_batch_that_an_epoch_does_not_have() -> None:
    windows = Windows(np.arange(100, dtype=np.uint16), 0, 100, 4)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            windows.batch(1, 0, index, 64)


def test_too_few_tokens_are_refused() -> None:
    with pytest.raises(UserError, match="at least 9 training tokens; there are 8"):
        Windows(np.arange(8), 0, 8, 8)
