"""The closed loop in training: tension drives the graph, the graph's state bounds the controls."""

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from boggers.data.windows import Batch
from boggers.files import read_json, write_json
from boggers.graph.exchange import from_record, to_record
from boggers.graph.feedback import Feedback, Gains, Mood
from boggers.graph.language import Counts, LanguageNode
from boggers.graph.living import LivingGraph
from boggers.graph.memory import MemoryRule, TokenMemory
from boggers.graph.store import GraphStore
from boggers.graph.tscore import bootstrap
from boggers.graph.webhook import Webhook, webhook_from_environment
from boggers.model.architectures import Model
from boggers.train.beats import Beat, Beats
from boggers.train.graph_config import GraphConfig
from boggers.train.loss import Loss
from boggers.train.run import Run

DATABASE = "graph.sqlite"
MEMORY = "memory.safetensors"
SNAPSHOT = "graph.json"
BEAT = "beat.safetensors"


class GraphCoupling:
    """The graph and the memory of one run.

    Both move once a beat; see `Beats`. The graph feels it when the next step begins: by then its
    tension has been computed, so that asking for it hardly waits, and the order is the same on
    every machine.

    Args:
        config: what is on and how strongly.
        model: whose options the controls change and whose bonus the memory writes.
        run: the folder that keeps the graph.
        device: where the memory lives.
        speaks: whether this process keeps the database and calls the webhook.
    """

    def __init__(
        self,
        config: GraphConfig,
        model: Model,
        run: Run,
        device: torch.device,
        *,
        speaks: bool = True,
    ) -> None:
        self.config = config
        self.model = model
        self.memory: TokenMemory | None = None
        self.substrate: Substrate | None = None
        self._device = device
        self._beats = Beats(config.beat)
        if config.use_goat_memory:
            self.memory = TokenMemory(model.vocab_size, memory_rule(config), device)
        if config.use_substrate:
            self.substrate = Substrate(config, run.folder / DATABASE if speaks else None)

    def before_step(self) -> float:
        if self.substrate is None:
            return 1.0
        self.substrate.feel()
        return self.substrate.feedback.rate()

    @contextmanager
    def controls(self) -> Iterator[None]:
        if self.substrate is None:
            yield
            return
        usual = self.model.config
        self.model.config = controlled(usual, self.substrate.feedback)
        try:
            yield
        finally:
            self.model.config = usual

    def deep(self) -> Tensor | None:
        return None if self.memory is None else self.memory.deep()

    def after_step(self, batch: Batch, loss: Loss) -> None:
        beat = self._beats.add(batch.contexts, language_tension(loss.settling))
        if beat is None:
            return
        if self.memory is not None and self.model.bonus is not None:
            self._remember(self.memory, beat)
            self.memory.bonus(self.model.bonus.strength)  # where the model reads it
        if self.substrate is not None:
            self.substrate.waiting = beat.tension

    def measurements(self) -> dict[str, float]:
        found: dict[str, float] = {}
        if self.substrate is not None:
            self.substrate.feel()
            node = self.substrate.node
            found["ts_tension"] = node.last_ts_tension
            found["ts_fired"] = node.total.fired
            found["ts_evolves"] = node.total.evolved
        if self.memory is not None:
            stats = self.memory.stats()
            found["memory_active"], found["memory_deep"] = stats.active, stats.deep
        return found

    def epoch_counts(self) -> dict[str, float]:
        if self.substrate is None:
            return {}
        self.substrate.feel()
        node = self.substrate.node
        counts = node.new_epoch()
        return {
            "tscore_evolves": counts.evolved,
            "tscore_last_tension": node.last_ts_tension,
            "tscore_fired": counts.fired,
            "tscore_batches": counts.batches,
        }

    def save(self, folder: Path) -> None:
        save_file(self._beats.tensors(), folder / BEAT)
        if self.memory is not None:
            save_file(self.memory.tensors(), folder / MEMORY)
        if self.substrate is not None:
            write_json(folder / SNAPSHOT, self.substrate.snapshot())

    def load(self, folder: Path) -> None:
        if (folder / BEAT).is_file():
            self._beats.restore(load_file(folder / BEAT), self._device)
        if self.memory is not None and (folder / MEMORY).is_file():
            self.memory.restore(load_file(folder / MEMORY))
        if self.substrate is not None and (folder / SNAPSHOT).is_file():
            self.substrate.restore(read_json(folder / SNAPSHOT))

    def close(self) -> tuple[str, ...]:
        return () if self.substrate is None else self.substrate.close()

    def _remember(self, memory: TokenMemory, beat: Beat) -> None:
        rule = self.model.config.break_rule
        if rule is not None and beat.tensions:
            # The original's low-tension event: what is calm wakes its dormant tokens.
            for read, tension in zip(beat.read, beat.tensions, strict=True):
                memory.revive(read, when=tension < rule.calm)
        memory.tick(beat.tokens)


