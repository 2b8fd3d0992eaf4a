import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.model.stream import StreamConfig
from boggers.train.run import Run, RunConfig, TrainConfig, choose_device, new_folder

MakeConfig = Callable[..., RunConfig]


class TestConfig:
    def test_the_round_trip_through_json_is_exact(self, make_config: MakeConfig) -> None:
        config = make_config(
            lr=3e-4, grad_clip=1.0, max_steps=7, resume="auto", trajectory_temperature=0.1
        )
        assert RunConfig.from_json(json.loads(json.dumps(config.to_json()))) == config

    def test_the_defaults_survive_too(self) -> None:
        assert RunConfig.from_json(json.loads(json.dumps(RunConfig().to_json()))) == RunConfig()

    def test_what_is_left_out_is_default(self) -> None:
        config = RunConfig.from_json({"optim": {"lr": 1}})
        assert config.optim.lr == 1.0
        assert config.train == TrainConfig()

    def test_an_unknown_setting_is_named(self) -> None:
        with pytest.raises(UserError, match=r"'learning_rate' in optim"):
            RunConfig.from_json({"optim": {"learning_rate": 1}})

    def test_a_refused_value_is_refused_on_reading_as_well(self) -> None:
        with pytest.raises(UserError, match="--lr must be above 0"):
            RunConfig.from_json({"optim": {"lr": -1.0}})

    def test_every_setting_has_its_sentence(self) -> None:
        import inspect

        for part in dataclasses.fields(RunConfig):
            if not dataclasses.is_dataclass(part.default_factory):
                continue
            owners = [c for c in part.default_factory.__mro__ if dataclasses.is_dataclass(c)]
            source = "".join(inspect.getsource(owner) for owner in owners)
            count = len(dataclasses.fields(part.default_factory))
            assert source.count('"""') >= 2 * (count + len(owners)), part.name

    @pytest.mark.parametrize(
        ("flag", "setting"),
        [
            ("--seed", {"seed": -1}),
            ("--max-steps", {"max_steps": 0}),
            ("--max-epochs", {"max_epochs": 0}),
            ("--batch-size", {"batch_size": 0}),
            ("--batch-tokens", {"batch_tokens": 0}),
            ("--log-every", {"log_every": 0}),
            ("--eval-every", {"eval_every": 0}),
            ("--eval-tokens", {"eval_tokens": 0}),
            ("--save-every", {"save_every": -1}),
            ("--keep-checkpoints", {"keep_checkpoints": 0}),
            ("--max-skipped-steps", {"max_skipped_steps": 0}),
        ],
    )
    def test_a_bad_setting_is_refused_by_its_flag(self, flag: str, setting: dict[str, int]) -> None:
        with pytest.raises(UserError, match=f"^{flag} must be at least [01]; it is -?[01]"):
            TrainConfig(**setting)  # type: ignore[arg-type]

    def test_two_ways_to_continue_are_one_too_many(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="give one"):
            TrainConfig(resume="auto", resume_checkpoint=tmp_path)

    def test_batch_tokens_override_the_batch_size(self) -> None:
        assert RunConfig(train=TrainConfig(batch_size=8)).rows_per_step == 8
        train = TrainConfig(batch_size=8, batch_tokens=96)
        assert RunConfig(train=train).rows_per_step == 96
        stream = StreamConfig(sequence_length=32)
        assert RunConfig(architecture="stream", model=stream, train=train).rows_per_step == 3

    def test_batch_tokens_fill_whole_sequences(self) -> None:
        with pytest.raises(UserError, match="multiple of --sequence-length 32"):
            RunConfig(
                architecture="stream",
                model=StreamConfig(sequence_length=32),
                train=TrainConfig(batch_tokens=100),
            )

    def test_an_architecture_has_its_own_options(self) -> None:
        with pytest.raises(UserError, match="those of window came"):
            RunConfig(architecture="stream")
        stream = RunConfig(architecture="stream", model=StreamConfig(num_stages=3))
        assert RunConfig.from_json(stream.to_json()) == stream
        with pytest.raises(UserError, match="no architecture 'crystal'"):
            RunConfig.from_json({**stream.to_json(), "architecture": "crystal"})


class TestFolder:
    def test_the_config_is_kept(self, tmp_path: Path, make_config: MakeConfig) -> None:
        run = Run(tmp_path / "run")
        assert not run.exists
        run.save_config(make_config(lr=0.5))
        assert run.exists
        assert run.load_config() == make_config(lr=0.5)

    def test_a_folder_without_a_run_is_a_sentence(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="holds no run"):
            Run(tmp_path).load_config()

    def test_a_new_folder_lies_under_runs(self) -> None:
        assert new_folder("window").parent == Path("runs")
        assert new_folder("window").name.startswith("window-")


class TestDevice:
    def test_auto_is_cuda_if_there_is_one(self) -> None:
        expected = "cuda" if torch.cuda.is_available() else "cpu"
        assert choose_device("auto").type == expected

    def test_a_named_device(self) -> None:
        assert choose_device("cpu") == torch.device("cpu")

    @pytest.mark.parametrize("name", ["gpu", "cuda:x", "", "meta"])
    def test_an_unknown_device_is_a_sentence(self, name: str) -> None:
        with pytest.raises(UserError, match="--device must be auto, cpu, cuda"):
            choose_device(name)

    def test_a_missing_cuda_device_is_a_sentence(self) -> None:
        with pytest.raises(UserError, match=r"but this machine shows \d+. Use --device cpu"):
            choose_device("cuda:99")
