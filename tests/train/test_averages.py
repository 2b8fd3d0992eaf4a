import json
import math

import torch

from boggers.train.averages import Averages

CPU = torch.device("cpu")


def scalars(**values: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value) for name, value in values.items()}


def test_means_leave_out_skipped_steps_even_where_they_are_not_numbers() -> None:
    averages = Averages(CPU, {})
    averages.add(scalars(loss=1.0, norm=4.0), torch.tensor(0.0))
    averages.add(scalars(loss=math.nan, norm=math.inf), torch.tensor(1.0))
    averages.add(scalars(loss=2.0, norm=2.0), torch.tensor(0.0))
    measured = averages.read()
    assert measured.means == {"loss": 1.5, "norm": 3.0}
    assert (measured.skipped, measured.skipped_in_a_row, measured.longest_row) == (1, 0, 1)


def test_rows_of_skipped_steps_are_counted() -> None:
    averages = Averages(CPU, {}, skipped=4, skipped_in_a_row=1)
    for skipped in (1.0, 1.0, 0.0, 1.0):
        averages.add(scalars(loss=math.nan), torch.tensor(skipped))
    measured = averages.read()
    assert (measured.skipped, measured.skipped_in_a_row, measured.longest_row) == (7, 1, 3)


def test_restarting_forgets_the_sums_and_keeps_the_counts() -> None:
    averages = Averages(CPU, {})
    averages.add(scalars(loss=8.0), torch.tensor(0.0))
    averages.add(scalars(loss=8.0), torch.tensor(1.0))
    averages.restart()
    assert averages.read().means == {}
    averages.add(scalars(loss=2.0), torch.tensor(0.0))
    assert averages.read().means == {"loss": 2.0}
    assert averages.read().skipped == 1


def test_saved_sums_continue_bit_for_bit() -> None:
    values = torch.rand(20, generator=torch.Generator().manual_seed(0)).tolist()
    whole = Averages(CPU, {})
    for value in values:
        whole.add(scalars(loss=value), torch.tensor(0.0))
    part = Averages(CPU, {})
    for value in values[:7]:
        part.add(scalars(loss=value), torch.tensor(0.0))
    part = Averages(CPU, json.loads(json.dumps(part.sums())))
    for value in values[7:]:
        part.add(scalars(loss=value), torch.tensor(0.0))
    assert part.read() == whole.read()


def test_other_measurements_begin_new_sums() -> None:
    averages = Averages(CPU, {"steps": 3.0, "loss": 30.0})
    averages.add(scalars(loss=1.0, token_auxiliary=2.0), torch.tensor(0.0))
    assert averages.read().means == {"loss": 1.0, "token_auxiliary": 2.0}
