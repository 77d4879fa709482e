"""The training loop, whole: epochs, batches, the optimizer step, schedulers, and when to validate.

Read it from ``FitLoop.run`` downwards. A hook is called only if somebody listens to it (``name in self.active``).
The hook order is the contract of docs/hooks.md; tests/lit/test_hook_order.py compares whole runs with it.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from engine import Tensor
from engine.utils.data.streams import Streams
from lit.compiled import choose_step
from lit.dataloader_iter import takes_iterator
from lit.device import batch_transfer
from lit.hooks import is_overridden
from lit.loaders import TrainingData, accepts_batch_idx
from lit.loop_view import LoopView
from lit.module import LightningModule
from lit.optimizers import monitored_metric
from lit.outputs import LOSS_WEIGHT, Window, detached, loss_and_extra, refuse_nan
from lit.preemption import SIGTERMException
from lit.profilers.base import profiled, profiled_items
from lit.resume import BeforeValidation, ModuleFlags, Resumed, restore_module
from lit.rng import set_rng_states
from lit.state import Point, RunningStage
from lit.validation_schedule import is_due

if TYPE_CHECKING:
    from lit.trainer import Trainer


class FitLoop(LoopView):
    """Runs epochs of training batches, with validation in between.

    ``max_epochs`` and ``min_epochs`` may be changed between two calls of ``fit``.
    """

    def __init__(self, trainer: Trainer, max_epochs: int | None, min_epochs: int | None) -> None:
        self.trainer = trainer
        self.state = trainer.state
        self.hooks = trainer.hooks
        self.reporting = trainer.reporting
        self.max_epochs = max_epochs
        self.min_epochs = min_epochs
        self.data = TrainingData(trainer)
        self.rng_at_epoch_start: Streams | None = None
        self.resumed: Resumed | None = None  # the place of a checkpoint, until the loop is back there
        self.flags: ModuleFlags | None = None
        self.window = Window()  # the batches whose gradients accumulate
        self.stepping = True
        self.accumulate = 1
        self.inside_batch = False  # True: an exception now leaves a batch half trained
        self._outputs: dict[str, Any] = {}

    # ------------------------------------------------------------------ run

    def run(self) -> None:
        """Train until a limit is reached or somebody asks to stop."""
        if self.trainer.limit_train_batches == 0:
            return
        self.data.setup()
        self._prepare()
        self.reporting.enter(self.reporting.train)
        if self.state.point == Point.EPOCH_END:  # resuming from a checkpoint written in on_train_epoch_end
            self._back_at_the_place()
            self._close_epoch()
        if not self.run_is_over() or self.state.point != Point.EPOCH_START:  # the last epoch has an end
            self._run_epochs()
        elif self.resumed is not None:
            self._back_at_the_place()
        self.resumed = None
        self.reporting.enter(None)

    def _run_epochs(self) -> None:
        if self._validates_in_epoch(self.state.current_epoch):
            self.trainer.val_loop.setup_data_once()
        if "on_train_start" in self.active:
            self.hooks.call("on_train_start")
        if self.resumed is not None and self.state.point == Point.EPOCH_START:
            self._back_at_the_place()
            self.resumed = None
        self._end_if_asked_to()
        while not self.run_is_over() or self.state.point != Point.EPOCH_START:
            self.run_epoch()
            self._end_if_asked_to()
        if "on_train_end" in self.active:
            self.hooks.call("on_train_end")

    def _prepare(self) -> None:
        """Look up once what stays the same for the whole run."""
        engine.set_grad_enabled(True)
        trainer = self.trainer
        self.inside_batch = False
        self.module = module = trainer.lightning_module
        self.flags = ModuleFlags(module)
        self.active, self.automatic = self.hooks.active, module.automatic_optimization
        # Bound once; with a profiler, these are the functions that measure.
        self.call_step = trainer.precision_plugin.around(self.hooks.profiled(module, "training_step"))
        self.call_optimizer_step = self.hooks.profiled(module, "optimizer_step")
        self.call_zero_grad = self.hooks.profiled(module, "optimizer_zero_grad")
        self.call_backward = self.hooks.profiled(module, "backward")
        self.train_batch = profiled(trainer.profiler, "run_training_batch", self._train_batch)
        self.run_epoch = profiled(trainer.profiler, "run_training_epoch", self._run_epoch)
        self.optimizer, self.bare_optimizer = trainer.lightning_optimizers[0], trainer.optimizers[0]
        self.scaler, self.accumulate = trainer.precision_plugin.scaler, trainer.accumulate_grad_batches
        self.schedulers = trainer.lr_scheduler_configs if self.automatic else []
        self.by_iterator = takes_iterator(module.training_step)
        self.transfer = None if self.by_iterator else batch_transfer(trainer)
        self.with_batch_idx = accepts_batch_idx(module.training_step)
        self.may_skip_epoch = is_overridden("on_train_batch_start", module, LightningModule)
        self.clips = self.automatic and (
            trainer.gradient_clip_val is not None
            or is_overridden("configure_gradient_clipping", module, LightningModule)
            or is_overridden("clip_gradients", module, LightningModule)
        )
        self.take_step = choose_step(self)
        waited = 0.0 if self.resumed is None else self.resumed.saved["seconds_since_validation"]
        self.state.last_validation_time = time.monotonic() - waited

    def _end_if_asked_to(self) -> None:
        if self.state.interrupted:
            raise KeyboardInterrupt
        # Before the first batch of a resumed epoch the random streams are not back in place: not a safe point.
        if self.state.preempted and self.state.point == Point.EPOCH_START:
            raise SIGTERMException

    def run_is_over(self) -> bool:
        epochs = self.max_epochs
        if self._steps_reached() or (epochs is not None and 0 <= epochs <= self.state.current_epoch):
            return True
        return self.state.should_stop and self._may_stop()

    def _steps_reached(self) -> bool:
        return 0 <= self.trainer.max_steps <= self.state.global_step

    def _may_stop(self) -> bool:
        """Whether min_epochs and min_steps allow ``should_stop`` to be honoured now."""
        enough_epochs = self.state.current_epoch >= (self.min_epochs or 0)
        return enough_epochs and self.state.global_step >= (self.trainer.min_steps or 0)

    # ------------------------------------------------------------------ one epoch

    def _run_epoch(self) -> None:
        self.data.setup()  # asks for new loaders where reload_dataloaders_every_n_epochs says so
        self.validates = self._validates_in_epoch(self.state.current_epoch)
        goes_on = True
        if self.state.point == Point.EPOCH_START:
            batches = self._start_epoch()
        else:
            batches = self._resume_epoch()
            goes_on = self._finish_batch_of_checkpoint()
        if goes_on:
            try:
                goes_on = self._train_batches(batches)
            except Exception as error:
                self._end_if_workers_died(error)
                raise
        if self.state.batches_done == 0 and goes_on:
            raise MisconfigurationException(
                "Trainer.fit(...): the training loader yielded no batch. HINT: check its dataset, and that an iterable"
                " dataset can be iterated over more than once."
            )
        self._end_epoch(cut_short=not (self.state.is_last_batch or goes_on))

    def _train_batches(self, batches: Iterator[Any]) -> bool:
        """Train on what is left of the epoch; returns whether it could have gone on."""
        state = self.state
        for batch in batches:
            try:
                if not self.train_batch(batch):
                    return False
            except StopIteration:  # training_step(self, dataloader_iter) wanted more than there was
                if not self.by_iterator:
                    raise
                self.inside_batch, state.is_last_batch = False, True
                return False
            if state.preempted or state.interrupted:
                raise SIGTERMException if state.preempted else KeyboardInterrupt
        return True

    def _end_if_workers_died(self, error: Exception) -> None:
        """A signal to the whole process group ends the loader's workers too: that is no failure of the run."""
        state = self.state
        if not state.preempted or self.inside_batch:
            return
        if state.point == Point.BETWEEN_BATCHES:
            raise SIGTERMException from error
        if state.point == Point.EPOCH_START and self.rng_at_epoch_start is not None:
            self.rng_at_epoch_start.restore()
            raise SIGTERMException from error

    def _start_epoch(self) -> Iterator[Any]:
        state = self.state
        state.batches_done = 0
        state.epoch_cut_short = state.is_last_batch = False
        self.data.set_epoch(state.current_epoch)
        self.data.begin_epoch()
        if "on_train_epoch_start" in self.active and not state.epoch_started:
            state.epoch_started = True
            self.hooks.call("on_train_epoch_start")
        state.epoch_started = False
        self.accumulate = self.trainer.accumulate_grad_batches  # a hook may have changed it
        self.rng_at_epoch_start = Streams()
        return self._batches()

    def _batches(self) -> Iterator[Any]:
        """The epoch's batches; of an epoch that was taken up again, those that are left."""
        batches = profiled_items(self.trainer.profiler, "train_dataloader_next", self.data.batches())
        if not self.by_iterator:
            return batches
        return self.data.given_to_step(batches, lambda batch, _: self.reporting.start_train_batch(batch))

    def _resume_epoch(self) -> Iterator[Any]:
        """The batches that are left of an epoch begun in another process.

        The loaders are started with the random states of the epoch's start, so that they shuffle the same way; when
        they are at their place again, the random states of the checkpoint take over.
        """
        self.accumulate = self.trainer.accumulate_grad_batches
        self.data.set_epoch(self.state.current_epoch)
        if self.rng_at_epoch_start is not None:
            self.rng_at_epoch_start.restore()
        batches = self._batches()
        self._locate(self.state.batches_done - 1, self.data.taken)
        self.reporting.inside_batches = True
        self._back_at_the_place()
        return batches

    def _back_at_the_place(self) -> None:
        """The loop is where the checkpoint was written: the random streams and the module go on, so do other files."""
        assert self.resumed is not None
        restore_module(self.trainer, self.resumed.saved)
        set_rng_states(self.resumed.rng)
        for callback in self.trainer.checkpoint_callbacks:
            callback.write_due(self.trainer)

    def _finish_batch_of_checkpoint(self) -> bool:
        """What the batch still needs after which, or in which, the checkpoint was written."""
        self.inside_batch = True
        if self.state.point != Point.BATCH_START:
            goes_on = self._finish_batch()
        else:
            assert self.resumed is not None
            batch, transfer, self.transfer = self.resumed.saved["batch"], self.transfer, None
            self.state.batch_started = batch is not None and batch.get("started", False)
            goes_on = True if batch is None else self.train_batch(batch["value"])
            self.transfer = transfer  # the batch was on the device already
        self.resumed = None
        return goes_on

    def _end_epoch(self, cut_short: bool) -> None:
        self.reporting.end_of_batches()
        self.state.point = Point.EPOCH_END
        self.state.epoch_cut_short = cut_short
        if cut_short:
            self.data.cut_epoch()
        if "on_train_epoch_end" in self.active:
            self.hooks.call("on_train_epoch_end")
        self._close_epoch()

    def _close_epoch(self) -> None:
        """What comes after the on_train_epoch_end hooks."""
        self.reporting.gather()
        if not self.state.epoch_cut_short:
            self._step_schedulers("epoch", plateau=True)
        self.reporting.flush_train_epoch()
        self.state.current_epoch += 1
        self.state.point = Point.EPOCH_START

    # ------------------------------------------------------------------ one batch

    def _train_batch(self, batch: Any) -> bool:
        """Train on one batch; returns whether the epoch goes on after it."""
        state, hooks, active = self.state, self.hooks, self.active
        batch_idx = state.batches_done
        self._locate(batch_idx, self.data.taken + 1)
        self.inside_batch = True
        state.steps_before_batch = state.global_step
        given = batch
        if self.by_iterator:
            batch = given.batch  # the one before: the step has not fetched its own yet
        elif self.transfer is not None:
            given = batch = self.transfer(batch, 0)
        self.reporting.start_train_batch(batch)
        outputs: Any = None
        if given is None:
            warnings.warn("[W110] The training loader yielded None: it is skipped. HINT: check collate_fn.", stacklevel=2)
        else:
            if "on_train_batch_start" in active and not state.batch_started:
                state.batch_started = True
                answer = hooks.call("on_train_batch_start", batch, batch_idx)
                if answer == -1 and self.may_skip_epoch:
                    return self._skip_rest_of_epoch()
            outputs = self.take_step(given, batch_idx)
            if self.by_iterator:
                batch, state.is_last_batch = given.batch, given.done
        state.batches_done = batch_idx + 1
        state.total_batches_done += 1
        if self.schedulers:
            self._step_schedulers_after_batch()
        state.point, state.batch_started = Point.BATCH_END, False
        if "on_train_batch_end" in active:
            hooks.call("on_train_batch_end", outputs, batch, batch_idx)
        return self._finish_batch()

    def _locate(self, batch_idx: int, taken: int) -> None:
        """Note whether ``batch_idx``, after ``taken`` batches, is the epoch's last, and whether the optimizer steps."""
        self.state.is_last_batch = last = self.data.is_last(taken)
        self.stepping = last or (batch_idx + 1) % self.accumulate == 0
        if self.accumulate != 1 and batch_idx % self.accumulate == 0:
            self.window = Window(min(self.accumulate, self.data.max_batches - batch_idx))

    def _skip_rest_of_epoch(self) -> bool:
        self.inside_batch = self.state.batch_started = False
        self.state.is_last_batch = self.stepping = True
        self.state.batches_done += 1
        self.state.total_batches_done += 1
        self._step_schedulers_after_batch()
        return False

    def _finish_batch(self) -> bool:
        """Logging, validation and counters after a batch; returns whether the epoch goes on."""
        state, trainer = self.state, self.trainer
        if state.point == Point.VALIDATING:
            self._validate()
        elif state.point == Point.BATCH_END:
            step = state.batches_that_stepped + 1
            due = step % trainer.log_every_n_steps == 0 if trainer.log_every_n_steps else False
            if self.stepping and (due or state.should_stop or trainer.fast_dev_run):
                self.reporting.flush_step()
            if self.validates and self._validation_is_due():
                self._validate()
        if state.point != Point.BETWEEN_BATCHES:
            if self.schedulers and self.stepping:
                self._step_schedulers("step", plateau=True)
            state.batches_that_stepped += self.stepping
        state.point = Point.BETWEEN_BATCHES
        self.inside_batch = False
        return not (state.is_last_batch or self._steps_reached() or (state.should_stop and self._may_stop()))

    # ------------------------------------------------------------------ the optimizer step

    def _automatic_step(self, batch: Any, batch_idx: int) -> dict[str, Any]:
        self._batch, self._batch_idx = batch, batch_idx
        if self.stepping:
            self.hooks.current = "optimizer_step"
            self.call_optimizer_step(self.state.current_epoch, batch_idx, self.optimizer, self._closure)
            self.hooks.current = None
            self.state.global_step += 1
        else:
            self._closure()
        outputs, self._outputs, self._batch = self._outputs, {}, None
        return outputs

    def _closure(self) -> Tensor | None:
        """training_step, zero_grad, backward: what an optimizer calls before it updates."""
        hooks = self.hooks
        loss = self._training_step()
        if self._batch_idx % self.accumulate == 0:
            if "on_before_zero_grad" in self.active:
                hooks.call("on_before_zero_grad", self.bare_optimizer)
            outer, hooks.current = hooks.current, "optimizer_zero_grad"
            self.call_zero_grad(self.state.current_epoch, self._batch_idx, self.bare_optimizer)
            hooks.current = outer
        if loss is not None:
            self.backward(loss)
        return loss

    def _training_step(self) -> Tensor | None:
        output = self._call_training_step(self._batch, self._batch_idx)
        if output is None:
            warnings.warn("[W111] `training_step` returned None: this batch is skipped. HINT: return the loss.", stacklevel=2)
            return None
        loss, extra = (output, {}) if type(output) is Tensor else loss_and_extra(output)
        if self.trainer.detect_anomaly:
            refuse_nan(loss, self.state, self._batch_idx)
        if self.accumulate != 1:
            loss = self.window.share(loss, extra.get(LOSS_WEIGHT))
        self._outputs = {"loss": loss.detach()}
        if extra:
            self._outputs.update(extra)
        return loss

    def _call_training_step(self, batch: Any, batch_idx: int) -> Any:
        hooks = self.hooks
        outer, hooks.current = hooks.current, "training_step"
        output = self.call_step(batch, batch_idx) if self.with_batch_idx else self.call_step(batch)
        hooks.current = outer
        return output

    def _manual_step(self, batch: Any, batch_idx: int) -> Any:
        return detached(self._call_training_step(batch, batch_idx))

    def backward(self, loss: Tensor, *args: Any, **kwargs: Any) -> None:
        """``loss.backward`` through the module's hook, with the hooks around it."""
        hooks = self.hooks
        if self.scaler is not None:
            loss = self.scaler.scale(loss)
        if "on_before_backward" in self.active:
            hooks.call("on_before_backward", loss)
        outer, hooks.current = hooks.current, "backward"
        self.call_backward(loss, *args, **kwargs)
        hooks.current = outer
        if "on_after_backward" in self.active:
            hooks.call("on_after_backward")

    def before_update(self, optimizer: Any) -> None:
        """What happens between the closure and the optimizer's own update."""
        if self.accumulate != 1:
            self.window.correct([parameter for group in optimizer.param_groups for parameter in group["params"]])
        if "on_before_optimizer_step" in self.active:
            self.hooks.call("on_before_optimizer_step", optimizer)
        if self.clips:
            trainer = self.trainer
            self.hooks.call_on(
                self.module,
                "configure_gradient_clipping",
                optimizer,
                gradient_clip_val=trainer.gradient_clip_val,
                gradient_clip_algorithm=trainer.gradient_clip_algorithm,
            )

    def after_optimizer_step(self) -> None:
        """Count a step that the user took in manual optimization."""
        if not self.automatic:
            self.state.global_step += 1

    # ------------------------------------------------------------------ schedulers

    def _step_schedulers_after_batch(self) -> None:
        if self.stepping:
            self._step_schedulers("step", plateau=False)
        if self.state.is_last_batch:
            self._step_schedulers("epoch", plateau=False)

    def _step_schedulers(self, interval: str, plateau: bool) -> None:
        count = self.state.batches_done if interval == "step" else self.state.current_epoch + 1
        for config in self.schedulers:
            due = config.interval == interval and config.reduce_on_plateau == plateau and count % config.frequency == 0
            if due:
                metric = None
                if plateau:
                    metric = monitored_metric(config, self.trainer.callback_metrics)
                    if metric is None:
                        continue
                self.hooks.call_on(self.module, "lr_scheduler_step", config.scheduler, metric)

    # ------------------------------------------------------------------ validation inside fit

    def _validates_in_epoch(self, epoch: int) -> bool:
        every = self.trainer.check_val_every_n_epoch
        return self.trainer.enable_validation and (every is None or (epoch + 1) % every == 0)

    def _validation_is_due(self) -> bool:
        return (self.state.should_stop and self._may_stop()) or is_due(self.trainer)

    def _validate(self) -> None:
        """Validate, or finish the validation that a checkpoint was written in."""
        state, trainer = self.state, self.trainer
        before = self.reporting.enter(None)
        rng = None
        if state.point == Point.VALIDATING:
            assert self.resumed is not None
            rng, state.point = self.resumed.rng, Point.BATCH_END
        elif self.stepping:
            self.hooks.call_on(self.module, "on_validation_model_zero_grad")
        state.stage = RunningStage.VALIDATING
        start = BeforeValidation(trainer, before) if rng is None else None
        try:
            trainer.val_loop.run(rng)
        except BaseException as error:
            if start is not None:
                start.take_back_unless_kept(error)
            if start is None or not state.preempted:
                raise
            raise SIGTERMException from error
        state.stage = RunningStage.TRAINING
        state.point = Point.VALIDATED
        state.last_validation_time = time.monotonic()
        self.reporting.enter(*before)
