"""The training loop: batches in, weights moved, measurements and checkpoints out.

The order of windows and every random draw are pure functions of (seed, step). A checkpoint
therefore needs no generator state, and N + M steps give the same bits as N steps, a crash and
M steps.
"""

import dataclasses
from collections.abc import Sequence
from contextlib import nullcontext

from boggers.data.windows import Batch
from boggers.errors import UserError
from boggers.infer.score import Progress as Told
from boggers.model.architectures import Model
from boggers.parallel import Agreement, watched
from boggers.train.averages import Averages, Measured
from boggers.train.clock import Clock
from boggers.train.interruption import Interruption
from boggers.train.learner import Learned, Learner
from boggers.train.metrics import MetricsFile, MetricsRow
from boggers.train.observers import (
    BatchEvent,
    EpochEvent,
    EvalEvent,
    FitResult,
    Observer,
    Recorder,
    StepEvent,
    Validation,
)
from boggers.train.prepare import Prepared, Validate
from boggers.train.share import validated
from boggers.train.step_folders import step_folder
from boggers.train.writer import checkpoint_writer


def fit(
    prepared: Prepared,
    observers: Sequence[Observer] = (),
    validate: Validate | None = None,
    recorders: Sequence[Recorder] = (),
    told: Told | None = None,
) -> FitResult:
    """Train until the last step or a signal, leaving a checkpoint either way.

    A signal waits for the step under way, and for nothing else: a measurement of the held-out text
    is given up, and made up for before anything else when the run goes on.

    Args:
        prepared: everything built from the configuration, at its step.
        observers: told of every step, measurement and epoch.
        validate: measures the held-out text; None leaves it unmeasured.
        recorders: look into every batch.
        told: hears how many held-out tokens have been measured, and of how many.

    Raises:
        UserError: too many steps in a row were not finite, or nothing could be written; the
            checkpoints saved before are intact.
    """
    interruption = Interruption()
    training = _Training(prepared, observers, validate, recorders, interruption, told)
    agreement = Agreement(prepared.world)
    with interruption, watched(prepared.world):
        while training.unfinished and not agreement(interruption.requested):
            training.advance()
        training.save()
        training.writer.finish()
    result = training.result(interrupted=training.unfinished, signal=interruption.number)
    for observer in observers:
        observer.on_end(result)
    return result


