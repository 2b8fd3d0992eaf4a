"""A language model that thinks by settling.

    import boggers
    engine = boggers.load("runs/demo")
    print(engine.generate("My fellow citizens", max_tokens=60, seed=1))

The names below are the front door. Each is imported when it is first used, so that
`import boggers` itself is light. Everything else is imported from the room that holds it; the
rooms, from the ground up, are text, data, field, dynamics, model, infer, probe, train, evals, plots
and cli. Read `boggers.dynamics.relax` first: it is the heart, and it fits on a screen.
"""

import importlib
from typing import TYPE_CHECKING, Any

from boggers.errors import UserError as UserError
from boggers.version import __version__ as __version__

if TYPE_CHECKING:
    from boggers.evals.report import evaluate as evaluate
    from boggers.infer.engine import Engine as Engine
    from boggers.infer.engine import load as load
    from boggers.infer.sampling import Sampling as Sampling
    from boggers.model.stream import StreamConfig as StreamConfig
    from boggers.model.stream import StreamModel as StreamModel
    from boggers.model.stream import StreamState as StreamState
    from boggers.model.token import TokenConfig as TokenConfig
    from boggers.model.token import TokenModel as TokenModel
    from boggers.model.window import WindowConfig as WindowConfig
    from boggers.model.window import WindowModel as WindowModel
    from boggers.recipes import RECIPES as RECIPES
    from boggers.train.run import RunConfig as RunConfig

_HOMES = {
    "Engine": "boggers.infer.engine",
    "RECIPES": "boggers.recipes",
    "RunConfig": "boggers.train.run",
    "Sampling": "boggers.infer.sampling",
    "StreamConfig": "boggers.model.stream",
    "StreamModel": "boggers.model.stream",
    "StreamState": "boggers.model.stream",
    "TokenConfig": "boggers.model.token",
    "TokenModel": "boggers.model.token",
    "WindowConfig": "boggers.model.window",
    "WindowModel": "boggers.model.window",
    "evaluate": "boggers.evals.report",
    "load": "boggers.infer.engine",
}
"""Where each name of the front door lives."""

__all__ = ["UserError", "__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'boggers' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
