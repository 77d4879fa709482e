"""The store behind ``self.log``: one entry per logged value, reduced over an epoch in float64.

Values on the CPU are read at once (reading a float is cheaper than keeping a tensor); values on a device are kept
there and read back together, when a logger, the bar or an epoch mean needs them. Integers stay integers.
"""

from __future__ import annotations

import math
import numbers
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import engine
from callbacks import MisconfigurationException
from engine import Tensor
from lit.hooks import HOOKS_BY_NAME, LogRule
from lit.metric_state import is_metric

REDUCTIONS = ("mean", "sum", "min", "max")
PENDING_LIMIT = 256  # device values kept per entry before they are read back, so that memory stays flat


def reduction_name(reduce_fx: str | Callable[..., Any]) -> str:
    """``"mean"``, ``"sum"``, ``"min"`` or ``"max"`` from a name or a function of that name.

    Example:
        >>> from lit.results import reduction_name
        >>> reduction_name("avg"), reduction_name(max), reduction_name(torch.sum)
        ('mean', 'max', 'sum')
    """
    name = reduce_fx.lower() if isinstance(reduce_fx, str) else getattr(reduce_fx, "__name__", repr(reduce_fx))
    name = "mean" if name == "avg" else name
    if name not in REDUCTIONS:
        raise MisconfigurationException(
            f"self.log(..., reduce_fx={reduce_fx!r}): expected one of {', '.join(REDUCTIONS)}."
            " HINT: for another reduction collect the values yourself and log the result in the epoch-end hook."
        )
    return name


def log_levels(hook: str | None, name: str, on_step: bool | None, on_epoch: bool | None) -> tuple[bool, bool]:
    """Fill in and check ``on_step`` and ``on_epoch`` of ``self.log(name, ...)`` called inside ``hook``."""
    rule: LogRule | None = HOOKS_BY_NAME[hook].log if hook in HOOKS_BY_NAME else None
    if rule is None:
        where = f"in `{hook}`" if hook else "outside the hooks that the Trainer runs"
        raise MisconfigurationException(
            f"self.log({name!r}, ...) was called {where}, where nothing can be logged."
            " HINT: log in training_step, validation_step, test_step or one of their batch and epoch hooks."
        )
    for argument, value, default in (("on_step", on_step, rule.on_step), ("on_epoch", on_epoch, rule.on_epoch)):
        if rule.forced and value is not None and value is not default:
            raise MisconfigurationException(
                f"self.log({name!r}, {argument}={value}) was called in `{hook}`, which only allows {default}."
                f" HINT: leave {argument} out."
            )
    on_step = rule.on_step if on_step is None else on_step
    on_epoch = rule.on_epoch if on_epoch is None else on_epoch
    if not on_step and not on_epoch:
        raise MisconfigurationException(
            f"self.log({name!r}, on_step=False, on_epoch=False) would log nothing. HINT: set one of them to True."
        )
    return on_step, on_epoch


def read_back(tensors: list[Tensor]) -> list[float | int]:
    """The values of many one-element tensors, with one transfer per dtype and device.

    Example:
        >>> from lit.results import read_back
        >>> read_back([torch.tensor(1.5), torch.tensor(7), torch.tensor([2.5])])
        [1.5, 7, 2.5]
    """
    groups: dict[Any, list[int]] = {}
    for index, tensor in enumerate(tensors):
        groups.setdefault((tensor.dtype, tensor.device), []).append(index)
    values: list[float | int] = [0.0] * len(tensors)
    for indices in groups.values():
        stacked = engine.stack([tensors[index].reshape(()) for index in indices]).tolist()
        for index, value in zip(indices, stacked, strict=True):
            values[index] = value
    return values


def batch_sizes(batch: Any) -> Iterator[int]:
    """The leading sizes of all tensors and arrays inside ``batch``."""
    shape = getattr(batch, "shape", None)
    if shape is not None:
        yield shape[0] if len(shape) else 1
    elif isinstance(batch, str):
        yield len(batch)
    elif isinstance(batch, Mapping):
        for value in batch.values():
            yield from batch_sizes(value)
    elif isinstance(batch, Iterable):
        for value in batch:
            yield from batch_sizes(value)
    elif hasattr(batch, "__dict__"):
        for value in vars(batch).values():
            yield from batch_sizes(value)
    else:
        yield 1


