"""The stream model: every position feels its fading past, settles, and predicts what follows."""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int64
from torch import Tensor, nn

from boggers.dynamics.settle import Settling, Slope
from boggers.errors import UserError
from boggers.field.anchors import Anchors, AnchorWell
from boggers.field.bonus import HoldWell, TokenBonus
from boggers.field.causal import Past
from boggers.field.fast import FastValues, Taught, TaughtRecall
from boggers.field.memory import Memory, RecallMemory
from boggers.field.phrases import PhraseTable
from boggers.field.unit import unit_rms
from boggers.model.basins import Basins, Rests
from boggers.model.dropout import drop
from boggers.model.size import ParameterCounts, count_parameters
from boggers.model.stage import Carried, Stage, settled_by
from boggers.model.stream_config import StreamConfig as StreamConfig
from boggers.model.stream_state import StreamState as StreamState
from boggers.model.text_memory import Heard, TextMemory
from boggers.shapes import Logits, Stream

TABLE_SCALE = 0.02
"""Initial standard deviation of the embedding table, which also reads the states."""

Text = Int64[Tensor, "B T"]


@dataclass(frozen=True)
class StreamReading:
    """What a stretch of tokens came to.

    Attributes:
        states: (B, T, D), where the positions rest; in the first of several basins.
        logits: (B, T, V), of the token after each position; or (B, 1, V) or (B, 0, V), if only the
            last position or none was to be read.
        settled: how each stage's positions came to rest, in order; empty with K = 0.
        state: the past of the token that comes next.
    """

    states: Stream
    logits: Float[Tensor, "B P V"]
    settled: tuple[Settling, ...]
    state: StreamState


