"""What windows are trained on: the token that follows, and how they came to rest."""

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.model.window import Reading, WindowModel
from boggers.train import extra_losses, losses
from boggers.train.loss import Loss, Terms
from boggers.train.loss_config import LossConfig


def loss_of_window(
    model: WindowModel,
    batch: Batch,
    config: LossConfig,
    generator: torch.Generator,
    carried: Mapping[str, Tensor],
    *,
    deep: Tensor | None,
    watched: bool,
) -> Loss:
    """Cross-entropy of what follows each window, and every term on how the window settled."""
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
    terms = Terms(reading.logits, batch.targets, config)
    if weights.contrast > 0.0:
        contrast = _contrast(relaxation, config, generator)
        terms.add("trajectory_contrast", weights.contrast, contrast)
    if weights.token > 0.0:
        token = _token(model, reading.logits, batch, config, deep)
        terms.add("token_auxiliary", weights.token, token)
    if weights.readout > 0.0:
        last = model.read_last(relaxation.state)
        readout = losses.readout_auxiliary(last, batch.targets, config.label_smoothing)
        terms.add("readout_auxiliary", weights.readout, readout)
    if weights.energy > 0.0:
        energy = losses.energy_regulariser(model.system().energy(relaxation.state))
        terms.add("energy_regulariser", weights.energy, energy)
    after: dict[str, Tensor] = {}
    for name, weight, value in _extra_terms(model, reading, batch, config, generator, carried):
        terms.add(name, weight, value)
    if config.repulsion_weight > 0.0:
        last = relaxation.state[:, -1]
        after["repulsion"] = extra_losses.remembered(_memory(carried, last), last)
    return Loss(
        terms.total,
        terms.parts,
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
