"""The place inside a fit, for a checkpoint, and the way back to it.

What is saved besides weights, optimizers and random streams: the counters and the point (lit/state.py), half-reduced
metrics, the loaders, gradients that still accumulate, a validation under way, and a batch that is being trained.
"""

from __future__ import annotations

import time
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from callbacks import Callback
from engine import serialization
from engine.nn import Module
from engine.utils.data.streams import Streams
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.outputs import Window
from lit.preemption import SIGTERMException
from lit.state import Point, RunningStage, TrainerFn

if TYPE_CHECKING:
    from lit.trainer import Trainer

State = dict[str, Any]
BETWEEN_EPOCHS = (Point.EPOCH_START, Point.EPOCH_END)
# Here random numbers are drawn already, and running statistics changed.
INSIDE_STEP = frozenset((
    "training_step", "on_before_zero_grad", "optimizer_zero_grad", "on_before_backward", "backward", "on_after_backward",
    "on_before_optimizer_step", "configure_gradient_clipping", "optimizer_step",
))  # fmt: skip


class ModuleFlags:
    """Which submodules train, and which parameters require a gradient: what has changed since the run began."""

    def __init__(self, module: Module) -> None:
        self._module = module
        self._training = self._modes()
        self._requires_grad = self._gradients()

    def _modes(self) -> dict[str, bool]:
        return {name: inner.training for name, inner in self._module.named_modules()}

    def _gradients(self) -> dict[str, bool]:
        return {name: parameter.requires_grad for name, parameter in self._module.named_parameters()}

    def changed(self, modes: dict[str, bool] | None = None) -> State:
        """The flags that differ by now; ``modes`` stand in for the modules' own while these are in eval mode."""
        return {
            "training": _difference(self._training, self._modes() if modes is None else modes),
            "requires_grad": _difference(self._requires_grad, self._gradients()),
        }

    def apply(self, changed: State) -> None:
        """Set the flags that ``changed`` names."""
        for name, inner in self._module.named_modules():
            inner.training = changed["training"].get(name, inner.training)
        for name, parameter in self._module.named_parameters():
            parameter.requires_grad = changed["requires_grad"].get(name, parameter.requires_grad)


def _difference(before: dict[str, bool], now: dict[str, bool]) -> dict[str, bool]:
    return {name: value for name, value in now.items() if before.get(name) != value}


@dataclass
class Resumed:
    """What a checkpoint says about the place in the loop, until the loop has come back to it."""

    rng: State
    saved: State


class BeforeValidation:
    """What to put back where a validation that is cut short has to be done again from its beginning.

    A checkpoint holds the place in a validation and all that ``self.log`` has gathered, but no lists that a module or a
    callback fills in its own hooks; and an error may have come out of the middle of a batch.
    """

    def __init__(self, trainer: Trainer, reporting: Any) -> None:
        self._trainer, self._reporting = trainer, reporting
        self._streams = Streams()
        self._steps = trainer.val_loop.steps_of_loaders()
        logs = trainer.loggers if trainer.reporting.evaluation.has_step_values else []
        self._logs = [(logger, logger.state_dict()) for logger in logs]

    def take_back_unless_kept(self, error: BaseException) -> None:
        """Put everything back, unless ``error`` ended the validation between two batches and all is in the checkpoint."""
        trainer = self._trainer
        if isinstance(error, SIGTERMException) and not gathers_by_itself(trainer):
            return
        trainer.state.stage, trainer.state.point = RunningStage.TRAINING, Point.BATCH_END
        trainer.reporting.leave_evaluation()
        trainer.reporting.enter(*self._reporting)
        trainer.val_loop.set_steps_of_loaders(self._steps)
        for logger, state in self._logs:
            logger.load_state_dict(state)
        self._streams.restore()


def gathers_by_itself(trainer: Trainer) -> bool:
    """Whether the module or a callback of the user has validation hooks, where it may keep what no checkpoint holds."""
    names = [f"on_validation_{moment}" for moment in ("start", "epoch_start", "batch_end", "epoch_end", "end")]
    module = trainer.lightning_module
    own = [callback for callback in trainer.callbacks if not type(callback).__module__.startswith("callbacks.")]
    listeners = [(module, LightningModule), *((callback, Callback) for callback in own)]
    return any(is_overridden(name, listener, base) for listener, base in listeners for name in names)


def fit_state(trainer: Trainer) -> State:
    """The place inside the fit, as nested plain values and tensors."""
    loop, state = trainer.fit_loop, trainer.state
    point = _point(trainer)
    modes = trainer.val_loop.modes_before if state.stage == RunningStage.VALIDATING else None
    return {
        "progress": {**state.state_dict(), "point": str(point)},
        "metrics": trainer.reporting.state_dict(),
        "loggers": _loggers(trainer),
        "rng_at_epoch_start": _rng_at_epoch_start(trainer, point),
        "train_data": loop.data.state_dict(inside=point not in BETWEEN_EPOCHS, fetched=point == Point.BATCH_START),
        "epoch_started": state.epoch_started,
        "validation": _validation(trainer, inside=point == Point.VALIDATING),
        "gradients": _gradients(trainer, point),
        "window": loop.window.state_dict(),
        "module_flags": None if loop.flags is None else loop.flags.changed(modes),
        "batch": _batch(trainer) if point == Point.BATCH_START else None,
        "seconds_since_validation": time.monotonic() - state.last_validation_time if trainer.val_check_seconds else 0.0,
    }


