"""The token model: a fast and a slow state follow a text, one token after another."""

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from boggers.dynamics.follow import TokenRest, TokenSystem, Vectors, follow_token
from boggers.errors import UserError
from boggers.field.coupling import inverse_softplus
from boggers.field.drift import into_parts
from boggers.field.hierarchy import SPAN, phrase_ids
from boggers.model.dropout import drop
from boggers.model.readout import WindowReadout
from boggers.model.size import ParameterCounts, count_parameters
from boggers.model.token_config import TokenConfig as TokenConfig
from boggers.model.token_state import TokenState
from boggers.shapes import Logits

TABLE_SCALE = 0.5
DISTANCE_TEMPERATURE = 0.1
TINY = 1e-6
"""Added to lengths before dividing, as the original does."""

MOST_TENSE = 3.0
"""Tension beyond which the jitter of training grows no further."""

JITTER = 1e-3

Ids = Int64[Tensor, "B T"]


@dataclass(frozen=True)
class TokenReading:
    """What was read.

    Attributes:
        logits: (B, T, V) of the token after each.
        fast: (B, T, D), where each token came to rest; carries gradient.
        signals: (B, T, D), what each token brought.
        rests: how each of the T tokens settled.
        state: the past of the token that comes next.
    """

    logits: Float[Tensor, "B T V"]
    fast: Float[Tensor, "B T D"]
    signals: Float[Tensor, "B T D"]
    rests: tuple[TokenRest, ...]
    state: TokenState

    def settled(self, name: str) -> Float[Tensor, "B T"]:
        """One number of how each token settled: tension, steps, breaks, residual, …"""
        return torch.stack([getattr(rest, name) for rest in self.rests], dim=1).float()


