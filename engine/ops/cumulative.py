"""Running sums and products, differences and areas: cumsum, cumprod, cummax, cummin, logcumsumexp, diff, trapezoid."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, check_dim, wrap
from ._blocked import lines
from .applying import row_major
from .base import CARDS, Op, apply, composite, expect_tensor, op
from .casting import casting, in_full
from .elementwise_pairs import logaddexp
from .extrema import return_type
from .inplace import write_out
from .samples import samples_for


def _accumulated(xp: Any, ufunc: Any, x: Any, dim: int, dtype: Any = None) -> Any:
    """`ufunc.accumulate` along `dim` with torch's precision: float32 in double, shorter floats in float32."""
    wide = _WIDER.get(x.dtype) if dtype is None else None
    if wide is None:
        return row_major(xp, ufunc.accumulate(x, axis=dim, dtype=dtype))
    return ufunc.accumulate(x, axis=dim, dtype=wide).astype(x.dtype, order="C")


_WIDER = {dtypes.F32: dtypes.F64, dtypes.F16: dtypes.F32, dtypes.BF16: dtypes.F32}


def _prepare(name: str, input: Tensor, dim: int, dtype: Any) -> tuple[Tensor, int, Any]:
    """(input cast to `dtype`, dim from the front, NumPy's accumulation dtype)."""
    d = check_dim(dim, expect_tensor(input, name).ndim)
    if dtype is not None:
        input = input.to(dtypes.as_dtype(dtype))  # type: ignore[attr-defined]
        return input, d, input._array.dtype
    if casting.on:
        input = in_full(input)
    return input, d, dtypes.int64.np if input._array.dtype.kind in "iub" else None


def _sums(x: Any, out: Any) -> None:
    out[...] = _accumulated(np, np.add, x, 1)


def _sums_from_end(x: Any, out: Any) -> None:
    out[...] = _accumulated(np, np.add, x[:, ::-1], 1)[:, ::-1]


@op("cumsum", inplace=True)
class CumSum(Op):
    """The running sum along `dim`. Integers are summed in int64; `dtype` casts first.

    >>> torch.cumsum(torch.tensor([1., 2., 3.]), dim=0)
    tensor([1., 3., 6.])
    """

    @staticmethod
    def forward(xp: Any, x: Any, dim: int, np_dtype: Any) -> Any:
        if not x.ndim:
            return x.astype(np_dtype or x.dtype)
        quick = lines("running_sum", _sums, dim, x) if np_dtype is None or np_dtype == x.dtype else None
        return row_major(xp, _accumulated(xp, xp.add, x, dim, np_dtype)) if quick is None else quick

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._reverse_cumsum(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
        input, d, np_dtype = _prepare("cumsum", input, dim, dtype)
        result = apply(CumSum, (input,), (d, np_dtype))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("cumsum", make.uniform((3, 4)), 1)
        yield make("cumsum", make.uniform((3, 4)).t(), dim=-2)
        yield make("cumsum", make.ints((5,), 0, 9), 0)
        yield make("cumsum", make.uniform(()), 0)
        yield make("cumsum", make.uniform((0, 3)), 1)


def _backwards(x: Any, dim: int) -> Any:
    return x[(*(slice(None),) * dim, slice(None, None, -1))] if x.ndim else x


@op("_reverse_cumsum", function=False, method=False)
class ReverseCumSum(Op):
    """The running sum from the end."""

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        if not x.ndim:
            return x
        quick = lines("running_sum_from_end", _sums_from_end, dim, x)
        return _backwards(_accumulated(xp, xp.add, _backwards(x, dim), dim), dim) if quick is None else quick

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.cumsum(g, s.params[0], None),)


