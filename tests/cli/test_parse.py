from dataclasses import dataclass, field
from typing import Annotated

import pytest
import tyro

from boggers.cli.parse import parse
from boggers.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Inner:
    wave_count: int = 3
    """How many."""

    share: float = 0.5
    """How much."""

    def __post_init__(self) -> None:
        if self.wave_count == 13:
            raise UserError(
                "--wave-count must not be 13, which brings bad luck to every "
                "installation; it is 13. Choose 12."
            )


@dataclass(frozen=True, kw_only=True)
class Outer:
    inner: Inner = field(default_factory=Inner)
    name: str = "x"


@dataclass(frozen=True, kw_only=True)
class Needy:
    place: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PLACE")]
    """Where."""

    what_for: str
    """A purpose, told at such length that its help must go on in a second line of the box."""


def read(*argv: str, default: Outer | None = None) -> Outer:
    return parse(Outer, argv, verb="try", description="Try.", default=default)


def test_nested_options_are_flat() -> None:
    assert read("--wave-count", "4", "--name", "y") == Outer(inner=Inner(wave_count=4), name="y")


def test_underscores_are_accepted() -> None:
    assert read("--wave_count", "4").inner.wave_count == 4


def test_what_is_not_given_keeps_the_default() -> None:
    default = Outer(inner=Inner(share=0.25))
    assert read("--wave-count", "4", default=default).inner == Inner(wave_count=4, share=0.25)


def test_a_mistyped_option_is_guessed() -> None:
    with pytest.raises(UserError) as caught:
        read("--wave-coutn", "4")
    said = str(caught.value)
    assert "--wave-coutn" in said
    assert "Did you mean --wave-count?" in said
    assert said.endswith("See boggers try --help.")
    assert "│" not in said
    assert "\n" not in said


def test_a_wrong_value_names_its_option() -> None:
    with pytest.raises(UserError, match=r"--wave-count.*'many'.*See boggers try --help\.$"):
        read("--wave-count", "many")


def test_a_missing_value_is_told() -> None:
    with pytest.raises(UserError, match=r"--wave-count"):
        read("--wave-count")


def test_a_required_option_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UserError) as caught:
        parse(Needy, [], verb="try", description="Try.")
    assert str(caught.value) == "This is required: PLACE and --what-for. See boggers try --help."


def test_a_refusal_is_told_word_for_word() -> None:
    with pytest.raises(UserError) as caught:
        read("--wave-count", "13")
    assert str(caught.value) == (
        "--wave-count must not be 13, which brings bad luck to every installation; it is 13. "
        "Choose 12. See boggers try --help."
    )


def test_help_ends_without_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        read("--help")
    assert not caught.value.code
    said = capsys.readouterr().out
    assert "--wave-count" in said
    assert "How many." in said
