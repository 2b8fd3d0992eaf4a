"""The same eight beginnings, continued after every epoch, to hear how a run learns to speak."""

from contextlib import nullcontext

from boggers.files import write_text
from boggers.infer.engine import Engine
from boggers.infer.sampling import Sampling
from boggers.train.observers import EpochEvent, EvalEvent, FitResult, StepEvent
from boggers.train.prepare import Prepared

PROMPTS = (
    "Long ago a small machine wished that it could",
    "The astronomer wrote down the strange sound and",
    "Behind the last house, where the hills begin, a girl",
    "The cat would not come down from the roof because",
    "The inspector lit his lamp, looked around and saw",
    "Why do we forget what we have dreamed?",
    "If the sea rose over the walls tonight, the first to know",
    "My sister and I could not agree whether a clock can think, for",
)
SEED = 1


class EpochPrompts:
    """Writes samples/epoch-N.txt: each prompt, a rule, and how the run goes on.

    Args:
        prepared: the run; its averaged weights speak, if it keeps an average.
        tokens: how many are written for each prompt.
    """

    def __init__(self, prepared: Prepared, tokens: int) -> None:
        self.prepared, self.tokens = prepared, tokens

    def on_step(self, event: StepEvent) -> None:
        """Nothing is said between epochs."""

    def on_eval(self, event: EvalEvent) -> None:
        """Nothing is said of measurements."""

    def on_epoch(self, event: EpochEvent) -> None:
        """Continue all prompts together and keep the texts, unless the run is to end."""
        prepared, tokenizer = self.prepared, self.prepared.tokenizer
        was_training = prepared.model.training
        with nullcontext() if prepared.average is None else prepared.average.in_place():
            rows = event.attempt(self._continued)
        prepared.model.train(was_training)
        if rows is None:
            return
        blocks = [
            f"{prompt}\n----\n{tokenizer.decode(row)}\n"
            for prompt, row in zip(PROMPTS, rows, strict=True)
        ]
        path = prepared.run.folder / "samples" / f"epoch-{event.epoch}.txt"
        write_text(path, "\n".join(blocks))

    def on_end(self, result: FitResult) -> None:
        """The last epoch has been heard."""

    def _continued(self) -> list[list[int]]:
        """What the model writes after each prompt."""
        tokenizer = self.prepared.tokenizer
        return Engine(self.prepared.model, tokenizer).generate_ids(
            [tokenizer.encode(prompt) for prompt in PROMPTS],
            max_tokens=self.tokens,
            sampling=Sampling(temperature=0.8, top_p=0.95),
            seeds=[SEED + place for place in range(len(PROMPTS))],
        )
