"""The order of one run: from the call of fit, validate, test or predict to its end, and what an exception does."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, NoReturn

import engine
from callbacks import MisconfigurationException
from lit.checkpoint import (
    open_checkpoint,
    restore_model_and_callbacks,
    restore_training,
    resume_loggers,
)
from lit.datamodule import LightningDataModule
from lit.default_callbacks import attach_module_callbacks
from lit.device import place_module
from lit.environment import describe_environment
from lit.hooks import is_overridden
from lit.module import LightningModule
from lit.optimizers import LightningOptimizer, configure
from lit.preemption import Preemption, SIGTERMException, save_preempted
from lit.rng import isolate_rng
from lit.state import RunningStage, TrainerFn, TrainerStatus

if TYPE_CHECKING:
    from lit.trainer import Trainer

STAGES = {
    TrainerFn.FITTING: RunningStage.TRAINING,
    TrainerFn.VALIDATING: RunningStage.VALIDATING,
    TrainerFn.TESTING: RunningStage.TESTING,
    TrainerFn.PREDICTING: RunningStage.PREDICTING,
}
STEPS_NEEDED = {
    TrainerFn.FITTING: ("training_step", "configure_optimizers"),
    TrainerFn.VALIDATING: ("validation_step",),
    TrainerFn.TESTING: ("test_step",),
    TrainerFn.PREDICTING: (),
}


def start_run(
    trainer: Trainer, fn: TrainerFn, model: Any, loaders: dict[Any, Any], datamodule: Any, ckpt_path: Any
) -> Any:
    """Run one entry point; on any exception tell callbacks, datamodule and loggers before it goes on its way.

    ``loaders`` maps each loop of this run to the loaders passed for it.
    """
    _attach_module(trainer, fn, model)
    with Preemption(trainer) as preemption, trainer.profiler.run(str(fn), trainer):
        try:
            _begin(trainer, loaders, datamodule, ckpt_path, model_given=model is not None)
            result = _run_loops(trainer, loaders)
            _finish(trainer)
        except BaseException as exception:
            _fail(trainer, preemption, exception)
    _end_if_preempted(trainer, preemption)
    return result


def stream_run(
    trainer: Trainer, model: Any, loaders: dict[Any, Any], datamodule: Any, ckpt_path: Any
) -> Iterator[Any]:
    """``predict`` as a generator over the predictions of each batch; the run is over when it is."""
    _attach_module(trainer, TrainerFn.PREDICTING, model)
    with Preemption(trainer) as preemption, trainer.profiler.run(str(TrainerFn.PREDICTING), trainer):
        try:
            _begin(trainer, loaders, datamodule, ckpt_path, model_given=model is not None)
            with suppress(GeneratorExit):  # the loop has ended in order; so does the run
                yield from trainer.predict_loop.stream()
            _finish(trainer)
        except BaseException as exception:
            _fail(trainer, preemption, exception)
    _end_if_preempted(trainer, preemption)


def _fail(trainer: Trainer, preemption: Preemption, exception: BaseException) -> NoReturn:
    ending = _save_if_preempted(trainer, exception)
    _report_exception(trainer, ending)
    if isinstance(ending, KeyboardInterrupt):
        raise SystemExit(1) from ending
    if isinstance(ending, SIGTERMException):
        preemption.raise_what_waited()
    if ending is exception:
        raise exception
    raise ending from exception


def _end_if_preempted(trainer: Trainer, preemption: Preemption) -> None:
    if trainer.state.preempted:  # after the last safe point; from here on no handler of ours can miss a signal
        save_preempted(trainer)
        preemption.raise_what_waited()
        raise SIGTERMException


def _save_if_preempted(trainer: Trainer, exception: BaseException) -> BaseException:
    """Write the checkpoint if ``exception`` means a preemption; returns what the run ends with."""
    state = trainer.state
    if state.preempted and state.fn != TrainerFn.FITTING and isinstance(exception, Exception):
        return SIGTERMException()  # the signal may have ended the loader's workers too
    if isinstance(exception, SIGTERMException):
        try:
            save_preempted(trainer)
        except Exception as failure:
            return failure
    return exception


def _report_exception(trainer: Trainer, exception: BaseException) -> None:
    """Tell callbacks, datamodule and loggers that ``exception`` ends the run."""
    trainer.state.status = TrainerStatus.INTERRUPTED
    for callback in trainer.callbacks:
        trainer.hooks.call_on(callback, "on_exception", trainer, trainer.lightning_module, exception)
    if trainer.datamodule is not None:
        trainer.hooks.call_on(trainer.datamodule, "on_exception", exception)
    try:
        trainer.strategy.checkpoint_io.teardown()
    except Exception as failure:  # the run ends with `exception`
        warnings.warn(
            f"[W126] A checkpoint could not be made durable: {type(failure).__name__}: {failure}."
            " HINT: look at the disk it is on; fit(ckpt_path='last') takes the newest file that is whole.",
            stacklevel=4,
        )
    trainer.reporting.tell_loggers(lambda logger: logger.finalize("failed"))
    _release(trainer)


def _attach_module(trainer: Trainer, fn: TrainerFn, model: Any) -> None:
    module = trainer.lightning_module if model is None else model
    if module is None:
        raise TypeError(f"Trainer.{fn}(): no model was passed, and there is none from a run before.")
    if not isinstance(module, LightningModule):
        raise TypeError(f"Trainer.{fn}(model): expected a LightningModule, got {type(module).__qualname__}.")
    trainer.state.fn, trainer.state.stage, trainer.state.status = fn, STAGES[fn], TrainerStatus.RUNNING
    trainer.lightning_module = module


def _begin(trainer: Trainer, loaders: dict[Any, Any], datamodule: Any, ckpt_path: Any, model_given: bool) -> None:
    """Everything before the loops; the order of the hooks is the contract of docs/hooks.md."""
    module, hooks, fn = trainer.lightning_module, trainer.hooks, trainer.state.fn
    fitting = fn == TrainerFn.FITTING
    _attach_data(trainer, loaders, datamodule)
    path, checkpoint = open_checkpoint(trainer, ckpt_path, model_given)
    trainer.ckpt_path = None if path is None else str(path)
    if fitting:
        resume_loggers(trainer, checkpoint, same_run=ckpt_path == "last")
    module.trainer = trainer
    from_module = hooks.call_on(module, "configure_callbacks")
    if from_module:
        trainer.callbacks = attach_module_callbacks(trainer.callbacks, from_module)
    _check_steps(trainer)
    _collect_hooks(trainer)
    hooks.call("prepare_data")
    trainer.reporting.tell_loggers(lambda logger: logger.experiment)  # created here, so that setup hooks can use it
    hooks.call("setup", stage=str(fn))
    if is_overridden("configure_model", module, LightningModule):
        with trainer.precision_plugin.init_context():
            hooks.call_on(module, "configure_model")
    _collect_hooks(trainer)  # setup and configure_model may have given the module new methods
    if checkpoint is not None:
        restore_model_and_callbacks(trainer, checkpoint)
    trainer.reporting.start_run(read_at_once=trainer.strategy.root_device.type == "cpu")
    place_module(trainer)
    if fitting:
        _configure_optimizers(trainer)
        hooks.call("on_fit_start")
    _log_hyperparams(trainer)
    if checkpoint is not None and fitting:
        restore_training(trainer, checkpoint)
    module.zero_grad()


def _run_loops(trainer: Trainer, loaders: dict[Any, Any]) -> Any:
    with ExitStack() as modes:
        _enter_modes(trainer, modes)
        if trainer.state.fn == TrainerFn.FITTING:
            _sanity_check(trainer)
        return next(iter(loaders)).run()


def _finish(trainer: Trainer) -> None:
    """Everything after the loops."""
    hooks, fn = trainer.hooks, trainer.state.fn
    if fn == TrainerFn.FITTING:
        hooks.call("on_fit_end")
    hooks.call("teardown", stage=str(fn))
    trainer.strategy.checkpoint_io.teardown()
    trainer.reporting.tell_loggers(lambda logger: logger.finalize("success"))
    _release(trainer)
    trainer.state.status = TrainerStatus.FINISHED


def _release(trainer: Trainer) -> None:
    trainer.state.stage = None
    trainer.hooks.current = None
    trainer.reporting.enter(None)


def _collect_hooks(trainer: Trainer) -> None:
    trainer.hooks.collect(trainer, trainer.lightning_module, trainer.datamodule, trainer.callbacks)


def _attach_data(trainer: Trainer, loaders: dict[Any, Any], datamodule: Any) -> None:
    """Tell each loop where its loaders come from."""
    fn = trainer.state.fn
    for loop, given in loaders.items():
        if isinstance(given, LightningDataModule):
            datamodule, given = given, None
        if given is not None and datamodule is not None:
            raise MisconfigurationException(
                f"Trainer.{fn}(...): both loaders and a datamodule were passed. HINT: pass one of them."
            )
        loop.data.source.given = given
        loop.data.forget()
    if datamodule is not None and not isinstance(datamodule, LightningDataModule):
        raise TypeError(
            f"Trainer.{fn}(datamodule=...): expected a LightningDataModule, got {type(datamodule).__qualname__}."
        )
    trainer.datamodule = datamodule
    if datamodule is not None:
        datamodule.trainer = trainer


def _check_steps(trainer: Trainer) -> None:
    """The steps that this entry point needs must be there, and the flags must fit them."""
    module, fn = trainer.lightning_module, trainer.state.fn
    assert fn is not None
    for step in STEPS_NEEDED[fn]:
        if not is_overridden(step, module, LightningModule):
            raise MisconfigurationException(
                f"Trainer.{fn}(...): {type(module).__name__} has no `{step}`. HINT: define it in the module."
            )
    if fn != TrainerFn.FITTING:
        return
    validates = trainer.limit_val_batches > 0 and is_overridden("validation_step", module, LightningModule)
    if validates and not trainer.val_loop.data.source.is_defined(trainer):
        warnings.warn(
            f"[W118] {type(module).__name__} has a `validation_step`, but there is no validation loader: fit runs without"
            " validation. HINT: pass val_dataloaders, or limit_val_batches=0 to say so.",
            stacklevel=5,
        )
    if not module.automatic_optimization:
        _check_manual_optimization(trainer)


def _check_manual_optimization(trainer: Trainer) -> None:
    for flag, neutral in (("gradient_clip_val", None), ("accumulate_grad_batches", 1)):
        value = getattr(trainer, flag)
        if value not in (neutral, 0):
            raise MisconfigurationException(
                f"Trainer({flag}={value!r}) has no effect in manual optimization. HINT: remove it, and do the same in"
                " training_step (self.clip_gradients, or stepping every n batches)."
            )


def _configure_optimizers(trainer: Trainer) -> None:
    module, loop = trainer.lightning_module, trainer.fit_loop
    returned = trainer.hooks.call_on(module, "configure_optimizers")
    trainer.optimizers, trainer.lr_scheduler_configs = configure(module, returned)
    toggle, scaler = module.toggled_optimizer, trainer.precision_plugin.scaler
    trainer.lightning_optimizers = [
        LightningOptimizer(optimizer, loop.before_update, loop.after_optimizer_step, toggle, scaler)
        for optimizer in trainer.optimizers
    ]


def _log_hyperparams(trainer: Trainer) -> None:
    if trainer.loggers and trainer.state.fn == TrainerFn.FITTING:
        facts = describe_environment(trainer.root_device, trainer.precision)
        trainer.tell_loggers(lambda logger: logger.log_environment(facts))
    if not trainer.enable_autolog_hparams:
        return
    owners = [owner for owner in (trainer.datamodule, trainer.lightning_module) if owner is not None]
    hparams = {
        name: value for owner in owners if owner._log_hyperparams for name, value in owner.hparams_initial.items()
    }
    hparams_go_to = [logger for logger in trainer.loggers if not logger.continues]  # in the others they are
    for call in (
        lambda logger: logger.log_hyperparams(hparams),
        lambda logger: logger.log_graph(trainer.lightning_module),
        lambda logger: logger.save(),
    ):
        trainer.reporting.tell_loggers(call, hparams_go_to)


def _enter_modes(trainer: Trainer, modes: ExitStack) -> None:
    """Process-wide switches, set for the time of the loops and put back after them."""
    modes.callback(engine.set_grad_enabled, engine.is_grad_enabled())
    if trainer.detect_anomaly:
        modes.enter_context(engine.autograd.detect_anomaly())


def _sanity_check(trainer: Trainer) -> None:
    """Try a few validation batches before training, unless the run goes on from a checkpoint."""
    if not trainer.enable_validation or trainer.num_sanity_val_steps == 0 or trainer.state.resuming:
        return
    trainer.state.stage = RunningStage.SANITY_CHECKING
    with isolate_rng():  # the program's random numbers must not depend on the sanity check
        trainer.hooks.call("on_sanity_check_start")
        try:
            trainer.val_loop.run()
        except SIGTERMException:
            trainer.reporting.leave_evaluation()  # the training loop ends before its first epoch, with a checkpoint
        trainer.hooks.call("on_sanity_check_end")
    trainer.state.stage = RunningStage.TRAINING
    trainer.reporting.clear()