@op("cumprod", inplace=True)
class CumProd(Op):
    """The running product along `dim`. Integers multiply in int64; `dtype` casts first.

    >>> torch.cumprod(torch.tensor([1., 2., 3.]), dim=0)
    tensor([1., 2., 6.])
    """

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, dim: int, np_dtype: Any) -> Any:
        return _accumulated(xp, xp.multiply, x, dim, np_dtype) if x.ndim else x.astype(np_dtype or x.dtype)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y, dim = s.inputs[0], s.output, s.params[0]
        if not x.ndim:
            return (g,)
        if not xp._any_zero(x):
            return (xp._reverse_cumsum(g * y, dim) / x,)
        n, lead = x.shape[dim], (slice(None),) * dim
        parts = []  # with zeros: for every place the products that leave it out
        for i in range(n):
            rest = xp._with_one(x, dim, i)
            after = xp.cumprod(rest, dim, None)[(*lead, slice(i, n))] * g[(*lead, slice(i, n))]
            parts.append(xp.sum(after, (dim,), True, None))
        return (xp._join(parts, dim),)

    @staticmethod
    def call(input: Tensor, dim: int, *, dtype: Any = None, out: Tensor | None = None) -> Tensor:
        input, d, np_dtype = _prepare("cumprod", input, dim, dtype)
        result = apply(CumProd, (input,), (d, np_dtype))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("cumprod", make.uniform((3, 4), 0.3, 2), 1)
        yield make("cumprod", make.uniform((3, 4)).t(), dim=-2)
        yield make("cumprod", make.ints((5,), 1, 4), 0)
        yield make("cumprod", make.uniform(()), 0)


@op("_any_zero", function=False, method=False)
class AnyZero(Op):
    """Whether any element is zero."""

    differentiable = False

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return (x == 0).any()


@op("_with_one", function=False, method=False)
class WithOne(Op):
    """A copy with ones at index `i` along `dim`."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, dim: int, i: int) -> Any:
        out = x.copy()
        out[(*(slice(None),) * dim, i)] = 1
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        dim, i = s.params
        return (xp._clear(g, (*(slice(None),) * dim, i)),)


# -- running extremes -------------------------------------------------------------------------------------------------


def _running(name: str, ufunc: Any, doc: str) -> None:
    kind = return_type(name, "values indices")

    def call(input: Tensor, dim: int, *, out: Any = None) -> Any:
        d = check_dim(dim, expect_tensor(input, name).ndim)
        a = input._array
        xp = backend.namespace(a)
        if not input.ndim:
            pair = kind(input.clone(), wrap(xp.zeros((), np.int64)))  # type: ignore[attr-defined]
        else:
            best = backend.accumulate(ufunc, a, d)
            shape = [1] * a.ndim
            shape[d] = -1
            here = xp.where((a == best) | (a != a), xp.arange(a.shape[d]).reshape(shape), 0)
            index = row_major(xp, backend.accumulate(np.maximum, here, d))
            pair = kind(apply(CARDS["_take_along"], (input, wrap(index)), (d,)), wrap(index))
        return pair if out is None else kind(*[write_out(o, r) for o, r in zip(out, pair)])

    composite(name)(call)
    call.__doc__ = doc

    @samples_for(name)
    def samples(make: Any) -> Any:
        yield make(name, make.distinct((3, 5)), 1)
        yield make(name, make.distinct((3, 5)).t(), dim=0)
        yield make(name, make.ints((12,), 0, 5), 0)
        yield make(name, make.uniform(()), 0)


_running("cummax", np.maximum, """(values, indices) of the running maximum along `dim`.

    >>> torch.cummax(torch.tensor([1., 3., 2.]), dim=0).values
    tensor([1., 3., 3.])
    """)
_running("cummin", np.minimum, """(values, indices) of the running minimum along `dim`.

    >>> torch.cummin(torch.tensor([3., 1., 2.]), dim=0).values
    tensor([3., 1., 1.])
    """)


@op("logcumsumexp")
class LogCumSumExp(Op):
    """log of the running sum of exp along `dim`, without overflow.

    >>> torch.logcumsumexp(torch.tensor([0., 0.]), dim=0)
    tensor([0.0000, 0.6931])
    """

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        if not x.ndim or not x.size:
            return x.copy()
        if x.dtype.kind == "c":
            out = xp.moveaxis(x, dim, 0).copy()
            for i in range(1, len(out)):
                out[i] = logaddexp(out[i - 1], out[i])
            return xp.moveaxis(out, 0, dim)
        if backend.is_on_device(x):
            return backend.accumulate(xp.logaddexp, x, dim)
        return _accumulated(xp, xp.logaddexp, x, dim)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y, dim = s.inputs[0], s.output, s.params[0]
        if not x.ndim:
            return (g,)
        if x.dtype.kind == "c":
            x, y = xp.conj(x), xp.conj(y)
        top = xp.amax(xp.real(x), (dim,), True)  # y - top may underflow for a long rise; the weights below stay finite
        return (xp.exp(x - top) * xp._reverse_cumsum(g * xp.exp(top - y), dim),)

    @staticmethod
    def call(input: Tensor, dim: int, *, out: Tensor | None = None) -> Tensor:
        result = apply(LogCumSumExp, (expect_tensor(input, "logcumsumexp"),), (check_dim(dim, input.ndim),))
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("logcumsumexp", make.uniform((3, 4)), 1)
        yield make("logcumsumexp", make.uniform((3, 4)).t(), dim=-2)
        yield make("logcumsumexp", make.uniform(()), 0)


# -- differences and areas --------------------------------------------------------------------------------------------


def _cut(t: Tensor, dim: int, start: int | None, stop: int | None) -> Tensor:
    return t[(*(slice(None),) * dim, slice(start, stop))]  # type: ignore[index]


@composite("diff")
def diff(input: Tensor, n: int = 1, dim: int = -1, prepend: Tensor | None = None, append: Tensor | None = None, *,
         out: Tensor | None = None) -> Tensor:
    """The `n`-th difference of neighbours along `dim`, after putting `prepend` and `append` at the ends.

    >>> torch.diff(torch.tensor([1, 4, 9]))
    tensor([3, 5])
    """
    if not input.ndim:
        raise RuntimeError("diff expects input to be at least one-dimensional")
    if n < 0:
        raise RuntimeError(f"order must be non-negative but got {n}")
    d = check_dim(dim, input.ndim)
    parts = [t for t in (prepend, input, append) if t is not None]
    if len(parts) > 1:
        input = CARDS["_join"].apply(parts, d)
    for _ in range(n):
        left, right = _cut(input, d, None, -1), _cut(input, d, 1, None)
        input = right ^ left if input._array.dtype.kind == "b" else right - left  # type: ignore[operator]
    return input if out is None else write_out(out, input)


@composite("trapezoid", "trapz", method=False)
def trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The area under `y` along `dim` by trapezoids, at points `x` or with spacing `dx` (1 by default).

    >>> torch.trapezoid(torch.tensor([1., 2., 3.]))
    tensor(4.)
    """
    d = check_dim(dim, y.ndim)
    if y.ndim and not y.shape[d]:
        return y.sum(d, dtype=y.dtype)  # type: ignore[attr-defined]
    _refuse_bool("trapezoid", y, x)
    return _trapezoids(y, x, dx, d).sum(d)  # type: ignore[attr-defined]


