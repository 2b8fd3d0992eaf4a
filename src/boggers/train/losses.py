"""What a model is punished for: each loss a pure function of tensors, in nats or in cosines.

`plain_cross_entropy` is the objective of the library and the number that every table shows.
The others are additions that a run may ask for by weight.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from boggers.field.waves import TINY
from boggers.shapes import Logits, PerRow, State, Targets, Tokens


def plain_cross_entropy(logits: Logits, targets: Targets) -> Tensor:
    """Mean surprise at the true next token, −log p(target), in nats.

    Neither smoothed nor biased: its exponential is a perplexity.
    """
    return F.cross_entropy(logits, targets)


def smoothed_cross_entropy(logits: Logits, targets: Targets, smoothing: float) -> Tensor:
    """Cross-entropy against targets that give `smoothing` of their mass to all V tokens alike.

    (1 − s)·(−log p_y) + s·mean_v(−log p_v),   s in [0, 1)

    Its minimum is not zero, so it is a training objective and never a reported measure.
    """
    return F.cross_entropy(logits, targets, label_smoothing=smoothing)


def trajectory_contrast(
    path: tuple[State, ...],
    generator: torch.Generator,
    *,
    margin: float = 0.2,
    negatives: int = 1,
    temperature: float | None = None,
) -> Tensor:
    """A settling state should resemble its own next step more than another sample's.

    For sample b at step t, with unit-length flattened states x:
        contrast( x[t,b]·x[t+1,b],  mean over n of x[t,b]·x[t+1,c_n] ),   c_n ≠ b uniform

    The other sample is taken at the same step, so that only the sample differs, and is never b
    itself. The compared states x[t+1] are held fixed; gradients reach x[t].

    Args:
        path: the states after each step, T of them, each (B, W, D).
        generator: draws the other samples; it lives on the states' device.
        margin: how much closer, in cosine, the own next step must be.
        negatives: how many other samples are averaged, at least 1.
        temperature: see `contrast`.

    Returns:
        A scalar; zero when there is no step to compare (T < 2) or no other sample (B < 2).
    """
    if len(path) < 2 or path[0].shape[0] < 2:
        return path[0].sum() * 0.0 if path else torch.zeros(())
    states = torch.stack(path).flatten(2)  # (T, B, W·D)
    # Cosines from raw products and lengths: no unit-length copy of the whole path is made.
    length = torch.linalg.vector_norm(states, dim=-1).clamp_min(TINY)
    own, own_length = states[:-1], length[:-1]
    following, next_length = states[1:].detach(), length[1:].detach()
    steps, rows, _ = own.shape
    shift = torch.randint(1, rows, (negatives, steps, rows), generator=generator, device=own.device)
    other = (torch.arange(rows, device=own.device) + shift) % rows
    step = torch.arange(steps, device=own.device)[:, None]
    like = torch.linalg.vecdot(own, following) / (own_length * next_length)
    unlike = [
        torch.linalg.vecdot(own, following[step, c]) / (own_length * next_length[step, c])
        for c in other
    ]
    return contrast(like, torch.stack(unlike).mean(0), margin=margin, temperature=temperature)


def contrast(
    like: Tensor, unlike: Tensor, *, margin: float, temperature: float | None = None
) -> Tensor:
    """Mean penalty on cosines to a negative that come within `margin` of those to the positive.

    hinge:        relu(m − like + unlike)                      temperature None
    soft hinge:   τ · softplus((m − like + unlike) / τ)        0 < τ, about 0.05 … 1

    The soft form is the two-way cross-entropy of telling the pair apart at temperature τ. Unlike
    the hinge it never goes quite silent, and a larger τ spreads its pull over easier pairs; it
    tends to the hinge as τ → 0.
    """
    violation = margin - like + unlike
    if temperature is None:
        return F.relu(violation).mean()
    return temperature * F.softplus(violation / temperature).mean()


def readout_auxiliary(last_logits: Logits, targets: Targets, smoothing: float = 0.0) -> Tensor:
    """Cross-entropy of the single-state head, which reads the last position alone, in nats."""
    return F.cross_entropy(last_logits, targets, label_smoothing=smoothing)


def token_auxiliary(
    logits: Logits,
    targets: Targets,
    *,
    bias: Logits | None = None,
    smoothing: float = 0.0,
    entropy_bonus: float = 0.0,
) -> Tensor:
    """Cross-entropy of a biased window readout, with a reward for staying undecided, in nats.

    mean_b [ CE_s(z + bias, y) − β · H(softmax(z + bias)) ]

    With a `bigram_bias` the readout is asked only for what the previous token does not tell.

    Args:
        logits: the window readout z.
        targets: the tokens that followed.
        bias: added to z for this loss only; prediction never sees it.
        smoothing: label smoothing s in [0, 1).
        entropy_bonus: β ≥ 0; about 0.03 keeps early training from collapsing on few tokens.
    """
    shaped = logits if bias is None else logits + bias
    loss = F.cross_entropy(shaped, targets, label_smoothing=smoothing)
    if entropy_bonus == 0.0:
        return loss
    log_probability = F.log_softmax(shaped, dim=-1)
    entropy = -(log_probability.exp() * log_probability).sum(-1)
    return loss - entropy_bonus * entropy.mean()


def bigram_bias(
    embedding: Float[Tensor, "V D"],
    contexts: Tokens,
    strength: float,
    left_out: Bool[Tensor, " V"] | None = None,
) -> Float[Tensor, "B V"]:
    """What the previous token's embedding alone says of the next: strength · E[prev]·Eᵀ / D.

    Divided by the width, the self term of unit-variance embeddings is about `strength` at any D.
    Tokens that are left out (those that a memory calls deep) are neither favoured nor the reason
    for favouring others: their bias is 0.
    """
    previous = contexts[:, -1]
    bias = strength / embedding.shape[1] * embedding[previous] @ embedding.T
    if left_out is None:
        return bias
    return bias.masked_fill(left_out | left_out[previous][:, None], 0.0)


def energy_regulariser(energy: PerRow) -> Tensor:
    """Mean squared energy of the settled states: keeps the landscape's level from drifting."""
    return energy.square().mean()
