"""Datasets: samples by key or as a stream, and the datasets made of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import engine
from engine.utils.data import (
    ChainDataset,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    StackDataset,
    Subset,
    TensorDataset,
    random_split,
)


class Squares(Dataset[int]):
    def __init__(self, n: int) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> int:
        if not 0 <= i < self.n:
            raise IndexError(i)
        return i * i


class Batched(Squares):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [-i for i in indices]


class Stream(IterableDataset[int]):
    def __init__(self, *items: int) -> None:
        self.items = items

    def __iter__(self) -> Iterator[int]:
        return iter(self.items)

    def __len__(self) -> int:
        return len(self.items)


def test_tensor_dataset_gives_rows() -> None:
    data = TensorDataset(engine.arange(6).reshape(3, 2), engine.tensor([7.0, 8.0, 9.0]))
    x, y = data[1]
    assert len(data) == 3 and x.tolist() == [2, 3] and y.item() == 8.0
    assert [t.tolist() for t in data[0:2]] == [[[0, 1], [2, 3]], [7.0, 8.0]]
    with pytest.raises(IndexError):
        data[3]


def test_tensor_dataset_refuses_different_lengths() -> None:
    with pytest.raises(AssertionError, match=r"Size mismatch between tensors.*\[3, 2\]"):
        TensorDataset(engine.zeros(3), engine.zeros(2))


def test_concat_finds_the_dataset_and_the_place_in_it() -> None:
    both = Squares(3) + Squares(0) + Squares(2)
    assert isinstance(both, ConcatDataset)
    assert [both[i] for i in range(5)] == [0, 1, 4, 0, 1]
    assert both[-1] == 1 and both[-5] == 0 and len(both) == 5
    assert list(both) == [0, 1, 4, 0, 1]  # iteration by key ends at IndexError
    with pytest.raises(ValueError, match="should not exceed dataset length"):
        both[-6]
    with pytest.raises(IndexError, match="5 is out of range.*5 samples"):
        both[5]


def test_concat_refuses_nothing_and_streams() -> None:
    with pytest.raises(AssertionError, match="empty"):
        ConcatDataset([])
    with pytest.raises(AssertionError, match="does not support IterableDataset"):
        ConcatDataset([Stream(1)])


def test_chain_is_lazy_and_takes_streams_only() -> None:
    chain = Stream(1, 2) + Stream() + Stream(3)
    assert isinstance(chain, ChainDataset)
    assert list(chain) == [1, 2, 3] and len(chain) == 3
    wrong = ChainDataset([Stream(1), Squares(2)])
    with pytest.raises(AssertionError, match="only supports IterableDataset, got Squares"):
        list(wrong)


def test_stack_gives_tuples_or_dicts() -> None:
    assert StackDataset(Squares(3), "abc")[2] == (4, "c")
    named = StackDataset(x=Squares(3), y="abc")
    assert named[2] == {"x": 4, "y": "c"} and len(named) == 3
    assert named.__getitems__([0, 2]) == [{"x": 0, "y": "a"}, {"x": 4, "y": "c"}]
    assert StackDataset(Batched(3), "abc").__getitems__([0, 2]) == [(0, "a"), (-2, "c")]


def test_stack_refuses_nothing_both_kinds_and_different_lengths() -> None:
    for args, kwargs, text in (
        ((), {}, "At least one dataset"),
        ((Squares(1),), {"x": Squares(1)}, "not both"),
        ((Squares(1), Squares(2)), {}, r"Size mismatch between datasets: lengths \[1, 2\]"),
    ):
        with pytest.raises(ValueError, match=text):
            StackDataset(*args, **kwargs)


class Short(Squares):
    def __getitems__(self, indices: list[int]) -> list[int]:
        return [0]


def test_stack_notices_a_batch_of_the_wrong_size() -> None:
    with pytest.raises(ValueError, match="Expected 2, got 1"):
        StackDataset(Short(3), "abc").__getitems__([0, 1])


def test_subset_reads_through() -> None:
    part = Subset(Squares(10), [5, 3])
    assert len(part) == 2 and part[1] == 9 and list(part) == [25, 9]
    assert part.__getitems__([1, 0]) == [9, 25]
    assert Subset(Batched(10), [5, 3]).__getitems__([1]) == [-3]
    assert Subset(np.arange(10), [5, 3])[[0, 1]].tolist() == [5, 3]


def test_subset_refuses_half_an_override() -> None:
    class Half(Subset):
        def __getitem__(self, i: Any) -> Any:
            return 0

    with pytest.raises(NotImplementedError, match="Half overrides __getitem__ but not __getitems__"):
        Half(Squares(2), [0])


def test_random_split_by_lengths_and_fractions() -> None:
    parts = random_split(Squares(10), [7, 3], generator=engine.Generator().manual_seed(1))
    assert [len(part) for part in parts] == [7, 3]
    assert sorted(i for part in parts for i in part.indices) == list(range(10))
    thirds = random_split(Squares(10), [1 / 3, 1 / 3, 1 / 3])
    assert [len(part) for part in thirds] == [4, 3, 3]  # the remainder goes round from the first


@pytest.mark.parametrize("lengths", [[7, 2], [0.5, 0.4], [11]])
def test_random_split_refuses_lengths_that_do_not_add_up(lengths: list) -> None:
    with pytest.raises(ValueError, match="Sum of input lengths does not equal.*10 samples"):
        random_split(Squares(10), lengths)


def test_random_split_refuses_bad_fractions_and_warns_of_empty_parts() -> None:
    with pytest.raises(ValueError, match="index 0 is not between 0 and 1, got 1.5"):
        random_split(Squares(10), [1.5, -0.5])
    with pytest.warns(UserWarning, match="index 1 is 0"):
        random_split(Squares(3), [0.99, 0.01])


def test_random_split_as_torch() -> None:
    torch = pytest.importorskip("torch")
    for lengths in ([30, 70], [0.25, 0.25, 0.5]):
        torch.manual_seed(3)
        engine.manual_seed(3)
        theirs = torch.utils.data.random_split(range(100), lengths)
        ours = random_split(range(100), lengths)
        assert [list(part) for part in ours] == [list(part) for part in theirs]


def test_base_classes_say_what_is_missing() -> None:
    with pytest.raises(NotImplementedError, match="must define __getitem__"):
        Dataset()[0]
    with pytest.raises(NotImplementedError, match="must define __iter__"):
        iter(IterableDataset())


def test_a_batch_comes_from_getitems_where_there_is_one() -> None:
    assert [b.tolist() for b in DataLoader(Batched(3), batch_size=2)] == [[0, -1], [-2]]
