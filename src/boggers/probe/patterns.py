"""Which learned patterns pulled a prediction, and what in the training text wakes them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from boggers.errors import UserError
from boggers.field.coupling import mix_positions
from boggers.field.energy import PatternMemory
from boggers.field.fast import TaughtWell
from boggers.field.memory import (
    ROUNDING,
    GatedMemory,
    LogSumExpMemory,
    RecallMemory,
    RecallWell,
    RectifiedMemory,
    Well,
)
from boggers.field.waves import split_waves
from boggers.infer.noise import breaking_noise
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.window import WindowModel
from boggers.probe.places import Places, StreamPlaces, WindowPlaces, places_in, spread
from boggers.shapes import State

CLOSE = 1e-4
"""How exactly, as a share of the state's length, a decomposition must add up."""

STRETCHES, LENGTH = 16, 512
"""How many stretches of training text are searched for what wakes a pattern, and their tokens."""


@dataclass(frozen=True)
class Pull:
    """What the patterns of the last energy did to one prediction, exactly.

        logits = rest + beside + suggested + Σ_m by_pattern_m

    Attributes:
        by_pattern: (M, V), what each pattern adds to the logits, the state's length held at what
            it came to be.
        rest: (V,), everything else in the state: what the position carried and felt.
        beside: (V,), what the other basins add to what the state says, where it has several.
        suggested: (V,), what the text's own words add besides the state (see `model.text_memory`),
            their weights held at what they came to be; 0 where nothing is remembered of them.
        logits: (V,).
        awake: (M,), how strongly each pattern answers the state.
    """

    by_pattern: Float[Tensor, "M V"]
    rest: Float[Tensor, " V"]
    beside: Float[Tensor, " V"]
    suggested: Float[Tensor, " V"]
    logits: Float[Tensor, " V"]
    awake: Float[Tensor, " M"]

    def strongest(self, token: int, count: int) -> list[tuple[int, float]]:
        """The patterns that spoke most clearly for or against a token, and by how many nats.

        A pattern's word is its part of the token's logit above its mean over all tokens: what it
        adds to all alike changes no prediction.
        """
        said = self.by_pattern[:, token] - self.by_pattern.mean(dim=1)
        best = said.abs().topk(min(count, len(said))).indices
        return [(int(m), float(said[m])) for m in best]

    def votes(self, pattern: int, count: int) -> list[int]:
        """The tokens that a pattern raises most."""
        return list(self.by_pattern[pattern].topk(count).indices.tolist())


def pull(place: Places) -> Pull:
    """The exact decomposition of one place's prediction over the patterns of its last step.

    Raises:
        UserError: the energy is not made of patterns, or something besides it (breaks, paces,
            guarded steps) decided where the state ended.
    """
    with torch.no_grad():
        if isinstance(place, StreamPlaces):
            return _pull_of_stream(place)
        assert isinstance(place, WindowPlaces)
        return _pull_of_window(place)


def awakening(
    model: Model,
    ids: NDArray[Any],
    start: int,
    stop: int,
    patterns: Sequence[int],
    *,
    count: int = 3,
) -> dict[int, list[int]]:
    """For each pattern the places of ids[start:stop] that wake it most, strongest first.

    A place is where the next token stands; what wakes the pattern is the text before it.

    Args:
        model: in evaluation mode.
        ids: a corpus; [start, stop) is the part to look in, of which 16 stretches of 512 tokens
            are read, evenly spread.
        patterns: numbers as in `Pull`.
        count: places a pattern.
    """
    seen: list[tuple[int, Tensor]] = []
    with torch.no_grad():
        for first in spread(start, stop - LENGTH, STRETCHES) or [start]:
            last = min(first + LENGTH, stop)
            seen += [(first + row, answer) for row, answer in _awake(model, ids, first, last)]
    awake = torch.stack([answer for _, answer in seen])
    found = {}
    for pattern in patterns:
        rows = awake[:, pattern].topk(min(count, len(seen))).indices.tolist()
        found[pattern] = [seen[row][0] for row in rows]
    return found


