"""The options of the window model, one sentence each; flags and help are generated from here."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from boggers.dynamics.breaks import BreakRule
from boggers.errors import UserError
from boggers.field.tension import TensionWeights
from boggers.model.drift_config import DriftOptions, Kind

NOTHING_SETTLES = (
    "--token-bonus and --use-goat-memory act while states settle, but --num-dynamics-steps is 0. "
    "Set it to 1 or more."
)


@dataclass(frozen=True, kw_only=True)
class WindowConfig(DriftOptions):
    """The window model: W tokens settle together, the next one is read from where they rest."""

    state_dim: int = 128
    """Width D of each position's state; must be divisible by --num-waves."""

    num_waves: int = 4
    """Number of waves N that D is cut into; each wave keeps length 1."""

    window_size: Annotated[int, arg(aliases=("--seq-len",))] = 8
    """Tokens of context W (at least 2)."""

    num_dynamics_steps: Annotated[int, arg(aliases=("--max-window-steps",))] = 3
    """Relaxation steps K; 0 reads the embeddings without settling."""

    gradient_steps: int | None = None
    """Last steps that carry gradient; None sends it through all of them."""

    convergence_epsilon: float = 0.0
    """A row rests when its energy changes by less than this in a step; 0 never rests early."""

    min_attractor_steps: int = 2
    """Earliest step at which a row may rest."""

    energy_step: Annotated[float, arg(aliases=("--vectorized-dt",))] = 0.3
    """Step size h of the descent S ← S - h∇E, and of a drift."""

    wave_energy: bool = False
    """Give every wave a learned energy, shared by all positions."""

    memory_patterns: int | None = 128
    """Patterns M of an associative memory that every position settles in; None = no memory."""

    state_normalization: bool = True
    """Return every wave to the unit sphere after each step."""

    coupling: bool = True
    """Let each position pull its neighbours, exponentially weaker with distance."""

    position_asymmetry: float = 0.0
    """Initial lean of the coupling: above 0 later tokens pull harder, below 0 earlier ones."""

    wave_coupling: bool = True
    """Give every wave a learned W×W coupling of its own, which starts at zero."""

    readout: Literal["flat", "tied"] = "tied"
    """flat: one matrix from W·D to the vocabulary; tied: W·D to D, then the embedding table."""

    readout_fusion: bool = False
    """Add a linear map of each position before the readout."""

    single_state_head: bool = False
    """A vocabulary head of its own for the last position; otherwise it uses the embedding table."""

    embedding_dropout: float = 0.1
    """Share of state entries zeroed before settling, in training only."""

    readout_dropout: float = 0.3
    """Share of settled state entries zeroed before the readout, in training only."""

    tension_weights: Annotated[
        tuple[float, float, float] | None,
        arg(name="phase05-tension-w", metavar="ENERGY ALIGN ENTROPY"),
    ] = None
    """Weights of stretch, misalignment and entropy in the tension; None = 1, 0.35, 0.08."""

    tension_entropy: bool = False
    """Count the readout's entropy in the tension (and use its thresholds 0.92 for breaks)."""

    tension_strength: Annotated[float, arg(name="phase05-tension-lambda")] = 0.0
    """Weight λ of the tension inside the energy."""

    anchor_strength: Annotated[float, arg(name="phase05-anchor-lambda")] = 0.0
    """Weight λ of the distance to the nearest anchor inside the energy."""

    anchor_pull: Annotated[float, arg(name="phase05-anchor-force-strength")] = 0.0
    """Fraction of the way to its anchor that each position is pulled before the descent."""

    anchor_candidates: Annotated[int, arg(name="phase05-anchor-search-topk")] = 64
    """Tokens, best by the readout, whose embeddings serve as anchors."""

    anchor_scale: Literal["state", "raw"] = "state"
    """state: anchors on the same spheres as the state; raw: table rows as they are."""

    anchor_freeze: Annotated[bool, arg(name="phase05-enable-anchor-freeze")] = False
    """Waves that have reached an anchor feel no force in the next step."""

    anchor_freeze_threshold: Annotated[float, arg(name="phase05-anchor-freeze-threshold")] = 0.03
    """Distance to an anchor below which a wave freezes."""

    anchor_freeze_max_age: Annotated[int, arg(name="phase05-anchor-freeze-max-age")] = 0
    """Steps on end that a wave may stay frozen; 0 = as long as it is near."""

    adaptive_coupling: Annotated[bool, arg(name="phase05-adaptive-window-dt")] = False
    """Slow a row's coupling while the row is tense."""

    adaptive_energy_step: Annotated[bool, arg(name="phase05-adaptive-attractor-dt")] = False
    """Halve a row's descent step when its energy rose."""

    window_interaction: Annotated[bool, arg(name="phase1-enable-window-interaction")] = False
    """Add a learned, free W×W mixing of positions after the descent."""

    interaction_scale: Annotated[float, arg(name="phase1-interaction-scale")] = 0.01
    """Scale of that mixing."""

    interaction_decay_tau: Annotated[float | None, arg(name="phase2-interaction-decay-tau")] = None
    """Damp that mixing with distance as exp(-|i-j|/τ); None, 0 or less = no damping."""

    breaks: bool = False
    """Kick rows that are too tense, or calm for too long."""

    gaussian_breaks: Annotated[bool, arg(name="phase2-disable-directional-break")] = False
    """Kick with Gaussian noise instead of along the last move."""

    break_tense: float | None = None
    """Tension above which a row breaks; None = 0.18, or 0.92 with --tension-entropy."""

    break_calm: float = 0.08
    """Tension below which a row counts as stuck."""

    break_strength: Annotated[float, arg(name="phase2-break-base-strength")] = 0.1
    """Size of a break before scaling by tension."""

    break_scale_min: Annotated[float, arg(name="phase2-break-min-scale")] = 0.1
    """Smallest scale of a break."""

    break_scale_max: Annotated[float, arg(name="phase2-break-max-scale")] = 2.0
    """Largest scale of a break."""

    break_target: Annotated[float, arg(name="phase2-break-t-target")] = 0.12
    """Reference tension T* of a break's size."""

    break_rejection: Annotated[bool, arg(name="phase2-enable-break-rejection")] = False
    """Undo a break that leaves its row tenser and worse aligned."""

    token_bonus: Literal["hold", "additive"] | None = None
    """How a token memory moves the states: hold pulls each position towards its own token; additive
    adds the same number to every coordinate, as the original does, which makes all states alike.
    None = hold with --use-goat-memory, else nothing."""

    def __post_init__(self) -> None:
        if self.num_waves < 1 or self.state_dim % self.num_waves:
            raise UserError(
                f"--state-dim must be divisible by --num-waves; {self.state_dim} and "
                f"{self.num_waves} came. Choose for example --state-dim 128 --num-waves 4."
            )
        if self.window_size < 2:
            raise UserError(
                f"--window-size must be at least 2, {self.window_size} came. "
                "A window settles by the pull between its tokens: give it two or more."
            )
        self._require(self.num_dynamics_steps >= 0, "num-dynamics-steps", "0 or more")
        self._require(self.min_attractor_steps >= 2, "min-attractor-steps", "2 or more")
        self._require(self.energy_step > 0, "energy-step", "above 0")
        self._require(self.convergence_epsilon >= 0, "convergence-epsilon", "0 or more")
        self._require(
            self.gradient_steps is None or self.gradient_steps >= 1, "gradient-steps", "1 or more"
        )
        self._require(
            self.memory_patterns is None or self.memory_patterns >= 1,
            "memory-patterns",
            "1 or more",
        )
        self._require(0 <= self.embedding_dropout < 1, "embedding-dropout", "in [0, 1)")
        self._require(0 <= self.readout_dropout < 1, "readout-dropout", "in [0, 1)")
        if self.token_bonus is not None and not self.num_dynamics_steps:
            raise UserError(NOTHING_SETTLES)
        self._require(self.anchor_candidates >= 1, "anchor-candidates", "1 or more")
        self._require(self.anchor_freeze_max_age >= 0, "anchor-freeze-max-age", "0 or more")

        if self.drift == "hierarchical":
            raise UserError("--dynamics hierarchical needs --architecture token.")
        self.check_drift()

    @property
    def drift(self) -> Kind | None:
        """Which drift moves the waves, if any."""
        return self.drift_kind(None)

    def _require(self, holds: bool, option: str, wanted: str) -> None:
        if not holds:
            came = getattr(self, option.replace("-", "_"))
            raise UserError(f"--{option} must be {wanted}, {came} came. Choose another value.")

    @property
    def wave_dim(self) -> int:
        """C = D / N."""
        return self.state_dim // self.num_waves

    @property
    def weights(self) -> TensionWeights:
        """The three weights of the tension."""
        return (
            TensionWeights()
            if self.tension_weights is None
            else TensionWeights(*self.tension_weights)
        )

    @property
    def break_rule(self) -> BreakRule | None:
        """How rows break, or None."""
        if not self.breaks:
            return None
        tense = self.break_tense
        return BreakRule(
            kind="gaussian" if self.gaussian_breaks else "directional",
            tense=(0.92 if self.tension_entropy else 0.18) if tense is None else tense,
            calm=self.break_calm,
            strength=self.break_strength,
            scale_min=self.break_scale_min,
            scale_max=self.break_scale_max,
            target=self.break_target,
            reject=self.break_rejection,
        )
