"""Every hook in one table, and the dispatcher that calls the ones somebody listens to.

The table below is the contract: names, receivers, arguments and what ``self.log`` may do in each hook.
``docs/hooks.md`` is generated from it and from a recorded run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

from callbacks import Callback
from lit.datamodule import LightningDataModule
from lit.module import LightningModule
from lit.profilers.base import PassThroughProfiler, Profiler, action_of, profiled

if TYPE_CHECKING:
    from lit.trainer import Trainer

Listener = Callable[..., Any]


@dataclass(frozen=True)
class LogRule:
    """What ``self.log`` does in a hook: the defaults, and whether the other value is refused."""

    on_step: bool
    on_epoch: bool
    forced: bool = False


PER_STEP = LogRule(on_step=True, on_epoch=False)
PER_EPOCH = LogRule(on_step=False, on_epoch=True)
EPOCH_ONLY = LogRule(on_step=False, on_epoch=True, forced=True)


@dataclass(frozen=True)
class Hook:
    """One row: who receives the hook (C callback, M module, D datamodule, in calling order) and with what."""

    name: str
    receivers: str
    arguments: str = ""  # as the module receives them; a callback gets (trainer, pl_module) before them
    log: LogRule | None = None  # None: self.log is refused


def _batch_hooks(stage: str, log: LogRule | None) -> list[Hook]:
    batch = "batch, batch_idx" if stage == "train" else "batch, batch_idx, dataloader_idx=0"
    return [
        Hook(f"on_{stage}_batch_start", "CM", batch, log),
        Hook(f"on_{stage}_batch_end", "CM", f"outputs, {batch}", log),
    ]


def _evaluation_hooks(stage: str, log: LogRule | None, edge: LogRule | None) -> list[Hook]:
    step = "validation_step" if stage == "validation" else f"{stage}_step"
    return [
        Hook(f"on_{stage}_model_eval", "M"),
        Hook(f"on_{stage}_start", "CM", log=edge),
        Hook(f"on_{stage}_epoch_start", "CM", log=edge),
        *_batch_hooks(stage, log),
        Hook(step, "M", "batch, batch_idx, dataloader_idx=0", log),
        Hook(f"on_{stage}_epoch_end", "CM", log=edge),
        Hook(f"on_{stage}_end", "CM"),
        *([] if stage == "predict" else [Hook(f"on_{stage}_model_train", "M")]),
    ]


HOOKS: tuple[Hook, ...] = (
    # ---- a run begins
    Hook("configure_callbacks", "M"),
    Hook("prepare_data", "DM"),
    Hook("setup", "DCM", "stage"),
    Hook("configure_model", "M"),
    Hook("on_load_checkpoint", "MC", "checkpoint"),
    Hook("load_state_dict", "DC", "state_dict"),
    Hook("configure_optimizers", "M"),
    Hook("on_fit_start", "CM"),
    Hook("on_sanity_check_start", "C"),
    Hook("on_sanity_check_end", "C"),
    # ---- data
    Hook("train_dataloader", "DM"),
    Hook("val_dataloader", "DM"),
    Hook("test_dataloader", "DM"),
    Hook("predict_dataloader", "DM"),
    Hook("on_before_batch_transfer", "DM", "batch, dataloader_idx"),
    Hook("transfer_batch_to_device", "DM", "batch, device, dataloader_idx"),
    Hook("on_after_batch_transfer", "DM", "batch, dataloader_idx"),
    # ---- training
    Hook("on_train_start", "CM", log=EPOCH_ONLY),
    Hook("on_train_epoch_start", "CM", log=EPOCH_ONLY),
    *_batch_hooks("train", PER_STEP),
    Hook("optimizer_step", "M", "epoch, batch_idx, optimizer, optimizer_closure", PER_STEP),
    Hook("training_step", "M", "batch, batch_idx", PER_STEP),
    Hook("on_before_zero_grad", "CM", "optimizer", PER_STEP),
    Hook("optimizer_zero_grad", "M", "epoch, batch_idx, optimizer"),
    Hook("on_before_backward", "CM", "loss", PER_STEP),
    Hook("backward", "M", "loss", PER_STEP),
    Hook("on_after_backward", "CM", log=PER_STEP),
    Hook("on_before_optimizer_step", "CM", "optimizer", PER_STEP),
    Hook(
        "configure_gradient_clipping",
        "M",
        "optimizer, gradient_clip_val=None, gradient_clip_algorithm=None",
        PER_STEP,
    ),
    Hook("lr_scheduler_step", "M", "scheduler, metric"),
    Hook("on_validation_model_zero_grad", "M"),
    Hook("on_train_epoch_end", "CM", log=EPOCH_ONLY),
    Hook("on_train_end", "CM"),
    # ---- evaluation
    *_evaluation_hooks("validation", PER_EPOCH, EPOCH_ONLY),
    *_evaluation_hooks("test", PER_EPOCH, EPOCH_ONLY),
    *_evaluation_hooks("predict", None, None),
    # ---- checkpoints
    Hook("state_dict", "CD"),
    Hook("on_save_checkpoint", "CM", "checkpoint"),
    # ---- a run ends
    Hook("on_fit_end", "CM"),
    Hook("teardown", "DCM", "stage"),
    Hook("on_exception", "CD", "exception"),
)

HOOKS_BY_NAME: dict[str, Hook] = {hook.name: hook for hook in HOOKS}


def is_overridden(name: str, receiver: object, base: type) -> bool:
    """Whether ``receiver`` has its own ``name`` and not the one it inherits from ``base``.

    Example:
        >>> from lit.hooks import is_overridden
        >>> class Greeter(pl.Callback):
        ...     def on_fit_start(self, trainer, pl_module): ...
        >>> is_overridden("on_fit_start", Greeter(), pl.Callback), is_overridden("on_fit_end", Greeter(), pl.Callback)
        (True, False)
    """
    method = getattr(receiver, name, None)
    return method is not None and getattr(method, "__func__", method) is not getattr(base, name, None)


def order_callbacks(callbacks: Iterable[Callback]) -> list[Callback]:
    """Callbacks that declare ``runs_first`` to the front, ``runs_last`` to the back; otherwise the order is kept."""
    return sorted(callbacks, key=lambda callback: callback.runs_last - callback.runs_first)


def receivers_of(
    hook: Hook, module: LightningModule | None, datamodule: LightningDataModule | None, callbacks: list[Callback]
) -> list[object]:
    """Who overrides ``hook``, in calling order."""
    groups: dict[str, tuple[list[Any], type]] = {
        "C": (callbacks, Callback),
        "M": ([module], LightningModule),
        "D": ([datamodule], LightningDataModule),
    }
    receivers: list[object] = []
    for letter in hook.receivers:
        objects, base = groups[letter]
        receivers += [obj for obj in objects if obj is not None and is_overridden(hook.name, obj, base)]
    if hook.name == "on_train_epoch_end":
        # Monitoring callbacks come after the module, otherwise they could not see what it logs in the same hook.
        receivers.sort(key=lambda receiver: isinstance(receiver, Callback) and receiver.monitoring)
    return receivers


class Dispatcher:
    """The calls of one run: for each hook, the bound methods that are actually overridden.

    ``current`` is the name of the hook that runs now (``self.log`` takes its defaults from it);
    ``active`` holds the names somebody listens to, so that the loop can skip a hook without calling anything.
    """

    def __init__(self) -> None:
        self.current: str | None = None
        self.active: frozenset[str] = frozenset()
        self._listeners: dict[str, tuple[Listener, ...]] = {}
        self._profiler: Profiler = PassThroughProfiler()
        self._afterwards: list[Callable[[], None]] = []

    def collect(
        self,
        trainer: Trainer,
        module: LightningModule,
        datamodule: LightningDataModule | None,
        callbacks: list[Callback],
    ) -> None:
        """Look once at every receiver of every hook and keep the methods it overrides."""
        self._listeners = {}
        self._afterwards = []
        self._profiler = trainer.profiler
        for hook in HOOKS:
            methods = []
            for receiver in receivers_of(hook, module, datamodule, callbacks):
                method = getattr(receiver, hook.name)
                # functools.partial is C code: binding the leading arguments now costs no Python call per step.
                bound = partial(method, trainer, module) if isinstance(receiver, Callback) else method
                methods.append(profiled(self._profiler, action_of(receiver, hook.name), bound))
            self._listeners[hook.name] = tuple(methods)
        self.active = frozenset(name for name, methods in self._listeners.items() if methods)

    def call(self, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call every listener of ``name`` in order; returns what the last one (the module's, usually) returned."""
        outer, self.current = self.current, name
        result = None
        for listener in self._listeners[name]:
            result = listener(*args, **kwargs)
        self.current = outer
        if self._afterwards:
            self._run_afterwards()
        return result

    def afterwards(self, function: Callable[[], None]) -> None:
        """Run ``function`` when every listener of the hook at hand is done, the module's too.

        A checkpoint written then holds all that the hook has changed, so a run that goes on from it repeats none of it.
        """
        self._afterwards.append(function)

    def _run_afterwards(self) -> None:
        functions, self._afterwards = self._afterwards, []
        for function in functions:
            function()

    def call_on(self, receiver: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        """Call hook ``name`` of one receiver, overridden or not: its default does work, or its result is needed."""
        outer, self.current = self.current, name
        method = getattr(receiver, name)
        if not isinstance(self._profiler, PassThroughProfiler):
            method = profiled(self._profiler, action_of(receiver, name), method)
        result = method(*args, **kwargs)
        self.current = outer
        return result

    def profiled(self, receiver: Any, name: str) -> Listener:
        """The method ``name`` of ``receiver``, for a loop that calls it itself; measured if there is a profiler."""
        return profiled(self._profiler, action_of(receiver, name), getattr(receiver, name))

    def listeners(self, name: str) -> tuple[Listener, ...]:
        """The collected methods of one hook, in calling order."""
        return self._listeners[name]


def describe_run(
    module: LightningModule | None, datamodule: LightningDataModule | None, callbacks: list[Callback]
) -> str:
    """One line per hook with a listener: its name and who runs, in order. What ``Trainer.print_hooks`` prints."""
    lines = []
    for hook in HOOKS:
        names = [type(receiver).__name__ for receiver in receivers_of(hook, module, datamodule, callbacks)]
        if names:
            lines.append(f"{hook.name:<32} {' -> '.join(names)}")
    return "\n".join(lines)
