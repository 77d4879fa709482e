"""Indices (or a stream) become a batch: the step that a worker process and the loop in this process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import engine

from ...tensor import Tensor
from .collate import default_collate
from .dataset import ConcatDataset, IterableDataset, StackDataset, Subset, TensorDataset

Fetch = Callable[[Any], Any]


def make_fetch(dataset: Any, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> Fetch:
    """A function from what the sampler gives (an index, or a list of them if `batched`) to what the loader yields.

    For an IterableDataset it opens the stream, counts the indices only, and raises StopIteration at the end.
    """
    if isinstance(dataset, IterableDataset):
        return _stream_fetch(iter(dataset), batched, collate_fn, drop_last)
    if not batched:
        return lambda index: collate_fn(dataset[index])
    rows = _row_reader(dataset) if collate_fn is default_collate else None
    if rows is not None:
        return rows
    many = getattr(dataset, "__getitems__", None)
    if many:
        return lambda indices: collate_fn(many(indices))
    return lambda indices: collate_fn([dataset[i] for i in indices])


def _row_reader(dataset: Any) -> Fetch | None:
    """The short way for tensors: one indexing operation per tensor and batch, in place of one per sample and a stack.

    Only for exactly these classes: a subclass may change what a sample is.
    """
    kind = type(dataset)
    if kind is TensorDataset:
        tensors = dataset.tensors

        def read(indices: Any) -> list:
            rows = np.asarray(indices, dtype=np.int64)
            return [tensor[rows] for tensor in tensors]

        return read
    if kind is Tensor and dataset.ndim:
        return lambda indices: dataset[np.asarray(indices, dtype=np.int64)]
    if kind is Subset:
        inner, chosen = _row_reader(dataset.dataset), dataset.indices
        return inner and (lambda indices: inner([chosen[i] for i in indices]))
    if kind is StackDataset:
        return _side_by_side(dataset.datasets)
    return _one_after_the_other(dataset) if kind is ConcatDataset else None


def _side_by_side(datasets: Any) -> Fetch | None:
    """The reader of a StackDataset."""
    readers = [_row_reader(part) for part in (datasets.values() if isinstance(datasets, dict) else datasets)]
    if None in readers:
        return None
    if isinstance(datasets, dict):
        return lambda indices: {key: read(indices) for key, read in zip(datasets, readers)}  # type: ignore[misc]
    return lambda indices: [read(indices) for read in readers]  # type: ignore[misc]


def _one_after_the_other(dataset: ConcatDataset) -> Fetch | None:
    """The reader of a ConcatDataset, if its parts are of tensors that are alike."""
    readers = [_row_reader(part) for part in dataset.datasets]
    kinds = {_kind_of_sample(part) for part in dataset.datasets}
    if None in readers or None in kinds or len(kinds) > 1:
        return None
    ends = np.array(dataset.cumulative_sizes)
    starts = [0, *dataset.cumulative_sizes]

    def read(indices: Any) -> list:
        rows = np.asarray(indices, dtype=np.int64)
        rows = np.where(rows < 0, rows + starts[-1], rows)
        if rows.size and not 0 <= rows.min() <= rows.max() < starts[-1]:
            return [dataset[i] for i in indices]  # one of them raises
        which = np.searchsorted(ends, rows, "right")
        parts = [readers[k]((rows[which == k] - starts[k]).tolist()) for k in np.unique(which)]  # type: ignore[misc]
        if len(parts) == 1:
            return parts[0]
        back = np.argsort(np.argsort(which, kind="stable"))
        return [engine.cat(columns)[back] for columns in zip(*parts, strict=True)]  # type: ignore[index]

    return read


def _kind_of_sample(dataset: Any) -> tuple | None:
    """What the samples of a TensorDataset, or of a Subset of one, are: dtype, shape and device of each tensor."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    if type(dataset) is not TensorDataset:
        return None
    return tuple((t.dtype, tuple(t.shape[1:]), str(t.device)) for t in dataset.tensors)


def _stream_fetch(stream: Iterator, batched: bool, collate_fn: Callable[[Any], Any], drop_last: bool) -> Fetch:
    if not batched:
        return lambda _: collate_fn(next(stream))

    def read(indices: list) -> Any:
        # `zip` would lose a sample of the stream when the indices end first, so the indices come first
        samples = [sample for _, sample in zip(indices, stream, strict=False)]
        if not samples or (drop_last and len(samples) < len(indices)):
            raise StopIteration
        return collate_fn(samples)

    return read
