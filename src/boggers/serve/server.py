"""Runs the application: a socket, signals, an orderly end."""

import logging
import signal
import socket
import threading
import time
from collections.abc import Callable
from types import FrameType

import uvicorn

from boggers.errors import UserError
from boggers.serve.app import create_app
from boggers.serve.house import House

log = logging.getLogger(__name__)

BACKLOG = 1024


def bind(host: str, port: int) -> socket.socket:
    """A listening socket.

    Raises:
        UserError: the address cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        bound = socket.socket(family, socket.SOCK_STREAM)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(
            f"{host}:{port} cannot be listened on: {error}. Choose another --host or --port."
        ) from error
    bound.listen(BACKLOG)
    return bound


def make_server(house: House) -> uvicorn.Server:
    """An HTTP server for a house, not running yet."""
    config = uvicorn.Config(
        create_app(house),
        log_config=None,
        access_log=False,
        backlog=BACKLOG,
        lifespan="on",
        server_header=False,
        timeout_graceful_shutdown=max(1, round(house.settings.drain_seconds)),
    )
    return uvicorn.Server(config)


def run_server(
    house: House,
    bound: socket.socket,
    *,
    reload_seconds: float | None = None,
    started: Callable[[], None] | None = None,
) -> None:
    """Serve until SIGTERM or SIGINT; then finish what has begun, and return.

    SIGHUP opens the newest checkpoint of the run.

    Args:
        house: what is served.
        bound: a listening socket.
        reload_seconds: also look for a newer checkpoint this often.
        started: called once the server answers with its model.

    Raises:
        UserError: the model cannot be opened.
    """
    server = make_server(house)
    over = threading.Event()

    def again(_: int, __: FrameType | None) -> None:
        threading.Thread(target=_reload, args=(house,), daemon=True).start()

    # After an orderly end uvicorn raises the signal again, for these handlers: nothing is left
    # to be done then.
    before = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: None),
        signal.SIGINT: signal.signal(signal.SIGINT, lambda *_: None),
        signal.SIGHUP: signal.signal(signal.SIGHUP, again),
    }
    watcher = threading.Thread(
        target=_watch, args=(house, server, over, reload_seconds, started), daemon=True
    )
    watcher.start()
    try:
        server.run(sockets=[bound])
    finally:
        over.set()
        watcher.join()
        for number, handler in before.items():
            signal.signal(number, handler)
    if house.failure is not None:
        raise UserError(house.failure)


def _watch(
    house: House,
    server: uvicorn.Server,
    over: threading.Event,
    reload_seconds: float | None,
    started: Callable[[], None] | None,
) -> None:
    """Say when the model is there, end the server if it never will be, reload now and then."""
    while house.loaded is None and house.failure is None and not over.wait(0.05):
        pass
    if house.failure is not None:
        server.should_exit = True
        return
    while not server.started and not over.wait(0.05):
        pass
    if started is not None and not over.is_set():
        started()
    looked = time.monotonic()
    while not over.wait(0.2):
        if house.engine.broken:
            house.failure = "The engine has stopped; the log says why."
            server.should_exit = True
            return
        if reload_seconds is not None and time.monotonic() - looked >= reload_seconds:
            _reload(house)
            looked = time.monotonic()


def _reload(house: House) -> None:
    """Open the newest checkpoint; if that fails, what was served before still is."""
    try:
        house.load()
    except UserError as error:
        log.warning("the newest checkpoint cannot be opened: %s", error)
