"""The objective of one optimiser step: named losses, weighted and added.

Plain cross-entropy of the window readout is the main term unless `--loss-mode trajectory` asks
for the contrast of the settling path instead.
"""

import dataclasses
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import torch
import tyro
from torch import Tensor

from boggers.data.windows import Batch
from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.field.drift import into_parts
from boggers.model.architectures import Model
from boggers.model.stream import StreamModel
from boggers.model.token import TokenModel, TokenReading
from boggers.model.token_state import TokenState
from boggers.model.window import Reading, WindowModel
from boggers.train import extra_losses, losses
from boggers.train.extra_losses import ExtraLosses


@dataclass(frozen=True, kw_only=True)
class LossConfig(ExtraLosses):
    """What the model is trained on. A weight left out takes what the loss mode implies."""

    loss_mode: Literal["ce", "trajectory"] = "ce"
    """Main term. ce: plain next-token cross-entropy at weight 1, every other term off unless it
    is given a weight. trajectory: the path contrast at weight 1 with the cross-entropies as
    auxiliaries (token 0.2, readout 0.15, energy 0.001 unless given)."""

    label_smoothing: float = 0.0
    """Share of each target's mass spread over the vocabulary in every cross-entropy that is
    trained on; in [0, 1). Reported cross-entropies are never smoothed."""

    trajectory_contrast_weight: float | None = None
    """Weight of the path contrast: each settling state against its own next one and others'."""

    trajectory_margin: float = 0.2
    """How much closer, in cosine, a state's own next step must be than another sample's."""

    multi_negative: Annotated[bool, tyro.conf.arg(name="phase05-multi-negative")] = False
    """Compare with the mean of several other samples instead of one."""

    num_negatives: Annotated[int, tyro.conf.arg(name="phase05-num-negatives")] = 4
    """How many, with `--phase05-multi-negative`; at least 1."""

    trajectory_temperature: Annotated[
        float | None, tyro.conf.arg(name="phase05-traj-temperature")
    ] = None
    """Softness of the path contrast's hinge, about 0.05 to 1; a hard hinge when left out."""

    token_auxiliary_weight: Annotated[float | None, tyro.conf.arg(name="token-aux-ce")] = None
    """Weight of the window readout's shaped cross-entropy (bigram bias, entropy bonus)."""

    token_bigram_bias: float | None = None
    """Strength of the previous token's embedding as a bias inside that term, about 0.02 to 1."""

    token_entropy_bonus: float = 0.03
    """Nats of loss that one nat of predictive entropy is worth inside that term; at least 0."""

    readout_auxiliary_weight: Annotated[float | None, tyro.conf.arg(name="readout-aux-alpha")] = (
        None
    )
    """Weight of the cross-entropy of the head that reads the last position alone."""

    energy_weight: Annotated[float | None, tyro.conf.arg(name="phase05-energy-reg-weight")] = None
    """Weight of the mean squared energy of the settled states."""

    def __post_init__(self) -> None:
        if not 0.0 <= self.label_smoothing < 1.0:
            raise UserError(f"--label-smoothing must be in [0, 1); it is {self.label_smoothing}.")
        if self.num_negatives < 1:
            raise UserError(
                f"--phase05-num-negatives must be at least 1; it is {self.num_negatives}."
            )
        if self.trajectory_temperature is not None and self.trajectory_temperature <= 0.0:
            raise UserError(
                "--phase05-traj-temperature must be above 0, or left out for a hard hinge; "
                f"it is {self.trajectory_temperature}."
            )
        if self.token_entropy_bonus < 0.0:
            raise UserError(
                f"--token-entropy-bonus must be at least 0; it is {self.token_entropy_bonus}."
            )
        for flag, weight in (
            ("--trajectory-contrast-weight", self.trajectory_contrast_weight),
            ("--token-aux-ce", self.token_auxiliary_weight),
            ("--readout-aux-alpha", self.readout_auxiliary_weight),
            ("--phase05-energy-reg-weight", self.energy_weight),
        ):
            if weight is not None and not 0.0 <= weight < math.inf:
                raise UserError(f"{flag} must be at least 0; it is {weight}.")
        self.check_extra()
        if not any((*dataclasses.astuple(self.weights), *self.extra_weights.values())):
            raise UserError("Some loss must have weight, but all weights are 0; give one.")

    @property
    def weights(self) -> "LossWeights":
        """The weight of every term, after the loss mode has filled in those left out."""
        implied = _TRAJECTORY if self.loss_mode == "trajectory" else _CROSS_ENTROPY
        return LossWeights(
            cross_entropy=implied.cross_entropy,
            contrast=_given(self.trajectory_contrast_weight, implied.contrast),
            token=_given(self.token_auxiliary_weight, implied.token),
            readout=_given(self.readout_auxiliary_weight, implied.readout),
            energy=_given(self.energy_weight, implied.energy),
        )


