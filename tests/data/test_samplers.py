"""Samplers: the order of samples, the same as torch's for the same seed."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from engine.utils import data

# What torch 2.13 gives: two epochs, a weighted draw, one with replacement (one after the other), and a split.
EPOCHS_OF_SEED_17 = [[[0, 6, 4], [5, 3, 2], [1, 7]], [[3, 7, 6], [4, 1, 2], [0, 5]]]
WEIGHTED = [4, 1, 4, 4, 0]
REPLACED = [47, 50, 26, 34, 66]
HALVES = [[0, 3, 2], [4, 1, 5]]


def both(make: Any, seed: int = 5) -> None:
    """`make(library)` gives the same lists here and in torch, twice, and leaves the default stream at one place."""
    torch = pytest.importorskip("torch")
    results = []
    for library in (engine, torch):
        library.manual_seed(seed)
        sampler = make(library)
        results.append((list(sampler), list(sampler), len(sampler), library.initial_seed(), state(library)))
    assert results[0] == results[1]


def state(library: Any) -> bytes:
    # without the eight bytes in which torch counts a stream that has not begun in another way
    return bytes(library.get_rng_state().numpy()[24:])


def test_orders_that_torch_gives() -> None:
    engine.manual_seed(17)
    loader = data.DataLoader(range(8), batch_size=3, shuffle=True)
    assert [[batch.tolist() for batch in loader] for _ in range(2)] == EPOCHS_OF_SEED_17
    weights = [0.1, 0.9, 0.4, 0.7, 3.0, 0.6]
    assert list(data.WeightedRandomSampler(weights, 5)) == WEIGHTED
    assert list(data.RandomSampler(range(100), replacement=True, num_samples=5)) == REPLACED
    parts = data.random_split(range(6), [0.5, 0.5], generator=engine.Generator().manual_seed(42))
    assert [list(part) for part in parts] == HALVES


def test_random_sampler_as_torch() -> None:
    both(lambda t: t.utils.data.RandomSampler(range(100)))
    both(lambda t: t.utils.data.RandomSampler(range(10), num_samples=25))
    both(lambda t: t.utils.data.RandomSampler(range(10), replacement=True, num_samples=70))
    both(lambda t: t.utils.data.RandomSampler(range(7), generator=t.default_generator))
    both(lambda t: t.utils.data.RandomSampler(range(7), True, 64, generator=t.Generator().manual_seed(1)))


def test_other_samplers_as_torch() -> None:
    both(lambda t: t.utils.data.SubsetRandomSampler([5, 6, 8, 1]))
    both(lambda t: t.utils.data.WeightedRandomSampler([0.1, 0.9, 0.4, 3.0], 9))
    both(lambda t: t.utils.data.WeightedRandomSampler([0.1, 0.9, 0.4, 3.0], 3, replacement=False))
    both(lambda t: t.utils.data.BatchSampler(t.utils.data.RandomSampler(range(10)), 3, drop_last=False))
    both(lambda t: t.utils.data.BatchSampler(t.utils.data.RandomSampler(range(10)), 3, drop_last=True))


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize("n", [2, 10, 12, 13])
def test_distributed_sampler_as_torch(n: int, drop_last: bool) -> None:
    for rank in range(4):
        for shuffle in (False, True):
            both(lambda t: t.utils.data.DistributedSampler(range(n), 4, rank, shuffle, 3, drop_last))  # noqa: B023


def test_distributed_shares_cover_everything_and_change_with_the_epoch() -> None:
    shares = [data.DistributedSampler(range(8), num_replicas=2, rank=rank) for rank in range(2)]
    first = [list(share) for share in shares]
    assert sorted(first[0] + first[1]) == list(range(8))
    shares[0].set_epoch(1)
    assert list(shares[0]) != first[0] and len(shares[0]) == 4
    with pytest.raises(ValueError, match=r"Invalid rank 2.*\[0, 1\]"):
        data.DistributedSampler(range(8), num_replicas=2, rank=2)
    with pytest.raises(RuntimeError, match="num_replicas= and rank="):
        data.DistributedSampler(range(8))


def test_samplers_draw_when_they_are_read_not_before() -> None:
    engine.manual_seed(1)
    before = state(engine)
    iter(data.RandomSampler(range(4)))
    iter(data.SubsetRandomSampler(range(4)))
    iter(data.WeightedRandomSampler([1.0, 2.0], 3))
    assert state(engine) == before


def test_sequential_and_batches() -> None:
    assert list(data.SequentialSampler("abc")) == [0, 1, 2]
    assert list(data.BatchSampler(range(4), 2, False)) == [[0, 1], [2, 3]]
    assert [len(data.BatchSampler(range(5), 2, drop)) for drop in (False, True)] == [3, 2]
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(data.Sampler())


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda: data.RandomSampler([]), ValueError, "num_samples=0"),
        (lambda: data.RandomSampler([1], num_samples=-1), ValueError, "num_samples=-1"),
        (lambda: data.RandomSampler([1], num_samples=1.5), ValueError, "num_samples=1.5"),
        (lambda: data.RandomSampler([1], replacement=1), TypeError, "replacement=1"),
        (lambda: data.WeightedRandomSampler([1.0], 0), ValueError, "num_samples=0"),
        (lambda: data.WeightedRandomSampler([1.0], True), ValueError, "num_samples=True"),
        (lambda: data.WeightedRandomSampler([1.0], 1, 1), ValueError, "replacement=1"),
        (lambda: data.WeightedRandomSampler([[1.0]], 1), ValueError, r"weights have shape \(1, 1\)"),
        (lambda: data.BatchSampler([1], 0, False), ValueError, "batch_size=0"),
        (lambda: data.BatchSampler([1], True, False), ValueError, "batch_size=True"),
        (lambda: data.BatchSampler([1], 2.0, False), ValueError, "batch_size=2.0"),
        (lambda: data.BatchSampler([1], 2, 1), ValueError, "drop_last=1"),
    ],
)
def test_wrong_arguments(make: Any, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        make()
