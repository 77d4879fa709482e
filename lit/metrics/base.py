"""Metric: a value that is gathered over batches, as a module with ``update``, ``compute`` and ``reset``."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import Any

import engine
from engine import Tensor, nn

State = Any  # a Tensor, or a list of Tensors
MERGES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sum": lambda before, batch: before + batch,
    "min": engine.minimum,
    "max": engine.maximum,
}
ACCEPTED = ("compute_on_cpu", "dist_sync_on_step", "process_group", "dist_sync_fn", "distributed_available_fn",
            "sync_on_compute", "compute_with_cache")  # fmt: skip


class Metric(nn.Module):
    """A value gathered over many batches.

    A subclass names its states in ``__init__`` (``add_state``), changes them in ``update`` and reads them in
    ``compute``. Calling the metric does both: it returns the value of this batch and adds it to what was gathered.
    States move with ``.to(device)`` and keep their dtype. Nothing here records gradients, except that the value which
    a call returns has one where its formula has.

    Args:
        **kwargs: ``compute_with_cache`` (True): whether ``compute`` is called again only after an update. Lightning's
            other options concern several processes and are accepted.

    Attributes:
        higher_is_better: whether a larger value is better; None where that means nothing.
        full_state_update: False where the states of two batches can be merged by their ``dist_reduce_fx``, which makes
            a call of the metric cost one update; otherwise it costs two.

    Raises:
        ValueError: another keyword argument.

    Example:
        >>> from lit.metrics import Metric
        >>> class Largest(Metric):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.add_state("value", torch.tensor(float("-inf")), dist_reduce_fx="max")
        ...     def update(self, values):
        ...         self.value = torch.maximum(self.value, values.max())
        ...     def compute(self):
        ...         return self.value
        >>> metric = Largest()
        >>> metric(torch.tensor([1.0, 3.0])), metric(torch.tensor([2.0]))
        (tensor(3.), tensor(2.))
        >>> metric.compute()
        tensor(3.)
    """

    is_differentiable: bool | None = None
    higher_is_better: bool | None = None
    full_state_update: bool | None = None
    # What ``update`` depends on: metrics with the same ``update`` and the same key share one in a MetricCollection.
    update_key: tuple[Any, ...] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__()
        unknown = sorted(set(kwargs) - set(ACCEPTED))
        if unknown:
            raise ValueError(f"Unexpected keyword arguments: {', '.join(f'`{name}`' for name in unknown)}")
        self.compute_with_cache = kwargs.get("compute_with_cache", True)
        self._defaults: dict[str, State] = {}
        self._persistent: dict[str, bool] = {}
        self._reductions: dict[str, Any] = {}
        self._update_count = 0
        self._computed: Any = None
        self._forward_cache: Any = None
        self._device = engine.get_default_device()

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        for name, wrap in (("update", _counted), ("compute", _cached)):
            if name in cls.__dict__:
                setattr(cls, name, wrap(cls.__dict__[name]))

    # ------------------------------------------------------------------ what a subclass writes

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take one batch into the states."""
        raise NotImplementedError(f"{type(self).__name__} has no `update`.")

    def compute(self) -> Any:
        """The value of everything since the last ``reset``."""
        raise NotImplementedError(f"{type(self).__name__} has no `compute`.")

    def add_state(
        self, name: str, default: State, dist_reduce_fx: str | Callable[..., Any] | None = None, persistent: bool = False
    ) -> None:
        """Name a state, which becomes an attribute.

        Args:
            name: name of the attribute.
            default: its value after ``reset``: a tensor, or an empty list to append tensors to.
            dist_reduce_fx: how the states of two parts of the data become one: "sum", "mean", "min", "max", "cat", a
                function, or None.
            persistent: whether the state is part of the module's ``state_dict``.

        Raises:
            ValueError: ``default`` or ``dist_reduce_fx`` is something else.
        """
        if not (isinstance(default, Tensor) or (isinstance(default, list) and not default)):
            raise ValueError("state variable must be a tensor or any empty list (where you can append tensors)")
        named = dist_reduce_fx in ("sum", "mean", "min", "max", "cat", None)
        if not named and not callable(dist_reduce_fx):
            raise ValueError("`dist_reduce_fx` must be callable or one of ['mean', 'sum', 'cat', 'min', 'max', None]")
        setattr(self, name, _copy(default))
        self._defaults[name] = _copy(default)
        self._persistent[name] = persistent
        self._reductions[name] = dist_reduce_fx

    # ------------------------------------------------------------------ what users call

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The value of this batch; the batch is gathered too."""
        before, count = self.metric_state, self._update_count
        mergeable = self.full_state_update is False
        if not mergeable:
            self.update(*args, **kwargs)
            before, count = self.metric_state, self._update_count - 1
        self.reset()
        try:
            self._update_count = 1
            _plain(self, "update")(*args, **kwargs)
            value = _plain(self, "compute")()
        except BaseException:
            self._put_states(before)
            self._update_count = count
            raise
        with engine.no_grad():
            merged = {name: self._merge(name, state, count) for name, state in before.items()} if mergeable else before
            self._put_states(merged)
        self._update_count = count + 1
        self._computed, self._forward_cache = None, value
        return value

    def _merge(self, name: str, before: State, count: int) -> State:
        batch, how = _detached(getattr(self, name)), self._reductions[name]
        if isinstance(before, list):
            before.extend(batch)
            return before
        if how == "mean":
            return (before * count + batch) / (count + 1)
        if how in MERGES:
            return MERGES[how](before, batch)
        return how(engine.stack([before, batch])) if callable(how) else engine.stack([before, batch])

    def reset(self) -> None:
        """Forget all batches."""
        self._update_count = 0
        self._computed = self._forward_cache = None
        for name, default in self._defaults.items():
            setattr(self, name, _moved(_copy(default), self._device))

    @property
    def metric_state(self) -> dict[str, State]:
        """The states by name."""
        return {name: getattr(self, name) for name in self._defaults}

    @property
    def update_called(self) -> bool:
        """Whether anything was gathered since the last ``reset``."""
        return self._update_count > 0

    @property
    def update_count(self) -> int:
        """Number of batches since the last ``reset``."""
        return self._update_count

    @property
    def device(self) -> engine.device:
        """Where the states are."""
        return self._device

    def clone(self) -> Metric:
        """A copy that shares nothing."""
        return deepcopy(self)

    # ------------------------------------------------------------------ saving

    def persistent(self, mode: bool = False) -> None:
        """Whether all states are part of ``state_dict``."""
        self._persistent = dict.fromkeys(self._persistent, mode)

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for name, persistent in self._persistent.items():
            if persistent:
                state = getattr(self, name)
                destination[prefix + name] = state if keep_vars else _copy(state)

    def _load_from_state_dict(self, state_dict: Any, prefix: str, *args: Any) -> None:
        for name in self._defaults:
            if prefix + name in state_dict:
                setattr(self, name, _moved(_copy(state_dict.pop(prefix + name)), self._device))
                self._update_count, self._computed = max(self._update_count, 1), None
        super()._load_from_state_dict(state_dict, prefix, *args)

    def progress(self) -> dict[str, Any]:
        """Everything gathered so far, whether ``persistent`` or not: what an exact resume needs."""
        # The tensors in a list are never changed, so a long list costs no second copy of what it holds.
        states = {n: list(s) if isinstance(s, list) else _copy(s) for n, s in self.metric_state.items()}
        return {"states": states, "count": self._update_count}

    def load_progress(self, progress: Mapping[str, Any]) -> None:
        """Take back what ``progress`` returned.

        Raises:
            KeyError: it belongs to a metric with other states.
        """
        missing = self._defaults.keys() ^ progress["states"].keys()
        if missing:
            raise KeyError(f"{type(self).__name__}.load_progress(...): states {sorted(missing)} are not in both.")
        self._put_states({name: _moved(_copy(state), self._device) for name, state in progress["states"].items()})
        self._update_count, self._computed = progress["count"], None

    # ------------------------------------------------------------------ inside

    def _put_states(self, states: Mapping[str, State]) -> None:
        for name, state in states.items():
            setattr(self, name, state)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """States go to the device and keep their dtype: counts and sums must not lose digits."""
        super()._apply(fn, recurse)
        self._device = fn(engine.empty(0, device=self._device)).device
        self._put_states({name: _moved(state, self._device) for name, state in self.metric_state.items()})
        self._computed = _moved(self._computed, self._device)
        return self

    def _filter_kwargs(self, **kwargs: Any) -> dict[str, Any]:
        """Those of ``kwargs`` that ``update`` takes."""
        parameters = inspect.signature(self.update).parameters.values()
        if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
            return kwargs
        names = {parameter.name for parameter in parameters}
        return {name: value for name, value in kwargs.items() if name in names}


def _counted(update: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(update)
    def counted(self: Metric, *args: Any, **kwargs: Any) -> None:
        count = self._update_count
        self._computed = None
        with engine.no_grad():
            update(self, *args, **kwargs)
        self._update_count = count + 1  # not += 1: `update` may call its parent's

    return counted


def _cached(compute: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(compute)
    def cached(self: Metric) -> Any:
        if self._update_count == 0:
            warnings.warn(
                f"[W401] {type(self).__name__}.compute() was called before any update: its value means nothing."
                " HINT: call update first, or drop the call.",
                stacklevel=2,
            )
        if self._computed is None or not self.compute_with_cache:
            with engine.no_grad():
                self._computed = compute(self)
        return self._computed

    return cached


def _plain(metric: Metric, name: str) -> Callable[..., Any]:
    """The method as its class wrote it: without counting, caching and ``no_grad``."""
    method = getattr(type(metric), name)
    return functools.partial(getattr(method, "__wrapped__", method), metric)


def _copy(state: State) -> State:
    if isinstance(state, Tensor):
        return state.detach().clone()
    return [item.detach().clone() for item in state]


def _detached(state: State) -> State:
    return state.detach() if isinstance(state, Tensor) else [item.detach() for item in state]


def _moved(value: Any, device: Any) -> Any:
    """``value`` with every tensor in it on ``device``."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, (list, tuple)):
        return type(value)(_moved(item, device) for item in value)
    if isinstance(value, dict):
        return {key: _moved(item, device) for key, item in value.items()}
    return value


