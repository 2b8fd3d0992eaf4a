"""Several basins: the position is at the bottom of each, and what it says is their free energy."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from boggers.model.basins import Basins, Rests
from boggers.model.stream import StreamConfig, StreamModel, StreamReading

VOCAB, WIDTH, BASINS = 40, 16, 3
CONFIG = StreamConfig(
    state_dim=WIDTH, num_stages=2, memory_patterns=12, num_waves=2, num_basins=BASINS
)


def lively(config: StreamConfig = CONFIG) -> StreamModel:
    model = StreamModel(config, VOCAB, torch.Generator().manual_seed(0)).double()
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            noise = torch.Generator().manual_seed(number)
            parameter += 0.3 * torch.randn(parameter.shape, generator=noise)
    return model.eval()


def text() -> Tensor:
    return torch.randint(VOCAB, (2, 9), generator=torch.Generator().manual_seed(2))


def rests_of(model: StreamModel, reading: StreamReading) -> Rests:
    last = reading.settled[-1]
    return model.rests(reading.states, last.slope, last.proposal)


def test_what_is_said_is_boltzmanns_sum_over_the_basins() -> None:
    model = lively()
    with torch.no_grad():
        reading = model(text())
        rests = rests_of(model, reading)
        last = reading.settled[-1]
        assert isinstance(model.basins, Basins)
        wells = [model.stages[-1].memory, *model.basins.memories]
        sharpness, tilt = model.basins.sharpness, model.basins.tilt
        terms = []
        for well, state, b in zip(wells, rests.states, tilt, strict=True):
            energy = well.energy(state, last.proposal)
            unit = state / state.square().mean(dim=-1, keepdim=True).sqrt()
            chance = -sharpness * energy / WIDTH + b
            terms.append(unit @ model.embedding.T + chance[..., None])
        expected = torch.logsumexp(torch.stack(terms), dim=0)
    torch.testing.assert_close(
        reading.logits.log_softmax(dim=-1), expected.log_softmax(dim=-1), rtol=1e-6, atol=1e-6
    )


def test_a_position_rests_in_every_basin_and_in_different_places() -> None:
    model = lively()
    with torch.no_grad():
        reading = model(text())
        rests, last = rests_of(model, reading), reading.settled[-1]
        assert isinstance(model.basins, Basins)
        assert torch.equal(rests.states[0], reading.states)
        for well, state in zip(model.basins.memories, rests.states[1:], strict=True):
            assert well.force(state, last.proposal).abs().max() < 1e-12
            assert (state - rests.states[0]).abs().max() > 0.1


def test_several_basins_lift_the_rank_of_what_can_be_said() -> None:
    """One state of D numbers says logits of rank D; every centred row lies in as few directions."""

    def rank(model: StreamModel) -> int:
        tokens = torch.randint(VOCAB, (4, 30), generator=torch.Generator().manual_seed(3))
        with torch.no_grad():
            logits = model(tokens).logits.flatten(0, 1)
        centred = logits - logits.mean(dim=-1, keepdim=True)
        return int(torch.linalg.matrix_rank(centred, rtol=1e-9))

    assert rank(lively(replace(CONFIG, num_basins=1))) <= WIDTH
    assert rank(lively()) > 2 * WIDTH


@pytest.mark.parametrize("basins", [2, 3, 4])
def test_the_gradient_of_reading_is_exact(basins: int) -> None:
    noise = torch.Generator().manual_seed(basins)

    def drawn(*shape: int) -> Tensor:
        return (3 * torch.randn(*shape, generator=noise)).double().requires_grad_()

    states = [drawn(2, 3, 4) for _ in range(basins)]
    chances, table = [drawn(2, 3) for _ in range(basins)], drawn(5, 4)

    def read(*given: Tensor) -> Tensor:
        rests = Rests(given[:basins], given[basins:-1])
        return rests.read(given[-1])

    assert torch.autograd.gradcheck(read, (*states, *chances, table))
    assert torch.autograd.gradgradcheck(read, (*states, *chances, table))


def test_reading_may_be_changed_in_place() -> None:
    states = tuple(torch.randn(1, 2, 4, requires_grad=True) for _ in range(2))
    chances = tuple(torch.zeros(1, 2) for _ in range(2))
    said = Rests(states, chances).read(torch.randn(5, 4))
    said.add_(1.0).square().sum().backward()
    assert states[0].grad is not None


def test_a_basin_that_is_deep_speaks_for_all() -> None:
    states = (torch.zeros(1, 1, 4), torch.ones(1, 1, 4))
    chances = (torch.full((1, 1), -1e4), torch.zeros(1, 1))
    table = torch.randn(5, 4)
    said = Rests(states, chances).read(table)
    assert said.isfinite().all()
    torch.testing.assert_close(said.softmax(-1), (states[1] @ table.T).softmax(-1))
