"""SpikeDetection: stop at a batch whose loss leaps, and remember the batch."""

from __future__ import annotations

import json
import math
import os
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from callbacks.base import StepOutput
    from lit import LightningModule, Trainer


class TrainingSpikeException(RuntimeError):
    """The loss leapt in batch ``batch_idx``.

    Example:
        >>> from callbacks.spike_detection import TrainingSpikeException
        >>> print(TrainingSpikeException(7))
        Training spike detected in batch 7.
    """

    def __init__(self, batch_idx: int, *args: Any) -> None:
        super().__init__(f"Training spike detected in batch {batch_idx}.", *args)
        self.batch_idx = batch_idx


class SpikeDetection(Callback):
    """Compare each training loss with the mean of the losses before it; a leap ends the run.

    A loss is a spike if it is not finite, or if it is worse than the loss before it and differs from the mean of the
    last ``window`` losses by at least ``atol`` and by at least ``rtol`` times that mean. The number of the batch
    goes to a JSON file, so that a second run can leave it out. Reading the loss in every batch waits for the device.

    Args:
        mode: ``"min"`` or ``"max"``: which losses are better.
        window: number of losses in the mean.
        warmup: batches of an epoch that are not judged.
        atol, rtol: absolute and relative difference; None does not ask for one.
        exclude_batches_path: the JSON file; None: ``skip_batches.json`` in ``trainer.default_root_dir``.
        finite_only: whether NaN and infinity are always a spike.

    Raises:
        MisconfigurationException: ``mode`` is neither ``"min"`` nor ``"max"``.
        TrainingSpikeException: there is a spike; raised in training.

    Example:
        >>> from callbacks import SpikeDetection
        >>> detection = SpikeDetection(window=3, rtol=2.0)
        >>> [detection.is_spike(loss) for loss in (1.0, 1.1, 0.9, 2.0, 9.0)]
        [False, False, False, False, True]
    """

    def __init__(
        self,
        mode: Literal["min", "max"] = "min",
        window: int = 10,
        warmup: int = 1,
        atol: float | None = None,
        rtol: float | None = 2.0,
        exclude_batches_path: str | os.PathLike[str] | None = None,
        finite_only: bool = True,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"SpikeDetection(mode={mode!r}): expected 'min' or 'max'.")
        self.mode = mode
        self.warmup = warmup
        self.atol = atol
        self.rtol = rtol
        self.finite_only = finite_only
        self.exclude_batches_path = exclude_batches_path
        self.last_val = math.inf if mode == "min" else -math.inf
        self.bad_batches: list[int] = []
        self._losses: deque[float] = deque(maxlen=window)

    def is_spike(self, loss: float) -> bool:
        """Judge one loss; one that is no spike joins the mean."""
        found = bool(self._losses) and self._leaps(loss) or (self.finite_only and not math.isfinite(loss))
        if not found:
            self._losses.append(loss)
            self.last_val = loss
        return found

    def _leaps(self, loss: float) -> bool:
        better = loss <= self.last_val if self.mode == "min" else loss >= self.last_val
        if better:
            return False
        mean = sum(self._losses) / len(self._losses)
        difference = abs(loss - mean)
        far = self.atol is None or difference >= abs(self.atol)
        return far and (self.rtol is None or difference >= abs(self.rtol * mean))

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Judge the loss of this batch."""
        loss: Any = outputs["loss"] if isinstance(outputs, Mapping) and "loss" in outputs else None
        if loss is None:
            return
        value = float(loss)
        if batch_idx < self.warmup:
            self._losses.append(value)
            self.last_val = value
        elif self.is_spike(value):
            self._remember(trainer, batch_idx)
            raise TrainingSpikeException(batch_idx)

    def _remember(self, trainer: Trainer, batch_idx: int) -> None:
        path = Path(self.exclude_batches_path or os.path.join(trainer.default_root_dir, "skip_batches.json"))
        known = json.loads(path.read_text()) if path.is_file() else []
        self.bad_batches = sorted({*known, *self.bad_batches, batch_idx})
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
        temporary.write_text(json.dumps(self.bad_batches))
        os.replace(temporary, path)

    def state_dict(self) -> dict[str, Any]:
        """The losses in the mean, the last one, and the batches found."""
        return {"losses": list(self._losses), "last_val": self.last_val, "bad_batches": self.bad_batches}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self._losses.clear()
        self._losses.extend(state_dict["losses"])
        self.last_val = state_dict["last_val"]
        self.bad_batches = list(state_dict["bad_batches"])
