"""Runs as models of EleutherAI's lm-evaluation-harness, under the name boggers.

Imported only where lm_eval is (extra `eval`). The scores are computed here from logits, apart from
`evals.tokens`, so that each checks the other. The harness finds models that have been imported;
`python -m boggers.evals.harness` is its command line with this one among them.
"""

import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import lm_eval.models  # noqa: F401  registers the harness' own, which it does only if it is first
import torch
from lm_eval.__main__ import cli_evaluate
from lm_eval.api.instance import Instance
from lm_eval.api.model import TemplateLM
from lm_eval.api.registry import register_model
from lm_eval.evaluator import simple_evaluate
from lm_eval.tasks import TaskManager
from torch import Tensor
from tqdm import tqdm

from boggers.errors import UserError
from boggers.infer.decoder import window_contexts
from boggers.infer.engine import Engine
from boggers.infer.noise import breaking_noise
from boggers.infer.sampling import Sampling
from boggers.model.window import WindowModel
from boggers.train.run import choose_device

PIECE = 1024
"""Tokens of a stream that are read at once."""

ROWS = 256
"""Windows that settle together."""

LONGEST = 256
"""Tokens written where a task does not say how many."""


@register_model("boggers")
class BoggersLM(TemplateLM):  # type: ignore[misc]
    """A run that answers the harness: `--model boggers --model_args run=runs/demo`.

    A text begins behind the separator of the run's tokenizer, or id 0 where it has none. A window
    model sees its last W tokens; a stream sees everything before, however long.

    Args:
        run: the folder of the run.
        device: as in `boggers eval`.
        relax_steps: relaxation steps instead of the trained number.
        batch_size: not needed; any is accepted, none changes a result.

    Raises:
        UserError: no run was named, or it cannot be opened.
    """

    def __init__(
        self,
        run: str | None = None,
        device: str | None = None,
        relax_steps: int | None = None,
        batch_size: int | str | None = None,
        max_batch_size: int | None = None,
    ) -> None:
        super().__init__()
        if run is None:
            raise UserError("The model boggers needs a run: --model_args run=FOLDER.")
        del batch_size, max_batch_size  # rows never depend on one another
        place = choose_device(device or "auto")
        self.engine = Engine.load(run, place, relax_steps=relax_steps)
        self._device = place

    @classmethod
    def create_from_arg_obj(
        cls, arg_dict: dict[str, Any], additional_config: dict[str, Any] | None = None
    ) -> "BoggersLM":
        """The model of `--model_args`, which win over the harness' own options."""
        further = {name: value for name, value in (additional_config or {}).items() if value}
        return cls(**{**further, **arg_dict})

    @property
    def eot_token_id(self) -> int:
        """What a text begins behind."""
        return self.engine.tokenizer.separator_id or 0

    @property
    def tokenizer_name(self) -> str:
        """Tells the request caches of different tokenizers apart."""
        return self.engine.tokenizer.fingerprint

    def tok_encode(
        self, string: str, add_special_tokens: bool | None = None, **kwargs: Any
    ) -> list[int]:
        """The ids of a text; there are no special ones to add."""
        return self.engine.tokenizer.encode(string)

    def loglikelihood_rolling(
        self, requests: list[Instance], disable_tqdm: bool = False
    ) -> list[float]:
        """ln p of whole texts, every token once with all the context that the model can use."""
        found = []
        for request in tqdm(requests, disable=disable_tqdm, desc="rolling likelihood"):
            (text,) = request.args
            total, _ = self._continued([self.eot_token_id], self.tok_encode(text))
            found.append(total)
            self.cache_hook.add_partial("loglikelihood_rolling", (text,), total)
        return found

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = False) -> list[str]:
        """Greedy or sampled continuations, up to a stop text or the end of a document."""
        return [
            self._written(*request.args)
            for request in tqdm(requests, disable=disable_tqdm, desc="writing")
        ]

    def _loglikelihood_tokens(
        self,
        requests: list[tuple[tuple[str, str], list[int], list[int]]],
        disable_tqdm: bool = False,
        **kwargs: Any,
    ) -> list[tuple[float, bool]]:
        found = []
        for key, context, continuation in tqdm(requests, disable=disable_tqdm, desc="likelihood"):
            answer = self._continued(context or [self.eot_token_id], continuation)
            found.append(answer)
            self.cache_hook.add_partial("loglikelihood", key, answer)
        return found

    @torch.inference_mode()
    def _continued(self, context: Sequence[int], continuation: Sequence[int]) -> tuple[float, bool]:
        """ln p of a continuation after at least one id, and whether greedy writing gives it."""
        if not continuation:
            return 0.0, True
        total, greedy = 0.0, True
        ids = [*context, *continuation]
        first = len(context)
        for start, logits in self._logits(ids, first):
            place = "cpu" if logits.device.type == "mps" else logits.device
            log_p = logits.to(place).double().log_softmax(dim=-1)
            targets = torch.tensor(ids[start : start + len(log_p)], device=log_p.device)
            total += float(log_p.gather(1, targets[:, None]).sum())
            greedy = greedy and bool((log_p.argmax(dim=-1) == targets).all())
        return total, greedy

    def _logits(self, ids: list[int], first: int) -> Iterable[tuple[int, Tensor]]:
        """Logits of ids[first:], in pieces, each with the place that it begins at."""
        model, device = self.engine.model, self.engine.model.embedding.device
        if isinstance(model, WindowModel):
            window = model.config.window_size
            for start in range(first, len(ids), ROWS):
                stop = min(start + ROWS, len(ids))
                rows = [ids[max(0, place - window) : place] for place in range(start, stop)]
                contexts = window_contexts(model, rows)
                yield start, model(contexts, generator=breaking_noise(device)).logits
            return
        state = model.start(1)
        for start in range(0, len(ids) - 1, PIECE):
            piece = torch.tensor([ids[start : min(start + PIECE, len(ids) - 1)]], device=device)
            reading = model(piece, state=state, generator=breaking_noise(device))
            state = reading.state
            logits = reading.logits[0]
            # The logits at place t are of the id at t + 1.
            hidden = max(0, first - 1 - start)
            if hidden < len(logits):
                yield start + 1 + hidden, logits[hidden:]

    def _written(self, context: str, options: dict[str, Any]) -> str:
        stops = options.get("until") or []
        stops = [stops] if isinstance(stops, str) else list(stops)
        sampling = Sampling(
            temperature=float(options.get("temperature", 0.0) or 0.0)
            if options.get("do_sample", True)
            else 0.0,
            top_k=options.get("top_k") or None,
            top_p=options.get("top_p") or None,
            stop_at_separator=self.engine.tokenizer.separator_id is not None,
        )
        longest = int(options.get("max_gen_toks") or options.get("max_tokens") or LONGEST)
        text = ""
        seed = int(options.get("seed") or 42)
        for piece in self.engine.stream(context, max_tokens=longest, sampling=sampling, seed=seed):
            text += piece
            ends = [text.find(stop) for stop in stops if stop and stop in text]
            if ends:
                return text[: min(ends)]
        return text