@dataclass(frozen=True, kw_only=True)
class LossWeights:
    """The factor of each term in the total; a term of weight 0 is not computed."""

    cross_entropy: float
    contrast: float
    token: float
    readout: float
    energy: float


_CROSS_ENTROPY = LossWeights(cross_entropy=1.0, contrast=0.0, token=0.0, readout=0.0, energy=0.0)
_TRAJECTORY = LossWeights(cross_entropy=0.0, contrast=1.0, token=0.2, readout=0.15, energy=0.001)


OF_THE_BATCH = frozenset({"repulsion"})
"""What is carried from step to step for a batch as a whole; all else has a row for each of its."""


@dataclass(frozen=True)
class Loss:
    """One batch's objective and what it is made of; nothing here has been moved to the host."""

    total: Tensor
    """The scalar to differentiate."""

    parts: dict[str, Tensor]
    """Each auxiliary term before its weight, detached, by the name of its metrics column; always
    with `train_ce`, the plain cross-entropy, whatever its weight."""

    settling: dict[str, Tensor]
    """How the batch settled: means over its rows or positions, by metrics column, detached."""

    carried: dict[str, Tensor] = field(default_factory=dict)
    """What the next step of the run goes on from, by name; detached."""

    relaxation: Relaxation | None = None
    """How the windows settled, if the model is one of windows."""

    reading: TokenReading | None = None
    """How the tokens were followed, if the model is one of tokens."""

    logits: Tensor | None = None
    """What was predicted, (B, V)."""


def objective(
    model: Model,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor] | None = None,
    *,
    deep: Tensor | None = None,
    watched: bool = False,
) -> Loss:
    """Run the model on a batch and add up the losses that have weight.

    total = Σ_i weight_i · loss_i

    Args:
        model: in training mode; the path of states is kept only if the contrast has weight.
        batch: contexts and the targets that follow, on the model's device.
        config: the weights and shapes of the terms.
        generator: on the model's device; feeds the model's noise and the choice of negatives.
        carried: what the step before left, in the same epoch.
        deep: (V,), tokens that a memory leaves out of the bigram bias.
        watched: keep the whole path of settling, for the records.
    """
    if isinstance(model, StreamModel):
        return _of_stream(model, batch, config, generator)
    if isinstance(model, TokenModel):
        return _of_token(model, batch, config, generator, carried or {})
    return _of_window(model, batch, config, generator, carried or {}, deep=deep, watched=watched)


def require_possible(config: LossConfig, architecture: str) -> None:
    """Refuse losses that an architecture does not have.

    Raises:
        UserError: a stream is to be trained on a loss of windows.
    """
    weights = config.weights
    windows_only = {
        "--loss-mode trajectory": weights.contrast,
        "--token-aux-ce": weights.token,
        "--readout-aux-alpha": weights.readout,
    }
    windows_only |= config.extra_weights
    if architecture == "token":
        windows_only.pop("--phase1-head-diversity-weight")
    wanted = [flag for flag, weight in windows_only.items() if weight > 0.0]
    if architecture != "window" and wanted:
        raise UserError(
            f"{wanted[0]} is a loss of the window model; a {architecture} is trained on plain "
            "cross-entropy at every position. Leave it out, or use --architecture window."
        )


