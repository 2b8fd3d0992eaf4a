from pathlib import Path

import pytest

from boggers.cli import main as module
from boggers.cli.main import VERBS, main
from boggers.errors import UserError
from boggers.version import __version__

from .conftest import Boggers, Refused


@pytest.mark.parametrize("argv", [[], ["--help"], ["-h"], ["help"]])
def test_help_names_every_verb_and_two_commands(
    argv: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(argv) == 0
    said = capsys.readouterr().out
    for verb, sentence in VERBS.items():
        assert verb in said
        assert sentence in said
    assert said.count("\n  boggers ") == 2
    assert max(map(len, said.splitlines())) <= 100


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"boggers {__version__}\n"


def test_a_mistyped_verb_is_guessed(refused: Refused) -> None:
    assert "Did you mean train?" in refused("trian")


def test_an_unknown_verb_lists_all(refused: Refused) -> None:
    said = refused("xyzzy")
    assert all(verb in said for verb in VERBS)


def test_a_sentence_is_one_line(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> int:
        raise UserError("first line,\n   second line.")

    monkeypatch.setattr(module, "_dispatch", fail)
    assert refused() == "first line, second line."


def test_a_system_error_names_its_file(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> int:
        Path("absent.txt").read_text()
        return 0

    monkeypatch.setattr(module, "_dispatch", fail)
    assert refused() == "absent.txt: No such file or directory."


def test_an_interruption_has_its_own_code(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_dispatch", fail)
    assert main([]) == 130


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(arguments: list[str]) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(module, "_dispatch", fail)
    with pytest.raises(ZeroDivisionError):
        main([])


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_explains_itself(verb: str, boggers: Boggers) -> None:
    done = boggers(verb, "--help")
    assert done.returncode == 0, done.stderr
    assert f"boggers {verb}" in done.stdout
    assert done.stderr == ""
