"""Frozen config dataclasses to JSON values and back, exactly, with every type checked."""

import dataclasses
import difflib
import types
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from boggers.errors import UserError

Config = TypeVar("Config")


def to_json(value: Any) -> Any:
    """A config, or a value inside one, as what `json` can write: paths become strings."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            field.name: to_json(getattr(value, field.name)) for field in dataclasses.fields(value)
        }
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [to_json(item) for item in value]
    return value


def from_json(
    kind: type[Config], value: Any, where: str = "", given: dict[str, Any] | None = None
) -> Config:
    """The config of type `kind` that `value` describes; fields left out keep their defaults.

    Args:
        kind: a dataclass.
        value: what `to_json` gave, or a part of it, for instance read from a TOML file.
        where: the dotted name of this part, for messages.
        given: fields that have been read already.

    Raises:
        UserError: an unknown key, a value of another type, or one that the config refuses.
    """
    if not isinstance(value, dict):
        raise UserError(
            f"{where or 'The configuration'} must be a table of settings; it is {value!r}."
        )
    hints = get_type_hints(kind, include_extras=True)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    for key in value:
        if key not in names:
            raise UserError(_unknown(key, names, where))
    return kind(
        **{
            key: _read(hints[key], item, f"{where}.{key}" if where else key)
            for key, item in value.items()
        },
        **(given or {}),
    )


def differences(before: Config, now: Config) -> str:
    """The fields in which two configs of one type differ, in words; empty if they are equal."""
    pairs = [
        (field.name.replace("_", " "), getattr(before, field.name), getattr(now, field.name))
        for field in dataclasses.fields(before)  # type: ignore[arg-type]
    ]
    return "; ".join(f"{name} was {old}, now {new}" for name, old, new in pairs if old != new)


def _read(kind: Any, value: Any, where: str) -> Any:
    origin = get_origin(kind)
    if origin is Annotated:
        return _read(get_args(kind)[0], value, where)
    if origin in (Union, types.UnionType):
        return _read_union(get_args(kind), value, where)
    if origin is Literal:
        if any(value == choice and type(value) is type(choice) for choice in get_args(kind)):
            return value
        raise UserError(f"{where} must be one of {_listed(get_args(kind))}; it is {value!r}.")
    if origin is tuple:
        items = get_args(kind)
        if isinstance(value, list | tuple) and items[-1] is Ellipsis:
            items = (items[0],) * len(value)
        if isinstance(value, list | tuple) and len(value) == len(items):
            return tuple(_read(item, v, where) for item, v in zip(items, value, strict=True))
        raise _mismatch(kind, value, where)
    if origin is dict and isinstance(value, dict):
        return {
            key: _read(get_args(kind)[1], item, f"{where}.{key}") for key, item in value.items()
        }
    if dataclasses.is_dataclass(kind):
        return from_json(kind, value, where)  # type: ignore[arg-type]
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if kind is Path and isinstance(value, str):
        return Path(value)
    if kind is type(None) and value is None:
        return None
    if type(value) is kind:
        return value
    raise _mismatch(kind, value, where)


def _read_union(kinds: tuple[Any, ...], value: Any, where: str) -> Any:
    """The first member that fits; a table is read as the one dataclass, so its errors show."""
    if isinstance(value, dict):
        tables = [kind for kind in kinds if dataclasses.is_dataclass(kind)]
        if len(tables) == 1:
            return _read(tables[0], value, where)
    for kind in kinds:
        try:
            return _read(kind, value, where)
        except UserError:
            continue
    raise UserError(f"{where} must be {' or '.join(_named(k) for k in kinds)}; it is {value!r}.")


def _mismatch(kind: Any, value: Any, where: str) -> UserError:
    return UserError(f"{where} must be {_named(kind)}; it is {value!r}.")


def _unknown(key: str, names: list[str], where: str) -> str:
    place = f" in {where}" if where else ""
    close = difflib.get_close_matches(key, names, n=1)
    hint = f"Did you mean {close[0]!r}?" if close else f"Known ones are {', '.join(names)}."
    return f"There is no setting {key!r}{place}. {hint}"


def _named(kind: Any) -> str:
    words = {
        int: "a whole number",
        float: "a number",
        str: "a text",
        bool: "true or false",
        Path: "a path",
        type(None): "nothing",
    }
    return words.get(kind, getattr(kind, "__name__", str(kind)))


def _listed(choices: tuple[Any, ...]) -> str:
    return ", ".join(repr(choice) for choice in choices)
