"""What one can look up on a Trainer: progress, metrics, callbacks, loaders, device. Nothing here changes a run."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from callbacks import Callback
from lit.accelerators import Accelerator, accelerator_of
from lit.compiled import refuse_to_tell
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.state import RunningStage, TrainerFn, TrainerStatus

if TYPE_CHECKING:
    import engine
    from lit.device import SingleDeviceStrategy
    from lit.evaluation import EvaluationLoop
    from lit.loop import FitLoop
    from lit.precision import Precision
    from lit.prediction import PredictionLoop
    from lit.reporting import Reporting
    from lit.state import RunState


class TrainerView:
    """The read-only side of ``Trainer`` (and the two switches that callbacks may set)."""

    state: RunState
    reporting: Reporting
    strategy: SingleDeviceStrategy
    precision_plugin: Precision
    fit_loop: FitLoop
    val_loop: EvaluationLoop
    validate_loop: EvaluationLoop
    test_loop: EvaluationLoop
    predict_loop: PredictionLoop
    lightning_module: LightningModule
    callbacks: list[Callback]
    loggers: list[Any]
    max_steps: int
    accumulate_grad_batches: int
    limit_val_batches: int | float
    val_check_interval: int | float | None
    val_check_seconds: float | None
    val_check_steps: int | None
    check_val_every_n_epoch: int | None
    num_sanity_val_steps: int | float
    default_root_dir: str
    flags_given: dict[str, Any]
    capturing: bool

    # ------------------------------------------------------------------ progress

    @property
    def current_epoch(self) -> int:
        """Index of the epoch, raised after its ``on_train_epoch_end`` hooks."""
        if self.capturing:
            refuse_to_tell("current_epoch")
        return self.state.current_epoch

    @property
    def global_step(self) -> int:
        """Optimizer steps taken, of all optimizers together, over all epochs."""
        if self.capturing:
            refuse_to_tell("global_step")
        return self.state.global_step

    @property
    def should_stop(self) -> bool:
        """Set it to True to stop at the next batch boundary where min_epochs and min_steps allow it."""
        return self.state.should_stop

    @should_stop.setter
    def should_stop(self, value: bool) -> None:
        self.state.should_stop = value

    @property
    def is_last_batch(self) -> bool:
        """Whether the training batch at hand is the epoch's last."""
        return self.state.is_last_batch

    @property
    def max_epochs(self) -> int | None:
        return self.fit_loop.max_epochs

    @property
    def min_epochs(self) -> int | None:
        return self.fit_loop.min_epochs

    @property
    def estimated_stepping_batches(self) -> int | float:
        """Optimizer steps a whole ``fit`` will take, inf if that is unknown; asks for the training loader if needed."""
        epochs = self.max_epochs
        if epochs is None or epochs == -1:
            return math.inf if self.max_steps == -1 else self.max_steps
        if self.fit_loop.data.loader is None:
            self.fit_loop.data.setup()
        batches = self.num_training_batches
        if batches == math.inf:
            return math.inf if self.max_steps == -1 else self.max_steps
        steps = math.ceil(batches / self.accumulate_grad_batches) * max(epochs, 1)
        return steps if self.max_steps == -1 else min(steps, self.max_steps)

    # ------------------------------------------------------------------ what is running

    @property
    def training(self) -> bool:
        return self.state.stage == RunningStage.TRAINING

    @property
    def validating(self) -> bool:
        return self.state.stage == RunningStage.VALIDATING

    @property
    def testing(self) -> bool:
        return self.state.stage == RunningStage.TESTING

    @property
    def predicting(self) -> bool:
        return self.state.stage == RunningStage.PREDICTING

    @property
    def evaluating(self) -> bool:
        return self.validating or self.testing

    @property
    def sanity_checking(self) -> bool:
        """Whether the few validation batches before training run."""
        return self.state.stage == RunningStage.SANITY_CHECKING

    @property
    def interrupted(self) -> bool:
        """Whether the last run ended with an exception or Ctrl-C."""
        return self.state.status == TrainerStatus.INTERRUPTED

    @property
    def received_sigterm(self) -> bool:
        """Whether SIGTERM (or SIGUSR1) has asked this run to end, or has ended the last one."""
        return self.state.preempted

    @property
    def enable_validation(self) -> bool:
        """Whether ``fit`` validates: there is a validation_step, a loader, and ``limit_val_batches`` is not 0."""
        return (
            self.limit_val_batches > 0
            and is_overridden("validation_step", self.lightning_module, LightningModule)
            and self.val_loop.data.source.is_defined(self)  # type: ignore[arg-type]
        )

    # ------------------------------------------------------------------ metrics

    @property
    def callback_metrics(self) -> dict[str, Any]:
        """Latest value of everything logged, as 0-d tensors: for callbacks and tests."""
        return self.reporting.callback_metrics

    @property
    def logged_metrics(self) -> dict[str, Any]:
        """Latest value of what was logged with ``logger=True``, as 0-d tensors."""
        return self.reporting.logged_metrics

    @property
    def progress_bar_metrics(self) -> dict[str, Any]:
        """Latest value of what was logged with ``prog_bar=True``, as Python numbers; inside of an epoch on a GPU those of the
        last look, so that nothing waits for them."""
        return self.reporting.progress_bar_metrics

    # ------------------------------------------------------------------ callbacks and loggers

    def _with_role(self, role: str) -> list[Callback]:
        return [callback for callback in self.callbacks if callback.role == role]

    @property
    def checkpoint_callbacks(self) -> list[Any]:
        return self._with_role("checkpoint")

    @property
    def checkpoint_callback(self) -> Any:
        """The first checkpoint callback, or None."""
        return next(iter(self.checkpoint_callbacks), None)

    @property
    def early_stopping_callbacks(self) -> list[Any]:
        return self._with_role("early_stopping")

    @property
    def early_stopping_callback(self) -> Any:
        """The first early-stopping callback, or None."""
        return next(iter(self.early_stopping_callbacks), None)

    @property
    def progress_bar_callback(self) -> Any:
        """The progress bar, or None."""
        return next(iter(self._with_role("progress_bar")), None)

    @property
    def logger(self) -> Any:
        """The first logger, or None."""
        return self.loggers[0] if self.loggers else None

    def tell_loggers(self, call: Callable[[Any], Any]) -> None:
        """Call every logger; a failure is reported once and ends no run."""
        self.reporting.tell_loggers(call)

    @property
    def log_dir(self) -> str | None:
        """The folder of the first logger's version; ``default_root_dir`` without a logger."""
        if not self.loggers:
            return self.default_root_dir
        first = self.loggers[0]
        return first.log_dir or first.save_dir

    # ------------------------------------------------------------------ data

    @property
    def num_training_batches(self) -> int | float:
        """Training batches per epoch, inf if unknown."""
        return self.fit_loop.max_batches

    @property
    def val_check_batch(self) -> int | float | None:
        """Training batches between two validations, inf where a loader without a length decides; None for a time."""
        return None if self.val_check_interval is None else self.fit_loop.data.val_check_batch

    @property
    def num_val_batches(self) -> list[int | float]:
        """Validation batches per loader."""
        loop = self.val_loop if self.state.fn == TrainerFn.FITTING else self.validate_loop
        return loop.limits() if self.sanity_checking else loop.data.max_batches

    @property
    def num_sanity_val_batches(self) -> list[int | float]:
        """Validation batches per loader in the sanity check."""
        return [min(self.num_sanity_val_steps, count) for count in self.val_loop.data.max_batches]

    @property
    def num_test_batches(self) -> list[int | float]:
        return self.test_loop.data.max_batches

    @property
    def num_predict_batches(self) -> list[int | float]:
        return self.predict_loop.data.max_batches

    @property
    def train_dataloader(self) -> Any:
        """The training loaders in use, None before they are asked for."""
        return _iterables(self.fit_loop.data.loader)

    @property
    def val_dataloaders(self) -> Any:
        """The validation loaders in use, None before they are asked for."""
        fitting = self.state.fn == TrainerFn.FITTING
        return _iterables((self.val_loop if fitting else self.validate_loop).data.loaders)

    @property
    def test_dataloaders(self) -> Any:
        return _iterables(self.test_loop.data.loaders)

    @property
    def predict_dataloaders(self) -> Any:
        return _iterables(self.predict_loop.data.loaders)

    # ------------------------------------------------------------------ one process on one device

    @property
    def model(self) -> LightningModule:
        """The module itself; nothing wraps it."""
        return self.lightning_module

    @property
    def accelerator(self) -> Accelerator:
        """The kind of device the run is on."""
        return accelerator_of(self.strategy.root_device)

    @property
    def scaler(self) -> Any:
        """The GradScaler of ``precision="16-mixed"``, or None."""
        return self.precision_plugin.scaler

    @property
    def distributed_sampler_kwargs(self) -> None:
        """There is one process."""
        return None

    @contextmanager
    def init_module(self, empty_init: bool | None = None) -> Iterator[None]:
        """Modules made in this block have their parameters in the run's dtype; ``fit`` moves them to its device.

        Args:
            empty_init: accepted as in Lightning; parameters are always initialised.
        """
        with self.precision_plugin.init_context():
            yield

    @property
    def device_ids(self) -> list[int]:
        return [self.strategy.root_device.index or 0]

    @property
    def root_device(self) -> engine.device:
        return self.strategy.root_device

    @property
    def is_global_zero(self) -> bool:
        return True

    @property
    def world_size(self) -> int:
        return 1

    @property
    def num_devices(self) -> int:
        return 1

    @property
    def num_nodes(self) -> int:
        return 1

    @property
    def global_rank(self) -> int:
        return 0

    @property
    def local_rank(self) -> int:
        return 0

    @property
    def node_rank(self) -> int:
        return 0


def _iterables(loader: Any) -> Any:
    return None if loader is None else loader.iterables
