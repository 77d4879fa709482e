"""Padding, unfold and fold, and the channel shuffles: identities and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def t(*shape):
    return engine.arange(float(np.prod(shape))).reshape(*shape)


def test_negative_constant_padding_undoes_positive():
    x = t(2, 3, 4)
    y = F.pad(F.pad(x, (1, 2, 0, 3), value=7.0), (-1, -2, 0, -3))
    np.testing.assert_array_equal(x.numpy(), y.numpy())


def test_constant_padding_works_on_integers_and_bools():
    assert F.pad(engine.tensor([1, 2]), (1, 1), value=5).tolist() == [5, 1, 2, 5]
    assert F.pad(engine.tensor([True]), (0, 1)).tolist() == [True, False]


@pytest.mark.parametrize(("mode", "numpy_mode"), [("reflect", "reflect"), ("replicate", "edge"), ("circular", "wrap")])
def test_borders_equal_numpy(mode, numpy_mode):
    x = t(1, 2, 4, 5)
    y = F.pad(x, (3, 2, 1, 3), mode=mode)
    np.testing.assert_array_equal(y.numpy(), np.pad(x.numpy(), [(0, 0), (0, 0), (1, 3), (3, 2)], mode=numpy_mode))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.pad(t(2, 3), (1,)), RuntimeError, "divisible by 2"),
        (lambda: F.pad(t(3), (1, 1, 1, 1)), RuntimeError, "two times the input dimension"),
        (lambda: F.pad(t(3), (-2, -2)), RuntimeError, "negative output size"),
        (
            lambda: F.pad(t(1, 3), (3, 0), "reflect"),
            RuntimeError,
            r"less than the corresponding input dimension.*\(3, 0\)",
        ),
        (lambda: F.pad(t(1, 3), (4, 0), "circular"), RuntimeError, "wrapping around more than once"),
        (lambda: F.pad(t(1, 3), (1, 0), "mirror"), NotImplementedError, "mirror"),
        (lambda: F.pad(t(2, 2, 2, 2, 2), (1, 1), "reflect"), NotImplementedError, "non-constant padding"),
        (lambda: F.pad(t(1, 3), (1, 0), "reflect", 2.0), RuntimeError, "doesn't take in value"),
        (lambda: F.unfold(t(3, 3), 2), RuntimeError, "3D or 4D"),
        (lambda: F.unfold(t(1, 1, 3, 3), 4), RuntimeError, r"\(3 x 3\).*kernel_size=\[4, 4\]"),
        (
            lambda: F.fold(t(1, 5, 4), (3, 3), 2),
            RuntimeError,
            r"divisible by the product of kernel_size.*input.size\(1\)=5",
        ),
        (lambda: F.fold(t(1, 4, 5), (3, 3), 2), RuntimeError, r"2 x 2 = 4, but got input.size\(2\)=5"),
        (lambda: engine.pixel_shuffle(t(3, 2, 2), 2), RuntimeError, "divisible by the square of upscale_factor"),
        (lambda: engine.pixel_unshuffle(t(1, 3, 2), 2), RuntimeError, "height to be divisible by downscale_factor"),
        (lambda: engine.channel_shuffle(t(1, 3, 2), 2), RuntimeError, "Got 3 channels and 2 groups"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_fold_of_unfold_counts_how_many_windows_hold_a_pixel():
    x = t(1, 2, 4, 4) + 1
    folded = F.fold(F.unfold(x, 2), (4, 4), 2)
    count = np.outer([1, 2, 2, 1], [1, 2, 2, 1])
    np.testing.assert_array_equal(folded.numpy(), x.numpy() * count)


def test_convolution_is_unfold_and_a_product():
    rng = np.random.default_rng(0)
    x, w = engine.tensor(rng.normal(size=(2, 3, 5, 6))), engine.tensor(rng.normal(size=(4, 3, 2, 3)))
    columns = F.unfold(x, (2, 3), stride=(1, 2), padding=1)
    direct = F.conv2d(x, w, stride=(1, 2), padding=1)
    np.testing.assert_allclose(
        (w.reshape(4, -1) @ columns).reshape(direct.shape).numpy(), direct.numpy(), rtol=1e-9, atol=1e-12
    )


def test_unshuffle_inverts_shuffle():
    x = t(2, 8, 3, 2)
    np.testing.assert_array_equal(engine.pixel_unshuffle(engine.pixel_shuffle(x, 2), 2).numpy(), x.numpy())
    np.testing.assert_array_equal(engine.channel_shuffle(engine.channel_shuffle(x, 2), 4).numpy(), x.numpy())
