"""Steps that fetch their batches themselves: ``training_step(self, dataloader_iter)`` and its siblings."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from typing import Any

Item = tuple[Any, int, int]  # batch, batch_idx, dataloader_idx


def takes_iterator(step: Callable[..., Any]) -> bool:
    """Whether a step asks for the iterator, by the name of its argument."""
    return "dataloader_iter" in inspect.signature(step).parameters


class DataLoaderIter(Iterator[Item]):
    """What such a step gets: ``batch, batch_idx, dataloader_idx = next(dataloader_iter)``, as often as it likes.

    Batches come as the loader yields them: the step moves them to the device. The loop calls the step until the
    iterator is ``done``; a step that fetches more than there is ends the loop too.

    Args:
        items: where the batches come from.
        is_done: whether that was the last one, given the number of batches fetched.
        note: called with each batch and its dataloader_idx.
        fetched: batches that were fetched before (of an epoch that is taken up again).

    Example:
        >>> from lit.dataloader_iter import DataLoaderIter
        >>> source = DataLoaderIter(iter([("a", 0, 0), ("b", 1, 0)]), is_done=lambda fetched: fetched == 2)
        >>> next(source), source.fetched, source.done
        (('a', 0, 0), 1, False)
    """

    def __init__(
        self,
        items: Iterator[Item],
        is_done: Callable[[int], bool],
        note: Callable[[Any, int], None] = lambda batch, dataloader_idx: None,
        fetched: int = 0,
    ) -> None:
        self._items, self._is_done, self._note = items, is_done, note
        self.fetched = fetched
        self.batch: Any = None  # the latest
        self.batch_idx = self.dataloader_idx = 0

    @property
    def done(self) -> bool:
        """Whether the last batch has been fetched."""
        return self._is_done(self.fetched)

    def __next__(self) -> Item:
        item = next(self._items)
        self.batch, self.batch_idx, self.dataloader_idx = item
        self.fetched += 1
        self._note(self.batch, self.dataloader_idx)
        return item

    def until_done(self) -> Iterator[DataLoaderIter]:
        """This iterator itself, again and again until it is done: what the loop hands to the step."""
        while not self.done:
            yield self
