"""What the first page claims is what recorded runs gave."""

import json
import shutil
from pathlib import Path

import pytest

from boggers.cli.claims import main
from boggers.errors import UserError
from boggers.evals.claims import figure, filled, marked
from boggers.evals.report import evaluate
from boggers.files import read_json

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDED = sorted((ROOT / "docs" / "runs").iterdir())


def test_the_figures_are_those_of_the_recorded_runs() -> None:
    assert len(marked(README)) >= 2
    assert filled(README, ROOT) == README, "run: make fix"


@pytest.mark.parametrize("run", RECORDED, ids=lambda run: run.name)
def test_a_recorded_run_is_whole_and_trusted(run: Path) -> None:
    report = read_json(run / "eval.json")
    assert report["leaks"] == []
    assert report["inside"] is not None
    assert report["val_bpb"] > 0
    # A record may be of an earlier version, but says with which settings it was made.
    config = read_json(run / "config.json")
    assert {"architecture", "model", "text", "data", "train"} <= config.keys()
    assert config["architecture"] == report["config"]["architecture"]
    assert "cache" not in json.dumps(config["data"]["cache_dir"])


def page(folder: Path, text: str) -> Path:
    (folder / "docs" / "runs" / "one").mkdir(parents=True)
    report = {"val_bpb": 1.23456, "params": 1_140_000, "baselines": {"trigram": {"bpb": 2.0}}}
    (folder / "docs" / "runs" / "one" / "eval.json").write_text(json.dumps(report))
    (folder / "README.md").write_text(text)
    return folder


def test_a_stale_figure_is_found_and_mended(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    stale = "It has <!-- figure one val_bpb .3f -->**9**<!-- end --> bits."
    root = page(tmp_path, stale)
    assert main(["--check"], root) == 1
    assert "make fix" in capsys.readouterr().err
    assert (root / "README.md").read_text() == stale
    assert main([], root) == 0
    assert "-->1.235<!--" in (root / "README.md").read_text()
    assert main(["--check"], root) == 0


def test_a_record_quotes_no_text(
    any_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(any_run, tmp_path / "run")
    (tmp_path / "README.md").write_text("<!-- figure new params , -->0<!-- end -->")
    evaluate(run, full=False)
    assert main(["--record", str(run), "new"], tmp_path) == 1
    assert "needs a full report" in capsys.readouterr().err
    evaluate(run, samples=1)
    assert main(["--record", str(run), "new"], tmp_path) == 0
    written = (tmp_path / "docs" / "runs" / "new" / "eval.json").read_text()
    assert "hill" not in written
    assert json.loads(written)["inside"]["attractors"]["count"] >= 1
    assert (tmp_path / "docs" / "runs" / "new" / "config.json").is_file()
    assert "-->0<!--" not in (tmp_path / "README.md").read_text()
    assert main(["--record"], tmp_path) == 2


def test_figures_are_written_as_asked(tmp_path: Path) -> None:
    root = page(tmp_path, "")
    assert figure(root, "one", "params", ",") == "1,140,000"
    assert figure(root, "one", "params", "million") == "1.1 million"
    assert figure(root, "one", "baselines.trigram.bpb", ".1f") == "2.0"
    for run, name, how, why in (
        ("two", "val_bpb", ".3f", "not recorded"),
        ("one", "nothing", ".3f", "has no figure"),
        ("one", "baselines", ".3f", "must be a number"),
        ("one", "val_bpb", "d", "cannot be written"),
    ):
        with pytest.raises(UserError, match=why):
            figure(root, run, name, how)
    with pytest.raises(UserError, match="Mend the mark"):
        filled("<!-- figure one val_bpb -->1<!-- end -->", root)
