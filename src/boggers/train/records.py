"""The records that a run's configuration asks for."""

from dataclasses import dataclass

from boggers.train.batch_records import BatchRecords
from boggers.train.break_memory import BreakMemory
from boggers.train.epoch_records import EpochRecords
from boggers.train.notices import Debug, HardBatches, Tell
from boggers.train.observers import Observer, Recorder
from boggers.train.prepare import Prepared
from boggers.train.prompts import EpochPrompts
from boggers.train.trackers import TensorBoard, WeightsAndBiases


@dataclass(frozen=True)
class Records:
    """What is to be told of a run, and by whom its batches are looked into."""

    observers: tuple[Observer, ...]
    recorders: tuple[Recorder, ...]
    epochs: EpochRecords
    """Among both; remembers the last epoch."""


def make_records(prepared: Prepared, tell: Tell) -> Records:
    """Open every record of a run, in the first of its processes.

    Args:
        prepared: the run.
        tell: says a line to whoever watches.

    Raises:
        UserError: a file cannot be continued, or an extra is missing.
    """
    record, folder = prepared.config.record, prepared.run.folder
    epochs = EpochRecords(prepared)
    if not prepared.world.is_first:
        return Records((), (), epochs)
    observers: list[Observer] = [epochs]
    recorders: list[Recorder] = [epochs]
    if record.per_batch:
        batches = BatchRecords(prepared)
        observers.append(batches)
        recorders.append(batches)
    if record.store_break_memory:
        memory = BreakMemory(folder)
        observers.append(memory)
        recorders.append(memory)
    if record.hard_batch_loss:
        at = prepared.progress.step
        recorders.append(HardBatches(folder, record.hard_batch_loss, tell, at))
    if record.debug:
        debug = Debug(prepared, tell)
        observers.append(debug)
        recorders.append(debug)
    if record.epoch_prompt_tokens is not None:
        if prepared.world.size > 1 and prepared.config.parallel.strategy == "fsdp":
            tell("No texts after epochs: --strategy fsdp spreads the model over processes.")
        else:
            observers.append(EpochPrompts(prepared, record.epoch_prompt_tokens))
    if record.tensorboard:
        observers.append(TensorBoard(folder))
    if record.wandb_project is not None:
        config = prepared.config.to_json()
        observers.append(WeightsAndBiases(record.wandb_project, folder, config))
    return Records(tuple(observers), tuple(recorders), epochs)
