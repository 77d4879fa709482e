"""Numerical gradients, norms limited slice by slice, reductions by index: compositions of operators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import dtypes
from ..tensor import Tensor, check_dim
from .base import FUNCTIONS, composite, expect_tensor
from .inplace import write_out
from .samples import samples_for
from .scatter_reduce import ScatterReduce


@composite("renorm", inplace=True)
def renorm(input: Tensor, p: float, dim: int, maxnorm: float, *, out: Tensor | None = None) -> Tensor:
    """Every slice along `dim` whose `p`-norm is above `maxnorm` scaled down to it. At least two dimensions.

    >>> torch.renorm(torch.tensor([[3., 4.], [0.3, 0.4]]), 2, 0, 1.0)
    tensor([[0.6000, 0.8000],
            [0.3000, 0.4000]])
    """
    ndim = expect_tensor(input, "renorm").ndim
    if p <= 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if maxnorm < 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {ndim} dimensions")
    d = check_dim(dim, ndim)
    size = FUNCTIONS["norm"](input, p, [i for i in range(ndim) if i != d], True)
    result = (input * FUNCTIONS["where"](size > maxnorm, maxnorm / (size + 1e-7), 1.0)).contiguous()
    return result if out is None else write_out(out, result)


@composite("norm_except_dim", method=False)
def norm_except_dim(v: Tensor, pow: float = 2, dim: int = 0) -> Tensor:
    """The `pow`-norms of the slices along `dim`, broadcastable against `v`; over all elements for `dim` -1.

    >>> torch.norm_except_dim(torch.tensor([[3., 4.], [0., 1.]]))
    tensor([[5.],
            [1.]])
    """
    if dim == -1:
        return FUNCTIONS["norm"](v, pow)
    d = check_dim(dim, expect_tensor(v, "norm_except_dim").ndim)
    return FUNCTIONS["norm"](v, pow, [i for i in range(v.ndim) if i != d], True)


@composite("index_reduce", inplace=True)
def index_reduce(input: Tensor, dim: int, index: Tensor, source: Tensor, reduce: str, *, include_self: bool = True,
                 out: Tensor | None = None) -> Tensor:
    """A copy of `input` whose slices at `index` along `dim` are reduced ("prod", "mean", "amax", "amin") with `source`'s.

    >>> torch.index_reduce(torch.ones(2), 0, torch.tensor([1, 1]), torch.tensor([2., 3.]), "prod")
    tensor([1., 6.])
    """
    if reduce not in ("prod", "mean", "amax", "amin"):
        raise RuntimeError(f"index_reduce(): Expected reduce to be one of prod, mean, amax or amin but got {reduce}.")
    d = check_dim(dim, expect_tensor(input, "index_reduce").ndim)
    at = index.reshape([-1 if i == d else 1 for i in range(source.ndim)]).expand(source.shape)  # type: ignore[attr-defined]
    result = ScatterReduce.call(input, d, at, source, reduce, include_self=include_self)
    return result if out is None else write_out(out, result)


@composite("nonzero_static")
def nonzero_static(input: Tensor, *, size: int, fill_value: int = -1, out: Tensor | None = None) -> Tensor:
    """The first `size` rows of `nonzero`, filled up with `fill_value`: int64 (size, ndim).

    >>> torch.nonzero_static(torch.tensor([0, 5]), size=2)
    tensor([[ 1],
            [-1]])
    """
    if size < 0:
        raise RuntimeError("nonzero_static: 'size' must be an non-negative integer")
    found = FUNCTIONS["nonzero"](input)[:size]
    rest = FUNCTIONS["full"]((size - found.shape[0], input.ndim), fill_value, dtype=dtypes.int64, device=input.device)
    return FUNCTIONS["cat"]([found, rest], out=out)


@composite("gradient", method=False)
def gradient(input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1) -> tuple:
    """Derivatives of a sampled function along `dim` (all dimensions if None): central differences, one-sided at the ends.

    `spacing`: one number, one per dimension, or a list of 1-d tensors with the coordinates. `edge_order` 1 or 2: the
    order of the one-sided differences. A tuple with one tensor per dimension.

    >>> torch.gradient(torch.tensor([1., 2., 4., 7.]))
    (tensor([1.0000, 1.5000, 2.5000, 3.0000]),)
    """
    dims = _all_dims(expect_tensor(input, "gradient"), dim)
    steps = list(spacing) if isinstance(spacing, (list, tuple)) else [spacing] * len(dims)
    if len(steps) != len(dims):
        raise RuntimeError("torch.gradient expected spacing to be unspecified, a scalar or it's spacing and dim arguments "
                           f"to have the same length, but got a spacing argument of length {len(steps)} and a dim argument "
                           f"of length {len(dims)}.")
    if edge_order not in (1, 2):
        raise RuntimeError("torch.gradient only supports edge_order=1 and edge_order=2.")
    if input.dtype is dtypes.uint8:
        raise RuntimeError("torch.gradient does not support uint8 input.")
    for d in dims:
        if input.shape[d] <= edge_order:
            raise RuntimeError("torch.gradient expected each dimension size to be at least edge_order+1")
    if input.dtype is dtypes.bool_ and dims:
        raise RuntimeError("Subtraction, the `-` operator, with two bool tensors is not supported. Use the `^` or "
                           "`logical_xor()` operator instead. (torch.gradient of a bool tensor)")
    x = input if input.dtype.category >= 2 else input.to(dtypes.get_default_dtype())  # type: ignore[attr-defined]
    return tuple(_along(x, d, step, edge_order) for d, step in zip(dims, steps))


def _all_dims(input: Tensor, dim: Any) -> Sequence[int]:
    if dim is None:
        return range(input.ndim)
    return [check_dim(d, input.ndim) for d in ([dim] if isinstance(dim, int) else dim)]


def _along(x: Tensor, d: int, step: Any, edge_order: int) -> Tensor:
    """The derivative along one dimension, by the three-point formula for distances a (before) and b (after)."""
    y = x.movedim(d, -1)  # type: ignore[attr-defined]
    if isinstance(step, Tensor) and step.ndim:
        gaps = FUNCTIONS["diff"](step.to(x.dtype))  # type: ignore[attr-defined]
    else:
        return _evenly(y, step, edge_order).movedim(-1, d).contiguous()  # type: ignore[attr-defined]
    slope = (y[..., 1:] - y[..., :-1]) / gaps
    a, b = gaps[:-1], gaps[1:]
    inner = (slope[..., :-1] * b + slope[..., 1:] * a) / (a + b)
    first, last = slope[..., :1], slope[..., -1:]
    if edge_order == 2:  # the slope of the parabola through the outer three points
        first = first - (slope[..., 1:2] - first) * a[0] / (a[0] + b[0])
        last = last + (last - slope[..., -2:-1]) * b[-1] / (a[-1] + b[-1])
    return FUNCTIONS["cat"]([first, inner, last], -1).movedim(-1, d).contiguous()


def _evenly(y: Tensor, step: Any, edge_order: int) -> Tensor:
    """The derivative along the last dimension at equal distances: an element next to NaN does not look at it."""
    inner = (y[..., 2:] - y[..., :-2]) / (2 * step)  # type: ignore[index]
    if edge_order == 1:
        first, last = y[..., 1:2] - y[..., :1], y[..., -1:] - y[..., -2:-1]  # type: ignore[index]
    else:
        first = -1.5 * y[..., :1] + 2 * y[..., 1:2] - 0.5 * y[..., 2:3]  # type: ignore[index]
        last = 1.5 * y[..., -1:] - 2 * y[..., -2:-1] + 0.5 * y[..., -3:-2]  # type: ignore[index]
    return FUNCTIONS["cat"]([first / step, inner, last / step], -1)


@samples_for("differences")
def _samples(make: Any) -> Any:
    yield make("renorm", make.uniform((3, 4)), 2, 0, 1.0, _gradgrad=False)
    yield make("renorm", make.uniform((3, 4)).t(), 1, -1, 2.5, _gradgrad=False)
    yield make("norm_except_dim", make.uniform((3, 4)), 2, 0)
    yield make("norm_except_dim", make.uniform((3, 4)), 1, -1)
    for reduce in ("prod", "mean", "amax", "amin"):
        for own in (True, False):
            yield make("index_reduce", make.uniform((3, 4)), 1, make.ints((5,), 0, 4), make.uniform((3, 5)), reduce,
                       include_self=own)
    yield make("gradient", make.uniform((4, 3)))
    yield make("gradient", make.uniform((4, 3)), dim=-1, spacing=0.5, edge_order=2)
    yield make("gradient", make.uniform((4,)), spacing=[make.distinct((4,))])
    yield make("nonzero_static", make.ints((2, 3), 0, 2), size=7)
    yield make("nonzero_static", make.ints((2, 3), 0, 2), size=1)
