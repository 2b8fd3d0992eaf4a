"""The rules of the house, as far as a machine can see them."""

import ast
import dataclasses
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

import boggers
from boggers.recipes import RECIPES
from boggers.train.run import RunConfig

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "boggers"
MODULES = sorted(SOURCE.rglob("*.py"))
HEAVY = ("torch", "numpy", "tokenizers", "tiktoken", "matplotlib", "tyro", "rich", "fastapi")


def name_of(module: Path) -> str:
    return str(module.relative_to(SOURCE))


def test_no_room_looks_up() -> None:
    linter = Path(sys.executable).parent / "lint-imports"
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_every_module_says_what_it_is(module: Path) -> None:
    assert ast.get_docstring(ast.parse(module.read_text()))


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_only_the_command_line_prints(module: Path) -> None:
    if module.is_relative_to(SOURCE / "cli"):
        return
    calls = (node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Call))
    names = {call.func.id for call in calls if isinstance(call.func, ast.Name)}
    assert "print" not in names


@pytest.mark.parametrize("module", MODULES, ids=name_of)
def test_no_exception_is_swallowed_whole(module: Path) -> None:
    handlers = (
        node
        for node in ast.walk(ast.parse(module.read_text()))
        if isinstance(node, ast.ExceptHandler)
    )
    for handler in handlers:
        kind = handler.type
        assert kind is not None
        assert not (isinstance(kind, ast.Name) and kind.id in ("Exception", "BaseException"))


@pytest.mark.parametrize("arguments", [["-c", "import boggers"], ["-m", "boggers", "--help"]])
def test_the_front_door_is_light(arguments: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *arguments], capture_output=True, text=True, check=True
    )
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "boggers" in imported
    assert not imported & set(HEAVY)


@pytest.mark.parametrize("name", boggers.__all__)
def test_every_name_of_the_front_door_opens(name: str) -> None:
    assert getattr(boggers, name) is not None
    assert name in dir(boggers)


def test_another_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="nonsense"):
        _ = boggers.nonsense


@pytest.mark.parametrize("name", RECIPES)
def test_a_recipe_survives_its_file(name: str) -> None:
    recipe = RECIPES[name]()
    assert RunConfig.from_json(recipe.to_json()) == recipe
    assert RECIPES[name].__doc__


def fields_of(config: object) -> Iterator[str]:
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        if dataclasses.is_dataclass(value):
            yield from fields_of(value)
        else:
            yield field.name


def test_no_setting_has_the_name_of_another() -> None:
    counted = Counter(fields_of(RunConfig()))
    assert [name for name, times in counted.items() if times > 1] == []
