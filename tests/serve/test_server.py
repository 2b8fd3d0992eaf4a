"""A server ends as it was told, or says what ended it."""

import os
import signal
import time
from typing import Any

import pytest

from boggers.errors import UserError
from boggers.serve.house import House, Settings
from boggers.serve.limits import Limits
from boggers.serve.server import bind, run_server

from .conftest import stream_mind


@pytest.fixture
def house() -> House:
    return House(stream_mind, Settings(Limits()))


def terminated() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def test_an_end_that_takes_its_time_is_no_failure(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    close = house.engine.close

    def slowly() -> None:
        close()
        time.sleep(1)  # whoever watches the engine looks five times a second

    monkeypatch.setattr(house.engine, "close", slowly)
    run_server(house, bind("127.0.0.1", 0), started=terminated)
    assert house.failure is None
    assert not house.engine.alive
    assert not house.engine.broken


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_defect_of_the_engine_ends_the_server(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(*_: Any) -> None:
        raise AssertionError("a defect")

    def begun() -> None:
        monkeypatch.setattr(house.engine._turns, "sweep", defect)
        house.engine.retire("nothing")  # wakes it

    with pytest.raises(UserError, match="engine has stopped"):
        run_server(house, bind("127.0.0.1", 0), started=begun)
    assert house.engine.broken
