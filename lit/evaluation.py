"""The loops without gradients: what they share, and validation and test (prediction is in prediction.py)."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from lit.combined_loader import CombinedLoader, Pass, state_between_epochs
from lit.dataloader_iter import DataLoaderIter, takes_iterator
from lit.device import batch_transfer
from lit.hooks import is_overridden
from lit.loaders import EvaluationData, accepts_batch_idx, set_sampler_epoch
from lit.module import LightningModule
from lit.preemption import SIGTERMException
from lit.profilers.base import profiled_items
from lit.rng import set_rng_states
from lit.state import Point, TrainerFn

if TYPE_CHECKING:
    from lit.trainer import Trainer


AROUND = ("start", "epoch_start", "epoch_end")  # moments of hooks: two before the first batch, one after the last


class ModelMode:
    """The train/eval flag of every submodule, to put back after evaluation."""

    def __init__(self, module: LightningModule) -> None:
        self._modes = [(name, submodule, submodule.training) for name, submodule in module.named_modules()]

    def by_name(self) -> dict[str, bool]:
        return {name: training for name, _, training in self._modes}

    def restore(self) -> None:
        for _, submodule, training in self._modes:
            submodule.training = training


class BatchLoop:
    """What evaluation and prediction share: loaders, hook names, and the walk over all batches."""

    def __init__(self, trainer: Trainer, kind: str, word: str, step: str) -> None:
        self.trainer = trainer
        self.hooks = trainer.hooks
        self.word = word  # as in on_<word>_batch_start
        self.step = step
        self.data = EvaluationData(trainer, kind)
        self._walk: Pass | CombinedLoader | None = None
        self._unfinished: list[Any] | None = None  # the batch whose step is not done, with its indices
        self._resumed_walk: Iterator[tuple[Any, int, int]] | None = None
        self.modes_before: dict[str, bool] = {}  # the train/eval flags outside of this loop

    def setup_data_once(self) -> None:
        """Ask for loaders unless they are here and fresh."""
        if self.data.is_stale():
            self.data.setup()

    def limits(self) -> list[int | float]:
        """Batches to take from each loader."""
        return self.data.max_batches

    def call(self, moment: str, *args: Any) -> None:
        """Call ``on_<word>_<moment>`` if somebody listens."""
        name = f"on_{self.word}_{moment}"
        if name in self.hooks.active:
            self.hooks.call(name, *args)

    def _grad_mode(self) -> Any:
        return engine.inference_mode() if self.trainer.inference_mode else engine.no_grad()

    def _prepare(self) -> None:
        module = self.trainer.lightning_module
        self._unfinished = None
        step = getattr(module, self.step)
        assert self.data.loaders is not None
        sequential = self.data.loaders.mode == "sequential"
        self.many = sequential and len(self.data.max_batches) > 1
        parameters = inspect.signature(step).parameters
        variadic = any(p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters.values())
        if self.many and not {"dataloader_idx", "dataloader_iter"} & set(parameters) and not variadic:
            raise RuntimeError(
                f"There are {len(self.data.max_batches)} {self.word} loaders, but `{self.step}` has no argument"
                f" `dataloader_idx`. HINT: def {self.step}(self, batch, batch_idx, dataloader_idx=0)."
            )
        self.with_batch_idx = accepts_batch_idx(step)
        self.by_iterator = takes_iterator(step)
        self.transfer = None if self.by_iterator else batch_transfer(self.trainer)

    def _bound_step(self) -> Callable[..., Any]:
        return self.trainer.precision_plugin.around(self.hooks.profiled(self.trainer.lightning_module, self.step))

    def _enter_eval_mode(self) -> ModelMode:
        module = self.trainer.lightning_module
        mode = ModelMode(module)
        self.modes_before = mode.by_name()
        self.hooks.call_on(module, f"on_{self.word}_model_eval")
        return mode

    def _leave_eval_mode(self, mode: ModelMode) -> None:
        """Put the modes back, unless ``on_<word>_model_train`` is overridden (there is none for prediction)."""
        module, name = self.trainer.lightning_module, f"on_{self.word}_model_train"
        if is_overridden(name, module, LightningModule):
            self.hooks.call_on(module, name)
        else:
            mode.restore()

    def _batches(self) -> Iterator[tuple[Any, int, int]]:
        """(batch, batch_idx, dataloader_idx), moved to the device; of a walk taken up again, those that are left."""
        found = self._start_walk()
        for batch, batch_idx, dataloader_idx in found:
            if self.transfer is not None:
                batch = self.transfer(batch, dataloader_idx)
            yield batch, batch_idx, dataloader_idx

    def _start_walk(self) -> Iterator[tuple[Any, int, int]]:
        loaders = self.data.loaders
        assert loaders is not None
        if self._resumed_walk is not None:
            walk, self._resumed_walk = self._resumed_walk, None
            return walk
        if loaders.mode == "sequential":
            return self._one_after_the_other(loaders.flattened)
        loaders.limits = self.limits()
        self._walk = loaders
        return iter(loaders)

    def _measured_batches(self) -> Iterator[tuple[Any, int, int]]:
        return profiled_items(self.trainer.profiler, f"{self.word}_dataloader_next", self._batches())

    def _one_after_the_other(
        self, loaders: list[Any], first: int = 0, walk: Pass | None = None
    ) -> Iterator[tuple[Any, int, int]]:
        for dataloader_idx, (loader, limit) in enumerate(zip(loaders, self.limits(), strict=True)):
            if dataloader_idx < first or not limit:
                continue
            self._walk = current = walk or Pass(loader, limit)
            walk = None
            for batch in current:
                yield batch, current.count - 1, dataloader_idx
            if not current.count:
                raise MisconfigurationException(
                    f"`{self.data.source.hook}`: loader {dataloader_idx} yielded no batch. HINT: check its dataset."
                )

    def begin_batch(self, batch: Any, dataloader_idx: int) -> None:
        """A batch has been taken from its loader."""

    def _outputs(self) -> Iterator[tuple[Any, int]]:
        """Run the step and the hooks around it on every batch; yields what the step returned, and the loader's index."""
        hooks, state = self.hooks, self.trainer.state
        step = self._bound_step()
        starts, ends = (f"on_{self.word}_batch_{moment}" in hooks.active for moment in ("start", "end"))
        if self.by_iterator:
            yield from self._outputs_by_iterator(step)
            return
        begun = self._unfinished  # by the run that goes on
        for batch, batch_idx, dataloader_idx in chain([] if begun is None else [begun], self._measured_batches()):
            self.begin_batch(batch, dataloader_idx)
            hook_args, step_args = self._step_args(batch, batch_idx, dataloader_idx)
            self._unfinished = [batch, batch_idx, dataloader_idx]
            if starts and begun is None:
                hooks.call(f"on_{self.word}_batch_start", *hook_args)
            begun = None
            hooks.current = self.step
            outputs = step(*step_args)
            hooks.current = self._unfinished = None
            if ends:
                hooks.call(f"on_{self.word}_batch_end", outputs, *hook_args)
            yield outputs, dataloader_idx
            if state.preempted:
                raise SIGTERMException

    def _outputs_by_iterator(self, step: Callable[..., Any]) -> Iterator[tuple[Any, int]]:
        """The same where the step fetches its batches itself: the hooks before it see the batch before."""
        total = sum(self.limits())
        source = DataLoaderIter(self._measured_batches(), lambda fetched: fetched >= total, self.begin_batch)
        for _ in source.until_done():
            self.call("batch_start", *self._step_args(source.batch, source.batch_idx, source.dataloader_idx)[0])
            self.hooks.current = self.step
            try:
                outputs = step(source)
            except StopIteration:  # the step wanted more than there was
                return
            self.hooks.current = None
            self.call("batch_end", outputs, *self._step_args(source.batch, source.batch_idx, source.dataloader_idx)[0])
            yield outputs, source.dataloader_idx
            if self.trainer.state.preempted:
                raise SIGTERMException

    def _step_args(self, batch: Any, batch_idx: int, dataloader_idx: int) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Arguments of the hooks, and those of the step, which may do without ``batch_idx``."""
        hook_args = (batch, batch_idx, dataloader_idx) if self.many else (batch, batch_idx)
        return hook_args, hook_args if self.with_batch_idx else (batch,)


class EvaluationLoop(BatchLoop):
    """One pass over the validation or test loaders."""

    def __init__(self, trainer: Trainer, kind: str, word: str, verbose: bool = False) -> None:
        super().__init__(trainer, kind, word, f"{word}_step")
        self.verbose = verbose
        # x-axis of values logged per batch; runs on over all validations
        self._step_of_loader: Counter[int] = Counter()
        self._logged: list[dict[str, Any]] = []  # by the loaders that are finished
        self._dataloader_idx = 0
        self._flush_due = False  # the batch at hand has not gone to the loggers yet
        self._saved_walk: dict[str, Any] | None = None
        self._called = 0  # how many of the hooks AROUND the batches a checkpoint has behind it

    def limits(self) -> list[int | float]:
        if self.trainer.sanity_checking:
            return [min(self.trainer.num_sanity_val_steps, count) for count in self.data.max_batches]
        return self.data.max_batches

    def run(self, resumed: dict[str, Any] | None = None) -> list[dict[str, float]]:
        """Evaluate all loaders; returns the logged metrics of each. ``resumed`` is the state of random streams with
        which an evaluation goes on that another process had begun."""
        if self.trainer.state.fn == TrainerFn.FITTING:
            self.setup_data_once()
        else:
            self.data.setup()
            self._step_of_loader.clear()
        if not any(self.limits()):
            return []
        with self._grad_mode():
            return self._run(resumed)

    def _run(self, resumed: dict[str, Any] | None) -> list[dict[str, float]]:
        trainer, reporting = self.trainer, self.trainer.reporting
        self._prepare()
        assert self.data.loaders is not None
        for loader in self.data.loaders.flattened:
            set_sampler_epoch(loader, trainer.current_epoch)
        reporting.enter(reporting.evaluation)
        mode = self._enter_eval_mode()
        try:
            if resumed is None:
                self._logged, self._dataloader_idx = [], 0
                self._walk = None
                self._call_first_hooks(0)
            else:
                self._go_on(resumed)
            logged = self._run_epoch()
        except BaseException:
            mode.restore()
            raise
        self._leave_eval_mode(mode)
        if self.verbose:
            print_results(logged, self.word)
        return logged

    def _call_first_hooks(self, called: int) -> None:
        """The hooks before the first batch, but for those that were ``called`` before a checkpoint was written."""
        for self._called in range(called + 1, len(AROUND)):  # a checkpoint that a hook writes counts it as called
            self.call(AROUND[self._called - 1])

    def _go_on(self, rng: dict[str, Any]) -> None:
        """Take up the walk that a checkpoint was written in."""
        assert self._saved_walk is not None and self.data.loaders is not None
        walk, self._saved_walk = self._saved_walk, None
        loaders = self.data.loaders
        self._logged, self._dataloader_idx = list(walk["logged"]), int(walk["dataloader_idx"])
        self._called = walk.get("called", 2)
        if walk["place"] is None or self._called == len(AROUND):  # before the first batch, or after the last
            set_rng_states(rng)
            self._walk = None
            self._call_first_hooks(self._called)
            return
        self.trainer.reporting.start_evaluation_batch(None, self._dataloader_idx if self.many else None)
        if loaders.mode == "sequential":
            first = self._dataloader_idx
            current = Pass(loaders.flattened[first], self.limits()[first])
            current.load_state_dict(walk["place"])
            self._resumed_walk = self._one_after_the_other(loaders.flattened, first, current)
        else:
            loaders.limits = self.limits()
            loaders.load_state_dict(walk["place"])
            self._walk, self._resumed_walk = loaders, iter(loaders)
        set_rng_states(rng)
        self._unfinished = walk.get("batch")
        if walk["flush_due"] and self._unfinished is None:  # the checkpoint was written in on_validation_batch_end
            self._flush_step(self._dataloader_idx)

    def steps_of_loaders(self) -> list[list[int]]:
        return [[index, count] for index, count in self._step_of_loader.items()]

    def set_steps_of_loaders(self, steps: list[list[int]]) -> None:
        self._step_of_loader = Counter({step[0]: step[1] for step in steps})

    def state_dict(self, inside: bool) -> dict[str, Any]:
        """The loaders, the counters, and with ``inside`` the place in the evaluation that is under way."""
        loaders = self.data.loaders
        walk = None
        if inside:
            walk = {
                "dataloader_idx": self._dataloader_idx,
                "place": None if self._walk is None else self._walk.state_dict(),
                "called": self._called,
                "batch": self._unfinished,
                "logged": self._logged,
                "flush_due": self._flush_due,
            }
        return {
            "loaders": None if loaders is None else [state_between_epochs(leaf) for leaf in loaders.flattened],
            "loaded_in_epoch": self.data.loaded_in_epoch,
            "steps": self.steps_of_loaders(),
            "walk": walk,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned, the loaders' part when they are there."""
        self.set_steps_of_loaders(state["steps"])
        self._saved_walk = state["walk"]
        self.data.load_state_dict(state)

    def _run_epoch(self) -> list[dict[str, float]]:
        trainer, reporting = self.trainer, self.trainer.reporting
        if self._called < len(AROUND):
            self._run_batches()
            self._called = len(AROUND)
            self.call(AROUND[-1])
        logged, at_the_end = self._logged, reporting.gather()
        for metrics in logged:
            metrics.update(at_the_end)
        if not trainer.sanity_checking:
            reporting.log_metrics({name: value for metrics in reversed(logged) for name, value in metrics.items()})
            if trainer.state.fn == TrainerFn.FITTING:
                trainer.state.point = Point.VALIDATED  # a checkpoint written in on_validation_end has seen it all
        self.call("end")
        reporting.gather()
        reporting.leave_evaluation()
        return logged

    def _run_batches(self) -> None:
        """All batches of all loaders; keeps what was logged for each loader."""
        reporting = self.trainer.reporting
        for _, dataloader_idx in self._outputs():
            self._flush_step(dataloader_idx)
        reporting.end_of_batches()
        self._logged.append(reporting.gather())
        reporting.evaluation.start_batch(None)

    def begin_batch(self, batch: Any, dataloader_idx: int) -> None:
        """What is logged from here on belongs to this batch, and perhaps to the next loader."""
        reporting = self.trainer.reporting
        if dataloader_idx != self._dataloader_idx:
            reporting.end_of_batches()
            self._logged.append(reporting.gather())
            self._dataloader_idx = dataloader_idx
        reporting.start_evaluation_batch(batch, dataloader_idx if self.many else None)
        self._flush_due = True

    def _flush_step(self, dataloader_idx: int) -> None:
        if not self.trainer.sanity_checking:
            self.trainer.reporting.flush_evaluation_step(self._step_of_loader[dataloader_idx])
            self._step_of_loader[dataloader_idx] += 1
        self._flush_due = False


def print_results(logged: list[dict[str, float]], word: str) -> None:
    """Print the metrics of an evaluation as a small table.

    Example:
        >>> from lit.evaluation import print_results
        >>> print_results([{"test_acc": 0.975, "test_loss": 0.08125}], "test")
        test metric  value
        test_acc     0.975
        test_loss    0.08125
    """
    rows = {name: value for metrics in logged for name, value in metrics.items()}
    if not rows:
        return
    head = f"{word} metric"
    width = max(len(name) for name in (head, *rows)) + 2
    print(f"{head:<{width}}value")
    for name in sorted(rows):
        value = rows[name]
        print(f"{name:<{width}}{value:.6g}" if isinstance(value, float) else f"{name:<{width}}{value}")
