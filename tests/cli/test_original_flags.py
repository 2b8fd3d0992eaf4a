"""Every option of the original: it parses, lands in the configuration, and changes something.

`original_flags.tsv` names its 98 options with their types and defaults; aliases are joined by a
bar. Each has a row in one of the tables below, which say how to see its effect.
"""

import csv
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from boggers.cli.configuration import read_configuration
from boggers.cli.main import main
from boggers.data.windows import Batch
from boggers.model.architectures import build_model
from boggers.text.config import build_tokenizer
from boggers.train.guidance import make_guidance
from boggers.train.loop import fit
from boggers.train.objective import objective
from boggers.train.optim import learning_rate
from boggers.train.prepare import prepare
from boggers.train.run import RunConfig, TrainConfig, choose_device
from tests.cli.conftest import Refused

FLAGS = Path(__file__).parent / "original_flags.tsv"
ROWS = list(csv.DictReader(FLAGS.read_text(encoding="utf-8").splitlines(), delimiter="\t"))
NAMES = [row["flag"].split("|") for row in ROWS]
FIRST = [names[0] for names in NAMES]
CPU = torch.device("cpu")

Around = list[str]
GIVEN = ["--trajectory-guidance-from-embed", "--trajectory-guidance-mse-weight", "0.5"]
CONTRAST = ["--loss-mode", "trajectory", "--trajectory-margin", "2"]
SIMPLE = ["--dynamics", "simple", "--phase1-num-heads", "2"]
BREAKS = ["--breaks"]
ANCHORS = ["--phase05-anchor-lambda", "0.5"]
FREEZE = ["--phase05-enable-anchor-freeze", "--phase05-anchor-freeze-threshold", "1.5"]
MIXING = ["--phase1-enable-window-interaction"]
HERE = ["--dataset-source", "tinystories"]

MODEL: dict[str, tuple[Around, Any, str]] = {
    "--window-size": ([], 5, "model.window_size"),
    "--seq-len": ([], 5, "model.window_size"),
    "--state-dim": ([], 32, "model.state_dim"),
    "--num-waves": ([], 4, "model.num_waves"),
    "--readout-fusion": ([], True, "model.readout_fusion"),
    "--num-dynamics-steps": ([], 5, "model.num_dynamics_steps"),
    "--convergence-epsilon": ([], 1e3, "model.convergence_epsilon"),
    "--min-attractor-steps": (["--convergence-epsilon", "1e3"], 4, "model.min_attractor_steps"),
    "--dynamics": ([], "vectorized", "model.dynamics"),
    "--use-lorentz": (["--dynamics", "vectorized"], True, "model.use_lorentz"),
    "--vectorized-num-heads": (["--dynamics", "vectorized"], 2, "model.vectorized_num_heads"),
    "--vectorized-rank": (["--dynamics", "vectorized"], 3, "model.vectorized_rank"),
    "--vectorized-dt": ([], 0.25, "model.energy_step"),
    "--vectorized-coupling": (["--dynamics", "vectorized"], 0.9, "model.vectorized_coupling"),
    "--vectorized-strong-diffusion": (
        ["--dynamics", "vectorized"],
        True,
        "model.vectorized_strong_diffusion",
    ),
    "--phase05-enforce-negdef-diffusion": (SIMPLE, True, "model.negative_definite"),
    "--phase05-adaptive-window-dt": ([], True, "model.adaptive_coupling"),
    "--phase05-adaptive-attractor-dt": (
        ["--energy-step", "9"],
        True,
        "model.adaptive_energy_step",
    ),
    "--no-state-normalization": ([], False, "model.state_normalization"),
    "--phase05-tension-w": (
        ["--phase05-tension-lambda", "0.5"],
        (2.0, 1.0, 0.0),
        "model.tension_weights",
    ),
    "--phase05-tension-lambda": ([], 0.5, "model.tension_strength"),
    "--phase05-anchor-lambda": ([], 0.5, "model.anchor_strength"),
    "--phase05-anchor-force-strength": ([], 0.1, "model.anchor_pull"),
    "--phase05-anchor-search-topk": (ANCHORS, 1, "model.anchor_candidates"),
    "--phase05-enable-anchor-freeze": (
        ["--phase05-anchor-freeze-threshold", "0.9"],
        True,
        "model.anchor_freeze",
    ),
    "--phase05-anchor-freeze-threshold": (FREEZE, 1e-4, "model.anchor_freeze_threshold"),
    "--phase05-anchor-freeze-max-age": (FREEZE, 1, "model.anchor_freeze_max_age"),
    "--phase1-num-heads": (
        ["--dynamics", "simple", "--phase1-head-dim-mode", "split"],
        2,
        "model.simple_num_heads",
    ),
    "--phase1-head-dim-mode": (SIMPLE, "split", "model.head_dim_mode"),
    "--phase1-interaction-scale": (MIXING, 0.2, "model.interaction_scale"),
    "--phase1-enable-window-interaction": ([], True, "model.window_interaction"),
    "--phase2-disable-directional-break": (BREAKS, True, "model.gaussian_breaks"),
    "--phase2-break-base-strength": (BREAKS, 0.5, "model.break_strength"),
    "--phase2-break-min-scale": (BREAKS, 0.7, "model.break_scale_min"),
    "--phase2-break-max-scale": (
        [*BREAKS, "--phase2-break-t-target", "90"],
        0.3,
        "model.break_scale_max",
    ),
    "--phase2-break-t-target": (BREAKS, 3.0, "model.break_target"),
    "--phase2-enable-break-rejection": (
        [*BREAKS, "--phase2-disable-directional-break"],
        True,
        "model.break_rejection",
    ),
    "--phase2-disable-residual-mixing": (SIMPLE, True, "model.linear_mixing"),
    "--phase2-mixing-gate-init": (SIMPLE, 0.9, "model.mixing_gate"),
    "--phase2-interaction-decay-tau": (MIXING, 0.5, "model.interaction_decay_tau"),
    "--phase2-enable-head-tension-weighting": (
        [*SIMPLE, "--phase1-head-dim-mode", "split"],
        True,
        "model.head_tension_weighting",
    ),
}
"""Seen in the loss and the gradients of one batch, as are the losses below."""