def together(state: Tensor | list[Tensor]) -> Tensor:
    """A list state as one tensor; 0-d entries count as one element.

    Example:
        >>> from lit.metrics.base import together
        >>> together([torch.tensor(1.0), torch.tensor([2.0, 3.0])])
        tensor([1., 2., 3.])
    """
    if isinstance(state, Tensor):
        return state
    if not state:
        raise ValueError("No samples to concatenate")
    return engine.cat([item.unsqueeze(0) if item.ndim == 0 else item for item in state])


def functional(metric: type, name: str, order: str = "") -> Callable[..., Any]:
    """The metric as a function of one batch: ``function(preds, target, <arguments of the metric>)``.

    Args:
        metric: the class.
        name: name of the function.
        order: names of its arguments where their order differs from the class's.
    """
    builder = metric.__new__ if metric.__init__ is object.__init__ else metric.__init__  # type: ignore[misc]
    own = [p for p in list(inspect.signature(builder).parameters.values())[1:] if p.kind is not p.VAR_KEYWORD]
    by_name = {parameter.name: parameter for parameter in own}
    arguments = [by_name.get(word) or inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD, default=None)
                 for word in (order.split() or by_name)]  # fmt: skip
    tensors = [inspect.Parameter(word, inspect.Parameter.POSITIONAL_OR_KEYWORD) for word in ("preds", "target")]
    signature = inspect.Signature([*tensors, *arguments])

    def function(*args: Any, **kwargs: Any) -> Any:
        given = signature.bind(*args, **kwargs).arguments
        preds, target = given.pop("preds"), given.pop("target")
        instance = metric(**given)
        # Without no_grad: as a function, a differentiable metric is a loss.
        instance._update_count = 1
        _plain(instance, "update")(preds, target)
        return _plain(instance, "compute")()

    function.__name__ = function.__qualname__ = name
    function.__signature__ = signature  # type: ignore[attr-defined]
    function.__doc__ = f"``{metric.__name__}`` of one batch; its arguments follow ``preds`` and ``target``."
    return function
