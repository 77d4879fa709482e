"""CombinedLoader: several loaders iterated together or one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import inf
from typing import Any

MODES = ("min_size", "max_size_cycle", "max_size", "sequential")


def length_of(loader: Any) -> int | float:
    """``len(loader)``, or inf where it has none.

    Example:
        >>> from lit.combined_loader import length_of
        >>> length_of([1, 2]), length_of(iter([1, 2]))
        (2, inf)
    """
    try:
        return len(loader)
    except (TypeError, NotImplementedError):
        return inf


def is_collection(loaders: Any) -> bool:
    """Whether ``loaders`` is a dict, list or tuple of loaders, and not a list of batches.

    Example:
        >>> from lit.combined_loader import is_collection
        >>> batch = (torch.ones(2), torch.ones(2))
        >>> is_collection([batch, batch]), is_collection([[batch], [batch]]), is_collection([1, 2])
        (False, True, False)
    """
    if isinstance(loaders, Mapping):
        return True
    return isinstance(loaders, (list, tuple)) and all(
        isinstance(item, Iterable) and not isinstance(item, (str, bytes)) and not _is_batch(item) for item in loaders
    )


def _is_batch(item: Any) -> bool:
    """A tensor or array, or a list, tuple or dict with one directly inside."""
    if isinstance(item, Mapping):
        return any(hasattr(value, "shape") for value in item.values())
    if isinstance(item, (list, tuple)):
        return any(hasattr(value, "shape") for value in item)
    return hasattr(item, "shape")


def flatten(loaders: Any) -> list[Any]:
    """All loaders inside (nested) lists and dicts."""
    if isinstance(loaders, Mapping):
        return [leaf for item in loaders.values() for leaf in flatten(item)]
    if is_collection(loaders):
        return [leaf for item in loaders for leaf in flatten(item)]
    return [loaders]


def unflatten(structure: Any, leaves: Iterator[Any]) -> Any:
    """The shape of ``structure`` with its loaders replaced by ``leaves``, in order."""
    if isinstance(structure, Mapping):
        return {name: unflatten(item, leaves) for name, item in structure.items()}
    if is_collection(structure):
        items = [unflatten(item, leaves) for item in structure]
        return items if isinstance(structure, list) else tuple(items)
    return next(leaves)


class CombinedLoader:
    """Iterates over several loaders at once, yielding ``(batch, batch_idx, dataloader_idx)``.

    Args:
        iterables: one loader, or a list, tuple or dict of loaders (nested as you like).
        mode: "min_size" stops with the shortest loader; "max_size_cycle" goes on to the end of the longest and starts
            shorter ones again; "max_size" goes on too and yields None for those that ended; "sequential" takes one
            loader after the other.

    Raises:
        ValueError: the mode is unknown.

    Example:
        >>> from lit.utilities import CombinedLoader
        >>> loaders = {"a": [1, 2, 3], "b": [10, 20]}
        >>> [batch for batch, _, _ in CombinedLoader(loaders, "max_size_cycle")]
        [{'a': 1, 'b': 10}, {'a': 2, 'b': 20}, {'a': 3, 'b': 10}]
        >>> [item for item in CombinedLoader(loaders, "sequential")]
        [(1, 0, 0), (2, 1, 0), (3, 2, 0), (10, 0, 1), (20, 1, 1)]
    """

    def __init__(self, iterables: Any, mode: str = "min_size") -> None:
        if mode not in MODES:
            raise ValueError(f"CombinedLoader(mode={mode!r}): expected one of {', '.join(map(repr, MODES))}.")
        self.iterables = iterables
        self.mode = mode
        self.limits: Sequence[int | float] | None = None

    @property
    def flattened(self) -> list[Any]:
        """The loaders in order."""
        return flatten(self.iterables)

    @flattened.setter
    def flattened(self, loaders: Sequence[Any]) -> None:
        self.iterables = unflatten(self.iterables, iter(loaders))

    def _lengths(self) -> list[int | float]:
        lengths = [length_of(loader) for loader in self.flattened]
        if self.limits is not None:
            lengths = [min(length, limit) for length, limit in zip(lengths, self.limits, strict=True)]
        return lengths

    def total(self) -> int | float:
        """Number of batches, inf if a loader that decides has no length."""
        lengths = self._lengths()
        if not lengths:
            return 0
        if self.mode == "sequential":
            return sum(lengths)
        return min(lengths) if self.mode == "min_size" else max(lengths)

    def __len__(self) -> int:
        total = self.total()
        if total == inf:
            raise NotImplementedError(f"CombinedLoader(mode={self.mode!r}): not all of the loaders have a length.")
        return int(total)

    def __iter__(self) -> Iterator[tuple[Any, int, int]]:
        limits = self.limits or [inf] * len(self.flattened)
        if self.mode == "sequential":
            yield from self._one_after_the_other(limits)
        else:
            for batch_idx, values in enumerate(self._together(limits)):
                yield unflatten(self.iterables, iter(values)), batch_idx, 0

    def _one_after_the_other(self, limits: Sequence[int | float]) -> Iterator[tuple[Any, int, int]]:
        for dataloader_idx, (loader, limit) in enumerate(zip(self.flattened, limits, strict=True)):
            for batch_idx, batch in enumerate(_limited(loader, limit)):
                yield batch, batch_idx, dataloader_idx

    def _together(self, limits: Sequence[int | float]) -> Iterator[list[Any]]:
        loaders = self.flattened
        iterators = [_limited(loader, limit) for loader, limit in zip(loaders, limits, strict=True)]
        ended = [False] * len(loaders)
        while iterators:
            values = []
            for index, iterator in enumerate(iterators):
                value = next(iterator, _END)
                if value is _END:
                    if self.mode == "min_size":
                        return
                    ended[index] = True
                    if all(ended):
                        return
                    if self.mode == "max_size_cycle":
                        iterators[index] = _limited(loaders[index], limits[index])
                        value = next(iterators[index], _END)
                values.append(None if value is _END else value)
            if all(ended):
                return
            yield values


_END = object()


def _limited(loader: Any, limit: int | float) -> Iterator[Any]:
    iterator = iter(loader)
    count = 0
    while count < limit:
        try:
            value = next(iterator)
        except StopIteration:
            return
        yield value
        count += 1
