"""softmax, log_softmax, softmin and gumbel_softmax: one node each, with the gradient from the output."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import as_dtype
from ..gpu.rows import SoftmaxRows
from ..tensor import Tensor, check_dim
from ._blocked import lines
from ._exponentials import NEAR, exp, exp_lines, line_sums
from .applying import row_major
from .base import Op, composite, expect_tensor, install, op
from .casting import casting, in_full
from .inplace import write_out
from .reductions import add_up
from .samples import samples_for

_max_reduce: Any = np.maximum.reduce


def shifted(xp: Any, x: Any, dim: int) -> Any:
    """`x` minus its maximum along `dim`, so that exp does not overflow."""
    if x.shape and not x.shape[dim]:
        return x - 0
    return x - _max_reduce(x, dim, None, None, True) if xp is np else x - x.max(axis=dim, keepdims=True)


# Of `_blocked.lines`: x, y and g are (lines, n) or (images, n, lines of an image).


def _softmax_lines(x: Any, out: Any) -> None:
    total, _ = exp_lines(x, out)
    out *= 1 / total


def _softmax_lines_gradient(g: Any, y: Any, out: Any) -> None:
    if g.ndim == 2:
        along = np.vecdot(g, y)[:, None]
    else:
        along = line_sums(np.multiply(g, y, out=out))
    np.subtract(g, along, out=out)
    out *= y


def _log_softmax_lines(x: Any, out: Any) -> None:
    total, shift = exp_lines(x, out, NEAR)
    if shift is not None:
        x = np.subtract(x, shift, out=out)
    np.subtract(x, np.log(total), out=out)


def _log_softmax_lines_gradient(g: Any, y: Any, out: Any) -> None:
    exp(y, out)
    out *= line_sums(g)
    np.subtract(g, out, out=out)


@op("_softmax", function=False, method=False, node="SoftmaxBackward0")
class Softmax(Op):
    """exp(x - max) / sum(exp(x - max)) along `dim`."""

    keep_output = True
    gpu = SoftmaxRows("softmax")

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        if not x.ndim:
            return x - x + 1
        x = row_major(xp, x)
        y = lines("softmax", _softmax_lines, dim, x)
        if y is None:
            y = shifted(xp, x, dim)
            xp.exp(y, out=y)
            y /= add_up(xp, y, dim, True)
        return y

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        y, dim = s.output, s.params[0]
        if not y.ndim:
            return (xp._nothing(g),)
        gx = lines("softmax_backward", _softmax_lines_gradient, dim, g, y)
        if gx is None:
            gy = g * y
            gx = gy - y * gy.sum(axis=dim, keepdims=True)
        return (gx,)

    @staticmethod
    def samples(make: Any) -> Any:
        for shape, dim in (((3, 4), 1), ((3, 4), 0), ((2, 3, 4), -2), ((5,), 0), ((0, 3), 1), ((3, 0), 1), ((), 0)):
            yield make("softmax", make.uniform(shape), dim)
        yield make("softmax", make.uniform((3, 4)).t(), dim=-1)


@op("_log_softmax", function=False, method=False, node="LogSoftmaxBackward0")
class LogSoftmax(Op):
    """x - max - log(sum(exp(x - max))) along `dim`."""

    keep_output = True
    gpu = SoftmaxRows("log_softmax")

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        if not x.ndim:
            return x - x
        x = row_major(xp, x)
        y = lines("log_softmax", _log_softmax_lines, dim, x)
        if y is None:
            y = shifted(xp, x, dim)
            y -= xp.log(add_up(xp, xp.exp(y), dim, True))
        return y

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        y, dim = s.output, s.params[0]
        if not y.ndim:
            return (xp._nothing(g),)
        gx = lines("log_softmax_backward", _log_softmax_lines_gradient, dim, g, y)
        return (g - xp.exp(y) * g.sum(axis=dim, keepdims=True) if gx is None else gx,)

    @staticmethod
    def samples(make: Any) -> Any:
        for shape, dim in (((3, 4), 1), ((3, 4), 0), ((2, 3, 4), -2), ((5,), 0), ((0, 3), 1), ((3, 0), 1), ((), 0)):
            yield make("log_softmax", make.uniform(shape), dim)
        yield make("log_softmax", make.uniform((3, 4)).t(), dim=-1)


def _normalised(card: Any, input: Tensor, dim: int, dtype: Any, out: Tensor | None, name: str) -> Tensor:
    expect_tensor(input, name)
    if dtype is not None:
        input = input.to(as_dtype(dtype))  # type: ignore[attr-defined]
    elif casting.on:
        input = in_full(input)
    a = input._array
    kind = a.dtype.kind
    if not a.size:
        check_dim(dim, a.ndim)
        return input.clone() if out is None else write_out(out, input.clone())  # type: ignore[attr-defined]
    if kind in "iub":
        raise NotImplementedError(f'"{name}_kernel_impl" not implemented for \'{input.dtype.word}\' ({name}() of '
                                  f"{input.dtype}; HINT: pass dtype=torch.float32)")
    result = card.apply(input, check_dim(dim, a.ndim))
    return result if out is None else write_out(out, result)


def _implicit_dim(name: str, ndim: int) -> int:
    """The dimension torch picks when none is given, with its warning."""
    import warnings

    warnings.warn(f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X as an "
                  "argument.", stacklevel=4)
    return 0 if ndim in (0, 1, 3) else 1


def _public(name: str, card: Any, doc: str) -> None:
    """Install a function with torch's two signatures: engine's and nn.functional's (with `_stacklevel`)."""

    def of_tensor(input: Tensor, dim: int, dtype: Any = None, *, out: Tensor | None = None) -> Tensor:
        return _normalised(card, input, dim, dtype, out, name)

    def functional(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
        return _normalised(card, input, _implicit_dim(name, input.ndim) if dim is None else dim, dtype, None, name)

    install(of_tensor, name, doc=doc)
    install(functional, name, function=False, method=False, functional=True, doc=doc)


_public("softmax", Softmax, """exp(x) scaled to sum 1 along `dim`; `dtype` casts first. Any shape; floating dtypes.

    IndexError for a `dim` out of range, RuntimeError for integer dtypes.

    >>> torch.softmax(torch.tensor([0., 0.]), dim=0)
    tensor([0.5000, 0.5000])
    """)
_public("log_softmax", LogSoftmax, """log(softmax(x)) along `dim`, computed without overflow; `dtype` casts first.

    IndexError for a `dim` out of range, RuntimeError for integer dtypes.

    >>> torch.log_softmax(torch.tensor([0., 0.]), dim=0)
    tensor([-0.6931, -0.6931])
    """)


@composite("softmin", function=False, method=False, functional=True)
def softmin(input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: Any = None) -> Tensor:
    """`softmax(-input)` along `dim`.

    >>> torch.nn.functional.softmin(torch.tensor([0., 0.]), dim=0)
    tensor([0.5000, 0.5000])
    """
    return _normalised(Softmax, -input, _implicit_dim("softmin", input.ndim) if dim is None else dim, dtype, None, "softmin")


@samples_for("softmin")
def _softmin_samples(make: Any) -> Any:
    yield make("softmin", make.uniform((3, 4)), dim=1)


@composite("gumbel_softmax", function=False, method=False, functional=True)
def gumbel_softmax(logits: Tensor, tau: float = 1, hard: bool = False, eps: float = 1e-10, dim: int = -1) -> Tensor:
    """A sample of the Gumbel-softmax distribution (Jang et al. 2016) along `dim`; `hard` gives one-hot values with the
    soft values' gradient. Draws from the default generator, as torch does.

    >>> torch.nn.functional.gumbel_softmax(torch.zeros(2, 3), hard=True).sum(dim=-1)
    tensor([1., 1.])
    """
    noise = -logits.detach().clone().exponential_().log()  # type: ignore[attr-defined]
    soft = _normalised(Softmax, (logits + noise) / tau, dim, None, None, "softmax")  # type: ignore[operator]
    if not hard:
        return soft
    best = soft.max(dim, keepdim=True)[1]  # type: ignore[attr-defined]
    one_hot = logits.detach().clone().zero_().scatter_(dim, best, 1.0)  # type: ignore[attr-defined]
    return one_hot - soft.detach() + soft
