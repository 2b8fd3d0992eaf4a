import dataclasses
import json
import os
import resource
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from boggers import files
from boggers.errors import UserError
from boggers.model.window import WindowModel
from boggers.train import checkpoint
from boggers.train.checkpoint import Origin, Progress, load, save
from boggers.train.optim import guarded_step, make_optimizer
from boggers.train.run import RunConfig
from boggers.train.step_folders import Found, latest, step_folder

MakeConfig = Callable[..., RunConfig]

ORIGIN = Origin(
    tokenizer="f" * 64, corpus="c" * 64, train_tokens=100, window=4, windows_per_step=32, seed=1
)

Parts = tuple[WindowModel, torch.optim.AdamW]


@pytest.fixture
def checkpoints(tmp_path: Path) -> Path:
    return tmp_path / "checkpoints"


@pytest.fixture
def make_parts(make_config: MakeConfig) -> "MakeParts":
    return MakeParts(make_config)


class MakeParts:
    """A model and its optimiser, `steps` made-up updates old."""

    def __init__(self, make_config: MakeConfig) -> None:
        self.make_config = make_config

    def __call__(self, seed: int = 0, steps: int = 2, **settings: int) -> Parts:
        config = self.make_config(**settings)
        generator = torch.Generator().manual_seed(seed)
        model = WindowModel(config.model, 11, generator)
        optimizer = make_optimizer(model, config.optim)
        for _ in range(steps):
            for parameter in model.parameters():
                parameter.grad = torch.randn(parameter.shape, generator=generator)
            guarded_step(optimizer, torch.tensor(1.0), 0.01, None)
        return model, optimizer


def bits(parts: Parts) -> dict[str, torch.Tensor]:
    model, optimizer = parts
    values = {name: value.clone() for name, value in model.state_dict().items()}
    for name, parameter in model.named_parameters():
        for slot, value in optimizer.state[parameter].items():
            values[f"{name}/{slot}"] = value.clone()
    return values


def same(left: dict[str, torch.Tensor], right: dict[str, torch.Tensor]) -> bool:
    return left.keys() == right.keys() and all(torch.equal(left[k], right[k]) for k in left)


def write(folder: Path, parts: Parts, step: int, best: int | None = None, keep: int = 2) -> Path:
    progress = Progress(step=step, best_step=best, sums={"loss": 0.1}, seconds=1.5, best_ce=2.0)
    return save(folder, *parts, progress, ORIGIN, keep)


def steps_in(folder: Path) -> list[int]:
    return sorted(int(f.name.removeprefix("step-")) for f in folder.iterdir())


def test_everything_comes_back_bit_for_bit(checkpoints: Path, make_parts: MakeParts) -> None:
    parts = make_parts()
    path = write(checkpoints, parts, 7, best=3)
    assert path == step_folder(checkpoints, 7)
    assert {f.name for f in path.iterdir()} == {
        "model.safetensors",
        "model.json",
        "optimizer.safetensors",
        "state.json",
        "manifest.json",
    }
    other = make_parts(seed=5, steps=1)
    assert not same(bits(parts), bits(other))
    progress = load(path, *other, ORIGIN)
    assert same(bits(parts), bits(other))
    assert progress == Progress(step=7, best_step=3, sums={"loss": 0.1}, seconds=1.5, best_ce=2.0)


def test_the_next_step_after_loading_is_the_same(checkpoints: Path, make_parts: MakeParts) -> None:
    parts, other = make_parts(), make_parts(seed=5, steps=0)
    load(write(checkpoints, parts, 1), *other, ORIGIN)
    for model, optimizer in (parts, other):
        for parameter in model.parameters():
            parameter.grad = torch.full_like(parameter, 0.25)
        guarded_step(optimizer, torch.tensor(1.0), 0.02, None)
    assert same(bits(parts), bits(other))


