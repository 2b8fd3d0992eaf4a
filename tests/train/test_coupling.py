"""The graph and the memory beside a run: absent unless asked for, exact on resume, and felt."""

import csv
import dataclasses
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.graph.feedback import Feedback, Gains
from boggers.graph.memory import DEEP
from boggers.graph.store import GraphStore
from boggers.graph.tscore import bootstrap
from boggers.infer.engine import Engine
from boggers.model.stream import StreamConfig
from boggers.model.token_config import TokenConfig
from boggers.model.window import WindowConfig
from boggers.train.graph_config import GraphConfig
from boggers.train.loop import fit
from boggers.train.loss_config import LossConfig
from boggers.train.losses import bigram_bias
from boggers.train.objective import objective
from boggers.train.observers import EpochEvent, FitResult
from boggers.train.prepare import Prepared, prepare
from boggers.train.run import RunConfig
from boggers.train.substrate import GraphCoupling, controlled
from tests.train.conftest import MakeConfig

BOTH = GraphConfig(
    use_substrate=True,
    use_goat_memory=True,
    beat_tokens=1,
    graph_steps=4.0,
    graph_rate=8.0,
    evolve_threshold=0.1,
    language_threshold=0.0,
)


def coupled(config: RunConfig, graph: GraphConfig = BOTH) -> RunConfig:
    return dataclasses.replace(config, graph=graph)


def finished(config: RunConfig) -> tuple[Prepared, FitResult]:
    prepared = prepare(config)
    return prepared, fit(prepared)


class Epochs:
    """Keeps what epochs told."""

    def __init__(self) -> None:
        self.felt: list[dict[str, float]] = []

    def on_step(self, event: Any) -> None: ...

    def on_eval(self, event: Any) -> None: ...

    def on_epoch(self, event: EpochEvent) -> None:
        self.felt.append(event.graph)

    def on_end(self, result: Any) -> None: ...


