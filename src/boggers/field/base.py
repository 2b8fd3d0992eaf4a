"""The contract of an energy: a declared scalar per row, and its exact negative gradient."""

from abc import ABC, abstractmethod

from torch import nn

from boggers.shapes import PerRow, State


class AbstractEnergy(nn.Module, ABC):
    """A scalar landscape over the states of one row.

    Rows are independent: E_b reads row b alone, so the force on a row never depends on its batch
    companions. Concrete energies write their force in closed form; the tests hold it against
    autograd of `energy`.
    """

    @abstractmethod
    def energy(self, state: State) -> PerRow:
        """E_b(S_b) for every row, dimensionless."""

    @abstractmethod
    def force(self, state: State) -> State:
        """-∇_S E_b(S_b), exact, differentiable by ordinary backpropagation."""

    def onto(self, force: State, state: State) -> State:
        """force - ∇_S E, for energies that add more cheaply than one after the other."""
        return force + self.force(state)
