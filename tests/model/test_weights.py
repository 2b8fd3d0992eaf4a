"""Saving and loading: our folders and the original's files."""

from pathlib import Path
from typing import Any

import pytest
import torch

from boggers.errors import UserError
from boggers.files import read_json, write_json
from boggers.model.original import load_original
from boggers.model.weights import SHAPE, WEIGHTS, load_model, save_model
from boggers.model.window import WindowConfig, WindowModel
from tests.model.golden import ROWS, golden_model, original_weights


def model(**options: Any) -> WindowModel:
    base = {"state_dim": 8, "num_waves": 2, "window_size": 3, "num_dynamics_steps": 2}
    config = WindowConfig(**{**base, **options})
    return WindowModel(config, 11, torch.Generator().manual_seed(0)).eval()


def test_a_saved_model_reads_the_same(tmp_path: Path) -> None:
    made = model(memory_patterns=4, readout="tied", tension_weights=(1.0, 0.5, 0.0))
    save_model(made, tmp_path)
    loaded = load_model(tmp_path)
    contexts = torch.tensor([[1, 4, 7], [0, 9, 3]])
    assert loaded.config == made.config
    with torch.no_grad():
        assert torch.equal(loaded(contexts).logits, made(contexts).logits)


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    save_model(model(), tmp_path)
    data = (tmp_path / WEIGHTS).read_bytes()
    (tmp_path / WEIGHTS).write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="cannot be read as weights"):
        load_model(tmp_path)


def test_another_architecture_is_refused(tmp_path: Path) -> None:
    save_model(model(), tmp_path)
    write_json(tmp_path / SHAPE, {**read_json(tmp_path / SHAPE), "architecture": "crystal"})
    with pytest.raises(UserError, match="no architecture 'crystal'"):
        load_model(tmp_path)


def test_another_shape_is_refused(tmp_path: Path) -> None:
    save_model(model(), tmp_path)
    shape = read_json(tmp_path / SHAPE)
    shape["config"]["state_dim"] = 12
    write_json(tmp_path / SHAPE, shape)
    with pytest.raises(UserError, match="must be"):
        load_model(tmp_path)


def test_unknown_options_are_named(tmp_path: Path) -> None:
    save_model(model(), tmp_path)
    shape = read_json(tmp_path / SHAPE)
    shape["config"]["flux"] = 1
    write_json(tmp_path / SHAPE, shape)
    with pytest.raises(UserError, match="flux"):
        load_model(tmp_path)


def original_file(folder: Path, *, bare: bool = False) -> Path:
    weights = original_weights(ROWS[0])
    weights = {name: w for name, w in weights.items() if "fusion" not in name}
    weights["wave_dynamics.0.mlp.0.weight"] = torch.zeros(16, 4)
    payload: dict[str, Any] = {
        "model_state": weights,
        "step": 12,
        "config": {"max_window_steps": 3, "vectorized_dt": 0.09},
        "training_config": {"window_size": 99, "lr": 0.001},
    }
    path = folder / "ckpt_step0000012.pt"
    torch.save(weights if bare else payload, path)
    return path


def test_an_original_checkpoint_reads_as_the_original_did(tmp_path: Path) -> None:
    found = load_original(original_file(tmp_path), tension_weights=None)
    assert found.record["lr"] == 0.001
    # The window comes from the weights, not from the record, which the original may have wrong.
    assert found.model.config.window_size == 3
    contexts = torch.tensor(ROWS[1]["ids"])
    with torch.no_grad():
        expected = golden_model()(contexts).logits
        torch.testing.assert_close(found.model(contexts).logits, expected, rtol=1e-6, atol=0)


def test_a_bare_state_dict_is_read_with_options(tmp_path: Path) -> None:
    found = load_original(original_file(tmp_path, bare=True), num_dynamics_steps=3, breaks=False)
    with torch.no_grad():
        logits = found.model(torch.tensor(ROWS[0]["ids"])).logits
    expected = torch.tensor(ROWS[0]["run_no_breaks"]["logits"], dtype=torch.float64)
    torch.testing.assert_close(logits, expected, rtol=1e-6, atol=0)


def test_unsafe_and_damaged_files_are_refused(tmp_path: Path) -> None:
    class Surprise:
        def __reduce__(self) -> tuple[Any, ...]:
            return (print, ("executed",))

    unsafe = tmp_path / "unsafe.pt"
    torch.save({"model_state": Surprise()}, unsafe)
    broken = original_file(tmp_path)
    broken.write_bytes(broken.read_bytes()[:200])
    for path in (unsafe, broken, tmp_path / "absent.pt"):
        with pytest.raises(UserError):
            load_original(path)


def test_a_foreign_state_dict_is_named(tmp_path: Path) -> None:
    path = tmp_path / "foreign.pt"
    torch.save({"weight": torch.zeros(2)}, path)
    with pytest.raises(UserError, match=r"embedder\.weight"):
        load_original(path)