@singledispatch
def parts(memory: Well, proposal: State) -> tuple[Tensor, Tensor]:
    """The force of every pattern at a proposal, and how strongly each answers it.

    Args:
        memory: whose force at the proposal is the sum of the parts.
        proposal: (N, 1, D).

    Returns:
        (N, M, D) and (N, M).
    """
    raise UserError(
        f"The energy {type(memory).__name__} has no patterns to which its force could be traced."
    )


@parts.register
def _(memory: RecallMemory, proposal: State) -> tuple[Tensor, Tensor]:
    return _of_recall(memory.last(), proposal)


@parts.register
def _of_recall(well: RecallWell, proposal: State) -> tuple[Tensor, Tensor]:
    answer = well.memory.answers(proposal)[:, 0]
    return well.deep * answer[..., None] * well.memory.value, answer


@parts.register
def _(well: TaughtWell, proposal: State) -> tuple[Tensor, Tensor]:
    """What a pattern has learned of all texts and of this one."""
    learned, answer = _of_recall(well, proposal)
    return learned + well.of_each(proposal), answer


@parts.register
def _(memory: GatedMemory, proposal: State) -> tuple[Tensor, Tensor]:
    unit = _unit(proposal)
    match = F.relu(F.linear(unit, memory.key, memory.threshold))
    gate = F.linear(unit, memory.value)
    pulled = (match * gate)[..., None] * memory.key
    pulled = pulled + (0.5 * match.square())[..., None] * memory.value
    return _tangent(pulled, proposal), match


@parts.register
def _(memory: RectifiedMemory, proposal: State) -> tuple[Tensor, Tensor]:
    match = F.relu(F.linear(_unit(proposal), memory.pattern, memory.threshold))
    pulled = (memory.strength * match.square())[..., None] * memory.pattern
    return _tangent(pulled, proposal), match


@parts.register
def _(memory: LogSumExpMemory, proposal: State) -> tuple[Tensor, Tensor]:
    """Patterns of all waves one behind another; each pulls its own wave's channels alone."""
    count, patterns, width = memory.pattern.shape
    waves = split_waves(_unit(proposal)[:, None], count)
    overlap = torch.einsum("nwc,wmc->nwm", waves[:, 0], memory.pattern)
    chosen = (memory.log_sharpness.exp()[:, None] * overlap + memory.threshold_bias).softmax(-1)
    pulled = (memory.strength[:, None] * chosen)[..., None] * memory.pattern
    placed = pulled.new_zeros(len(proposal), count, patterns, count, width)
    for wave in range(count):
        placed[:, wave, :, wave] = pulled[:, wave]
    return _tangent(placed.flatten(3).flatten(1, 2), proposal), chosen.flatten(1)


def _unit(proposal: State) -> Tensor:
    return proposal[:, 0] * _inverse(proposal)


def _inverse(proposal: State) -> Tensor:
    return (proposal[:, 0].square().mean(dim=-1, keepdim=True) + ROUNDING).rsqrt()


def _tangent(pulled: Tensor, proposal: State) -> Tensor:
    """What a pull (N, M, D) on the direction does to the state; see `DirectionMemory.force`."""
    unit = _unit(proposal)[:, None]
    along = (pulled * unit).mean(dim=-1, keepdim=True)
    return (pulled - unit * along) * _inverse(proposal)[:, None]


def _memory_of(place: StreamPlaces) -> Well:
    """The learned memory of the last step; anchors, if there are any, come behind it."""
    return place.last.terms[0].at(place.steps - 1)


def _pull_of_stream(place: StreamPlaces) -> Pull:
    slope, last = place.last, place.steps - 1
    state = place.settled()
    forces, awake = parts(_memory_of(place), place.proposal)
    whole = slope.metric(slope.force(place.proposal, place.proposal), last)
    _require_close(place.proposal + whole, state)
    # A metric is linear in the force, so every pattern's step is what it makes of its force.
    moves = slope.metric(forces, last)
    # Read at the length that the state came to have.
    scale = state.square().mean(dim=-1, keepdim=True).add(torch.finfo(state.dtype).eps).rsqrt()
    by_pattern = F.linear(moves * scale, place.model.embedding)[0]
    logits, alone = place.read(state)[0], place.model.read(state)[0, 0]
    said = place.rests(state).unit().read(place.model.embedding)[0, 0]
    rest = alone - by_pattern.sum(dim=0)
    return Pull(by_pattern, rest, said - alone, logits - said, logits, awake[0])


