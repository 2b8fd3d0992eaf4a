from pathlib import Path

import pytest

from boggers.cli.main import main
from boggers.data.config import DataConfig
from boggers.data.corpus import documents
from boggers.data.synthetic import stories

from .conftest import Refused


def test_a_synthetic_text_reads_back_as_it_was_made(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["corpus", "synthetic", "--tokens", "900", "--seed", "3", "--out", "a.txt"]) == 0
    made = list(stories(900, 3))
    assert list(documents(DataConfig(corpus="a.txt"))) == made
    assert f"in {len(made)} documents" in capsys.readouterr().out


def test_what_a_text_holds(capsys: pytest.CaptureFixture[str]) -> None:
    Path("a.jsonl").write_text('"' + "x" * 600 + '"\n"' + "y" * 399 + '"\n')
    assert main(["corpus", "info", "--corpus", "a.jsonl", "--seq-len", "6"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "bytes=999" in said
    assert "documents=2" in said
    assert "  total_tokens=1000" in said
    assert "  train_tokens=938" in said


@pytest.mark.parametrize(
    ("argv", "names"),
    [
        (["info"], "--corpus"),
        (["info", "--corpus", "absent.txt"], "absent.txt"),
        (["info", "--corpus", "synthetic", "--window-size", "0"], "--window-size"),
        (["info", "--corpus", "synthetic", "--val-fraction", "1"], "--val-fraction"),
        (["synthetic", "--tokens", "5"], "--out"),
        (["synthetic", "--tokens", "0", "--out", "a.txt"], "--tokens"),
        (["synthetic", "--seed", "-1", "--out", "a.txt"], "--seed"),
        (["nonsense"], "nonsense"),
        ([], "synthetic, hub, info"),
    ],
)
def test_mistakes(refused: Refused, argv: list[str], names: str) -> None:
    assert names in refused("corpus", *argv)
    assert list(Path().iterdir()) == []
