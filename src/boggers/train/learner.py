"""One step of learning: a batch becomes gradients, gradients move the weights.

Every random draw of a step is a pure function of (seed, step), so a checkpoint needs no state of
a generator.
"""

import functools
import hashlib
from contextlib import nullcontext
from dataclasses import dataclass

import torch
from torch import Tensor

from boggers.data.windows import Batch
from boggers.train.loss import Loss
from boggers.train.objective import objective
from boggers.train.optim import guarded_step, learning_rate
from boggers.train.precision import products_in
from boggers.train.prepare import Prepared
from boggers.train.share import Adding, Part, carried_by, parts


def step_seed(seed: int, step: int, row: int = 0) -> int:
    """The seed of the random draws of a step's part that begins at a row of the batch.

    A hash of the run's seed and the step; all parts of a step share its upper half, and rows after
    the first change the lower one.
    """
    whole = _hash(f"{seed}/{step}") >> 1
    if row == 0:
        return whole
    return (whole >> 32 << 32) | (_hash(f"{seed}/{step}/{row}") >> 32)


def _hash(text: str) -> int:
    """64 bits that a text fixes."""
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big")


@dataclass(frozen=True, kw_only=True)
class Learned:
    """What a step came to; nothing in here waited for the device."""

    lr: float
    """The learning rate that it was taken with."""

    loss: Loss
    grad_norm: Tensor
    """Global gradient norm before clipping."""

    skipped: Tensor
    """1 where the loss or the gradient was not finite and nothing moved, else 0."""

    tokens: int
    """Tokens that the batch predicts, over all processes."""

    batch: Batch | None
    """The whole batch; None where it was taken in parts and nobody asked for it."""

    @property
    def measurements(self) -> dict[str, Tensor]:
        """The scalars of the step by their metrics column, all still on the device."""
        loss = self.loss
        return {"loss": loss.total, **loss.parts, "grad_norm": self.grad_norm, **loss.settling}


class Learner:
    """Takes the steps of a run, one after another.

    Args:
        prepared: the model, its optimiser, and everything else that a step moves.
        whole: give the whole batch back even where it was taken in parts.
        watched: keep the whole path of settling, for the records.
    """

    def __init__(self, prepared: Prepared, *, whole: bool = False, watched: bool = False) -> None:
        self.carried = prepared.carried
        """What the last step left to the next one."""
        self._prepared = prepared
        self._whole = whole or prepared.coupling is not None
        self._watched = watched
        self._generator = torch.Generator(device=prepared.device)
        self._precision = products_in(prepared.config.train.precision, prepared.device)
        self._adding = Adding(prepared.door, prepared.world)

    @property
    def random_state(self) -> str:
        """SHA-256 of the random generator's state after the last step."""
        state = self._generator.get_state().cpu().numpy().tobytes()
        return hashlib.sha256(state).hexdigest()

    def learn(self, step: int) -> Learned:
        """Put the batch of a step, counted from 0, through the objective and the optimiser."""
        prepared, optim = self._prepared, self._prepared.config.optim
        epoch, index = divmod(step, prepared.steps_per_epoch)
        coupling = prepared.coupling
        damping = 1.0 if coupling is None else coupling.before_step()
        prepared.optimizer.zero_grad(set_to_none=True)
        with nullcontext() if coupling is None else coupling.controls():
            loss, tokens, batch = self._differentiate(step, epoch, index)
        rate = learning_rate(optim, step, prepared.total_steps, prepared.steps_per_epoch)
        rate *= damping
        norm, skipped = guarded_step(prepared.optimizer, loss.total, rate, optim.grad_clip)
        self.carried = loss.carried
        if batch is None and self._whole:
            batch = prepared.batch(epoch, index)
        if coupling is not None and batch is not None:
            coupling.after_step(batch, loss)
        if prepared.average is not None:
            prepared.average.update(step)
        return Learned(
            lr=rate, loss=loss, grad_norm=norm, skipped=skipped, tokens=tokens, batch=batch
        )

    def _differentiate(self, step: int, epoch: int, index: int) -> tuple[Loss, int, Batch | None]:
        """Fill in the gradients of a batch; its loss, how many tokens it predicts, and itself.

        The batch is None where it was taken in parts.
        """
        prepared, config, tokens, whole = self._prepared, self._prepared.config, 0, None
        n = prepared.rows_of(index)
        shares = parts(n, prepared.world, config.parallel.micro_batch_size)
        losses: list[tuple[Part, Loss]] = []
        coupling = prepared.coupling if config.loss.token_bigram_bias else None
        deep = None if coupling is None else coupling.deep()
        carried = self.carried if index else {}
        for number, part in enumerate(shares, start=1):
            batch = prepared.batch(epoch, index, part.rows)
            self._generator.manual_seed(step_seed(config.train.seed, step, part.rows.start))
            work = functools.partial(
                objective,
                batch=batch,
                config=config.loss,
                generator=self._generator,
                carried=carried_by(part, carried),
                deep=deep,
                watched=self._watched,
            )
            loss = self._adding.add(part, work, self._precision, is_last=number == len(shares))
            losses.append((part, loss))
            tokens = batch.targets.numel() // len(batch.targets) * n
            whole = batch if part.weight == 1.0 else None
        return self._adding.mean(losses, n), tokens, whole
