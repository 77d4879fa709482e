"""MetricCollection: several metrics over the same inputs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from typing import Any

import engine
from engine import nn
from lit.metrics.base import Metric


class MetricCollection(nn.Module):
    """Several metrics that take the same inputs, as a dict of their values.

    Metrics that count the same thing (accuracy, precision and recall of one task) share one update.

    Args:
        metrics: a metric, a list of metrics (named by their class) or a dict of them; collections are flattened.
        *additional_metrics: more metrics, named by their class.
        prefix, postfix: put before and after every name in the results.
        compute_groups: whether updates are shared; a list of lists of names says which, whatever they count.

    Raises:
        ValueError: two metrics have the same name, or something is not a metric.

    Example:
        >>> from lit.metrics import MetricCollection, BinaryPrecision, BinaryRecall
        >>> metrics = MetricCollection([BinaryPrecision(), BinaryRecall()], prefix="val_")
        >>> metrics(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]))
        {'val_BinaryPrecision': tensor(0.5000), 'val_BinaryRecall': tensor(1.)}
        >>> metrics.compute_groups
        {0: ['BinaryPrecision', 'BinaryRecall']}
    """

    def __init__(
        self,
        metrics: Any,
        *additional_metrics: Metric,
        prefix: str | None = None,
        postfix: str | None = None,
        compute_groups: bool | list[list[str]] = True,
    ) -> None:
        super().__init__()
        self.prefix, self.postfix = _checked("prefix", prefix), _checked("postfix", postfix)
        self._compute_groups = compute_groups
        self._stale = False  # the first of each group has been updated, the others have not been told
        self.add_metrics(metrics, *additional_metrics)

    def add_metrics(self, metrics: Any, *additional_metrics: Metric) -> None:
        """Add metrics, given as to ``MetricCollection``."""
        if isinstance(metrics, Metric) or (isinstance(metrics, MetricCollection) and additional_metrics):
            metrics = [metrics]
        if isinstance(metrics, (Mapping, MetricCollection)):
            if additional_metrics:
                raise ValueError(f"MetricCollection({type(metrics).__name__}, ...): got more metrics beside a dict.")
            items: Iterable[tuple[str, Any]] = metrics.items() if isinstance(metrics, MetricCollection) else sorted(
                metrics.items()
            )  # fmt: skip
            for name, metric in items:
                self._add(name, metric, named=True)
        elif isinstance(metrics, Sequence):
            for metric in [*metrics, *additional_metrics]:
                self._add(type(metric).__name__, metric, named=False)
        else:
            raise ValueError(
                "Unknown input to MetricCollection. Expected, `Metric`, `MetricCollection` or `dict`/`sequence` of the"
                f" previous, but got {metrics}"
            )
        self._groups = self._find_groups()

    def _add(self, name: str, metric: Any, named: bool) -> None:
        if isinstance(metric, MetricCollection):
            for inner, member in metric.items():
                self._add(f"{name}_{inner}" if named else inner, member, named)
            return
        if not isinstance(metric, Metric):
            raise ValueError(f"Value {metric} belonging to key {name} is not an instance of `Metric`")
        if name in self._modules:
            raise ValueError(f"Encountered two metrics both named {name}")
        self.add_module(name, metric)

    # ------------------------------------------------------------------ shared updates

    def _find_groups(self) -> dict[int, list[str]]:
        if isinstance(self._compute_groups, list):
            return dict(enumerate(self._compute_groups))
        groups: dict[Any, list[str]] = {}
        for name, metric in self._modules.items():
            alone = not self._compute_groups or metric.update_key is None
            key = name if alone else (type(metric).update, metric.update_key)
            groups.setdefault(key, []).append(name)
        return dict(enumerate(groups.values()))

    @property
    def compute_groups(self) -> dict[int, list[str]]:
        """The names of the metrics that share an update."""
        return self._groups

    def _share(self) -> None:
        """Hand the states of the first of each group to the others."""
        if not self._stale:
            return
        self._stale = False
        for first, *others in self._groups.values():
            source = self._modules[first]
            for name in others:
                # Tensors are shared, for updates replace them; lists are extended, so each has its own.
                states = {n: list(s) if isinstance(s, list) else s for n, s in source.metric_state.items()}
                target = self._modules[name]
                target._put_states(states)
                target._update_count, target._computed = source._update_count, None

    # ------------------------------------------------------------------ what users call

    def forward(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """The values of this batch; the batch is gathered too."""
        self._share()
        return self._named({n: m(*args, **m._filter_kwargs(**kwargs)) for n, m in self._modules.items()})

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Take one batch; each metric gets those keyword arguments that its ``update`` has."""
        for first, *_ in self._groups.values():
            metric = self._modules[first]
            metric.update(*args, **metric._filter_kwargs(**kwargs))
        self._stale = True

    def compute(self) -> dict[str, Any]:
        """The values of everything since the last ``reset``."""
        self._share()
        return self._named({name: metric.compute() for name, metric in self._modules.items()})

    def reset(self) -> None:
        """Forget all batches."""
        self._stale = False
        for metric in self._modules.values():
            metric.reset()

    def clone(self, prefix: str | None = None, postfix: str | None = None) -> MetricCollection:
        """A copy that shares nothing, under another prefix or postfix if one is given."""
        copy = deepcopy(self)
        if prefix:
            copy.prefix = _checked("prefix", prefix)
        if postfix:
            copy.postfix = _checked("postfix", postfix)
        return copy

    def persistent(self, mode: bool = True) -> None:
        """Whether all states are part of ``state_dict``."""
        for metric in self._modules.values():
            metric.persistent(mode)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """As ``Module.state_dict``."""
        self._share()
        return super().state_dict(*args, **kwargs)

    @property
    def metric_state(self) -> dict[str, dict[str, Any]]:
        """The states of each metric."""
        self._share()
        return {name: metric.metric_state for name, metric in self._modules.items()}

    # ------------------------------------------------------------------ as a dict

    def _named(self, values: dict[str, Any]) -> dict[str, Any]:
        named: dict[str, Any] = {}
        for name, value in values.items():
            inside = value if isinstance(value, dict) else {name: value}  # a metric may return several values
            named.update({self._full_name(str(key)): item for key, item in inside.items()})
        return named

    def _full_name(self, name: str) -> str:
        return f"{self.prefix or ''}{name}{self.postfix or ''}"

    def keys(self, keep_base: bool = False) -> list[str]:
        """The names, with prefix and postfix unless ``keep_base``."""
        return [name if keep_base else self._full_name(name) for name in self._modules]

    def items(self, keep_base: bool = False, copy_state: bool = True) -> list[tuple[str, Metric]]:
        """(name, metric) of all metrics."""
        self._share()
        return list(zip(self.keys(keep_base), self._modules.values(), strict=True))

    def values(self, copy_state: bool = True) -> list[Metric]:
        """The metrics."""
        self._share()
        return list(self._modules.values())

    def __getitem__(self, key: str) -> Metric:
        self._share()
        return dict(self.items())[key] if key not in self._modules else self._modules[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self.keys())

    def __len__(self) -> int:
        return len(self._modules)

    def __contains__(self, key: object) -> bool:
        return key in self._modules or key in self.keys()


