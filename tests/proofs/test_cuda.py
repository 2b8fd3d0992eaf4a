"""What holds on a processor holds on a GPU: causality to the bit, rows apart, no waiting."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from boggers.field.scan import decayed_sum
from boggers.model.stream import StreamConfig, StreamModel
from boggers.recipes import stream_small
from boggers.train.optim import guarded_step, make_optimizer
from boggers.train.precision import Precision, products_in

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA here")

VOCAB, ROWS, LENGTH = 512, 4, 300
CUDA = torch.device("cuda")
BOTH = pytest.mark.parametrize("precision", ["fp32", "bf16"])


def lively() -> StreamModel:
    """A model of the recipe's shape in which every part speaks."""
    config = stream_small().model
    assert isinstance(config, StreamConfig)
    model = StreamModel(config, VOCAB, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for parameter in model.parameters():
            noise = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1))
            parameter += 0.05 * noise
    return model.to(CUDA).eval()


def text(rows: int = ROWS, length: int = LENGTH) -> Tensor:
    """A text that says its first half again."""
    half = torch.randint(VOCAB, (rows, length // 2), generator=torch.Generator().manual_seed(2))
    return torch.cat([half, half], dim=1).to(CUDA)


def logits_of(model: StreamModel, tokens: Tensor, precision: Precision) -> Tensor:
    with torch.no_grad(), products_in(precision, CUDA):
        logits: Tensor = model(tokens).logits
    return logits


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@BOTH
def test_the_same_text_gives_the_same_bits(precision: Precision) -> None:
    model = lively()
    assert torch.equal(logits_of(model, text(), precision), logits_of(model, text(), precision))


@BOTH
@pytest.mark.parametrize("hostile", [0, VOCAB - 1])
def test_a_changed_token_changes_no_bit_before_it(precision: Precision, hostile: int) -> None:
    model = lively()
    whole = logits_of(model, text(), precision)
    for place in (1, 2, 3, 17, 128, 255, 256, 257, LENGTH - 1):
        changed = text()
        changed[:, place:] = hostile
        after = logits_of(model, changed, precision)
        assert torch.equal(after[:, :place], whole[:, :place]), place
        assert not torch.equal(after[:, place:], whole[:, place:])


def test_a_row_does_not_feel_its_companions() -> None:
    model = lively()
    whole = logits_of(model, text(), "fp32")
    alone = torch.cat([logits_of(model, row[None], "fp32") for row in text()])
    assert (whole - alone).abs().max() <= 1e-5 * whole.abs().max()


@pytest.mark.parametrize("span", [1.0, 100.0, 10_000.0])
def test_the_scan_is_the_loop(span: float) -> None:
    length = 8192
    generator = torch.Generator().manual_seed(3)
    inputs = torch.randn(2, length, 16, generator=generator).to(CUDA)
    decay = torch.full_like(inputs, torch.tensor(-1 / span).exp().item())
    h = torch.zeros(2, 16, device=CUDA, dtype=torch.float64)
    looped = []
    for t in range(length):
        h = decay[:, t].double() * h + inputs[:, t].double()
        looped.append(h)
    expected = torch.stack(looped, dim=1)
    assert (decayed_sum(decay, inputs) - expected).norm() <= 1e-5 * expected.norm()


@BOTH
def test_training_never_waits_for_the_host(precision: Precision) -> None:
    model = lively().train()
    optim = stream_small().optim
    optimizer = make_optimizer(model, optim)
    tokens = text(8, 258)
    losses = []
    for step in range(12):
        with no_waiting() if step > 1 else nullcontext():
            with products_in(precision, CUDA):
                logits = model(tokens[:, :-1], generator=torch.Generator().manual_seed(step)).logits
            loss = F.cross_entropy(logits.flatten(0, 1).float(), tokens[:, 1:].flatten())
            optimizer.zero_grad()
            loss.backward()
            guarded_step(optimizer, loss, 1e-3, optim.grad_clip)
        losses.append(loss.detach())
    assert losses[-1] < losses[0]