def _rng_at_epoch_start(trainer: Trainer, point: Point) -> State | None:
    """For a run that starts the loaders of this epoch again."""
    streams = trainer.fit_loop.rng_at_epoch_start
    over = point in BETWEEN_EPOCHS and not trainer.state.epoch_cut_short
    return None if streams is None or over else streams.state_dict()


def _loggers(trainer: Trainer) -> list[State]:
    states: dict[int, State] = {}
    trainer.reporting.tell_loggers(lambda logger: states.update({id(logger): logger.state_dict()}))
    return [states.get(id(logger), {}) for logger in trainer.loggers]


def _point(trainer: Trainer) -> Point:
    state = trainer.state
    if state.fn != TrainerFn.FITTING:
        return state.point
    if state.stage == RunningStage.VALIDATING and state.point == Point.BATCH_END:
        return Point.VALIDATING
    if trainer.fit_loop.inside_batch and state.point in (Point.BETWEEN_BATCHES, Point.EPOCH_START):
        return Point.BATCH_START
    return state.point


def _gradients(trainer: Trainer, point: Point) -> State:
    """Gradients that the next batches add to."""
    module, loop = trainer.lightning_module, trainer.fit_loop
    if point in BETWEEN_EPOCHS:
        return {}
    if module.automatic_optimization and (loop.accumulate == 1 or trainer.state.batches_done % loop.accumulate == 0):
        return {}
    return {name: parameter.grad for name, parameter in module.named_parameters() if parameter.grad is not None}


def _batch(trainer: Trainer) -> State | None:
    """The batch that is being trained: the resumed run begins with it."""
    if trainer.fit_loop.by_iterator:
        return None
    batch, steps = trainer.reporting.train.batch, trainer.state.steps_before_batch
    if trainer.state.global_step != steps or trainer.hooks.current in INSIDE_STEP:
        warnings.warn(
            "[W123] Trainer.save_checkpoint(...) was called inside a training step: a run that goes on from this checkpoint"
            " repeats the whole step, with what has already changed. HINT: save in on_train_batch_end.",
            stacklevel=6,
        )
    if not _can_be_kept(batch):
        return None
    return {"value": batch, "started": trainer.state.batch_started}


def _validation(trainer: Trainer, inside: bool) -> State:
    state = trainer.val_loop.state_dict(inside)
    if inside and not _can_be_kept(state["walk"]["batch"]):
        state["walk"]["batch"] = None
    return state


def _can_be_kept(batch: Any) -> bool:
    try:
        serialization.check_storable(batch)
    except serialization.SaveError as error:
        warnings.warn(
            f"[W124] Trainer.save_checkpoint(...) was called before a batch was done, which cannot be kept ({error}): a run"
            " that goes on from this checkpoint begins with the next one. HINT: save in on_train_batch_end.",
            stacklevel=7,
        )
        return False
    return True


def restore_fit(trainer: Trainer, saved: State, rng: State) -> None:
    """Set the counters and metrics, and leave with the loop what it needs to come back to its place."""
    state = trainer.state
    state.load_state_dict(saved["progress"])
    if state.epoch_cut_short and state.point in BETWEEN_EPOCHS:
        # The epoch had ended early (max_steps, should_stop); this run finishes it, if it may go on.
        state.current_epoch -= state.point == Point.EPOCH_START
        if trainer.fit_loop.run_is_over():
            state.load_state_dict(saved["progress"])
        else:
            state.point = Point.BETWEEN_BATCHES
    state.resuming, state.epoch_started = True, saved.get("epoch_started", False)
    trainer.reporting.load_state_dict(saved["metrics"])
    if state.point != Point.VALIDATING:
        trainer.reporting.evaluation.reset()
    streams = saved["rng_at_epoch_start"]
    trainer.fit_loop.rng_at_epoch_start = None if streams is None else Streams.from_state_dict(streams)
    trainer.fit_loop.resumed = Resumed(rng, saved)
    trainer.fit_loop.data.load_state_dict(saved["train_data"])
    trainer.val_loop.load_state_dict(saved["validation"])


def restore_module(trainer: Trainer, saved: State) -> None:
    """Gradients that accumulate, and the flags that the run had changed."""
    loop = trainer.fit_loop
    parameters = dict(trainer.lightning_module.named_parameters())
    for name, gradient in saved["gradients"].items():
        parameters[name].grad = gradient.to(parameters[name].device)
    loop.window = Window(**saved["window"])
    if saved["module_flags"] is not None and loop.flags is not None:
        loop.flags.apply(saved["module_flags"])