def _checked(name: str, text: str | None) -> str | None:
    if text is None or isinstance(text, str):
        return text
    raise ValueError(f"Expected input `{name}` to be a string, but got {type(text)}")


class MetricTracker(nn.ModuleList):
    """One copy of a metric per epoch, so that the best can be found.

    Args:
        metric: a Metric or MetricCollection.
        maximize: whether larger is better (a list for a collection); None asks the metric's ``higher_is_better``.

    Raises:
        TypeError: ``metric`` is something else.
        AttributeError: ``maximize`` is None and the metric does not say.
        ValueError: ``maximize`` does not fit, or a method is called before ``increment``.

    Example:
        >>> from lit.metrics import MetricTracker, MeanMetric
        >>> tracker = MetricTracker(MeanMetric(), maximize=True)
        >>> for values in ([1.0, 2.0], [5.0], [3.0]):
        ...     tracker.increment()
        ...     tracker.update(values)
        >>> tracker.best_metric(return_step=True)
        (5.0, 1)
    """

    def __init__(self, metric: Metric | MetricCollection, maximize: bool | list[bool] | None = None) -> None:
        super().__init__()
        if not isinstance(metric, (Metric, MetricCollection)):
            raise TypeError(f"Metric arg need to be an instance of a `Metric` or `MetricCollection` but got {metric}")
        self.maximize = _directions(metric, maximize)
        object.__setattr__(self, "_base_metric", metric)  # kept, but not one of the copies

    @property
    def n_steps(self) -> int:
        """How many copies there are."""
        return len(self)

    def increment(self) -> None:
        """Start a new copy."""
        fresh = deepcopy(self._base_metric)
        fresh.reset()
        self.append(fresh)

    def _latest(self, method: str) -> Any:
        if not len(self):
            raise ValueError(f"`{method}` cannot be called before `.increment()` has been called.")
        return self[-1]

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call the latest copy."""
        return self._latest("forward")(*args, **kwargs)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Update the latest copy."""
        self._latest("update").update(*args, **kwargs)

    def compute(self) -> Any:
        """The value of the latest copy."""
        return self._latest("compute").compute()

    def compute_all(self) -> Any:
        """The values of all copies: a tensor with a row for each, or a dict of them."""
        self._latest("compute_all")
        values = [metric.compute() for metric in self]
        if isinstance(values[0], dict):
            return {key: engine.stack([value[key] for value in values]) for key in values[0]}
        return engine.stack(values)

    def reset(self) -> None:
        """Reset the latest copy."""
        self._latest("reset").reset()

    def reset_all(self) -> None:
        """Reset all copies."""
        for metric in self:
            metric.reset()

    def best_metric(self, return_step: bool = False) -> Any:
        """The best value (a dict for a collection), and the index of its copy if ``return_step``."""
        values = self.compute_all()
        if not isinstance(values, dict):
            value, step = _best(values, bool(self.maximize))
            return (value, step) if return_step else value
        directions = self.maximize if isinstance(self.maximize, list) else [self.maximize] * len(values)
        best = {name: _best(row, up) for (name, row), up in zip(values.items(), directions, strict=True)}
        found = {name: value for name, (value, _) in best.items()}
        return (found, {name: step for name, (_, step) in best.items()}) if return_step else found


