import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boggers.data.split import split
from boggers.errors import UserError

PARTS = st.tuples(
    st.integers(1, 3000), st.floats(0.0, 1.0, exclude_max=True), st.integers(1, 40)
).filter(lambda given: given[0] > given[2])


@pytest.mark.parametrize(
    ("n", "fraction", "train", "held_out"),
    [
        (20, 0.05, 7, 7),  # the least that can be split: both sides keep one window
        (19, 0.05, 19, 0),
        (100, 0.05, 37, 57),  # cut once more to reach 50 windows; ⌊100 (1 − 0.56)⌋ is 43
        (1000, 0.05, 938, 56),
        (10_000, 0.05, 9494, 500),
        (1000, 0.0, 1000, 0),
    ],
)
def test_known_cuts_at_six_tokens(n: int, fraction: float, train: int, held_out: int) -> None:
    found = split(n, fraction, 6)
    assert (len(found.train), len(found.held_out)) == (train, held_out)
    assert found.effective == held_out / n
    assert found.requested == fraction


@given(PARTS)
def test_training_a_gap_of_one_window_and_the_rest(given: tuple[int, float, int]) -> None:
    n, fraction, window = given
    found = split(n, fraction, window)
    assert found.train.start == 0
    assert found.held_out.stop == n
    if len(found.held_out) == 0:
        assert len(found.train) == n
        assert fraction == 0.0 or n < 3 * window + 2
        assert not found.reliable
    else:
        assert found.held_out.start - found.train.stop == window
        assert found.train_windows >= 1
        assert found.held_out_windows >= 1
        assert found.reliable == (found.held_out_windows >= 50)


@given(PARTS)
def test_the_share_is_the_one_asked_for_where_the_text_is_long(
    given: tuple[int, float, int],
) -> None:
    n, fraction, window = given
    found = split(n, fraction, window)
    plain = math.floor(n * (1.0 - fraction))
    is_free = 2 * window + 1 <= plain <= n - window - 1 and n - plain - window >= 50
    if is_free and fraction > 0.0:
        assert found.held_out.start == plain
    if found.reliable:
        assert len(found.held_out) >= 50 + window


@pytest.mark.parametrize("fraction", [-0.01, 1.0, 1.5, math.nan])
def test_a_share_out_of_range_is_refused(fraction: float) -> None:
    with pytest.raises(UserError, match="--val-fraction"):
        split(1000, fraction, 6)


def test_a_text_without_a_window_is_refused() -> None:
    with pytest.raises(UserError, match=r"at least 7 tokens; the text has 3\. Use a longer"):
        split(3, 0.05, 6)
    assert len(split(7, 0.05, 6).train) == 7


def test_the_report_counts_everything() -> None:
    assert split(1000, 0.05, 6).report() == [
        "total_tokens=1000",
        "train_tokens=938",
        "val_tokens=56",
        "train_windows=932",
        "val_windows=50",
        "final val_fraction=0.056 (requested --val-fraction=0.05)",
        "window_size=6 (train/val gap=6 tokens, no window is in both)",
    ]


def test_the_report_warns_of_a_measurement_that_means_little() -> None:
    assert any(
        "WARNING: validation unreliable: 1 held-out" in x for x in split(20, 0.1, 6).report()
    )
    assert not any("WARNING" in line for line in split(1000, 0.0, 6).report())
    assert any("validation is off" in line for line in split(1000, 0.0, 6).report())
    assert any("which takes 20" in line for line in split(19, 0.1, 6).report())
