"""Figures that can be trusted: planted leaks are found, intervals cover, peers agree."""

import dataclasses
import importlib.util
import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from boggers.cli.main import main
from boggers.errors import UserError
from boggers.evals import bootstrap
from boggers.evals.generation import distinct, entity_consistency
from boggers.evals.leaks import overlap, reads_ahead, trained_on
from boggers.evals.overlap import Span, covered, shared_spans
from boggers.evals.render import render
from boggers.evals.report import evaluate
from boggers.evals.tokens import TokenTable, measure, measure_peer
from boggers.evals.uncertainty import assess, auroc, calibration, selective
from boggers.field.causal import CausalCoupling
from boggers.infer.engine import Engine
from boggers.infer.score import score

from ..runs import STREAM, story, train

IDS = np.random.default_rng(1).integers(0, 50, 400).astype(np.uint16)


def test_a_table_is_what_scoring_adds_up(any_run: Path) -> None:
    model = Engine.load(any_run).model
    table = measure(model, IDS, 50, 400)
    found = score(model, IDS, 50, 400)
    assert len(table) == 350
    assert table.nats.sum() == pytest.approx(found.nats, rel=1e-9)
    assert table.energy.mean() == pytest.approx(found.energy, rel=1e-5)
    assert (table.tension > 0).all()
    chance = np.exp(-table.nats)
    assert chance[table.correct] == pytest.approx(table.confidence[table.correct])
    assert (table.entropy >= 0).all()


