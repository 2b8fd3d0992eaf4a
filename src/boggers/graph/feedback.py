"""What the graph does to the model: four bounded controls, each off unless it has a gain."""

import math
from dataclasses import dataclass

import numpy as np

from boggers.graph.living import LivingGraph

HIGHEST_TENSION = 0.5
"""The most that T can be on activations in [0, 1]."""

SLOW = 0.98
"""What is left of the slow average of T after a beat."""


@dataclass(frozen=True, kw_only=True)
class Gains:
    """How strongly each control follows the graph; None leaves it alone."""

    steps: float | None = None
    breaks: float | None = None
    temperature: float | None = None
    rate: float | None = None

    @property
    def any(self) -> bool:
        """Whether anything flows back at all."""
        return any(g is not None for g in (self.steps, self.breaks, self.temperature, self.rate))


@dataclass(frozen=True)
class Mood:
    """The graph as the controls see it.

    Attributes:
        strain: u = T / 0.5 in [0, 1].
        arousal: the mean activation in [0, 1].
        rising: how far T is above its slow average, as a share of 0.5; in [0, 1].
    """

    strain: float
    arousal: float
    rising: float


CALM = Mood(strain=0.0, arousal=0.5, rising=0.0)


class Feedback:
    """Turns the graph's state into numbers for the model.

    Args:
        gains: of the four controls.
        slow: the slow average of T to begin with; None begins with the first T.
        mood: how the graph was when it was last looked at.
    """

    def __init__(self, gains: Gains, slow: float | None = None, mood: Mood = CALM) -> None:
        self.gains = gains
        self.slow = slow
        self.mood = mood

    def look(self, graph: LivingGraph, tension: float | None = None) -> Mood:
        """Take in the graph as it is now, and its T if that is known."""
        tension = graph.tension() if tension is None else tension
        before = tension if self.slow is None else self.slow
        self.slow = SLOW * before + (1.0 - SLOW) * tension
        arousal = float(np.add.reduce(graph.activation)) / len(graph) if len(graph) else 0.5
        self.mood = Mood(
            _unit(tension / HIGHEST_TENSION),
            _unit(arousal),
            _unit((tension - before) / HIGHEST_TENSION),
        )
        return self.mood

    def steps(self, usual: int) -> int:
        """Relaxation steps: K (1 + gain · u), rounded, in 1 … 2K. A tense graph settles longer."""
        if self.gains.steps is None or usual == 0:
            return usual
        wanted = round(usual * (1.0 + self.gains.steps * self.mood.strain))
        return min(max(wanted, 1), 2 * usual)

    def break_threshold(self, usual: float) -> float:
        """Tension above which a row breaks, times 1 + gain (2ā - 1), between a half and double.

        An aroused graph lets more pass before it breaks.
        """
        gain = self.gains.breaks
        return usual if gain is None else usual * _factor(gain * (2.0 * self.mood.arousal - 1.0))

    def temperature(self, usual: float) -> float:
        """Sampling temperature, times 1 - gain · u, between a half and double: tense is careful."""
        gain = self.gains.temperature
        return usual if gain is None else usual * _factor(-gain * self.mood.strain)

    def rate(self) -> float:
        """Factor of the learning rate, 1 / (1 + gain · rising), between a half and 1."""
        if self.gains.rate is None:
            return 1.0
        return min(1.0, max(0.5, 1.0 / max(1e-9, 1.0 + self.gains.rate * self.mood.rising)))


def _factor(change: float) -> float:
    return min(2.0, max(0.5, 1.0 + change))


def _unit(value: float) -> float:
    return min(1.0, max(0.0, value)) if math.isfinite(value) else 0.0
