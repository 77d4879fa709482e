"""DataLoader in one process: batches, order, arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import engine
from engine.utils import data
from engine.utils.data import (
    ConcatDataset,
    DataLoader,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    default_collate,
)


class Stream(IterableDataset[int]):
    def __init__(self, n: int, promised: int | None = None) -> None:
        self.n, self.promised = n, promised

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.n))

    def __len__(self) -> int:
        if self.promised is None:
            raise TypeError("a stream of unknown length")
        return self.promised


def numbers(loader: Any) -> list:
    return [batch.tolist() for batch in loader]


def test_batches_of_a_map_style_dataset() -> None:
    assert numbers(DataLoader(range(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert numbers(DataLoader(range(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert numbers(DataLoader(range(3))) == [[0], [1], [2]]
    assert list(DataLoader(range(3), batch_size=None)) == [0, 1, 2]
    assert list(DataLoader(range(4), batch_size=2, collate_fn=sum)) == [1, 5]
    assert numbers(DataLoader(range(9), batch_sampler=[[8, 1], [2]])) == [[8, 1], [2]]
    assert numbers(DataLoader(range(9), batch_size=2, sampler=[3, 5, 7])) == [[3, 5], [7]]


def test_batches_of_a_stream() -> None:
    assert numbers(DataLoader(Stream(5), batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert numbers(DataLoader(Stream(5), batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert numbers(DataLoader(Stream(4), batch_size=2)) == [[0, 1], [2, 3]]
    assert list(DataLoader(Stream(3), batch_size=None)) == [0, 1, 2]
    assert numbers(DataLoader(Stream(0), batch_size=2)) == []


def test_lengths() -> None:
    assert [len(DataLoader(range(5), batch_size=2, drop_last=drop)) for drop in (False, True)] == [3, 2]
    assert len(DataLoader(range(5), batch_size=None)) == 5
    assert [len(DataLoader(Stream(5, 5), batch_size=2, drop_last=drop)) for drop in (False, True)] == [3, 2]
    with pytest.raises(TypeError, match="unknown length"):
        len(DataLoader(Stream(5)))


def test_a_stream_longer_than_it_said_is_reported() -> None:
    loader = DataLoader(Stream(3, promised=2), batch_size=None)
    len(loader)
    with pytest.warns(UserWarning, match="reported to be 2.*3 samples have been fetched"):
        assert list(loader) == [0, 1, 2]


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seeded", [False, True])
def test_same_seed_gives_torchs_order_and_leaves_the_streams_where_torch_does(workers: int, seeded: bool) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (engine, torch):
        library.manual_seed(17)
        generator = library.Generator().manual_seed(4) if seeded else None
        loader = library.utils.data.DataLoader(
            range(23), batch_size=4, shuffle=True, generator=generator, num_workers=workers
        )
        epochs = [numbers(loader) for _ in range(2)]
        drawn = [library.rand(2, generator=g).tolist() for g in (None, generator)]
        results.append((epochs, drawn))
    assert results[0] == results[1]


@pytest.mark.parametrize("options", [{}, {"sampler": "weighted"}, {"sampler": "subset"}, {"batch_size": None}])
def test_samplers_in_a_loader_as_torch(options: dict) -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (engine, torch):
        library.manual_seed(2)
        d = library.utils.data
        chosen = dict(options)
        if options.get("sampler") == "weighted":
            chosen["sampler"] = d.WeightedRandomSampler([1.0, 2.0, 3.0, 4.0], 12)
        elif options.get("sampler") == "subset":
            chosen["sampler"] = d.SubsetRandomSampler(range(2, 9))
        else:
            chosen["shuffle"] = True
        loader = d.DataLoader(range(10), **{"batch_size": 3, **chosen})
        results.append(
            [[np.asarray(batch).tolist() for batch in loader] for _ in range(2)] + [library.rand(1).tolist()]
        )
    assert results[0] == results[1]


def test_tensor_rows_come_by_one_indexing_operation_per_batch() -> None:
    x, y = engine.arange(40).reshape(20, 2), engine.arange(20)
    read: list = []

    class Counting(TensorDataset):
        def __getitem__(self, index: Any) -> Any:
            read.append(index)
            return super().__getitem__(index)

    def run(dataset: Any) -> list:
        engine.manual_seed(3)
        return [[t.tolist() for t in batch] for batch in DataLoader(dataset, batch_size=8, shuffle=True)]

    short, long = run(TensorDataset(x, y)), run(Counting(x, y))
    assert short == long and len(read) == 20  # a subclass is read sample by sample, with the same result
    assert run(Subset(TensorDataset(x, y), range(20))) == short
    assert type(next(iter(DataLoader(TensorDataset(x, y))))) is list


def array_backed(x, y):
    """Datasets that are read with one indexing operation per tensor and batch, and what their samples are made of."""
    half = Subset(TensorDataset(x, y), range(3, 11))
    return {
        "tensor": x,
        "stacked": StackDataset(x, TensorDataset(y), half_again(half, x)),
        "named": StackDataset(a=y, b=TensorDataset(x, y)),
        "one after the other": ConcatDataset([TensorDataset(x, y), half, TensorDataset(x[:1], y[:1])]),
        "of different kinds": ConcatDataset([TensorDataset(x, y), TensorDataset(x.double(), y)]),
        "nested": Subset(ConcatDataset([half, TensorDataset(x, y)]), [5, 5, 9, 0, 27, 8]),
    }


def half_again(half, x):
    return Subset(half, [i % len(half) for i in range(len(x))])


def assert_same_batches(a, b):
    assert type(a) is type(b)
    if isinstance(a, engine.Tensor):
        assert a.dtype == b.dtype and a.tolist() == b.tolist()
        return
    assert len(a) == len(b)
    for one, two in zip(a.values() if isinstance(a, dict) else a, b.values() if isinstance(b, dict) else b):
        assert_same_batches(one, two)


@pytest.mark.parametrize("name", array_backed(engine.ones(20, 2), engine.ones(20)))
def test_tensors_read_in_one_operation_give_the_batches_of_single_samples(name):
    x, y = engine.arange(40.0).reshape(20, 2), engine.arange(20)
    data = array_backed(x, y)[name]
    order = [2, 0, 3, 3, len(data) - 1, *range(len(data))]

    def batches(**options):
        return list(DataLoader(data, batch_size=4, sampler=order, **options))

    found, expected = batches(), batches(collate_fn=lambda samples: default_collate(samples))
    for one, two in zip(found, expected, strict=True):
        assert_same_batches(one, two)


def test_indices_from_the_end_and_beyond_it_in_concatenated_tensors():
    data = ConcatDataset([TensorDataset(engine.arange(3)), TensorDataset(engine.arange(10, 12))])
    assert next(iter(DataLoader(data, batch_size=3, sampler=[-1, 0, -3])))[0].tolist() == [11, 0, 2]
    with pytest.raises(IndexError):
        next(iter(DataLoader(data, batch_size=2, sampler=[0, 5])))
    with pytest.raises(ValueError, match="absolute value"):
        next(iter(DataLoader(data, batch_size=2, sampler=[0, -6])))


def test_rows_of_a_batch_are_copies() -> None:
    x = engine.zeros(4, 2)
    for (batch,) in DataLoader(TensorDataset(x), batch_size=2):
        batch += 1
    assert x.sum().item() == 0


def test_an_exception_leaves_the_iterator_usable() -> None:
    class Picky(data.Dataset):
        def __len__(self) -> int:
            return 3

        def __getitem__(self, i: int) -> int:
            if i == 1:
                raise KeyError("one")
            return i

    batches = iter(DataLoader(Picky()))
    assert next(batches).tolist() == [0]
    with pytest.raises(KeyError, match="one"):
        next(batches)
    assert next(batches).tolist() == [2]


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        ({"num_workers": -1}, ValueError, "num_workers option should be non-negative, got -1"),
        ({"timeout": -1}, ValueError, "timeout option should be non-negative"),
        ({"prefetch_factor": 2}, ValueError, "prefetch_factor option could only be specified in multiprocessing"),
        ({"prefetch_factor": -1, "num_workers": 1}, ValueError, "prefetch_factor option should be non-negative"),
        ({"persistent_workers": True}, ValueError, "persistent_workers option needs num_workers > 0"),
        ({"batch_size": 0}, ValueError, "batch_size=0"),
        ({"batch_size": -2}, ValueError, "batch_size=-2"),
        ({"batch_size": 1.5}, ValueError, "batch_size=1.5"),
        ({"shuffle": True, "sampler": [1]}, ValueError, "sampler option is mutually exclusive with shuffle"),
        ({"batch_sampler": [[1]], "batch_size": 2}, ValueError, "batch_sampler option is mutually exclusive"),
        ({"batch_sampler": [[1]], "drop_last": True}, ValueError, "batch_sampler option is mutually exclusive"),
        ({"batch_size": None, "drop_last": True}, ValueError, "mutually exclusive with drop_last"),
        ({"multiprocessing_context": "fork"}, ValueError, "num_workers=0"),
        ({"multiprocessing_context": "x", "num_workers": 1}, ValueError, "valid start method in .*'x'"),
        ({"multiprocessing_context": 1, "num_workers": 1}, TypeError, "valid context object or a string"),
    ],
)
def test_wrong_arguments(options: dict, error: type, text: str) -> None:
    with pytest.raises(error, match=text):
        DataLoader(range(4), **options)


@pytest.mark.parametrize("options", [{"shuffle": True}, {"sampler": [1]}, {"batch_sampler": [[1]]}])
def test_a_stream_takes_no_sampler(options: dict) -> None:
    (name,) = options
    with pytest.raises(ValueError, match=f"IterableDataset: expected unspecified {name} option, but got {name}="):
        DataLoader(Stream(3), **options)


def test_an_empty_dataset() -> None:
    assert list(DataLoader([])) == []
    with pytest.raises(ValueError, match="num_samples=0"):
        DataLoader([], shuffle=True)


@pytest.mark.parametrize(
    "name", ["batch_size", "sampler", "batch_sampler", "drop_last", "dataset", "persistent_workers"]
)
def test_what_decides_the_order_cannot_be_changed_later(name: str) -> None:
    with pytest.raises(ValueError, match=f"{name} attribute should not be set after DataLoader is initialized"):
        setattr(DataLoader(range(3)), name, 1)


def test_attributes_that_programs_read() -> None:
    loader = DataLoader(range(4), batch_size=2, pin_memory=True, num_workers=1)
    assert (loader.batch_size, loader.drop_last, loader.num_workers, loader.pin_memory) == (2, False, 1, True)
    assert loader.prefetch_factor == 2 and loader.collate_fn is data.default_collate
    assert isinstance(loader.sampler, data.SequentialSampler) and isinstance(loader.batch_sampler, data.BatchSampler)
    assert DataLoader(range(4), batch_sampler=[[0]]).batch_size is None
