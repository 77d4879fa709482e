"""Order: sort, argsort, topk, kthvalue, median, mode, quantile, searchsorted, bucketize."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, check_dim, wrap
from ._ordering import first, kth, order
from .base import CARDS, Op, apply, composite, expect_tensor, op
from .extrema import check_not_empty, return_type, shared_evenly
from .inplace import write_out
from .samples import samples_for

_SORT, _TOPK = return_type("sort", "values indices"), return_type("topk", "values indices")
_KTH, _MODE = return_type("kthvalue", "values indices"), return_type("mode", "values indices")
_MEDIAN, _NANMEDIAN = return_type("median", "values indices"), return_type("nanmedian", "values indices")


def _picked(kind: Any, input: Tensor, index: Any, dim: int, keepdim: bool = True) -> Any:
    """(values at `index` along `dim`, index) as a named tuple; differentiable."""
    if not input.ndim:
        return kind(input.clone(), wrap(index.reshape(())))  # type: ignore[attr-defined]
    indices = wrap(index)
    values = apply(CARDS["_take_along"], (input, indices), (dim,))
    if not keepdim:
        values, indices = values.squeeze(dim), indices.squeeze(dim)  # type: ignore[attr-defined]
    return kind(values, indices)


def _stored(pair: Any, out: Any) -> Any:
    return pair if out is None else type(pair)(*[write_out(o, r) for o, r in zip(out, pair)])


@composite("sort")
def sort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False, *, out: Any = None) -> Any:
    """(values, indices) sorted along `dim`; NaN counts as the largest. Always stable here.

    >>> torch.sort(torch.tensor([3., 1., 2.])).values
    tensor([1., 2., 3.])
    """
    d = check_dim(dim, expect_tensor(input, "sort").ndim)
    return _stored(_picked(_SORT, input, order(input._array, d, descending), d), out)


@composite("argsort")
def argsort(input: Tensor, dim: int = -1, descending: bool = False, stable: bool = False) -> Tensor:
    """The indices that sort along `dim`.

    >>> torch.argsort(torch.tensor([3., 1., 2.]), descending=True)
    tensor([0, 2, 1])
    """
    return wrap(order(input._array, check_dim(dim, expect_tensor(input, "argsort").ndim), descending))


@composite("msort")
def msort(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The values sorted along the first dimension.

    >>> torch.msort(torch.tensor([3., 1., 2.]))
    tensor([1., 2., 3.])
    """
    result = sort(input, 0).values
    return result if out is None else write_out(out, result)


@composite("topk")
def topk(input: Tensor, k: int, dim: int = -1, largest: bool = True, sorted: bool = True, *, out: Any = None) -> Any:
    """(values, indices) of the `k` largest (or smallest) elements along `dim`, sorted. RuntimeError if k is too large.

    >>> torch.topk(torch.tensor([3., 1., 2.]), 2)
    torch.return_types.topk(
    values=tensor([3., 2.]),
    indices=tensor([0, 2]))
    """
    d = check_dim(dim, expect_tensor(input, "topk").ndim)
    if input._array.dtype.kind in "bc":
        raise RuntimeError(f"topk does not support {'bool' if input._array.dtype.kind == 'b' else 'complex'} dtypes on CPU")
    n = input.shape[d] if input.ndim else 1
    if not 0 <= k <= n:
        raise RuntimeError(f"selected index k out of range (topk() with k={k} of {n} elements along dim {dim})")
    index = first(input._array, k, d, largest) if input.ndim else backend.namespace(input._array).zeros((), np.int64)
    return _stored(_picked(_TOPK, input, index, d), out)