def _best(values: engine.Tensor, maximize: bool) -> tuple[Any, Any]:
    if values.ndim != 1:  # a value of several numbers has no best one
        return None, None
    value, step = (values.max if maximize else values.min)(0)
    return value.item(), step.item()


def _directions(metric: Metric | MetricCollection, maximize: Any) -> bool | list[bool]:
    """Whether larger is better: one answer, or one for each metric of a collection."""
    if isinstance(metric, MetricCollection):
        if maximize is None:
            return [_direction(inner) for inner in metric.values()]
        if isinstance(maximize, list) and len(maximize) != len(metric):
            raise ValueError("The len of argument `maximize` should match the length of the metric collection")
    elif maximize is None:
        return _direction(metric)
    elif not isinstance(maximize, bool):
        raise ValueError("Argument `maximize` should be a single bool when `metric` is a single Metric")
    if not isinstance(maximize, bool) and not (isinstance(maximize, list) and all(isinstance(m, bool) for m in maximize)):
        raise ValueError("Argument `maximize` should either be a single bool or list of bool")
    return maximize


def _direction(metric: Metric) -> bool:
    if metric.higher_is_better is None:
        raise AttributeError(
            f"The metric '{type(metric).__name__}' does not have a 'higher_is_better' attribute."
            " Please provide the `maximize` argument explicitly."
        )
    return metric.higher_is_better
