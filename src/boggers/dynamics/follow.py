"""How one token settles: inner steps of the fast state until it is calm enough."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int64
from torch import Tensor

from boggers.dynamics.breaks import BreakRule
from boggers.errors import UserError
from boggers.field.tension import TensionWeights
from boggers.field.waves import normalise_waves
from boggers.shapes import Logits, PerRow

Vectors = Float[Tensor, "B D"]
"""One state of each of B texts."""


@dataclass(frozen=True, kw_only=True)
class TokenSystem:
    """Everything that has a say in how a token settles, fixed for one token.

    Attributes:
        move: x → x', one inner step of the fast state.
        read: logits (B, V) of a fast state, for the entropy in the tension; None without it.
        weights: of change, divergence and entropy.
        breaks: how tense tokens are kicked, or None.
        rest: a row whose tension falls below it rests, from step `least` on; 0 = never.
        gradient_steps: last steps that carry gradient; None = all.
        normalise: N where each of N waves returns to its unit sphere, or None.
    """

    move: Callable[[Vectors], Vectors]
    read: Callable[[Vectors], Logits] | None
    weights: TensionWeights
    breaks: BreakRule | None
    most: int
    least: int
    rest: float
    gradient_steps: int | None
    normalise: int | None


@dataclass(frozen=True)
class TokenRest:
    """Where a token of each of B texts came to rest.

    Attributes:
        fast: (B, D), carries gradient.
        tension: (B,), of the last step taken, before its break; detached.
        steps, breaks: (B,) inner steps taken, breaks carried out.
        residual: (B,) length of the last step taken, as a share of the state's; detached.
        broken_before, broken_after: (B,) sums of the tension of each break before and after it.
    """

    fast: Vectors
    tension: PerRow
    steps: Int64[Tensor, " B"]
    breaks: Int64[Tensor, " B"]
    residual: PerRow
    broken_before: PerRow
    broken_after: PerRow


def token_tension(
    fast: Vectors,
    slow: Vectors,
    energy_before: PerRow,
    weights: TensionWeights,
    logits: Logits | None = None,
) -> PerRow:
    """How far a token is from rest.

    T = w_E | ‖f‖² - e_before | + w_A (1 - cos(f, s)) + w_H H(softmax(logits)),  H in nats
    """
    change = (fast.square().sum(dim=-1) - energy_before).abs()
    lengths = fast.norm(dim=-1) * slow.norm(dim=-1) + 1e-12
    divergence = 1 - ((fast * slow).sum(dim=-1) / lengths).clamp(-1, 1)
    total: PerRow = weights.energy * change + weights.alignment * divergence
    if logits is None:
        return total
    p = logits.softmax(dim=-1)
    doubt: PerRow = -(p * p.clamp_min(1e-9).log()).sum(dim=-1)
    return total + weights.entropy * doubt


def follow_token(
    fast: Vectors, slow: Vectors, system: TokenSystem, generator: torch.Generator | None = None
) -> TokenRest:
    """Let the fast state of every row settle under one token; each row rests by itself.

    A row that rests stays exactly where it is while its companions go on; nothing in the loop
    waits for the device.

    Raises:
        UserError: Gaussian breaks without a generator.
    """
    rows = fast.detach().new_zeros(len(fast))
    active = torch.ones_like(rows, dtype=torch.bool)
    taken, broken = active.long() * 0, active.long() * 0
    tension, residual, before_sum, after_sum = rows, rows, rows, rows
    energy = fast.detach().square().sum(dim=-1)
    free = 0 if system.gradient_steps is None else max(0, system.most - system.gradient_steps)
    for step in range(system.most):
        # Before `least` steps no row rests, so there is nothing to mask and, unless tense rows
        # break, no tension to measure.
        resting = system.rest > 0 and step + 1 >= system.least
        measured = resting or system.breaks is not None or step == system.most - 1
        before = fast
        with torch.set_grad_enabled(torch.is_grad_enabled() and step >= free):
            moved = system.move(fast)
            if system.normalise is not None:
                moved = normalise_waves(moved[:, None], system.normalise)[:, 0]
        now = tension
        with torch.no_grad():
            if measured:
                now = _tension(moved, slow, energy, system)
            energy = moved.square().sum(dim=-1)
        if system.breaks is not None:
            kicked = _kick(moved, before, now, system.breaks, generator)
            if system.normalise is not None:
                kicked = normalise_waves(kicked[:, None], system.normalise)[:, 0]
            else:
                kicked = kicked / (kicked.norm(dim=-1, keepdim=True) + 1e-8)
            with torch.no_grad():
                later = _tension(kicked, slow, energy, system)
            throw = _thrown(kicked, moved, before, now, later, system.breaks)
            moved = torch.where(throw[:, None], kicked, moved)
            counted = throw & active
            broken = broken + counted
            before_sum = before_sum + torch.where(counted, now, 0)
            after_sum = after_sum + torch.where(counted, later, 0)
        if system.rest > 0 and step >= system.least:
            moved = torch.where(active[:, None], moved, before)
            now = torch.where(active, now, tension)
        fast, tension = moved, now
        taken = taken + active
        if measured:
            with torch.no_grad():
                length = moved.norm(dim=-1).clamp_min(1e-12)
                residual = torch.where(active, (moved - before).norm(dim=-1) / length, residual)
        if resting:
            active = active & ~(now < system.rest)
    return TokenRest(fast, tension, taken, broken, residual, before_sum, after_sum)


def _tension(fast: Vectors, slow: Vectors, energy: PerRow, system: TokenSystem) -> PerRow:
    logits = None if system.read is None else system.read(fast)
    return token_tension(fast, slow, energy, system.weights, logits)


def _kick(
    moved: Vectors,
    before: Vectors,
    tension: PerRow,
    rule: BreakRule,
    generator: torch.Generator | None,
) -> Vectors:
    """The states after a break: along their last move, or by noise that all rows share."""
    if rule.kind == "directional":
        return moved + rule.size(tension)[:, None] * F.normalize(moved - before, dim=-1)
    if generator is None:
        raise UserError(
            "Gaussian breaks need a random generator, none came. "
            "Pass generator=torch.Generator().manual_seed(…)."
        )
    noise = torch.randn(
        (1, moved.shape[1]), generator=generator, dtype=moved.dtype, device=moved.device
    )
    return moved + rule.noise_when_tense * noise


def _thrown(
    kicked: Vectors,
    moved: Vectors,
    before: Vectors,
    tension: PerRow,
    later: PerRow,
    rule: BreakRule,
) -> Bool[Tensor, " B"]:
    """Which rows break: the tense ones, unless rejected as tenser and turned further away."""
    tense = tension > rule.tense
    if not rule.reject:
        return tense
    with torch.no_grad():
        turned = F.cosine_similarity(kicked, before) < F.cosine_similarity(moved, before)
    return tense & ~((later > tension) & turned)
