import os
import signal
import threading
from collections.abc import Iterator

import pytest

from boggers.train.interruption import Interruption


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_only_asks(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with Interruption() as interruption:
        assert not interruption.requested
        os.kill(os.getpid(), number)
        assert interruption.requested
    assert signal.getsignal(number) is before


@pytest.fixture
def usual() -> Iterator[None]:
    """Python's own handler, which a shell takes away from what it starts in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("usual")
def test_the_second_one_acts_as_usual() -> None:
    with Interruption() as interruption:
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_attempt_is_given_up(number: signal.Signals) -> None:
    finished: list[bool] = []

    def work() -> bool:
        os.kill(os.getpid(), number)
        finished.append(True)
        return True

    with Interruption() as interruption:
        assert interruption.attempt(lambda: 3) == 3
        assert interruption.attempt(work) is None
        assert interruption.number == number
        assert interruption.attempt(lambda: 3) is None
    assert not finished


def test_outside_the_main_thread_it_does_nothing() -> None:
    asked: list[bool] = []

    def use() -> None:
        with Interruption() as interruption:
            asked.append(interruption.requested)

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert asked == [False]
