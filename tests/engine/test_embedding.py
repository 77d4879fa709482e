"""Embeddings: padding rows, renormalisation, frequency scaling, bags and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def table(rows=5, width=3, seed=0):
    return engine.tensor(np.random.default_rng(seed).normal(size=(rows, width))).float().requires_grad_()


def test_repeated_rows_add_up_and_the_padding_row_gets_nothing():
    w = table()
    F.embedding(engine.tensor([[1, 2, 1], [4, 1, 2]]), w, padding_idx=2).sum().backward()
    np.testing.assert_array_equal(w.grad.numpy(), np.repeat([[0], [3], [0], [0], [1]], 3, 1))


def test_frequency_scaling_gives_every_used_row_the_same_weight():
    w = table()
    F.embedding(engine.tensor([1, 2, 1, 1]), w, scale_grad_by_freq=True).sum().backward()
    np.testing.assert_allclose(w.grad.numpy()[:, 0], [0, 1, 1, 0, 0])


def test_padding_gradient_is_differentiable():
    """Second derivatives respect the padding row as the first do."""
    w = table().double().detach().requires_grad_()
    y = F.embedding(engine.tensor([0, 2, 2]), w, padding_idx=0)
    (g,) = engine.autograd.grad((y**3).sum(), w, create_graph=True)
    (h,) = engine.autograd.grad(g.sum(), w)
    expected = np.zeros((5, 3))
    expected[2] = 12 * w.detach().numpy()[2]
    np.testing.assert_allclose(h.numpy(), expected)


def test_max_norm_shortens_the_rows_in_use_in_place():
    w = engine.tensor([[3.0, 4.0], [30.0, 40.0], [0.3, 0.4]])
    y = F.embedding(engine.tensor([0, 2, 0]), w, max_norm=1.0)
    np.testing.assert_allclose(w.numpy(), [[0.6, 0.8], [30, 40], [0.3, 0.4]], rtol=1e-5)
    np.testing.assert_allclose(y.numpy()[0], [0.6, 0.8], rtol=1e-5)
    assert w._version == 1


def test_int32_indices_and_any_shape():
    w = table()
    y = F.embedding(engine.tensor([[[1], [2]]], dtype=engine.int32), w)
    assert y.shape == (1, 2, 1, 3)
    np.testing.assert_array_equal(y.detach().numpy()[0, 1, 0], w.detach().numpy()[2])


@pytest.mark.parametrize("index", [[5], [-1]])
def test_indices_outside_of_the_table(index):
    with pytest.raises(IndexError, match="index out of range in self"):
        F.embedding(engine.tensor(index), table())


def test_errors():
    with pytest.raises(RuntimeError, match="Long, Int.*float32"):
        F.embedding(engine.ones(2), table())
    with pytest.raises(AssertionError, match="Padding_idx must be within num_embeddings"):
        F.embedding(engine.tensor([0]), table(), padding_idx=5)
    with pytest.raises(RuntimeError, match="scale_grad_by_freq not supported with sparse"):
        F.embedding(engine.tensor([0]), table(), scale_grad_by_freq=True, sparse=True)


def test_bags_with_offsets_and_empty_bags():
    w = table()
    index, offsets = engine.tensor([0, 1, 2, 3]), engine.tensor([0, 2, 2])
    a = w.detach().numpy()
    y = F.embedding_bag(index, w, offsets, mode="sum")
    np.testing.assert_allclose(y.detach().numpy(), [a[0] + a[1], a[0] * 0, a[2] + a[3]], rtol=1e-6)
    y = F.embedding_bag(index, w, offsets, mode="max")
    np.testing.assert_allclose(y.detach().numpy(), [np.maximum(a[0], a[1]), a[0] * 0, np.maximum(a[2], a[3])])
    y.sum().backward()
    assert w.grad.numpy().sum() == 6


def test_include_last_offset():
    w = table()
    y = F.embedding_bag(engine.tensor([0, 1, 2]), w, engine.tensor([0, 1, 3]), mode="sum", include_last_offset=True)
    assert y.shape == (2, 3)


@pytest.mark.parametrize(
    ("kwargs", "error", "text"),
    [
        ({"mode": "median"}, ValueError, "mode has to be one of"),
        ({"offsets": engine.tensor([1])}, RuntimeError, r"offsets\[0\] has to be 0"),
        ({"offsets": engine.tensor([0, 9])}, RuntimeError, "can not be greater than input's length"),
        ({}, ValueError, "offsets has to be a 1D Tensor"),
        ({"offsets": engine.tensor([0]), "per_sample_weights": engine.ones(3)}, NotImplementedError, "mode='sum'"),
    ],
)
def test_bag_errors(kwargs, error, text):
    with pytest.raises(error, match=text):
        F.embedding_bag(engine.tensor([0, 1, 2]), table(), **kwargs)