def test_the_settings_of_the_optimiser_stay_as_configured_now(
    checkpoints: Path, make_parts: MakeParts
) -> None:
    path = write(checkpoints, make_parts(), 1)
    model, optimizer = make_parts(weight_decay=0.37)  # type: ignore[arg-type]
    load(path, model, optimizer, ORIGIN)
    assert optimizer.param_groups[0]["weight_decay"] == 0.37


class TestRetention:
    def test_the_newest_and_the_best_are_kept(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        parts = make_parts()
        for step in (10, 20, 30, 40, 50):
            write(checkpoints, parts, step, best=20 if step >= 20 else None)
        assert steps_in(checkpoints) == [20, 40, 50]

    def test_how_many_is_a_setting(self, checkpoints: Path, make_parts: MakeParts) -> None:
        for step in (10, 20, 30, 40):
            write(checkpoints, make_parts(), step, keep=3)
        assert steps_in(checkpoints) == [20, 30, 40]

    def test_nothing_is_removed_before_the_new_one_is_whole(
        self, checkpoints: Path, make_parts: MakeParts, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        parts = make_parts()
        write(checkpoints, parts, 10, keep=1)

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(checkpoint, "save_model", fail)
        with pytest.raises(UserError, match="No space left"):
            write(checkpoints, parts, 20, keep=1)
        assert steps_in(checkpoints) == [10]
        assert latest(checkpoints).path == step_folder(checkpoints, 10)

    def test_what_a_killed_process_left_is_swept(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        (checkpoints / ".step-0000020.abc").mkdir(parents=True)
        (checkpoints / ".step-0000020.abc" / "model.safetensors").write_bytes(b"half")
        write(checkpoints, make_parts(), 20)
        assert [f.name for f in checkpoints.iterdir()] == ["step-0000020"]

    def test_a_whole_one_of_the_same_step_is_not_touched(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        path = write(checkpoints, make_parts(), 20)
        before = {file: file.stat().st_ino for file in path.iterdir()}
        write(checkpoints, make_parts(), 20)
        assert {file: file.stat().st_ino for file in path.iterdir()} == before

    def test_a_damaged_one_of_the_same_step_is_replaced(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        path = write(checkpoints, make_parts(), 20)
        (path / "state.json").write_text("{}")
        write(checkpoints, make_parts(), 20)
        assert latest(checkpoints).path == path


class TestDamage:
    @pytest.mark.parametrize("name", ["model.safetensors", "optimizer.safetensors", "state.json"])
    @pytest.mark.parametrize("damage", ["truncated", "flipped", "missing"])
    def test_it_is_a_sentence_and_nothing_changes(
        self, checkpoints: Path, make_parts: MakeParts, name: str, damage: str
    ) -> None:
        path = write(checkpoints, make_parts(), 1)
        data = bytearray((path / name).read_bytes())
        if damage == "truncated":
            (path / name).write_bytes(data[: len(data) // 2])
        elif damage == "flipped":
            data[-2] ^= 1
            (path / name).write_bytes(data)
        else:
            (path / name).unlink()
        other = make_parts(seed=5)
        before = bits(other)
        with pytest.raises(UserError, match=f"is damaged: {name}"):
            load(path, *other, ORIGIN)
        assert same(before, bits(other))

    def test_the_newest_whole_one_is_found_and_damaged_ones_named(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        for step in (10, 20, 30):
            write(checkpoints, make_parts(), step, keep=9)
        (step_folder(checkpoints, 30) / "manifest.json").unlink()
        (step_folder(checkpoints, 20) / "model.safetensors").write_bytes(b"")
        found = latest(checkpoints)
        assert found.path == step_folder(checkpoints, 10)
        assert [("step-0000030" in s, "step-0000020" in s) for s in found.skipped] == [
            (True, False),
            (False, True),
        ]

    def test_none_is_found_where_there_is_none(self, checkpoints: Path) -> None:
        assert latest(checkpoints) == Found(None, ())


class TestRefusal:
    def test_other_shapes_name_both(self, checkpoints: Path, make_parts: MakeParts) -> None:
        path = write(checkpoints, make_parts(), 1)
        other = make_parts(state_dim=16)
        before = bits(other)
        with pytest.raises(UserError, match=r"does not fit this model: .* must be .*16.* 8.* came"):
            load(path, *other, ORIGIN)
        assert same(before, bits(other))

    def test_another_architecture_names_both(
        self, checkpoints: Path, make_parts: MakeParts
    ) -> None:
        path = write(checkpoints, make_parts(), 1)
        shape = json.loads((path / "model.json").read_text())
        files.write_json(path / "model.json", {**shape, "architecture": "stream"})
        manifest = json.loads((path / "manifest.json").read_text())
        manifest["model.json"] = files.checksum(path / "model.json")
        files.write_json(path / "manifest.json", manifest)
        other = make_parts(seed=5)
        before = bits(other)
        with pytest.raises(UserError, match="architecture 'stream', this run's is 'window'"):
            load(path, *other, ORIGIN)
        assert same(before, bits(other))

    def test_another_tokenizer(self, checkpoints: Path, make_parts: MakeParts) -> None:
        path = write(checkpoints, make_parts(), 1)
        other = dataclasses.replace(ORIGIN, tokenizer="a" * 64)
        with pytest.raises(UserError, match=r"another tokenizer \(fingerprint ffff.*aaaa"):
            load(path, *make_parts(), other)

    @pytest.mark.parametrize(
        ("name", "value"),
        [
            ("corpus", "d" * 64),
            ("train_tokens", 99),
            ("window", 5),
            ("windows_per_step", 64),
            ("seed", 2),
        ],
    )
    def test_other_data_or_order_name_both(
        self, checkpoints: Path, make_parts: MakeParts, name: str, value: int | str
    ) -> None:
        path = write(checkpoints, make_parts(), 1)
        other = dataclasses.replace(ORIGIN, **{name: value})  # type: ignore[arg-type]
        words = name.replace("_", " ")
        expected = f"{words} was {getattr(ORIGIN, name)}, now {value}"
        with pytest.raises(UserError, match=expected):
            load(path, *make_parts(), other)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A real file system of 64 KiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True).returncode != 0:
        pytest.skip("mounting a small file system needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_a_sentence_and_loses_nothing(
    small_disk: Path, make_parts: MakeParts
) -> None:
    parts = make_parts()
    saved = bits(parts)
    write(small_disk, parts, 1, keep=1)
    filler = small_disk / "filler"
    room = os.statvfs(small_disk)
    filler.write_bytes(b"x" * (room.f_bavail * room.f_bsize - 8192))
    with pytest.raises(UserError, match=r"step-0000002.*No space left on device"):
        write(small_disk, make_parts(seed=9), 2, keep=1)
    filler.unlink()
    assert [f.name for f in small_disk.iterdir()] == ["step-0000001"]
    other = make_parts(seed=5)
    load(step_folder(small_disk, 1), *other, ORIGIN)
    assert same(saved, bits(other))


def test_a_file_size_limit_is_a_sentence_and_loses_nothing(
    checkpoints: Path, make_parts: MakeParts
) -> None:
    parts = make_parts()
    write(checkpoints, parts, 1, keep=1)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(UserError, match=r"step-0000002.*[Ff]ile too large"):
            write(checkpoints, make_parts(seed=9), 2, keep=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert steps_in(checkpoints) == [1]
    load(step_folder(checkpoints, 1), *parts, ORIGIN)


def test_the_state_is_readable_by_a_person(checkpoints: Path, make_parts: MakeParts) -> None:
    state = json.loads((write(checkpoints, make_parts(), 3) / "state.json").read_text())
    assert state["progress"]["step"] == 3
    assert state["origin"]["tokenizer"] == ORIGIN.tokenizer
    assert set(state) == {"progress", "origin", "boggers", "torch"}
