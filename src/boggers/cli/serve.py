"""`boggers serve`: a trained run behind OpenAI's interface."""

import importlib.util
import logging
import os
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from boggers.cli.parse import parse
from boggers.errors import UserError
from boggers.infer.engine import find_checkpoint
from boggers.serve.limits import Limits
from boggers.train.run import choose_device

if TYPE_CHECKING:
    from boggers.graph.service import GraphService

KEY_VARIABLE = "BOGGERS_API_KEY"
LOOPBACK = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """What `boggers serve` takes."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The folder of the run."""

    host: str = "127.0.0.1"
    """Address to listen on; 0.0.0.0 lets other machines in."""

    port: int = 8000
    """Port to listen on; 0 takes any that is free."""

    api_key: tuple[str, ...] = ()
    """Keys, one of which every request must bring; better in the environment, BOGGERS_API_KEY,
    where other users of the machine cannot read it."""

    cors_origin: tuple[str, ...] = ()
    """Origins whose web pages may ask, such as https://example.org."""

    name: str | None = None
    """What requests call the model; None = the folder's name."""

    step: int | None = None
    """Serve the checkpoint of this step instead of the newest."""

    reload_seconds: float | None = None
    """Look this often for a newer checkpoint and serve it; SIGHUP does so at once."""

    drain_seconds: float = 30.0
    """How long unfinished requests may go on after SIGTERM."""

    threads: int | None = None
    """Threads for the numbers; None = as many as torch chooses."""

    graph: Path | None = None
    """Attach the living graph of this database, or of a run's folder: /ts/… answer for it, it feels
    the model's tension, and what it becomes is kept. A new database begins with four nodes."""

    device: str = "auto"
    """auto (CUDA if there is one, else the processor), cpu, cuda, cuda:1, mps."""

    log_level: str = "info"
    """How much is logged: debug, info, warning, error."""

    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        if not 0 <= self.port <= 65_535:
            raise UserError(f"--port must be from 0 to 65535; it is {self.port}.")
        if self.log_level not in ("debug", "info", "warning", "error"):
            raise UserError(
                f"--log-level must be debug, info, warning or error; it is {self.log_level!r}."
            )
        if self.reload_seconds is not None and not self.reload_seconds > 0:
            raise UserError(f"--reload-seconds must be above 0; it is {self.reload_seconds}.")
        if not self.drain_seconds > 0:
            raise UserError(f"--drain-seconds must be above 0; it is {self.drain_seconds}.")
        if self.threads is not None and self.threads < 1:
            raise UserError(f"--threads must be at least 1; it is {self.threads}.")


def run(argv: list[str]) -> None:
    """Serve until told to stop."""
    options = parse(
        ServeOptions,
        argv,
        verb="serve",
        description="Serve a trained run behind OpenAI's interface, with a page that shows it "
        "settle.",
    )
    require_extra()
    # What cannot work is said before the port is taken.
    find_checkpoint(options.run, options.step)
    device = choose_device(options.device)
    _listen(options, device=str(device))


def require_extra() -> None:
    """Say how to install what serving needs, if it is missing.

    Raises:
        UserError: it is.
    """
    modules = ("fastapi", "uvicorn", "sse_starlette", "prometheus_client")
    if missing := [name for name in modules if importlib.util.find_spec(name) is None]:
        raise UserError(
            f"boggers serve needs {', '.join(missing)}. Install it with: "
            "pip install 'boggers[serve]'"
        )


def _attached(path: Path) -> "GraphService":
    """The graph behind /ts/…"""
    if importlib.util.find_spec("scipy") is None:
        raise UserError("--graph needs scipy. Install it with: pip install 'boggers[graph]'")
    from boggers.cli.graph import DATABASE
    from boggers.graph.service import GraphService

    if path.is_dir():
        path = path / DATABASE
    if not path.parent.is_dir():
        raise UserError(f"--graph {path}: there is no folder {path.parent} to keep a graph in.")
    return GraphService.open(path)


def _listen(options: ServeOptions, device: str) -> None:
    import dataclasses

    import torch

    from boggers.serve.house import House, Settings
    from boggers.serve.mind import Mind, load_mind
    from boggers.serve.server import bind, run_server

    if options.threads is not None:
        torch.set_num_threads(options.threads)
    logging.basicConfig(
        level=options.log_level.upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    from_environment = os.environ.get(KEY_VARIABLE, "").split()
    keys = tuple(key for key in (*options.api_key, *from_environment) if key)

    def open_mind() -> Mind:
        mind = load_mind(options.run, device, options.step)
        return mind if options.name is None else dataclasses.replace(mind, name=options.name)

    bound = bind(options.host, options.port)
    settings = Settings(options.limits, keys, options.cors_origin, options.drain_seconds)
    graph = None if options.graph is None else _attached(options.graph)
    house = House(open_mind, settings, graph)
    host, port = bound.getsockname()[:2]
    shown = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
    if host not in LOOPBACK and not keys:
        print(
            f"boggers: everybody who can reach {shown} may use it; --api-key asks for a key.",
            file=sys.stderr,
        )

    def started() -> None:
        mind = house.mind
        print(f"{mind.name} ({mind.checkpoint}) at {shown} · the observatory: {shown}/", flush=True)

    try:
        run_server(house, bound, reload_seconds=options.reload_seconds, started=started)
    finally:
        if graph is not None:
            graph.close()
    print("Stopped; nothing was cut off.", flush=True)