def _of_stream(
    model: StreamModel, batch: Batch, config: LossConfig, generator: torch.Generator
) -> Loss:
    """Cross-entropy of every position, and the energy that every stage came to rest at."""
    weights = config.weights
    reading = model(batch.contexts, generator=generator)
    # The products may be narrow, the sum over the vocabulary is not.
    logits = reading.logits.flatten(0, 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = batch.targets.flatten()
    plain = losses.plain_cross_entropy(logits, targets)
    main = plain
    if config.label_smoothing > 0.0:
        main = losses.smoothed_cross_entropy(logits, targets, config.label_smoothing)
    total = weights.cross_entropy * main
    parts = {"train_ce": plain.detach()}
    if weights.energy > 0.0 and reading.settled:
        heights = [
            slope.energy(rest.state, rest.proposal).flatten()
            for slope, rest in zip(model.slopes(), reading.settled, strict=True)
        ]
        energy = losses.energy_regulariser(torch.cat(heights))
        total = total + weights.energy * energy
        parts["energy_regulariser"] = energy.detach()
    settling: dict[str, Tensor] = {}
    if reading.settled:
        settling["residual"] = torch.stack([s.residual.mean() for s in reading.settled]).mean()
        settling["steps_used"] = torch.stack(
            [s.steps.float().mean() for s in reading.settled]
        ).mean()
        settling["breaks"] = torch.stack([s.breaks.float().mean() for s in reading.settled]).sum()
    return Loss(total, parts, settling)


def _of_token(
    model: TokenModel,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor],
) -> Loss:
    """Cross-entropy of every token of every lane, each going on from where its lane stood."""
    weights = config.weights
    state = TokenState(**carried) if carried else None
    reading: TokenReading = model(batch.contexts, state=state, generator=generator)
    logits = reading.logits.flatten(0, 1)
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    targets = batch.targets.flatten()
    plain = losses.plain_cross_entropy(logits, targets)
    main = plain
    if config.label_smoothing > 0.0:
        main = losses.smoothed_cross_entropy(logits, targets, config.label_smoothing)
    total = weights.cross_entropy * main
    parts = {"train_ce": plain.detach()}
    lengths = reading.fast.square().sum(dim=-1)
    if weights.energy > 0.0:
        energy = losses.energy_regulariser(lengths.flatten())
        total = total + weights.energy * energy
        parts["energy_regulariser"] = energy.detach()
    if config.head_diversity_weight > 0.0:
        rows = (
            into_parts(v.flatten(0, 1), model.config.num_waves)
            for v in (reading.fast, reading.signals)
        )
        alike = extra_losses.head_diversity(model.drift.heads(*rows))
        total = total + config.head_diversity_weight * alike
        parts["head_diversity"] = alike.detach()
    settling = {
        "tension": reading.settled("tension").mean(),
        "energy": lengths.detach().mean(),
        "residual": reading.settled("residual").mean(),
        "steps_used": reading.settled("steps").mean(),
        "breaks": reading.settled("breaks").mean(),
    }
    after = reading.state.detached().tensors()
    return Loss(total, parts, settling, carried=after, reading=reading)


def _of_window(
    model: WindowModel,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor],
    *,
    deep: Tensor | None,
    watched: bool,
) -> Loss:
    weights = config.weights
    reading = model(
        batch.contexts,
        target=batch.states,
        nudge=config.guidance_nudge or None,
        keep_path=watched or weights.contrast > 0.0 or config.intermediate_weight > 0.0,
        keep_curves=watched,
        keep_kicks=watched,
        generator=generator,
    )
    relaxation: Relaxation = reading.relaxation
    plain = losses.plain_cross_entropy(reading.logits, batch.targets)
    main = plain
    if config.label_smoothing > 0.0:
        main = losses.smoothed_cross_entropy(reading.logits, batch.targets, config.label_smoothing)
    total = weights.cross_entropy * main
    parts = {"train_ce": plain.detach()}
    if weights.contrast > 0.0:
        contrast = _contrast(relaxation, config, generator)
        total = total + weights.contrast * contrast
        parts["trajectory_contrast"] = contrast.detach()
    if weights.token > 0.0:
        token = _token(model, reading.logits, batch, config, deep)
        total = total + weights.token * token
        parts["token_auxiliary"] = token.detach()
    if weights.readout > 0.0:
        last = model.read_last(relaxation.state)
        readout = losses.readout_auxiliary(last, batch.targets, config.label_smoothing)
        total = total + weights.readout * readout
        parts["readout_auxiliary"] = readout.detach()
    if weights.energy > 0.0:
        energy = losses.energy_regulariser(model.system().energy(relaxation.state))
        total = total + weights.energy * energy
        parts["energy_regulariser"] = energy.detach()
    after: dict[str, Tensor] = {}
    for name, weight, value in _extra_terms(model, reading, batch, config, generator, carried):
        total = total + weight * value
        parts[name] = value.detach()
    if config.repulsion_weight > 0.0:
        last = relaxation.state[:, -1]
        after["repulsion"] = extra_losses.remembered(_memory(carried, last), last)
    return Loss(
        total,
        parts,
        _settling(relaxation),
        carried=after,
        relaxation=relaxation,
        logits=reading.logits,
    )


