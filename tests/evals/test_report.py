"""The report of a run: its numbers recomputed by hand, other texts, runs that cannot be judged."""

import dataclasses
import json
import math
import random
from pathlib import Path

import pytest
import torch

from boggers.data.config import DataConfig
from boggers.data.tokens import tokenise
from boggers.errors import UserError
from boggers.evals.ngram import KneserNey, Unigram
from boggers.evals.render import render
from boggers.evals.report import Baseline, Report, evaluate
from boggers.infer.engine import Engine
from boggers.infer.score import score
from boggers.model.window import WindowConfig
from boggers.text.config import TextConfig
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig, TrainConfig

WORDS = ["the", "fox", "sees", "a", "réd", "hill", "and", "runs", "to", "it", "in", "rain"]


def trained(folder: Path, val_fraction: float = 0.2) -> Path:
    """A run of six steps over about 1,200 bytes."""
    choose = random.Random(3)
    corpus = folder / "corpus.txt"
    corpus.write_text(" ".join(choose.choice(WORDS) for _ in range(300)) + ".\n", encoding="utf-8")
    config = RunConfig(
        model=WindowConfig(state_dim=8, num_waves=2, window_size=4, num_dynamics_steps=2),
        text=TextConfig(tokenizer="byte"),
        data=DataConfig(corpus=str(corpus), cache_dir=folder / "cache", val_fraction=val_fraction),
        train=TrainConfig(out=folder / "run", device="cpu", batch_size=32, max_steps=6),
    )
    prepared = prepare(config)
    fit(prepared, [], prepared.validate)
    return folder / "run"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.set_num_threads(1)
    return trained(tmp_path_factory.mktemp("evals"))


def test_every_number_is_what_its_name_says(run: Path) -> None:
    report = evaluate(run)
    data = json.loads((run / "data.json").read_text(encoding="utf-8"))
    (train, start), (stop, end) = data["train"], data["held_out"]
    engine = Engine.load(run)
    text = Path(data["corpus"]).read_bytes()
    ids = tokenise(
        DataConfig(corpus=data["corpus"], cache_dir=run.parent / "cache"), engine.tokenizer
    ).ids
    assert (train, end) == (0, len(text))
    found = score(engine.model, ids, stop, end)
    assert report.val_tokens == end - stop
    assert report.val_ce == pytest.approx(found.nats / (end - stop))
    assert report.val_ppl == pytest.approx(math.exp(report.val_ce))
    # A byte is a token here.
    assert report.val_bpb == pytest.approx(report.val_ce / math.log(2))
    assert (report.steps, report.train_tokens) == (6, 6 * 32)
    assert report.params == sum(p.numel() for p in engine.model.parameters())
    assert report.params_embedding == 257 * 8
    # Both add up single precision, each in its own order.
    assert report.mean_tension == pytest.approx(found.tension, rel=1e-6)
    assert report.mean_energy == pytest.approx(found.energy, rel=1e-6)
    assert report.mean_residual == pytest.approx(found.residual, rel=1e-6)
    assert report.mean_relax_steps == 2
    assert report.seconds > 0
    models = {"unigram": Unigram(257), "bigram": KneserNey(2, 257), "trigram": KneserNey(3, 257)}
    for name, model in models.items():
        ce = model.fit(ids[train:start]).nats(ids, stop, end) / (end - stop)
        assert report.baselines[name].ce == pytest.approx(ce)
        assert report.baselines[name].bpb == pytest.approx(ce / math.log(2))
    assert report.beats_trigram == (report.val_bpb < report.baselines["trigram"].bpb)


def test_training_and_evaluation_measure_the_same(run: Path) -> None:
    last = (run / "metrics.csv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(last[0].split(","), last[-1].split(","), strict=True))
    assert float(row["val_ce"]) == pytest.approx(evaluate(run).val_ce, rel=1e-6)


def test_the_report_is_kept_with_the_run(run: Path) -> None:
    (run / "eval.json").unlink(missing_ok=True)
    report = evaluate(run)
    kept = json.loads((run / "eval.json").read_text(encoding="utf-8"))
    assert kept == report.to_json()
    assert set(kept["baselines"]) == {"unigram", "bigram", "trigram"}


def test_another_text_is_held_out_whole(run: Path, tmp_path: Path) -> None:
    evaluate(run)
    kept = (run / "eval.json").read_bytes()
    (tmp_path / "other.txt").write_text("the fox runs in the rain, € and all", encoding="utf-8")
    report = evaluate(run, corpus=str(tmp_path / "other.txt"))
    size = (tmp_path / "other.txt").stat().st_size
    assert report.val_tokens == size
    assert report.corpus.endswith("other.txt")
    # What the run learnt from still teaches the n-gram models.
    assert report.baselines["trigram"].bpb < report.baselines["unigram"].bpb < 8
    assert (run / "eval.json").read_bytes() == kept


def test_other_relaxation_steps_are_measured_but_not_kept(run: Path) -> None:
    usual = evaluate(run)
    none = evaluate(run, relax_steps=0)
    assert none.val_ce != usual.val_ce
    assert (none.relax_steps, none.mean_relax_steps) == (0, 0)
    assert json.loads((run / "eval.json").read_text(encoding="utf-8")) == usual.to_json()


def test_a_changed_text_is_refused(tmp_path: Path) -> None:
    run = trained(tmp_path)
    with (tmp_path / "corpus.txt").open("a", encoding="utf-8") as file:
        file.write("more")
    with pytest.raises(UserError, match="has changed since"):
        evaluate(run)


def test_a_run_without_held_out_text_is_measured_on_another_only(tmp_path: Path) -> None:
    run = trained(tmp_path, val_fraction=0)
    with pytest.raises(UserError, match="holds out no text"):
        evaluate(run)
    (tmp_path / "other.txt").write_text("the fox", encoding="utf-8")
    assert evaluate(run, corpus=str(tmp_path / "other.txt")).val_tokens == 7


def test_a_table_says_who_wins(run: Path) -> None:
    report = evaluate(run)
    lines = render(report).splitlines()
    names = [line.split("  ")[0] for line in lines[1:5]]
    assert names == ["this run", "unigram", "bigram", "trigram"]
    assert f"{report.val_bpb:.4f}" in lines[1]
    assert len({len(line) for line in lines[:5]}) == 1
    assert "does not beat the Kneser–Ney trigram" in lines[-1]
    better = winning(report)
    assert "beats the Kneser–Ney trigram: 1.5000 against 2.0000 bits per byte" in render(better)
    assert "25.0 % fewer" in render(better)


def winning(report: Report) -> Report:
    trigram = Baseline(ce=3.0, bpb=2.0)
    return dataclasses.replace(
        report,
        val_bpb=1.5,
        beats_trigram=True,
        baselines={**report.baselines, "trigram": trigram},
    )
