"""A stand-in for the Trainer: it runs callbacks in the order of a fit, without a model."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

Metrics = dict[str, float]


class Disk:
    """A `CheckpointIO` that waits for nothing."""

    def wait(self) -> None: ...

    def afterwards(self, job: Callable[[], None]) -> None:
        job()

    def remove_checkpoint(self, path: str) -> None:
        Path(path).unlink(missing_ok=True)


class FakeTrainer:
    """The public attributes that callbacks read, a loop that calls them, and a `save_checkpoint` that writes JSON."""

    def __init__(self, root: Path, callbacks: list[Any], **attributes: Any) -> None:
        self.default_root_dir = str(root)
        self.callbacks = callbacks
        self.hooks = SimpleNamespace(afterwards=lambda function: function())
        self.strategy = SimpleNamespace(checkpoint_io=Disk())
        self.state = SimpleNamespace(fn="fit", batches_that_stepped=0)
        self.callback_metrics: dict[str, Any] = {}
        self.progress_bar_metrics: dict[str, Any] = {}
        self.loggers: list[Any] = []
        self.optimizers: list[Any] = []
        self.lr_scheduler_configs: list[Any] = []
        self.current_epoch = self.global_step = 0
        self.max_epochs, self.max_steps = 3, -1
        self.num_training_batches = 4
        self.num_val_batches = self.num_sanity_val_batches = [2]
        self.num_test_batches = self.num_predict_batches = [2]
        self.check_val_every_n_epoch: int | None = 1
        self.val_check_interval: int | float | None = 1.0
        self.val_check_steps: int | None = None
        self.log_every_n_steps = 2
        self.fast_dev_run = self.sanity_checking = self.should_stop = self.is_last_batch = False
        self.is_global_zero = True
        self.ckpt_path = None
        self.disk_full = False
        self.printed: list[str] = []
        self.saved: list[tuple[str, int, bool]] = []  # file name, step, weights only
        vars(self).update(attributes)

    def tell_loggers(self, call: Any) -> None:
        for logger in self.loggers:
            call(logger)

    def print(self, *args: Any) -> None:
        self.printed.append(" ".join(map(str, args)))

    def save_checkpoint(self, filepath: str, weights_only: bool = False) -> None:
        if self.disk_full:
            raise OSError("no space left on device")
        Path(filepath).parent.mkdir(parents=True, exist_ok=True)
        Path(filepath).write_text(json.dumps({"step": self.global_step}))
        self.saved.append((Path(filepath).name, self.global_step, weights_only))

    def call(self, hook: str, *args: Any, monitoring: bool | None = None, **kwargs: Any) -> None:
        for callback in self.callbacks:
            if monitoring is None or callback.monitoring is monitoring:
                getattr(callback, hook)(self, None, *args, **kwargs)

    def validate(self, metrics: Metrics, batches: int = 2) -> None:
        self.call("on_validation_start")
        for index in range(batches):
            self.call("on_validation_batch_start", None, index)
            self.call("on_validation_batch_end", None, None, index)
        self.callback_metrics.update(metrics)
        self.call("on_validation_end")

    def fit(
        self,
        epochs: int = 1,
        train: Callable[[int], Metrics] = lambda step: {},
        val: Callable[[int], Metrics] | None = None,
        accumulate: int = 1,
    ) -> None:
        """Run `epochs` epochs. `train` gives metrics by step; `val` by number of validations so far."""
        validations = 0
        if val is None:
            self.num_val_batches = [0]
        self.call("setup", stage="fit")
        self.call("on_fit_start")
        self.call("on_train_start")
        for _ in range(epochs):
            self.call("on_train_epoch_start")
            for batch_idx in range(self.num_training_batches):
                self.is_last_batch = batch_idx + 1 == self.num_training_batches
                self.call("on_train_batch_start", None, batch_idx)
                self.callback_metrics.update(train(self.global_step))
                if (batch_idx + 1) % accumulate == 0 or self.is_last_batch:
                    self.global_step += 1
                    self.state.batches_that_stepped += 1
                self.call("on_train_batch_end", None, None, batch_idx)
                if val is not None and self._validation_is_due(batch_idx):
                    self.validate(val(validations))
                    validations += 1
            self.call("on_train_epoch_end", monitoring=False)
            self.call("on_train_epoch_end", monitoring=True)
            if self.should_stop:
                break
            self.current_epoch += 1
        self.call("on_train_end")
        self.call("on_fit_end")
        self.call("teardown", stage="fit")

    def _validation_is_due(self, batch_idx: int) -> bool:
        if self.check_val_every_n_epoch and (self.current_epoch + 1) % self.check_val_every_n_epoch:
            return False
        if isinstance(self.val_check_interval, int):
            return (batch_idx + 1) % self.val_check_interval == 0
        return (batch_idx + 1) % int(self.num_training_batches * self.val_check_interval) == 0


@pytest.fixture
def make_trainer(tmp_path: Path) -> Callable[..., FakeTrainer]:
    """`make_trainer(callback, ..., attribute=value)` gives a FakeTrainer that writes below tmp_path."""
    return lambda *callbacks, **attributes: FakeTrainer(tmp_path, list(callbacks), **attributes)


@pytest.fixture
def files(tmp_path: Path) -> Callable[[], list[str]]:
    """The names of the checkpoints in tmp_path/checkpoints."""
    return lambda: sorted(path.name for path in (tmp_path / "checkpoints").glob("*"))
