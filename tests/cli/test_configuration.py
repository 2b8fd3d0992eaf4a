import dataclasses
from pathlib import Path

import pytest

from boggers.cli.configuration import read_configuration
from boggers.errors import UserError
from boggers.recipes import tiny


def write(text: str) -> str:
    Path("run.toml").write_text(text)
    return "run.toml"


def test_a_recipe_alone_is_that_recipe() -> None:
    run = read_configuration(["tiny", "--out", "here"])
    expected = tiny()
    train = dataclasses.replace(expected.train, out=Path("here"))
    assert run == dataclasses.replace(expected, train=train)


def test_flags_win_over_the_file_and_the_file_over_the_recipe() -> None:
    file = write("lr = 0.5\n[model]\nstate_dim = 64\nnum_waves = 4\n")
    run = read_configuration(["tiny", "--config", file, "--state-dim", "128"])
    assert run.model.state_dim == 128
    assert run.model.num_waves == 4
    assert run.optim.lr == 0.5
    assert run.model.window_size == tiny().model.window_size


def test_names_in_a_file_may_have_hyphens() -> None:
    assert read_configuration([f"--config={write('state-dim = 64')}"]).model.state_dim == 64


def test_a_run_without_a_folder_gets_one_named_after_its_recipe() -> None:
    out = read_configuration(["tiny"]).train.out
    assert out is not None
    assert out.parent == Path("runs")
    assert out.name.startswith("tiny-")
    out = read_configuration([]).train.out
    assert out is not None
    assert out.name.startswith("window-")


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["tniy"], "Did you mean tiny?"),
        (["zzz"], "The recipes are tiny, demo, window"),
        (["--seed", "1", "tiny"], "must stand before"),
        (["--config", "absent.toml"], "absent.toml cannot be read"),
        (["--state-dmi", "4"], "Did you mean --state-dim?"),
        (["--state-dim", "10", "--num-waves", "4"], "--state-dim must be divisible"),
    ],
)
def test_mistakes_are_sentences(argv: list[str], said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_configuration(argv)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("state_dmi = 4", "Did you mean 'state_dim'?"),
        ("[model]\nstate_dmi = 4", "Did you mean 'state_dim'?"),
        ("[modle]\nstate_dim = 4", "Did you mean 'model'?"),
        ("state_dim = 'wide'", "model.state_dim must be a whole number"),
        ("state_dim = 10\nnum_waves = 4", "--state-dim must be divisible"),
        ("state_dim = ", "must hold TOML"),
    ],
)
def test_mistakes_in_a_file_are_sentences(text: str, said: str) -> None:
    with pytest.raises(UserError) as caught:
        read_configuration(["tiny", "--config", write(text)])
    assert said in str(caught.value)
    assert "run.toml" in str(caught.value) or "no setting" in str(caught.value)


def test_a_file_that_is_not_text_is_a_sentence() -> None:
    Path("run.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="must hold TOML"):
        read_configuration(["--config", "run.toml"])
