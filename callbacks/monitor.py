"""What callbacks that watch a metric share: its value, when validation comes, and what to say when it is missing."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from engine.errors import did_you_mean

if TYPE_CHECKING:
    from engine import Tensor
    from lit import Trainer


def as_number(value: Any) -> float | int:
    """A metric as a Python number; integers stay integers.

    Example:
        >>> from callbacks.monitor import as_number
        >>> as_number(torch.tensor(3)), as_number(0.5)
        (3, 0.5)
    """
    return value.item() if hasattr(value, "item") else value


def as_scalar_tensor(value: Any) -> Tensor:
    """A metric as a 0-d tensor on the CPU: float32, or float64 where float32 would round the value.

    Example:
        >>> from callbacks.monitor import as_scalar_tensor
        >>> as_scalar_tensor(0.5), as_scalar_tensor(0.1).dtype
        (tensor(0.5000), torch.float64)
    """
    import engine

    number = float(value)
    tensor = engine.as_tensor(number, dtype=engine.float32)
    exact = float(tensor) == number or math.isnan(number)
    return tensor if exact else engine.as_tensor(number, dtype=engine.float64)


def validates_once_per_epoch(trainer: Trainer) -> bool:
    """Whether validation runs exactly once in every training epoch, at its end."""
    return trainer.val_check_interval == 1.0 and trainer.check_val_every_n_epoch == 1


def validation_follows(trainer: Trainer, batch_idx: int) -> bool:
    """Whether a validation loop runs right after this training batch."""
    every_n_epochs = trainer.check_val_every_n_epoch
    if not sum(trainer.num_val_batches) or every_n_epochs is None or (trainer.current_epoch + 1) % every_n_epochs:
        # With None, batches are counted across epochs: by the loop, not by anything a callback can see.
        return False
    interval = trainer.val_check_interval
    if interval is None:  # by time, which nobody knows before; or by optimizer steps
        steps = trainer.val_check_steps
        return steps is not None and trainer.global_step % steps == 0
    if isinstance(interval, int):
        return (batch_idx + 1) % interval == 0
    if interval == 1.0 or math.isinf(trainer.num_training_batches):
        return trainer.is_last_batch
    return (batch_idx + 1) % max(1, int(trainer.num_training_batches * interval)) == 0


def missing_metric(call: str, monitor: str, logged: Iterable[str]) -> str:
    """The message for a monitored metric that was never logged.

    Example:
        >>> from callbacks.monitor import missing_metric
        >>> print(missing_metric("EarlyStopping(monitor='los')", "los", ["loss", "epoch"]))
        EarlyStopping(monitor='los'): no metric 'los' was logged; logged so far: 'epoch', 'loss'. Did you mean 'loss'?
        HINT: metrics are logged by `self.log('los', value)` in the LightningModule.
    """
    names = sorted(logged)
    listed = ", ".join(map(repr, names)) if names else "nothing"
    return (
        f"{call}: no metric {monitor!r} was logged; logged so far: {listed}.{did_you_mean(monitor, names)}"
        f" HINT: metrics are logged by `self.log({monitor!r}, value)` in the LightningModule."
    )
