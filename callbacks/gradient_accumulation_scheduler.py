"""GradientAccumulationScheduler: how many batches make one optimizer step, by epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class GradientAccumulationScheduler(Callback):
    """Change ``trainer.accumulate_grad_batches`` at chosen epochs.

    It has no state to restore: the factor follows from the epoch.

    Args:
        scheduling: factor by the epoch (0-based) from which it holds. Before the first epoch named it is 1.

    Raises:
        TypeError: ``scheduling`` is empty, or a key or value is not an int.
        IndexError: an epoch below 0, or a factor below 1.
        MisconfigurationException: ``Trainer(accumulate_grad_batches=...)`` says something else, or the module optimizes
            manually; raised when training starts.

    Example:
        >>> from callbacks import GradientAccumulationScheduler
        >>> scheduler = GradientAccumulationScheduler({0: 8, 4: 4, 8: 1})
        >>> [scheduler.get_accumulate_grad_batches(epoch) for epoch in (0, 3, 4, 9)]
        [8, 8, 4, 1]
    """

    def __init__(self, scheduling: dict[int, int]) -> None:
        super().__init__()
        call = f"GradientAccumulationScheduler({scheduling!r})"
        if not scheduling or not all(isinstance(number, int) for pair in scheduling.items() for number in pair):
            raise TypeError(f"{call}: expected a dict of ints, factor by epoch. HINT: {{0: 8, 4: 1}}.")
        if min(scheduling) < 0 or min(scheduling.values()) < 1:
            raise IndexError(f"{call}: epochs count from 0, and a factor is at least 1.")
        self.scheduling = {0: 1, **scheduling} if 0 not in scheduling else dict(scheduling)
        self.epochs = sorted(self.scheduling)

    def going_to_accumulate_grad_batches(self) -> bool:
        """Whether any factor is above 1."""
        return any(factor > 1 for factor in self.scheduling.values())

    def get_accumulate_grad_batches(self, epoch: int) -> int:
        """The factor of ``epoch``."""
        return self.scheduling[max(start for start in self.epochs if start <= epoch)]

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Check what it would contradict, and set the factor of the first epoch."""
        if stage != "fit":
            return
        if not pl_module.automatic_optimization:
            raise MisconfigurationException(
                "GradientAccumulationScheduler has no effect in manual optimization. HINT: step every n batches in"
                " training_step."
            )
        if trainer.accumulate_grad_batches not in {1, *self.scheduling.values()}:
            raise MisconfigurationException(
                f"Trainer(accumulate_grad_batches={trainer.accumulate_grad_batches}) contradicts"
                f" GradientAccumulationScheduler({self.scheduling!r}). HINT: remove the Trainer's flag."
            )

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that is resumed inside an epoch gets no ``on_train_epoch_start`` for it."""
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Set the factor of this epoch."""
        trainer.accumulate_grad_batches = self.get_accumulate_grad_batches(trainer.current_epoch)
