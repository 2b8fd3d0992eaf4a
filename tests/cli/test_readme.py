"""What the first page promises is true: its code runs, its commands and names exist."""

import re
import tomllib
from pathlib import Path

import pytest

from boggers.cli.configuration import read_configuration
from boggers.cli.main import VERBS, main

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = re.findall(r"^\$ (\S.*?)(?:\s+#.*)?$", README, re.MULTILINE)


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


def test_its_python_runs(capsys: pytest.CaptureFixture[str]) -> None:
    train = ("train", "tiny", "--architecture", "stream", "--sequence-length", "32")
    assert main([*train, "--max-steps", "4", "--batch-size", "4", "--out", "runs/demo"]) == 0
    capsys.readouterr()
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), {})
    assert capsys.readouterr().out.startswith("My fellow citizens")


def test_its_settings_are_settings() -> None:
    for text in blocks("toml"):
        assert tomllib.loads(text)
        Path("run.toml").write_text(text)
        assert read_configuration(["--config", "run.toml"]).model.state_dim == 128


@pytest.mark.parametrize("command", COMMANDS)
def test_its_commands_exist(command: str) -> None:
    program, verb, *rest = command.split()
    if program == "make":
        assert f"\n{verb}:" in (ROOT / "Makefile").read_text()
        return
    assert Path(program).name == "boggers"
    section = (ROOT / "docs" / "cli.md").read_text().partition(f"## boggers {verb}\n")[2]
    assert verb in VERBS
    for word in rest:
        if word.startswith("--"):
            assert f"{word} " in section.partition("\n## ")[0]


def test_its_tree_is_the_tree() -> None:
    source = ROOT / "src" / "boggers"
    rooms = {path.name + "/" for path in source.iterdir() if (path / "__init__.py").exists()}
    small = {"__init__.py", "__main__.py", "version.py"}
    files = {path.name for path in source.glob("*.py")} - small
    house = README.partition("## The house")[2].partition("## ")[0]
    assert set(re.findall(r"^[├└]── (\S+)", house, re.MULTILINE)) == rooms | files
