"""All mutable state of a run in one dataclass, which saves and restores itself."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import Any, ClassVar


class _Text(str, Enum):
    """An enum whose members compare and print as their text (``trainer.state.fn == "fit"``)."""

    def __str__(self) -> str:
        return str(self.value)

    def __format__(self, format_spec: str) -> str:
        return format(str(self.value), format_spec)


class TrainerFn(_Text):
    """The entry point that is running."""

    FITTING = "fit"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class RunningStage(_Text):
    """The loop that is running."""

    TRAINING = "train"
    SANITY_CHECKING = "sanity_check"
    VALIDATING = "validate"
    TESTING = "test"
    PREDICTING = "predict"


class TrainerStatus(_Text):
    """How the last entry point is doing."""

    INITIALIZING = "initializing"
    RUNNING = "running"
    FINISHED = "finished"
    INTERRUPTED = "interrupted"


class Point(_Text):
    """Where inside an epoch a checkpoint was written: what is already done when a run resumes from it."""

    EPOCH_START = "epoch_start"  # nothing of the epoch
    BATCH_START = "batch_start"  # a batch is there, which the checkpoint holds; nothing is trained on it
    BATCH_END = "batch_end"  # the batch and its on_train_batch_end hooks; validation may be due
    VALIDATING = "validating"  # the batch and a part of the validation after it
    VALIDATED = "validated"  # the batch and the validation after it
    BETWEEN_BATCHES = "between_batches"  # everything that belongs to the batch
    EPOCH_END = "epoch_end"  # the on_train_epoch_end hooks; plateau schedulers are still due


@dataclass
class RunState:
    """Everything that changes while a run goes on, apart from what modules, optimizers and callbacks own.

    The first block is written to checkpoints (``state_dict``) and taken back (``load_state_dict``).
    """

    current_epoch: int = 0
    global_step: int = 0  # optimizer steps, of all optimizers together
    batches_that_stepped: int = 0  # x-axis of loggers: batches after which an optimizer stepped
    batches_done: int = 0  # training batches finished in this epoch
    total_batches_done: int = 0  # training batches finished in all epochs
    steps_before_batch: int = 0  # global_step when the batch at hand began
    epoch_cut_short: bool = False  # the epoch ended before its last batch (max_steps, should_stop)
    point: Point = Point.EPOCH_START
    should_stop: bool = False

    fn: TrainerFn | None = None
    stage: RunningStage | None = None
    status: TrainerStatus = TrainerStatus.INITIALIZING
    preempted: bool = False  # SIGTERM or SIGUSR1 has asked the run to end
    interrupted: bool = False  # Ctrl-C has, inside of a training batch
    is_last_batch: bool = False
    resuming: bool = False
    epoch_started: bool = False  # a checkpoint written now has the on_train_epoch_start hooks behind it
    batch_started: bool = False  # the same for on_train_batch_start
    last_validation_time: float = 0.0

    SAVED: ClassVar[tuple[str, ...]] = (
        "current_epoch",
        "global_step",
        "batches_that_stepped",
        "batches_done",
        "total_batches_done",
        "steps_before_batch",
        "epoch_cut_short",
        "point",
        "should_stop",
    )

    def state_dict(self) -> dict[str, Any]:
        """The saved block as plain numbers and strings."""
        return {name: str(value) if isinstance(value, Point) else value for name, value in self._saved_items()}

    def _saved_items(self) -> list[tuple[str, Any]]:
        return [(field.name, getattr(self, field.name)) for field in fields(self) if field.name in self.SAVED]

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned.

        Raises:
            KeyError: a saved field is missing.
        """
        for name in self.SAVED:
            setattr(self, name, Point(state[name]) if name == "point" else state[name])

    def restart_epoch(self) -> None:
        """A new ``fit`` begins at the start of an epoch, wherever the one before was interrupted."""
        self.point = Point.EPOCH_START
        self.batches_done = 0
        self.resuming = self.epoch_started = self.batch_started = False

    @property
    def finished(self) -> bool:
        return self.status == TrainerStatus.FINISHED

    @property
    def stopped(self) -> bool:
        return self.status in (TrainerStatus.FINISHED, TrainerStatus.INTERRUPTED)
