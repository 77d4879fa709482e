"""``configure_optimizers``: every form it may return, and the wrapper that ties optimizers to the loop."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import engine
from callbacks import MisconfigurationException
from engine.optim import Optimizer
from engine.optim.lr_scheduler import LRScheduler, OneCycleLR, ReduceLROnPlateau
from lit.precision import step_scaled

if TYPE_CHECKING:
    from lit.module import LightningModule

FORMS = """one of
 * an optimizer, or a list of optimizers
 * ([optimizers], [schedulers])
 * {"optimizer": optimizer, "lr_scheduler": scheduler or scheduler dict, "monitor": name}, or a list of such dicts
 * None, to train without an optimizer"""


@dataclass
class LRSchedulerConfig:
    """A scheduler, and when to step it: the keys of a scheduler dict."""

    scheduler: Any
    name: str | None = None
    interval: str = "epoch"
    frequency: int = 1
    reduce_on_plateau: bool = False
    monitor: str | None = None
    strict: bool = True


class NoOptimizer(Optimizer):
    """Stands in where ``configure_optimizers`` returned None: the loop runs, nothing is updated."""

    def __init__(self) -> None:
        super().__init__([engine.zeros(1)], {})

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        return None if closure is None else closure()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """There is nothing to clear."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """There is nothing to take back."""


class LightningOptimizer:
    """An optimizer whose ``step`` also runs the loop's hooks; everything else is the optimizer itself.

    It is what ``optimizer_step`` and ``self.optimizers()`` hand out. ``before_update`` runs between the closure and
    the update, ``after_step`` when the step is done.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        before_update: Callable[[Optimizer], None],
        after_step: Callable[[], None],
        toggle: Callable[[Any], Any] | None = None,
        scaler: engine.amp.GradScaler | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._before_update = before_update
        self._after_step = after_step
        self._toggle = toggle
        self._scaler = scaler
        self._closure: Callable[[], Any] | None = None

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer inside."""
        return self._optimizer

    def step(self, closure: Callable[[], Any] | None = None, **kwargs: Any) -> Any:
        """Run ``closure`` (forward and backward), the hooks before the update, and the update.

        Raises:
            MisconfigurationException: ``closure`` is not callable.
        """
        if closure is not None and not callable(closure):
            raise MisconfigurationException(
                f"optimizer.step(closure={closure!r}): expected a function without arguments, got"
                f" {type(closure).__name__}."
            )
        if self._scaler is None:
            self._closure = closure
            result = self._optimizer.step(self._closure_and_hooks, **kwargs)
        else:
            result = step_scaled(self._scaler, self._optimizer, closure, self._before_update, **kwargs)
        self._after_step()
        return result

    def _closure_and_hooks(self) -> Any:
        result = None if self._closure is None else self._closure()
        self._before_update(self._optimizer)
        return result

    @contextmanager
    def toggle_model(self, sync_grad: bool = True) -> Iterator[None]:
        """Freeze the parameters of all other optimizers inside the block (``sync_grad`` is for several processes)."""
        assert self._toggle is not None
        with self._toggle(self):
            yield

    def __getattr__(self, name: str) -> Any:
        if name == "_optimizer":  # a copy that is being made has none yet
            raise AttributeError(name)
        return getattr(self._optimizer, name)

    def __repr__(self) -> str:
        return f"Lightning{self._optimizer!r}"


def configure(module: LightningModule, returned: Any) -> tuple[list[Optimizer], list[LRSchedulerConfig]]:
    """Optimizers and scheduler configurations from whatever ``configure_optimizers`` returned.

    Raises:
        MisconfigurationException: the form is unknown, a scheduler dict is incomplete, or a scheduler belongs to an
            optimizer that was not returned.
        RuntimeError: several optimizers with automatic optimization.
    """
    if returned is None:
        warnings.warn(
            "[W119] `configure_optimizers` returned None: this fit runs without an optimizer and updates nothing."
            " HINT: return an optimizer.",
            stacklevel=2,
        )
        returned = NoOptimizer()
    optimizers, schedulers, monitor = _split(returned)
    if module.automatic_optimization and len(optimizers) > 1:
        raise RuntimeError(
            f"`configure_optimizers` returned {len(optimizers)} optimizers: automatic optimization works with one."
            " HINT: set `self.automatic_optimization = False` and take them from `self.optimizers()` in training_step."
        )
    configs = [_scheduler_config(module, scheduler, monitor) for scheduler in schedulers]
    for config in configs:
        if getattr(config.scheduler, "optimizer", None) not in optimizers:
            raise MisconfigurationException(
                f"The scheduler {type(config.scheduler).__name__} belongs to an optimizer that `configure_optimizers`"
                " did not return."
            )
    return optimizers, configs


def _split(returned: Any) -> tuple[list[Optimizer], list[Any], str | None]:
    if isinstance(returned, Optimizer):
        return [returned], [], None
    if isinstance(returned, Mapping):
        _check_keys(returned)
        return (
            [returned["optimizer"]],
            [returned["lr_scheduler"]] if "lr_scheduler" in returned else [],
            returned.get("monitor"),
        )
    if isinstance(returned, (list, tuple)) and returned:
        if len(returned) == 2 and isinstance(returned[0], list) and _all_optimizers(returned[0]):
            schedulers = returned[1] if isinstance(returned[1], list) else [returned[1]]
            return list(returned[0]), schedulers, None
        if _all_optimizers(returned):
            return list(returned), [], None
        if all(isinstance(item, Mapping) for item in returned):
            for item in returned:
                _check_keys(item)
            schedulers = [
                _with_monitor(item["lr_scheduler"], item.get("monitor")) for item in returned if "lr_scheduler" in item
            ]
            return [item["optimizer"] for item in returned], schedulers, None
    raise MisconfigurationException(f"`configure_optimizers` returned {returned!r}; expected {FORMS}")


def _all_optimizers(items: Any) -> bool:
    return all(isinstance(item, Optimizer) for item in items)


def _with_monitor(scheduler: Any, monitor: str | None) -> dict[str, Any]:
    config = dict(scheduler) if isinstance(scheduler, Mapping) else {"scheduler": scheduler}
    if monitor is not None:
        config.setdefault("monitor", monitor)
    return config


def _check_keys(returned: Mapping[str, Any]) -> None:
    if not isinstance(returned.get("optimizer"), Optimizer):
        raise MisconfigurationException(
            f"`configure_optimizers` returned a dict with the keys {list(returned)}; expected an optimizer under"
            " 'optimizer'."
        )
    extra = set(returned) - {"optimizer", "lr_scheduler", "monitor"}
    if extra:
        warnings.warn(
            f"[W120] `configure_optimizers` returned a dict with unknown keys {sorted(extra)}, which are ignored."
            " HINT: the known ones are 'optimizer', 'lr_scheduler' and 'monitor'.",
            RuntimeWarning,
            stacklevel=2,
        )


def _scheduler_config(module: LightningModule, scheduler: Any, monitor: str | None) -> LRSchedulerConfig:
    given = _with_monitor(scheduler, None)
    known = {field.name for field in fields(LRSchedulerConfig)}
    extra = set(given) - known
    if extra:
        warnings.warn(
            f"[W121] The lr scheduler dict has unknown keys {sorted(extra)}, which are ignored. HINT: remove them.",
            RuntimeWarning,
            stacklevel=2,
        )
    given = {key: value for key, value in given.items() if key in known}
    if "scheduler" not in given:
        raise MisconfigurationException("The lr scheduler dict must have the key 'scheduler' with the scheduler in it.")
    plateau = isinstance(given["scheduler"], ReduceLROnPlateau)
    given.setdefault("reduce_on_plateau", plateau)
    if plateau and given.get("monitor") is None:
        given["monitor"] = monitor
    config = LRSchedulerConfig(**given)
    _check_scheduler(module, config)
    return config


def _check_scheduler(module: LightningModule, config: LRSchedulerConfig) -> None:
    from lit.hooks import is_overridden
    from lit.module import LightningModule

    name = type(config.scheduler).__name__
    if config.interval not in ("step", "epoch"):
        raise MisconfigurationException(
            f"The 'interval' of the lr scheduler dict must be 'step' or 'epoch', got {config.interval!r}."
        )
    if not isinstance(config.frequency, int) or config.frequency < 1:
        raise MisconfigurationException(
            f"The 'frequency' of the lr scheduler dict must be a positive integer, got {config.frequency!r}."
        )
    if not (hasattr(config.scheduler, "state_dict") and hasattr(config.scheduler, "load_state_dict")):
        raise TypeError(f"The lr scheduler `{name}` must have the methods `state_dict` and `load_state_dict`.")
    if not module.automatic_optimization:
        return
    if config.reduce_on_plateau and config.monitor is None:
        raise MisconfigurationException(
            f"The lr scheduler {name} needs a metric to monitor. HINT: return"
            ' {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": "val_loss"}}.'
        )
    known_api = isinstance(config.scheduler, (LRScheduler, ReduceLROnPlateau))
    if not known_api and not is_overridden("lr_scheduler_step", module, LightningModule):
        raise MisconfigurationException(
            f"The lr scheduler `{name}` is not one of engine.optim.lr_scheduler."
            " HINT: override `lr_scheduler_step(self, scheduler, metric)` to say how it steps."
        )
    if isinstance(config.scheduler, OneCycleLR) and config.interval == "epoch":
        warnings.warn(
            "[W122] OneCycleLR is stepped once per epoch here. HINT: it is usually meant for"
            ' {"scheduler": scheduler, "interval": "step"}.',
            RuntimeWarning,
            stacklevel=2,
        )


def monitored_metric(config: LRSchedulerConfig, metrics: Mapping[str, Any]) -> Any:
    """The value that a plateau scheduler looks at; None, with a warning, where a scheduler that is not strict has none.

    Raises:
        MisconfigurationException: it was not logged.
    """
    if config.monitor is not None and config.monitor in metrics:
        return metrics[config.monitor]
    message = (
        f"The scheduler {type(config.scheduler).__name__} monitors {config.monitor!r}, which was not logged."
        f" Logged so far: {', '.join(map(repr, metrics)) or 'nothing'}. HINT: self.log({config.monitor!r}, ...), or"
        " set 'monitor' in the lr scheduler dict."
    )
    if config.strict:
        raise MisconfigurationException(message)
    warnings.warn(f"[W112] {message} The scheduler is not stepped this time.", RuntimeWarning, stacklevel=2)
    return None