@pytest.mark.skipif(
    importlib.util.find_spec("transformers") is None,
    reason="needs the extra bench: transformers is not installed",
)
def test_a_peer_has_the_loss_that_transformers_gives_it() -> None:
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=50,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    torch.manual_seed(0)
    peer = LlamaForCausalLM(config).eval()

    class Logits(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.peer = peer

        def forward(self, ids: Tensor) -> Tensor:
            logits: Tensor = self.peer(input_ids=ids).logits
            return logits

    start, length = 100, 32
    table = measure_peer(Logits(), IDS, start, start + 4 * length, length=length, context=0)
    losses = []
    for first in range(start, start + 4 * length, length):
        # transformers shifts labels itself: the window's first id only gives context.
        window = torch.tensor(IDS[first - 1 : first + length].astype(np.int64))[None]
        with torch.no_grad():
            losses.append(float(peer(input_ids=window, labels=window).loss))
    assert table.nats.mean() == pytest.approx(sum(losses) / 4, abs=1e-6)
    whole = measure_peer(Logits(), IDS, start, start + 45, length=length, context=16)
    assert len(whole) == 45
    with pytest.raises(UserError, match="context"):
        measure_peer(Logits(), IDS, 10, 50, length=32, context=16)


def test_training_text_in_the_held_out_part_is_named(tmp_path: Path) -> None:
    honest = story(800)
    copied = honest[1000:1300]
    run = train(tmp_path / "leaky", STREAM, text=honest[:-200] + copied, steps=1)
    report = evaluate(run, full=False)
    (leak,) = report.leaks
    assert leak.kind == "trained on"
    assert "stand word for word in the training text" in leak.sentence
    assert report.overlap.longest >= 290
    assert not report.to_json()["base"]["val_metrics_reliable"]
    assert "LEAK (trained on)" in render(report)
    assert main(["eval", str(run), "--quick", "--device", "cpu"]) == 1


def test_honest_runs_have_no_leaks(any_run: Path) -> None:
    assert evaluate(any_run, full=False).leaks == []
    assert main(["eval", str(any_run), "--quick", "--device", "cpu"]) == 0


def test_a_model_that_reads_ahead_is_named(
    stream_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = Engine.load(stream_run)
    assert reads_ahead(engine.model, IDS, 100, 400) == []
    honest = CausalCoupling.forward

    def peeking(self: CausalCoupling, state: Tensor, past: Any) -> Any:
        ahead = torch.roll(state, -1, dims=1)
        felt, after = honest(self, state + 0.1 * ahead, past)
        return felt + 0.1 * ahead, after

    monkeypatch.setattr(CausalCoupling, "forward", peeking)
    (leak,) = reads_ahead(engine.model, IDS, 100, 400)
    assert leak.kind == "reads ahead"
    assert "not causal" in leak.sentence
    report = evaluate(stream_run, full=False, relax_steps=2)
    assert [leak.kind for leak in report.leaks] == ["reads ahead"]


def test_a_window_that_sees_its_target_is_named(
    window_run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import boggers.infer.score as scoring

    model = Engine.load(window_run).model
    honest = scoring._contexts

    def peeking(ids: Any, first: int, last: int, window: int) -> Any:
        return honest(np.roll(ids, -1), first, last, window)

    monkeypatch.setattr(scoring, "_contexts", peeking)
    (leak,) = reads_ahead(model, IDS, 100, 400)
    assert leak.kind == "reads ahead"


def test_a_split_that_cannot_be_is_refused(any_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(any_run, tmp_path / "run")
    data = json.loads((run / "data.json").read_text())
    data["held_out"][0] = data["train"][1] - 10
    (run / "data.json").write_text(json.dumps(data))
    with pytest.raises(UserError, match="has been changed"):
        evaluate(run)


def test_spans_are_found_wherever_they_stand() -> None:
    text = np.arange(1000)
    other = np.concatenate([np.full(5, 2000), text[100:140], np.full(3, 2001), text[700:719]])
    (found, none) = shared_spans(text, [other, np.full(30, 5)], 20)
    assert found == [Span(5, 45)]
    assert none == []
    assert covered(found, len(other)).sum() == 40
    assert shared_spans(text, [text[:19]], 20) == [[]]


def test_overlap_is_counted_in_bytes() -> None:
    trained = np.random.default_rng(0).integers(0, 256, 5000)
    held_out = np.random.default_rng(1).integers(0, 256, 2000)
    none = overlap(trained, held_out, np.ones(2000, dtype=np.int64))
    assert (none.share, none.spans, none.longest, none.start) == (0.0, 0, 0, None)
    assert trained_on(none) == []
    held_out[300:700] = trained[:400]
    found = overlap(trained, held_out, np.ones(2000, dtype=np.int64))
    assert (found.share, found.spans, found.longest, found.start) == (0.2, 1, 400, 300)


def test_intervals_cover_the_truth_nineteen_times_in_twenty() -> None:
    draw = np.random.default_rng(0)
    covered_ = 0
    for trial in range(100):
        below = draw.integers(1, 6, 2000).astype(float)
        noise = np.repeat(draw.normal(0, 1, 200), 10)  # neighbours are alike
        found = bootstrap.ratio(2 * below + noise, below, seed=trial)
        covered_ += found.low <= 2.0 <= found.high
    assert 86 <= covered_ <= 100
    value = bootstrap.mean(np.array([1.0, 2.0, 3.0]))
    assert value.value == 2.0
    assert value.low <= 2.0 <= value.high


def test_few_repetitions_have_students_interval() -> None:
    found = bootstrap.of_repetitions([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.303 / math.sqrt(3), rel=1e-9)
    assert not bootstrap.of_repetitions([1.0]).excludes_zero
    assert bootstrap.of_repetitions([1.0, 1.01, 0.99]).excludes_zero
    with pytest.raises(UserError, match="at least one"):
        bootstrap.of_repetitions([])


def test_auroc_is_the_chance_that_a_wrong_one_is_larger() -> None:
    draw = np.random.default_rng(0)
    values = draw.integers(0, 8, 60).astype(float)
    wrong = draw.random(60) < 0.4
    pairs = [
        1.0 if bad > good else 0.5 if bad == good else 0.0
        for bad in values[wrong]
        for good in values[~wrong]
    ]
    assert auroc(values, wrong) == pytest.approx(np.mean(pairs))
    assert math.isnan(auroc(values, np.zeros(60, dtype=bool)))


def table_of(entropy: Any, energy: Any, correct: Any, confidence: Any | None = None) -> TokenTable:
    nothing = np.zeros(len(correct))
    sure = nothing + 0.5 if confidence is None else confidence
    return TokenTable(
        nats=entropy,
        entropy=entropy,
        confidence=sure,
        correct=correct,
        tension=nothing,
        energy=energy,
        residual=nothing,
        steps=nothing,
    )


def test_a_predictor_that_adds_something_is_told_from_one_that_does_not() -> None:
    draw = np.random.default_rng(0)
    hidden, entropy = draw.normal(size=4000), draw.normal(size=4000)
    wrong = draw.random(4000) < 1 / (1 + np.exp(-(entropy + 1.5 * hidden)))
    useful = assess(table_of(entropy, hidden, ~wrong))
    assert useful.gain.low > 0
    assert "knows more than entropy" in useful.verdict
    useless = assess(table_of(entropy, draw.normal(size=4000), ~wrong))
    assert useless.gain.low <= 0
    assert "adds nothing to entropy" in useless.verdict
    turned = assess(table_of(entropy, -hidden, ~wrong))
    assert turned.predictors["energy"].sign == -1
    assert turned.predictors["energy"].auroc.value > 0.6
    # What is the same for every token is no predictor.
    assert "tension" not in useful.predictors


def test_calibration_and_selection_are_what_they_say() -> None:
    draw = np.random.default_rng(0)
    confidence = draw.random(20_000)
    honest = draw.random(20_000) < confidence
    error, bins = calibration(confidence, honest)
    assert error < 0.02
    assert sum(b.tokens for b in bins) == 20_000
    assert calibration(confidence, honest & (draw.random(20_000) < 0.5))[0] > 0.2
    errors = selective(-confidence, ~honest)
    assert errors["0.05"] < errors["0.5"] < errors["1"]
    assert errors["1"] == pytest.approx(float((~honest).mean()))


def test_writing_is_judged_by_its_words() -> None:
    assert distinct(["a", "b", "a", "b"], 1) == 0.5
    assert distinct(["a", "b", "a", "b"], 2) == pytest.approx(2 / 3)
    assert distinct([], 2) == 1.0
    assert entity_consistency("we met Anna there", "then Anna spoke and so did Bert at") == 0.0
    assert entity_consistency("we met Bert there", "then Anna spoke and so did Bert at") == 1.0
    assert entity_consistency("we met", "nobody at all") is None
    # A capital at the beginning of a sentence is no name.
    assert entity_consistency("", "it was. Then it was. Then it was.") is None


def test_a_full_report_has_everything_and_is_json(any_run: Path, tmp_path: Path) -> None:
    run = shutil.copytree(any_run, tmp_path / "run")
    heard: list[str] = []
    report = evaluate(
        run, samples=3, max_ticks=11, told=lambda what, done, total: heard.append(what)
    )
    kept = json.loads((run / "eval.json").read_text(), parse_constant=lambda name: 1 / 0)
    assert kept == report.to_json()
    assert set(kept["wave_cycle"]) >= {
        "ts_tension_before",
        "ts_tension_after",
        "ts_ticks",
        "mean_lang_tension",
        "evolve_count",
    }
    assert kept["wave_cycle"]["ts_ticks"] <= 11
    assert kept["wave_cycle"]["bpb_before"] == kept["wave_cycle"]["bpb_after"]
    assert kept["wave_cycle"]["bpb_before"] == pytest.approx(report.val_bpb, rel=1e-6)
    assert kept["base"] == kept["post"]
    assert set(kept["base"]) >= {
        "val_ppl",
        "mean_tension",
        "traj_contrast",
        "distinct_4grams_per_token",
        "bigram_repetition_rate",
        "average_tension",
    }
    inside = report.inside
    assert inside is not None
    assert inside.generation is not None
    assert inside.generation.samples == 3
    assert inside.attractors is not None
    assert inside.stability is not None
    assert inside.traces[0].patterns[0].contexts
    assert inside.timescales
    assert inside.silent == []
    assert report.val_bpb_interval.low < report.val_bpb < report.val_bpb_interval.high
    margin = report.baselines["trigram"].bpb - report.val_bpb
    assert report.trigram_margin.value == pytest.approx(margin, rel=1e-9)
    said = render(report)
    for word in (
        "Attractors",
        "Stability",
        "Timescales",
        "AUROC",
        "known by heart",
        "95 %",
        "wave cycle",
    ):
        assert word in said
    for what in ("predicting", "writing samples", "silencing timescales"):
        assert what in heard
    # A quick look at the same checkpoint does not throw the full report away.
    evaluate(run, full=False)
    assert json.loads((run / "eval.json").read_text())["inside"] is not None


def test_without_steps_the_report_says_what_is_missing(tmp_path: Path) -> None:
    run = train(tmp_path, dataclasses.replace(STREAM, num_dynamics_steps=0), steps=2)
    report = evaluate(run, samples=1)
    assert report.inside is not None
    assert report.diagnosis is None
    assert report.inside.attractors is None
    assert "no relaxation steps" in " ".join(report.inside.silent)
    assert report.val_traj_contrast is None
