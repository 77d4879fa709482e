"""Counting: unique, unique_consecutive, bincount, histc, histogram. None of them is differentiable."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..devices import device_of
from ..tensor import Tensor, check_dim, wrap
from .base import composite, expect_tensor
from .creation import linspace
from .extrema import return_type
from .inplace import write_out
from .samples import samples_for

_HISTOGRAM = return_type("histogram", "hist bin_edges")
_HISTOGRAM_DD = return_type("histogramdd", "hist bin_edges")


def _results(values: Any, inverse: Any, counts: Any, return_inverse: bool, return_counts: bool, shape: tuple) -> Any:
    out = [wrap(values)]
    if return_inverse:
        out.append(wrap(inverse.reshape(shape).astype(np.int64)))
    if return_counts:
        out.append(wrap(counts.astype(np.int64)))
    return out[0] if len(out) == 1 else tuple(out)


@composite("unique")
def unique(input: Tensor, sorted: bool = True, return_inverse: bool = False, return_counts: bool = False,
           dim: int | None = None) -> Any:
    """The distinct elements, sorted; with `dim` the distinct slices along it. On request also each element's place among
    them (`return_inverse`) and how often each occurs (`return_counts`).

    >>> torch.unique(torch.tensor([3, 1, 3]), return_counts=True)
    (tensor([1, 3]), tensor([1, 2]))
    """
    a = expect_tensor(input, "unique")._array
    xp = backend.namespace(a)
    axis = None if dim is None else check_dim(dim, a.ndim)
    plain = a.astype(np.float32) if a.dtype is dtypes.BF16 else a  # whose order puts NaN first
    # only what is asked for: without places NumPy need not sort all elements
    found = xp.unique(plain, return_inverse=return_inverse, return_counts=return_counts, axis=axis)
    values, *more = found if type(found) is tuple else (found,)
    inverse = more.pop(0) if return_inverse else None
    return _results(values.astype(a.dtype, copy=False), inverse, more[0] if return_counts else None, return_inverse,
                    return_counts, a.shape if axis is None else (a.shape[axis],))


@composite("unique_consecutive")
def unique_consecutive(input: Tensor, return_inverse: bool = False, return_counts: bool = False,
                       dim: int | None = None) -> Any:
    """The elements (or slices along `dim`) without immediate repetitions; options as in `unique`.

    >>> torch.unique_consecutive(torch.tensor([1, 1, 2, 1]))
    tensor([1, 2, 1])
    """
    a = expect_tensor(input, "unique_consecutive")._array
    xp = backend.namespace(a)
    axis = 0 if dim is None else check_dim(dim, a.ndim)
    rows = a.reshape(-1) if dim is None or not a.ndim else xp.moveaxis(a, axis, 0)
    n = len(rows)
    new = xp.ones(n, bool)
    if n:
        new[1:] = (rows[1:] != rows[:-1]).reshape(n - 1, math.prod(rows.shape[1:])).any(axis=1)
    starts = xp.nonzero(new)[0]
    counts = xp.diff(starts, append=xp.asarray([n]))
    values = rows[starts] if dim is None else xp.moveaxis(rows[starts], 0, axis)
    shape = a.shape if dim is None else (n,)
    return _results(values, xp.cumsum(new) - 1, counts, return_inverse, return_counts, shape)


@composite("bincount")
def bincount(input: Tensor, weights: Tensor | None = None, minlength: int = 0) -> Tensor:
    """How often each non-negative integer occurs in a 1-d tensor, or the sum of their `weights`.

    >>> torch.bincount(torch.tensor([0, 2, 2]))
    tensor([1, 0, 2])
    """
    a = expect_tensor(input, "bincount")._array
    if a.ndim == 1 and not a.size and minlength >= 0:
        return wrap(backend.namespace(a).zeros(minlength, np.int64))
    if a.dtype.kind not in "iu":
        raise NotImplementedError(f"\"bincount_cpu\" not implemented for '{input.dtype.word}'; expected integers")
    if a.ndim != 1 or (a.size and int(a.min()) < 0):
        raise RuntimeError("bincount only supports 1-d non-negative integral inputs.")
    if weights is not None and weights.shape != input.shape:
        raise RuntimeError("weights should be 1-d and have the same length as input")
    if minlength < 0:
        raise RuntimeError("minlength should be >= 0")
    xp = backend.namespace(a)
    if weights is None:
        return wrap(xp.bincount(a, minlength=minlength).astype(np.int64))
    counts = xp.bincount(a, weights._array, minlength=minlength)
    return wrap(counts.astype(np.float32 if weights._array.dtype == np.float32 else np.float64))


def _range(name: str, a: Any, given: Any, margin: float) -> tuple[float, float]:
    """The limits of the bins: as given, or those of the data; `margin` on both sides where they are one number."""
    low, high = given or ((float(a.min()), float(a.max())) if a.size else (0.0, 1.0))
    if not (np.isfinite(low) and np.isfinite(high)):
        raise RuntimeError(f"torch.{name}: range of [{low}, {high}] is not finite")
    return (low - margin, high + margin) if low == high else (low, high)


@composite("histc")
def histc(input: Tensor, bins: int = 100, min: float = 0, max: float = 0, *, out: Tensor | None = None) -> Tensor:
    """The counts of elements in `bins` equal bins between `min` and `max` (by default those of the data); others are left
    out.

    >>> torch.histc(torch.tensor([1., 2., 1.]), bins=4, min=0, max=3)
    tensor([0., 2., 1., 0.])
    """
    a = expect_tensor(input, "histc")._array
    if bins <= 0:
        raise RuntimeError("bins must be > 0")
    if min > max:
        raise RuntimeError("max must be larger than min")
    low, high = _range("histc", a, (min, max) if a.size == 0 or min != max else None, 1)
    xp = backend.namespace(a)
    inside = a[(a >= low) & (a <= high)].astype(np.float64)
    place = xp.minimum(((inside - low) / (high - low) * bins).astype(np.int64), bins - 1)
    result = wrap(xp.bincount(place, minlength=bins).astype(a.dtype))
    return result if out is None else write_out(out, result)


def _edges(a: Any, bins: int, given: Any) -> Any:
    """The limits of equal bins in the data's own precision: they decide which bin a number belongs to."""
    if bins <= 0:
        raise RuntimeError(f"torch.histogram(): bins must be > 0, but got {bins} for dimension 0")
    low, high = _range("histogramdd", a, given, 0.5)
    return linspace(low, high, bins + 1, dtype=dtypes.from_numpy_dtype(a.dtype), device=device_of(a))._array