def _pull_of_window(place: WindowPlaces) -> Pull:
    model, system = place.model, place.system
    memory = next((e for e in system.energies if isinstance(e, PatternMemory)), None)
    if memory is None:
        raise UserError("This run has no memory of patterns to which a prediction could be traced.")
    *_, before, state = place.settle(place.start)
    felt = before
    if system.coupling is not None:
        felt = felt + mix_positions(system.coupling, felt)
    if system.anchors is not None and system.anchor_pull is not None:
        felt = felt - system.anchor_pull * (felt - system.anchors.nearest(felt))
    force: Tensor = sum((term.force(felt) for term in system.energies), torch.zeros_like(felt))
    answer, gate = window_overlaps(memory, felt)
    # (M, W, D): what each pattern does at every position.
    pulled = (answer * gate)[0].t()[..., None] * memory.key[:, None]
    pulled = pulled + (0.5 * answer.square())[0].t()[..., None] * memory.value[:, None]
    moved, moves = felt + system.energy_step * force, system.energy_step * pulled
    if system.interaction is not None:
        moved = moved + mix_positions(system.interaction, moved)
        moves = moves + mix_positions(system.interaction, moves)
    if system.normalise:
        length = split_waves(moved, system.num_waves).norm(dim=-1, keepdim=True)
        moved = (split_waves(moved, system.num_waves) / length).flatten(-2)
        moves = (split_waves(moves, system.num_waves) / length).flatten(-2)
    _require_close(moved, state)
    by_pattern = _read_parts(model, moves, state)
    logits = place.read(state)[0]
    rest = logits - by_pattern.sum(dim=0)
    nothing = torch.zeros_like(logits)
    return Pull(by_pattern, rest, nothing, nothing, logits, answer[0].amax(dim=0))


def window_overlaps(memory: PatternMemory, state: State) -> tuple[Tensor, Tensor]:
    """How strongly each pattern answers each position, and its gate, both (N, W, M)."""
    return F.relu(F.linear(state, memory.key) + memory.threshold), F.linear(state, memory.value)


def _read_parts(model: WindowModel, moves: Tensor, state: State) -> Tensor:
    """What parts (M, W, D) of a state (1, W, D) add to its logits, (M, V)."""
    readout = model.readout
    if readout.fusion is not None:
        moves = F.linear(moves, readout.fusion.weight)
        state = readout.fusion(state)
    read = moves.flatten(1) @ readout.weight.t()
    if readout.bias is None:
        return read / readout.temperature
    # The norm of the summary subtracts a mean and divides by a spread, which is the whole's.
    spread_of_whole = (state.flatten(1) @ readout.weight.t()).var(dim=1, correction=0)
    centred = (read - read.mean(dim=1, keepdim=True)) * (spread_of_whole + 1e-5).rsqrt()
    return centred @ model.embedding.t() / readout.temperature


def _require_close(made: State, state: State) -> None:
    away = (made - state).norm() / state.norm()
    if away > CLOSE:
        raise UserError(
            "A prediction can be traced to patterns only where nothing but the energy moves a "
            "state: without breaks, guarded descent, paces and freezing. Use such a run."
        )


def _awake(model: Model, ids: NDArray[Any], first: int, last: int) -> list[tuple[int, Tensor]]:
    """How strongly each pattern answers before every token but the first of a stretch, (M,)."""
    device = model.embedding.device
    if isinstance(model, StreamModel):
        tokens = torch.from_numpy(ids[first : last - 1].astype(np.int64)).to(device)
        noise = breaking_noise(device)
        settled = model(tokens[None], generator=noise, reads="none").settled[-1]
        memory = model.slopes()[-1].terms[0]
        groups = settled.proposal[0][:, None].split(32)
        answers = torch.cat([parts(memory, some)[1] for some in groups])
    else:
        assert isinstance(model, WindowModel)
        assert model.memory is not None
        windows = places_in(model, ids, range(first + 1, last))
        answers = window_overlaps(model.memory, windows.settled())[0].amax(dim=1)
    return list(enumerate(answers, start=1))
