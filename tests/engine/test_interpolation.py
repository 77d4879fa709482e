"""Resizing and grid sampling: sizes, identities and errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F


def t(*shape):
    return engine.tensor(np.random.default_rng(0).normal(size=shape)).float()


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "area", "bilinear", "bicubic"])
def test_same_size_changes_nothing(mode):
    x = t(1, 2, 4, 5)
    np.testing.assert_allclose(F.interpolate(x, (4, 5), mode=mode).numpy(), x.numpy(), rtol=1e-6)


@pytest.mark.parametrize("mode", ["nearest", "nearest-exact", "bilinear", "bicubic"])
@pytest.mark.parametrize("scale", [0.3, 0.5, 1.1, 1.9, 3.0])
def test_scales_equal_torch(mode, scale):
    torch = pytest.importorskip("torch")
    x = t(1, 2, 7, 10)
    for more in ({}, {"recompute_scale_factor": True}):
        a = F.interpolate(x, scale_factor=scale, mode=mode, **more)
        b = torch.nn.functional.interpolate(torch.tensor(x.numpy()), scale_factor=scale, mode=mode, **more)
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-4, atol=1e-5)


def test_integers_can_be_resized_by_nearest():
    assert F.interpolate(engine.tensor([[[1, 2]]]), 4).tolist() == [[[1, 1, 2, 2]]]


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.interpolate(t(1, 1, 4)), ValueError, "either size or scale_factor"),
        (lambda: F.interpolate(t(1, 1, 4), 3, 2.0), ValueError, "only one of size or scale_factor"),
        (
            lambda: F.interpolate(t(1, 1, 4), (3, 3)),
            ValueError,
            r"spatial dimensions of \[4\].*output size of \[3, 3\]",
        ),
        (lambda: F.interpolate(t(1, 1, 4), 3, align_corners=True), ValueError, "align_corners option can only be set"),
        (
            lambda: F.interpolate(t(1, 1, 4), 3, mode="bilinear"),
            NotImplementedError,
            "Got 3D input, but bilinear mode needs 4D",
        ),
        (lambda: F.interpolate(t(1, 1, 4), 3, mode="linar"), NotImplementedError, "Did you mean 'linear'"),
        (lambda: F.interpolate(t(4, 4), 3), NotImplementedError, "Only 3D, 4D and 5D"),
        (lambda: F.interpolate(t(1, 1, 4), 2, mode="linear", antialias=True), ValueError, "restricted to bilinear and bicubic"),
        (lambda: F.interpolate(t(1, 1, 4), scale_factor=0.1), RuntimeError, "greater than 0"),
        (lambda: F.grid_sample(t(1, 1, 4), t(1, 2, 2), align_corners=False), RuntimeError, "4D or 5D input"),
        (lambda: F.grid_sample(t(1, 1, 4, 4), t(2, 3, 3, 2), align_corners=False), RuntimeError, "batch size 1"),
        (lambda: F.grid_sample(t(1, 1, 4, 4), t(1, 3, 3, 2), "cubic", align_corners=False), ValueError, "'cubic'"),
        (
            lambda: F.grid_sample(t(1, 1, 4, 4, 4), t(1, 3, 3, 3, 3), "bicubic", align_corners=False),
            RuntimeError,
            "only supports 4D",
        ),
        (lambda: F.affine_grid(t(1, 2, 2), (1, 1, 4, 4)), ValueError, "1x2x3"),
    ],
)
def test_errors(call, error, text):
    with pytest.raises(error, match=text):
        call()


def test_the_identity_grid_gives_the_image_back():
    x = t(2, 3, 4, 5)
    theta = engine.tensor([[[1.0, 0, 0], [0, 1.0, 0]]] * 2)
    for corners in (True, False):
        grid = F.affine_grid(theta, (2, 3, 4, 5), align_corners=corners)
        np.testing.assert_allclose(
            F.grid_sample(x, grid, align_corners=corners).numpy(), x.numpy(), rtol=1e-4, atol=1e-5
        )


def test_grid_sample_warns_about_the_default_of_align_corners():
    with pytest.warns(UserWarning, match="align_corners"):
        F.grid_sample(t(1, 1, 2, 2), engine.zeros(1, 1, 1, 2))


@pytest.mark.parametrize("align_corners", [False, True])
def test_affine_grid_equals_torchs_to_the_last_bit(align_corners):
    """An identity map samples at whole pixels, where the gradient jumps: one bit decides which of its two values it has."""
    torch = pytest.importorskip("torch")
    for n in (5, 13, 28, 64):
        theta = [[[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]
        ours = F.affine_grid(engine.tensor(theta), (1, 1, n, n + 1), align_corners)
        theirs = torch.nn.functional.affine_grid(torch.tensor(theta), (1, 1, n, n + 1), align_corners)
        np.testing.assert_array_equal(ours.numpy(), theirs.numpy())
