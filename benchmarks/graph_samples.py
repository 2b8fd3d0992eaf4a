"""What `--graph-temperature` does to texts: the same seeds, with and without.

Per gain: the mean temperature, how surprising the texts are to the model itself at temperature 1
(bits per token), and how many of their runs of four tokens are different from each other.

    boggers train demo --use-substrate --out runs/beside
    python benchmarks/graph_samples.py runs/beside
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import torch
import tyro
from torch import Tensor

from boggers.graph.feedback import Feedback, Gains
from boggers.graph.language import LanguageNode
from boggers.graph.tscore import bootstrap
from boggers.infer.engine import Engine
from boggers.infer.pulse import Pulse
from boggers.infer.sampling import Sampling

RUN = 4


@dataclass(frozen=True, kw_only=True)
class Options:
    """What is written."""

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """A finished run."""
    gains: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, -1.0)
    """Gains of the temperature."""
    texts: int = 12
    """Texts a gain, with seeds 0, 1 …"""
    tokens: int = 80
    """Tokens a text."""


class Watched(Pulse):
    """Remembers temperatures, tokens and what the model thought of them."""

    def __init__(self, engine: Engine, gain: float) -> None:
        node = LanguageNode(bootstrap(), language_threshold=0.0)
        super().__init__(engine.model, node, Feedback(Gains(temperature=gain)))
        self.temperatures: list[float] = []
        self.bits: list[float] = []
        self.ids: list[int] = []
        self._logits: Tensor | None = None

    def follow(self, ids: list[int]) -> Tensor:  # type: ignore[override]
        """Logits, after a look at the token that was drawn from the last ones."""
        if self._logits is not None:
            self.ids.append(ids[-1])
            chances = self._logits[0].log_softmax(-1)
            self.bits.append(-float(chances[ids[-1]]) / torch.log(torch.tensor(2.0)).item())
        self._logits = super().follow(ids)
        return self._logits

    def sampling(self, usual: Sampling) -> Sampling:
        """As it is, written down."""
        now = super().sampling(usual)
        self.temperatures.append(now.temperature)
        return now


def main() -> None:
    """Write and print."""
    options = tyro.cli(Options, description=__doc__)
    engine = Engine.load(options.run, device=torch.device("cpu"))
    plain = Sampling()
    print(f"{'gain':>6}{'temperature':>13}{'bits/token':>12}{'different runs':>16}")
    for gain in options.gains:
        temperatures, bits, runs = [], [], []
        for seed in range(options.texts):
            watched = Watched(engine, gain)
            written = engine.stream(
                "the ", max_tokens=options.tokens, sampling=plain, seed=seed, pulse=watched
            )
            "".join(written)
            temperatures += watched.temperatures
            bits += watched.bits
            ids = watched.ids
            runs += [tuple(ids[at : at + RUN]) for at in range(len(ids) - RUN + 1)]
        print(
            f"{gain:>6g}{sum(temperatures) / len(temperatures):>13.3f}"
            f"{sum(bits) / len(bits):>12.3f}{len(set(runs)) / len(runs):>16.3f}"
        )


if __name__ == "__main__":
    main()
