"""What one can look up about the training loop, under Lightning's names; all of it is read off the state of the run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from lit.state import Point

if TYPE_CHECKING:
    from lit.loaders import TrainingData
    from lit.state import RunState
    from lit.trainer import Trainer


@dataclass(frozen=True)
class Counts:
    """How many batches (or epochs) were fetched, begun by the hooks, trained on, and ended by the hooks."""

    ready: int
    started: int
    processed: int
    completed: int


@dataclass(frozen=True)
class Progress:
    """``current``: within the epoch; ``total``: over all epochs."""

    current: Counts
    total: Counts


class LoopView:
    """Properties of the training loop."""

    trainer: Trainer
    state: RunState
    data: TrainingData
    inside_batch: bool

    @property
    def max_batches(self) -> int | float:
        """Training batches per epoch, inf if the loader has no length."""
        return self.data.max_batches

    @property
    def batch_idx(self) -> int:
        """Index within the epoch of the batch at hand, or of the last one; -1 before the first."""
        return self.batch_progress.current.ready - 1

    @property
    def total_batch_idx(self) -> int:
        """The same over all epochs."""
        return self.batch_progress.total.ready - 1

    @property
    def max_steps(self) -> int:
        """The Trainer's; -1 means no limit."""
        return self.trainer.max_steps

    @property
    def min_steps(self) -> int | None:
        """The Trainer's."""
        return self.trainer.min_steps

    @property
    def epoch_loop(self) -> EpochView:
        """The loop over the batches of an epoch, which in Lightning is an object of its own."""
        return EpochView(self)

    @property
    def epoch_progress(self) -> Progress:
        """Epochs: begun, trained, and ended by ``on_train_epoch_end``.

        Example:
            >>> trainer = pl.Trainer(logger=False)
            >>> trainer.fit_loop.epoch_progress.current.completed
            0
        """
        state, hook = self.state, self.trainer.hooks.current
        done = state.current_epoch
        starting = hook == "on_train_epoch_start"
        ready = done + (starting or self.inside_batch or state.point != Point.EPOCH_START)
        counts = Counts(ready, ready - starting, done + (state.point == Point.EPOCH_END), done)
        return Progress(counts, counts)

    @property
    def batch_progress(self) -> Progress:
        """Batches, as the hooks of a batch see them."""
        state, hook = self.state, self.trainer.hooks.current
        training = self.inside_batch and state.point in (Point.BETWEEN_BATCHES, Point.EPOCH_START)
        starting, ending = training and hook == "on_train_batch_start", hook == "on_train_batch_end"

        def counts(done: int) -> Counts:
            return Counts(done + training, done + training - starting, done, done - ending)

        return Progress(counts(state.batches_done), counts(state.total_batches_done))


class EpochView:
    """``trainer.fit_loop.epoch_loop``.

    Example:
        >>> trainer = pl.Trainer(logger=False)
        >>> trainer.fit_loop.epoch_loop.batch_progress.current.ready, trainer.fit_loop.epoch_loop.batch_idx
        (0, -1)
    """

    def __init__(self, loop: LoopView) -> None:
        self._loop = loop

    @property
    def batch_idx(self) -> int:
        """Index within the epoch of the batch at hand, or of the last one; -1 before the first."""
        return self._loop.batch_idx

    @property
    def total_batch_idx(self) -> int:
        """The same over all epochs."""
        return self._loop.total_batch_idx

    @property
    def batch_progress(self) -> Progress:
        """Batches fetched, begun, trained on and ended."""
        return self._loop.batch_progress

    @property
    def global_step(self) -> int:
        """Optimizer steps so far."""
        return self._loop.state.global_step

    @property
    def max_steps(self) -> int:
        """The Trainer's; -1 means no limit."""
        return self._loop.max_steps

    @property
    def min_steps(self) -> int | None:
        """The Trainer's."""
        return self._loop.min_steps

    @property
    def val_loop(self) -> Any:
        """The validation inside ``fit``."""
        return self._loop.trainer.val_loop