@composite("cumulative_trapezoid", method=False)
def cumulative_trapezoid(y: Tensor, x: Tensor | None = None, *, dx: Any = None, dim: int = -1) -> Tensor:
    """The running area under `y` along `dim` by trapezoids.

    >>> torch.cumulative_trapezoid(torch.tensor([1., 2., 3.]))
    tensor([1.5000, 4.0000])
    """
    d = check_dim(dim, y.ndim)
    _refuse_bool("cumulative_trapezoid", y, x)
    return CumSum.call(_trapezoids(y, x, dx, d), d)


def _refuse_bool(name: str, y: Tensor, x: Tensor | None) -> None:
    if dtypes.bool_ in (y.dtype, None if x is None else x.dtype):
        raise RuntimeError(f"{name}: received a bool input for `y`{'' if x is None else ' or `x`'}, but bool is not supported")


def _trapezoids(y: Tensor, x: Tensor | None, dx: Any, dim: int) -> Tensor:
    if x is not None and dx is not None:
        raise RuntimeError("trapezoid(): give either x or dx, not both")
    pairs = _cut(y, dim, None, -1) + _cut(y, dim, 1, None)  # type: ignore[operator]
    if x is None:
        return pairs * ((1.0 if dx is None else dx) / 2)
    if x.ndim == 1 and y.ndim > 1:
        shape = [1] * y.ndim
        shape[dim] = -1
        x = x.reshape(shape)  # type: ignore[attr-defined]
    step = diff(x, dim=dim if x.ndim == y.ndim else -1)
    return pairs * step / 2


@samples_for("diff")
def _difference_samples(make: Any) -> Any:
    yield make("diff", make.uniform((3, 5)))
    yield make("diff", make.uniform((5, 3)), 2, 0)
    yield make("diff", make.bools((6,)))
    yield make("diff", make.uniform((3, 5)), prepend=make.uniform((3, 1)), append=make.uniform((3, 2)))
    yield make("trapezoid", make.uniform((3, 5)))
    yield make("trapezoid", make.uniform((3, 5)), make.uniform((5,)))
    yield make("trapezoid", make.uniform((3, 5)), dx=0.5, dim=0)
    yield make("cumulative_trapezoid", make.uniform((3, 5)), make.uniform((3, 5)))
