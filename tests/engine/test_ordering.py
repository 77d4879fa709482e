"""Large sorts, topk and medians: the packed and selected forms against plain NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import engine

RNG = np.random.default_rng(3)


def plain_order(a, descending):
    """A stable order, equal elements by place, NaN as the largest."""
    rank = np.unique(a, return_inverse=True)[1].reshape(a.shape)
    return np.argsort(-rank if descending else rank, axis=-1, kind="stable")


def with_specials(shape):
    a = RNG.normal(size=shape).astype(np.float32).round(1)
    a[..., ::97], a[..., ::89], a[..., ::83], a[..., ::79] = np.nan, -np.inf, np.inf, -0.0
    a[..., ::101] = np.copysign(np.nan, -1.0)
    return a


LARGE = {
    "float32": RNG.normal(size=(9, 8000)).astype(np.float32),
    "ties": RNG.integers(0, 5, (9, 8000)).astype(np.float32),
    "specials": with_specials((9, 8000)),
    "float64": RNG.normal(size=(9, 8000)),
    "int32": RNG.integers(-(2**31), 2**31, (9, 8000)).astype(np.int32),
    "int64": RNG.integers(-1000, 1000, (9, 8000)),
    "wide int64": RNG.integers(-(2**62), 2**62, (9, 8000)),
    "uint8": RNG.integers(0, 256, (9, 8000)).astype(np.uint8),
}


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", LARGE)
def test_order_is_stable(name, descending):
    a = LARGE[name]
    values, indices = engine.sort(engine.from_numpy(a), descending=descending)
    expected = plain_order(a, descending)
    np.testing.assert_array_equal(indices.numpy(), expected)
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, expected, -1))
    across = engine.argsort(engine.from_numpy(a.T.copy()), dim=0, descending=descending)
    np.testing.assert_array_equal(across.numpy(), expected.T)


@pytest.mark.parametrize("largest", [False, True])
@pytest.mark.parametrize("k", [1, 10, 300])
@pytest.mark.parametrize("name", LARGE)
def test_topk_is_the_head_of_the_order(name, k, largest):
    a = LARGE[name]
    values, indices = engine.topk(engine.from_numpy(a), k, largest=largest)
    np.testing.assert_array_equal(indices.numpy(), plain_order(a, largest)[:, :k])
    np.testing.assert_array_equal(values.numpy(), np.take_along_axis(a, indices.numpy(), -1))


@pytest.mark.parametrize("name", LARGE)
def test_middle_and_kth_values(name):
    a = LARGE[name]
    n = a.shape[-1]
    x = engine.from_numpy(a)
    for found, place in ((engine.median(x, -1), (n - 1) // 2), (engine.kthvalue(x, 7), 6)):
        expected = np.take_along_axis(a, plain_order(a, False)[:, place, None], -1)[:, 0]
        if found.values.numpy().dtype.kind == "f" and np.isnan(a).any() and place > 6:
            expected = np.full(len(a), np.nan)
        np.testing.assert_array_equal(found.values.numpy(), expected)
        np.testing.assert_array_equal(np.take_along_axis(a, found.indices.numpy()[:, None], -1)[:, 0], expected)