@composite("histogram")
def histogram(input: Tensor, bins: Any = 100, *, range: Any = None, weight: Tensor | None = None, density: bool = False,
              out: Any = None) -> Any:
    """(hist, bin_edges): counts (or sums of `weight`) in `bins` equal bins over `range`, or between given edges.

    >>> torch.histogram(torch.tensor([1., 2., 1.]), bins=4, range=(0., 3.)).hist
    tensor([0., 2., 1., 0.])
    """
    a = expect_tensor(input, "histogram")._array
    weights = None if weight is None else weight._array
    if isinstance(bins, Tensor):
        if bins.ndim != 1:
            raise RuntimeError(f"torch.histogramdd: bins tensor should have one dimension, but got {bins.ndim} dimensions in "
                               "the bins tensor for dimension 0")
        if not bins.numel():
            raise RuntimeError("torch.histogramdd: bins tensor should have at least 1 element, but got 0 elements in the bins "
                               "tensor for dimension 0")
        counts, edges = np.histogram(a, bins._array, weights=weights, density=density)
    else:
        edges = _edges(a, bins, range)
        counts, _ = np.histogram(a, edges, weights=weights, density=density)
    result = _HISTOGRAM(wrap(counts.astype(a.dtype)), wrap(edges.astype(a.dtype)))
    return result if out is None else write_out(out, result)


@composite("histogramdd", method=False)
def histogramdd(input: Tensor, bins: Any, *, range: Any = None, weight: Tensor | None = None, density: bool = False) -> Any:
    """(hist, bin_edges): counts of the rows of `input` (n, d) in a grid of bins: a number of bins for all dimensions or
    one each, or d tensors of edges; `range` is d pairs in a row.

    >>> torch.histogramdd(torch.tensor([[0., 1.], [1., 0.], [2., 2.]]), bins=[2, 2]).hist
    tensor([[0., 1.],
            [1., 1.]])
    """
    a = expect_tensor(input, "histogramdd")._array
    if a.ndim < 2:
        raise RuntimeError("torch.histogramdd: input tensor should have at least 2 dimensions")
    points = a.reshape(-1, a.shape[-1])
    every = [bins] * points.shape[1] if isinstance(bins, int) else bins
    edges = [b._array if isinstance(b, Tensor) else _edges(points[:, i], b, range and tuple(range[2 * i : 2 * i + 2]))
             for i, b in enumerate(every)]
    weights = None if weight is None else weight._array.reshape(-1)
    counts, _ = np.histogramdd(points, edges, density=density, weights=weights)
    return _HISTOGRAM_DD(wrap(counts.astype(a.dtype)), tuple([wrap(e.astype(a.dtype)) for e in edges]))


@samples_for("unique")
def _samples(make: Any) -> Any:
    yield make("unique", make.ints((3, 4), 0, 5))
    yield make("unique", make.ints((3, 4), 0, 5), return_inverse=True, return_counts=True)
    yield make("unique", make.ints((6, 2), 0, 2), dim=0, return_inverse=True)
    yield make("unique_consecutive", make.ints((12,), 0, 2), return_inverse=True, return_counts=True)
    yield make("unique_consecutive", make.ints((8, 1), 0, 2), dim=0, return_counts=True)
    yield make("bincount", make.ints((9,), 0, 5), minlength=7)
    yield make("bincount", make.ints((4,), 0, 5), make.uniform((4,), 0, 1, grad=False))
    yield make("histc", make.uniform((20,), grad=False), 5)
    yield make("histc", make.uniform((20,), grad=False), bins=4, min=-1, max=1)
    yield make("histogram", make.uniform((20,), grad=False), 5)
    yield make("histogram", make.uniform((20,), grad=False), 4, range=(-1.0, 1.0))