class Entry:
    """One logged value: how it was asked for, its latest value and what its epoch has gathered so far."""

    __slots__ = (
        "arguments", "dataloader_idx", "epoch_key", "fresh", "key", "logger", "metric", "needs_batch_size", "on_epoch",
        "on_step", "pending", "prog_bar", "reduction", "step_key", "step_value", "total", "weight",
    )  # fmt: skip

    def __init__(
        self,
        name: str,
        arguments: tuple[Any, ...],
        levels: tuple[bool, bool],
        reduction: str,
        dataloader_idx: int | None,
    ) -> None:
        self.arguments = arguments
        self.prog_bar, self.logger = arguments[0], arguments[1] is not False
        self.on_step, self.on_epoch = levels
        self.reduction = reduction
        self.dataloader_idx = dataloader_idx
        self.needs_batch_size = self.on_epoch and reduction == "mean"
        suffix = "" if dataloader_idx is None else f"/dataloader_idx_{dataloader_idx}"
        forked = self.on_step and self.on_epoch
        self.key = name + suffix
        self.step_key = f"{name}_step{suffix}" if forked else self.key
        self.epoch_key = f"{name}_epoch{suffix}" if forked else self.key
        self.metric: Any = None  # a Metric does its own gathering
        self.reset()

    def request(self) -> tuple[Any, ...]:
        """What was asked for, however it was written."""
        return self.key, self.prog_bar, self.logger, self.on_step, self.on_epoch, self.reduction

    def reset(self) -> None:
        """Forget the values, keep the request."""
        if self.metric is not None:
            self.metric.reset()
            self.metric = None
        self.step_value: Any = None
        self.total: float | int | None = None
        self.weight: float | int = 0
        self.pending: list[tuple[Tensor, float | int]] = []
        self.fresh = False

    def add(self, value: float | int, weight: float | int) -> None:
        """Take one value into the epoch's reduction."""
        if self.total is None:
            self.total = value * weight if self.reduction == "mean" else value
        elif self.reduction == "mean":
            self.total += value * weight
        elif self.reduction == "sum":
            self.total += value
        elif math.isnan(value) or math.isnan(self.total):
            self.total = math.nan  # as torch.max does, while Python's max depends on the order
        else:
            self.total = max(self.total, value) if self.reduction == "max" else min(self.total, value)
        self.weight += weight

    def epoch_value(self) -> float | int:
        """The reduction over everything added since the last reset."""
        if self.metric is not None:
            return self.metric.compute().item()
        if self.total is None:
            return math.nan
        if self.reduction != "mean":
            return self.total
        return self.total / self.weight if self.weight else math.nan


class BarValues:
    """Values of a device by name, which the host gets without waiting."""

    def __init__(self, names: list[str], tensors: list[Tensor]) -> None:
        from engine.gpu.copies import LateRead

        self._names, self._kinds = names, [tensor.is_floating_point() for tensor in tensors]
        self._read = LateRead(engine.stack([tensor.double() for tensor in tensors])._array)

    def has_arrived(self) -> bool:
        return self._read.has_arrived()

    def values(self) -> dict[str, float | int]:
        """Once they have arrived; integers stay integers."""
        found = self._read.array.tolist()
        return {name: value if kind else int(value) for name, kind, value in zip(self._names, self._kinds, found, strict=True)}


