"""Special functions as operators: erf, gamma and Bessel functions. Their values are computed in special_values.py."""

from __future__ import annotations

import math
from typing import Any

from .. import backend, dtypes
from ..tensor import Tensor, wrap
from .base import Op, composite, expect_tensor, op
from .inplace import write_out
from .pointwise import unary
from .samples import samples_for
from .special_values import bessel_i, digamma, erf, erfc, erfinv, lgamma, polygamma

ROOT_PI = math.sqrt(math.pi)

unary("erf", gpu=True, ufunc=erf, keep="x", grad=lambda xp, g, x, y: g * xp.exp(-(x * x)) * (2 / ROOT_PI), doc="""
The error function of each element.

>>> torch.erf(torch.tensor([0., 1.]))
tensor([0.0000, 0.8427])
""")
unary("erfc", ufunc=erfc, keep="x", grad=lambda xp, g, x, y: g * xp.exp(-(x * x)) * (-2 / ROOT_PI), doc="""
1 - erf(x) of each element, without losing small values.

>>> torch.erfc(torch.tensor([0., 1.]))
tensor([1.0000, 0.1573])
""")
unary("erfinv", ufunc=erfinv, keep="y", domain=(-0.9, 0.9), grad=lambda xp, g, x, y: g * xp.exp(y * y) * (ROOT_PI / 2), doc="""
The inverse of the error function, on (-1, 1).

>>> torch.erfinv(torch.tensor([0., 0.5]))
tensor([0.0000, 0.4769])
""")
unary("lgamma", ufunc=lgamma, keep="x", domain=(0.3, 4.0), grad=lambda xp, g, x, y: g * xp.digamma(x), doc="""
The logarithm of the absolute value of the gamma function.

>>> torch.lgamma(torch.tensor([0.5, 4.]))
tensor([0.5724, 1.7918])
""")
unary("digamma", ufunc=digamma, keep="x", domain=(0.3, 4.0), grad=lambda xp, g, x, y: g * xp._polygamma(x, 1), doc="""
The derivative of `lgamma`.

>>> torch.digamma(torch.tensor([1., 2.]))
tensor([-0.5772,  0.4228])
""")
unary("i0", ufunc=lambda x: bessel_i(0, x), keep="x", grad=lambda xp, g, x, y: g * xp._i1(x), doc="""
The modified Bessel function of the first kind of order 0.

>>> torch.i0(torch.tensor([0., 1.]))
tensor([1.0000, 1.2661])
""")


@op("_i1", function=False, method=False)
class BesselOne(Op):
    """The modified Bessel function of the first kind of order 1."""

    keep, keep_output = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return bessel_i(1, x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x = s.inputs[0]
        zero = x == 0
        return (g * (xp.i0(x) - xp.where(zero, 0.5, s.output / xp.where(zero, 1, x))),)


@op("_polygamma", function=False, method=False, node="PolygammaBackward0")
class Polygamma(Op):
    """The n-th derivative of digamma."""

    keep, to_float = (0,), True

    @staticmethod
    def forward(xp: Any, x: Any, n: int) -> Any:
        return polygamma(n, x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g * xp._polygamma(s.inputs[0], s.params[0] + 1),)


def _polygamma(n: int, input: Tensor, out: Tensor | None) -> Tensor:
    n = int(n)
    if n < 0:
        raise RuntimeError(f"polygamma(n, x) does not support negative n, got n={n}")
    result = Polygamma.apply(expect_tensor(input, "polygamma", "input", 2), n)
    return result if out is None else write_out(out, result)


@composite("polygamma", method=False)
def polygamma_function(n: int, input: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The `n`-th derivative of `digamma`.

    >>> torch.polygamma(1, torch.tensor([1.]))
    tensor([1.6449])
    """
    return _polygamma(n, input, out)


@composite("polygamma", function=False, inplace=True)
def polygamma_method(input: Tensor, n: int) -> Tensor:
    """`torch.polygamma(n, input)`.

    >>> torch.tensor([1.]).polygamma_(1)
    tensor([1.6449])
    """
    return _polygamma(n, input, None)


@composite("mvlgamma", inplace=True)
def mvlgamma(input: Tensor, p: int, *, out: Tensor | None = None) -> Tensor:
    """The logarithm of the multivariate gamma function of dimension `p`; every element is above (p - 1) / 2.

    >>> torch.mvlgamma(torch.tensor([3.]), 2)
    tensor([1.5502])
    """
    if input.dtype is dtypes.bool_:
        raise RuntimeError("The input tensor may not be a boolean tensor.")
    if p < 1:
        raise RuntimeError(f"p has to be greater than or equal to 1, got {p}")
    kind = input.dtype if input.is_floating_point() else dtypes.get_default_dtype()
    steps = wrap((backend.namespace(input._array).arange(p) * -0.5).astype(kind.np))
    total = (input.unsqueeze(-1) + steps).lgamma().sum(-1)  # type: ignore[attr-defined]
    result = total + p * (p - 1) / 4 * math.log(math.pi)
    return result if out is None else write_out(out, result)


@samples_for("polygamma")
def _gamma_samples(make: Any) -> Any:
    for n in (0, 1, 2):
        yield make("polygamma", n, make.uniform((3, 4), 0.4, 4))
    yield make("mvlgamma", make.uniform((3, 4), 2, 5), 3)
