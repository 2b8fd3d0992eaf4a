import json
import random
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from boggers.errors import UserError
from boggers.text.bpe import BytePairTokenizer
from boggers.train.loop import fit
from boggers.train.prepare import prepare
from boggers.train.run import Run, RunConfig

MakeConfig = Callable[..., RunConfig]


def test_the_folder_holds_what_defines_the_run(make_config: MakeConfig, tmp_path: Path) -> None:
    prepared = prepare(make_config())
    run = Run(tmp_path / "run")
    assert prepared.run == run
    assert run.load_config() == make_config()
    data = json.loads(run.data_file.read_text())
    assert data["tokenizer"] == prepared.tokenizer.fingerprint
    assert data["key"] == prepared.corpus.key
    assert data["bytes"] == prepared.corpus.n_bytes
    assert data["train"] == [prepared.split.train.start, prepared.split.train.stop]
    assert data["held_out"] == [prepared.split.held_out.start, prepared.split.held_out.stop]
    assert any(run.tokenizer.iterdir())


def test_the_weights_are_a_function_of_the_seed(make_config: MakeConfig, tmp_path: Path) -> None:
    models = [
        prepare(make_config(seed=seed, out=tmp_path / str(i))).model.state_dict()
        for i, seed in enumerate((1, 1, 2))
    ]
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    assert not all(torch.equal(models[0][name], models[2][name]) for name in models[0])


def test_the_global_random_state_is_left_alone(make_config: MakeConfig) -> None:
    torch.manual_seed(123)
    expected = torch.rand(3)
    torch.manual_seed(123)
    fit(prepare(make_config(max_steps=2)))
    assert torch.equal(torch.rand(3), expected)


