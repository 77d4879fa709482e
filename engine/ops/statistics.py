"""Spread, products, norms and log-sums over dimensions: var, std, prod, norm, logsumexp, nansum, count_nonzero, dist."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import dtypes
from ..gpu.reductions import LogSumExp as RowsLogSumExp
from ..tensor import Tensor, check_dim, wrap
from ._blocked import is_large, pointwise, sum_over
from .applying import row_major
from .base import CARDS, Op, apply, composite, expect_tensor, op
from .casting import in_full
from .inplace import with_out, write_out
from .reductions import add_up, axes_of, check_mean_dtype, count_of, keep_dims
from .samples import samples_for


def _out(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else write_out(out, result)


# -- variance ---------------------------------------------------------------------------------------------------------


@op("_var", function=False, method=False, node="VarBackward0")
class Var(Op):
    """The mean squared distance from the mean, with n - correction in the denominator."""

    keep, has_aux = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool, correction: float) -> Any:
        n = count_of(x.shape, axes)
        free = max(n - correction, 0)
        mean = add_up(xp, x, axes, True) / n
        if is_large(x) and x.dtype.kind == "f":
            return sum_over(x, axes, keepdim, lambda x, mean: np.square(x - mean), mean) / free, (n, free)
        centred = x - mean
        square = (centred * xp.conj(centred)).real if x.dtype.kind == "c" else centred * centred
        return add_up(xp, square, axes, keepdim) / free, (n, free)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, (axes, keepdim, _), (n, free) = s.inputs[0], s.params, s.aux
        return (_from_mean(xp, x, g, axes, keepdim, n, 2 / free if free else math.inf),)


def _from_mean(xp: Any, x: Any, g: Any, axes: Any, keepdim: bool, n: int, factor: float) -> Any:
    """(x - mean) * g * factor."""
    if not keepdim:
        g = g.reshape(keep_dims(x.shape, axes))
    mean = xp.sum(x, axes, True, None) / n
    if is_large(x):
        return pointwise(lambda x, mean, g: (x - mean) * g, x, mean, g * factor)
    return (x - mean) * g * factor


@op("_std", function=False, method=False, node="StdBackward0")
class Std(Op):
    """The square root of the variance."""

    keep, keep_output, has_aux = (0,), True, True

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool, correction: float) -> Any:
        value, aux = Var.forward(xp, x, axes, keepdim, correction)
        return xp.sqrt(value), aux

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        y = s.output
        zero = y == 0
        x, (axes, keepdim, _), (n, free) = s.inputs[0], s.params, s.aux
        g = xp.where(zero, 0, g / xp.where(zero, 1, y))
        return (_from_mean(xp, x, g, axes, keepdim, n, 1 / free if free else math.inf),)


def _spread_arguments(name: str, input: Tensor, dim: Any, unbiased: Any, correction: Any) -> tuple[Any, float]:
    """(axes, correction) from torch's old form (`dim` or `unbiased` first) and its new one."""
    expect_tensor(input, name)
    if isinstance(dim, bool):
        dim, unbiased = None, dim
    if unbiased is not None and correction is not None:
        raise TypeError(f"{name}() received both unbiased and correction; give one of them")
    if input._array.dtype.kind in "iub":
        raise RuntimeError(f"{name} and var only support floating point and complex dtypes")
    if unbiased is not None:
        correction = 1 if unbiased else 0
    axes = None if dim is None or (isinstance(dim, (tuple, list)) and not dim) else axes_of(dim, input._array.ndim)
    correction = 1 if correction is None else correction
    if count_of(input._array.shape, axes) <= correction:
        import warnings

        warnings.warn(f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction factor "
                      "(input numel divided by output numel).", stacklevel=3)
    return axes, correction


