"""Collation: a list of samples becomes a batch of the same form as torch makes."""

from __future__ import annotations

import collections
from typing import Any, NamedTuple

import numpy as np
import pytest

import engine
from engine.utils.data import default_collate, default_convert
from engine.utils.data.collate import collate, default_collate_fn_map


class Point(NamedTuple):
    x: int
    y: float


class Tagged(dict):
    tag = "kept"


def plain(value: Any) -> Any:
    """A batch as (type names, dtypes, values), to compare the two libraries' batches."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return str(value.dtype), list(value.shape), value.tolist()
    if isinstance(value, dict):
        return type(value).__name__, {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, collections.deque)):
        return type(value).__name__, [plain(item) for item in value]
    return value


BATCHES: list[list] = [
    [1, 2, 3],
    [1.5, 2.0],
    [True, False],
    ["a", "b"],
    [b"a", b"b"],
    [(1, "a", 2.0), (3, "b", 4.0)],
    [[1, 2], [3, 4], [5, 6]],
    [{"a": 1, "b": [1.0, 2.0]}, {"a": 2, "b": [3.0, 4.0]}],
    [Point(1, 2.0), Point(3, 4.0)],
    [np.arange(3), np.arange(3)],
    [np.float32(1), np.float32(2)],
    [np.ones((2, 2), np.float16)] * 3,
    [np.array(3), np.array(4)],
    [collections.OrderedDict(a=1), collections.OrderedDict(a=2)],
    [collections.deque([1, 2]), collections.deque([3, 4])],
    [range(2), range(2)],
]


@pytest.mark.parametrize("batch", BATCHES, ids=repr)
def test_batches_have_the_form_that_torch_gives_them(batch: list) -> None:
    torch = pytest.importorskip("torch")
    assert plain(default_collate(batch)) == plain(torch.utils.data.default_collate(batch))


@pytest.mark.parametrize("sample", [*(batch[0] for batch in BATCHES), [np.arange(2), (np.int32(1), "x")]], ids=repr)
def test_samples_are_converted_as_torch_does(sample: Any) -> None:
    torch = pytest.importorskip("torch")
    assert plain(default_convert(sample)) == plain(torch.utils.data.default_convert(sample))


def test_tensors_are_stacked() -> None:
    batch = default_collate([(engine.ones(2), 1), (engine.zeros(2), 2)])
    assert isinstance(batch, list)
    assert batch[0].tolist() == [[1, 1], [0, 0]] and batch[1].tolist() == [1, 2]
    assert batch[1].dtype is engine.int64
    assert default_collate([1.0]).dtype is engine.float64


def test_mappings_keep_their_class_and_what_it_carries() -> None:
    batch = default_collate([Tagged(a=1), Tagged(a=2)])
    assert type(batch) is Tagged and batch.tag == "kept" and batch["a"].tolist() == [1, 2]


@pytest.mark.parametrize("wrong", [[object()], [None, None], [{1}], [np.array(["a"])]])
def test_other_types_are_refused_by_name(wrong: list) -> None:
    with pytest.raises(TypeError, match="must contain tensors, numpy arrays, numbers, dicts or lists; found"):
        default_collate(wrong)


def test_different_sizes_are_refused() -> None:
    with pytest.raises(RuntimeError, match=r"equal size.*\[1, 2\]"):
        default_collate([[1], [1, 2]])
    with pytest.raises(RuntimeError, match=r"equal size, but got \[2\] at entry 0 and \[3\] at entry 1"):
        default_collate([np.ones(2), np.ones(3)])
    with pytest.raises(RuntimeError, match=r"equal size, but got \[2\] at entry 0 and \[3\] at entry 1"):
        default_collate([engine.ones(2), engine.ones(3)])


def test_a_type_of_ones_own_can_be_added() -> None:
    table = {**default_collate_fn_map, complex: lambda batch, *, collate_fn_map=None: sum(batch)}
    assert collate([[1j, 2], [3j, 4]], collate_fn_map=table)[0] == 4j
