"""Padding and nearest resizing as copies of slices: equal to gathering and adding at the index."""

from __future__ import annotations

import numpy as np
import pytest

from engine.ops._axis_pieces import _add, _pieces, _take, add_axes, take_axes

RNG = np.random.default_rng(0)


def indices(size):
    """What padding and resizing make, and an index without any order."""
    reflected = (size - 1) - abs((size - 1) - abs(np.arange(1 - size, 2 * size - 1)))
    return {
        "same": np.arange(size), "double": np.arange(2 * size) // 2, "treble": np.arange(3 * size) // 3,
        "replicate": np.arange(-3, size + 2).clip(0, size - 1), "reflect": reflected,
        "circular": np.arange(-2, size + 2) % size, "half": np.arange(0, size, 2), "backwards": np.arange(size)[::-1].copy(),
        "any": RNG.integers(0, size, 40),
    }  # fmt: skip


CASES = [(size, name) for size in (1, 2, 5, 30) for name in indices(2)]


@pytest.mark.parametrize(("size", "name"), CASES)
def test_pieces_take_and_add_what_the_index_says(size, name):
    index = indices(size)[name]
    x, g = RNG.normal(size=(3, size, 4)), RNG.normal(size=(3, len(index), 4))
    np.testing.assert_array_equal(_take(x, 1, index, size), x.take(index, 1))
    expected = np.zeros_like(x)
    np.add.at(expected, (slice(None), index), g)
    np.testing.assert_allclose(_add(g, 1, index, size), expected, rtol=1e-12)


def test_regular_indices_take_few_pieces():
    few = {name: len(_pieces(index, 30) or []) for name, index in indices(30).items()}
    assert few == {"same": 1, "double": 2, "treble": 3, "replicate": 7, "reflect": 3, "circular": 5, "half": 1,
                   "backwards": 1, "any": 0}  # fmt: skip


def test_large_arrays_in_blocks():
    steps = ((2, np.arange(128) // 2, 64), (3, (63 - abs(63 - abs(np.arange(-2, 66)))), 64))
    x = RNG.normal(size=(4, 8, 64, 64)).astype(np.float32)
    y = x.take(steps[0][1], 2).take(steps[1][1], 3)
    np.testing.assert_array_equal(take_axes(np, x, steps), y)
    back = np.zeros_like(x)
    np.add.at(back, (slice(None), slice(None), steps[0][1][:, None], steps[1][1]), y)
    np.testing.assert_allclose(add_axes(np, y, steps), back, rtol=1e-5, atol=1e-5)
