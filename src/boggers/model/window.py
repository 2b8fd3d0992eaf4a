"""The window model: W tokens settle together, both directions coupled, one token is read."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from boggers.dynamics.pace import EnergyPace, TensionPace
from boggers.dynamics.record import Relaxation
from boggers.dynamics.relax import System, relax
from boggers.dynamics.rest import FreezeRule, RestRule
from boggers.errors import UserError
from boggers.field.anchors import AnchorEnergy, Anchors
from boggers.field.base import AbstractEnergy
from boggers.field.bonus import HoldEnergy, TokenBonus
from boggers.field.coupling import PositionalCoupling, WaveCoupling, WindowInteraction
from boggers.field.drift import Drift
from boggers.field.energy import PatternMemory, WaveEnergy
from boggers.field.tension import TensionEnergy
from boggers.field.waves import normalise_waves, split_waves
from boggers.model.config import WindowConfig as WindowConfig
from boggers.model.dropout import drop
from boggers.model.readout import WindowReadout
from boggers.model.size import ParameterCounts, count_parameters
from boggers.shapes import Logits, State, Tokens

TIED_TABLE_SCALE = 0.5
"""Initial standard deviation of a table that also serves as readout."""


@dataclass(frozen=True)
class Reading:
    """Logits (B, V) for the token after each window, and the relaxation they were read from."""

    logits: Logits
    relaxation: Relaxation


class WindowModel(nn.Module):
    """Embeds W tokens, lets them settle, reads the next token from the whole settled window.

    Args:
        config: shape and physics.
        vocab_size: V.
        generator: source of the initial weights.
    """

    def __init__(self, config: WindowConfig, vocab_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        settles = config.num_dynamics_steps > 0
        self.embedding = nn.Parameter(torch.empty(vocab_size, config.state_dim))
        scale = TIED_TABLE_SCALE if config.readout == "tied" else 1.0
        nn.init.normal_(self.embedding, std=scale, generator=generator)
        self.readout = WindowReadout(
            config.readout,
            config.window_size,
            config.state_dim,
            vocab_size,
            generator,
            fusion=config.readout_fusion,
        )
        self.single_state: nn.Parameter | None = None
        if config.single_state_head:
            bound = config.state_dim**-0.5
            self.single_state = nn.Parameter(torch.empty(vocab_size, config.state_dim))
            nn.init.uniform_(self.single_state, -bound, bound, generator=generator)
        self.drift: Drift | None = None
        if settles and config.drift is not None:
            self.drift = config.make_drift(
                config.drift, config.num_waves, config.wave_dim, config.energy_step, generator
            )
        self.coupling: PositionalCoupling | None = None
        if settles and config.coupling:
            self.coupling = PositionalCoupling(config.window_size)
            nn.init.constant_(self.coupling.asymmetry, config.position_asymmetry)
        self.wave_coupling: WaveCoupling | None = None
        if settles and config.wave_coupling:
            self.wave_coupling = WaveCoupling(config.num_waves, config.window_size)
        self.interaction: WindowInteraction | None = None
        if settles and config.window_interaction:
            self.interaction = WindowInteraction(
                config.window_size,
                config.interaction_scale,
                config.interaction_decay_tau if (config.interaction_decay_tau or 0) > 0 else None,
                generator,
            )
        self.wave_energy: WaveEnergy | None = None
        if settles and config.wave_energy:
            self.wave_energy = WaveEnergy(config.num_waves, config.wave_dim, generator)
        self.memory: PatternMemory | None = None
        if settles and config.memory_patterns is not None:
            self.memory = PatternMemory(
                config.window_size, config.state_dim, config.memory_patterns, generator
            )
        self.bonus: TokenBonus | None = None
        if settles and config.token_bonus is not None:
            self.bonus = TokenBonus(vocab_size)

    def embed(self, contexts: Tokens, table: Tensor | None = None) -> State:
        """Centred unit vectors: s_t = (e - mean e) / ‖e - mean e‖ with e the token's table row.

        Args:
            contexts: (B, W) token ids.
            table: (V, D) to look them up in instead of the model's own.
        """
        if contexts.shape[1] != self.config.window_size:
            raise UserError(
                f"A window holds {self.config.window_size} tokens, {contexts.shape[1]} came. "
                "Cut or pad the context to the window."
            )
        found = F.embedding(contexts, self.embedding if table is None else table)
        rows = F.layer_norm(found, (self.config.state_dim,))
        return F.normalize(rows, dim=-1, eps=1e-12)

    def settle(
        self,
        contexts: Tokens,
        *,
        steps: int | None = None,
        target: State | None = None,
        nudge: float | None = None,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
        keep_curves: bool = True,
        keep_kicks: bool = False,
        tolerance: float | None = None,
        bias: AbstractEnergy | None = None,
    ) -> Relaxation:
        """Relax the embedded windows; see `boggers.dynamics.relax.relax`.

        Args:
            contexts: (B, W) token ids.
            steps: relaxation steps K instead of the configured number.
            target, nudge: states (B, W, D) to lean towards at each step, and by how much.
            generator: noise of breaks and of dropout in training mode.
            tolerance: change of energy below which a row rests, instead of the configured one.
            bias: an energy added to the model's own.
        """
        embedded = self.embed(contexts)
        state = drop(embedded, self.config.embedding_dropout, generator, training=self.training)
        if steps is None:
            steps = self.config.num_dynamics_steps
        return relax(
            state,
            self.remembering(
                self.system(nudge=nudge, signal=state, tolerance=tolerance, bias=bias),
                embedded,
                contexts,
            ),
            steps=steps,
            target=target,
            generator=generator,
            gradient_steps=self.config.gradient_steps,
            keep_path=keep_path,
            keep_curves=keep_curves,
            keep_kicks=keep_kicks,
        )

    def read(self, state: State) -> Logits:
        """Logits of the token after the window, (B, V), already divided by the temperature."""
        logits: Logits = self.readout(state, self.embedding)
        return logits

    def read_last(self, state: State) -> Logits:
        """Logits from the last position alone, (B, V): the single-state head."""
        head = self.embedding if self.single_state is None else self.single_state
        return torch.mm(state[:, -1], head.t()) / self.readout.temperature

    def forward(
        self,
        contexts: Tokens,
        *,
        steps: int | None = None,
        target: State | None = None,
        nudge: float | None = None,
        generator: torch.Generator | None = None,
        keep_path: bool = False,
        keep_curves: bool = False,
        keep_kicks: bool = False,
        tolerance: float | None = None,
        bias: AbstractEnergy | None = None,
    ) -> Reading:
        """Settle and read; arguments as in `settle`."""
        relaxation = self.settle(
            contexts,
            steps=steps,
            target=target,
            nudge=nudge,
            generator=generator,
            keep_path=keep_path,
            keep_curves=keep_curves,
            keep_kicks=keep_kicks,
            tolerance=tolerance,
            bias=bias,
        )
        state = drop(
            relaxation.state, self.config.readout_dropout, generator, training=self.training
        )
        return Reading(logits=self.read(state), relaxation=relaxation)

    def system(
        self,
        nudge: float | None = None,
        signal: State | None = None,
        tolerance: float | None = None,
        bias: AbstractEnergy | None = None,
    ) -> System:
        """The physics as one value; what is constant during a relaxation is made once.

        Args:
            nudge: how far each step leans towards a target.
            signal: (B, W, D) that a drift hears, the embedded windows; without it none drifts.
            tolerance: change of energy below which a row rests, instead of the configured one.
            bias: an energy added to the model's own.
        """
        config = self.config
        return System(
            energies=[*self._energies(), *([] if bias is None else [bias])],
            energy_step=config.energy_step,
            num_waves=config.num_waves,
            normalise=config.state_normalization,
            coupling=self._coupling(),
            interaction=None if self.interaction is None else self.interaction.operator(),
            drift=self._drifting(signal),
            anchors=self._anchors(),
            anchor_pull=config.anchor_pull or None,
            nudge=nudge,
            tension_weights=config.weights,
            read=self.read if config.tension_entropy else None,
            coupling_pace=TensionPace() if config.adaptive_coupling else None,
            energy_pace=EnergyPace() if config.adaptive_energy_step else None,
            breaks=config.break_rule,
            rest=self._rest(tolerance),
            freeze=self._freeze(),
        )

    def remembering(self, system: System, embedded: State, contexts: Tokens) -> System:
        """The physics with what is remembered of these tokens, embedded so."""
        if self.bonus is None:
            return system
        strength = self.bonus.of(contexts)
        if self.config.token_bonus == "additive":
            return replace(system, push=strength[..., None])
        # First: the other forces are then added to the pull inside their own products.
        return replace(system, energies=[HoldEnergy(embedded, strength), *system.energies])

    def parameter_counts(self) -> ParameterCounts:
        """How many numbers training adjusts."""
        return count_parameters(self, self.embedding)

    def head_drifts(self, state: State, signal: State) -> Tensor | None:
        """What each head adds to every wave, (B, W·N, H, c), or None without heads to drift."""
        if self.drift is None:
            return None
        return self.drift.heads(self._drift_rows(state), self._drift_rows(signal))

    def _drifting(self, signal: State | None) -> Callable[[State], State] | None:
        drift = self.drift
        if drift is None or signal is None:
            return None
        heard = self._drift_rows(signal)
        return lambda state: drift(self._drift_rows(state), heard).reshape(state.shape)

    def _drift_rows(self, state: State) -> Tensor:
        """Every position as a row of waves, (B·W, N, C)."""
        return split_waves(state, self.config.num_waves).flatten(0, 1)

    def _coupling(self) -> Tensor | None:
        """What one step of all couplings adds, as one operator: (W, W), or (N, W, W)."""
        by_distance = None if self.coupling is None else self.coupling.laplacian()
        by_wave = None if self.wave_coupling is None else self.wave_coupling.matrix
        if by_distance is None or by_wave is None:
            return by_wave if by_distance is None else by_distance
        return by_distance + by_wave

    def _energies(self) -> list[AbstractEnergy]:
        terms: list[AbstractEnergy] = []
        if self.wave_energy is not None:
            terms.append(self.wave_energy)
        if self.memory is not None:
            terms.append(self.memory)
        if self.config.tension_strength:
            terms.append(TensionEnergy(self.config.tension_strength, self.config.weights))
        anchors = self._anchors()
        if anchors is not None and self.config.anchor_strength:
            terms.append(AnchorEnergy(anchors, self.config.anchor_strength))
        return terms

    def _anchors(self) -> Anchors | None:
        config = self.config
        if not (config.anchor_strength or config.anchor_pull or config.anchor_freeze):
            return None
        return Anchors(self.anchor_table(), self.read, config.anchor_candidates)

    def anchor_table(self) -> Tensor:
        """Where every token's anchor lies, (V, D); it carries gradient."""
        if self.config.anchor_scale == "raw":
            return self.embedding
        centred = F.layer_norm(self.embedding, (self.config.state_dim,))
        return normalise_waves(centred[:, None], self.config.num_waves)[:, 0]

    def _rest(self, tolerance: float | None = None) -> RestRule | None:
        epsilon = self.config.convergence_epsilon if tolerance is None else tolerance
        if not epsilon:
            return None
        return RestRule(epsilon, self.config.min_attractor_steps)

    def _freeze(self) -> FreezeRule | None:
        if not self.config.anchor_freeze:
            return None
        return FreezeRule(
            self.config.anchor_freeze_threshold, self.config.anchor_freeze_max_age or None
        )