@composite("var")
def var(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None, out: Tensor | None = None) -> Tensor:
    """The variance over all elements or over `dim`, with n - `correction` (default 1) in the denominator.

    `unbiased=False` is the old spelling of `correction=0`. RuntimeError for integers.

    >>> torch.var(torch.tensor([1., 2., 3.]))
    tensor(1.)
    """
    axes, correction = _spread_arguments("var", input, dim, unbiased, correction)
    return _out(Var.apply(input, axes, keepdim, correction), out)


@composite("std")
def std(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
        correction: float | None = None, out: Tensor | None = None) -> Tensor:
    """The square root of the variance, with the same arguments as `var`.

    >>> torch.std(torch.tensor([1., 2., 3.]))
    tensor(1.)
    """
    axes, correction = _spread_arguments("std", input, dim, unbiased, correction)
    return _out(Std.apply(input, axes, keepdim, correction), out)


@composite("var_mean", method=False)
def var_mean(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """(variance, mean) with `var`'s arguments.

    >>> torch.var_mean(torch.tensor([1., 2., 3.]))
    (tensor(1.), tensor(2.))
    """
    axes, correction = _spread_arguments("var_mean", input, dim, unbiased, correction)
    return Var.apply(input, axes, keepdim, correction), CARDS["mean"].apply(input, axes, keepdim)


@composite("std_mean", method=False)
def std_mean(input: Tensor, dim: Any = None, unbiased: bool | None = None, keepdim: bool = False, *,
             correction: float | None = None) -> tuple[Tensor, Tensor]:
    """(standard deviation, mean) with `std`'s arguments.

    >>> torch.std_mean(torch.tensor([1., 2., 3.]))
    (tensor(1.), tensor(2.))
    """
    axes, correction = _spread_arguments("std_mean", input, dim, unbiased, correction)
    return Std.apply(input, axes, keepdim, correction), CARDS["mean"].apply(input, axes, keepdim)


@samples_for("var")
def _spread_samples(make: Any) -> Any:
    for name in ("var", "std", "var_mean", "std_mean"):
        yield make(name, make.uniform((3, 4)))
        yield make(name, make.uniform((3, 4)), 1)
        yield make(name, make.uniform((3, 4)).t(), dim=(0, 1), correction=0)
        yield make(name, make.uniform((2, 3, 4)), -2, keepdim=True)
        yield make(name, make.uniform((3, 4)), unbiased=False)
        yield make(name, make.uniform((3, 4)), False)
        yield make(name, make.uniform((3, 4)), dim=0, correction=0, keepdim=True)


# -- products ---------------------------------------------------------------------------------------------------------


@op("prod")
class Prod(Op):
    """The product of all elements or along one `dim`; integers multiply in int64, `dtype` casts first.

    >>> torch.prod(torch.tensor([[1., 2.], [3., 4.]]), dim=1)
    tensor([ 2., 12.])
    """

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, dim: int | None, keepdim: bool, np_dtype: Any) -> Any:
        return row_major(xp, xp.asarray(x.prod(axis=dim, keepdims=keepdim, dtype=np_dtype)))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, (dim, keepdim, _) = s.inputs[0], s.params
        if dim is None:
            flat = x.reshape(-1)
            return ((xp._products_of_others(flat, 0) * g).reshape(x.shape),)
        if not keepdim:
            g = g.reshape(keep_dims(x.shape, (dim,)))
        return (xp._products_of_others(x, dim) * g,)

    @staticmethod
    def call(input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: Any = None,
             out: Tensor | None = None) -> Tensor:
        expect_tensor(input, "prod")
        d = None
        if dtype is not None:
            input = input.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
            d = input._array.dtype
        elif input._array.dtype.kind in "iub":
            d = dtypes.int64.np
        axis = None if dim is None or not (check_dim(dim, input.ndim) or input.ndim) else check_dim(dim, input.ndim)
        return _out(apply(Prod, (input,), (axis, keepdim, d)), out)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("prod", make.uniform((3, 4)))
        yield make("prod", make.uniform((3, 4)), 1)
        yield make("prod", make.uniform((2, 3, 4)).t(), dim=-2, keepdim=True)
        yield make("prod", make.uniform((0, 3)), 0)
        yield make("prod", make.ints((4,), 1, 5))
        yield make("prod", make.uniform(()))


