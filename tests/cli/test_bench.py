"""A small contest from beginning to end, interrupted and repeated."""

import importlib.util
from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.files import read_json
from tests.cli.conftest import Refused

NAMES = ["stream", "stream-k0", "stream-mlp", "lstm"]


@pytest.fixture
def contest(tmp_path: Path) -> list[str]:
    words = "the red fox sees a hill and runs to it in the rain while the old dog sleeps "
    (tmp_path / "text.txt").write_text(words * 60)
    argv = ["bench", "quality", "--corpus", "text.txt", "--tokenizer", "byte"]
    argv += ["--contestants", ",".join(NAMES), "--tokens", "512", "--batch-tokens", "64"]
    argv += ["--sequence-length", "16", "--non-embedding", "40000", "--layers", "2"]
    argv += ["--seeds", "0,1", "--factors", "1,3", "--measurements", "2", "--val-fraction", "0.1"]
    return [*argv, "--device", "cpu", "--out", "contest"]


def test_a_contest_ranks_everyone_on_equal_terms(
    contest: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(contest) == 0
    said = capsys.readouterr().out
    assert "trigram (counted)" in said
    report = read_json(Path("contest/quality.json"))
    standings = report["standings"]
    assert sorted(row["name"] for row in standings) == sorted(NAMES)
    assert [row["mean_bpb"] for row in standings] == sorted(row["mean_bpb"] for row in standings)
    for row in standings:
        assert row["name"] in said
        assert len(row["outcomes"]) == 2
        assert len(row["sweep"]) == 2
        best = min(row["sweep"], key=lambda outcome: outcome["curve"][-1]["bpb"])
        assert {o["entry"]["factor"] for o in row["outcomes"]} == {best["entry"]["factor"]}
        for outcome in row["outcomes"]:
            assert outcome["non_embedding"] == pytest.approx(40_000, rel=0.05)
            assert [point["tokens"] for point in outcome["curve"]] == [256, 512]
            assert outcome["flops_per_token"] > 0
    if importlib.util.find_spec("matplotlib"):
        assert Path("contest/quality.png").stat().st_size > 10_000


def test_what_was_trained_is_not_trained_again(
    contest: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main(contest) == 0
    before = read_json(Path("contest/quality.json"))

    def refuse(*_: object) -> None:
        raise AssertionError("trained again")

    monkeypatch.setattr("boggers.evals.quality.run_entry", refuse)
    assert main(contest) == 0
    assert read_json(Path("contest/quality.json")) == before
    with pytest.raises(AssertionError, match="trained again"):
        main([*contest, "--seeds", "0,1,2"])


def test_a_folder_holds_one_contest(contest: list[str], refused: Refused) -> None:
    assert main(contest) == 0
    assert "other terms" in refused(*contest, "--context", "3")


def test_equal_seconds_give_everyone_the_steps_they_have_time_for(contest: list[str]) -> None:
    short = [*contest, "--seconds", "1", "--contestants", "lstm", "--seeds", "0", "--factors", "1"]
    assert main(short) == 0
    (row,) = read_json(Path("contest/quality.json"))["standings"]
    assert row["outcomes"][0]["entry"]["steps"] > 8


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (["--contestants", "lama"], "Did you mean llama"),
        (["--contestants", "lstm,lstm"], "came twice"),
        (["--seeds", "one"], "--seeds"),
        (["--factors", "1,1"], "--factors"),
        (["--batch-tokens", "65"], "multiple of --sequence-length"),
        (["--sweep-share", "0"], "--sweep-share"),
        (["--non-embedding", "10"], "too small"),
        (["--context", "16"], "--context"),
        (["--val-fraction", "0"], "held-out"),
        (["--corpus", "nowhere.txt"], "nowhere.txt"),
    ],
)
def test_mistakes_are_told_in_a_sentence(
    contest: list[str], wrong: list[str], named: str, refused: Refused
) -> None:
    assert named in refused(*contest, *wrong)


def test_what_is_to_be_measured_must_be_said(refused: Refused) -> None:
    assert "quality" in refused("bench")
    assert "speed" in refused("bench", "speed")
