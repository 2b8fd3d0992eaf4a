import pytest

from boggers.train import clock
from boggers.train.clock import Clock


class FakeTime:
    def __init__(self) -> None:
        self.now = 100.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def time(monkeypatch: pytest.MonkeyPatch) -> FakeTime:
    fake = FakeTime()
    monkeypatch.setattr(clock, "time", fake)
    return fake


def test_seconds_continue_over_a_resume(time: FakeTime) -> None:
    watch = Clock(seconds=50.0, tokens=0)
    time.now += 7.0
    assert watch.seconds == 57.0


def test_the_speed_is_of_the_last_lap(time: FakeTime) -> None:
    watch = Clock(0.0, tokens=1000)
    assert watch.seconds_for(10) is None
    time.now += 2.0
    watch.lap(1400)
    assert watch.tokens_per_second == 200.0
    time.now += 1.0
    watch.lap(1500)
    assert watch.tokens_per_second == 100.0
    assert watch.seconds_for(500) == 5.0


def test_pauses_count_as_time_but_not_against_the_speed(time: FakeTime) -> None:
    watch = Clock(0.0, tokens=0)
    time.now += 1.0
    with watch.paused():
        time.now += 30.0
    time.now += 1.0
    watch.lap(20)
    assert watch.tokens_per_second == 10.0
    assert watch.seconds == 32.0