def on_tasks(
    run: Path,
    tasks: Sequence[str],
    *,
    include: Path | None = None,
    limit: int | None = None,
    device: str = "cpu",
    relax_steps: int | None = None,
) -> dict[str, dict[str, Any]]:
    """The harness' figures of a run on tasks, by task and metric.

    Args:
        run: its folder.
        tasks: by name; `lm_eval ls tasks` lists them.
        include: folder of further task files.
        limit: look at the first so many documents of each only.

    Raises:
        UserError: there is no task of that name, or its data cannot be had.
    """
    manager = _manager(tasks, include)
    unknown = [task for task in tasks if task not in manager.all_tasks]
    if unknown:
        raise UserError(
            f"The harness has no task {unknown[0]!r}. `lm_eval ls tasks` lists its tasks; name a "
            "folder of your own with --include-path."
        )
    model = BoggersLM(str(run), device=device, relax_steps=relax_steps)
    try:
        found = simple_evaluate(
            model=model,
            tasks=list(tasks),
            task_manager=manager,
            limit=limit,
            log_samples=False,
            bootstrap_iters=1000,
        )
    except (OSError, ConnectionError, FileNotFoundError) as error:
        raise UserError(f"The data of a task cannot be had: {error}") from error
    return {
        task: {name: value for name, value in figures.items() if isinstance(value, float)}
        for task, figures in found["results"].items()
    }


def _manager(tasks: Sequence[str], include: Path | None) -> TaskManager:
    """Who knows the tasks; the harness' own thousands are read only if they are asked for."""
    if include is not None:
        own = TaskManager(include_path=str(include), include_defaults=False)
        if set(tasks) <= set(own.all_tasks):
            return own
    return TaskManager(include_path=None if include is None else str(include))


def main() -> int:
    """The harness' own command line; what a user can mend is told in a line, with exit code 2."""
    # Its default is a CUDA device, there or not.
    asked = {"--model", "-M"} & set(sys.argv)
    if asked and not any(word.startswith("--device") for word in sys.argv):
        sys.argv += ["--device", "auto"]
    try:
        cli_evaluate()
    except UserError as error:
        sys.stderr.write(f"boggers: {' '.join(str(error).split())}\n")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