class _Training:
    """The moving parts of one call of `fit`."""

    def __init__(
        self,
        prepared: Prepared,
        observers: Sequence[Observer],
        validate: Validate | None,
        recorders: Sequence[Recorder] = (),
        interruption: Interruption | None = None,
        told: Told | None = None,
    ) -> None:
        self.prepared = prepared
        self.interruption = interruption or Interruption()
        self.told = told or (lambda done, total: None)
        self.config = prepared.config.train
        self.observers = observers
        self.recorders = recorders
        self.validate = validate
        self.progress = prepared.progress
        self.step = self.progress.step
        self.saved = (self.step, self.progress.owes)
        self.checkpoint = step_folder(prepared.run.checkpoints, self.step)
        self.validation: Validation | None = None
        self.learner = Learner(
            prepared,
            whole=bool(recorders),
            watched=any(recorder.watches for recorder in recorders),
        )
        self.averages = Averages(
            prepared.device,
            self.progress.sums,
            self.progress.skipped,
            self.progress.skipped_in_a_row,
        )
        self.metrics = (
            MetricsFile(prepared.run.metrics, self.progress.recorded)
            if prepared.world.is_first
            else None
        )
        self.writer = checkpoint_writer(prepared)
        self.clock = Clock(self.progress.seconds, self.progress.tokens)
        prepared.model.train()

    @property
    def unfinished(self) -> bool:
        """Whether a step is left to take, or to measure after."""
        return self.step < self.prepared.total_steps or self.progress.owes

    def advance(self) -> None:
        """Take one step, and measure and save where that is due."""
        owes = self.progress.owes
        if not owes:
            self._learn()
        config, epoch_ends = self.config, self.progress.batch == 0
        is_last = self.step == self.prepared.total_steps
        eval_due = owes or is_last or _due(self.step, config.eval_every, epoch_ends)
        row = None
        is_best = False
        if eval_due or self.step % config.log_every == 0:
            measured = self._checked()
            self.clock.lap(self.progress.tokens)
            found = self._measure() if eval_due else None
            owes = eval_due and found is None and self.validate is not None
            self.progress = dataclasses.replace(self.progress, owes=owes)
            if owes:
                self.save()
                return
            is_best = found is not None and self._judge(found)
            row = self._row(measured, found)
            if self.metrics is not None:
                self.metrics.append(row)
            self.averages.restart()
        elif self.step % config.max_skipped_steps == 0:
            self._checked()
        self._tell(row, epoch_ends)
        if epoch_ends or is_best or _due(self.step, config.save_every, False):
            self.save()

    def save(self) -> None:
        """Write a checkpoint of the present step, unless it has one that owes no more than this."""
        now = (self.step, self.progress.owes)
        if now == self.saved:
            return
        measured = self._checked()
        if self.metrics is not None:
            self.metrics.flush_to_disk()
        self.progress = dataclasses.replace(
            self.progress,
            seconds=self.clock.seconds,
            skipped=measured.skipped,
            skipped_in_a_row=measured.skipped_in_a_row,
            sums=self.averages.sums(),
            random_state=self._random_state,
        )
        with self.clock.paused():
            self.checkpoint = self.writer.save(self.progress, self.learner.carried)
        self.saved = now

    def result(self, *, interrupted: bool, signal: int | None) -> FitResult:
        """How it ended."""
        progress = self.progress
        return FitResult(
            step=self.step,
            total_steps=self.prepared.total_steps,
            epoch=progress.epoch,
            tokens=progress.tokens,
            seconds=self.clock.seconds,
            skipped=progress.skipped,
            best_ce=progress.best_ce,
            best_step=progress.best_step,
            validation=self.validation,
            checkpoint=self.checkpoint if self.checkpoint.is_dir() else None,
            interrupted=interrupted,
            signal=signal,
            notes=() if self.prepared.coupling is None else self.prepared.coupling.close(),
        )

    def _learn(self) -> None:
        """Take one step, count it and show its batch.

        What was learned ends here, so that no measurement has to share the memory with it.
        """
        learned = self.learner.learn(self.step)
        self.averages.add(learned.measurements, learned.skipped)
        self.step += 1
        epoch, index = divmod(self.step, self.prepared.steps_per_epoch)
        self.progress = dataclasses.replace(
            self.progress,
            step=self.step,
            epoch=epoch,
            batch=index,
            tokens=self.progress.tokens + learned.tokens,
            lr=learned.lr,
        )
        if learned.batch is not None:
            self._record(learned, learned.batch)

    def _record(self, learned: Learned, batch: Batch) -> None:
        event = BatchEvent(
            step=self.step,
            epoch=self._epoch,
            index=(self.step - 1) % self.prepared.steps_per_epoch,
            lr=learned.lr,
            batch=batch,
            loss=learned.loss,
            grad_norm=learned.grad_norm,
        )
        for recorder in self.recorders:
            recorder.on_batch(event)

    def _checked(self) -> Measured:
        """The measurements so far; ends the run if too many steps in a row were skipped.

        Looking costs a wait for the device, so it happens only where a row is written anyway and
        every `--max-skipped-steps` steps. Being late is harmless: skipped steps change nothing.
        """
        measured = self.averages.read()
        if measured.longest_row < self.config.max_skipped_steps:
            return measured
        newest = self.checkpoint if self.checkpoint.is_dir() else "none yet"
        raise UserError(
            f"A training step needs a finite loss and gradient; {measured.longest_row} steps in a "
            f"row up to step {self.step} had none, so training was ended (these steps changed no "
            f"weight; newest checkpoint: {newest}). Lower --lr or set --grad-clip 1.0."
        )

    def _measure(self) -> Validation | None:
        """What the held-out text says; None if nothing measures it or a signal came first."""
        validate, average = self.validate, self.prepared.average
        if validate is None:
            return None

        def measured(model: Model) -> Validation | None:
            return self.interruption.attempt(lambda: validate(model, self.told))

        with self.clock.paused(), nullcontext() if average is None else average.in_place():
            self.prepared.model.eval()
            found = validated(self.prepared.door, self.prepared.world, measured)
            self.prepared.model.train()
        return found

    def _judge(self, found: Validation) -> bool:
        """Remember and tell a measurement; whether it is the best so far."""
        self.validation = found
        best = self.progress.best_ce
        is_best = best is None or found.ce < best
        if is_best:
            self.progress = dataclasses.replace(
                self.progress, best_ce=found.ce, best_step=self.step
            )
        for observer in self.observers:
            observer.on_eval(EvalEvent(step=self.step, validation=found, is_best=is_best))
        return is_best

    def _row(self, measured: Measured, validation: Validation | None) -> MetricsRow:
        return MetricsRow(
            step=self.step,
            epoch=self._epoch,
            lr=self.progress.lr,
            val_ce=validation.ce if validation else None,
            val_bpb=validation.bits_per_byte if validation else None,
            diagnosis=validation.diagnosis if validation else None,
            tokens=self.progress.tokens,
            tokens_per_second=round(self.clock.tokens_per_second, 1),
            skipped=measured.skipped,
            seconds=round(self.clock.seconds, 3),
            **measured.means,
            **({} if self.prepared.coupling is None else self.prepared.coupling.measurements()),
        )

    @property
    def _random_state(self) -> str:
        """Of the last step, also where another process took it and only a measurement was left."""
        if self.step == self.prepared.progress.step:
            return self.progress.random_state
        return self.learner.random_state

    @property
    def _epoch(self) -> int:
        """The epoch that the last step belonged to, counted from 1."""
        return (self.step - 1) // self.prepared.steps_per_epoch + 1

    @property
    def _tokens_per_step(self) -> int:
        config = self.prepared.config
        return config.rows_per_step * config.tokens_per_row

    def _tell(self, row: MetricsRow | None, epoch_ends: bool) -> None:
        left = self.prepared.total_steps - self.step
        event = StepEvent(
            step=self.step,
            total_steps=self.prepared.total_steps,
            epoch=self._epoch,
            lr=self.progress.lr,
            tokens=self.progress.tokens,
            tokens_per_second=self.clock.tokens_per_second,
            seconds=self.clock.seconds,
            seconds_left=self.clock.seconds_for(left * self._tokens_per_step),
            row=row,
        )
        coupling = self.prepared.coupling
        felt = coupling.epoch_counts() if epoch_ends and coupling is not None else {}
        for observer in self.observers:
            observer.on_step(event)
            if epoch_ends:
                at = EpochEvent(
                    step=self.step,
                    epoch=self.progress.epoch,
                    graph=felt,
                    attempt=self.interruption.attempt,
                )
                with self.clock.paused():
                    observer.on_epoch(at)


def _due(step: int, every: int | None, otherwise: bool) -> bool:
    """Whether `step` is a multiple of `every`; `otherwise` where that is not given."""
    return step % every == 0 if every else otherwise
