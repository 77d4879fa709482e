"""EarlyStopping: ends training when a metric no longer improves."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from enum import Enum
from typing import TYPE_CHECKING, Any

from callbacks.base import Callback
from callbacks.exceptions import MisconfigurationException
from callbacks.monitor import as_number, as_scalar_tensor, missing_metric, validates_once_per_epoch

if TYPE_CHECKING:
    from engine import Tensor
    from lit import LightningModule, Trainer


class EarlyStoppingReason(Enum):
    """Why training was stopped."""

    NOT_STOPPED = 0
    STOPPING_THRESHOLD = 1
    DIVERGENCE_THRESHOLD = 2
    PATIENCE_EXHAUSTED = 3
    NON_FINITE_METRIC = 4


class EarlyStopping(Callback):
    """Stop training when ``monitor`` has not improved for ``patience`` checks.

    Args:
        monitor: name of the metric.
        min_delta: by how much a value must be better than the best one to count as an improvement.
        patience: number of checks in a row without improvement that end training. A check happens once per validation
            (or training epoch), not per epoch.
        verbose: whether to print a line at each improvement and at the end.
        mode: ``"min"`` or ``"max"``: which values are better.
        strict: whether a metric that was not logged is an error; otherwise the check is left out.
        check_finite: whether NaN or infinity ends training at once. If False, they count as no improvement.
        stopping_threshold: end training at once when the metric is better than this.
        divergence_threshold: end training at once when the metric is worse than this.
        check_on_train_epoch_end: check after the training epoch (True) or after validation (False). None: after the
            training epoch if validation runs once in every epoch, else after validation.
        log_rank_zero_only: kept for Lightning's sake: only the first process ever prints.

    Attributes:
        wait_count: checks since the last improvement.
        best_score: best value so far, a 0-d tensor.
        stopped_epoch: epoch in which training was stopped; 0 if it was not.
        stopping_reason, stopping_reason_message: why it was stopped, as ``EarlyStoppingReason`` and in words (or None).

    Raises:
        MisconfigurationException: ``mode`` is neither ``"min"`` nor ``"max"``.
        RuntimeError: ``monitor`` was not logged, and ``strict``; not before the first validation, which may bring it.

    Example:
        >>> from callbacks import EarlyStopping
        >>> stopping = EarlyStopping("val_loss", patience=5, min_delta=0.01)
        >>> stopping.state_key
        "EarlyStopping{'monitor': 'val_loss', 'mode': 'min'}"
    """

    monitoring = True
    role = "early_stopping"

    def __init__(
        self,
        monitor: str,
        min_delta: float = 0.0,
        patience: int = 3,
        verbose: bool = False,
        mode: str = "min",
        strict: bool = True,
        check_finite: bool = True,
        stopping_threshold: float | None = None,
        divergence_threshold: float | None = None,
        check_on_train_epoch_end: bool | None = None,
        log_rank_zero_only: bool = False,
    ) -> None:
        super().__init__()
        if mode not in ("min", "max"):
            raise MisconfigurationException(f"EarlyStopping(mode={mode!r}): expected 'min' or 'max'.")
        self.monitor = monitor
        # Signed as in Lightning: what has to be added to the best value to get the value to beat.
        self.min_delta = min_delta if mode == "max" else -min_delta
        self.patience = patience
        self.verbose = verbose
        self.mode = mode
        self.strict = strict
        self.check_finite = check_finite
        self.stopping_threshold = stopping_threshold
        self.divergence_threshold = divergence_threshold
        self.log_rank_zero_only = log_rank_zero_only
        self.wait_count = 0
        self.stopped_epoch = 0
        self.stopping_reason = EarlyStoppingReason.NOT_STOPPED
        self.stopping_reason_message: str | None = None
        self._check_on_train_epoch_end = check_on_train_epoch_end
        self._checks_after_train_epoch = bool(check_on_train_epoch_end)
        self._validated = False
        self._best = math.inf if mode == "min" else -math.inf

    @property
    def best_score(self) -> Tensor:
        """Best value so far as a 0-d tensor; infinity before the first check."""
        return as_scalar_tensor(self._best)

    @property
    def state_key(self) -> str:
        """The class name with the metric, so that several EarlyStoppings keep separate states."""
        return self._generate_state_key(monitor=self.monitor, mode=self.mode)

    def state_dict(self) -> dict[str, Any]:
        """Patience used up, best value and reason, as plain numbers and text."""
        return {
            "wait_count": self.wait_count,
            "stopped_epoch": self.stopped_epoch,
            "best_score": self._best,
            "patience": self.patience,
            "stopping_reason": self.stopping_reason.value,
            "stopping_reason_message": self.stopping_reason_message,
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on with the patience that was left."""
        self.wait_count = state_dict["wait_count"]
        self.stopped_epoch = state_dict["stopped_epoch"]
        self._best = float(state_dict["best_score"])
        self.patience = state_dict["patience"]
        self.stopping_reason = EarlyStoppingReason(state_dict["stopping_reason"])
        self.stopping_reason_message = state_dict["stopping_reason_message"]

    # ------------------------------------------------------------------ when to check

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Settle when to check."""
        asked = self._check_on_train_epoch_end
        self._checks_after_train_epoch = validates_once_per_epoch(trainer) if asked is None else asked

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, if this is the time for it."""
        if self._checks_after_train_epoch:
            self._run_early_stopping_check(trainer)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Check, if this is the time for it."""
        self._validated = self._validated or not trainer.sanity_checking
        if not self._checks_after_train_epoch:
            self._run_early_stopping_check(trainer)

    def _run_early_stopping_check(self, trainer: Trainer) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking or trainer.fast_dev_run:
            return
        metrics = trainer.callback_metrics
        if not self._has_metric(metrics, may_still_come=not self._validated and bool(sum(trainer.num_val_batches))):
            return
        should_stop, message = self._evaluate_stopping_criteria(as_number(metrics[self.monitor]))
        if should_stop:
            trainer.should_stop = True
            self.stopped_epoch = trainer.current_epoch
            self.stopping_reason_message = message
        if message and self.verbose:
            trainer.print(message)

    def _has_metric(self, metrics: Mapping[str, Any], may_still_come: bool) -> bool:
        if self.monitor in metrics or may_still_come:
            return self.monitor in metrics
        message = missing_metric(f"EarlyStopping(monitor={self.monitor!r})", self.monitor, metrics)
        if self.strict:
            raise RuntimeError(message)
        if self.verbose:
            warnings.warn(f"[W202] {message}", RuntimeWarning, stacklevel=3)
        return False

    # ------------------------------------------------------------------ what to decide

    def _is_better(self, value: float, than: float) -> bool:
        return value < than if self.mode == "min" else value > than

    def _evaluate_stopping_criteria(self, current: float) -> tuple[bool, str | None]:
        """Whether to stop, and what there is to say."""
        value = f"{self.monitor} = {current:.4g}"
        if self.check_finite and not math.isfinite(current):
            self.stopping_reason = EarlyStoppingReason.NON_FINITE_METRIC
            return True, f"{value} is not finite; the best value was {self._best:.4g}. Stopping."
        if self.stopping_threshold is not None and self._is_better(current, self.stopping_threshold):
            self.stopping_reason = EarlyStoppingReason.STOPPING_THRESHOLD
            return True, f"{value} has passed the stopping threshold {self.stopping_threshold:.4g}. Stopping."
        if self.divergence_threshold is not None and self._is_better(self.divergence_threshold, current):
            self.stopping_reason = EarlyStoppingReason.DIVERGENCE_THRESHOLD
            return True, f"{value} has passed the divergence threshold {self.divergence_threshold:.4g}. Stopping."
        if self._is_better(current - self.min_delta, self._best):
            before, self._best, self.wait_count = self._best, current, 0
            return False, f"{value} improved" + (f" from {before:.4g}." if math.isfinite(before) else ".")
        self.wait_count += 1
        if self.wait_count < self.patience:
            return False, None
        self.stopping_reason = EarlyStoppingReason.PATIENCE_EXHAUSTED
        return True, (
            f"{self.monitor} has not improved in the last {self.wait_count} checks;"
            f" the best value was {self._best:.4g}. Stopping."
        )