def test_the_tokenizer_learns_nothing_from_held_out_text(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    letters = "".join(random.Random(0).choices("abcdefgh ", k=20_000))
    fingerprints = []
    for name, end in (("a", "xyz" * 300), ("b", "uvw" * 300), ("c", "")):
        corpus = tmp_path / f"{name}.txt"
        corpus.write_text(letters[: 20_000 - len(end)] + end)
        config = make_config(
            tokenizer="bpe", vocab_size=512, corpus=str(corpus), out=tmp_path / name
        )
        fingerprints.append(prepare(config).tokenizer.fingerprint)
    assert fingerprints[0] == fingerprints[1] == fingerprints[2]


def test_a_mistake_in_the_settings_leaves_nothing_behind(
    make_config: MakeConfig, tmp_path: Path
) -> None:
    with pytest.raises(UserError):
        prepare(make_config(window_size=5000))
    with pytest.raises(UserError, match="--device"):
        prepare(make_config(device="cuda:99"))
    assert not (tmp_path / "run").exists()


def test_a_folder_that_holds_a_run_is_refused(make_config: MakeConfig) -> None:
    prepare(make_config())
    with pytest.raises(UserError, match=r"already holds a run.*--resume auto.*another --out"):
        prepare(make_config())


def test_a_file_in_the_way_is_refused(make_config: MakeConfig, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="--out must be a folder"):
        prepare(make_config(out=tmp_path / "file"))


def test_without_out_a_run_gets_a_name_of_its_own(
    make_config: MakeConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    prepared = prepare(make_config(out=None))
    assert prepared.run.folder.parent == Path("runs")
    assert prepared.run.load_config().train.out == prepared.run.folder


def test_without_held_out_text_nothing_is_measured(make_config: MakeConfig) -> None:
    prepared = prepare(make_config(val_fraction=0.0, max_steps=2))
    assert prepared.validate is None
    assert fit(prepared, validate=prepared.validate).validation is None


class TestContinuing:
    def test_auto_begins_where_there_is_nothing(self, make_config: MakeConfig) -> None:
        assert prepare(make_config(resume="auto")).progress.step == 0

    def test_auto_needs_a_folder(self, make_config: MakeConfig) -> None:
        with pytest.raises(UserError, match="--resume auto needs the folder"):
            prepare(make_config(resume="auto", out=None))

    def test_auto_begins_again_before_the_first_checkpoint(self, make_config: MakeConfig) -> None:
        prepare(make_config())
        assert prepare(make_config(resume="auto")).progress.step == 0

    def test_auto_goes_on_from_the_newest(self, make_config: MakeConfig) -> None:
        fit(prepare(make_config(max_steps=4)))
        assert prepare(make_config(max_steps=8, resume="auto")).progress.step == 4

    def test_only_damaged_checkpoints_are_never_trained_over(self, make_config: MakeConfig) -> None:
        result = fit(prepare(make_config(max_steps=4)))
        assert result.checkpoint is not None
        (result.checkpoint / "state.json").unlink()
        with pytest.raises(UserError, match=r"no whole checkpoint.*state\.json is missing"):
            prepare(make_config(resume="auto"))

    @pytest.mark.parametrize("of_run", [True, False])
    def test_a_named_checkpoint_or_run(
        self, make_config: MakeConfig, tmp_path: Path, of_run: bool
    ) -> None:
        result = fit(prepare(make_config(max_steps=4)))
        path = tmp_path / "run" if of_run else result.checkpoint
        prepared = prepare(make_config(out=None, resume_checkpoint=path))
        assert prepared.progress.step == 4
        assert prepared.run.folder.resolve() == tmp_path / "run"

    def test_a_named_checkpoint_branches_off_into_another_folder(
        self, make_config: MakeConfig, tmp_path: Path
    ) -> None:
        first = fit(prepare(make_config(max_steps=4)))
        settings = {"out": tmp_path / "branch", "resume_checkpoint": first.checkpoint}
        branch = fit(prepare(make_config(max_steps=6, **settings)))
        straight = fit(prepare(make_config(max_steps=6, out=tmp_path / "straight")))
        assert branch.checkpoint is not None
        assert straight.checkpoint is not None
        name = "model.safetensors"
        assert (branch.checkpoint / name).read_bytes() == (straight.checkpoint / name).read_bytes()
        assert first.checkpoint is not None
        assert first.checkpoint.is_dir()

    def test_an_older_checkpoint_is_not_continued_over_newer_ones(
        self, make_config: MakeConfig, tmp_path: Path
    ) -> None:
        fit(prepare(make_config(max_steps=4, save_every=2)))
        older = tmp_path / "run" / "checkpoints" / "step-0000002"
        with pytest.raises(UserError, match="has gone on to step-0000004 since step-0000002"):
            prepare(make_config(resume_checkpoint=older))

    @pytest.mark.parametrize("name", ["absent", "empty"])
    def test_nothing_to_continue_is_a_sentence(
        self, make_config: MakeConfig, tmp_path: Path, name: str
    ) -> None:
        (tmp_path / "empty").mkdir()
        with pytest.raises(UserError, match="--resume-checkpoint"):
            prepare(make_config(resume_checkpoint=tmp_path / name))

    def test_other_text_settings_are_refused(self, make_config: MakeConfig) -> None:
        fit(prepare(make_config(max_steps=2)))
        with pytest.raises(UserError, match="another tokenizer: tokenizer was byte, now bpe"):
            prepare(make_config(tokenizer="bpe", resume="auto"))

    def test_another_tokenizer_in_the_folder_is_refused(
        self, make_config: MakeConfig, tmp_path: Path
    ) -> None:
        fit(prepare(make_config(max_steps=2)))
        letters = random.Random(0).choices("abcdefgh ", k=20_000)
        BytePairTokenizer.train(["".join(letters)], 512).save(tmp_path / "run" / "tokenizer")
        with pytest.raises(UserError, match="another tokenizer"):
            prepare(make_config(resume="auto"))

    def test_another_text_is_refused(self, make_config: MakeConfig, corpus: Path) -> None:
        fit(prepare(make_config(max_steps=2)))
        corpus.write_text(corpus.read_text().upper())
        with pytest.raises(UserError, match=r"corpus was \w+, now "):
            prepare(make_config(resume="auto"))

    def test_another_shape_is_refused(self, make_config: MakeConfig) -> None:
        fit(prepare(make_config(max_steps=2)))
        with pytest.raises(UserError, match="does not fit this model"):
            prepare(make_config(resume="auto", state_dim=16))
