"""Batch and group norm of small arrays in as few NumPy calls as it takes; larger ones are `_channels`'s."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._blocked import COMPILED, ndarray

_CHANNEL = (0, 2)  # what a channel of (N, C, L) is summed over
_add_reduce: Any = np.add.reduce


def fits(x: Any) -> bool:
    """Whether an array is NumPy's, not empty, and so small that calls take longer than arithmetic."""
    return type(x) is ndarray and 0 < x.size < COMPILED


def _images(x: Any) -> Any:
    """(N, C, *) as (N, C, L)."""
    n, channels, *rest = x.shape
    return x.reshape(n, channels, math.prod(rest))


def _normal(x: Any, axes: tuple, count: int, eps: float) -> tuple:
    """((x - mean) / std over `axes`; mean, sum of squared deviations, 1 / std, with these axes kept)."""
    mean = _add_reduce(x, axes, None, None, True)
    mean /= count
    y = x - mean
    square = _add_reduce(y * y, axes, None, None, True)
    rstd = square / count
    rstd += eps
    np.sqrt(rstd, rstd)
    np.divide(1, rstd, rstd)
    y *= rstd
    return y, mean, square, rstd


def _affine(y: Any, w: Any, b: Any) -> None:
    if w is not None:
        y *= w[:, None]
    if b is not None:
        y += b[:, None]


def standardise(x: Any, w: Any, b: Any, eps: float) -> tuple:
    """(normalised by its own moments, scaled and shifted; mean, sum of squared deviations, 1 / std, number of elements)."""
    count = x.size // x.shape[1]
    y, mean, square, rstd = _normal(_images(x), _CHANNEL, count, eps)
    _affine(y, w, b)
    return y.reshape(x.shape), mean.reshape(-1), square.reshape(-1), rstd.reshape(-1), count


def scale(x: Any, factor: Any, shift: Any) -> Any:
    """x * factor + shift by channel."""
    y = _images(x) * factor[:, None]
    y += shift[:, None]
    return y.reshape(x.shape)


def gradients(g: Any, x: Any, w: Any, mean: Any, rstd: Any, needs: tuple) -> tuple:
    """Gradients of input, weight and bias of a batch norm in training; the formula is that of normalization.py."""
    given, normal = _images(g), _images(x) - mean[:, None]
    normal *= rstd[:, None]
    total, product = _add_reduce(given, _CHANNEL), _add_reduce(given * normal, _CHANNEL)
    gx = None
    if needs[0]:
        count = g.size // g.shape[1]
        normal *= (product / count)[:, None]
        gx = given - (total / count)[:, None]
        gx -= normal
        gx *= (rstd if w is None else rstd * w)[:, None]
        gx = gx.reshape(g.shape)
    return gx, product if needs[1] else None, total if needs[2] else None


def normalise_groups(x: Any, w: Any, b: Any, groups: int, eps: float) -> tuple:
    """(normalised, scaled and shifted; mean and 1 / std by image and group)."""
    rows = x.reshape(len(x) * groups, -1)
    y, mean, _, rstd = _normal(rows, (1,), rows.shape[1], eps)
    y = y.reshape(x.shape)
    _affine(_images(y), w, b)
    return y, (mean.reshape(-1), rstd.reshape(-1))


def group_gradients(g: Any, x: Any, w: Any, mean: Any, rstd: Any, groups: int, needs: tuple) -> tuple:
    """Gradients of input, weight and bias of a group norm."""
    normal = x.reshape(len(x) * groups, -1) - mean[:, None]
    normal *= rstd[:, None]
    given, by_channel, count = _images(g), normal.reshape(_images(x).shape), normal.shape[1]
    gw = _add_reduce(given * by_channel, _CHANNEL) if needs[1] else None
    gx = None
    if needs[0]:
        h = (given if w is None else given * w[:, None]).reshape(normal.shape)
        along = np.vecdot(h, normal)
        along /= count
        normal *= along[:, None]
        gx = h - _add_reduce(h, 1, None, None, True) / count
        gx -= normal
        gx *= rstd[:, None]
        gx = gx.reshape(g.shape)
    return gx, gw, _add_reduce(given, _CHANNEL) if needs[2] else None
