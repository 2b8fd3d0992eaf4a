"""Every picture of a real small run is drawn, opened and not empty; axes have names and units."""

import csv
import math
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.cli.plot import draw_run
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.plots import canvas
from boggers.plots.columns import draw_columns, numeric_columns, unit_of
from boggers.plots.page import Page
from boggers.plots.pair import draw_pair
from boggers.plots.scene import visible
from boggers.plots.sweep import Column, draw_sweep
from boggers.probe.pair import compare

UNIT = re.compile(
    r"\(.+\)|bits per byte|nats|tokens|step|epoch|row|second|dimensionless|share|cosine|count|"
    r"state units|per step|rate|energy|channel|position|character|line|main direction|^s$"
)


def assert_whole(path: Path) -> None:
    """A picture that is more than a blank sheet; a page that holds pictures and nothing outside."""
    if path.suffix == ".png":
        from matplotlib.image import imread

        pixels = imread(path)[..., :3]
        assert pixels.shape[1] > 500
        assert (pixels.min(axis=-1) < 0.9).mean() > 0.003
    elif path.suffix == ".svg":
        text = path.read_text(encoding="utf-8")
        assert "<svg" in text[:2000]
        assert text.count("<path") > 10
    else:
        assert path.suffix == ".html"


class Outside(HTMLParser):
    """Collects whatever a page would fetch."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self.words = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        self.found += [str(values[name]) for name in ("src", "href") if values.get(name)]
        self.words += tag == "span"


def test_every_picture_of_a_run(
    any_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = shutil.copytree(any_run, tmp_path / "run")
    names: list[tuple[str, str]] = []
    save = canvas.save

    def noted(figure: object, path: Path) -> list[Path]:
        for axes in figure.axes:  # type: ignore[attr-defined]
            if axes.axison and axes.get_label() != "<colorbar>":
                names.append((axes.get_xlabel(), axes.get_ylabel()))
        return save(figure, path)

    for module in ("curves", "columns", "settling", "stream", "inside"):
        monkeypatch.setattr(f"boggers.plots.{module}.save", noted)
    heard: list[str] = []
    drawn = draw_run(run, said=heard.append)
    assert heard == []
    stems = {path.stem.partition("-")[0] for path in drawn}
    assert stems == {
        "training",
        "columns",
        "settling",
        "states",
        "energy",
        "text",
        "timescales",
        "index",
    }
    for path in drawn:
        assert_whole(path)
    assert len(names) > 20
    for across, up in names:
        assert UNIT.search(across), across
        assert UNIT.search(up), up
    page = (run / "plots" / "index.html").read_text(encoding="utf-8")
    outside = Outside()
    outside.feed(re.sub(r"<script.*?</script>", "", page, flags=re.DOTALL))
    assert outside.found == []
    assert outside.words > 3 * 100
    assert page.count("Plotly.newPlot(") >= 5
    for heading in ("metrics.csv", "States", "Text", "Timescales"):
        assert f"<h2>{heading}</h2>" in page


def test_every_numeric_column_is_drawn(tmp_path: Path) -> None:
    table = tmp_path / "batches.csv"
    names = ["global_step", *(f"state_norm_{i}" for i in range(14)), "waves", "word", "empty"]
    with table.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        for row in range(9):
            writer.writerow([row, *(row * i for i in range(14)), f"{row};{2 * row}", "x", ""])
    columns = numeric_columns(table)
    assert set(columns) == {*names[:-3], "waves_0", "waves_1"}
    assert columns["waves_1"] == [2.0 * row for row in range(9)]
    drawn = draw_columns(table, tmp_path / "columns")
    # Sixteen columns against the step: two pictures of at most twelve.
    assert [path.name for path in drawn[::2]] == ["columns.png", "columns-2.png"]
    for path in drawn:
        assert_whole(path)


def test_a_torn_table_is_drawn_as_far_as_it_goes(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("step,ce\n1,2.0\n2,\n3,nan\n4\n")
    columns = numeric_columns(table)
    assert columns["ce"][0] == 2.0
    assert all(math.isnan(value) for value in columns["ce"][1:])
    table.write_text("step,ce\n")
    with pytest.raises(UserError, match="no rows"):
        draw_columns(table, tmp_path / "c")
    table.write_text("step,word\n1,x\n")
    with pytest.raises(UserError, match="no numbers"):
        draw_columns(table, tmp_path / "c")
    with pytest.raises(UserError, match="cannot be read"):
        draw_columns(tmp_path / "absent.csv", tmp_path / "c")


@pytest.mark.parametrize(
    ("name", "unit"),
    [
        ("train_ce", "nats per token"),
        ("val_bpb", "bits per byte"),
        ("tokens_per_second", "tokens/s"),
        ("energy_mean", "dimensionless"),
        ("break_high_count", "count"),
    ],
)
def test_columns_have_units(name: str, unit: str) -> None:
    assert unit_of(name) == unit


def test_an_axis_without_a_name_is_not_saved(tmp_path: Path) -> None:
    with canvas.canvas(1) as (figure, (axes,)):
        axes.plot([1, 2], [3, 4])
        axes.set(xlabel="step", title="half")
        with pytest.raises(AssertionError, match="half has an axis without a name"):
            canvas.save(figure, tmp_path / "half")


def test_text_in_a_page_is_only_text(tmp_path: Path) -> None:
    page = Page("<script>alert(1)</script>")
    page.heading("<b>")
    page.text('"&<i>')
    page.plain("<pre>")
    page.table([("<a>", "b"), ("<c>", "d")])
    page.words([("<img src=x>\n", 0.5, '">')], "#2563a8")
    page.write(tmp_path / "page.html")
    written = (tmp_path / "page.html").read_text()
    for forbidden in ("<script>alert", "<b>", "<i>", "<a>", "<c>", "<img", 'title="">"'):
        assert forbidden not in written
    assert "&lt;img" in written
    assert visible(" \n\x07") == "·↵‹7›"
    assert visible("") == "‹nothing›"


def test_two_texts(any_run: Path, tmp_path: Path) -> None:
    engine = Engine.load(any_run)
    pair = compare(engine, "the Fox sees", "Ann runs to")
    for path in draw_pair(pair, tmp_path / "pair"):
        assert_whole(path)
    assert len(pair.distance) == len(pair.cosine) == len(pair.sides[0].path)
    apart = (pair.sides[0].path[-1] - pair.sides[1].path[-1]).norm()
    assert pair.distance[-1] == pytest.approx(float(apart), rel=1e-5)
    assert 0 < pair.divergence <= 1
    same = compare(engine, "the Fox sees", "the Fox sees")
    assert same.distance[-1] == 0
    assert same.cosine[-1] == pytest.approx(1.0, abs=1e-6)
    assert same.divergence == pytest.approx(0.0, abs=1e-9)
    assert same.diagnosis.verdict == "COLLAPSED"
    with pytest.raises(UserError, match="must not be empty"):
        compare(engine, "", "the")


def test_comparing_on_the_command_line(
    any_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "picture"
    argv = ["compare", str(any_run), "a Fox", "a hill", "--out", str(out), "--device", "cpu"]
    assert main([*argv, "--json", str(tmp_path / "pair.json")]) == 0
    said = capsys.readouterr().out
    for word in ("distance", "cosine", "Jensen–Shannon", "a Fox", "(two places)"):
        assert word in said
    assert out.with_suffix(".png").is_file()
    assert (tmp_path / "pair.json").is_file()


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_sweep(tmp_path: Path, seeds: int) -> None:
    interval = (-0.1, -0.2, 0.0) if seeds > 1 else (-0.1, -math.inf, math.inf)
    columns = [
        Column("0", [2.0, 2.1, 2.2][:seeds], None),
        Column("1", [1.9, 2.0, 2.1][:seeds], interval),
    ]
    for path in draw_sweep("steps", columns, tmp_path / "sweep"):
        assert_whole(path)


def test_a_report_as_a_page(any_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(any_run, tmp_path / "run")
    page = tmp_path / "report.html"
    argv = ["eval", str(run), "--html", str(page), "--samples", "2", "--device", "cpu"]
    assert main(argv) == 0
    written = page.read_text(encoding="utf-8")
    for heading in ("Does it know when it errs?", "What it writes", "Attractors", "All of it"):
        assert f"<h2>{heading}</h2>" in written
    assert written.count("Plotly.newPlot(") == 4