def test_a_run_without_either_imports_no_graph(make_config: MakeConfig) -> None:
    program = (
        "import sys, json\n"
        "from boggers.train.prepare import prepare\n"
        "from boggers.train.loop import fit\n"
        "from boggers.train.run import RunConfig\n"
        "fit(prepare(RunConfig.from_json(json.loads(sys.argv[1]))))\n"
        "print([m for m in sys.modules if m.startswith(('boggers.graph', 'scipy', 'sqlite3'))])\n"
    )
    config = json.dumps(make_config(max_steps=2).to_json())
    done = subprocess.run(
        [sys.executable, "-c", program, config], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_a_coupled_run_keeps_its_graph_and_its_memory(make_config: MakeConfig) -> None:
    config = coupled(make_config(max_epochs=2, batch_size=64, log_every=1))
    prepared, watch = prepare(config), Epochs()
    result = fit(prepared, [watch])
    folder = prepared.run.folder
    with GraphStore(folder / "graph.sqlite") as store:
        store.check()
        rows = store.history()
    with prepared.run.metrics.open() as file:
        table = list(csv.DictReader(file))
    assert float(table[-1]["ts_fired"]) == len(rows) == result.step
    assert float(table[-1]["ts_tension"]) > 0
    assert float(table[-1]["memory_active"]) > 0
    assert rows[0].language == pytest.approx(float(table[0]["tension"]), abs=1e-6)
    assert [felt["tscore_batches"] for felt in watch.felt] == [result.step / 2] * 2
    engine = Engine.load(folder)
    assert engine.model.bonus is not None
    assert engine.model.config.token_bonus == "hold"
    assert isinstance(prepared.coupling, GraphCoupling)
    assert prepared.coupling.memory is not None
    assert torch.equal(engine.model.bonus.strength, prepared.coupling.memory.bonus())


@pytest.mark.parametrize(
    ("architecture", "beat_tokens", "ticks"),
    [("window", 1, 12), ("window", 70, 4), ("stream", 300, 4)],
)
def test_a_resumed_run_has_the_same_bits(
    make_config: MakeConfig, tmp_path: Path, architecture: str, beat_tokens: int, ticks: int
) -> None:
    graph = dataclasses.replace(BOTH, beat_tokens=beat_tokens)
    stream = StreamConfig(
        state_dim=8, num_stages=1, sequence_length=16, memory_patterns=8, num_waves=2
    )

    def config(name: str, **settings: Any) -> RunConfig:
        made = make_config(out=tmp_path / name, batch_size=8, ema_decay=0.9, **settings)
        made = coupled(made, graph)
        if architecture == "stream":
            made = dataclasses.replace(made, architecture="stream", model=stream)
        return made

    whole, _ = finished(config("whole", max_steps=12))
    finished(config("halves", max_steps=5))
    again, _ = finished(config("halves", max_steps=12, resume="auto"))
    for name, weight in whole.model.state_dict().items():
        assert torch.equal(weight, again.model.state_dict()[name]), name
    one, two = (p.run.folder / "checkpoints" / "step-0000012" for p in (whole, again))
    for file in ("beat.safetensors", "graph.json", "memory.safetensors", "average.safetensors"):
        assert (one / file).read_bytes() == (two / file).read_bytes()
    with GraphStore(again.run.folder / "graph.sqlite") as store:
        assert len(store.history()) == ticks


def test_the_memory_moves_what_settles_and_rows_stay_alone(make_config: MakeConfig) -> None:
    made = make_config(max_steps=1)
    for form in ("hold", "additive"):
        assert made.train.out is not None
        config = dataclasses.replace(
            made,
            graph=BOTH,
            model=dataclasses.replace(made.model, token_bonus=form),  # type: ignore[arg-type]
            train=dataclasses.replace(made.train, out=made.train.out / form),
        )
        prepared = prepare(config)
        model = prepared.model.eval()
        assert model.bonus is not None
        batch = prepared.batch(0, 0)
        with torch.no_grad():
            before = model(batch.contexts).logits
            model.bonus.write(torch.rand(model.vocab_size, generator=torch.Generator()))
            after = model(batch.contexts).logits
            alone = torch.cat([model(row[None]).logits for row in batch.contexts])
        assert not torch.allclose(before, after)
        assert torch.allclose(after, alone, atol=1e-5)


def test_deep_tokens_are_left_out_of_the_bigram_bias(make_config: MakeConfig) -> None:
    table = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    contexts = torch.tensor([[0, 1], [0, 2]])
    deep = torch.tensor([False, False, True, False, True])
    bias = bigram_bias(table, contexts, 0.5, deep)
    plain = bigram_bias(table, contexts, 0.5)
    assert torch.equal(bias[0, [0, 1, 3]], plain[0, [0, 1, 3]])
    assert bias[0, [2, 4]].tolist() == [0, 0]
    assert bias[1].tolist() == [0] * 5

    loss = LossConfig(token_auxiliary_weight=1.0, token_bigram_bias=1.0)
    prepared = prepare(coupled(dataclasses.replace(make_config(max_steps=1), loss=loss)))
    batch = prepared.batch(0, 0)

    def token_term(mask: torch.Tensor | None) -> float:
        found = objective(prepared.model.eval(), batch, loss, torch.Generator(), deep=mask)
        return float(found.parts["token_auxiliary"])

    everything = torch.ones(prepared.model.vocab_size, dtype=torch.bool)
    assert token_term(everything) != token_term(None)
    coupling = prepared.coupling
    assert isinstance(coupling, GraphCoupling)
    assert coupling.memory is not None
    found = coupling.memory.tensors()
    coupling.memory.restore({**found, "state": torch.full_like(found["state"], DEEP)})
    assert coupling.deep() is not None
    assert bool(coupling.deep().all())  # type: ignore[union-attr]


def test_calm_batches_wake_their_dormant_tokens(make_config: MakeConfig) -> None:
    prepared = prepare(coupled(make_config(breaks=True, break_calm=0.1, max_steps=1)))
    coupling = prepared.coupling
    assert isinstance(coupling, GraphCoupling)
    assert coupling.memory is not None
    batch = prepared.batch(0, 0)
    loss = objective(prepared.model, batch, LossConfig(), torch.Generator())
    once = Batch(torch.tensor([[65, 65, 65, 66]]), torch.tensor([1]))
    for tension, state in ((0.2, "dormant"), (0.05, "active")):
        calm = dataclasses.replace(loss, settling={"tension": torch.tensor(tension)})
        coupling.after_step(once, calm)
        assert coupling.memory.state_of(66) == state


def test_controls_are_bounded_and_follow_the_graph() -> None:
    graph = bootstrap()
    feedback = Feedback(Gains(steps=1.0, breaks=1.0, temperature=1.0, rate=5.0))
    graph.activation[:] = [0.0, 1.0, 0.0, 1.0]
    mood = feedback.look(graph)
    assert (mood.strain, mood.arousal, mood.rising) == (1.0, 0.5, 0.0)
    assert feedback.steps(4) == 8
    assert feedback.temperature(1.0) == 0.5
    assert feedback.break_threshold(0.2) == 0.2
    assert feedback.rate() == 1.0
    graph.activation[:] = 0.9
    feedback.look(graph)
    assert feedback.steps(4) == 4
    assert feedback.break_threshold(0.2) == pytest.approx(0.36)
    assert feedback.temperature(1.0) == 1.0
    graph.activation[:] = [0.0, 1.0, 0.0, 1.0]
    for _ in range(3):
        feedback.look(graph)
    assert 0.5 <= feedback.rate() < 1.0
    wild = Feedback(Gains(steps=-50.0, breaks=90.0, temperature=-90.0, rate=1e9))
    wild.look(graph)
    assert (wild.steps(3), wild.temperature(1.0)) == (1, 2.0)
    off = Feedback(Gains())
    off.look(graph)
    assert not off.gains.any
    assert (off.steps(3), off.temperature(0.7), off.rate()) == (3, 0.7, 1.0)
    config = WindowConfig(breaks=True)
    assert controlled(config, off) is config
    changed = controlled(config, feedback)
    assert changed.num_dynamics_steps == 6
    assert changed.break_rule.tense == pytest.approx(0.18)


def test_the_controls_hold_for_a_step_and_are_gone_afterwards(make_config: MakeConfig) -> None:
    prepared = prepare(coupled(make_config(max_steps=1)))
    coupling, usual = prepared.coupling, prepared.model.config
    assert isinstance(coupling, GraphCoupling)
    assert coupling.substrate is not None
    coupling.substrate.waiting = torch.tensor(0.5)
    assert coupling.before_step() <= 1.0
    with coupling.controls():
        assert prepared.model.config.num_dynamics_steps > usual.num_dynamics_steps
    assert prepared.model.config is usual
    coupling.close()


def test_a_silent_graph_is_told_of(make_config: MakeConfig) -> None:
    graph = GraphConfig(use_substrate=True, language_threshold=5.0)
    _, result = finished(coupled(make_config(max_steps=2), graph))
    assert any("never felt the model" in note for note in result.notes)


def test_options_that_would_do_nothing_are_refused(make_config: MakeConfig) -> None:
    for options in (
        {"graph_steps": 1.0},
        {"memory_decay": 0.9},
        {"use_substrate": True, "memory_bonus_scale": 0.1},
        {"use_goat_memory": True, "hook_url": "http://x"},
        {"beat_tokens": 1},
    ):
        with pytest.raises(UserError, match="does nothing without"):
            GraphConfig(**options)
    with pytest.raises(UserError, match="does nothing without --use-goat-memory"):
        make_config(token_bonus="hold")
    breaks = GraphConfig(use_substrate=True, graph_breaks=1.0)
    with pytest.raises(UserError, match="--breaks is off"):
        prepare(coupled(make_config(), breaks))
    resting = dataclasses.replace(make_config(), architecture="stream", model=StreamConfig())
    with pytest.raises(UserError, match="at rest after"):
        prepare(coupled(resting, GraphConfig(use_substrate=True, graph_steps=1.0)))
    memory = GraphConfig(use_goat_memory=True)
    with pytest.raises(UserError, match="act while states settle"):
        prepare(coupled(make_config(num_dynamics_steps=0), memory))
    with pytest.raises(UserError, match="--beat-tokens must be at least 1; it is 0"):
        GraphConfig(use_goat_memory=True, beat_tokens=0)
    with pytest.raises(UserError, match="above 0"):
        GraphConfig(use_substrate=True, evolve_threshold=0.0)
    tokens = dataclasses.replace(make_config(), architecture="token", model=TokenConfig())
    with pytest.raises(UserError, match="pulls on the states of windows and streams"):
        prepare(coupled(tokens, memory))


def test_the_graph_feels_a_token_model_and_moves_its_steps(make_config: MakeConfig) -> None:
    graph = GraphConfig(use_substrate=True, beat_tokens=1, graph_steps=4.0, language_threshold=0.0)
    model = TokenConfig(state_dim=8, num_waves=2, sequence_length=4, breaks=True)
    made = dataclasses.replace(make_config(max_steps=3), architecture="token", model=model)
    prepared, result = finished(coupled(made, graph))
    coupling = prepared.coupling
    assert isinstance(coupling, GraphCoupling)
    assert coupling.substrate is not None
    assert coupling.substrate.node.total.batches == 3
    assert coupling.substrate.node.total.fired > 0
    feedback = Feedback(Gains(steps=4.0, breaks=1.0))
    feedback.look(bootstrap())
    changed = controlled(model, feedback)
    assert changed.num_dynamics_steps > model.num_dynamics_steps
    assert changed.break_rule.tense != model.break_rule.tense  # type: ignore[union-attr]
    assert result.step == 3