@op("_products_of_others", function=False, method=False)
class ProductsOfOthers(Op):
    """For every element the product of all others along `dim`: products from the left times products from the right, so
    that zeros do no harm."""

    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        x = xp.moveaxis(x, dim, 0) if x.ndim else x.reshape(1)
        left, right = xp.ones_like(x), xp.ones_like(x)
        xp.cumprod(x[:-1], axis=0, out=left[1:])
        right[:-1] = xp.cumprod(x[:0:-1], axis=0)[::-1]
        return xp.moveaxis(left * right, 0, dim)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, dim = s.inputs[0], s.params[0]
        lead = (slice(None),) * dim
        total = None
        for i in range(x.shape[dim]):  # d/dx_j of prod_{k != i} x_k, for every i: rare, and quadratic
            keep = [k for k in range(x.shape[dim]) if k != i]
            if not keep:
                return (xp._nothing(g),)
            rest = xp._gather_index(x, (*lead, np.array(keep)))
            part = xp._products_of_others(rest, dim) * g[(*lead, slice(i, i + 1))]
            part = xp._add_at(part, tuple(x.shape), (*lead, np.array(keep)))
            total = part if total is None else total + part
        return (total if total is not None else xp._nothing(g),)


# -- norms ------------------------------------------------------------------------------------------------------------


@op("_norm2", function=False, method=False, node="LinalgVectorNormBackward0")
class Norm2(Op):
    """The Euclidean norm; its gradient at 0 is 0."""

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool) -> Any:
        if x.dtype.kind == "c":
            return xp.sqrt(add_up(xp, (x * xp.conj(x)).real, axes, keepdim))
        if axes is None and x.flags.c_contiguous and not keepdim and xp is np:
            flat = x.reshape(-1)
            return np.sqrt(np.dot(flat, flat))
        return xp.sqrt(add_up(xp, x * x, axes, keepdim))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y, (axes, keepdim) = s.inputs[0], s.output, s.params
        if not keepdim:
            kept = keep_dims(x.shape, axes)
            g, y = g.reshape(kept), y.reshape(kept)
        zero = y == 0
        return (x * xp.where(zero, 0, g / xp.where(zero, 1, y)),)


@op("_norm_p", function=False, method=False, node="LinalgVectorNormBackward0")
class NormP(Op):
    """(sum x^p)^(1/p) of numbers that are not negative; the gradient of a 0 is 0."""

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool, p: float) -> Any:
        return add_up(xp, x**p, axes, keepdim) ** (1 / p)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y, (axes, keepdim, p) = s.inputs[0], s.output, s.params
        if not keepdim:
            kept = keep_dims(x.shape, axes)
            g, y = g.reshape(kept), y.reshape(kept)
        nothing = (x == 0) | (y == 0)
        return (xp.where(nothing, 0, g * (xp.where(nothing, 1, x) / xp.where(y == 0, 1, y)) ** (p - 1)),)


def vector_norm(input: Tensor, ord: Any, axes: Any, keepdim: bool) -> Tensor:
    """(sum |x|^ord)^(1/ord) over axes; the largest and smallest |x| for ord = +-inf, the count of non-zeros for 0."""
    if ord == 2:
        return apply(Norm2, (input,), (axes, keepdim))
    size = input.abs()  # type: ignore[attr-defined]
    if ord == math.inf:
        return size.amax(axes if axes is not None else (), keepdim)
    if ord == -math.inf:
        return size.amin(axes if axes is not None else (), keepdim)
    if ord == 1:
        return size.sum(axes, keepdim)
    if ord == 0:
        return (size != 0).to(size.dtype).sum(axes, keepdim)
    return NormP.apply(size, axes, keepdim, float(ord))  # type: ignore[attr-defined]


