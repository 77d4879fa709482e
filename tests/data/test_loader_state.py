"""DataLoader.state_dict: a loader that goes on in another process gives what the first one would have given."""

from __future__ import annotations

import copy
import random
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.utils.data import DataLoader, Dataset, IterableDataset, WeightedRandomSampler, get_worker_info
from engine.utils.data.streams import Streams

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes share memory by file descriptors")


class Noisy(Dataset):
    """Samples that depend on all three random streams."""

    def __len__(self) -> int:
        return 11

    def __getitem__(self, i: int) -> Any:
        noise = random.random() + np.random.rand() + engine.rand(()).item()
        return engine.tensor([float(i), noise], dtype=engine.float64)


class Stream(IterableDataset):
    """A stream, shuffled anew in every pass, that has no state of its own."""

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        order = list(range(worker, 13, workers))
        random.shuffle(order)
        for i in order:
            yield engine.tensor([float(i), np.random.rand()], dtype=engine.float64)


class Stateful(IterableDataset):
    """A stream that knows where it is; ``read`` counts what was read in this process."""

    def __init__(self) -> None:
        self.at = self.read = 0

    def __iter__(self) -> Iterator[Any]:
        while self.at < 13:
            self.at += 1
            self.read += 1
            yield engine.tensor([float(self.at), engine.rand(()).item()], dtype=engine.float64)
        self.at = 0

    def state_dict(self) -> dict[str, Any]:
        return {"at": self.at}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.at = state["at"]


def shuffled(workers: int) -> DataLoader:
    return DataLoader(Noisy(), batch_size=2, shuffle=True, num_workers=workers)


def own_generator(workers: int) -> DataLoader:
    return DataLoader(
        Noisy(), batch_size=2, shuffle=True, num_workers=workers, generator=engine.Generator().manual_seed(3)
    )


def weighted(workers: int) -> DataLoader:
    return DataLoader(
        Noisy(), batch_size=3, drop_last=True, num_workers=workers, sampler=WeightedRandomSampler([1.0] * 11, 11)
    )


def unbatched(workers: int) -> DataLoader:
    return DataLoader(Noisy(), batch_size=None, num_workers=workers)


def stream(workers: int) -> DataLoader:
    return DataLoader(Stream(), batch_size=2, num_workers=workers)


def stateful(workers: int) -> DataLoader:
    return DataLoader(Stateful(), batch_size=2, num_workers=workers)


def persistent(workers: int) -> DataLoader:
    return DataLoader(Noisy(), batch_size=2, shuffle=True, num_workers=2, persistent_workers=True)


def persistent_stream(workers: int) -> DataLoader:
    return DataLoader(Stream(), batch_size=2, num_workers=2, persistent_workers=True)


KINDS = [shuffled, own_generator, weighted, unbatched, stream, stateful, persistent, persistent_stream]


def seed() -> None:
    engine.manual_seed(7)
    random.seed(7)
    np.random.seed(7)


def train(batches: Iterator[Any], limit: int | None = None) -> Iterator[Any]:
    """Batches with the noise of a training step after each."""
    for batch in batches:
        yield batch.tolist(), random.random(), float(np.random.rand()), engine.rand(()).item()
        if limit is not None:
            limit -= 1
            if limit == 0:
                return


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("at", [0, 1, 3, "end"])
def test_goes_on_where_it_was(kind: Any, workers: int, at: Any, tmp_path: Path) -> None:
    if workers == 0 and kind.__name__.startswith("persistent"):
        pytest.skip("there are no workers to persist")
    seed()
    first = kind(workers)
    list(train(iter(first)))  # an epoch before, which moves every state
    epoch = iter(first)
    before = list(train(epoch) if at == "end" else train(epoch, at)) if at else []
    file = tmp_path / "state"
    engine.save({"loader": first.state_dict(), "streams": Streams().state_dict()}, file)
    rest = [*train(epoch), "next epoch", *train(iter(first))]

    engine.manual_seed(99)
    second, saved = kind(workers), engine.load(file)
    Streams.from_state_dict(saved["streams"]).restore()
    second.load_state_dict(saved["loader"])
    again = [] if at == "end" else list(train(iter(second)))
    assert [*again, "next epoch", *train(iter(second))] == rest
    assert before or not at


def test_a_stateful_stream_is_not_read_again() -> None:
    first = stateful(0)
    epoch = iter(first)
    for _ in range(4):
        next(epoch)
    second = stateful(0)
    second.load_state_dict(first.state_dict())
    assert len(list(second)) == 3
    assert second.dataset.read == 5


def test_nothing_is_lost_when_batches_overtake_each_other() -> None:
    def loader() -> DataLoader:
        return DataLoader(range(20), batch_size=2, num_workers=3, in_order=False)

    first = loader()
    epoch = iter(first)
    seen = [i for _ in range(4) for i in next(epoch).tolist()]
    for _ in range(2):  # saved twice
        second = loader()
        second.load_state_dict(first.state_dict())
        first, epoch = second, iter(second)
        seen += next(epoch).tolist()
    assert sorted(seen + [i for batch in epoch for i in batch.tolist()]) == list(range(20))


def test_a_copied_loader_begins_anew() -> None:
    loader = shuffled(0)
    epoch = iter(loader)
    next(epoch)
    assert copy.deepcopy(loader).state_dict()["epoch"] is None


@pytest.mark.parametrize("taken", [0, 1, 3])
def test_two_shuffled_loaders_side_by_side_go_on(taken: int) -> None:
    """Both draw their seeds, then both their orders: the second loader's seed lies between the first one's draws."""

    def loaders() -> tuple[DataLoader, DataLoader]:
        return DataLoader(engine.arange(10), 2, shuffle=True), DataLoader(engine.arange(14), 2, shuffle=True)

    engine.manual_seed(0)
    first, second = loaders()
    pairs = zip(first, second)
    for _ in range(taken):
        next(pairs)
    states = first.state_dict(), second.state_dict(), engine.get_rng_state()
    rest = [[x.tolist() for x in pair] for pair in pairs]
    engine.manual_seed(1)
    again = loaders()
    for loader, state in zip(again, states):
        loader.load_state_dict(state)
    engine.set_rng_state(states[2])
    assert [[x.tolist() for x in pair] for pair in zip(*again)] == rest and len(rest) == 5 - taken
