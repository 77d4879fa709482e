"""Pooling: ties, NaN, integers, indices and errors."""

from __future__ import annotations

import math

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def test_gradient_of_a_tie_goes_to_the_first():
    x = engine.zeros(1, 1, 2, 2, requires_grad=True)
    F.max_pool2d(x, 2).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[[1, 0], [0, 0]]]])


def test_overlapping_windows_add_their_gradients():
    x = engine.tensor([[[1.0, 5.0, 2.0]]], requires_grad=True)
    F.max_pool1d(x, 2, stride=1).sum().backward()
    np.testing.assert_array_equal(x.grad.numpy(), [[[0, 2, 0]]])


def test_nan_wins():
    x = engine.tensor([[[1.0, math.nan, 2.0, 3.0]]])
    y, index = F.max_pool1d(x, 2, return_indices=True)
    assert math.isnan(y[0, 0, 0].item()) and y[0, 0, 1].item() == 3
    assert index.tolist() == [[[1, 3]]]


def test_padding_never_wins():
    x = -engine.ones(1, 1, 3, 3)
    y, index = F.max_pool2d(x, 3, 2, 1, return_indices=True)
    assert (y == -1).all()
    assert int(index.min()) >= 0 and int(index.max()) < 9


def test_integers_have_maxima():
    x = engine.tensor([[[3, -7, 2, 9]]])
    y = F.max_pool1d(x, 3, stride=1, padding=1)
    assert y.dtype is engine.int64
    assert y.tolist() == [[[3, 3, 9, 9]]]


def test_torch_top_level_form_and_default_stride():
    x = engine.arange(6.0).reshape(1, 6)
    assert engine.max_pool1d(x, 2).tolist() == [[1, 3, 5]]
    values, index = F.max_pool2d_with_indices(engine.arange(4.0).reshape(1, 2, 2), 2)
    assert values.item() == 3 and index.item() == 3


def test_unpool_inverts_pool():
    x = engine.tensor(np.random.default_rng(0).normal(size=(2, 3, 4, 6)))
    y, index = F.max_pool2d(x, 2, return_indices=True)
    back = F.max_unpool2d(y, index, 2)
    assert back.shape == x.shape
    np.testing.assert_array_equal(back.numpy()[back.numpy() != 0], x.numpy()[back.numpy() != 0])
    np.testing.assert_array_equal(F.max_pool2d(back.abs(), 2).numpy(), abs(y.numpy()))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda x: F.max_pool2d(x, 3, padding=2), RuntimeError, "at most half of effective kernel size, but got pad=2"),
        (lambda x: F.max_pool2d(x, 9), RuntimeError, "Output size is too small"),
        (lambda x: F.max_pool2d(x[0, 0], 2), RuntimeError, r"3D or 4D .* but got: \[4, 4\]"),
        (lambda x: F.max_pool2d(x, (1, 2, 3)), RuntimeError, "kernel_size"),
        (lambda x: F.avg_pool2d(x, 0), RuntimeError, "kernel size should be greater than zero"),
        (lambda x: F.avg_pool2d(x, 2, divisor_override=0), RuntimeError, "divisor must be not zero"),
        (lambda x: F.avg_pool2d(x.int(), 2), RuntimeError, "int32"),
        (lambda x: F.adaptive_avg_pool2d(x, (1, 2, 3)), RuntimeError, "output_size must have 2"),
        (lambda x: F.adaptive_max_pool2d(x[0, 0], 2), RuntimeError, "Expected 3D or 4D"),
        (lambda x: F.max_unpool2d(x, engine.zeros(1, 2, 4, 4).long() + 99, 2), RuntimeError, "invalid max index"),
        (
            lambda x: F.max_unpool2d(x, engine.zeros(1, 2, 4, 4).long(), 2, output_size=(99, 99)),
            ValueError,
            "output_size",
        ),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call(engine.ones(1, 2, 4, 4))