LOSSES: dict[str, tuple[Around, Any, str]] = {
    "--loss-mode": ([], "trajectory", "loss.loss_mode"),
    "--token-aux-ce": ([], 0.7, "loss.token_auxiliary_weight"),
    "--readout-aux-alpha": ([], 0.7, "loss.readout_auxiliary_weight"),
    "--trajectory-intermediate-ce-weight": ([], 0.7, "loss.intermediate_weight"),
    "--trajectory-guidance-nudge-scale": (GIVEN, 0.3, "loss.guidance_nudge"),
    "--trajectory-guidance-mse-weight": (
        ["--trajectory-guidance-from-embed", "--trajectory-guidance-nudge-scale", "0.1"],
        0.7,
        "loss.guidance_weight",
    ),
    "--phase05-energy-reg-weight": ([], 0.7, "loss.energy_weight"),
    "--phase05-anchor-contrastive-weight": ([], 0.7, "loss.anchor_contrast_weight"),
    "--phase05-anchor-contrastive-num-negatives": (
        ["--phase05-anchor-contrastive-weight", "1"],
        3,
        "loss.anchor_contrast_negatives",
    ),
    "--phase05-multi-negative": (CONTRAST, True, "loss.multi_negative"),
    "--phase05-num-negatives": (
        [*CONTRAST, "--phase05-multi-negative"],
        2,
        "loss.num_negatives",
    ),
    "--phase05-traj-temperature": (CONTRAST, 0.5, "loss.trajectory_temperature"),
    "--phase1-head-diversity-weight": (SIMPLE, 0.7, "loss.head_diversity_weight"),
    "--phase2-interaction-reg-weight": (MIXING, 0.7, "loss.interaction_weight"),
}

TRAINING: dict[str, tuple[Around, Any, str]] = {
    "--batch-size": ([], 7, "train.batch_size"),
    "--trajectory-batch-size": ([], 7, "train.batch_size"),
    "--lr": ([], 0.5, "optim.lr"),
    "--grad-clip": ([], 1e-4, "optim.grad_clip"),
    "--lr-decay-every": ([], 1, "optim.lr_decay_every"),
    "--lr-gamma": (["--lr-decay-every", "1"], 0.1, "optim.lr_gamma"),
    "--max-epochs": ([], 3, "train.max_epochs"),
    "--seed": ([], 7, "train.seed"),
    "--val-fraction": ([], 0.3, "data.val_fraction"),
    "--corpus": ([], "other.txt", "data.corpus"),
    "--dataset-path": ([], "other.txt", "data.corpus"),
    "--save-every": ([], 2, "train.save_every"),
    "--no-streaming-dataset": ([], False, "data.streaming_dataset"),
    "--shuffle-buffer": (["--no-streaming-dataset"], 16, "data.shuffle_buffer"),
    "--epoch-copies": (["--no-streaming-dataset"], 2, "data.epoch_copies"),
}
"""Seen in two epochs of training."""

