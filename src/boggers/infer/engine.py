"""A trained run, ready to write and to be watched."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.files import MANIFEST, read_json, verify_folder
from boggers.infer.noise import breaking_noise
from boggers.infer.sampling import Sampling, next_ids
from boggers.model.weights import load_model
from boggers.model.window import WindowModel
from boggers.text.base import Tokenizer
from boggers.text.store import load_tokenizer

CHECKPOINTS, TOKENIZER, STATE = "checkpoints", "tokenizer", "state.json"


class Engine:
    """A model in evaluation mode and the tokenizer it speaks.

    Args:
        model: the weights.
        tokenizer: of the same vocabulary.
    """

    def __init__(self, model: WindowModel, tokenizer: Tokenizer) -> None:
        if model.vocab_size != tokenizer.vocab_size:
            raise UserError(
                f"The model knows {model.vocab_size:,} tokens, the tokenizer "
                f"{tokenizer.vocab_size:,}. Use the tokenizer of the model's run."
            )
        self.model = model.eval()
        self.tokenizer = tokenizer

    @classmethod
    def load(
        cls, run_dir: Path | str, device: torch.device | str = "cpu", step: int | None = None
    ) -> "Engine":
        """Open the newest whole checkpoint of a run, or that of a given step.

        Raises:
            UserError: there is no such run or checkpoint, it is damaged, or its tokenizer is not
                the one it was trained with.
        """
        folder = Path(run_dir)
        checkpoint = find_checkpoint(folder, step)
        trained_with = read_json(checkpoint / STATE)["origin"]["tokenizer"]
        tokenizer = load_tokenizer(folder / TOKENIZER, trained_with)
        return cls(load_model(checkpoint, device), tokenizer)

    def generate(
        self, prompt: str, *, max_tokens: int, sampling: Sampling | None = None, seed: int = 42
    ) -> str:
        """The prompt and what follows it; the same seed writes the same."""
        pieces = self.stream(prompt, max_tokens=max_tokens, sampling=sampling, seed=seed)
        return prompt + "".join(pieces)

    def stream(
        self, prompt: str, *, max_tokens: int, sampling: Sampling | None = None, seed: int = 42
    ) -> Iterator[str]:
        """What follows the prompt, a piece of text at a time."""
        ids = self._start(prompt)
        prefix = len(self.tokenizer.decode(ids))
        generators = [torch.Generator().manual_seed(seed)]
        sampling = sampling or Sampling()
        for _ in range(max_tokens):
            token = self._next([ids], sampling, generators)[0]
            if sampling.stop_at_separator and token == self.tokenizer.separator_id:
                break
            ids.append(token)
            text = self.tokenizer.decode(ids)
            # A character may be spread over several tokens: wait until it is whole.
            if not text.endswith("\ufffd"):
                yield text[prefix:]
                prefix = len(text)
        rest = self.tokenizer.decode(ids)[prefix:]
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
        for _ in range(max_tokens):
            if not going:
                break
            drawn = self._next([rows[i] for i in going], sampling, [generators[i] for i in going])
            if sampling.stop_at_separator:
                pairs = list(zip(going, drawn, strict=True))
                pairs = [(i, token) for i, token in pairs if token != self.tokenizer.separator_id]
                going, drawn = [i for i, _ in pairs], [token for _, token in pairs]
            for i, token in zip(going, drawn, strict=True):
                rows[i].append(token)
        return rows

    def trace(self, prompt: str, *, steps: int | None = None) -> Relaxation:
        """How the window at the end of the prompt settles, with its curves and its path."""
        with torch.inference_mode():
            contexts = self._contexts([self._start(prompt)])
            noise = breaking_noise(contexts.device)
            return self.model.settle(contexts, steps=steps, generator=noise, keep_path=True)

    def _start(self, prompt: str) -> list[int]:
        """The prompt's ids; an empty prompt is the separator, or id 0 without one."""
        return self.tokenizer.encode(prompt) or [self.tokenizer.separator_id or 0]

    def _next(
        self,
        rows: Sequence[Sequence[int]],
        sampling: Sampling,
        generators: Sequence[torch.Generator],
    ) -> list[int]:
        with torch.inference_mode():
            contexts = self._contexts(rows)
            logits = self.model(contexts, generator=breaking_noise(contexts.device)).logits
        return next_ids(logits, rows, sampling, generators)

    def _contexts(self, rows: Sequence[Sequence[int]]) -> torch.Tensor:
        """The last W ids of every row; shorter rows repeat their first id to the left."""
        window = self.model.config.window_size
        padded = [[row[0]] * (window - len(row)) + list(row[-window:]) for row in rows]
        return torch.tensor(padded, device=self.model.embedding.device)


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