class Substrate:
    """A graph, the node that language moves, its database, and what flows back.

    Args:
        config: thresholds and gains.
        path: the database; a run that begins there starts with TS-Core's four nodes. None: kept
            and told by another process, this one only feels.
    """

    def __init__(self, config: GraphConfig, path: Path | None) -> None:
        self.config = config
        self.path = path
        self.waiting: Tensor | None = None
        self.feedback = Feedback(gains_of(config))
        self.webhook = None if path is None else webhook_of(config)
        self.node = self._attached(bootstrap())
        self._store: GraphStore | None = None

    def feel(self) -> None:
        """Let the graph feel the tension that waits, if one does, and keep what came of it."""
        if self.waiting is None:
            return
        felt = self.node.feel(float(self.waiting))
        self.waiting = None
        graph = self.node.graph
        tension = graph.tension()
        self.feedback.look(graph, tension)
        if felt.fired and self.path is not None:
            self._opened(self.path).save(
                graph, language=felt.language_tension, evolved=felt.evolved, tension=tension
            )

    def snapshot(self) -> dict[str, Any]:
        """Everything that a resumed run needs, exact."""
        self.feel()
        return {
            "graph": to_record(self.node.graph),
            "total": dataclasses.asdict(self.node.total),
            "epoch": dataclasses.asdict(self.node.epoch),
            "last_ts_tension": self.node.last_ts_tension,
            "slow": self.feedback.slow,
            "mood": dataclasses.asdict(self.feedback.mood),
        }

    def restore(self, value: dict[str, Any]) -> None:
        """Go on from a snapshot."""
        self.node = self._attached(from_record(value["graph"]), attach=False)
        self.node.total, self.node.epoch = Counts(**value["total"]), Counts(**value["epoch"])
        self.node.last_ts_tension = value["last_ts_tension"]
        self.feedback = Feedback(self.feedback.gains, value["slow"], Mood(**value["mood"]))

    def close(self) -> tuple[str, ...]:
        """Close the database and the webhook; what a person should know."""
        self.feel()
        said = [self.node.complaint()]
        if self.webhook is not None:
            delivery = self.webhook.close()
            lost = delivery.failed + delivery.dropped
            if lost:
                said.append(
                    f"The webhook {self.webhook.host} missed {lost} of {lost + delivery.sent} "
                    "events: it was too slow, refused them, or was not there."
                )
        if self._store is not None:
            self._store.close()
            self._store = None
        return tuple(line for line in said if line is not None)

    def _attached(self, graph: LivingGraph, *, attach: bool = True) -> LanguageNode:
        return LanguageNode(
            graph,
            language_threshold=self.config.language_threshold,
            evolve_threshold=self.config.evolve_threshold,
            original=self.config.substrate_original,
            webhook=self.webhook,
            attach=attach,
        )

    def _opened(self, path: Path) -> GraphStore:
        """The database; made with the run's folder, so that a mistake leaves nothing behind."""
        if self._store is None:
            self._store = GraphStore(path, durable=False)
        return self._store


def language_tension(settling: dict[str, Tensor]) -> Tensor | None:
    """How tense a batch was when it had settled, a scalar on the device.

    Of windows it is their mean tension; a stream has none between positions, and its residual, the
    share of its length by which the last step still moved a position, says the same: how far from
    rest.
    """
    return settling.get("tension", settling.get("residual"))


def controlled(config: Any, feedback: Feedback) -> Any:
    """The options of a model, its steps and break threshold as the graph wants them."""
    gains = feedback.gains
    changes: dict[str, Any] = {}
    if gains.steps is not None:
        changes["num_dynamics_steps"] = feedback.steps(config.num_dynamics_steps)
    if gains.breaks is not None and config.break_rule is not None:
        tense = feedback.break_threshold(config.break_rule.tense)
        # A row is calm below a lower tension than it is tense above.
        changes["break_tense"] = max(tense, config.break_rule.calm * 1.01)
    return dataclasses.replace(config, **changes) if changes else config


def memory_rule(config: GraphConfig) -> MemoryRule:
    """The rule that the options describe."""
    return MemoryRule(
        decay_rate=config.memory_decay,
        active_threshold=config.memory_active_threshold,
        dormant_threshold=config.memory_dormant_threshold,
        ticks_to_deep=config.memory_ticks_to_deep,
        bonus_scale=config.memory_bonus_scale,
    )


def gains_of(config: GraphConfig) -> Gains:
    """The gains that the options describe."""
    return Gains(
        steps=config.graph_steps,
        breaks=config.graph_breaks,
        temperature=config.graph_temperature,
        rate=config.graph_rate,
    )


def webhook_of(config: GraphConfig) -> Webhook | None:
    """The sender that the options or the environment name."""
    return webhook_from_environment() if config.hook_url is None else Webhook(config.hook_url)
