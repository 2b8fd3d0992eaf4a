"""Pictures are drawn, whole, and not blank."""

import json
from pathlib import Path

import pytest
import torch

from boggers.dynamics.record import Relaxation
from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.model.stage import Stage
from boggers.model.stream import StreamConfig, StreamModel
from boggers.model.window import WindowConfig, WindowModel
from boggers.plots.canvas import COLOURS
from boggers.plots.curves import draw_training
from boggers.plots.quality import draw_quality
from boggers.plots.settling import _project, draw_settling
from boggers.plots.stream import draw_stream, time_constants
from boggers.text.byte import ByteTokenizer


def engine(steps: int) -> Engine:
    config = WindowConfig(state_dim=8, num_waves=2, window_size=4, num_dynamics_steps=steps)
    return Engine(WindowModel(config, 257, torch.Generator().manual_seed(0)), ByteTokenizer())


def assert_drawn(paths: list[Path], least: float = 0.0005) -> None:
    from matplotlib.image import imread

    assert [path.suffix for path in paths] == [".png", ".svg"]
    pixels = imread(paths[0])[..., :3]
    assert pixels.shape[1] > 1000
    assert (pixels.min(axis=-1) < 0.9).mean() > 0.005
    # More than black text on white: the curves are coloured.
    assert (pixels.max(axis=-1) - pixels.min(axis=-1) > 0.3).mean() > least
    assert "<svg" in paths[1].read_text(encoding="utf-8")[:2000]


def test_training_curves(tmp_path: Path) -> None:
    table = tmp_path / "metrics.csv"
    rows = ["step,lr,train_ce,val_ce,val_bpb"]
    rows += [
        f"{10 * i},0.001,{4 - 0.1 * i},{4.1 - 0.1 * i if i % 3 == 0 else ''}," for i in range(9)
    ]
    rows.append("100,0.001,3.0,3.1,1.9")
    table.write_text("\n".join(rows) + "\n")
    assert_drawn(draw_training(table, tmp_path / "plots" / "training"))


def coloured(path: Path, colour: str) -> int:
    """How many pixels of a PNG have exactly this colour."""
    from matplotlib.colors import to_rgb
    from matplotlib.image import imread

    return int((abs(imread(path)[..., :3] - to_rgb(colour)) < 0.01).all(axis=-1).sum())


def table_of(folder: Path, *columns: str) -> Path:
    """A table of ten rows of falling numbers, different in every column."""
    lines = [",".join(("step", *columns))]
    for i in range(1, 11):
        values = [str((3 + place) / i) for place in range(len(columns))]
        lines.append(",".join([str(10 * i), *values]))
    (folder / "metrics.csv").write_text("\n".join(lines) + "\n")
    return folder / "metrics.csv"


def test_every_measured_quantity_has_its_curve(tmp_path: Path) -> None:
    everything = ("train_ce", "val_ce", "val_bpb", "lr", "tension")
    full = draw_training(table_of(tmp_path, *everything), tmp_path / "full")[0]
    for colour in COLOURS[:4]:
        assert coloured(full, colour) > 300
    little = draw_training(table_of(tmp_path, "train_ce", "lr"), tmp_path / "little")[0]
    assert [coloured(little, colour) > 0 for colour in COLOURS[:4]] == [True, False, True, False]


def test_the_trigram_is_drawn_where_it_was_measured(tmp_path: Path) -> None:
    table = table_of(tmp_path, "val_bpb")
    without = draw_training(table, tmp_path / "without")[0].read_bytes()
    trigram = {"baselines": {"trigram": {"ce": 3.0, "bpb": 2.2}}}
    (tmp_path / "eval.json").write_text(json.dumps(trigram))
    assert draw_training(table, tmp_path / "with")[0].read_bytes() != without