class StreamModel(nn.Module):
    """Embeds tokens, takes them through L stages, reads every position with the same table.

        s_t = √D · e_t / ‖e_t‖ + p_t at the start
        logits_t = E · s_t / rms(s_t) + m_t at the end

    p_t is what the token means after the one before it, where there is a table of phrases; m_t is
    what the text itself suggests (`TextMemory`), where the model remembers it. Where a position
    has several basins to rest in, what they say together takes the place of E · s_t / rms(s_t), see
    `Basins`.
    All positions of a stretch are computed at once; nothing but the couplings looks back, and
    nothing looks ahead. Reading a text in pieces, each with the state that the piece before left,
    gives the same logits as reading it whole.

    Args:
        config: shape and physics.
        vocab_size: V.
        generator: source of the initial weights.
    """

    def __init__(self, config: StreamConfig, vocab_size: int, generator: torch.Generator) -> None:
        super().__init__()
        self.config = config
        self.vocab_size = vocab_size
        self.embedding = nn.Parameter(torch.empty(vocab_size, config.state_dim))
        nn.init.normal_(self.embedding, std=TABLE_SCALE, generator=generator)
        self.phrases: PhraseTable | None = None
        if config.phrase_rows is not None:
            self.phrases = PhraseTable(
                config.phrase_rows,
                config.phrase_width,
                config.phrase_hashes,
                config.state_dim,
                generator,
            )
        self.text_memory = TextMemory(
            config.state_dim,
            vocab_size,
            orders=config.succession_orders,
            slots=config.succession_slots,
            recency=config.recency,
            known=0 if self.phrases is None else 1,
        )
        self.bonus: TokenBonus | None = None
        if config.token_bonus is not None:
            self.bonus = TokenBonus(vocab_size)
        self.stages = nn.ModuleList(Stage(config, generator) for _ in range(config.num_stages))
        self.fast: FastValues | None = None
        if config.fast_values:
            self.fast = FastValues(config.memory_patterns, config.state_dim)
        self.basins: nn.Module | None = None
        if config.num_basins > 1:
            self.basins = Basins(
                config.state_dim, config.memory_patterns, config.num_basins, generator
            )

    def forward(
        self,
        tokens: Text,
        *,
        state: StreamState | None = None,
        steps: int | None = None,
        generator: torch.Generator | None = None,
        keep_energy: bool = False,
        keep_path: bool = False,
        tolerance: float | None = None,
        bias: Memory | None = None,
        reads: Literal["all", "last", "none"] = "all",
    ) -> StreamReading:
        """Read a stretch of B texts.

        Args:
            tokens: (B, T) ids, T ≥ 1.
            state: the past of these texts; None where they begin.
            steps: relaxation steps of each stage instead of the configured number.
            generator: noise of breaks, and of dropout and random steps in training mode.
            keep_energy: measure the energy of every position at every step.
            keep_path: return the states at every step.
            tolerance: when a position rests, instead of the configured tolerance.
            bias: an energy added to that of the last stage, whose states are read.
            reads: which positions to read: all, the last or none.

        Raises:
            UserError: the state belongs to other texts or another model, noise is needed and no
                generator came, or a model without energies is to take steps.
        """
        taken = self._taken(steps, generator)
        past = self._past(len(tokens), state, taken)
        states, settled, pasts, taught = self._settle(
            tokens,
            past,
            taken,
            generator,
            keep_energy=keep_energy,
            keep_path=keep_path,
            tolerance=tolerance,
            bias=bias,
        )
        rests = Rests.in_one(states)
        if settled:
            rests = self.rests(states, settled[-1].slope, settled[-1].proposal, generator)
        first = {"all": 0, "last": -1, "none": tokens.shape[1]}[reads]
        latest = rests.each(lambda rows: rows[:, first:])
        logits, heard = self.read_text(latest, tokens, past, fresh=state is None)
        return StreamReading(states, logits, settled, StreamState(pasts, heard, taught))

    def read_text(
        self,
        rests: Rests,
        tokens: Text,
        past: StreamState,
        *,
        fresh: bool = False,
    ) -> tuple[Float[Tensor, "B P V"], Heard]:
        """Logits where the last P of these positions rest so, the text's suggestions included.

        Args:
            rests: of all T positions, the last or none.
            tokens: (B, T), what was read there.
            past: what was before them.
            fresh: nothing was; a shorter way to the same.

        Returns:
            The logits, and what is remembered of the tokens after these.
        """
        logits: Tensor
        heard: Heard
        logits, heard = self.text_memory(
            rests.unit(), tokens, past.heard, self.embedding, fresh=fresh
        )
        return logits, heard

    def rests(
        self,
        states: Stream,
        slope: Slope,
        proposal: Stream,
        generator: torch.Generator | None = None,
    ) -> Rests:
        """All places where positions may rest that have settled so in the last stage.

        Args:
            states: (B, T, D), where they settled, in the first basin.
            slope: what moved them last.
            proposal: (B, T, D), where they last felt their past.
            generator: noise of dropout in training mode.
        """
        if self.basins is None:
            return Rests.in_one(states)
        rests: Rests = self.basins(states, slope, proposal)
        own, *others = rests.states
        share = self.config.readout_dropout
        dropped = [drop(other, share, generator, training=self.training) for other in others]
        return Rests((own, *dropped), rests.chances)

    def _taken(self, steps: int | None, generator: torch.Generator | None) -> int:
        """Relaxation steps of a stretch."""
        taken = self.steps(generator) if steps is None else steps
        if taken > 0 and self.config.num_dynamics_steps == 0:
            raise UserError(
                f"This model has no energies to settle in, so it cannot take {taken} steps. "
                "Build one with num_dynamics_steps above 0."
            )
        return taken

    def _past(self, rows: int, state: StreamState | None, taken: int) -> StreamState:
        """The past that was given, or that of a beginning."""
        past = self.start(rows, taken)
        return past if state is None else _fitting(state, past)

    def _settle(
        self,
        tokens: Text,
        past: StreamState,
        taken: int,
        generator: torch.Generator | None,
        *,
        keep_energy: bool = False,
        keep_path: bool = False,
        tolerance: float | None = None,
        bias: Memory | None = None,
    ) -> tuple[Stream, tuple[Settling, ...], tuple[Past, ...], Taught]:
        """The states of all positions, how they settled, the past of each stage after them and what
        the texts have taught."""
        states = told = unit_rms(F.embedding(tokens, self.embedding))
        if self.phrases is not None:
            states = states + self.phrases(tokens, past.heard.latest[:, -1:])
        states = drop(states, self.config.embedding_dropout, generator, training=self.training)
        held = self.held(states, tokens)
        pasts: list[Past] = []
        settled: list[Settling] = []
        for number, stage in enumerate(self._stages()):
            each = stage.pasts(taken)
            before = past.pasts[number * each : (number + 1) * each]
            carried = Carried(stage, before, held if isinstance(held, Tensor) else None)
            last = number == self.config.num_stages - 1
            added = [held if isinstance(held, HoldWell) else None, bias if last else None]
            learning = self.learning(told, past, taken) if last else None
            slope = self._slope(stage, added, tolerance, learning)
            if slope is None or taken == 0:  # feel the past once, settle in nothing
                states = stage(states, lambda s, felt=carried: s + felt(s, 0))
            else:
                within = functools.partial(
                    settled_by,
                    slope=slope,
                    couple=carried,
                    steps=taken,
                    generator=generator,
                    gradient_steps=self.config.gradient_steps,
                    keep_energy=keep_energy,
                    keep_path=keep_path,
                )
                states, rest = stage(states, within)
                settled.append(rest)
            pasts += carried.after
        states = drop(states, self.config.readout_dropout, generator, training=self.training)
        taught = past.taught if learning is None else learning.after
        return states, tuple(settled), tuple(pasts), taught

    def prefill(
        self, tokens: Text, state: StreamState | None = None, *, steps: int | None = None
    ) -> tuple[Logits, StreamState]:
        """Read a stretch of B texts and return the logits (B, V) of what follows it."""
        reading = self(
            tokens, state=state, steps=steps, generator=_quiet(tokens.device), reads="last"
        )
        return reading.logits[:, 0], reading.state

    def step(
        self, token: Int64[Tensor, " B"], state: StreamState, *, steps: int | None = None
    ) -> tuple[Logits, StreamState]:
        """Read one more token of each of B texts; the same cost wherever in a text it stands."""
        return self.prefill(token[:, None], state, steps=steps)

    def start(self, rows: int, steps: int | None = None) -> StreamState:
        """The past of B texts of which nothing has been read.

        Every step of every stage that feels the past remembers what it felt, so a state serves the
        number of steps that it was made for, the configured one unless another is given; one that
        serves as many steps as were learned serves any greater number too.
        """
        taken = self.config.num_dynamics_steps if steps is None else steps
        pasts = (s.coupling.start(rows) for s in self._stages() for _ in range(s.pasts(taken)))
        heard = self.text_memory.start(rows, self.embedding.device)
        return StreamState(tuple(pasts), heard, self._untaught(rows))

    def read(self, states: Stream) -> Float[Tensor, "B T V"]:
        """What the states alone say of the token after each position, as logits."""
        return F.linear(unit_rms(states), self.embedding)

    def slopes(
        self, held: Memory | None = None, learning: TaughtRecall | None = None
    ) -> list[Slope]:
        """What the positions of each stage settle in; empty without energies.

        Args:
            held: the landscape's term for what is remembered of particular tokens, see `held`.
            learning: the last stage's memory as a text teaches it, see `learning`.
        """
        *others, last = self._stages()
        slopes = [self._slope(stage, [held]) for stage in others]
        slopes.append(self._slope(last, [held], learning=learning))
        return [slope for slope in slopes if slope is not None]

    def held(self, states: Stream, tokens: Text) -> HoldWell | Tensor | None:
        """What is remembered of these tokens, whose settling begins at these states: a term of the
        landscape, or a push of (B, T, 1), or nothing."""
        if self.bonus is None:
            return None
        strength = self.bonus.of(tokens)
        if self.config.token_bonus == "additive":
            return strength[..., None]
        return HoldWell(states, strength)

    def _slope(
        self,
        stage: Stage,
        added: Sequence[Memory | None] = (),
        tolerance: float | None = None,
        learning: TaughtRecall | None = None,
    ) -> Slope | None:
        config = self.config
        if stage.memory is None or stage.metric is None:
            return None
        terms: list[Memory] = [stage.memory if learning is None else learning]
        if config.anchor_strength:
            terms.append(AnchorWell(self._anchors(), config.anchor_strength))
        terms += [term for term in added if term is not None]
        rests = config.relax_tolerance if tolerance is None else tolerance
        return Slope(
            terms=terms,
            metric=stage.metric,
            guarded=config.descent,
            tolerance=rests or None,
            breaks=config.break_rule,
        )

    def learning(self, told: Stream, past: StreamState, taken: int) -> TaughtRecall | None:
        """The last stage's memory, learning from these tokens; None where it does not.

        Args:
            told: (B, T, D), their unit embeddings.
            past: what was before them.
            taken: relaxation steps of the stage.
        """
        if self.fast is None:
            return None
        stage = self._stages()[-1]
        assert isinstance(stage.memory, RecallMemory)
        return TaughtRecall(stage.memory, self.fast, told, past.taught, stage.pasts(taken) - 1)

    def _untaught(self, rows: int) -> Taught:
        """What texts have taught of which nothing has been read."""
        if self.fast is not None:
            return self.fast.start(rows)
        nothing = torch.zeros(rows, 0, device=self.embedding.device)
        return Taught(nothing[..., None], nothing)

    def steps(self, generator: torch.Generator | None) -> int:
        """Relaxation steps of the next stretch: K, or in training with random steps half of the
        time K and else K + 1 … 2K.

        The draw is a function of the seed that the generator was last given, so it needs no
        answer from the device.
        """
        wanted = self.config.num_dynamics_steps
        if not (self.training and self.config.random_steps and wanted):
            return wanted
        if generator is None:
            raise UserError(
                "Random steps need a random generator in training mode, none came. "
                "Pass generator=…, or call model.eval()."
            )
        # The upper half: what a batch is cut into shares it, so that all parts take as many steps.
        seed = hashlib.sha256(f"steps/{generator.initial_seed() >> 32}".encode()).digest()
        drawn = int.from_bytes(seed[:8], "big") % (2 * wanted)
        return wanted if drawn < wanted else drawn + 1

    def parameter_counts(self) -> ParameterCounts:
        """How many numbers training adjusts."""
        return count_parameters(self, self.embedding)

    def _stages(self) -> list[Stage]:
        return [stage for stage in self.stages if isinstance(stage, Stage)]

    def _anchors(self) -> Anchors:
        table = unit_rms(self.embedding.detach())
        return Anchors(table, lambda row: self.read(row)[:, 0], self.config.anchor_candidates)


def _fitting(state: StreamState, own: StreamState) -> StreamState:
    """The state, if it is of the same shape as the model's own."""
    shapes = [{name: t.shape for name, t in s.tensors().items()} for s in (own, state)]
    if shapes[0] != shapes[1]:
        raise UserError(
            f"The state of a stream must come from this model, with {own.rows} rows and as many "
            f"relaxation steps ({len(own.pasts)} pasts); one of {state.rows} rows and "
            f"{len(state.pasts)} pasts came."
        )
    return state


def _quiet(device: torch.device) -> torch.Generator:
    """A generator at a fixed seed: outside training every token meets the same noise."""
    return torch.Generator(device=device).manual_seed(0)
