"""A trained run as the server holds it: the model, its tokenizer, and which checkpoint it is."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from boggers.errors import UserError
from boggers.files import MANIFEST, checksum, read_json
from boggers.infer.engine import STATE, Engine, find_checkpoint
from boggers.model.architectures import Architecture, Model, architecture_of
from boggers.model.token import TokenModel
from boggers.model.window import WindowModel
from boggers.text.base import Tokenizer


@dataclass(frozen=True, eq=False)
class Mind:
    """One checkpoint of a run, ready to write.

    Attributes:
        name: what requests call the model.
        engine: weights and tokenizer.
        checkpoint: the folder's name; fingerprint: 16 hexadecimal digits of what is in it.
        step, tokens: how long it was trained.
        created: when the checkpoint was written, seconds since 1970.
    """

    name: str
    engine: Engine
    checkpoint: str
    fingerprint: str
    step: int
    tokens: int
    created: int

    @property
    def model(self) -> Model:
        """The weights."""
        return self.engine.model

    @property
    def tokenizer(self) -> Tokenizer:
        """What speaks the ids."""
        return self.engine.tokenizer

    @property
    def architecture(self) -> Architecture:
        """window or stream."""
        return architecture_of(self.model.config)

    @property
    def trained_length(self) -> int:
        """Tokens of a training sequence; of a window, all that it ever sees."""
        model = self.model
        if isinstance(model, WindowModel):
            return model.config.window_size
        return model.config.sequence_length

    def describe(self) -> dict[str, Any]:
        """What is worth knowing of it, as a JSON object."""
        counts = self.model.parameter_counts()
        config = self.model.config
        return {
            "architecture": self.architecture,
            "checkpoint": self.checkpoint,
            "fingerprint": self.fingerprint,
            "n_vocab": self.model.vocab_size,
            "n_ctx_train": self.trained_length,
            "n_embd": config.state_dim,
            "n_params": counts.total,
            "n_params_embedding": counts.embedding,
            "relax_steps": config.num_dynamics_steps,
            "tokenizer": self.tokenizer.kind,
            "lossy": self.tokenizer.lossy,
            "trained_steps": self.step,
            "trained_tokens": self.tokens,
        }


def load_mind(run: Path, device: torch.device | str = "cpu", step: int | None = None) -> Mind:
    """Open the newest whole checkpoint of a run, or that of a step.

    Raises:
        UserError: there is none, it is damaged, it has not been trained at all, or it is of an
            architecture that is not served.
    """
    checkpoint = find_checkpoint(run, step)
    progress = read_json(checkpoint / STATE).get("progress", {})
    taken = int(progress.get("step", 0))
    if taken < 1:
        raise UserError(
            f"{checkpoint} has not been trained: it stands at step 0. A server needs a trained "
            "model; train it with boggers train."
        )
    manifest = checkpoint / MANIFEST
    engine = Engine.load(run, device, int(checkpoint.name.removeprefix("step-")))
    if isinstance(engine.model, TokenModel):
        raise UserError(
            f"{run} is of the architecture token, and a server writes with windows and streams. "
            "Write with it by boggers generate."
        )
    return Mind(
        name=run.resolve().name,
        engine=engine,
        checkpoint=checkpoint.name,
        fingerprint=checksum(manifest)[:16],
        step=taken,
        tokens=int(progress.get("tokens", 0)),
        created=int(manifest.stat().st_mtime),
    )
