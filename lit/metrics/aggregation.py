"""Mean, sum, maximum, minimum and concatenation of numbers."""

from __future__ import annotations

import warnings
from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric, together

NAN_STRATEGIES = ("error", "warn", "ignore", "disable")


class _Aggregate(Metric):
    """Gathers numbers, with a policy for NaN.

    Args:
        nan_strategy: "error" (RuntimeError), "warn" (leave NaN out and warn), "ignore" (leave NaN out), "disable" (take
            NaN like any number), or a float to put in its place.
    """

    full_state_update = False

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if nan_strategy not in NAN_STRATEGIES and not isinstance(nan_strategy, float):
            raise ValueError(
                f"Arg `nan_strategy` should either be a float or one of {NAN_STRATEGIES} but got {nan_strategy}."
            )
        self.nan_strategy = nan_strategy

    def _numbers(self, value: Any, weight: Any = 1.0) -> tuple[Tensor, Tensor]:
        """Values and weights as flat float64 tensors, without NaN where that is the policy."""
        values, weights = (engine.as_tensor(x, device=self.device).detach().double() for x in (value, weight))
        values = values.reshape(-1)
        weights = weights.expand(engine.as_tensor(value).shape).reshape(-1)
        missing = values.isnan() | weights.isnan()
        if self.nan_strategy == "disable" or not missing.any():
            return values, weights
        if self.nan_strategy == "error":
            raise RuntimeError("Encountered `nan` values in tensor")
        if isinstance(self.nan_strategy, float):
            values = engine.where(missing, engine.full_like(values, self.nan_strategy), values)
            return values, engine.where(missing, engine.ones_like(weights), weights)
        if self.nan_strategy == "warn":
            warnings.warn(
                f"[W403] {type(self).__name__}: the values hold NaN, which is left out."
                " HINT: nan_strategy='ignore' does the same and is silent.",
                stacklevel=4,
            )
        return values[~missing], weights[~missing]


class MeanMetric(_Aggregate):
    """The weighted mean of numbers.

    Args:
        nan_strategy: "warn", "ignore", "error", "disable", or a float to put in place of NaN.

    Example:
        >>> from lit.metrics import MeanMetric
        >>> metric = MeanMetric()
        >>> metric.update(1.0, weight=3)
        >>> metric.update(torch.tensor([2.0]))
        >>> metric.compute()
        tensor(1.2500)
    """

    mean_value: Tensor
    weight: Tensor

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("mean_value", engine.tensor(0.0, dtype=engine.float64), dist_reduce_fx="sum")
        self.add_state("weight", engine.tensor(0.0, dtype=engine.float64), dist_reduce_fx="sum")

    def update(self, value: Any, weight: Any = 1.0) -> None:
        """Take numbers, and weights of a shape that broadcasts to theirs."""
        values, weights = self._numbers(value, weight)
        self.mean_value = self.mean_value + (values * weights).sum()
        self.weight = self.weight + weights.sum()

    def compute(self) -> Tensor:
        """The mean, 0-d."""
        return (self.mean_value / self.weight).to(engine.get_default_dtype())


class SumMetric(_Aggregate):
    """The sum of numbers; arguments as ``MeanMetric``.

    Example:
        >>> from lit.metrics import SumMetric
        >>> metric = SumMetric()
        >>> metric.update([1.0, 2.0])
        >>> metric.compute()
        tensor(3.)
    """

    sum_value: Tensor

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("sum_value", engine.tensor(0.0, dtype=engine.float64), dist_reduce_fx="sum")

    def update(self, value: Any) -> None:
        """Take numbers."""
        self.sum_value = self.sum_value + self._numbers(value)[0].sum()

    def compute(self) -> Tensor:
        """The sum, 0-d."""
        return self.sum_value.to(engine.get_default_dtype())


class MaxMetric(_Aggregate):
    """The largest number; arguments as ``MeanMetric``.

    Example:
        >>> from lit.metrics import MaxMetric
        >>> metric = MaxMetric()
        >>> metric.update([1.0, 3.0, 2.0])
        >>> metric.compute()
        tensor(3.)
    """

    higher_is_better = True
    max_value: Tensor

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("max_value", engine.tensor(float("-inf"), dtype=engine.float64), dist_reduce_fx="max")

    def update(self, value: Any) -> None:
        """Take numbers."""
        values, _ = self._numbers(value)
        if values.numel():
            self.max_value = engine.maximum(self.max_value, values.max())

    def compute(self) -> Tensor:
        """The maximum, 0-d."""
        return self.max_value.to(engine.get_default_dtype())


class MinMetric(_Aggregate):
    """The smallest number; arguments as ``MeanMetric``.

    Example:
        >>> from lit.metrics import MinMetric
        >>> metric = MinMetric()
        >>> metric.update([1.0, 3.0, 2.0])
        >>> metric.compute()
        tensor(1.)
    """

    higher_is_better = False
    min_value: Tensor

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("min_value", engine.tensor(float("inf"), dtype=engine.float64), dist_reduce_fx="min")

    def update(self, value: Any) -> None:
        """Take numbers."""
        values, _ = self._numbers(value)
        if values.numel():
            self.min_value = engine.minimum(self.min_value, values.min())

    def compute(self) -> Tensor:
        """The minimum, 0-d."""
        return self.min_value.to(engine.get_default_dtype())


class CatMetric(_Aggregate):
    """All numbers, one after the other; arguments as ``MeanMetric``.

    Example:
        >>> from lit.metrics import CatMetric
        >>> metric = CatMetric()
        >>> metric.update(1.0)
        >>> metric.update(torch.tensor([2.0, 3.0]))
        >>> metric.compute()
        tensor([1., 2., 3.])
    """

    value: list[Tensor]

    def __init__(self, nan_strategy: str | float = "warn", **kwargs: Any) -> None:
        super().__init__(nan_strategy, **kwargs)
        self.add_state("value", [], dist_reduce_fx="cat")

    def update(self, value: Any) -> None:
        """Take numbers."""
        values, _ = self._numbers(value)
        if values.numel():
            self.value.append(values)

    def compute(self) -> Tensor | list[Tensor]:
        """The numbers, 1-d; an empty list if there are none."""
        return together(self.value).to(engine.get_default_dtype()) if self.value else []
