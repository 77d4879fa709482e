"""Indices (or a stream) become a batch: the step that a worker process and the loop in this process share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .collate import default_collate
from .dataset import IterableDataset, Subset, TensorDataset

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
    if type(dataset) is TensorDataset:
        tensors = dataset.tensors

        def read(indices: Any) -> list:
            rows = np.asarray(indices, dtype=np.int64)
            return [tensor[rows] for tensor in tensors]

        return read
    if type(dataset) is Subset:
        inner, chosen = _row_reader(dataset.dataset), dataset.indices
        if inner is not None:
            return lambda indices: inner([chosen[i] for i in indices])
    return None


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
