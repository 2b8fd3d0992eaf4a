"""What the first page claims is what recorded runs gave."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from boggers.cli.claims import main
from boggers.errors import UserError
from boggers.evals.claims import figure, filled, marked
from boggers.evals.contest_record import below
from boggers.evals.report import evaluate
from boggers.files import read_json, write_json

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RECORDED = sorted(file.parent for file in (ROOT / "docs" / "runs").glob("*/eval.json"))
CONTESTS = sorted((ROOT / "docs" / "runs").glob("*/contest.json"))


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


def test_nothing_else_is_recorded() -> None:
    known = {run.name for run in RECORDED} | {file.parent.name for file in CONTESTS}
    assert known == {folder.name for folder in (ROOT / "docs" / "runs").iterdir()}


@pytest.mark.parametrize("file", CONTESTS, ids=lambda file: file.parent.name)
def test_a_recorded_contest_adds_up(file: Path) -> None:
    contest = read_json(file)
    assert "corpus" not in contest["terms"]
    for standing in contest["contestants"].values():
        seeds = standing["seeds"].values()
        assert standing["bpb"] == pytest.approx(sum(seeds) / len(seeds))
        assert (standing["lowest"], standing["highest"]) == (min(seeds), max(seeds))
        assert standing["factor"] in standing["factors_tried"]
    assert contest["below"] == below(contest["contestants"])


def trained(contest: Path, name: str, seed: int, factor: float, bpb: float, **terms: Any) -> None:
    """A training as `boggers bench quality` keeps it."""
    optim = {"lr": 0.1, **terms.pop("optim", {})}
    entry = {"contestant": name, "seed": seed, "factor": factor, "steps": 3}
    curve = [{"tokens": 10, "seconds": 1.0, "bpb": 3.0}, {"tokens": 30, "seconds": 3.0, "bpb": bpb}]
    sizes = {"params": 9, "non_embedding": 5, "flops_per_token": 7.0}
    kept = {
        "terms": {"corpus": "/home/me/book.txt", "corpus_key": "k", "optim": optim, **terms},
        "outcome": {"entry": entry, "curve": curve, **sizes},
    }
    write_json(contest / "trials" / f"{name}-seed{seed}-x{factor:g}-3.json", kept)


def test_a_contest_is_recorded_at_the_best_rates(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    contest = tmp_path / "contest"
    for factor, bpb in ((0.5, 2.2), (1, 2.0)):
        trained(contest, "llama", 0, factor, bpb)
    trained(contest, "llama", 1, 1, 1.8)
    trained(contest, "llama", 1, 0.5, 1.0)  # not at the rates that seed 0 chose
    trained(contest, "stream", 0, 1, 1.7, optim={"phrase_decay": 0.1})
    trained(contest, "stream", 1, 1, 1.72)
    trained(contest, "lstm", 0, 1, 2.5)
    claim = "<!-- figure new below.llama.stream percent -->?<!-- end --> below"
    (tmp_path / "README.md").write_text(claim)
    assert main(["--record", str(contest), "new"], tmp_path) == 0
    assert "-->10.0 %<!--" in (tmp_path / "README.md").read_text()
    written = (tmp_path / "docs" / "runs" / "new" / "contest.json").read_text()
    assert "/home/me" not in written
    report = json.loads(written)
    assert report["contestants"]["llama"]["seeds"] == {"0": 2.0, "1": 1.8}
    assert report["contestants"]["llama"]["factors_tried"] == [0.5, 1]
    assert report["contestants"]["stream"]["optim"]["phrase_decay"] == 0.1
    # Of other seeds nothing is said.
    assert report["below"] == {"llama": {"stream": pytest.approx(0.1)}, "lstm": {}, "stream": {}}
    trained(contest, "mamba", 0, 1, 1.0, corpus_key="another text")
    assert main(["--record", str(contest), "new"], tmp_path) == 1
    assert "other terms" in capsys.readouterr().err
    shutil.rmtree(contest)
    (contest / "trials").mkdir(parents=True)
    assert main(["--record", str(contest), "new"], tmp_path) == 1
    assert "holds none" in capsys.readouterr().err


def page(folder: Path, text: str) -> Path:
    (folder / "docs" / "runs" / "one").mkdir(parents=True)
    report = {"val_bpb": 1.23456, "params": 1_140_000, "baselines": {"trigram": {"bpb": 2.0}}}
    report["seconds"] = 299.6
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
    assert figure(root, "one", "baselines.trigram.bpb", "percent") == "200.0 %"
    assert figure(root, "one", "seconds", "minutes") == "5 min 0 s"
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