class Results:
    """All entries of one loop (training, or evaluation)."""

    def __init__(self, training: bool) -> None:
        self.training = training
        self.read_at_once = True  # False while values live on a device
        self.batch: Any = None
        self.batch_size: int | None = None
        self.dataloader_idx: int | None = None
        self._entries: dict[tuple[str | None, str, int | None], Entry] = {}
        self.has_step_values = False  # some entry is logged per step
        self._sizes_compared = False

    def start_batch(self, batch: Any, dataloader_idx: int | None = None) -> None:
        self.batch = batch
        self.batch_size = None
        self.dataloader_idx = dataloader_idx

    def log(
        self, hook: str | None, name: str, value: Any, arguments: tuple[Any, ...], batch_size: int | None = None
    ) -> None:
        """Record one value.

        ``arguments`` is ``(prog_bar, logger, on_step, on_epoch, reduce_fx, add_dataloader_idx)`` as the user gave them;
        within an epoch they must be the same for every call with the same name in the same hook.
        """
        key = (hook, name, self.dataloader_idx)
        entry = self._entries.get(key)
        if entry is None or entry.arguments != arguments:
            entry = self._entries[key] = self._register(entry, hook, name, arguments)
        kind = type(value)
        if kind is Tensor and self.read_at_once:
            try:
                value = value.item()
            except (RuntimeError, ValueError):
                raise _not_a_number(name, value) from None
        elif kind is not float and kind is not int:
            if is_metric(value):
                self._log_metric(entry, name, value)
                return
            value = self._number_or_tensor(name, value)
        weight = 1
        if entry.needs_batch_size:
            weight = self._guess_batch_size() if batch_size is None else _checked_batch_size(name, batch_size)
        entry.step_value = value
        entry.fresh = True
        if entry.on_epoch:
            if isinstance(value, Tensor):
                entry.pending.append((value, weight))
                if len(entry.pending) >= PENDING_LIMIT:
                    _drain([entry])
            else:
                entry.add(value, weight)

    def _log_metric(self, entry: Entry, name: str, metric: Any) -> None:
        """Remember ``metric``: its latest value counts for steps, its ``compute()`` for the epoch."""
        entry.metric, entry.fresh = metric, True
        if entry.on_step and metric._forward_cache is not None:
            entry.step_value = self._number_or_tensor(name, metric._forward_cache)

    def _register(self, old: Entry | None, hook: str | None, name: str, arguments: tuple[Any, ...]) -> Entry:
        """The entry for these arguments: a new one, or ``old`` if they ask for the same in other words."""
        _, _, on_step, on_epoch, reduce_fx, add_dataloader_idx = arguments
        if add_dataloader_idx and "/dataloader_idx_" in name:
            raise MisconfigurationException(
                f"self.log({name!r}, ...): the name must not contain '/dataloader_idx_', it is added automatically."
                " HINT: pass add_dataloader_idx=False to choose the whole name."
            )
        levels = log_levels(hook, name, on_step, on_epoch)
        dataloader_idx = self.dataloader_idx if add_dataloader_idx else None
        entry = Entry(name, arguments, levels, reduction_name(reduce_fx), dataloader_idx)
        self.has_step_values |= entry.on_step
        if old is None or not old.fresh:
            return entry
        if old.request() != entry.request():
            raise MisconfigurationException(
                f"self.log({name!r}, ...) was called twice in `{hook}` with different arguments."
                " HINT: use the same arguments, or another name."
            )
        old.arguments = arguments
        return old

    def _number_or_tensor(self, name: str, value: Any) -> Any:
        if isinstance(value, Tensor):
            try:
                return value.item() if self.read_at_once else value.detach().reshape(()).clone()
            except (RuntimeError, ValueError):
                raise _not_a_number(name, value) from None
        if isinstance(value, numbers.Number) and not isinstance(value, complex):
            return value.item() if hasattr(value, "item") else value
        hint = "use self.log_dict(...) for a dict" if isinstance(value, Mapping) else "log a number or a 0-d Tensor"
        raise ValueError(
            f"self.log({name!r}, value): a value of type {type(value).__name__} cannot be logged. HINT: {hint}."
        )

    def _guess_batch_size(self) -> int:
        if self.batch_size is None:
            if self.batch is None:
                return 1
            sizes = batch_sizes(self.batch)
            size = next(sizes, None)
            if size is None:
                raise MisconfigurationException(
                    "self.log(...): the batch size cannot be guessed from an empty batch."
                    " HINT: pass self.log(..., batch_size=...)."
                )
            if not self._sizes_compared:
                self._sizes_compared = True
                if any(other != size for other in sizes):
                    warnings.warn(
                        f"[W114] self.log(...) weights epoch means with the size of the first tensor in the batch ({size}),"
                        " but the batch holds tensors of other sizes. HINT: pass self.log(..., batch_size=...).",
                        stacklevel=2,
                    )
            self.batch_size = size
        return self.batch_size

    def metrics(self, on_step: bool) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """What callbacks, loggers and the bar should see now: three dicts of numbers.

        ``on_step`` chooses between the latest values and the epoch's reductions; only entries of the loader at hand
        that were logged since the last reset take part.
        """
        chosen = [entry for entry in self._current() if (entry.on_step if on_step else entry.on_epoch)]
        if on_step:
            _read_step_values(chosen)
        else:
            _drain(chosen)
        for_callbacks: dict[str, Any] = {}
        for_loggers: dict[str, Any] = {}
        for_bar: dict[str, Any] = {}
        for entry in chosen:
            value = entry.step_value if on_step else entry.epoch_value()
            if value is None:  # a metric that was updated and not called has no value for the step
                continue
            key = entry.step_key if on_step else entry.epoch_key
            if entry.logger:
                for_loggers[key] = value
            if self.training or not on_step:
                for_callbacks[entry.key] = value
                for_callbacks[key] = value
            if entry.prog_bar:
                for_bar[key] = value
        return for_callbacks, for_loggers, for_bar

    def bar_values(self) -> BarValues | None:
        """The latest values of steps that the bar shows, on their way from the device; None if there are none there."""
        shown = [e for e in self._current() if e.prog_bar and e.on_step and isinstance(e.step_value, Tensor)]
        return BarValues([e.step_key for e in shown], [e.step_value for e in shown]) if shown else None

    def _current(self) -> list[Entry]:
        index = self.dataloader_idx
        return [entry for entry in self._entries.values() if entry.fresh and entry.dataloader_idx == index]

    def reset(self) -> None:
        """Start a new epoch: forget all values."""
        for entry in self._entries.values():
            entry.reset()
        self.start_batch(None)

    def state_dict(self, metric_names: Mapping[Any, str]) -> list[dict[str, Any]]:
        """The unfinished epoch's values, so that a run resumed in the middle ends with the same means.

        ``metric_names`` says where in the module each logged metric is; the metric itself is saved with the module's.
        """
        _drain(list(self._entries.values()))
        _read_step_values(list(self._entries.values()))
        return [
            {
                "key": list(key),
                "arguments": [*entry.arguments[:4], entry.reduction, entry.arguments[5]],
                "step_value": entry.step_value,
                "total": entry.total,
                "weight": entry.weight,
                "metric": metric_names.get(entry.metric),
                "fresh": entry.fresh,
            }
            for key, entry in self._entries.items()
        ]

    def load_state_dict(self, state: list[dict[str, Any]], metrics: Mapping[str, Any]) -> None:
        """Take back what ``state_dict`` returned; ``metrics`` are the module's, by name."""
        for saved in state:
            hook, name, self.dataloader_idx = saved["key"]
            entry = self._register(None, hook, name, tuple(saved["arguments"]))
            entry.total, entry.weight, entry.fresh = saved["total"], saved["weight"], saved["fresh"]
            entry.step_value = saved["step_value"]
            entry.metric = metrics.get(saved.get("metric"))  # type: ignore[arg-type]
            self._entries[(hook, name, self.dataloader_idx)] = entry
        self.dataloader_idx = None


def _not_a_number(name: str, value: Tensor) -> ValueError:
    return ValueError(
        f"self.log({name!r}, value): expected a single number, got a Tensor of shape {tuple(value.shape)}."
        " HINT: reduce it first, for example with .mean()."
    )


def _checked_batch_size(name: str, batch_size: int) -> int:
    if batch_size <= 0:
        raise ValueError(
            f"self.log({name!r}, batch_size={batch_size}): expected a positive number."
            " HINT: it weights the value in the epoch's mean; leave it out to use the batch's own size."
        )
    return batch_size


def _drain(entries: list[Entry]) -> None:
    """Read the device values of all ``entries`` in one go and add them to their reductions."""
    waiting = [(entry, value, weight) for entry in entries for value, weight in entry.pending]
    if waiting:
        for (entry, _, weight), value in zip(waiting, read_back([value for _, value, _ in waiting]), strict=True):
            entry.add(value, weight)
        for entry in entries:
            entry.pending = []


def _read_step_values(entries: list[Entry]) -> None:
    on_device = [entry for entry in entries if isinstance(entry.step_value, Tensor)]
    if on_device:
        for entry, value in zip(on_device, read_back([entry.step_value for entry in on_device]), strict=True):
            entry.step_value = value
