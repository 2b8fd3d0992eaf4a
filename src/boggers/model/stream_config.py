"""The options of the stream model, one sentence each; flags and help are generated from here."""

from dataclasses import dataclass
from typing import Annotated, Literal

from tyro.conf import arg

from boggers.dynamics.breaks import BreakRule
from boggers.errors import UserError
from boggers.model.config import NOTHING_SETTLES

MOST_HASHES = 3


@dataclass(frozen=True, kw_only=True)
class StreamConfig:
    """The stream model: every position feels its fading past, settles and predicts the next."""

    state_dim: int = 128
    """Width D of each position's state; even, and divisible by --num-waves."""

    num_stages: int = 4
    """Stages L, each a coupling to the past and a settling, with weights of its own."""

    num_dynamics_steps: Annotated[int, arg(aliases=("--max-relax-steps",))] = 1
    """Relaxation steps K of each stage, each a coupling to the past and a descent; 0 leaves out the
    energy and couples once. Further steps in reading go on to where the last one's landscape
    rests, which recall has reached after K."""

    sequence_length: Annotated[int, arg(aliases=("--seq-len",))] = 256
    """Tokens T of a training sequence (at least 2); when reading on, the past has no end."""

    memory: Literal["recall", "gated", "log-sum-exp", "rectified"] = "recall"
    """Form of the energy: recall (keys and values apart, a bowl), or one pattern for both: gated
    cubic, log-sum-exp per wave, squared rectifiers."""

    memory_patterns: int = 256
    """Patterns M of each stage's memory; of each wave's, with log-sum-exp."""

    num_waves: int = 4
    """Number of waves N, each with a memory of its own; only log-sum-exp cuts the state."""

    num_basins: int = 1
    """Basins N of the last stage, each with a memory of its own: a position rests in each of them,
    and what it says is weighted by exp(-E). Only recall has several."""

    fast_values: bool = False
    """Let the patterns of the last stage go on learning while a text is read: each next token is
    written into those that answered before it, and fades. Only recall can."""

    phrase_rows: int | None = None
    """Rows of a table that adds to each token what its pair with the one before means; None = no
    such table."""

    phrase_width: int = 32
    """Width of those rows."""

    phrase_hashes: int = 1
    """Rows that a pair looks up, each in a table of its own; 1 to 3."""

    succession_orders: int | None = None
    """Remember what followed the latest 1, 2, … tokens the last time, up to contexts of so many;
    the readout favours it. None = no such memory."""

    succession_slots: int = 4096
    """Contexts of each length that are remembered; a later one replaces an earlier one."""

    recency: bool = False
    """Keep fading counts of the tokens so far, which the readout weighs."""

    coupling_channels: int | None = None
    """Channels of the coupling, each with its own speed of forgetting; None = D."""

    coupling_taps: int = 4
    """Latest positions, the present one included, that are blended before the coupling."""

    shortest_memory: float = 1.0
    """Time constant of the fastest channel before training, in tokens."""

    longest_memory: float = 1000.0
    """Time constant of the slowest channel before training, in tokens."""

    random_steps: bool = False
    """Draw the number of steps anew for every training batch: K for half of them, for the others
    K + 1 to twice K. Steps beyond K then have depths of their own, and reading may take them."""

    gradient_steps: int | None = None
    """Last steps of each stage that carry gradient; None sends it through all of them."""

    descent: bool = False
    """Halve each position's step until its energy does not rise; slower, never uphill."""

    relax_tolerance: float = 0.0
    """A position rests once a step moves it by less than this share of its length; 0 = never."""

    embedding_dropout: float = 0.0
    """Share of state entries zeroed before the first stage, in training only."""

    readout_dropout: float = 0.0
    """Share of settled state entries zeroed before the readout, in training only."""

    anchor_strength: Annotated[float, arg(name="phase05-anchor-lambda")] = 0.0
    """Weight λ of the distance to the nearest anchor inside the energy."""

    anchor_candidates: Annotated[int, arg(name="phase05-anchor-search-topk")] = 64
    """Tokens, best by a position's own readout, whose embeddings serve as its anchors."""

    breaks: bool = False
    """Kick positions that are too tense, or calm for too long."""

    gaussian_breaks: Annotated[bool, arg(name="phase2-disable-directional-break")] = False
    """Kick with Gaussian noise instead of along the last move."""

    break_tense: float = 0.18
    """Tension between two steps above which a position breaks."""

    break_calm: float = 0.08
    """Tension below which a position counts as stuck."""

    break_patience: int = 4
    """Steps on end that a position must be calm to count as stuck."""

    break_strength: Annotated[float, arg(name="phase2-break-base-strength")] = 0.1
    """Size of a break, as a share of the state's length, before scaling by tension."""

    break_rejection: Annotated[bool, arg(name="phase2-enable-break-rejection")] = False
    """Undo a break that raised its position's energy."""

    token_bonus: Literal["hold", "additive"] | None = None
    """How a token memory moves the states: hold pulls each position towards its own token; additive
    adds the same number to every coordinate, as the original does, which makes all states alike.
    None = hold with --use-goat-memory, else nothing."""

    def __post_init__(self) -> None:
        if (
            self.num_waves < 1
            or self.state_dim < 2
            or self.state_dim % 2
            or self.state_dim % self.num_waves
        ):
            raise UserError(
                "--state-dim must be even and divisible by --num-waves; "
                f"{self.state_dim} and {self.num_waves} came. "
                "Choose for example --state-dim 128 --num-waves 4."
            )
        for option, least in (
            ("num_stages", 1),
            ("num_dynamics_steps", 0),
            ("sequence_length", 2),
            ("memory_patterns", 1),
            ("num_waves", 1),
            ("num_basins", 1),
            ("phrase_rows", 1),
            ("phrase_width", 1),
            ("phrase_hashes", 1),
            ("succession_orders", 1),
            ("succession_slots", 1),
            ("coupling_channels", 1),
            ("coupling_taps", 1),
            ("gradient_steps", 1),
            ("relax_tolerance", 0),
            ("anchor_candidates", 1),
            ("break_patience", 1),
        ):
            value = getattr(self, option)
            if value is not None and value < least:
                raise UserError(
                    f"--{option.replace('_', '-')} must be {least} or more, {value} came. "
                    "Choose another value."
                )
        if self.phrase_hashes > MOST_HASHES:
            raise UserError(
                f"--phrase-hashes must be {MOST_HASHES} or less, {self.phrase_hashes} came. "
                "Choose another value."
            )
        if self.token_bonus is not None and not self.num_dynamics_steps:
            raise UserError(NOTHING_SETTLES)
        if self.num_basins > 1 and (self.memory != "recall" or not self.num_dynamics_steps):
            raise UserError(
                "--num-basins above 1 needs an energy whose bottom is known, which is --memory "
                f"recall with --num-dynamics-steps 1 or more; {self.num_basins} basins came with "
                f"{self.memory} and {self.num_dynamics_steps} steps."
            )
        if self.fast_values and (self.memory != "recall" or not self.num_dynamics_steps):
            raise UserError(
                "--fast-values needs patterns that answer, which is --memory recall with "
                f"--num-dynamics-steps 1 or more; {self.memory} and "
                f"{self.num_dynamics_steps} steps came."
            )
        if not 0 < self.shortest_memory <= self.longest_memory:
            raise UserError(
                "--shortest-memory must be above 0 and at most --longest-memory; "
                f"{self.shortest_memory} and {self.longest_memory} came."
            )
        for option in ("embedding_dropout", "readout_dropout"):
            if not 0 <= getattr(self, option) < 1:
                raise UserError(
                    f"--{option.replace('_', '-')} must be in [0, 1), {getattr(self, option)} "
                    "came. Choose another value."
                )

    @property
    def learned_steps(self) -> int:
        """Steps that have numbers of their own: K, or twice K."""
        return self.num_dynamics_steps * (2 if self.random_steps else 1)

    @property
    def channels(self) -> int:
        """C of the coupling."""
        return self.coupling_channels or self.state_dim

    @property
    def break_rule(self) -> BreakRule | None:
        """How positions break, or None."""
        if not self.breaks:
            return None
        return BreakRule(
            kind="gaussian" if self.gaussian_breaks else "directional",
            tense=self.break_tense,
            calm=self.break_calm,
            patience=self.break_patience,
            strength=self.break_strength,
            reject=self.break_rejection,
        )
