"""A trained run, ready to write and to be watched."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.files import MANIFEST, read_json, verify_folder
from boggers.infer.decoder import decoder_for, window_contexts
from boggers.infer.noise import breaking_noise
from boggers.infer.sampling import Sampling, next_ids
from boggers.model.architectures import Model, settle_otherwise
from boggers.model.stream import StreamModel, StreamReading
from boggers.model.weights import load_model
from boggers.model.window import WindowModel
from boggers.text.base import Tokenizer
from boggers.text.store import load_tokenizer

if TYPE_CHECKING:
    from boggers.infer.pulse import Pulse

CHECKPOINTS, TOKENIZER, STATE = "checkpoints", "tokenizer", "state.json"


class Engine:
    """A model in evaluation mode and the tokenizer it speaks.

    Args:
        model: the weights.
        tokenizer: of the same vocabulary.
    """

    def __init__(self, model: Model, tokenizer: Tokenizer) -> None:
        if model.vocab_size != tokenizer.vocab_size:
            raise UserError(
                f"The model knows {model.vocab_size:,} tokens, the tokenizer "
                f"{tokenizer.vocab_size:,}. Use the tokenizer of the model's run."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def load(
        cls,
        run_dir: Path | str,
        device: torch.device | str = "cpu",
        step: int | None = None,
        *,
        relax_steps: int | None = None,
        relax_tolerance: float | None = None,
    ) -> "Engine":
        """Open the newest whole checkpoint of a run, or that of a given step.

        Args:
            run_dir: the run.
            device: where to compute.
            step: the step of the checkpoint.
            relax_steps: relaxation steps instead of the trained number.
            relax_tolerance: let what moves less than this rest; see `settle_otherwise`.

        Raises:
            UserError: there is no such run or checkpoint, it is damaged, or its tokenizer is not
                the one it was trained with; or it cannot settle as asked.
        """
        folder = Path(run_dir)
        checkpoint = find_checkpoint(folder, step)
        trained_with = read_json(checkpoint / STATE)["origin"]["tokenizer"]
        tokenizer = load_tokenizer(folder / TOKENIZER, trained_with)
        model = load_model(checkpoint, device)
        settle_otherwise(model, relax_steps, relax_tolerance)
        return cls(model, tokenizer)

    def generate(
        self, prompt: str, *, max_tokens: int, sampling: Sampling | None = None, seed: int = 42
    ) -> str:
        """The prompt and what follows it; the same seed writes the same."""
        pieces = self.stream(prompt, max_tokens=max_tokens, sampling=sampling, seed=seed)
        return prompt + "".join(pieces)

    def stream(
        self,
        prompt: str,
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        seed: int = 42,
        pulse: "Pulse | None" = None,
    ) -> Iterator[str]:
        """What follows the prompt, a piece of text at a time; with a pulse, beside a graph."""
        ids = self._start(prompt)
        # Only the latest ids are decoded, so that a piece costs the same wherever it stands.
        base = max(0, len(ids) - 1)
        prefix = len(self.tokenizer.decode(ids[base:]))
        generators = [torch.Generator().manual_seed(seed)]
        sampling = sampling or Sampling()
        decoder = decoder_for(self.model)
        for written in range(max_tokens):
            with torch.inference_mode():
                logits = decoder.follow([ids]) if pulse is None else pulse.follow(ids)
            now = sampling if pulse is None else pulse.sampling(sampling)
            token = next_ids(logits, [ids], now, generators, [written])[0]
            if sampling.stop_at_separator and token == self.tokenizer.separator_id:
                break
            ids.append(token)
            text = self.tokenizer.decode(ids[base:])
            # A character may be spread over several tokens: wait until it is whole.
            if not text.endswith("\ufffd"):
                yield text[prefix:]
                base = len(ids) - 1
                prefix = len(self.tokenizer.decode(ids[base:]))
        rest = self.tokenizer.decode(ids[base:])[prefix:]
        if rest:
            yield rest

    def generate_ids(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        max_tokens: int,
        sampling: Sampling | None = None,
        seeds: Sequence[int],
    ) -> list[list[int]]:
        """Continue several sequences of ids together; each comes out as it would alone.

        Every row settles by itself and draws from its own generator, so its companions change
        nothing beyond the rounding of the matrix products.

        Args:
            prompts: ids of every row; an empty one starts at a document's beginning.
            max_tokens: ids to add to a row; fewer where sampling stops at separators, which are
                then not part of the row.
            sampling: how to draw.
            seeds: one for every row.

        Raises:
            UserError: not one seed for every row.
        """
        if len(seeds) != len(prompts):
            raise UserError(
                f"Every prompt needs one seed: {len(prompts)} prompts and {len(seeds)} seeds came."
            )
        rows = [list(prompt) or self._start("") for prompt in prompts]
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        sampling = sampling or Sampling()
        going = list(range(len(rows)))
        decoder = decoder_for(self.model)
        for written in range(max_tokens):
            if not going:
                break
            texts = [rows[i] for i in going]
            with torch.inference_mode():
                logits = decoder.follow(texts)
            own = [written] * len(going)
            drawn = next_ids(logits, texts, sampling, [generators[i] for i in going], own)
            ended = self.tokenizer.separator_id if sampling.stop_at_separator else None
            kept = [place for place, token in enumerate(drawn) if token != ended]
            for place in kept:
                rows[going[place]].append(drawn[place])
            if len(kept) < len(going):
                decoder.keep(kept)
                going = [going[place] for place in kept]
        return rows

    def trace(self, prompt: str, *, steps: int | None = None) -> Relaxation:
        """How the window at the end of the prompt settles, with its curves and its path.

        Raises:
            UserError: the model is no window model.
        """
        if not isinstance(self.model, WindowModel):
            raise UserError("Only a window model settles a window; a stream's positions: follow.")
        with torch.inference_mode():
            contexts = window_contexts(self.model, [self._start(prompt)])
            noise = breaking_noise(contexts.device)
            return self.model.settle(contexts, steps=steps, generator=noise, keep_path=True)

    def follow(self, prompt: str, *, steps: int | None = None) -> StreamReading:
        """How every position of the prompt settles in every stage, with its energies and paths.

        Raises:
            UserError: the model is no stream model.
        """
        if not isinstance(self.model, StreamModel):
            raise UserError("Only a stream model settles every position; a window's: trace.")
        with torch.inference_mode():
            tokens = torch.tensor([self._start(prompt)], device=self.model.embedding.device)
            noise = breaking_noise(tokens.device)
            reading: StreamReading = self.model(
                tokens, steps=steps, generator=noise, keep_energy=True, keep_path=True
            )
            return reading

    def _start(self, prompt: str) -> list[int]:
        """The prompt's ids; an empty prompt is the separator, or id 0 without one."""
        return self.tokenizer.encode(prompt) or [self.tokenizer.separator_id or 0]


def load(
    run_dir: Path | str, device: torch.device | str = "cpu", step: int | None = None
) -> Engine:
    """Open a run; see `Engine.load`."""
    return Engine.load(run_dir, device, step)


def find_checkpoint(run_dir: Path, step: int | None = None) -> Path:
    """The newest whole checkpoint of a run, or that of a given step, verified.

    Raises:
        UserError: there is none.
    """
    if not run_dir.is_dir():
        raise UserError(f"{run_dir} is no run: there is no such folder.")
    folder = run_dir / CHECKPOINTS
    found = {_step(path): path for path in folder.glob("step-*") if (path / MANIFEST).is_file()}
    whole = [found[at] for at in sorted(found, reverse=True) if at >= 0 and step in (None, at)]
    if not whole:
        which = "checkpoint" if step is None else f"checkpoint of step {step}"
        raise UserError(f"{run_dir} holds no whole {which}. Train it with boggers train.")
    verify_folder(whole[0])
    return whole[0]


def _step(checkpoint: Path) -> int:
    """The step in a checkpoint's name; -1 for a folder that only looks like one."""
    number = checkpoint.name.removeprefix("step-")
    return int(number) if number.isdecimal() else -1