HUB: dict[str, tuple[Around, Any, str]] = {
    "--dataset-source": ([], "tinystories", "data.dataset_source"),
    "--hf-cache-dir": (HERE, Path("elsewhere"), "data.hf_cache_dir"),
    "--hf-max-rows": (HERE, 3, "data.hf_max_rows"),
    "--hf-max-chars": (HERE, 500, "data.hf_max_chars"),
    "--hf-refresh": (HERE, True, "data.hf_refresh"),
}
"""Seen in a text that is read from a folder in the hub's layout."""

OWN = {
    "--use-substrate",
    "--use-goat-memory",
    "--no-synthetic-fallback",
    "--tokenizer",
    "--vocab-cap",
    "--device",
    "--resume-checkpoint",
    "--checkpoint-dir",
    "--epoch-metrics-csv",
    "--metrics-fast-csv",
    "--attractor-steps-metrics-csv",
    "--log-hard-batch-loss-above",
    "--eval-results-json",
    "--baseline-out",
    "--quick-test",
    "--debug",
    "--phase05-log-metrics",
    "--phase05-batch-metrics-csv",
    "--phase1-enable-per-head-tension",
    "--phase2-store-break-memory",
    "--trajectory-guidance-states",
    "--trajectory-guidance-from-embed",
    "--trajectory-guidance-embed-batch-size",
}
"""Have a test of their own below."""

SHAPE = ["--state-dim", "16", "--num-waves", "2", "--window-size", "4", "--memory-patterns", "8"]
# Drifts start small: a step of this size makes them visible beside the memory.
MOVING = ["--num-dynamics-steps", "3", "--energy-step", "0.5"]


def test_the_tables_name_every_option_once() -> None:
    assert len(ROWS) == 98
    aliases = {"--seq-len", "--batch-size", "--dataset-path"}
    named = [*MODEL, *LOSSES, *TRAINING, *HUB, *OWN]
    assert sorted(named) == sorted({*FIRST, *aliases})


