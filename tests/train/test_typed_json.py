import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from boggers.errors import UserError
from boggers.train.typed_json import from_json, to_json


@dataclass(frozen=True, kw_only=True)
class Inner:
    path: Path | None = None
    mode: Literal["a", "b"] | None = "a"
    pair: tuple[float, float] = (0.5, 1.0)
    many: tuple[int, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Outer:
    whole: int = 1
    real: Annotated[float, "meta"] = 1.0
    maybe: float | None = None
    flag: bool = False
    text: str = ""
    inner: Inner = field(default_factory=Inner)
    sums: dict[str, float] = field(default_factory=dict)


finite = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(
    Inner,
    path=st.none() | st.sampled_from([Path("a/b.txt"), Path("/x")]),
    mode=st.sampled_from(["a", "b", None]),
    pair=st.tuples(finite, finite),
    many=st.lists(st.integers(), max_size=3).map(tuple),
)
outers = st.builds(
    Outer,
    whole=st.integers(),
    real=finite,
    maybe=st.none() | finite,
    flag=st.booleans(),
    text=st.text(),
    inner=inners,
    sums=st.dictionaries(st.text(), finite, max_size=3),
)


@given(outers)
def test_the_round_trip_through_text_is_exact(config: Outer) -> None:
    assert from_json(Outer, json.loads(json.dumps(to_json(config)))) == config


def test_types_survive() -> None:
    config = from_json(Outer, {"real": 2, "inner": {"path": "x", "pair": [1, 2]}})
    assert type(config.real) is float
    assert type(config.inner.path) is type(Path("x"))
    assert config.inner.pair == (1.0, 2.0)
    assert config.whole == 1


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"whle": 1}, "There is no setting 'whle'. Did you mean 'whole'?"),
        ({"inner": {"zzz": 1}}, "There is no setting 'zzz' in inner. Known ones are path, mode"),
        ({"whole": 1.5}, "whole must be a whole number; it is 1.5."),
        ({"whole": True}, "whole must be a whole number; it is True."),
        ({"flag": 1}, "flag must be true or false; it is 1."),
        ({"maybe": "x"}, "maybe must be a number or nothing; it is 'x'."),
        ({"inner": {"mode": "c"}}, "inner.mode must be "),
        ({"inner": {"pair": [1]}}, "inner.pair must be "),
        ({"inner": 3}, "inner must be a table of settings; it is 3."),
        ({"sums": {"a": "x"}}, "sums.a must be a number; it is 'x'."),
        ([], "The configuration must be a table of settings"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_name(value: Any, message: str) -> None:
    with pytest.raises(UserError) as caught:
        from_json(Outer, value)
    assert message in str(caught.value)