@composite("kthvalue")
def kthvalue(input: Tensor, k: int, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """(value, index) of the `k`-th smallest element along `dim`, counted from 1.

    >>> torch.kthvalue(torch.tensor([3., 1., 2.]), 2).values
    tensor(2.)
    """
    d = check_not_empty(expect_tensor(input, "kthvalue"), dim, "kthvalue()")
    n = input.shape[d] if input.ndim else 1
    if not 1 <= k <= n:
        raise RuntimeError(f"kthvalue(): selected number k out of range for dimension {d} (k={k}, size {n})")
    index = kth(input._array, k - 1, d) if input.ndim else order(input._array, d, False)
    return _stored(_picked(_KTH, input, index, d, keepdim), out)


# -- the middle -------------------------------------------------------------------------------------------------------


def _middle(a: Any, d: int, skip_nan: bool) -> Any:
    """Index of the lower median along `d`; with `skip_nan` of what is not NaN, otherwise of the first NaN if there is one."""
    xp = backend.namespace(a)
    n = a.shape[d]
    bad = xp.isnan(a) if a.dtype.kind == "f" or a.dtype is dtypes.BF16 else None
    if bad is None or not bool(bad.any()):
        return kth(a, (n - 1) // 2, d)
    count = n - bad.sum(axis=d, keepdims=True)
    place = xp.maximum(count - 1, 0) // 2 if skip_nan else xp.where(count < n, count, (n - 1) // 2)
    return xp.take_along_axis(order(a, d, False), place, d)


@op("_median_of_all", function=False, method=False, node="MedianBackward0")
class MedianOfAll(Op):
    """The element of a vector at `index`; all that are equal to it share the gradient."""

    keep, keep_output, has_aux = (0,), True, True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any) -> Any:
        return x[index].reshape(()), x.dtype

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (shared_evenly(xp, g.reshape(1), s.inputs[0], s.output.reshape(1), None, s.aux),)


def _median(input: Tensor, dim: int | None, keepdim: bool, out: Any, kind: Any, name: str) -> Any:
    expect_tensor(input, name)
    if dim is None:
        if not input.numel():
            kind = input.dtype  # NaN, which as an integer is the smallest of 32 or 64 bits
            empty = np.iinfo(kind.np).min if kind in (dtypes.int32, dtypes.int64) else 0 if kind.category == 1 else np.nan
            return wrap(np.asarray(empty, kind.np))
        flat = input.reshape(-1)  # type: ignore[attr-defined]
        return MedianOfAll.apply(flat, _middle(flat._array, 0, "nan" in name))  # type: ignore[attr-defined]
    d = check_not_empty(input, dim, name)
    if not input.ndim:
        return _picked(kind, input, backend.namespace(input._array).zeros((), np.int64), 0)
    return _stored(_picked(kind, input, _middle(input._array, d, "nan" in name), d, keepdim), out)


@composite("median")
def median(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The lower median of all elements, or (values, indices) along `dim`; NaN if there is one.

    >>> torch.median(torch.tensor([3., 1., 2., 4.]))
    tensor(2.)
    """
    return _median(input, dim, keepdim, out, _MEDIAN, "median")


@composite("nanmedian")
def nanmedian(input: Tensor, dim: int | None = None, keepdim: bool = False, *, out: Any = None) -> Any:
    """The lower median of what is not NaN, of all elements or along `dim`.

    >>> torch.nanmedian(torch.tensor([3., 1., float("nan")]))
    tensor(1.)
    """
    return _median(input, dim, keepdim, out, _NANMEDIAN, "nanmedian")


@composite("mode")
def mode(input: Tensor, dim: int = -1, keepdim: bool = False, *, out: Any = None) -> Any:
    """(values, indices) of the commonest element along `dim`: the smallest of equally common ones, and its last place.

    >>> torch.mode(torch.tensor([1, 2, 2, 3]))
    torch.return_types.mode(
    values=tensor(2),
    indices=tensor(2))
    """
    d = check_not_empty(expect_tensor(input, "mode"), dim, "mode")
    if not input.ndim:
        return _picked(_MODE, input, backend.namespace(input._array).zeros((), np.int64), 0)
    rows = np.moveaxis(backend.to_numpy(input._array), d, -1)
    index = np.empty(rows.shape[:-1], np.int64)
    for place in np.ndindex(*rows.shape[:-1]):
        values, counts = np.unique(rows[place], return_counts=True)
        common = values[counts.argmax()]
        index[place] = np.flatnonzero(rows[place] == common if common == common else np.isnan(rows[place]))[-1]
    index = backend.namespace(input._array).asarray(np.expand_dims(index, d))
    return _stored(_picked(_MODE, input, index, d, keepdim), out)


@samples_for("sort")
def _order_samples(make: Any) -> Any:
    yield make("sort", make.distinct((3, 4)))
    yield make("sort", make.distinct((3, 4)).t(), 0, descending=True)
    yield make("sort", make.distinct(()))
    yield make("sort", make.ints((20,), 0, 4), stable=True)
    yield make("sort", make.ints((20,), 0, 4), dim=0, descending=True, stable=True)
    yield make("argsort", make.distinct((3, 4)), 1, True)
    yield make("msort", make.distinct((3, 4)))
    yield make("topk", make.distinct((3, 4)), 2)
    yield make("topk", make.distinct((4, 30)), 3, dim=1)
    yield make("topk", make.distinct((30, 4)), 3, 0, False)
    yield make("topk", make.distinct((40,)), 2, largest=False)
    yield make("kthvalue", make.distinct((3, 4)), 2)
    yield make("kthvalue", make.distinct((3, 4)), 3, 0, keepdim=True)
    for name in ("median", "nanmedian"):
        yield make(name, make.distinct((3, 4)))
        yield make(name, make.distinct((3, 5)), 1)
        yield make(name, make.distinct((3, 4)), 0, keepdim=True)
    yield make("mode", make.ints((3, 12), 0, 4))  # beyond 16 elements torch may name any of the places
    yield make("mode", make.ints((9, 3), 0, 4), 0, keepdim=True)


# -- quantiles --------------------------------------------------------------------------------------------------------


def _quantile(input: Tensor, q: Any, dim: int | None, keepdim: bool, interpolation: str, skip_nan: bool) -> Tensor:
    """The q-quantiles of sorted values, between neighbours by `interpolation`; q's dimension comes first."""
    if interpolation not in ("linear", "lower", "higher", "midpoint", "nearest"):
        raise RuntimeError("quantile() interpolation must be one of linear, lower, higher, midpoint or nearest, but got "
                           f"{interpolation}")
    if input._array.dtype.kind not in "f":
        raise RuntimeError(f"quantile() input tensor must be either float or double dtype, got {input.dtype}")
    q_array = np.asarray(backend.to_numpy(q._array) if isinstance(q, Tensor) else q, np.float64)
    if q_array.size and (q_array.min() < 0 or q_array.max() > 1):
        raise RuntimeError(f"quantile() q must be in the range [0, 1] but got {q}")
    if not input.numel():
        raise RuntimeError("quantile() input tensor must be non-empty")
    nd = input.ndim
    x = input.reshape(-1) if dim is None else input.movedim(check_dim(dim, nd), -1) if nd else input.reshape(1)  # type: ignore[attr-defined]
    ordered = sort(x, -1).values
    a = ordered._array
    n = a.shape[-1]
    xp = backend.namespace(a)
    bad = np.isnan(a)
    last = (~bad).sum(-1, keepdims=True) - 1 if skip_nan else xp.full((*a.shape[:-1], 1), n - 1)
    place = np.maximum(xp.asarray(q_array.reshape(-1)) * last, 0)  # (..., number of q)
    if interpolation == "nearest":
        place = np.round(place)
    low, high = np.floor(place).astype(np.int64), np.ceil(place).astype(np.int64)
    weight = {"lower": 0.0, "higher": 1.0, "midpoint": 0.5}.get(interpolation, place - low)
    weight = wrap(xp.asarray(xp.where(low == high, 0.0, weight) if interpolation != "linear" else weight, a.dtype))
    take = CARDS["_take_along"]
    result = CARDS["lerp"].call(apply(take, (ordered, wrap(low)), (a.ndim - 1,)),
                                apply(take, (ordered, wrap(high)), (a.ndim - 1,)), weight)
    if not skip_nan and bool(bad.any()):
        result = CARDS["where"].call(wrap(bad.any(-1, keepdims=True)), float("nan"), result)
    result = result.movedim(-1, 0) if result.ndim > 1 else result  # type: ignore[attr-defined]
    tail = result.shape[1:]
    if keepdim:
        tail = (1,) * nd if dim is None else (*tail[: check_dim(dim, nd)], 1, *tail[check_dim(dim, nd) :]) if nd else ()
    return result.reshape(*([] if q_array.ndim == 0 else [q_array.size]), *tail)  # type: ignore[attr-defined]


@composite("quantile")
def quantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
             out: Tensor | None = None) -> Tensor:
    """The quantiles `q` (a number or a 1-d tensor in [0, 1]) of all elements or along `dim`; several come first.

    `interpolation`: "linear", "lower", "higher", "midpoint" or "nearest". NaN gives NaN. RuntimeError for integers.

    >>> torch.quantile(torch.tensor([1., 2., 3.]), 0.25)
    tensor(1.5000)
    """
    result = _quantile(input, q, dim, keepdim, interpolation, False)
    return result if out is None else write_out(out, result)


@composite("nanquantile")
def nanquantile(input: Tensor, q: Any, dim: int | None = None, keepdim: bool = False, *, interpolation: str = "linear",
                out: Tensor | None = None) -> Tensor:
    """As `quantile`, of what is not NaN.

    >>> torch.nanquantile(torch.tensor([1., 2., float("nan")]), 0.5)
    tensor(1.5000)
    """
    result = _quantile(input, q, dim, keepdim, interpolation, True)
    return result if out is None else write_out(out, result)


@samples_for("quantile")
def _quantile_samples(make: Any) -> Any:
    for name in ("quantile", "nanquantile"):
        yield make(name, make.distinct((3, 5)), 0.3)
        yield make(name, make.distinct((3, 5)), 0.5, 1)
        yield make(name, make.distinct((3, 5)), 0.25, dim=0, keepdim=True)
        yield make(name, make.distinct((3, 5)), make.uniform((2,), 0.1, 0.9, grad=False), dim=1)
        yield make(name, make.distinct((7,)), make.uniform((3,), 0.1, 0.9, grad=False))
        for how in ("lower", "higher", "midpoint", "nearest"):
            yield make(name, make.distinct((7,)), 0.3, interpolation=how)


# -- searching --------------------------------------------------------------------------------------------------------


@composite("searchsorted", method=False)
def searchsorted(sorted_sequence: Tensor, input: Any, *, out_int32: bool = False, right: bool = False,
                 side: str | None = None, out: Tensor | None = None, sorter: Tensor | None = None) -> Tensor:
    """Where each element of `input` would be inserted in the sorted last dimension of `sorted_sequence`.

    The other sizes are equal, or `sorted_sequence` is one-dimensional. `right` (or side="right") counts equal elements as
    smaller. RuntimeError for shapes that do not fit.

    >>> torch.searchsorted(torch.tensor([1, 3, 5]), torch.tensor([3, 6]))
    tensor([1, 3])
    """
    if side not in (None, "left", "right"):
        raise RuntimeError(f"torch.searchsorted(): side can only be 'left' or 'right' but got {side}")
    if side == "left" and right:
        raise RuntimeError("torch.searchsorted(): side and right can't be set to opposites, got side of left while right was "
                           "True")
    where = "right" if right or side == "right" else "left"
    row = sorted_sequence._array
    xp = backend.namespace(row)
    if sorter is not None:
        row = xp.take_along_axis(row, sorter._array, -1)
    values = input._array if isinstance(input, Tensor) else xp.asarray(input)
    if row.ndim <= 1:
        found = xp.searchsorted(row, values, side=where)
    elif row.shape[:-1] != values.shape[:-1]:
        raise RuntimeError("torch.searchsorted(): boundaries tensor should be 1 dimension or the first N-1 dimensions of "
                           f"boundaries tensor and input value tensor must match, but we got boundaries tensor "
                           f"{list(row.shape)} and input value tensor {list(values.shape)}")
    else:
        found = xp.empty(values.shape, np.int64)
        for place in np.ndindex(*row.shape[:-1]):
            found[place] = xp.searchsorted(row[place], values[place], side=where)
    result = wrap(xp.asarray(found).astype(np.int32 if out_int32 else np.int64))
    return result if out is None else write_out(out, result)


@composite("bucketize", method=False)
def bucketize(input: Any, boundaries: Tensor, *, out_int32: bool = False, right: bool = False,
              out: Tensor | None = None) -> Tensor:
    """The index of the bucket of each element; buckets lie between sorted `boundaries`.

    >>> torch.bucketize(torch.tensor([0., 3., 6.]), torch.tensor([1., 3., 5.]))
    tensor([0, 1, 3])
    """
    if boundaries.ndim != 1:
        raise RuntimeError(f"boundaries tensor must be 1 dimension, but got dim({boundaries.ndim})")
    return searchsorted(boundaries, input, out_int32=out_int32, right=right, out=out)


@samples_for("searchsorted")
def _search_samples(make: Any) -> Any:
    from .samples import Array

    row = Array(np.array([0, 2, 2, 5, 9]), grad=False)
    rows = Array(np.sort(make.rng.integers(0, 20, (3, 6)), -1), grad=False)
    yield make("searchsorted", row, make.ints((3, 4), -1, 11))
    yield make("searchsorted", row, make.ints((3, 4), -1, 11), right=True)
    yield make("searchsorted", row, 2)
    yield make("searchsorted", rows, make.ints((3, 4), -1, 21), side="right", out_int32=True)
    yield make("bucketize", make.ints((3, 4), -1, 11), row)
