"""Where a DataLoader is: what an epoch began with, and how a later process comes back to the same place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from ...random import default_generator
from ...tensor import wrap
from .streams import Streams

if TYPE_CHECKING:
    from .dataloader import DataLoader

State = dict[str, Any]


def is_stateful(obj: Any) -> bool:
    """Whether an object can save and restore itself."""
    return callable(getattr(obj, "state_dict", None)) and callable(getattr(obj, "load_state_dict", None))


def state_of(obj: Any) -> State | None:
    return obj.state_dict() if is_stateful(obj) else None


class Beginning:
    """Everything that decides the order of an epoch, read just before it begins."""

    def __init__(self, loader: DataLoader) -> None:
        self._streams = Streams()
        self._own = sources_state(loader)
        self._at_first_index: State | None = None
        self._saved: State | None = None

    def watched(self, indices: Iterator[Any], epoch: State | None) -> Iterator[Any]:
        """`indices`, whose first one is drawn with the streams as they were then, when `epoch` is taken up again.

        A sampler draws its numbers with the first index. Between the beginning and that others may have drawn: a second
        loader, in a program that reads two of them side by side.
        """
        before = Streams()

        def drawn() -> Iterator[Iterator[Any]]:
            self._at_first_index = None if epoch is None else epoch["beginning"].get("at_first_index")
            if self._at_first_index is not None:
                Streams.from_state_dict(self._at_first_index).restore()
            elif (now := Streams()) != before:
                self._at_first_index, self._saved = now.state_dict(), None
            yield indices

        return chain.from_iterable(drawn())

    def state_dict(self) -> State:
        if self._saved is None:  # an epoch has one beginning, and many checkpoints
            self._saved = {"streams": self._streams.state_dict(), **self._own}
            if self._at_first_index is not None:
                self._saved["at_first_index"] = self._at_first_index
        return self._saved


def restore_beginning(loader: DataLoader, state: State) -> None:
    Streams.from_state_dict(state["streams"]).restore()
    restore_sources(loader, state)


def sources_state(loader: DataLoader) -> State:
    """The state of the loader's own generators and of its sampler, where it has one."""
    return {
        "generators": [wrap(generator.state_array()) for generator in _generators(loader)],
        "sampler": state_of(loader._index_sampler),
    }


def restore_generators(loader: DataLoader, state: State) -> None:
    for generator, saved in zip(_generators(loader), state["generators"]):
        generator.set_state(saved)


def restore_sources(loader: DataLoader, state: State) -> None:
    restore_generators(loader, state)
    if state["sampler"] is not None:
        loader._index_sampler.load_state_dict(state["sampler"])


def _generators(loader: DataLoader) -> list[Any]:
    """The generators that only this loader draws from; the default one is among the process's streams."""
    holders = (loader, loader.sampler, loader.batch_sampler, getattr(loader.batch_sampler, "sampler", None))
    found = [getattr(holder, "generator", None) for holder in holders]
    own = {id(one): one for one in found if hasattr(one, "state_array") and one is not default_generator}
    return list(own.values())


@contextmanager
def streams_undisturbed() -> Iterator[None]:
    """Repeating the beginning of an epoch draws from the streams; whoever resumes has put them where they belong."""
    streams = Streams()
    try:
        yield
    finally:
        streams.restore()


class InProcess:
    """Iterator over a loader's batches, fetched in this process; counts them."""

    def __init__(self, loader: DataLoader, fetch: Any, indices: Iterator[Any], saved: State | None) -> None:
        self._fetch, self._indices, self._dataset = fetch, indices, loader.dataset
        self._count = 0 if saved is None else saved["position"]
        self.used_up = False
        read_again = loader._is_stream and saved is not None and saved["dataset"] is None
        for index in islice(indices, self._count):
            if read_again:
                fetch(index)
        if saved is not None and "workers" in saved:  # workers had orders, so the sampler had drawn its numbers
            self._indices = chain(list(islice(indices, 1)), indices)

    def __iter__(self) -> InProcess:
        return self

    def __next__(self) -> Any:
        try:
            batch = self._fetch(next(self._indices))
        except StopIteration:
            self.used_up = True
            raise
        self._count += 1
        return batch

    def state_dict(self) -> State:
        return {"position": self._count, "dataset": state_of(self._dataset)}
