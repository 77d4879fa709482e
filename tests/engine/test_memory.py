"""Blocks too large for the C library to keep: reused once nobody holds them, and never while somebody does."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine import memory

SHAPE = (1 << 12, 1 << 11)  # 32 MB in single precision


@pytest.fixture(autouse=True)
def no_blocks_before(monkeypatch):
    monkeypatch.setattr(memory, "_blocks", [])
    monkeypatch.setattr(memory, "_keeps", True)


def address(array):
    return array.__array_interface__["data"][0]


def test_a_block_is_used_again_once_the_last_view_is_gone():
    first = memory.empty(SHAPE, np.float32)
    at, view = address(first), first[1:]
    del first
    second = memory.empty(SHAPE, np.float32)
    assert address(second) != at
    del view
    assert address(memory.empty((1 << 23,), np.float32)) == at
    assert second.shape == SHAPE


def test_few_blocks_are_kept_and_none_of_another_kind_is_used(monkeypatch):
    monkeypatch.setattr(memory, "_SPARE", 1 << 25)
    for size in (1, 2, 3):
        assert memory.empty((size, *SHAPE), np.float32).shape == (size, *SHAPE)
    assert memory.empty(SHAPE, np.int32).dtype == np.int32
    assert len(memory._blocks) == 1
    assert memory.empty((10,), np.float32).base is None


def test_a_gradient_in_such_a_block_is_taken_over_and_lives_on():
    x, w = engine.ones(64, 2048), engine.ones(2048, 4096, requires_grad=True)
    (x @ w).sum().backward()
    gradient = w.grad._array
    assert any(gradient.base is block for block in memory._blocks)
    more = [engine.ones(2048, 64) @ engine.ones(64, 4096) for _ in range(3)]
    assert all((array == 64).all() for array in (gradient, *[m._array for m in more]))
