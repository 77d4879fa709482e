"""ModelCheckpoint: writes the best, the latest, or every checkpoint of a training run."""

from __future__ import annotations

import contextlib
import copy
import itertools
import math
import os
import time
import warnings
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal

from callbacks import checkpoint_files as files
from callbacks.checkpoint import Checkpoint
from callbacks.exceptions import MisconfigurationException
from callbacks.monitor import as_number, as_scalar_tensor, missing_metric, validates_once_per_epoch, validation_follows

if TYPE_CHECKING:
    from callbacks.base import StepOutput
    from engine import Tensor
    from lit import LightningModule, Trainer


class ModelCheckpoint(Checkpoint):
    """Save checkpoints while training: the ``save_top_k`` best by a metric, the last one, or all.

    A file is removed only after the one that takes its place is complete on disk. Nothing is saved in the sanity check,
    under ``fast_dev_run``, outside ``fit``, or twice at one ``global_step``.

    Args:
        dirpath: folder of the files. None: ``checkpoints`` in the first logger's folder, or, without a logger, in
            ``trainer.default_root_dir``.
        filename: template with ``{name}`` or ``{name:format}`` for every metric, "epoch" and "step";
            None is ``"{epoch}-{step}"``.
        monitor: metric that says which checkpoints are best; None keeps the latest.
        verbose: whether to print a line for each decision.
        save_last: True writes ``last.ckpt`` with every save (with ``save_top_k=0``: whenever one would be due);
            ``"link"`` makes it a symbolic link to the newest file.
        save_top_k: how many of the best to keep; -1 all, 0 none. Without ``monitor``: -1, 0 or 1.
        save_on_exception: whether to save when an exception (Ctrl-C included) ends the run.
        save_weights_only: whether to leave out all that only resuming needs (optimizers, schedulers, loops).
        mode: ``"min"`` or ``"max"``: which values of ``monitor`` are better.
        auto_insert_metric_name: whether ``{epoch}`` in the template becomes ``epoch=3`` or just ``3``.
        every_n_train_steps: save when ``global_step`` is a multiple of this.
        train_time_interval: save when this much time (a timedelta, or text: "10 min") has passed since the last time.
        every_n_epochs: save after every n-th epoch. At most one of these three; default: every epoch.
        save_on_train_epoch_end: save after the training epoch (True) or after validation (False). None: after the
            training epoch if validation runs once in every epoch or never, else after validation.
        enable_version_counter: whether a file that exists makes the new name end in ``-v1``, ...; else it is replaced.

    A step- or time-triggered save waits for the end of validation if ``monitor`` is not logged yet or validation is
    about to run, so that it judges by a fresh value.

    Attributes:
        best_model_path, best_model_score: file with the best score, and the score (0-d tensor or None).
        kth_best_model_path, kth_value: the worst of the best k, and its score.
        best_k_models: score by path.
        last_model_path: path of the ``last`` file.
        current_score: score at the latest save.

    Raises:
        MisconfigurationException: impossible settings; or ``monitor`` is not among the metrics after a validation.

    Example:
        >>> from callbacks import ModelCheckpoint
        >>> best = ModelCheckpoint(monitor="val_acc", mode="max", filename="digits-{epoch:02d}-{val_acc:.3f}")
        >>> best.format_checkpoint_name({"epoch": 4, "val_acc": 0.98125})
        'digits-epoch=04-val_acc=0.981.ckpt'
    """

    CHECKPOINT_JOIN_CHAR = "-"
    CHECKPOINT_EQUALS_CHAR = "="
    CHECKPOINT_NAME_LAST = "last"
    FILE_EXTENSION = ".ckpt"
    STARTING_VERSION = 1

    _RECORDS = frozenset(
        {"best_model_path", "best_model_score", "kth_best_model_path", "kth_value", "best_k_models"}
        | {"last_model_path", "current_score", "_last_checkpoint_saved", "_last_global_step_saved", "_superseded"}
    )
    _PROGRESS = (
        "_last_checkpoint_saved", "_last_global_step_saved", "_last_step_considered", "_waits_for_validation",
        "_validated", "_superseded", "_due",
    )  # fmt: skip

    def __init__(
        self,
        dirpath: str | os.PathLike[str] | None = None,
        filename: str | None = None,
        monitor: str | None = None,
        verbose: bool = False,
        save_last: bool | Literal["link"] | None = None,
        save_top_k: int = 1,
        save_on_exception: bool = False,
        save_weights_only: bool = False,
        mode: str = "min",
        auto_insert_metric_name: bool = True,
        every_n_train_steps: int | None = None,
        train_time_interval: timedelta | str | None = None,
        every_n_epochs: int | None = None,
        save_on_train_epoch_end: bool | None = None,
        enable_version_counter: bool = True,
    ) -> None:
        super().__init__()
        self.dirpath = None if dirpath is None else os.path.realpath(os.path.expanduser(dirpath))
        self.filename = filename
        self.monitor = monitor
        self.verbose = verbose
        self.save_last = save_last
        self.save_top_k = save_top_k
        self.save_on_exception = save_on_exception
        self.save_weights_only = save_weights_only
        self.mode = mode
        self.auto_insert_metric_name = auto_insert_metric_name
        if every_n_train_steps is None and train_time_interval is None and every_n_epochs is None:
            every_n_epochs = 1
        self._every_n_train_steps = every_n_train_steps or 0
        self._train_time_interval = files.interval_of(train_time_interval)
        self._every_n_epochs = every_n_epochs or 0
        self._save_on_train_epoch_end = save_on_train_epoch_end
        self._enable_version_counter = enable_version_counter
        files.check_settings(
            mode, save_last, save_top_k, monitor, self._every_n_train_steps, self._every_n_epochs, train_time_interval
        )
        self.best_model_path = ""
        self.best_model_score: Tensor | None = None
        self.kth_best_model_path = ""
        self.kth_value: Tensor | float = math.inf if mode == "min" else -math.inf
        self.best_k_models: dict[str, Tensor] = {}
        self.last_model_path = ""
        self.current_score: Tensor | None = None
        self._last_checkpoint_saved = ""
        self._last_global_step_saved = 0  # before the first step there is nothing to save
        self._last_step_considered = 0
        self._last_time_checked: float | None = None
        self._waits_for_validation = False
        self._validated = False
        self._warned_of_missing_metric = False
        self._superseded: list[str] = []
        self._due: dict[str, bool] | None = None  # a round that is decided, and not begun
        self._resumed_at: float | None = None  # when the file was written that this run goes on from

    @property
    def every_n_epochs(self) -> int | None:
        """Number of epochs between saves; 0 if epochs do not trigger them."""
        return self._every_n_epochs

    # ------------------------------------------------------------------ state

    @property
    def state_key(self) -> str:
        """The class name with what is watched and when, so that several ModelCheckpoints keep separate states."""
        return self._generate_state_key(
            monitor=self.monitor,
            mode=self.mode,
            every_n_train_steps=self._every_n_train_steps,
            every_n_epochs=self._every_n_epochs,
            train_time_interval=self._train_time_interval,
        )

    def state_dict(self) -> dict[str, Any]:
        """Paths and scores, as text and plain numbers."""

        return {
            "monitor": self.monitor,
            "dirpath": self.dirpath,
            "best_model_path": self.best_model_path,
            "best_model_score": as_number(self.best_model_score),
            "current_score": as_number(self.current_score),
            "best_k_models": {path: as_number(score) for path, score in self.best_k_models.items()},
            "kth_best_model_path": self.kth_best_model_path,
            "kth_value": as_number(self.kth_value),
            "last_model_path": self.last_model_path,
            "progress": {name: copy.copy(getattr(self, name)) for name in self._PROGRESS},
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue the top-k list, unless the files now go to another folder: then only the best path is kept."""
        self.best_model_path = state_dict["best_model_path"]
        if self.dirpath != state_dict["dirpath"]:
            warnings.warn(
                f"[W203] ModelCheckpoint(dirpath={self.dirpath!r}): the checkpoint was written by a run with"
                f" dirpath={state_dict['dirpath']!r}. Its best_model_path is kept; its list of best models is not."
                " HINT: use the same dirpath to go on with that list.",
                stacklevel=2,
            )
            return
        self.best_model_score = _tensor(state_dict["best_model_score"])
        self.current_score = _tensor(state_dict["current_score"])
        self.best_k_models = {path: _tensor(score) for path, score in state_dict["best_k_models"].items()}
        self.kth_best_model_path = state_dict["kth_best_model_path"]
        self.kth_value = _tensor(state_dict["kth_value"])
        self.last_model_path = state_dict["last_model_path"]
        vars(self).update(state_dict.get("progress", {}))

    def on_load_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Note when the file was written: what this folder got later comes from the run that was interrupted."""
        if trainer.ckpt_path is not None and os.path.exists(trainer.ckpt_path):  # else a CheckpointIO keeps it elsewhere
            self._resumed_at = os.path.getmtime(trainer.ckpt_path)

    # ------------------------------------------------------------------ when to save

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Settle the folder."""
        self.dirpath = self.dirpath or files.default_folder(trainer)
        saves = stage == "fit" and not trainer.fast_dev_run and self.save_top_k != 0
        if saves and os.path.isdir(self.dirpath) and os.listdir(self.dirpath):
            warnings.warn(f"[W204] {self.dirpath} exists and is not empty. HINT: a dirpath per run.", stacklevel=2)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Start the clock of ``train_time_interval``."""
        self._last_time_checked = time.monotonic()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: StepOutput, batch: Any, batch_idx: int
    ) -> None:
        """Save if ``every_n_train_steps`` or ``train_time_interval`` says so."""
        if not self._every_n_train_steps and self._train_time_interval is None:
            return
        if not self._is_due_by_step(trainer) and not self._is_due_by_time():
            return
        if self._should_skip_saving_checkpoint(trainer):
            return
        if self.monitor is not None and (
            self.monitor not in trainer.callback_metrics or validation_follows(trainer, batch_idx)
        ):
            self._waits_for_validation = True
            return
        self._save(trainer, always_last=True)

    def _is_due_by_step(self, trainer: Trainer) -> bool:
        if not self._every_n_train_steps:
            return False
        step = trainer.global_step
        # While gradients accumulate, several batches end at one step: only the first of them counts.
        if step % self._every_n_train_steps or step == self._last_step_considered:
            return False
        self._last_step_considered = step
        return True

    def _is_due_by_time(self) -> bool:
        if self._train_time_interval is None or self._last_time_checked is None:
            return False
        now = time.monotonic()
        if now - self._last_time_checked < self._train_time_interval.total_seconds():
            return False
        self._last_time_checked = now
        return True

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save if this is one of every n epochs and saving is not left to the end of validation."""
        if self._is_due_by_epoch(trainer) and self._should_save_on_train_epoch_end(trainer):
            self._save(trainer, always_last=False)

    def on_validation_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what waited for validation, or after this epoch if its saving is left to the end of validation."""
        if trainer.sanity_checking:
            return
        self._validated = True
        if self._waits_for_validation:
            self._save_what_waited(trainer)
        elif self._is_due_by_epoch(trainer) and not self._should_save_on_train_epoch_end(trainer):
            self._save(trainer, always_last=False)

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save what still waits for a validation that will not come, and ``last`` if it was never written."""
        if self._waits_for_validation:
            self._save_what_waited(trainer)
        elif self.save_last and not self._last_checkpoint_saved and not self._should_skip_saving_checkpoint(trainer):
            self._save_last_checkpoint(trainer, self._monitor_candidates(trainer))

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        """Save if ``save_on_exception`` asks for it."""
        if not self.save_on_exception or self._should_skip_saving_checkpoint(trainer):
            return
        metrics = self._monitor_candidates(trainer)
        self._save_checkpoint(trainer, path := self._free_path(trainer, metrics))
        self._save_last_checkpoint(trainer, metrics)
        trainer.print(f"{type(exception).__name__}: {exception}. Saved a checkpoint to {path!r}.")

    def _is_due_by_epoch(self, trainer: Trainer) -> bool:
        return (
            self._every_n_epochs >= 1
            and (trainer.current_epoch + 1) % self._every_n_epochs == 0
            and not self._should_skip_saving_checkpoint(trainer)
        )

    def _should_skip_saving_checkpoint(self, trainer: Trainer) -> bool:
        return (
            bool(trainer.fast_dev_run)
            or trainer.state.fn != "fit"
            or trainer.sanity_checking
            or self._last_global_step_saved == trainer.global_step
        )

    def _should_save_on_train_epoch_end(self, trainer: Trainer) -> bool:
        if self._save_on_train_epoch_end is not None:
            return self._save_on_train_epoch_end
        if trainer.check_val_every_n_epoch == 1 and not sum(trainer.num_val_batches):
            return True
        return validates_once_per_epoch(trainer)

    # ------------------------------------------------------------------ saving

    def _save_what_waited(self, trainer: Trainer) -> None:
        self._waits_for_validation = False
        if not self._should_skip_saving_checkpoint(trainer):
            self._save(trainer, always_last=True)

    def _save(self, trainer: Trainer, always_last: bool) -> None:
        """Save when everybody who listens to this hook is done, the module too."""
        self._due = {"always_last": always_last}
        trainer.hooks.afterwards(lambda: self.write_due(trainer))

    def write_due(self, trainer: Trainer) -> None:
        """One round: the top-k file, the last file, and only then the removal of what they replace."""
        due, self._due = self._due, None
        if due is not None:
            self._write(trainer, due["always_last"])
        self._remove_superseded(trainer)

    def _write(self, trainer: Trainer, always_last: bool) -> None:
        metrics = self._monitor_candidates(trainer)
        self._save_topk_checkpoint(trainer, metrics)
        saved_now = self._last_global_step_saved == trainer.global_step
        if saved_now or always_last or self.save_top_k == 0:
            self._save_last_checkpoint(trainer, metrics)

    def _remove_superseded(self, trainer: Trainer) -> None:
        while self._superseded:
            self._remove_checkpoint(trainer, self._superseded.pop())

    def _monitor_candidates(self, trainer: Trainer) -> dict[str, float | int]:
        metrics = {name: as_number(value) for name, value in trainer.callback_metrics.items()}
        metrics["epoch"] = int(metrics.get("epoch", trainer.current_epoch))
        metrics["step"] = int(metrics.get("step", trainer.global_step))
        return metrics

    def _save_topk_checkpoint(self, trainer: Trainer, metrics: dict[str, float | int]) -> None:
        if self.save_top_k == 0:
            return
        if self.monitor is None:
            self._save_none_monitor_checkpoint(trainer, metrics)
        elif self.monitor in metrics:
            self._save_monitor_checkpoint(trainer, metrics)
        else:
            self._report_missing_metric(metrics)

    def _report_missing_metric(self, metrics: dict[str, float | int]) -> None:
        assert self.monitor is not None
        message = missing_metric(f"ModelCheckpoint(monitor={self.monitor!r})", self.monitor, metrics)
        if self._validated:
            raise MisconfigurationException(message)
        if not self._warned_of_missing_metric:  # validation may still bring it
            self._warned_of_missing_metric = True
            warnings.warn(f"[W205] {message}", stacklevel=2)

    def _save_none_monitor_checkpoint(self, trainer: Trainer, metrics: dict[str, float | int]) -> None:
        path = self._free_path(trainer, metrics, replaced=self.best_model_path if self.save_top_k == 1 else "")
        with self._restored_if_saving_fails():
            previous, self.best_model_path = self.best_model_path, path  # before saving: the file holds this state
            if self.save_top_k == 1:
                self._supersede(trainer, previous, path)
            self._save_checkpoint(trainer, path)

    def _save_monitor_checkpoint(self, trainer: Trainer, metrics: dict[str, float | int]) -> None:
        assert self.monitor is not None
        current = metrics[self.monitor]
        if self.check_monitor_top_k(trainer, current):
            self._update_best_and_save(current, trainer, metrics)
        elif self.verbose:
            trainer.print(
                f"Epoch {metrics['epoch']}, global step {metrics['step']}:"
                f" {self.monitor} = {current:.5f} is not among the best {self.save_top_k}."
            )

    def check_monitor_top_k(self, trainer: Trainer, current: Tensor | float | None = None) -> bool:
        """Whether the score ``current`` belongs to the best k so far."""
        if current is None:
            return False
        if self.save_top_k == -1 or len(self.best_k_models) < self.save_top_k:
            return True
        kth = float(self.best_k_models[self.kth_best_model_path])
        return float(current) < kth if self.mode == "min" else float(current) > kth

    def _update_best_and_save(self, current: float, trainer: Trainer, metrics: dict[str, float | int]) -> None:
        worst, best = (max, min) if self.mode == "min" else (min, max)
        full = self.save_top_k > 0 and len(self.best_k_models) == self.save_top_k
        replaced = self.kth_best_model_path if full else ""
        if math.isnan(current):  # NaN compares with nothing: rank it last
            current = math.inf if self.mode == "min" else -math.inf

        path = self._free_path(trainer, metrics, replaced)
        with self._restored_if_saving_fails():  # all this before saving: the file holds this state
            self.best_k_models.pop(replaced, None)
            self.current_score = self.best_k_models[path] = as_scalar_tensor(current)
            scores = {name: float(score) for name, score in self.best_k_models.items()}
            if len(scores) == self.save_top_k or self.save_top_k == -1:
                self.kth_best_model_path = worst(scores, key=scores.__getitem__)
                self.kth_value = self.best_k_models[self.kth_best_model_path]
            self.best_model_path = best(scores, key=scores.__getitem__)
            self.best_model_score = self.best_k_models[self.best_model_path]
            self._supersede(trainer, replaced, path)
            self._save_checkpoint(trainer, path)
        if self.verbose:
            trainer.print(
                f"Epoch {metrics['epoch']}, global step {metrics['step']}: {self.monitor} reached {current:.5f}"
                f" (best {scores[self.best_model_path]:.5f}), saved to {path!r}."
            )

    def _save_last_checkpoint(self, trainer: Trainer, metrics: dict[str, float | int]) -> None:
        if not self.save_last:
            return
        path = self._free_path(trainer, metrics, self.last_model_path, self.CHECKPOINT_NAME_LAST)
        with self._restored_if_saving_fails():
            previous, self.last_model_path = self.last_model_path, path
            self._supersede(trainer, previous, path)
            if self.save_last == "link" and self._last_checkpoint_saved and self.save_top_k != 0:
                saved = self._last_checkpoint_saved
                trainer.strategy.checkpoint_io.afterwards(lambda: files.link_or_copy(saved, path))
            else:
                self._save_checkpoint(trainer, path)

    def _save_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        with self._restored_if_saving_fails():
            self._last_global_step_saved = trainer.global_step
            self._last_checkpoint_saved = filepath
            trainer.save_checkpoint(filepath, self.save_weights_only)
        if any(logger.reads_checkpoints for logger in trainer.loggers):
            trainer.strategy.checkpoint_io.wait()
        trainer.tell_loggers(lambda logger: logger.after_save_checkpoint(self))

    def _restored_if_saving_fails(self) -> contextlib.AbstractContextManager[None]:
        """Paths and scores must name files that exist, so a failed save takes back what was noted for it."""
        return files.restored_on_failure(self, self._RECORDS)

    # ------------------------------------------------------------------ files

    def _supersede(self, trainer: Trainer, previous: str, current: str) -> None:
        """Note ``previous`` for removal, if it is ours to remove."""
        if previous and previous != current and files.may_remove(previous, self.dirpath or "", trainer.ckpt_path):
            self._superseded.append(previous)

    def _remove_checkpoint(self, trainer: Trainer, filepath: str) -> None:
        trainer.strategy.checkpoint_io.remove_checkpoint(filepath)

    def file_exists(self, filepath: str | os.PathLike[str], trainer: Trainer | None = None) -> bool:
        """Whether there is a file, or a link, of this name."""
        if trainer is not None:
            trainer.strategy.checkpoint_io.wait()  # it may be on its way
        return os.path.lexists(filepath)

    def _free_path(self, trainer: Trainer, metrics: Mapping[str, Any], replaced: str = "", template: str | None = None) -> str:
        """Where to save: a name that is free, or that of the file about to be replaced.

        A file newer than the checkpoint that this run goes on from is one that the interrupted run wrote after it, and
        that is written again.
        """
        path = self.format_checkpoint_name(metrics, template)
        versions = itertools.count(self.STARTING_VERSION)
        while self._enable_version_counter and path != replaced and self.file_exists(path, trainer):
            if self._resumed_at is not None and files.is_later(path, trainer.ckpt_path, self._resumed_at):
                break
            path = self.format_checkpoint_name(metrics, template, ver=next(versions))
        return path

    def format_checkpoint_name(
        self,
        metrics: Mapping[str, Any],
        filename: str | None = None,
        ver: int | None = None,
        prefix: str | None = None,
    ) -> str:
        """Path of the file for these metrics: in ``dirpath``, if that is known.

        Args:
            metrics: values for the template; 0 stands for a name that is missing.
            filename: template in place of ``self.filename``.
            ver: version counter to append.
            prefix: put before the name.

        Example:
            >>> from callbacks import ModelCheckpoint
            >>> ModelCheckpoint().format_checkpoint_name({"epoch": 2, "step": 30}, ver=1)
            'epoch=2-step=30-v1.ckpt'
        """
        join = self.CHECKPOINT_JOIN_CHAR
        template = filename or self.filename or f"{{epoch}}{join}{{step}}"
        name = files.fill_template(template, metrics, self.auto_insert_metric_name, self.CHECKPOINT_EQUALS_CHAR)
        parts = (prefix, name, None if ver is None else f"v{ver}")
        name = join.join(part for part in parts if part is not None) + self.FILE_EXTENSION
        return os.path.join(self.dirpath, name) if self.dirpath else name


def _tensor(score: float | None) -> Any:
    return None if score is None else as_scalar_tensor(score)
