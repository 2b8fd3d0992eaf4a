"""Imported where a Python starts that boggers was introduced to: waits for lm_eval, adds a model.

`introduce.py` says why. Nothing else is loaded here, and a Python that never imports lm_eval
notices nothing.
"""

import importlib.util
import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

MODELS = "lm_eval.models"
NAME, TARGET = "boggers", "boggers.evals.harness:BoggersLM"


class Introduction(MetaPathFinder):
    """Adds a model to those of lm_eval once they have been listed."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name != MODELS:
            return None
        sys.meta_path.remove(self)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            listing = spec.loader.exec_module

            def listing_one_more(module: ModuleType) -> None:
                listing(module)
                from lm_eval.api.registry import model_registry

                model_registry.register(NAME, target=TARGET)

            spec.loader.exec_module = listing_one_more  # type: ignore[method-assign]
        return spec


sys.meta_path.insert(0, Introduction())
