"""Held-out text in windows: every token once, each with its context."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from boggers.errors import UserError
from boggers.evals.heldout import HeldOut

IDS = np.random.default_rng(0).integers(0, 20, 200).astype(np.uint16)
WIDE = HeldOut(
    ids=IDS,
    byte_lengths=np.arange(200) % 3 + 1,
    start=60,
    stop=197,
    length=16,
    context=5,
)


class Remembers(nn.Module):
    """Logits that depend on every token so far, so that a wrong context shows."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Parameter(
            torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.embedding[tokens].cumsum(dim=1)


def by_hand(held_out: HeldOut, model: nn.Module) -> float:
    total, scored = 0.0, held_out.length - held_out.context
    for place in range(held_out.start, held_out.stop):
        window = (place - held_out.start) // scored
        first = held_out.start + window * scored - held_out.context - 1
        seen = torch.tensor(IDS[first:place].astype(np.int64))[None]
        with torch.no_grad():
            logits = model(seen)[0, -1].double()
        total -= float(logits.log_softmax(0)[int(IDS[place])])
    return total


@pytest.mark.parametrize("context", [0, 5, 15])
def test_every_token_is_judged_once(context: int) -> None:
    held_out, model = replace(WIDE, context=context), Remembers()
    nats = held_out.nats(model, torch.device("cpu"))
    assert nats == pytest.approx(by_hand(held_out, model), rel=1e-5)
    bits = held_out.bits_per_byte(model, torch.device("cpu"))
    n_bytes = sum(place % 3 + 1 for place in range(60, 197))
    assert bits == pytest.approx(nats / math.log(2) / n_bytes)


def test_the_mode_of_the_model_is_put_back() -> None:
    model = Remembers().train()
    WIDE.nats(model, torch.device("cpu"))
    assert model.training


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"stop": 60}, "held-out"),
        ({"context": 16}, "--context"),
        ({"context": -1}, "--context"),
        ({"start": 5}, "longer text"),
    ],
)
def test_impossible_stretches_are_refused(changes: dict[str, int], named: str) -> None:
    with pytest.raises(UserError, match=named):
        replace(WIDE, **changes)  # type: ignore[arg-type]