class TokenModel(nn.Module):
    """Lets a fast state settle under one token at a time, and reads it together with a slow one.

        e_t = centred unit embedding, blended with the mean of the latest signals by σ(b)
        u_t = (e_t + γ f/‖f‖) / ‖·‖                                  the signal
        f ← mix(drift(f, u_t))   until the tension is low or K steps are taken
        s ← (1 - δ) s + λ f      c_t = w_f (f + f_before)/2 + w_s s  what is read

    mix(x) = x + m (M x + c) joins the waves. Everything but the number of steps is differentiable;
    gradients run back through the tokens of a stretch (truncated backpropagation through time) and
    through nothing that was read before it.

    Args:
        config: shape and physics.
        vocab_size: V.
        generator: source of the initial weights.
    """

    bonus: ClassVar[None] = None  # no memory pulls on its tokens

    def __init__(self, config: TokenConfig, vocab_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        width = config.state_dim
        self.embedding = nn.Parameter(torch.empty(vocab_size, width))
        nn.init.normal_(self.embedding, std=TABLE_SCALE, generator=generator)
        self.phrase_table: nn.Parameter | None = None
        if config.kind == "hierarchical":
            self.phrase_table = nn.Parameter(torch.empty(config.phrase_rows, width // 2))
            nn.init.normal_(self.phrase_table, std=TABLE_SCALE, generator=generator)
        self.drift = config.make_drift(
            config.kind, config.num_waves, config.wave_dim, config.drift_step, generator
        )
        self.interaction: nn.Linear | None = None
        if config.wave_interaction:
            self.interaction = nn.Linear(width, width)
            nn.init.normal_(self.interaction.weight, std=0.02, generator=generator)
            nn.init.zeros_(self.interaction.bias)
        self.context_gain = nn.Parameter(torch.tensor(config.context_gain))
        self.slow_gain = nn.Parameter(torch.tensor(config.slow_gain))
        self.blend: nn.Parameter | None = None
        if config.recent_signals:
            self.blend = nn.Parameter(torch.tensor(-0.4))
        self.noise_gain: nn.Parameter | None = None
        if config.wave_noise:
            self.noise_gain = nn.Parameter(torch.tensor(0.15))
        self.readout: WindowReadout | None = None
        self.temperature_raw: nn.Parameter | None = None
        if config.readout == "distance":
            start = inverse_softplus(DISTANCE_TEMPERATURE)
            self.temperature_raw = nn.Parameter(torch.tensor(start))
        else:
            self.readout = WindowReadout(
                config.readout, 1, width, vocab_size, generator, fusion=False
            )

    def forward(
        self,
        tokens: Ids,
        *,
        state: TokenState | None = None,
        generator: torch.Generator | None = None,
    ) -> TokenReading:
        """Read a stretch of B texts, T tokens of each.

        Args:
            tokens: (B, T) ids, T ≥ 1.
            state: the past of these texts; None where they begin.
            generator: noise of breaks, and in training mode of jitter and dropout.

        Raises:
            UserError: noise is needed and no generator came, or the state has other rows.
        """
        at = self.start(len(tokens)) if state is None else state
        if at.rows != len(tokens):
            raise UserError(
                f"The state of {at.rows} texts cannot be carried on with {len(tokens)} texts. "
                "Give a state of as many rows."
            )
        felt = self.embed(tokens)
        phrases = self._phrases(tokens, at)
        rests, signals, read = [], [], []
        for place in range(tokens.shape[1]):
            phrase = None if phrases is None else phrases[:, place]
            signal, at = self.hear(felt[:, place], at, phrase)
            signal = drop(signal, self.config.embedding_dropout, generator, training=self.training)
            rest, combined, at = self.evolve(signal, at, generator)
            rests.append(rest)
            signals.append(signal)
            read.append(combined)
        kept = at.latest.shape[1]
        latest = torch.cat([at.latest, tokens], dim=1)[:, -kept:] if kept else at.latest
        combined = torch.stack(read, dim=1)
        combined = drop(combined, self.config.readout_dropout, generator, training=self.training)
        logits = self.read(combined.flatten(0, 1)).view(*combined.shape[:2], -1)
        fast = torch.stack([rest.fast for rest in rests], dim=1)
        return TokenReading(
            logits, fast, torch.stack(signals, dim=1), tuple(rests), replace(at, latest=latest)
        )

    def embed(self, tokens: Tensor) -> Tensor:
        """Centred unit vectors: (e - mean e) / ‖e - mean e‖ with e the token's table row."""
        rows = F.layer_norm(F.embedding(tokens, self.embedding), (self.config.state_dim,))
        return F.normalize(rows, dim=-1, eps=1e-12)

    def hear(
        self, felt: Vectors, state: TokenState, phrase: Float[Tensor, "B h"] | None = None
    ) -> tuple[Vectors, TokenState]:
        """What a token brings, given its embedding: u of the class, and the state that heard it.

        With phrases the second half of the channels is the phrase's unit vector instead.
        """
        if self.blend is not None:
            share = torch.sigmoid(self.blend) * (state.heard >= 2)[:, None]
            mean = state.signals.sum(dim=1) / state.heard.clamp_min(1)[:, None]
            felt = (1 - share) * felt + share * mean
            ring = torch.cat([state.signals[:, 1:], felt[:, None]], dim=1)
            heard = (state.heard + 1).clamp_max(self.config.recent_signals)
            state = replace(state, signals=ring, heard=heard)
        length = (state.fast.square().sum(dim=-1, keepdim=True) + 1e-24).sqrt()
        told = felt + self.context_gain * state.fast / (length + TINY)
        signal = told / (told.norm(dim=-1, keepdim=True) + TINY)
        if phrase is not None:
            signal = torch.cat([signal[:, : signal.shape[1] // 2], phrase], dim=1)
        return signal, state

    def evolve(
        self, signal: Vectors, state: TokenState, generator: torch.Generator | None = None
    ) -> tuple[TokenRest, Vectors, TokenState]:
        """Let the fast state settle under a signal; what is read, and the state afterwards."""
        config = self.config

        def combine(fast: Vectors, slow: Vectors) -> Vectors:
            blended = 0.5 * (fast + state.fast)
            return config.fast_weight * blended + config.slow_weight * slow

        rest = follow_token(
            state.fast,
            state.slow,
            TokenSystem(
                move=lambda fast: self._move(fast, signal, state.tension, generator),
                read=(lambda fast: self.read(combine(fast, state.slow)))
                if config.weights.entropy
                else None,
                weights=config.weights,
                breaks=config.break_rule,
                most=config.num_dynamics_steps,
                least=config.min_attractor_steps,
                rest=config.rest_tension,
                gradient_steps=config.gradient_steps,
                normalise=config.num_waves if config.state_normalization else None,
            ),
            generator,
        )
        slow = (1 - config.slow_decay) * state.slow + self.slow_gain * rest.fast
        if config.slow_limit is not None:
            length = slow.norm(dim=-1, keepdim=True)
            slow = torch.where(length > config.slow_limit, slow * config.slow_limit / length, slow)
        after = replace(state, fast=rest.fast, slow=slow, tension=rest.tension)
        return rest, combine(rest.fast, slow), after

    def read(self, combined: Vectors) -> Logits:
        """Logits (B, V), already divided by the temperature."""
        if self.readout is None:
            assert self.temperature_raw is not None
            apart = torch.cdist(
                combined, self.embedding, compute_mode="donot_use_mm_for_euclid_dist"
            )
            return -apart / F.softplus(self.temperature_raw).clamp_min(1e-6)
        unit = combined / (combined.norm(dim=-1, keepdim=True) + 1e-8)
        logits: Logits = self.readout(unit[:, None], self.embedding)
        return logits

    def prefill(self, tokens: Ids, state: TokenState | None = None) -> tuple[Logits, TokenState]:
        """Read a stretch of B texts and return the logits (B, V) of what follows it."""
        quiet = torch.Generator(device=tokens.device).manual_seed(0)
        reading = self(tokens, state=state, generator=quiet)
        return reading.logits[:, -1], reading.state

    def step(self, token: Int64[Tensor, " B"], state: TokenState) -> tuple[Logits, TokenState]:
        """Read one more token of each of B texts; the same cost wherever in a text it stands."""
        return self.prefill(token[:, None], state)

    def start(self, rows: int) -> TokenState:
        """The past of B texts of which nothing has been read."""
        table = self.embedding.detach()
        zeros = table.new_zeros(rows, self.config.state_dim)
        ring = table.new_zeros(rows, self.config.recent_signals, self.config.state_dim)
        kept = 0 if self.phrase_table is None else SPAN - 1
        whole = torch.zeros(rows, dtype=torch.int64, device=table.device)
        latest = torch.full((rows, kept), -1, device=table.device)
        return TokenState(zeros, zeros, ring, whole, zeros[:, 0], latest)

    def parameter_counts(self) -> ParameterCounts:
        """How many numbers training adjusts."""
        return count_parameters(self, self.embedding)

    def _move(
        self,
        fast: Vectors,
        signal: Vectors,
        tension: Tensor,
        generator: torch.Generator | None,
    ) -> Vectors:
        """One inner step: jitter in training, drift, mixing of the waves."""
        if self.training and self.noise_gain is not None:
            if generator is None:
                raise UserError(
                    "Jitter needs a random generator in training mode, none came. "
                    "Pass generator=…, or call model.eval()."
                )
            louder = 1 + F.softplus(self.noise_gain) * tension.clamp_max(MOST_TENSE)
            noise = torch.empty_like(fast).normal_(generator=generator)
            fast = fast + JITTER * louder[:, None] * noise
        waves, heard = (into_parts(v, self.config.num_waves) for v in (fast, signal))
        moved: Tensor = self.drift(waves, heard).flatten(-2)
        if self.interaction is None:
            return moved
        mixed: Vectors = moved + self.config.wave_interaction * self.interaction(moved)
        return mixed

    def _phrases(self, tokens: Ids, state: TokenState) -> Tensor | None:
        if self.phrase_table is None:
            return None
        rows = phrase_ids(tokens, state.latest, len(self.phrase_table))
        return F.normalize(F.embedding(rows, self.phrase_table), dim=-1)
