"""The options of the token model, one sentence each; flags and help are generated from here."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from tyro.conf import arg

from boggers.dynamics.breaks import BreakRule
from boggers.errors import UserError
from boggers.field.tension import TensionWeights
from boggers.model.drift_config import DriftOptions, Kind


@dataclass(frozen=True, kw_only=True)
class TokenConfig(DriftOptions):
    """The token model: a fast and a slow state follow a text, one token at a time."""

    token_bonus: ClassVar[None] = None  # no memory pulls on its tokens

    state_dim: int = 128
    """Width D of the fast and of the slow state; must be divisible by --num-waves."""

    num_waves: int = 4
    """Number of waves N that D is cut into (at least 2 when hierarchical)."""

    sequence_length: Annotated[int, arg(aliases=("--seq-len", "--window-size"))] = 32
    """Tokens T that gradients travel back through (at least 2); states are carried further."""

    num_dynamics_steps: Annotated[int, arg(aliases=("--max-window-steps",))] = 4
    """Most inner steps that a token takes; at least 1."""

    min_attractor_steps: int = 2
    """Inner steps that every token takes before it may rest."""

    rest_tension: float = 0.5
    """Tension below which a token rests (0.85 in the original); 0 never rests early."""

    gradient_steps: int | None = None
    """Last inner steps of each token that carry gradient; None sends it through all of them."""

    drift_step: Annotated[float, arg(aliases=("--vectorized-dt",))] = 0.09
    """Step size dt of a simple, vectorized or hierarchical drift."""

    wave_interaction: float = 0.05
    """Strength of the learned linear mixing of all waves after each inner step; 0 = none."""

    wave_noise: bool = True
    """In training, jitter the states a little, more while the last token was tense."""

    context_gain: float = 0.2
    """Share γ of the fast state's direction in the next token's signal, at the start."""

    recent_signals: int = 4
    """Latest signals whose mean is blended into the next one; 0 = none."""

    slow_decay: float = 0.05
    """Share of the slow state that fades with each token, in (0, 1)."""

    slow_gain: float = 0.05
    """Share of the fast state that enters the slow one, at the start."""

    slow_limit: float | None = None
    """Longest slow state; None = no limit (0.5 in the original)."""

    fast_weight: float = 1.0
    """Weight of the fast state, averaged over its last two tokens, in what is read."""

    slow_weight: float = 0.3
    """Weight of the slow state in what is read."""

    state_normalization: bool = True
    """Return every wave of the fast state to the unit sphere after each inner step."""

    readout: Literal["flat", "tied", "distance"] = "tied"
    """flat: a matrix of its own; tied: a map, then the embedding table; distance: minus the
    distance to each token's embedding."""

    phrase_rows: int = 8192
    """Rows of the table of phrases that a hierarchical drift's slow waves hear."""

    embedding_dropout: float = 0.0
    """Share of signal entries zeroed, in training only."""

    readout_dropout: float = 0.1
    """Share of state entries zeroed before the readout, in training only."""

    tension_weights: Annotated[
        tuple[float, float, float] | None,
        arg(name="phase05-tension-w", metavar="ENERGY ALIGN ENTROPY"),
    ] = None
    """Weights of change, divergence and entropy in the tension; None = 1, 0.35, 0.08."""

    breaks: bool = False
    """Kick tokens that are too tense."""

    gaussian_breaks: Annotated[bool, arg(name="phase2-disable-directional-break")] = False
    """Kick with Gaussian noise instead of along the last move."""

    break_tense: float = 2.5
    """Tension above which a token breaks."""

    break_strength: Annotated[float, arg(name="phase2-break-base-strength")] = 0.1
    """Size of a break before scaling by tension."""

    break_scale_min: Annotated[float, arg(name="phase2-break-min-scale")] = 0.1
    """Smallest scale of a break."""

    break_scale_max: Annotated[float, arg(name="phase2-break-max-scale")] = 2.0
    """Largest scale of a break."""

    break_target: Annotated[float, arg(name="phase2-break-t-target")] = 0.12
    """Reference tension T* of a break's size."""

    break_rejection: Annotated[bool, arg(name="phase2-enable-break-rejection")] = False
    """Undo a break that leaves its token tenser and turned further from where it came."""

    def __post_init__(self) -> None:
        if self.num_waves < 1 or self.state_dim % self.num_waves:
            raise UserError(
                f"--state-dim must be divisible by --num-waves; {self.state_dim} and "
                f"{self.num_waves} came. Choose for example --state-dim 128 --num-waves 4."
            )
        self._at_least("sequence_length", 2)
        self._at_least("num_dynamics_steps", 1)
        self._at_least("min_attractor_steps", 1)
        self._at_least("gradient_steps", 1)
        self._at_least("recent_signals", 0)
        self._at_least("phrase_rows", 1)
        self._at_least("rest_tension", 0)
        for option in ("drift_step", "slow_decay"):
            if not getattr(self, option) > 0:
                raise UserError(
                    f"--{option.replace('_', '-')} must be above 0; it is {getattr(self, option)}."
                )
        if self.slow_decay >= 1:
            raise UserError(f"--slow-decay must be below 1; it is {self.slow_decay}.")
        for option in ("embedding_dropout", "readout_dropout"):
            if not 0 <= getattr(self, option) < 1:
                raise UserError(
                    f"--{option.replace('_', '-')} must be in [0, 1), {getattr(self, option)} "
                    "came. Choose another value."
                )
        if self.kind == "hierarchical" and self.num_waves % 2:
            raise UserError(
                "A hierarchical drift halves the waves: --num-waves must be even; "
                f"{self.num_waves} came."
            )
        self.check_drift()

    def _at_least(self, option: str, least: int) -> None:
        value = getattr(self, option)
        if value is not None and value < least:
            raise UserError(
                f"--{option.replace('_', '-')} must be {least} or more, {value} came. "
                "Choose another value."
            )

    @property
    def kind(self) -> Kind:
        """Which drift moves the waves."""
        return self.drift_kind("waves") or "waves"

    @property
    def wave_dim(self) -> int:
        """C = D / N."""
        return self.state_dim // self.num_waves

    @property
    def weights(self) -> TensionWeights:
        """The three weights of the tension."""
        given = self.tension_weights
        return TensionWeights() if given is None else TensionWeights(*given)

    @property
    def break_rule(self) -> BreakRule | None:
        """How tokens break, or None."""
        if not self.breaks:
            return None
        return BreakRule(
            kind="gaussian" if self.gaussian_breaks else "directional",
            tense=self.break_tense,
            strength=self.break_strength,
            scale_min=self.break_scale_min,
            scale_max=self.break_scale_max,
            target=self.break_target,
            reject=self.break_rejection,
            noise_when_tense=0.02,
        )