@pytest.mark.parametrize("size", [3, 4, 5, 6, 7])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 3])
def test_sizes_and_values_equal_torch(size, ceil_mode, stride):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(size).normal(size=(1, 2, size, size + 1))
    for name, more in (("max_pool2d", {}), ("avg_pool2d", {"count_include_pad": False}), ("avg_pool2d", {})):
        ours = getattr(F, name)(engine.tensor(x), 3, stride, 1, ceil_mode=ceil_mode, **more)
        theirs = getattr(torch.nn.functional, name)(torch.tensor(x), 3, stride, 1, ceil_mode=ceil_mode, **more)
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=1e-12)


def test_output_does_not_share_memory_with_the_input():
    x = engine.ones(1, 1, 4)
    for y in (F.max_pool1d(x, 1), F.avg_pool1d(x, 1), F.adaptive_avg_pool1d(x, 4)):
        y.add_(1)
    assert (x == 1).all()


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    "args", [(2,), (3,), (3, 2, 1), (3, 1, 1), ((3, 2), (2, 3), (1, 0)), (2, 3, 1, 2), (3, 2, 1, 1, True), (5, 2, 2)]
)
def test_large_arrays_equal_torch(args, fast):
    """Ties in plenty, and infinity: which of equal maxima gets the gradient is part of the result."""
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    x = random.integers(-3, 4, (7, 9, 37, 41)).astype(np.float32)
    x[x == 3] = np.inf
    for nd in (1, 2):
        shaped = x if nd == 2 else x.reshape(7, 9, -1)
        options = [a[0] if nd == 1 and isinstance(a, tuple) else a for a in args]
        theirs = torch.tensor(shaped, requires_grad=True)
        expected = getattr(torch.nn.functional, f"max_pool{nd}d")(theirs, *options)
        g = random.integers(1, 9, tuple(expected.shape)).astype(np.float32)
        expected.backward(torch.tensor(g))
        with engine.backends.fast.flags(enabled=fast):
            ours = engine.tensor(shaped, requires_grad=True)
            got = getattr(F, f"max_pool{nd}d")(ours, *options)
            got.backward(engine.tensor(g))
        np.testing.assert_array_equal(got.detach().numpy(), expected.detach().numpy())
        np.testing.assert_array_equal(ours.grad.numpy(), theirs.grad.numpy())


@pytest.mark.parametrize("width", [6, 8, 9, 15, 16, 27, 34])
def test_compiled_windows_of_two_equal_torch_at_every_width(width):
    """Windows are worked on eight or four at a time, the last of them twice; with ties, and NaN."""
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).integers(-3, 4, (200_000 // (14 * width), 2, 7, width)).astype(np.float32)
    x[:, :, ::2, 1::2][x[:, :, ::2, 1::2] == 3] = np.nan  # one in a window
    results = []
    for library in (engine, torch):
        leaf = library.tensor(x, requires_grad=True)
        y = library.nn.functional.max_pool2d(leaf, 2)
        y.backward(library.tensor(np.random.default_rng(1).integers(1, 9, tuple(y.shape)).astype(np.float32)))
        results.append((y.detach().numpy(), leaf.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("name", "args"),
    [("avg_pool2d", (2,)), ("avg_pool2d", (3, 2, 1)), ("adaptive_avg_pool2d", (1,)), ("adaptive_avg_pool2d", ((5, 3),))],
)
def test_large_means_equal_torch(name, args):
    torch = pytest.importorskip("torch")
    x = np.random.default_rng(0).normal(size=(7, 9, 37, 41)).astype(np.float32)
    results = []
    for library in (engine, torch):
        leaf = library.tensor(x, requires_grad=True)
        y = getattr(library.nn.functional, name)(leaf, *args)
        y.backward(library.tensor(np.random.default_rng(1).normal(size=tuple(y.shape)).astype(np.float32)))
        results.append((y.detach().numpy(), leaf.grad.numpy()))
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-6)
