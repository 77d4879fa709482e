"""CombinedLoader: several loaders iterated together or one after the other."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from math import inf
from typing import Any

from engine.utils.data import DataLoader
from engine.utils.data.position import is_stateful

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
        self._passes: list[Pass] = []
        self._saved: list[dict[str, Any]] | None = None

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
        saved, self._saved = self._saved, None
        if self.mode == "sequential":
            return self._one_after_the_other(limits)
        self._passes = [Pass(loader, limit) for loader, limit in zip(self.flattened, limits, strict=True)]
        if saved is not None:
            for one, state in zip(self._passes, saved, strict=True):
                one.load_state_dict(state)
        for one in self._passes:  # all before the first batch: each draws its seed now, in this order
            one.begin()
        start = max((one.total for one in self._passes), default=0)
        numbered = enumerate(self._together(), start)
        return ((unflatten(self.iterables, iter(values)), batch_idx, 0) for batch_idx, values in numbered)

    def state_dict(self) -> list[dict[str, Any]]:
        """Where each loader is after the last batches given out."""
        return [one.state_dict() for one in self._passes]

    def load_state_dict(self, state: list[dict[str, Any]]) -> None:
        """Let the next iteration go on where ``state_dict`` was taken."""
        self._saved = state

    def _one_after_the_other(self, limits: Sequence[int | float]) -> Iterator[tuple[Any, int, int]]:
        for dataloader_idx, (loader, limit) in enumerate(zip(self.flattened, limits, strict=True)):
            for batch_idx, batch in enumerate(Pass(loader, limit)):
                yield batch, batch_idx, dataloader_idx

    def _together(self) -> Iterator[list[Any]]:
        while self._passes:
            values = []
            for one in self._passes:
                value = next(one, _END)
                if value is _END:
                    if self.mode == "min_size":
                        return
                    one.ended = True
                    if all(other.ended for other in self._passes):
                        return
                    if self.mode == "max_size_cycle":
                        one.restart()
                        value = next(one, _END)
                values.append(None if value is _END else value)
            yield values


_END = object()


class Pass:
    """One way through a loader, up to ``limit`` batches, that can be taken up again in another process.

    A loader with ``state_dict`` and ``load_state_dict`` says itself where it is; any other is read again up to there.

    Example:
        >>> from lit.combined_loader import Pass
        >>> first = Pass([1, 2, 3, 4], limit=3)
        >>> next(first)
        1
        >>> second = Pass([1, 2, 3, 4], limit=3)
        >>> second.load_state_dict(first.state_dict())
        >>> list(second)
        [2, 3]
    """

    def __init__(self, loader: Any, limit: int | float = inf) -> None:
        self.loader, self.limit = loader, limit
        self.ended = False  # the loader has come to its end once, and may have begun again
        self.total = 0  # batches over all passes
        self.restart()

    def restart(self) -> None:
        """Begin with the first batch."""
        self.count = 0
        self._iterator: Iterator[Any] | None = None

    def begin(self) -> Iterator[Any]:
        """The iterator over the loader, made now if there is none yet."""
        if self._iterator is None:
            self._iterator = iter(self.loader)
        return self._iterator

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self.count >= self.limit:
            raise StopIteration
        value = next(self.begin())
        self.count += 1
        self.total += 1
        return value

    def state_dict(self) -> dict[str, Any]:
        return {**state_in_pass(self.loader, self.count), "total": self.total, "ended": self.ended}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.count = int(state["batches"])
        self.total, self.ended = int(state.get("total", self.count)), bool(state.get("ended"))
        self._iterator = resumed_iterator(self.loader, state) if self.count else None


def state_in_pass(loader: Any, batches: int) -> dict[str, Any]:
    """Where a loader is after it has given out ``batches`` batches."""
    return {"loader": loader.state_dict() if is_stateful(loader) else None, "batches": batches}


def state_between_epochs(loader: Any) -> dict[str, Any]:
    """What of a loader's state outlives an epoch."""
    own = loader.state_dict() if is_stateful(loader) else None
    if own is not None and isinstance(loader, DataLoader):
        own["epoch"] = None  # the iterator may still be there
    return {"loader": own, "batches": 0}


def resumed_iterator(loader: Any, state: dict[str, Any]) -> Iterator[Any]:
    """An iterator over the batches that are left after ``state_in_pass`` was taken."""
    if state["loader"] is not None:
        loader.load_state_dict(state["loader"])
        return iter(loader)
    iterator = iter(loader)
    for _ in islice(iterator, int(state["batches"])):
        pass
    return iterator
