"""A run's configuration from its four sources: defaults ← recipe ← TOML file ← flags."""

import dataclasses
import difflib
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import tyro

from boggers.cli.parse import parse
from boggers.errors import UserError
from boggers.model.architectures import CONFIGS, named
from boggers.recipes import RECIPES, recipe
from boggers.train.run import RunConfig, new_folder

TRIPLE = "--phase05-tension-w"

DESCRIPTION = f"""Train a model on a text. Everything it makes goes into one folder, the run.

A run is a recipe ({", ".join(RECIPES)}), changed by the file given as --config, changed by flags:

    boggers train demo --out runs/demo
    boggers train window --corpus book.txt --max-epochs 2
    boggers train --config run.toml --seed 7"""


@dataclass(frozen=True, kw_only=True)
class TrainOptions:
    """What `boggers train` takes."""

    recipe: Annotated[str | None, tyro.conf.Positional, tyro.conf.arg(metavar="[RECIPE]")] = None
    """The complete run to start from, by name; it stands first."""

    config: Path | None = None
    """TOML file of settings under the names of the flags' fields, flat or in the tables model,
    text, data, loss, optim, train, record and graph; it overrides the recipe."""

    run: RunConfig = field(default_factory=RunConfig)


def read_configuration(argv: Sequence[str]) -> RunConfig:
    """The run that the arguments of `boggers train` describe, its folder included.

    Raises:
        UserError: an unknown recipe, setting or flag, or a value that one of them refuses.
    """
    name = argv[0] if argv and not argv[0].startswith("-") else None
    base = RunConfig() if name is None else recipe(name)
    path = _value_of(argv, "--config")
    file = None if path is None else Path(path)
    if file is not None:
        base = from_toml(file, base)
    base = _of_architecture(base, _value_of(argv, "--architecture") or base.architecture)
    options = parse(
        TrainOptions,
        _spelled(argv),
        verb="train",
        description=DESCRIPTION,
        default=TrainOptions(config=file, run=base),
    )
    if options.recipe != name:
        raise UserError(
            f"The recipe must stand before the flags: boggers train {options.recipe} …; "
            f"{options.recipe!r} came after them."
        )
    run = options.run
    if run.train.out is None and run.train.resume is None and run.train.resume_checkpoint is None:
        out = new_folder(name or run.architecture)
        run = dataclasses.replace(run, train=dataclasses.replace(run.train, out=out))
    return run


def _spelled(argv: Sequence[str]) -> list[str]:
    """The arguments, with three weights in one word, "1,0.35,0.08", as three words."""
    spelled: list[str] = []
    for argument in argv:
        flag, mark, value = argument.partition("=")
        if mark and flag.replace("_", "-") == TRIPLE and "," in value:
            spelled += [TRIPLE, *value.split(",")]
        elif spelled and spelled[-1].replace("_", "-") == TRIPLE and "," in argument:
            spelled += argument.split(",")
        else:
            spelled.append(argument)
    return spelled


def from_toml(file: Path, base: RunConfig) -> RunConfig:
    """`base`, changed by the settings in a TOML file.

    Raises:
        UserError: the file is missing or no TOML, or a setting is unknown or refused.
    """
    try:
        settings = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"--config {file} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise UserError(f"--config {file} must hold TOML, but is not: {error}.") from error
    try:
        return changed(base, settings)
    except UserError as error:
        raise UserError(f"In --config {file}: {error}") from error


def changed(base: RunConfig, settings: Mapping[str, Any]) -> RunConfig:
    """`base`, changed by settings under the names of a TOML file: flat, or in tables.

    Raises:
        UserError: a setting is unknown or refused.
    """
    architecture = str(settings.get("architecture", base.architecture))
    whole = _of_architecture(base, architecture).to_json()
    for key, value in settings.items():
        _place(whole, key, value)
    return RunConfig.from_json(whole)


def _place(whole: dict[str, Any], key: str, value: Any) -> None:
    """Put one setting of a file where it belongs: a table over its table, or a flat name."""
    if isinstance(value, dict) and isinstance(whole.get(key), dict):
        for name, item in value.items():
            whole[key][name.replace("-", "_")] = item
        return
    name = key.replace("-", "_")
    if name in whole:
        whole[name] = value
        return
    homes = [part for part in whole.values() if isinstance(part, dict) and name in part]
    if not homes:
        raise UserError(_unknown(key, whole))
    homes[0][name] = value


def _unknown(key: str, whole: dict[str, Any]) -> str:
    tables = [part for part in whole.values() if isinstance(part, dict)]
    known = [*whole, *(name for part in tables for name in part)]
    close = difflib.get_close_matches(key.replace("-", "_"), known, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else "See boggers train --help."
    return f"There is no setting {key!r} in a run's configuration. {hint}"


def _of_architecture(base: RunConfig, architecture: str) -> RunConfig:
    """`base`, its model's options those of another architecture if it was of another."""
    name = named(architecture)
    if isinstance(base.model, CONFIGS[name]):
        return base
    return dataclasses.replace(base, architecture=name, model=CONFIGS[name]())


def _value_of(argv: Sequence[str], flag: str) -> str | None:
    """The value of a flag that must be known before the others are read."""
    for index, argument in enumerate(argv):
        if argument == flag and index + 1 < len(argv):
            return argv[index + 1]
        if argument.startswith(f"{flag}="):
            return argument.partition("=")[2]
    return None
