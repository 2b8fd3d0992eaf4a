from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.data.synthetic import stories
from boggers.text.store import load_tokenizer

from .conftest import Refused

BYTE = ("tokenizer", "train", "--tokenizer", "byte", "--out", "kept")


def test_a_tokenizer_is_trained_saved_and_told(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.txt").write_text("\n".join(stories(6000, 3)))
    argv = ["--corpus", "a.txt", "--vocab-size", "530", "--out", "kept"]
    assert main(["tokenizer", "train", *argv]) == 0
    tokenizer = load_tokenizer(Path("kept"))
    assert (tokenizer.kind, tokenizer.vocab_size) == ("bpe", 530)
    assert f"fingerprint={tokenizer.fingerprint}" in capsys.readouterr().out
    assert main(["tokenizer", "info", "kept"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert {"tokenizer=bpe", "vocabulary=530", "separator=529", "lossy=no"} <= set(said)


def test_held_out_text_does_not_shape_a_tokenizer() -> None:
    seen = "\n".join(stories(6000, 3))
    for name, ending in (("a", "quagga " * 300), ("b", "zyzzyva" * 300)):
        Path(f"{name}.txt").write_text(seen + ending)
        argv = ["--corpus", f"{name}.txt", "--val-fraction", "0.3", "--vocab-size", "520"]
        assert main(["tokenizer", "train", *argv, "--out", name]) == 0
    assert load_tokenizer(Path("a")).fingerprint == load_tokenizer(Path("b")).fingerprint


def test_the_tokens_of_a_text_are_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*BYTE]) == 0
    capsys.readouterr()
    assert main(["tokenizer", "encode", "kept", "aé"]) == 0
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["97", "1", "'a'"]
    assert [row[0] for row in rows[1:3]] == ["195", "169"]
    assert rows[3][:4] == ["3", "tokens,", "3", "bytes,"]


def test_folded_tokens_are_said_to_be_lossy(capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--tokenizer", "tiktoken", "--vocab-cap", "600", "--out", "kept"]
    assert main(["tokenizer", "train", *argv]) == 0
    assert "lossy=yes" in capsys.readouterr().out
    assert main(["tokenizer", "encode", "kept", "the quick brown fox"]) == 0
    assert "cannot be undone" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["train", "--out", "x"], "--corpus"),
        (["train", "--out", "x", "--corpus", "absent.txt"], "absent.txt"),
        (["train", "--tokenizer", "byte"], "--out"),
        (["train", "--out", "x", "--corpus", "synthetic", "--vocab-size", "300"], "--vocab-size"),
        (["train", "--out", "x", "--tokenizer", "fallback", "--vocab-cap", "-1"], "--vocab-cap"),
        (["encode", "absent", "text"], "absent"),
        (["info", "absent"], "absent"),
        (["nonsense"], "nonsense"),
        ([], "train, encode, info"),
    ],
)
def test_mistakes(refused: Refused, argv: list[str], names: str) -> None:
    assert names in refused("tokenizer", *argv)
    assert list(Path().iterdir()) == []


def test_bytes_that_are_not_utf8_are_refused(refused: Refused) -> None:
    assert main([*BYTE]) == 0
    assert r"character 1 is '\udcff'" in refused("tokenizer", "encode", "kept", "a\udcff")


def test_a_tokenizer_is_not_overwritten(refused: Refused) -> None:
    assert main([*BYTE]) == 0
    assert "kept holds one" in refused(*BYTE)
