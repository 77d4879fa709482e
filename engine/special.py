"""engine.special: torch.special's names for the operators that are also `engine.<name>`, and a few compositions of them.

Integers are computed in the default floating dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from engine.errors import did_you_mean
from engine.ops.base import CARDS, FUNCTIONAL, FUNCTIONS
from engine.ops.inplace import write_out
from engine.ops.pointwise import default_float
from engine.ops.special_rare import SPECIAL
from engine.tensor import Tensor, wrap

_SAME = ("digamma", "erf", "erfc", "erfinv", "exp2", "expm1", "i0", "log1p", "logit", "logsumexp", "polygamma", "round",
         "sinc", "xlogy")
_RENAMED = {"expit": "sigmoid", "gammaln": "lgamma", "multigammaln": "mvlgamma", "psi": "digamma"}
__all__ = ["entr", "i0e", "i1", "i1e", "log_ndtr", "log_softmax", "modified_bessel_i0", "modified_bessel_i1", "ndtr", "ndtri",
           "softmax", "xlog1py", *_SAME, *_RENAMED, *SPECIAL]

globals().update({name: FUNCTIONS[name] for name in _SAME})
globals().update({name: FUNCTIONS[old] for name, old in _RENAMED.items()})
globals().update(SPECIAL)


def __getattr__(name: str) -> Any:
    raise AttributeError(f"module 'engine.special' has no attribute '{name}'.{did_you_mean(name, __all__)}")


def _floating(x: Tensor) -> Tensor:
    return wrap(default_float(x._array)) if x._array.dtype.kind in "iub" else x


def _done(result: Tensor, out: Tensor | None) -> Tensor:
    return result if out is None else write_out(out, result)


def entr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """-x log(x) for x > 0, 0 for 0, -inf for negative x.

    >>> torch.special.entr(torch.tensor([0.1, 0.5]))
    tensor([0.2303, 0.3466])
    """
    x = _floating(input)
    return _done((-FUNCTIONS["xlogy"](x, x)).masked_fill(x < 0, -math.inf), out)  # type: ignore[attr-defined, operator]


def i1(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The modified Bessel function of the first kind of order 1.

    >>> torch.special.i1(torch.tensor([0., 1.]))
    tensor([0.0000, 0.5652])
    """
    return _done(CARDS["_i1"].apply(_floating(input)), out)


def _scaled_bessel(x: Tensor, order: int) -> Tensor:
    """I_order(x) exp(-|x|). Beyond 80, where both factors leave float32, by Abramowitz and Stegun 9.7.1."""
    size: Any = x.abs()  # type: ignore[attr-defined]
    far = size > 80
    inner = x.masked_fill(far, 0)  # type: ignore[attr-defined]
    near = (inner.i0() if order == 0 else i1(inner)) * (-inner.abs()).exp()
    large = size.masked_fill(~far, 80)
    term, total = 1, 1
    for k in range(1, 14):
        term = term * ((2 * k - 1) ** 2 - 4 * order) / (8 * k * large)
        total = total + term
    tail = total / (large * (2 * math.pi)).sqrt() * (1 if order == 0 else x.sign())  # type: ignore[attr-defined]
    return FUNCTIONS["where"](far, tail, near)


def i0e(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`i0` times exp(-|x|).

    >>> torch.special.i0e(torch.tensor([0., 1.]))
    tensor([1.0000, 0.4658])
    """
    return _done(_scaled_bessel(_floating(input), 0), out)


def i1e(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """`i1` times exp(-|x|).

    >>> torch.special.i1e(torch.tensor([0., 1.]))
    tensor([0.0000, 0.2079])
    """
    return _done(_scaled_bessel(_floating(input), 1), out)


def ndtr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The distribution function of the standard normal distribution: erfc(-x / sqrt(2)) / 2.

    >>> torch.special.ndtr(torch.tensor([-1., 0., 1.]))
    tensor([0.1587, 0.5000, 0.8413])
    """
    return _done((_floating(input) * -math.sqrt(0.5)).erfc() * 0.5, out)  # type: ignore[attr-defined, operator]


def ndtri(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The inverse of `ndtr`: sqrt(2) erfinv(2 p - 1), for p in [0, 1]. Digits are lost for tiny p, as 2 p - 1 is.

    >>> torch.special.ndtri(torch.tensor([0.5, 0.8413]))
    tensor([0.0000, 0.9998])
    """
    return _done((_floating(input) * 2 - 1).erfinv() * math.sqrt(2), out)  # type: ignore[attr-defined, operator]


def log_ndtr(input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """log(ndtr(x)); below -10 by the asymptotic series of erfc (Abramowitz and Stegun 7.1.23), which ndtr's underflow
    does not reach.

    >>> torch.special.log_ndtr(torch.tensor([0., -20.]))
    tensor([  -0.6931, -203.9172])
    """
    x = _floating(input)
    low = x < -10  # type: ignore[operator]
    above = (-ndtr(-x.clamp(min=0))).log1p()  # type: ignore[attr-defined]
    near = FUNCTIONS["where"](x > 0, above, ndtr(x.masked_fill(low, 0)).log())  # type: ignore[attr-defined, operator]
    far = x.masked_fill(~low, -10)  # type: ignore[attr-defined]
    term, total, square = 1, 1, far * far
    for k in range(1, 13):
        term = term * -(2 * k - 1) / square
        total = total + term
    tail = square * -0.5 - (-far).log() - 0.5 * math.log(2 * math.pi) + total.log()  # type: ignore[attr-defined]
    return _done(FUNCTIONS["where"](low, tail, near), out)


def xlog1py(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """x log(1 + y), 0 where x is 0.

    >>> torch.special.xlog1py(torch.tensor([0., 2.]), torch.tensor([-1., 1.]))
    tensor([0.0000, 1.3863])
    """
    x, y = [_floating(t) if isinstance(t, Tensor) else t for t in (input, other)]
    x = x if isinstance(x, Tensor) else y.new_tensor(x)
    y = y if isinstance(y, Tensor) else x.new_tensor(y)
    zero = (x == 0) & (y <= -1)  # type: ignore[attr-defined, operator]
    return _done(x * FUNCTIONS["where"](zero, 0.0, y).log1p(), out)


def _over_dim(name: str) -> Callable:
    card = FUNCTIONAL[name]

    def call(input: Tensor, dim: int, *, dtype: Any = None) -> Tensor:
        return card(input, dim, dtype=dtype)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"`torch.{name}`, with `dim` given."
    return call


softmax, log_softmax = _over_dim("softmax"), _over_dim("log_softmax")
modified_bessel_i0, modified_bessel_i1 = FUNCTIONS["i0"], i1
