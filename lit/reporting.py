"""From the store of ``self.log`` to the Trainer's metric dicts and to the loggers."""

from __future__ import annotations

import math
import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import engine
from lit.metric_state import load_progress, metrics_of, save_progress
from lit.results import BarValues, Results

if TYPE_CHECKING:
    from lit.trainer import Trainer

# Loggers write to disk at most this often, and when the run ends: saving may wait for the disk, training should not.
SECONDS_BETWEEN_SAVES = 1.0


class Reporting:
    """The metrics of a run: gathers them from the active loop's store and hands them to loggers.

    Nothing is gathered per step; the dicts are brought up to date when somebody looks at them, when a logger is due
    and before a store is reset.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self.train = Results(training=True)
        self.evaluation = Results(training=False)
        self.active: Results | None = None  # the store that self.log writes to; None where nothing can be logged
        self._saved_at = -math.inf
        self.inside_batches = False  # True: latest values count, False: the epoch's reductions count
        self._callback_metrics: dict[str, Any] = {}
        self._logged_metrics: dict[str, Any] = {}
        self._bar_metrics: dict[str, Any] = {}
        self._bar_fetch: BarValues | None = None  # on its way from a device
        self._failed_loggers: set[int] = set()  # reported

    # ------------------------------------------------------------------ what users and callbacks look at

    @property
    def callback_metrics(self) -> dict[str, Any]:
        self.gather()
        return self._callback_metrics

    @property
    def logged_metrics(self) -> dict[str, Any]:
        self.gather()
        return self._logged_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, Any]:
        store = self.active
        if store is None or store.read_at_once or not self.inside_batches:
            self.gather()
            return self._bar_metrics
        # On a device: the values that were asked for the last time, as soon as they are here.
        if self._bar_fetch is not None and self._bar_fetch.has_arrived():
            self._bar_metrics.update(self._bar_fetch.values())
            self._bar_fetch = None
        if self._bar_fetch is None:
            self._bar_fetch = store.bar_values()
        return self._bar_metrics

    def gather(self) -> dict[str, Any]:
        """Bring the three dicts up to date; returns the numbers meant for loggers."""
        if self.active is None:
            return {}
        for_callbacks, for_loggers, for_bar = self.active.metrics(on_step=self.inside_batches)
        self._bar_fetch = None  # what comes now is newer
        self._callback_metrics.update({name: engine.tensor(value) for name, value in for_callbacks.items()})
        self._logged_metrics.update({name: engine.tensor(value) for name, value in for_loggers.items()})
        self._bar_metrics.update(for_bar)
        return for_loggers

    # ------------------------------------------------------------------ moments of the loops

    def start_run(self, read_at_once: bool) -> None:
        """Forget everything of the run before."""
        for store in (self.train, self.evaluation):
            store.reset()
            store.read_at_once = read_at_once
        self.active = None
        self.inside_batches = False
        self.clear()

    def clear(self) -> None:
        self._callback_metrics = {}
        self._logged_metrics = {}
        self._bar_metrics = {}
        self._bar_fetch = None

    def enter(self, store: Results | None, inside_batches: bool = False) -> tuple[Results | None, bool]:
        """Make ``store`` the active one; returns what to pass to ``enter`` to come back."""
        self.gather()
        before = (self.active, self.inside_batches)
        self.active, self.inside_batches = store, inside_batches
        return before

    def leave_evaluation(self) -> None:
        """An evaluation is over, or was ended in its middle: forget what it logged."""
        self.evaluation.reset()
        self.active = None

    def start_train_batch(self, batch: Any) -> None:
        """A training batch begins: latest values count from here on."""
        self.inside_batches = True
        self.train.batch = batch
        self.train.batch_size = None

    def start_evaluation_batch(self, batch: Any, dataloader_idx: int | None) -> None:
        """An evaluation batch begins; ``dataloader_idx`` is None when there is only one loader."""
        self.inside_batches = True
        self.evaluation.start_batch(batch, dataloader_idx)

    def end_of_batches(self) -> None:
        """The loop's last batch is over: from here on the epoch's reductions count."""
        if self.inside_batches:
            self.gather()
            self.inside_batches = False

    def flush_step(self) -> None:
        """Send the latest values of the training batch to the loggers."""
        if self._trainer.loggers:
            self.log_metrics(self.gather())

    def flush_evaluation_step(self, step: int) -> None:
        """Send what an evaluation batch logged with on_step=True to the loggers; ``step`` counts evaluation batches."""
        if self.evaluation.has_step_values and self._trainer.loggers:
            self.log_metrics(self.gather(), step=step)

    def flush_train_epoch(self) -> None:
        """Send the epoch's reductions to the loggers, under the step of the epoch's last batch, and start anew."""
        self.log_metrics(self.gather(), step_offset=-1)
        self.train.reset()

    def state_dict(self) -> dict[str, Any]:
        """The metrics as numbers, the unfinished epochs, and what the module's metrics have gathered."""
        self.gather()
        module = self._trainer.lightning_module
        names = {metric: name for name, metric in metrics_of(module).items()}
        return {
            "callback_metrics": {name: _number(value) for name, value in self._callback_metrics.items()},
            "logged_metrics": {name: _number(value) for name, value in self._logged_metrics.items()},
            "bar_metrics": dict(self._bar_metrics),
            "train": self.train.state_dict(names),
            "evaluation": self.evaluation.state_dict(names),
            "progress": save_progress(module),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        self._callback_metrics = {name: engine.as_tensor(value) for name, value in state["callback_metrics"].items()}
        self._logged_metrics = {name: engine.as_tensor(value) for name, value in state["logged_metrics"].items()}
        self._bar_metrics = dict(state["bar_metrics"])
        module = self._trainer.lightning_module
        self.train.load_state_dict(state["train"], metrics_of(module))
        self.evaluation.load_state_dict(state["evaluation"], metrics_of(module))
        load_progress(module, state.get("progress", {}))

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None, step_offset: int = 0) -> None:
        """Hand numbers to every logger; a metric called "step" replaces the x-axis, as in Lightning."""
        loggers = self._trainer.loggers
        if not loggers or not metrics:
            return
        metrics = dict(metrics)
        if step is None:
            chosen = metrics.pop("step", None)
            if chosen is None:
                metrics.setdefault("epoch", self._trainer.current_epoch)
                step = self._trainer.state.batches_that_stepped + step_offset
            else:
                step = int(chosen)
        self.tell_loggers(lambda logger: logger.log_metrics(metrics, step))
        now = time.monotonic()
        if now - self._saved_at >= SECONDS_BETWEEN_SAVES:
            self._saved_at = now
            self.tell_loggers(lambda logger: logger.save())

    def tell_loggers(self, call: Callable[[Any], Any], loggers: list[Any] | None = None) -> None:
        """Call every logger, or ``loggers``. One that fails is reported once and does not end the run: hours of training
        are worth more than a line in a log."""
        for logger in self._trainer.loggers if loggers is None else loggers:
            try:
                call(logger)
            except Exception as error:
                if id(logger) not in self._failed_loggers:
                    self._failed_loggers.add(id(logger))
                    warnings.warn(
                        f"[W107] {type(logger).__name__} failed and may lose what it is given:"
                        f" {type(error).__name__}: {error}."
                        " Training goes on. HINT: look at the disk or server it writes to; further failures of this"
                        " logger are not reported.",
                        stacklevel=3,
                    )


def _number(value: engine.Tensor) -> Any:
    """A metric as a number, unless that would come back as another dtype (a callback's learning rate in float64)."""
    number = value.item()
    return number if engine.tensor(number).dtype == value.dtype else value
