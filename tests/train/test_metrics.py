import dataclasses
import resource
from pathlib import Path

import pytest

from boggers.errors import UserError
from boggers.train.metrics import COLUMNS, MetricsFile, MetricsRow, read_metrics


def row(step: int, **values: float) -> MetricsRow:
    return MetricsRow(step=step, epoch=1, lr=0.1, tokens=step * 8, seconds=0.5, **values)


def test_columns_are_the_fields_and_absent_values_stay_empty(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "metrics.csv", 0)
    file.append(row(3, train_ce=1.25))
    header, line = (tmp_path / "metrics.csv").read_text().splitlines()
    assert header == ",".join(spec.name for spec in dataclasses.fields(MetricsRow))
    cells = dict(zip(header.split(","), line.split(","), strict=True))
    assert cells["train_ce"] == "1.25"
    assert cells["step"] == "3"
    assert cells["val_ce"] == ""


def test_numbers_are_written_exactly(tmp_path: Path) -> None:
    MetricsFile(tmp_path / "m.csv", 0).append(row(1, train_ce=0.1 + 0.2))
    assert float(read_metrics(tmp_path / "m.csv")[0]["train_ce"]) == 0.1 + 0.2


def test_rows_after_the_resumed_step_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    file = MetricsFile(path, 0)
    for step in (10, 20, 30):
        file.append(row(step))
    MetricsFile(path, 20).append(row(25))
    assert [r["step"] for r in read_metrics(path)] == ["10", "20", "25"]


def test_a_row_torn_by_a_crash_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    MetricsFile(path, 0).append(row(10))
    with path.open("a") as file:
        file.write("20,1,0.1,4.")
    MetricsFile(path, 40).append(row(20))
    assert [r["step"] for r in read_metrics(path)] == ["10", "20"]


def test_a_file_of_other_columns_is_refused_untouched(tmp_path: Path) -> None:
    path = tmp_path / "m.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="other columns"):
        MetricsFile(path, 0)
    assert path.read_text() == "a,b\n1,2\n"


def test_an_unwritable_file_is_a_sentence(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path / "m.csv", 0)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(",".join(COLUMNS)) + 10, limits[1]))
    try:
        with pytest.raises(UserError, match=r"m\.csv could not be written: File too large"):
            file.append(row(1))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_missing_file_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_metrics(tmp_path / "none.csv")