def _nuclear(input: Tensor, dim: Any, keepdim: bool) -> Tensor:
    """The sum of the singular values of the matrices in two dimensions (the only two by default)."""
    nd = input._array.ndim
    pair = tuple(range(nd)) if dim is None else (dim,) if isinstance(dim, int) else tuple(dim)
    if len(pair) != 2:
        raise RuntimeError(f"norm(): expected two dimensions for the nuclear norm, got dim={dim} (shape={list(input.shape)})")
    axes = (check_dim(pair[0], nd), check_dim(pair[1], nd))
    result = CARDS["_svdvals"].apply(input.movedim(axes, (-2, -1))).sum(-1)  # type: ignore[attr-defined]
    return result.reshape(keep_dims(tuple(input.shape), axes)) if keepdim else result


@composite("norm")
def norm(input: Tensor, p: Any = "fro", dim: Any = None, keepdim: bool = False, out: Tensor | None = None,
         dtype: Any = None) -> Tensor:
    """The p-norm of all elements or over `dim`: any number, inf, -inf, 0, or "fro" (the square root of the sum of squares).

    "nuc" is the nuclear norm of matrices, the sum of their singular values. RuntimeError for integers.

    >>> torch.norm(torch.tensor([3., 4.]))
    tensor(5.)
    """
    expect_tensor(input, "norm")
    input = in_full(input) if dtype is None else input.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
    if input._array.dtype.kind in "iub":
        raise RuntimeError(f"linalg.vector_norm: Expected a floating point or complex tensor as input. Got {input.dtype.word}")
    if p == "nuc":
        return _out(_nuclear(input, dim, keepdim), out)
    if isinstance(p, str) and p != "fro":
        raise ValueError(f"norm(): expected p to be a number, 'fro' or 'nuc', got {p!r}")
    order = 2 if p is None or p == "fro" else p
    if isinstance(order, complex):
        raise RuntimeError("linalg.vector_norm: Expected a non-complex scalar as the order of norm.")
    axes = None if dim is None else axes_of(dim, input._array.ndim)
    if order < 0 and not math.prod([n for i, n in enumerate(input._array.shape) if axes is None or i in axes]):
        raise RuntimeError(f"linalg.vector_norm cannot compute the {order} norm on an empty tensor because the operation does "
                           "not have an identity")
    return _out(vector_norm(input, order, axes, keepdim), out)


@samples_for("norm")
def _norm_samples(make: Any) -> Any:
    yield make("norm", make.uniform((3, 4)))
    yield make("norm", make.uniform((3, 4)), dim=1)
    yield make("norm", make.uniform((3, 4)).t(), 2, -1, True)
    for p in (1, 3, 1.5, math.inf, -math.inf):
        yield make("norm", make.distinct((3, 4), -1.7, 2), p)
        yield make("norm", make.distinct((3, 4), -1.7, 2), p=p, dim=0, keepdim=True)
    yield make("norm", make.uniform((3, 4)), 0, _grad=False)
    yield make("norm", make.uniform((2, 3, 4)), "fro", dim=(0, 2))
    yield make("norm", make.uniform((3, 4)), "nuc", _half=False)
    yield make("norm", make.uniform((2, 3, 4)), "nuc", dim=(0, 2), keepdim=True, _half=False)


@composite("dist")
def dist(input: Tensor, other: Tensor, p: float = 2) -> Tensor:
    """The p-norm of `input - other`.

    >>> torch.dist(torch.tensor([1., 1.]), torch.tensor([4., 5.]))
    tensor(5.)
    """
    difference = input - other  # type: ignore[operator]
    if difference._array.dtype.kind in "iub":
        raise RuntimeError("norm(): input dtype should be either floating point or complex. Got "
                           f"{difference.dtype.word} instead.")
    return vector_norm(difference, p, None, False)


# -- sums with a difference -------------------------------------------------------------------------------------------