def _extra_terms(
    model: WindowModel,
    reading: Reading,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor],
) -> Iterator[tuple[str, float, Tensor]]:
    """Every term that is asked for besides the main ones: its column, its weight, its value."""
    relaxation = reading.relaxation
    state, targets, last = relaxation.state, batch.targets, relaxation.state[:, -1]
    if config.intermediate_weight > 0.0 and relaxation.path:
        read = [model.read(step) for step in relaxation.path]
        value = extra_losses.intermediate_cross_entropy(read, targets, config.label_smoothing)
        yield "intermediate_ce", config.intermediate_weight, value
    if config.guidance_weight > 0.0 and batch.states is not None:
        value = extra_losses.guidance(state, batch.states)
        yield "guidance_mse", config.guidance_weight, value
    if config.anchor_contrast_weight > 0.0:
        value = extra_losses.anchor_contrast(
            last,
            targets,
            model.anchor_table(),
            generator,
            negatives=config.anchor_contrast_negatives,
            margin=config.anchor_contrast_margin,
        )
        yield "anchor_contrast", config.anchor_contrast_weight, value
    if config.head_diversity_weight > 0.0:
        drifts = model.head_drifts(state, model.embed(batch.contexts))
        yield "head_diversity", config.head_diversity_weight, extra_losses.head_diversity(drifts)
    if config.interaction_weight > 0.0:
        yield "interaction_penalty", config.interaction_weight, _mixing(model)
    if config.entropy_floor_weight > 0.0:
        strain = model.system().tension(state.detach())
        value = extra_losses.entropy_floor_penalty(reading.logits, strain, config.entropy_floor)
        yield "entropy_floor_penalty", config.entropy_floor_weight, value
    if config.repulsion_weight > 0.0:
        value = extra_losses.repulsion(last, _memory(carried, last))
        yield "repulsion", config.repulsion_weight, value


def _mixing(model: WindowModel) -> Tensor:
    if model.interaction is None:
        raise UserError(
            "--phase2-interaction-reg-weight keeps the free mixing small: it needs "
            "--phase1-enable-window-interaction."
        )
    return extra_losses.interaction_penalty(model.interaction.matrix)


def _memory(carried: Mapping[str, Tensor], last: Tensor) -> Tensor:
    """What earlier batches settled to, (m, D)."""
    return carried.get("repulsion", last.new_zeros(0, last.shape[1]).detach())


def _settling(relaxation: Relaxation) -> dict[str, Tensor]:
    values = {
        "residual": relaxation.residual.mean(),
        "steps_used": relaxation.steps.float().mean(),
        "breaks": relaxation.breaks.float().mean(),
    }
    if relaxation.tension.shape[0] > 0:
        values["tension"] = relaxation.tension[-1].mean()
        values["energy"] = relaxation.energy[-1].mean()
    return values


def _contrast(relaxation: Relaxation, config: LossConfig, generator: torch.Generator) -> Tensor:
    assert relaxation.path is not None
    return losses.trajectory_contrast(
        relaxation.path,
        generator,
        margin=config.trajectory_margin,
        negatives=config.num_negatives if config.multi_negative else 1,
        temperature=config.trajectory_temperature,
    )


def _token(
    model: WindowModel, logits: Tensor, batch: Batch, config: LossConfig, deep: Tensor | None
) -> Tensor:
    bias = None
    if config.token_bigram_bias is not None:
        bias = losses.bigram_bias(model.embedding, batch.contexts, config.token_bigram_bias, deep)
    return losses.token_auxiliary(
        logits,
        batch.targets,
        bias=bias,
        smoothing=config.label_smoothing,
        entropy_bonus=config.token_entropy_bonus,
    )


def _given(weight: float | None, implied: float) -> float:
    return implied if weight is None else weight