def test_a_picture_is_the_same_each_time(tmp_path: Path) -> None:
    table = table_of(tmp_path, "train_ce")
    first, again = (draw_training(table, tmp_path / name) for name in ("first", "again"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in again]


@pytest.mark.parametrize("steps", [1, 2])
def test_paths_too_short_for_a_plane_are_drawn(tmp_path: Path, steps: int) -> None:
    assert_drawn(draw_settling(engine(steps), ["one"], tmp_path / "settling"), least=0.0003)


def test_paths_are_projected_without_loss_where_two_directions_suffice() -> None:
    across, up = torch.randn(2, 5, generator=torch.Generator().manual_seed(0))
    places = [across * a + up * b for a, b in ((3, 1), (4, 1), (4, 3), (5, 5))]
    empty = torch.zeros(4, 1)
    path = tuple(place.reshape(1, 1, 5) for place in places)
    trace = Relaxation(path[-1], empty, empty, torch.tensor([4]), torch.tensor([0]), empty[0], path)
    (found,), shares = _project([trace])
    expected = torch.stack([(place - places[0]).norm() for place in places]).double()
    torch.testing.assert_close(found.norm(dim=1), expected, rtol=1e-5, atol=1e-6)
    assert sum(shares) == pytest.approx(1.0)
    assert shares[0] >= shares[1]


def test_without_matplotlib_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"boggers\[plots\]"):
        draw_training(table_of(tmp_path, "train_ce"), tmp_path / "out")
    with pytest.raises(UserError, match=r"boggers\[plots\]"):
        draw_settling(engine(2), ["x"], tmp_path / "out")


def test_settling(tmp_path: Path) -> None:
    prompts = ["once upon a time", "the end", "a very long prompt that does not fit a legend"]
    assert_drawn(draw_settling(engine(6), prompts, tmp_path / "settling"))


def test_without_data_or_steps_there_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="does not exist"):
        draw_training(tmp_path / "metrics.csv", tmp_path / "out")
    (tmp_path / "metrics.csv").write_text("step,lr\n")
    with pytest.raises(UserError, match="no rows"):
        draw_training(tmp_path / "metrics.csv", tmp_path / "out")
    with pytest.raises(UserError, match="no relaxation steps"):
        draw_settling(engine(0), ["x"], tmp_path / "out")
    with pytest.raises(UserError, match="at least one prompt"):
        draw_settling(engine(2), [], tmp_path / "out")


def stream_engine(steps: int) -> Engine:
    config = StreamConfig(
        state_dim=8, num_waves=2, num_stages=2, num_dynamics_steps=steps, memory_patterns=6
    )
    model = StreamModel(config, 257, torch.Generator().manual_seed(0))
    for stage in model.stages:
        for parameter in stage.parameters():
            torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(1))
    return Engine(model, ByteTokenizer())


@pytest.mark.parametrize("steps", [1, 3])
def test_a_stream_settling(tmp_path: Path, steps: int) -> None:
    drawn = draw_stream(stream_engine(steps), "The fox sees a hill.", tmp_path / "stream")
    assert_drawn(drawn)
    for colour in COLOURS[:2]:
        assert coloured(drawn[0], colour) > 100


def test_what_is_no_settling_stream_is_not_drawn(tmp_path: Path) -> None:
    for wrong in (engine(3), stream_engine(0)):
        with pytest.raises(UserError, match="no stream that settles"):
            draw_stream(wrong, "The fox", tmp_path / "stream")


def test_time_constants_are_those_of_the_configuration() -> None:
    stage = StreamModel(StreamConfig(), 9, torch.Generator()).stages[0]
    assert isinstance(stage, Stage)
    spans = time_constants(stage)
    torch.testing.assert_close(spans[[0, -1]], torch.tensor([1.0, 1000.0]), rtol=1e-2, atol=0)


def test_a_contest(tmp_path: Path) -> None:
    curve = [(1e5, 1e9, 3.0, 2.5), (1e6, 1e10, 30.0, 2.0)]
    later = [(1e5, 2e9, 4.0, 2.6), (1e6, 2e10, 40.0, 2.1)]
    drawn = draw_quality({"stream": [curve, later], "llama": [later]}, tmp_path / "quality")
    assert_drawn(drawn)