@pytest.fixture(scope="module")
def alias_help() -> str:
    return (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("names", NAMES, ids=lambda names: names[0])
def test_every_name_is_shown_by_help(names: list[str], alias_help: str) -> None:
    for name in names:
        shown = name.replace("_", "-")
        assert f" {shown} " in alias_help or f" {shown}," in alias_help, shown


def configuration(*argv: str) -> RunConfig:
    return read_configuration([*SHAPE, *MOVING, "--corpus", "text.txt", "--out", "run", *argv])


def spelled(flag: str, value: Any) -> list[str]:
    if value is True or flag.startswith("--no-"):
        return [flag]
    if isinstance(value, tuple):
        return [flag, ",".join(map(str, value))]
    return [flag, str(value)]


def at(config: RunConfig, path: str) -> Any:
    part, name = path.split(".")
    return getattr(getattr(config, part), name)


def learned(config: RunConfig) -> list[torch.Tensor]:
    """The loss of one batch, how it settled, and the gradient of every parameter."""
    model = build_model(config.model, 23, torch.Generator().manual_seed(1)).train()
    chosen = torch.Generator().manual_seed(2)
    window = config.model.window_size
    contexts = torch.randint(23, (6, window), generator=chosen)
    targets = torch.randint(23, (6,), generator=chosen)
    guidance = make_guidance(config.loss, model, range(6), CPU)
    states = None if guidance is None else guidance(torch.arange(6), contexts)
    if states is not None:
        states = states.flip(0)  # what a window starts from would hardly move it
    batch = Batch(contexts, targets, torch.arange(6), states)
    noise = torch.Generator().manual_seed(3)
    loss = objective(model, batch, config.loss, noise)
    loss.total.backward()
    grads = [p.grad.flatten() for p in model.parameters() if p.grad is not None]
    return [loss.total.detach()[None], *grads]


def differ(before: list[torch.Tensor], after: list[torch.Tensor]) -> bool:
    if [x.shape for x in before] != [x.shape for x in after]:
        return True
    return any(float((x - y).abs().max()) > 1e-7 for x, y in zip(before, after, strict=True))


@pytest.mark.parametrize("flag", [*MODEL, *LOSSES])
def test_an_option_of_physics_or_loss_has_its_effect(flag: str) -> None:
    around, value, path = (MODEL | LOSSES)[flag]
    before, after = configuration(*around), configuration(*around, *spelled(flag, value))
    assert at(after, path) == value
    assert at(before, path) != value
    assert differ(learned(before), learned(after))


@pytest.fixture
def texts() -> None:
    words = ["sun", "moon", "tree", "bird", "sea"]
    for name, stride in (("text.txt", 3), ("other.txt", 7)):
        said = [words[(n * n + stride * n) % 5] for n in range(60)]
        lines = (" ".join(said[n : n + 6]) for n in range(0, 60, 6))
        Path(name).write_text("# six words a line\n" + "\n".join(lines) + "\n")


def trained(*argv: str) -> dict[str, Any]:
    """What two epochs of training leave behind."""
    config = configuration(
        "--tokenizer", "byte", "--device", "cpu", "--epochs", "2", "--batch-size", "64", *argv
    )
    prepared = prepare(config)
    rates = {
        learning_rate(config.optim, step, prepared.total_steps, prepared.steps_per_epoch)
        for step in range(prepared.total_steps)
    }
    result = fit(prepared)
    return {
        "rates": rates,
        "weights": sum(float(p.detach().double().sum()) for p in prepared.model.parameters()),
        "steps": result.step,
        "epochs": result.epoch,
        "held out": len(prepared.split.held_out),
        "corpus": prepared.corpus.key,
        "checkpoints": sorted(p.name for p in prepared.run.checkpoints.iterdir()),
    }


@pytest.mark.parametrize("flag", TRAINING)
def test_an_option_of_training_has_its_effect(
    flag: str, texts: None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    around, value, path = TRAINING[flag]
    changed = [*around, *spelled(flag, value)]
    assert at(configuration(*changed), path) == value
    before = trained(*around)
    assert trained(*around, "--out", "same") == before
    assert trained(*changed, "--out", "changed") != before


@pytest.fixture
def stories(texts: None) -> Callable[[str], None]:
    """Publishes, as the hub lays datasets out, ten rows that tell of somebody."""

    def publish(somebody: str) -> None:
        folder = Path("roneneldan/TinyStories")
        (folder / "data").mkdir(parents=True, exist_ok=True)
        rows = [f"{somebody} went for walk number {n}, and it was long." * 3 for n in range(10)]
        pq.write_table(pa.table({"text": rows}), folder / "data/train-00000-of-00001.parquet")

    publish("A fox")
    return publish


@pytest.mark.parametrize("flag", HUB)
def test_an_option_of_hub_texts_has_its_effect(flag: str, stories: Callable[[str], None]) -> None:
    around, value, path = HUB[flag]
    changed = [*around, *spelled(flag, value)]
    before, after = configuration(*around), configuration(*changed)
    assert at(after, path) == value
    assert at(before, path) != value
    text = trained(*around, "--out", "before")["corpus"]
    stories("A cat")  # what is kept is not read again
    assert trained(*around, "--out", "same")["corpus"] == text
    assert trained(*changed, "--out", "changed")["corpus"] != text
    if flag == "--hf-cache-dir":
        assert len(list(Path("elsewhere").glob("tinystories_*.txt"))) == 1


def test_names_with_underscores_mean_the_same() -> None:
    spelt = [name for names in NAMES for name in names if "_" in name]
    tables = MODEL | LOSSES | TRAINING | HUB
    switches = {"--use-substrate": (), "--use-goat-memory": (), "--quick-test": ()}
    seen = set()
    for name in spelt:
        dashed = name.replace("_", "-")
        if dashed in tables:
            around, value, _ = tables[dashed]
            given = spelled(dashed, value)
        elif dashed in switches:
            around, given = [], [dashed]
        else:
            around, given = [], [dashed, "3"]
        same = configuration(*around, *given)
        assert configuration(*around, name, *given[1:]) == same != configuration(*around), name
        seen.add(name)
    assert len(seen) == len(spelt) > 0


@pytest.mark.parametrize(
    ("flag", "kept"),
    [("--use-substrate", "graph.json"), ("--use-goat-memory", "memory.safetensors")],
)
def test_a_graph_and_a_memory_are_kept_with_the_run(flag: str, kept: str, texts: None) -> None:
    name = flag.removeprefix("--").replace("-", "_")
    assert getattr(configuration(flag).graph, name)
    assert not getattr(configuration().graph, name)
    for argv, there in ([], False), ([flag], True):
        config = configuration("--tokenizer", "byte", "--device", "cpu", "--max-steps", "2", *argv)
        prepared = prepare(dataclasses.replace(config, train=_into(config.train, f"run-{there}")))
        fit(prepared)
        found = sorted(path.name for path in prepared.run.checkpoints.glob("*/*"))
        assert (kept in found) is there


def _into(train: TrainConfig, folder: str) -> TrainConfig:
    return dataclasses.replace(train, out=Path(folder))


def test_tokenizers_of_the_original() -> None:
    config = configuration("--tokenizer", "tiktoken", "--vocab-cap", "1000").text
    assert build_tokenizer(config, []).vocab_size == 1000
    config = configuration("--tokenizer", "fallback", "--vocab-cap", "1000").text
    assert build_tokenizer(config, []).vocab_size == 512


def test_a_missing_text_is_generated_only_if_that_is_wanted(refused: Refused) -> None:
    Path("short.txt").write_text("Too short.")
    run = ["train", *SHAPE, "--tokenizer", "byte", "--device", "cpu", "--max-steps", "1"]
    for corpus in ("missing.txt", "short.txt"):
        given = [*run, "--corpus", corpus, "--val-fraction", "0"]
        config = read_configuration([*given[1:], "--synthetic-fallback", "--out", corpus[:3]])
        prepared = prepare(config)
        assert prepared.config.data.corpus == "synthetic"
        assert prepared.replaced is not None
        assert "generated sentences are used instead" in prepared.replaced
    assert not read_configuration([*given[1:], "--no-synthetic-fallback"]).data.synthetic_fallback
    said = refused(*run, "--corpus", "missing.txt", "--no-synthetic-fallback")
    assert "does not exist" in said


def test_a_device_is_used_or_refused(refused: Refused) -> None:
    assert choose_device(configuration("--device", "cpu").train.device).type == "cpu"
    assert "--device must be" in refused("train", "tiny", "--device", "toaster")


def test_targets_from_a_file_lead_elsewhere_than_targets_from_the_embedding(texts: None) -> None:
    config = configuration(*GIVEN)
    model = build_model(config.model, 23, torch.Generator().manual_seed(1))
    contexts = torch.arange(24).remainder(23).view(6, 4)
    numbers = torch.arange(6)
    looked_up = make_guidance(config.loss, model, range(6), CPU)
    assert looked_up is not None
    assert torch.equal(looked_up(numbers, contexts), model.embed(contexts).detach())
    torch.save(torch.zeros(6, 4, 16), "targets.pt")
    given = ["--trajectory-guidance-states", "targets.pt", "--trajectory-guidance-mse-weight", "1"]
    config = configuration(*given)
    assert config.loss.guidance_states == Path("targets.pt")
    from_file = make_guidance(config.loss, model, range(6), CPU)
    assert from_file is not None
    assert float(from_file(numbers, contexts).abs().max()) == 0.0


def test_targets_are_embedded_so_many_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    for most in (2, 5):
        config = configuration(*GIVEN, "--trajectory-guidance-embed-batch-size", str(most))
        assert config.loss.guidance_batch == most
        model = build_model(config.model, 23, torch.Generator().manual_seed(1))
        embed: Callable[..., torch.Tensor] = model.embed

        def watched(
            contexts: torch.Tensor, table: torch.Tensor, embed: Any = embed
        ) -> torch.Tensor:
            sizes.append(len(contexts))
            found: torch.Tensor = embed(contexts, table)
            return found

        looked_up = make_guidance(config.loss, model, range(6), CPU)
        assert looked_up is not None
        monkeypatch.setattr(model, "embed", watched)
        looked_up(torch.arange(6), torch.zeros(6, 4, dtype=torch.int64))
    assert sizes == [2, 2, 2, 5, 1]


RECORDED = [
    *("--epoch-metrics-csv", "epochs.csv", "--metrics-fast-csv", "fast.csv"),
    *("--attractor-steps-metrics-csv", "steps.csv", "--phase05-batch-metrics-csv", "each.csv"),
    *("--eval-results-json", "result.json", "--baseline-out", "summary.txt"),
    *("--checkpoint-dir", "kept", "--log-hard-batch-loss-above", "0.001"),
    *("--phase1-enable-per-head-tension", "--phase1-num-heads", "2"),
    *("--phase2-store-break-memory", "--breaks", "--debug"),
]


def test_records_are_written_where_they_are_asked_for(
    texts: None, capsys: pytest.CaptureFixture[str]
) -> None:
    run = [*SHAPE, *MOVING, "--corpus", "text.txt", "--tokenizer", "byte", "--device", "cpu"]
    run = ["train", *run, "--max-steps", "5", "--batch-size", "64", "--epoch-prompt-tokens", "2"]
    assert main([*run, "--out", "plain"]) == 0
    quiet = capsys.readouterr().out
    assert main([*run, "--out", "full", *RECORDED]) == 0
    said = capsys.readouterr().out
    assert "[debug]" in said
    assert "[hard batch]" in said
    assert "[debug]" not in quiet
    assert "[hard batch]" not in quiet
    for name in ("hard-batches.csv", "breaks.safetensors"):
        assert not (Path("plain") / name).exists()
        assert (Path("full") / name).stat().st_size > 0
    with Path("epochs.csv").open() as file:
        (epoch, *_) = csv.DictReader(file)
    assert float(epoch["val_ce"]) != float(epoch["val_ce_plain"])
    assert Path("fast.csv").read_text().count("\n") == Path("steps.csv").read_text().count("\n")
    with Path("each.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 5
    assert len(rows[0]) == 56
    assert all(float(row["phase1_tension_heads_mean"]) > 0 for row in rows)
    assert all(float(row["break_high_count"]) > 0 for row in rows)
    result = json.loads(Path("result.json").read_text())
    assert result["base"]["val_bpb"] > 0
    assert result["checkpoint"].endswith("step-0000005")
    assert Path("summary.txt").read_text() == Path("full/baseline.txt").read_text()
    assert (Path("kept") / "step-0000005" / "model.safetensors").is_file()
    assert not (Path("plain/checkpoints")).is_symlink()
    again = [*run[:-4], "--max-steps", "7", "--batch-size", "64", "--out", "full", *RECORDED]
    resumed = [word for word in again if word not in ("--max-steps", "5")]
    assert main([*again, "--resume-checkpoint", "kept/step-0000005"]) == 0, resumed
    assert (Path("kept") / "step-0000007").is_dir()


def test_batches_are_recorded_in_the_run_unless_elsewhere(texts: None) -> None:
    run = [*SHAPE, "--corpus", "text.txt", "--tokenizer", "byte", "--device", "cpu"]
    run = ["train", *run, "--max-steps", "2", "--out", "run", "--phase05-log-metrics"]
    assert main([*run, "--epoch-prompt-tokens", "1"]) == 0
    assert Path("run/batches.csv").read_text().count("\n") == 3


@pytest.mark.parametrize("architecture", ["window", "stream", "token"])
def test_a_quick_test_settles_and_touches_no_file(
    architecture: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shape = ["--architecture", architecture, "--state-dim", "16", "--num-waves", "2"]
    assert main(["train", *shape, "--quick-test", "--device", "cpu"]) == 0
    assert "order matters" in capsys.readouterr().out
    assert list(Path().iterdir()) == []


def test_an_option_of_a_drift_implies_it() -> None:
    assert configuration("--vectorized-num-heads", "2").model.drift == "vectorized"
    assert configuration("--phase1-num-heads", "2").model.drift == "simple"
    assert configuration().model.drift is None


def test_an_option_of_another_drift_is_refused(refused: Refused) -> None:
    said = refused("train", "--dynamics", "simple", "--vectorized-rank", "3")
    assert "--vectorized-rank belongs to another drift" in said
    said = refused("train", "--dynamics", "vectorized", "--phase2-mixing-gate-init", "0.5")
    assert "--dynamics simple" in said


def test_dead_combinations_are_refused(refused: Refused) -> None:
    assert "needs target states" in refused("train", "--trajectory-guidance-mse-weight", "1")
    assert "do nothing" in refused("train", "--trajectory-guidance-from-embed")
    both = ["--trajectory-guidance-states", "x.pt", "--trajectory-guidance-from-embed"]
    assert "give one" in refused("train", *both)


def test_defaults_of_the_original_are_named(alias_help: str) -> None:
    """Where ours differs the page says so; the rest is the same."""
    page = (Path(__file__).parents[2] / "docs" / "from-the-original.md").read_text()
    for names in NAMES:
        assert any(f"`{name.replace('_', '-')}`" in page for name in names), names
