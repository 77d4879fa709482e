"""What a Trainer does without being told: one line for every implicit action, with the flag that changes it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from callbacks.checkpoint_files import default_folder
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.preemption import CHECKPOINT_NAME, SIGNALS
from lit.profilers import PassThroughProfiler
from lit.validation_schedule import in_words

if TYPE_CHECKING:
    from lit.trainer import Trainer

# (what happens, what changes it)
Action = tuple[str, str]


def explain_run(trainer: Trainer) -> str:
    """One line per implicit action, in the order of a ``fit``. What ``Trainer.explain`` prints."""
    actions = [
        *_where(trainer),
        *_how_long(trainer),
        *_company(trainer),
        *_files(trainer),
        *_training(trainer),
        *_validation(trainer),
        *_process(trainer),
    ]
    return "\n".join(f"- {what}{f'  [{flag}]' if flag else ''}" for what, flag in actions)


def _where(trainer: Trainer) -> Iterator[Action]:
    given = trainer.flags_given
    chosen = "given" if "accelerator" in given else "the GPU if there is one, else the CPU"
    yield f"the module is moved to {trainer.root_device} ({chosen}); batches follow it", "accelerator, devices"
    how = "given" if "precision" in given else "the default"
    yield f"precision is {trainer.precision} ({how})", "precision"
    plugin = trainer.precision_plugin
    if plugin.dtype is not None:
        name = str(plugin.dtype).removeprefix("torch.")
        yield f"weights and batches become {name}, and inside the steps the default dtype is {name}", "precision"
    elif plugin.scaler is not None:
        yield "the loss is scaled, and a step whose gradients overflow is skipped", "precision"


def _how_long(trainer: Trainer) -> Iterator[Action]:
    given = trainer.flags_given
    if trainer.fast_dev_run:
        yield (
            f"fast_dev_run: {int(trainer.fast_dev_run)} batches of every loop, one epoch, no sanity check, nothing is"
            " written",
            "fast_dev_run",
        )
    elif not {"max_epochs", "max_steps", "max_time"} & given.keys():
        yield f"training ends after {trainer.max_epochs} epochs, because no limit was given", "max_epochs"
    for name in ("train", "val", "test", "predict"):
        limit = getattr(trainer, f"limit_{name}_batches")
        if limit != 1.0 and not trainer.fast_dev_run:
            amount = f"{limit} batches" if isinstance(limit, int) else f"{limit:.0%} of the batches"
            yield f"only {amount} of the {name} loaders are used", f"limit_{name}_batches, overfit_batches"
    if trainer.overfit_batches:
        yield "a shuffled loader is replaced by a second one over the same dataset, in order", "overfit_batches"
    if trainer.reload_dataloaders_every_n_epochs:
        every = trainer.reload_dataloaders_every_n_epochs
        yield f"loaders are asked for anew every {every} epochs", "reload_dataloaders_every_n_epochs"


def _company(trainer: Trainer) -> Iterator[Action]:
    """Callbacks and loggers that nobody passed, and the order of all callbacks."""
    passed = trainer.flags_given.get("callbacks")
    passed = [] if passed is None else list(passed) if isinstance(passed, (list, tuple)) else [passed]
    flags = {
        "checkpoint": "enable_checkpointing",
        "progress_bar": "enable_progress_bar",
        "model_summary": "enable_model_summary",
        "timer": "max_time",
    }
    for callback in trainer.callbacks:
        if not any(callback is one for one in passed):
            flag = flags.get(callback.role or "", "configure_callbacks")
            yield f"the callback {type(callback).__name__} is added", flag
    if trainer.callbacks:
        order = ", ".join(type(callback).__name__ for callback in trainer.callbacks)
        yield f"callbacks run in this order: {order} (those that write checkpoints last)", ""
    if trainer.flags_given.get("logger") in (None, True) and trainer.loggers:
        yield f"the logger {type(trainer.loggers[0]).__name__} is added", "logger"
    if trainer.loggers:
        yield f"values logged per step go to the loggers every {trainer.log_every_n_steps} steps", "log_every_n_steps"
        if trainer.enable_autolog_hparams:
            yield "saved hyper-parameters and the model's graph go to the loggers", "enable_autolog_hparams"


def _files(trainer: Trainer) -> Iterator[Action]:
    for logger in trainer.loggers:
        if logger.log_dir:
            yield f"{type(logger).__name__} writes to {logger.log_dir}", "default_root_dir, or the logger's save_dir"
    for callback in trainer.checkpoint_callbacks:
        if trainer.fast_dev_run:
            continue
        folder = getattr(callback, "dirpath", None) or default_folder(trainer)
        yield f"{type(callback).__name__} writes to {folder}", f"{type(callback).__name__}(dirpath=...)"


def _training(trainer: Trainer) -> Iterator[Action]:
    module = trainer.lightning_module
    if module is not None and not module.automatic_optimization:
        yield "training_step does everything itself: backward, optimizer steps, schedulers", "automatic_optimization"
        return
    yield "each batch: zero_grad, backward, optimizer step; schedulers step once per epoch unless told otherwise", (
        "automatic_optimization"
    )
    count = trainer.accumulate_grad_batches
    if count != 1:
        yield (
            f"every loss is divided by {count}, and the optimizer steps after {count} batches and after an epoch's"
            " last",
            "accumulate_grad_batches",
        )
    if trainer.gradient_clip_val:
        how = trainer.gradient_clip_algorithm or "norm"
        yield f"gradients are clipped by {how} at {trainer.gradient_clip_val}", "gradient_clip_val"
    if trainer.detect_anomaly:
        yield "every loss and gradient is searched for NaN", "detect_anomaly"


def _validation(trainer: Trainer) -> Iterator[Action]:
    module = trainer.lightning_module
    if module is not None and not is_overridden("validation_step", module, LightningModule):
        return
    if trainer.limit_val_batches == 0:
        return
    if trainer.num_sanity_val_steps:
        amount: Any = trainer.num_sanity_val_steps
        amount = "all" if amount == float("inf") else amount
        yield f"before training {amount} validation batches are tried, and the random streams put back", (
            "num_sanity_val_steps"
        )
    yield in_words(trainer), "check_val_every_n_epoch, val_check_interval"
    mode = "inference_mode" if trainer.inference_mode else "no_grad"
    yield f"validation, test and prediction run under eval() and {mode}; both are put back", "inference_mode"


def _process(trainer: Trainer) -> Iterator[Action]:
    names = " and ".join(number.name for number in SIGNALS)
    folder = getattr(trainer.checkpoint_callback, "dirpath", None) or "the folder of checkpoints"
    yield f"while a run lasts, {names} end it at the next safe point: {CHECKPOINT_NAME} in {folder}, exit code 143", (
        "signal.signal(..., SIG_IGN)"
    )
    if not isinstance(trainer.profiler, PassThroughProfiler):
        yield f"{type(trainer.profiler).__name__} measures every hook and reports at the end of a run", "profiler"
    yield "Trainer.test() and validate() without a model take the best checkpoint of the fit before", "model, ckpt_path"
