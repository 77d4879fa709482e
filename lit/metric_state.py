"""Metrics inside a module: finding them, and what a checkpoint keeps of them. Loads ``lit.metrics`` for nobody."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from engine import nn


def is_metric(value: Any) -> bool:
    """Whether ``value`` is a ``lit.metrics.Metric``."""
    base = sys.modules.get("lit.metrics.base")
    return base is not None and isinstance(value, base.Metric)


def is_collection(value: Any) -> bool:
    """Whether ``value`` is a ``lit.metrics.MetricCollection``."""
    collection = sys.modules.get("lit.metrics.collection")
    return collection is not None and isinstance(value, collection.MetricCollection)


def metrics_of(module: nn.Module) -> dict[str, Any]:
    """The metrics among the submodules of ``module``, by dotted name; those of a collection are up to date.

    Example:
        >>> from lit.metric_state import metrics_of
        >>> from lit.metrics import BinaryAccuracy
        >>> metrics_of(nn.ModuleDict({"acc": BinaryAccuracy(), "layer": nn.Linear(1, 1)}))
        {'acc': BinaryAccuracy()}
    """
    if "lit.metrics.base" not in sys.modules:
        return {}
    found = {}
    for name, submodule in module.named_modules():
        if is_collection(submodule):
            submodule.values()
        elif is_metric(submodule):
            found[name] = submodule
    return found


def save_progress(module: nn.Module) -> dict[str, Any]:
    """What every metric of ``module`` has gathered so far; metrics that are at their start are left out."""
    return {name: metric.progress() for name, metric in metrics_of(module).items() if metric.update_called}


def load_progress(module: nn.Module, progress: Mapping[str, Any]) -> None:
    """Take back what ``save_progress`` returned. Metrics that the module no longer has are passed over."""
    found = metrics_of(module)
    for name, state in progress.items():
        if name in found:
            found[name].load_progress(state)
