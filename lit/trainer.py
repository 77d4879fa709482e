"""The Trainer: its flags and its entry points. lit/run.py has the order of a run, lit/loop.py the training loop."""

from __future__ import annotations

import os
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from callbacks import Callback, MisconfigurationException
from lit import flags
from lit.checkpoint import save_checkpoint
from lit.datamodule import LightningDataModule
from lit.default_callbacks import make_callbacks, make_loggers
from lit.device import choose_strategy
from lit.evaluation import EvaluationLoop
from lit.explain import explain_run
from lit.hooks import Dispatcher, describe_run
from lit.loop import FitLoop
from lit.module import LightningModule
from lit.optimizers import LightningOptimizer, LRSchedulerConfig
from lit.precision import Precision, choose_precision
from lit.prediction import PredictionLoop
from lit.profilers import Profiler, choose_profiler
from lit.profilers.base import profiled
from lit.reporting import Reporting
from lit.run import start_run, stream_run
from lit.state import RunState, TrainerFn
from lit.trainer_view import TrainerView
from lit.validation_schedule import Schedule, schedule_of
from loggers import Logger


class Trainer(TrainerView):
    """Runs a LightningModule: ``fit``, ``validate``, ``test``, ``predict``.

    Args:
        accelerator: "cpu", "gpu" (or "cuda"), "auto" for a GPU where there is one.
        strategy: "auto"; training runs in one process on one device.
        devices: 1 or "auto", or a list with the index of one GPU.
        num_nodes: 1.
        precision: "32-true" (default), "64-true", "16-true" or "bf16-true": weights and batches in that dtype;
            "16-mixed" or "bf16-mixed": the steps run under autocast, and "16-mixed" scales the loss.
        logger: True for the default logger, False for none, a Logger or a list of them.
        callbacks: Callback objects; the missing defaults are added behind them.
        fast_dev_run: run n batches (True: 1) of every loop, without loggers and checkpoints, to try a program out.
        max_epochs, min_epochs, max_steps, min_steps: limits in epochs and optimizer steps; -1 means no limit.
            Without any limit training ends after 1000 epochs.
        max_time: "10 min", "2 h", "DD:HH:MM:SS", a timedelta or a dict of its arguments, after which training ends.
        limit_train_batches, limit_val_batches, limit_test_batches, limit_predict_batches: batches (int) or a share of
            them (float) to use; 0 turns a loop off.
        overfit_batches: use the same few batches (int or share) in every epoch, without shuffling.
        val_check_interval: validate every so many batches (int) or after each share of an epoch (float), both counted
            anew in every epoch; "500 steps" (of the optimizer), "500 batches", "1.5 epochs" count over the whole run;
            "10 min", "2 h", "DD:HH:MM:SS", a timedelta or a dict of its arguments is a time since the last validation.
        check_val_every_n_epoch: validate in every n-th epoch; None counts batches across epochs.
        num_sanity_val_steps: validation batches to try before training (2), -1 for all.
        log_every_n_steps: how often step values go to the loggers (50).
        enable_checkpointing, enable_progress_bar, enable_model_summary: whether the default callback is added.
        accumulate_grad_batches: batches per optimizer step; each loss is divided by it.
        gradient_clip_val, gradient_clip_algorithm: clip gradients by "norm" (default) or "value" at this threshold.
        deterministic, benchmark: accepted; results on the CPU are always reproducible.
        inference_mode: evaluate under ``inference_mode`` instead of ``no_grad``.
        use_distributed_sampler, sync_batchnorm: accepted; they concern several processes.
        profiler: "simple", "advanced" or "pytorch" (operators), or a Profiler of ``lit.profilers``: report where the time went.
        plugins: a ``lit.plugins.CheckpointIO``: how checkpoints are written; ``AsyncCheckpointIO()`` writes beside training.
        model_registry: not supported.
        detect_anomaly: stop at the first NaN in the loss or in a gradient, and say where it came from.
        barebones: turn off everything that costs time beside the training itself.
        reload_dataloaders_every_n_epochs: ask for new loaders every n epochs.
        default_root_dir: where logs and checkpoints go; the current folder by default.
        enable_autolog_hparams: hand saved hyper-parameters to the loggers.
        compile: on a GPU, capture the training step as a CUDA graph for each shape of batch and replay it; what can't be
            captured is trained eagerly, with a warning that says why (docs/cuda.md).
        detect_sync: on a GPU, warn of each line of a training step (forward, backward, the optimizer's step) that makes the
            host wait.

    Raises:
        TypeError: a flag does not exist (with the nearest name).
        MisconfigurationException, ValueError: a value is not allowed.
        NotImplementedError: a value that Lightning has and this Trainer does not.

    Example:
        >>> trainer = pl.Trainer(max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False)
        >>> trainer.max_epochs, trainer.global_step
        (1, 0)
    """

    @flags.accepts_old_spellings
    def __init__(
        self,
        *,
        accelerator: str = "auto",
        strategy: Any = "auto",
        devices: list[int] | str | int = "auto",
        num_nodes: int = 1,
        precision: Any = None,
        logger: Logger | Iterable[Logger] | bool | None = None,
        callbacks: list[Callback] | Callback | None = None,
        fast_dev_run: int | bool = False,
        max_epochs: int | None = None,
        min_epochs: int | None = None,
        max_steps: int = -1,
        min_steps: int | None = None,
        max_time: str | timedelta | dict[str, int] | None = None,
        limit_train_batches: int | float | None = None,
        limit_val_batches: int | float | None = None,
        limit_test_batches: int | float | None = None,
        limit_predict_batches: int | float | None = None,
        overfit_batches: int | float = 0.0,
        val_check_interval: int | float | str | timedelta | dict[str, int] | None = None,
        check_val_every_n_epoch: int | None = 1,
        num_sanity_val_steps: int | None = None,
        log_every_n_steps: int | None = None,
        enable_checkpointing: bool | None = None,
        enable_progress_bar: bool | None = None,
        enable_model_summary: bool | None = None,
        accumulate_grad_batches: int = 1,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
        deterministic: bool | str | None = None,
        benchmark: bool | None = None,
        inference_mode: bool = True,
        use_distributed_sampler: bool = True,
        profiler: Profiler | str | None = None,
        detect_anomaly: bool = False,
        barebones: bool = False,
        plugins: Any = None,
        sync_batchnorm: bool = False,
        reload_dataloaders_every_n_epochs: int = 0,
        default_root_dir: str | os.PathLike[str] | None = None,
        enable_autolog_hparams: bool = True,
        model_registry: str | None = None,
        compile: bool = False,
        detect_sync: bool = False,
    ) -> None:
        if barebones:
            flags.check_barebones(
                logger=logger,
                enable_checkpointing=enable_checkpointing,
                enable_progress_bar=enable_progress_bar,
                enable_model_summary=enable_model_summary,
                num_sanity_val_steps=num_sanity_val_steps,
                log_every_n_steps=log_every_n_steps,
                fast_dev_run=fast_dev_run,
                detect_anomaly=detect_anomaly,
            )
            logger = enable_checkpointing = enable_progress_bar = enable_model_summary = False
            num_sanity_val_steps = log_every_n_steps = 0
        flags.refuse_unsupported(model_registry)
        flags.check_clipping(gradient_clip_val, gradient_clip_algorithm)
        flags.check_counts(
            max_epochs=max_epochs,
            min_epochs=min_epochs,
            max_steps=max_steps,
            min_steps=min_steps,
            log_every_n_steps=log_every_n_steps,
            accumulate_grad_batches=accumulate_grad_batches,
            reload_dataloaders_every_n_epochs=reload_dataloaders_every_n_epochs,
        )
        self.strategy = choose_strategy(accelerator, devices, strategy, num_nodes, plugins)
        self.precision, self.profiler = choose_precision(precision), choose_profiler(profiler)
        self.precision_plugin = Precision(self.precision, self.strategy.root_device.type)
        self.max_steps, self.min_steps = max_steps, min_steps
        self.fast_dev_run, self.barebones = fast_dev_run, barebones
        self.accumulate_grad_batches = accumulate_grad_batches
        self.gradient_clip_val, self.gradient_clip_algorithm = gradient_clip_val, gradient_clip_algorithm
        self.deterministic, self.benchmark = deterministic, benchmark
        self.inference_mode, self.detect_anomaly = inference_mode, detect_anomaly
        self.reload_dataloaders_every_n_epochs = reload_dataloaders_every_n_epochs
        self.enable_autolog_hparams = enable_autolog_hparams
        self.compile, self.detect_sync = compile, detect_sync
        self.capturing = False  # a step is being captured just now
        self.log_every_n_steps = 50 if log_every_n_steps is None else log_every_n_steps
        self.default_root_dir = os.path.abspath(os.fspath(default_root_dir or os.getcwd()))
        self._validate_when(schedule_of(val_check_interval, check_val_every_n_epoch))
        self.num_sanity_val_steps = flags.sanity_steps(num_sanity_val_steps)
        self.overfit_batches = flags.batch_limit("overfit_batches", overfit_batches)
        if self.overfit_batches > 0:
            limit_train_batches = limit_val_batches = self.overfit_batches
        self.limit_train_batches = flags.batch_limit("limit_train_batches", limit_train_batches)
        self.limit_val_batches = flags.batch_limit("limit_val_batches", limit_val_batches)
        self.limit_test_batches = flags.batch_limit("limit_test_batches", limit_test_batches)
        self.limit_predict_batches = flags.batch_limit("limit_predict_batches", limit_predict_batches)
        self._resume_from_checkpoint: Any = None
        if fast_dev_run:
            max_epochs = self._apply_fast_dev_run(int(fast_dev_run))
        self.loggers = make_loggers(logger if logger is not None else True, self.default_root_dir, bool(fast_dev_run))
        self.callbacks = make_callbacks(
            callbacks, enable_checkpointing is not False, enable_progress_bar is not False,
            enable_model_summary is not False, max_time,
        )  # fmt: skip
        self._make_loops(max_epochs, min_epochs)

    def _apply_fast_dev_run(self, batches: int) -> int:
        """Shrink every loop to ``batches`` batches; returns the number of epochs."""
        if batches < 0:
            raise MisconfigurationException(f"Trainer(fast_dev_run={batches}): expected True or a number of batches.")
        self.limit_train_batches = self.limit_val_batches = batches
        self.limit_test_batches = self.limit_predict_batches = batches
        self.max_steps = batches
        self.num_sanity_val_steps = 0
        self._validate_when(schedule_of(1.0, 1))
        return 1

    def _validate_when(self, schedule: Schedule) -> None:
        self.val_check_interval, self.val_check_seconds, self.val_check_steps, self.check_val_every_n_epoch = schedule

    def _make_loops(self, max_epochs: int | None, min_epochs: int | None) -> None:
        if max_epochs is None:
            limited = self.max_steps != -1 or any(callback.role == "timer" for callback in self.callbacks)
            max_epochs = -1 if limited else 1000
        if min_epochs is None:  # with min_steps, `should_stop` waits for the end of an epoch, as in Lightning
            min_epochs = 0 if self.min_steps is None else 1
        self.state = RunState()
        self.hooks = Dispatcher()
        self.reporting = Reporting(self)
        self.datamodule: LightningDataModule | None = None
        self.lightning_module: Any = None
        self.optimizers: list[Any] = []
        self.lightning_optimizers: list[LightningOptimizer] = []
        self.lr_scheduler_configs: list[LRSchedulerConfig] = []
        self.ckpt_path: Any = None
        self.unclaimed_states: dict[str, Any] = {}  # of callbacks that a checkpoint knows and this Trainer does not
        self.fit_loop = FitLoop(self, max_epochs, min_epochs)
        self.val_loop = EvaluationLoop(self, "val", "validation")  # inside fit
        self.validate_loop = EvaluationLoop(self, "val", "validation")
        self.test_loop = EvaluationLoop(self, "test", "test")
        self.predict_loop = PredictionLoop(self)

    # ------------------------------------------------------------------ entry points

    def fit(
        self,
        model: LightningModule,
        train_dataloaders: Any = None,
        val_dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        weights_only: bool | None = None,
    ) -> None:
        """Train ``model``.

        Args:
            model: the module to train.
            train_dataloaders: an iterable over batches, or a list or dict of them; or a LightningDataModule.
            val_dataloaders: one or several iterables over batches.
            datamodule: instead of loaders.
            ckpt_path: a checkpoint to go on from: a path, "last" or "best".
            weights_only: accepted as in Lightning; a checkpoint never executes anything here.

        Raises:
            MisconfigurationException: a step, a loader or ``configure_optimizers`` is missing, or they contradict.
            TypeError: ``model`` is not a LightningModule.
        """
        loaders = {self.fit_loop: train_dataloaders, self.val_loop: val_dataloaders}
        path = self._resume_from_checkpoint if ckpt_path is None else ckpt_path
        self.state.should_stop = False
        self.state.restart_epoch()
        start_run(self, TrainerFn.FITTING, model, loaders, datamodule, path)

    def validate(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Run the validation loop once; returns the logged metrics, one dict per loader.

        Args: as ``fit``; ``model=None`` takes the module of the run before, ``verbose`` prints the metrics.
        """
        self.validate_loop.verbose = verbose
        loaders = {self.validate_loop: dataloaders}
        return start_run(self, TrainerFn.VALIDATING, model, loaders, datamodule, ckpt_path)

    def test(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        verbose: bool = True,
        datamodule: LightningDataModule | None = None,
        weights_only: bool | None = None,
    ) -> list[dict[str, float]]:
        """Run the test loop once; returns the logged metrics, one dict per loader.

        Args: as ``validate``. Without a model and a ``ckpt_path`` the best checkpoint of the fit before is used.
        """
        self.test_loop.verbose = verbose
        loaders = {self.test_loop: dataloaders}
        return start_run(self, TrainerFn.TESTING, model, loaders, datamodule, ckpt_path)

    def predict(
        self,
        model: LightningModule | None = None,
        dataloaders: Any = None,
        datamodule: LightningDataModule | None = None,
        return_predictions: bool | None = None,
        ckpt_path: str | os.PathLike[str] | None = None,
        weights_only: bool | None = None,
        *,
        stream: bool = False,
    ) -> Any:
        """Run ``predict_step`` on every batch; returns the results on the CPU, a list per loader if there are several.

        Args: as ``test``; ``return_predictions=False`` returns None, for callbacks that write them;
            ``stream=True`` returns an iterator instead, which runs the model while it is iterated over, yields the
            predictions of each batch and keeps nothing. Leaving it early (``break``) ends the run in order.
        """
        self.predict_loop.return_predictions = return_predictions is not False and not stream
        loaders = {self.predict_loop: dataloaders}
        if stream:
            return stream_run(self, model, loaders, datamodule, ckpt_path)
        return start_run(self, TrainerFn.PREDICTING, model, loaders, datamodule, ckpt_path)

    def save_checkpoint(
        self, filepath: str | os.PathLike[str], weights_only: bool | None = None, storage_options: Any = None
    ) -> None:
        """Write a checkpoint of this moment to ``filepath``; ``weights_only`` leaves the training state out.

        A file of a new name is whole when this returns. During a run, the disk is waited for in the background: at the
        next checkpoint, and at the end.

        Args:
            storage_options: handed to the ``CheckpointIO`` of ``Trainer(plugins=...)``.

        Raises:
            AttributeError: no model is attached yet.
            OSError: the file, or the one before it, cannot be written; an older file of that name is still whole.
        """
        save = profiled(self.profiler, "save_checkpoint", save_checkpoint)
        save(self, filepath, bool(weights_only), storage_options)

    def print(self, *args: Any, **kwargs: Any) -> None:
        """Print without tearing the progress bar apart."""
        bar = self.progress_bar_callback
        if bar is not None and hasattr(bar, "print"):
            bar.print(*args, **kwargs)
        else:
            print(*args, **kwargs)

    def explain(self) -> None:
        """Print everything this Trainer does without being told, and the flag that changes it.

        Called after a run, it knows the module as well.

        Example:
            >>> trainer = pl.Trainer(accelerator="cpu", logger=False, accumulate_grad_batches=2)
            >>> trainer.explain()
            - the module is moved to cpu (given); batches follow it  [accelerator, devices]
            - precision is 32-true (the default)  [precision]
            - training ends after 1000 epochs, because no limit was given  [max_epochs]
            ...
            - every loss is divided by 2, and the optimizer steps after 2 batches and after an epoch's last  [...]
            ...
        """
        print(explain_run(self))

    def print_hooks(self, model: LightningModule | None = None, datamodule: LightningDataModule | None = None) -> None:
        """Print which hooks somebody listens to, and who, in calling order."""
        print(describe_run(model or self.lightning_module, datamodule or self.datamodule, self.callbacks))
