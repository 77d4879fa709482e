"""Moving and converting the tensors inside any batch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass, replace
from typing import Any

import engine


def map_tensors(data: Any, function: Callable[[Any], Any]) -> Any:
    """A copy of ``data`` with ``function`` applied to each tensor (or object with ``.to``) inside it.

    Dicts, lists, tuples, named tuples and dataclasses are walked through; everything else stays as it is.

    Example:
        >>> from lit.transfer import map_tensors
        >>> map_tensors({"x": torch.tensor([1, 2]), "name": "a"}, lambda t: t + 1)
        {'x': tensor([2, 3]), 'name': 'a'}
    """
    if isinstance(data, engine.Tensor):
        return function(data)
    if isinstance(data, Mapping):
        items = {key: map_tensors(value, function) for key, value in data.items()}
        return items if type(data) is dict else _rebuilt(data, items)
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(map_tensors(value, function) for value in data))
    if isinstance(data, (list, tuple)):
        return type(data)(map_tensors(value, function) for value in data)
    if is_dataclass(data) and not isinstance(data, type):
        return replace(data, **{f.name: map_tensors(getattr(data, f.name), function) for f in fields(data) if f.init})
    if callable(getattr(data, "to", None)) and not isinstance(data, type):
        return function(data)
    return data


def _rebuilt(data: Mapping[Any, Any], items: dict[Any, Any]) -> Any:
    from collections import defaultdict

    if isinstance(data, defaultdict):
        return defaultdict(data.default_factory, items)
    return type(data)(items)  # type: ignore[call-arg]


def move_data_to_device(batch: Any, device: Any, put: Callable[[engine.Tensor], engine.Tensor] | None = None) -> Any:
    """``batch`` with all its tensors on ``device``; other objects with a ``.to(device)`` are moved too.

    ``put`` moves a tensor, where ``.to`` shall not.

    Example:
        >>> from lit.transfer import move_data_to_device
        >>> move_data_to_device([torch.tensor(1), "label"], "cpu")
        [tensor(1), 'label']
    """

    def move(value: Any) -> Any:
        if not isinstance(value, engine.Tensor):
            return value.to(device)
        return value.to(device, non_blocking=True) if put is None else put(value)

    return map_tensors(batch, move)


def floats_to(batch: Any, dtype: Any) -> Any:
    """``batch`` with its floating-point tensors in ``dtype``; integers and booleans stay.

    Example:
        >>> from lit.transfer import floats_to
        >>> [t.dtype for t in floats_to((torch.tensor(1.0), torch.tensor(1)), torch.float64)]
        [torch.float64, torch.int64]
    """

    def convert(value: Any) -> Any:
        is_float = isinstance(value, engine.Tensor) and value.is_floating_point()
        return value.to(dtype) if is_float else value

    return map_tensors(batch, convert)
