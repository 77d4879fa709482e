"""Dropout: torch's masks for the same seed, scaling, in-place forms and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
@pytest.mark.parametrize(
    ("name", "shape"),
    [
        ("dropout", (7, 5)),
        ("dropout", ()),
        ("dropout1d", (3, 4, 2)),
        ("dropout1d", (4, 2)),
        ("dropout2d", (3, 4, 2, 2)),
        ("dropout3d", (2, 3, 2, 1, 2)),
        ("dropout3d", (3, 2, 1, 2)),
        ("alpha_dropout", (6, 5)),
        ("feature_alpha_dropout", (3, 4, 2)),
    ],
)
def test_same_seed_same_mask_as_torch(name, shape, p):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    engine.manual_seed(11)
    torch.manual_seed(11)
    for _ in range(2):
        a = getattr(F, name)(engine.tensor(x), p, True)
        b = getattr(torch.nn.functional, name)(torch.tensor(x), p, True)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6, atol=1e-6)
    assert (engine.rand(3).numpy() == torch.rand(3).numpy()).all()  # as many numbers were drawn


def test_a_transposed_input_is_masked_in_memory_order_like_torch():
    torch = pytest.importorskip("torch")
    x = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    engine.manual_seed(5)
    torch.manual_seed(5)
    a, b = F.dropout(engine.tensor(x).t()), torch.nn.functional.dropout(torch.tensor(x).t())
    np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_gradient_has_the_mask_of_the_forward_pass():
    x = engine.ones(50, requires_grad=True)
    y = F.dropout(x, 0.3)
    y.sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), y.detach().numpy())


def test_without_training_or_probability_nothing_happens_and_nothing_is_drawn():
    x = engine.ones(4)
    state = engine.get_rng_state()
    assert F.dropout(x, 0.5, training=False) is x
    assert F.dropout(x, 0.0) is x
    assert F.alpha_dropout(x, 0.5) is x
    assert (engine.get_rng_state() == state).all()


def test_probability_one_zeroes_everything():
    assert (F.dropout(engine.ones(4), 1.0) == 0).all()
    assert (F.dropout2d(engine.ones(2, 3, 1, 1), 1.0) == 0).all()


def test_in_place_changes_the_input():
    x = engine.ones(20)
    y = F.dropout(x, 0.5, inplace=True)
    assert y is x and set(x.tolist()) == {0.0, 2.0}
    leaf = engine.ones(3, requires_grad=True)
    with pytest.raises(RuntimeError, match="leaf Variable that requires grad"):
        F.dropout(leaf, 0.5, inplace=True)


@pytest.mark.parametrize("p", [-0.1, 1.1])
@pytest.mark.parametrize(
    "name", ["dropout", "dropout1d", "dropout2d", "dropout3d", "alpha_dropout", "feature_alpha_dropout"]
)
def test_probability_out_of_range(name, p):
    with pytest.raises(ValueError, match=f"has to be between 0 and 1, but got {p}"):
        getattr(F, name)(engine.ones(2, 3, 4), p)


def test_dropout1d_wants_two_or_three_dimensions():
    with pytest.raises(RuntimeError, match="Expected 2D or 3D input, but received a 4D input"):
        F.dropout1d(engine.ones(1, 2, 3, 4))


def test_half_precision_keeps_its_dtype():
    y = F.dropout(engine.ones(30).bfloat16(), 0.5)
    assert y.dtype is engine.bfloat16 and set(y.tolist()) == {0.0, 2.0}