@op("logsumexp", functional=False)
class LogSumExp(Op):
    """log(sum(exp(x))) over `dim` (an int or several), without overflow. Integers give the default floating dtype.

    >>> torch.logsumexp(torch.tensor([0., 0.]), dim=0)
    tensor(0.6931)
    """

    keep, keep_output, to_float = (0,), True, True
    gpu = RowsLogSumExp()

    @staticmethod
    def forward(xp: Any, x: Any, axes: Any, keepdim: bool) -> Any:
        if not x.size:
            return xp.log(add_up(xp, xp.exp(x), axes, keepdim))
        top = (x.real if x.dtype.kind == "c" else x).max(axis=axes, keepdims=True)
        top = xp.where(xp.isfinite(top), top, 0)
        value = xp.log(add_up(xp, xp.exp(x - top), axes, True)) + top
        return value if keepdim else value.reshape([n for i, n in enumerate(x.shape) if axes is not None and i not in axes])

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y, (axes, keepdim) = s.inputs[0], s.output, s.params
        if not keepdim:
            kept = keep_dims(x.shape, axes)
            g, y = g.reshape(kept), y.reshape(kept)
        return (g * xp.exp(x - y),)

    @staticmethod
    def call(input: Tensor, dim: Any, keepdim: bool = False, *, out: Tensor | None = None) -> Tensor:
        result = apply(LogSumExp, (expect_tensor(input, "logsumexp"),), (axes_of(dim, input._array.ndim), keepdim))
        return _out(result, out)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("logsumexp", make.uniform((3, 4)), 1)
        yield make("logsumexp", make.uniform((3, 4)).t(), dim=(0, 1), keepdim=True)
        yield make("logsumexp", make.uniform((2, 3, 4)), [0, -1])
        yield make("logsumexp", make.uniform(()), 0)
        yield make("logsumexp", make.ints((3, 4), 0, 5), 0, _oracle=False)  # float32, whose last digit differs


@composite("nansum")
@with_out
def nansum(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None) -> Tensor:
    """The sum with NaN counted as 0.

    >>> torch.nansum(torch.tensor([1., float("nan")]))
    tensor(1.)
    """
    if input._array.dtype.kind == "c":
        raise RuntimeError("nansum on CPU does not support complex inputs")
    if input.is_floating_point():
        input = CARDS["where"].call(input.isnan(), 0.0, input)  # type: ignore[attr-defined]
    return input.sum(dim, keepdim, dtype=dtype)  # type: ignore[attr-defined]


@composite("nanmean")
def nanmean(input: Tensor, dim: Any = None, keepdim: bool = False, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
    """The mean of what is not NaN.

    >>> torch.nanmean(torch.tensor([1., 3., float("nan")]))
    tensor(2.)
    """
    check_mean_dtype(input, "nanmean")
    count = (~input.isnan()).sum(dim, keepdim)  # type: ignore[attr-defined]
    return _out(nansum(input, dim, keepdim, dtype=dtype) / count, out)


@composite("count_nonzero")
def count_nonzero(input: Tensor, dim: Any = None) -> Tensor:
    """How many elements are not zero, of all or over `dim`.

    >>> torch.count_nonzero(torch.tensor([0, 1, 2]))
    tensor(2)
    """
    axes = None if dim is None else axes_of(dim, input._array.ndim)
    a = input._array
    return wrap((a != 0).sum(axis=axes))


@samples_for("nansum")
def _sum_samples(make: Any) -> Any:
    yield make("nansum", make.uniform((3, 4)))
    yield make("nansum", make.uniform((3, 4)), 1, keepdim=True)
    yield make("nanmean", make.uniform((3, 4)), 1)
    yield make("count_nonzero", make.ints((3, 4), 0, 3))
    yield make("count_nonzero", make.ints((3, 4), 0, 3), dim=(0, 1))
    for p in (1, 2, 3.0, math.inf):
        yield make("dist", make.uniform((3, 4)), make.uniform((4,)), p)
