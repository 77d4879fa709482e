"""A list of samples becomes a batch."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, MutableMapping, MutableSequence, Sequence
from typing import Any

import numpy as np

import engine

from ...tensor import Tensor, wrap

CollateMap = dict[Any, Callable[..., Any]]


def _cannot(found: Any) -> TypeError:
    return TypeError(
        f"default_collate: batch must contain tensors, numpy arrays, numbers, dicts or lists; found {found}. "
        "HINT: pass collate_fn= to the DataLoader for other types"
    )


def _collate_tensors(batch: Sequence[Tensor], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    arrays = [tensor._array for tensor in batch]
    if _alike(arrays) and not any(tensor.requires_grad for tensor in batch):
        return wrap(_stacked(arrays))
    return engine.stack(list(batch), 0)  # with its promotion, graph and error messages


def _alike(arrays: list[Any]) -> bool:
    shape, dtype = arrays[0].shape, arrays[0].dtype
    return all(type(array) is np.ndarray and array.shape == shape and array.dtype == dtype for array in arrays)


def _stacked(arrays: list[np.ndarray]) -> np.ndarray:
    """np.stack for arrays that are alike, in half its time."""
    shape = arrays[0].shape
    return np.concatenate(arrays).reshape(len(arrays), *shape) if shape else np.array(arrays)


def _collate_arrays(batch: Sequence[np.ndarray], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    kind = batch[0].dtype.kind
    if kind in "SUOa":
        raise _cannot(batch[0].dtype)
    first = batch[0].shape
    for i, array in enumerate(batch):
        if array.shape != first:
            raise RuntimeError(
                f"stack expects each tensor to be equal size, but got {list(first)} at entry 0 "
                f"and {list(array.shape)} at entry {i}"
            )
    arrays = list(batch)
    return engine.from_numpy(_stacked(arrays) if _alike(arrays) else np.stack(arrays))


def _collate_array_scalars(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return engine.as_tensor(np.array(batch))


def _collate_floats(batch: Sequence[float], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return engine.as_tensor(batch, dtype=engine.float64)


def _collate_ints(batch: Sequence[int], *, collate_fn_map: CollateMap | None = None) -> Tensor:
    return engine.as_tensor(batch)


def _collate_text(batch: Any, *, collate_fn_map: CollateMap | None = None) -> Any:
    return batch


# Extend it for a type of your own: default_collate_fn_map[MyType] = function(batch, *, collate_fn_map).
default_collate_fn_map: CollateMap = {
    Tensor: _collate_tensors,
    np.ndarray: _collate_arrays,
    (np.bool_, np.number, np.object_): _collate_array_scalars,
    float: _collate_floats,
    int: _collate_ints,
    str: _collate_text,
    bytes: _collate_text,
}


def collate(batch: Sequence[Any], *, collate_fn_map: CollateMap | None = None) -> Any:
    """Collate by a table from element type (or tuple of types) to function; containers are collated inside.

    Raises TypeError for an element of another type, RuntimeError for sequences of different lengths.
    """
    first = batch[0]
    kind = type(first)
    if collate_fn_map is not None:
        function = collate_fn_map.get(kind)
        if function is None:
            function = next((f for types, f in collate_fn_map.items() if isinstance(first, types)), None)
        if function is not None:
            return function(batch, collate_fn_map=collate_fn_map)
    if isinstance(first, Mapping):
        values = {key: collate([d[key] for d in batch], collate_fn_map=collate_fn_map) for key in first}
        return _like_mapping(first, values)
    if isinstance(first, Sequence):
        sizes = {len(sample) for sample in batch}
        if len(sizes) > 1:
            raise RuntimeError(f"each element in list of batch should be of equal size, got sizes {sorted(sizes)}")
        columns = [collate(column, collate_fn_map=collate_fn_map) for column in zip(*batch, strict=True)]
        if hasattr(first, "_fields"):  # a namedtuple
            return kind(*columns)
        return _like_sequence(first, columns)
    raise _cannot(kind)


def _like_mapping(model: Any, values: dict) -> Any:
    """`values` in a mapping of the model's own class where that can be made, else as a dict."""
    if type(model) is dict:
        return values
    try:
        if isinstance(model, MutableMapping):
            clone = copy.copy(model)  # a copy keeps what the class carries beside its items
            clone.update(values)
            return clone
        return type(model)(values)
    except TypeError:
        return values


def _like_sequence(model: Any, columns: list) -> Any:
    """`columns` in a sequence of the model's own class where that can be made, else as a list."""
    if isinstance(model, tuple) or type(model) is list:
        return columns
    try:
        if isinstance(model, MutableSequence):
            clone = copy.copy(model)
            for i, column in enumerate(columns):
                clone[i] = column
            return clone
        return type(model)(columns)
    except TypeError:
        return columns


def default_collate(batch: Sequence[Any]) -> Any:
    """Make a batch of samples: tensors, arrays and numbers get a new first dimension; strings stay a list.

    Tuples and lists become lists of batches, dicts and namedtuples keep their form. Python floats give float64.
    Raises TypeError for other types, RuntimeError for tensors or sequences of different sizes.

    >>> torch.utils.data.default_collate([(0, 1.5), (2, 3.5)])
    [tensor([0, 2]), tensor([1.5000, 3.5000], dtype=torch.float64)]
    >>> torch.utils.data.default_collate([{"a": torch.ones(2), "b": "x"}, {"a": torch.zeros(2), "b": "y"}])
    {'a': tensor([[1., 1.],
            [0., 0.]]), 'b': ['x', 'y']}
    """
    return collate(batch, collate_fn_map=default_collate_fn_map)


def default_convert(data: Any) -> Any:
    """Make tensors of the NumPy arrays and numbers in a sample (and inside its containers); leave all else as it is.

    >>> import numpy as np
    >>> torch.utils.data.default_convert({"a": np.array([1, 2]), "b": 3})
    {'a': tensor([1, 2]), 'b': 3}
    """
    if isinstance(data, Tensor):
        return data
    if isinstance(data, (np.ndarray, np.generic)):
        if data.dtype.kind in "SUOa":
            return data
        return engine.as_tensor(data)
    if isinstance(data, Mapping):
        return _like_mapping(data, {key: default_convert(value) for key, value in data.items()})
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(default_convert(value) for value in data))
    if isinstance(data, Sequence) and not isinstance(data, (str, bytes)):
        return _like_sequence(data, [default_convert(value) for value in data])
    return data
