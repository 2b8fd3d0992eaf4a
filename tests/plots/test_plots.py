"""Pictures are drawn, whole, and not blank."""

from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.infer.engine import Engine
from boggers.model.window import WindowConfig, WindowModel
from boggers.plots.curves import draw_training
from boggers.plots.settling import draw_settling
from boggers.text.byte import ByteTokenizer


def engine(steps: int) -> Engine:
    config = WindowConfig(state_dim=8, num_waves=2, window_size=4, num_dynamics_steps=steps)
    return Engine(WindowModel(config, 257, torch.Generator().manual_seed(0)), ByteTokenizer())


def assert_drawn(paths: list[Path]) -> None:
    from matplotlib.image import imread

    assert [path.suffix for path in paths] == [".png", ".svg"]
    pixels = imread(paths[0])[..., :3]
    assert pixels.shape[1] > 1000
    assert (pixels.min(axis=-1) < 0.9).mean() > 0.005
    # More than black text on white: the curves are coloured.
    assert (pixels.max(axis=-1) - pixels.min(axis=-1) > 0.3).mean() > 0.0005
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
