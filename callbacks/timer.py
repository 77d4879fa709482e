"""Timer: how long training, validation and testing take, and an end to training after a given time."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from callbacks.base import Callback
from callbacks.durations import seconds_of
from callbacks.exceptions import MisconfigurationException

if TYPE_CHECKING:
    from callbacks.base import StepOutput
    from lit import LightningModule, Trainer

STAGES = ("train", "sanity_check", "validate", "test", "predict")


class Timer(Callback):
    """Measure the time of every stage, and stop training when its time is used up.

    Args:
        duration: time limit of training: text ``DD:HH:MM:SS`` or ``10 min``, a ``timedelta``, or a dict of its arguments;
            None for no limit. Time of earlier runs counts when training is resumed.
        interval: ``"step"`` or ``"epoch"``: after what the limit is checked.
        verbose: whether to print a line when the limit is reached.

    Raises:
        MisconfigurationException: ``duration`` or ``interval`` is none of these.

    Example:
        >>> from callbacks import Timer
        >>> timer = Timer(duration="00:12:00:00")
        >>> timer.time_elapsed("train"), timer.time_remaining("train")
        (0.0, 43200.0)
    """

    role = "timer"

    def __init__(
        self,
        duration: str | timedelta | Mapping[str, int] | None = None,
        interval: str = "step",
        verbose: bool = True,
    ) -> None:
        super().__init__()
        if interval not in ("step", "epoch"):
            raise MisconfigurationException(f"Timer(interval={interval!r}): expected 'step' or 'epoch'.")
        self._duration = None if duration is None else seconds_of("Timer(duration={})", duration)
        self._interval = interval
        self._verbose = verbose
        self._start_time: dict[str, float] = {}
        self._end_time: dict[str, float] = {}
        self._offset = 0.0  # training time of earlier runs
        self._deadline: float | None = None

    # ------------------------------------------------------------------ what was measured, in seconds

    def start_time(self, stage: str = "train") -> float | None:
        """When a stage last began, on the clock of ``time.monotonic``; None if it has not."""
        return self._start_time.get(_known(stage))

    def end_time(self, stage: str = "train") -> float | None:
        """When a stage last ended, on the clock of ``time.monotonic``; None if it has not."""
        return self._end_time.get(_known(stage))

    def time_elapsed(self, stage: str = "train") -> float:
        """Seconds that a stage took, or has taken until now."""
        offset = self._offset if stage == "train" else 0.0
        start, end = self.start_time(stage), self.end_time(stage)
        if start is None:
            return offset
        return (time.monotonic() if end is None else end) - start + offset

    def time_remaining(self, stage: str = "train") -> float | None:
        """Seconds left of ``duration``; None without a limit."""
        return None if self._duration is None else self._duration - self.time_elapsed(stage)

    def _begin(self, stage: str) -> None:
        self._start_time[stage] = time.monotonic()
        self._end_time.pop(stage, None)

    def _end(self, stage: str) -> None:
        self._end_time[stage] = time.monotonic()

    # ------------------------------------------------------------------ hooks

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the checkpoint that was resumed from has used up the time."""
        if self._duration is not None:
            self._check_time_remaining(trainer)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of training."""
        self._begin("train")
        if self._duration is not None:
            self._deadline = self._start_time["train"] + self._duration - self._offset

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Check the limit, if it is to be checked after every step."""
        if self._deadline is not None and self._interval == "step" and time.monotonic() >= self._deadline:
            self._check_time_remaining(trainer)

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check the limit, if it is to be checked after every epoch."""
        if self._deadline is not None and self._interval == "epoch":
            self._check_time_remaining(trainer)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of training."""
        self._end("train")

    def on_sanity_check_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of the sanity check."""
        self._begin("sanity_check")

    def on_sanity_check_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of the sanity check."""
        self._end("sanity_check")

    def on_validation_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of validation."""
        self._begin("validate")

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of validation."""
        self._end("validate")

    def on_test_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of testing."""
        self._begin("test")

    def on_test_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of testing."""
        self._end("test")

    def on_predict_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of prediction."""
        self._begin("predict")

    def on_predict_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop the clock of prediction."""
        self._end("predict")

    def state_dict(self) -> dict[str, Any]:
        """Seconds elapsed by stage."""
        return {"time_elapsed": {stage: self.time_elapsed(stage) for stage in STAGES}}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Count the training time of the run that is resumed."""
        self._offset = state_dict.get("time_elapsed", {}).get("train", 0.0)

    def _check_time_remaining(self, trainer: Trainer) -> None:
        assert self._duration is not None
        elapsed = self.time_elapsed("train")
        if elapsed < self._duration:
            return
        if self._verbose and not trainer.should_stop:
            trainer.print(f"Time limit reached after {timedelta(seconds=int(elapsed))}. Stopping.")
        trainer.should_stop = True


def _known(stage: str) -> str:
    name = str(getattr(stage, "value", stage))
    if name not in STAGES:
        raise ValueError(f"Timer: there is no stage {stage!r}; expected one of {', '.join(map(repr, STAGES))}.")
    return name
