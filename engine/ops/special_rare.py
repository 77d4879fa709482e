"""Rare special functions as operators, under `engine.special` only: Bessel, Airy, zeta, erfcx, incomplete gamma functions
and orthogonal polynomials. Bessel and Airy functions have the gradients that torch leaves out; where neither has one
(the orders `a` of the gamma functions and `s` of zeta, polynomials), backward raises NotImplementedError, as in torch.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NoReturn

import numpy as np

from .. import dtypes
from ..tensor import Tensor, wrap
from . import bessel_values as values
from .base import Op, apply, composite, op
from .gamma_values import hurwitz_zeta, incomplete_gamma, scaled_erfc
from .inplace import write_out
from .polynomial_values import RECURRENCES, SHIFTED, polynomial

SPECIAL: dict[str, Callable] = {}  # what `engine.special` exports from here


def _public(name: str, call: Callable, doc: str) -> None:
    call.__name__ = call.__qualname__ = name
    call.__doc__ = doc
    SPECIAL[name] = call


def _one(name: str, of: Callable, grad: Callable | None, doc: str, low: float = 0.5, high: float = 6.0) -> None:
    """Register a function of one variable; `grad(xp, g, x, y)` as in `pointwise.unary`."""

    class Card(Op):
        keep, keep_output, to_float = (0,), True, True
        differentiable = grad is not None

        @staticmethod
        def forward(xp: Any, x: Any) -> Any:
            return of(x)

        @staticmethod
        def backward(xp: Any, s: Any, g: Any) -> tuple:
            return (grad(xp, g, s.inputs[0], s.output),)  # type: ignore[misc]

        @staticmethod
        def samples(make: Any) -> Any:
            if name[0] == "_":
                return
            for shape in ((), (3, 4), (0,)):
                yield make(name, make.uniform(shape, low, high), _module="special", _half=False, _oracle=False)

    Card.__doc__ = doc
    op("_special" + name if name[0] == "_" else "special_" + name, function=False, method=False)(Card)
    if name[0] == "_":
        return

    def call(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        result = apply(Card, (input,))
        return result if out is None else write_out(out, result)

    _public(name, call, doc)


def _example(name: str, value: str, x: str = "1.") -> str:
    return f"\n\n    >>> torch.special.{name}(torch.tensor([{x}]))\n    tensor([{value}])\n    "


_one("bessel_j0", values.bessel_j(0), lambda xp, g, x, y: -g * xp.special_bessel_j1(x),
     "The Bessel function of the first kind of order 0." + _example("bessel_j0", "0.7652"))
_one("bessel_j1", values.bessel_j(1), lambda xp, g, x, y: g * (xp.special_bessel_j0(x) - y / x),
     "The Bessel function of the first kind of order 1." + _example("bessel_j1", "0.4401"))
_one("bessel_y0", values.bessel_y(0), lambda xp, g, x, y: -g * xp.special_bessel_y1(x),
     "The Bessel function of the second kind of order 0; NaN below 0." + _example("bessel_y0", "0.0883"))
_one("bessel_y1", values.bessel_y(1), lambda xp, g, x, y: g * (xp.special_bessel_y0(x) - y / x),
     "The Bessel function of the second kind of order 1; NaN below 0." + _example("bessel_y1", "-0.7812"))
_one("modified_bessel_k0", values.bessel_k(0), lambda xp, g, x, y: -g * xp.special_modified_bessel_k1(x),
     "The modified Bessel function of the second kind of order 0." + _example("modified_bessel_k0", "0.4210"))
_one("modified_bessel_k1", values.bessel_k(1), lambda xp, g, x, y: -g * (xp.special_modified_bessel_k0(x) + y / x),
     "The modified Bessel function of the second kind of order 1." + _example("modified_bessel_k1", "0.6019"))
_one("scaled_modified_bessel_k0", values.scaled_bessel_k(0),
     lambda xp, g, x, y: g * (y - xp.special_scaled_modified_bessel_k1(x)),
     "exp(x) times `modified_bessel_k0`." + _example("scaled_modified_bessel_k0", "1.1445"))
_one("scaled_modified_bessel_k1", values.scaled_bessel_k(1),
     lambda xp, g, x, y: g * (y - xp.special_scaled_modified_bessel_k0(x) - y / x),
     "exp(x) times `modified_bessel_k1`." + _example("scaled_modified_bessel_k1", "1.6362"))
_one("spherical_bessel_j0", values.spherical_j0, lambda xp, g, x, y: g * (xp.cos(x) - y) / x,
     "sin(x) / x, the spherical Bessel function of order 0." + _example("spherical_bessel_j0", "0.8415"))
_one("airy_ai", values.airy(False), lambda xp, g, x, y: g * xp._special_airy_ai_slope(x),
     "The Airy function Ai." + _example("airy_ai", "0.1353"), -3.0, 3.0)
_one("_airy_ai_slope", values.airy(True), lambda xp, g, x, y: g * x * xp.special_airy_ai(x), "The derivative of Ai.")
_one("erfcx", values.in_float64(scaled_erfc), lambda xp, g, x, y: g * (2 * x * y - 2 / math.sqrt(math.pi)),
     "exp(x^2) erfc(x), without overflow." + _example("erfcx", "0.4276"), -2.0, 4.0)


def _no_gradient(name: str, argument: str) -> NoReturn:
    raise NotImplementedError(f"the derivative for '{argument}' of '{name}' is not implemented.")


# -- two variables ----------------------------------------------------------------------------------------------------


def _pair(name: str, of: Callable, grad: Callable, first: str) -> type[Op]:
    """Register a function of two variables that has the gradient `grad(xp, g, a, x)` for the second only."""

    class Card(Op):
        n, promote, to_float, keep = 2, True, True, (0, 1)

        @staticmethod
        def forward(xp: Any, a: Any, x: Any) -> Any:
            return of(a, x).astype(a.dtype)

        @staticmethod
        def backward(xp: Any, s: Any, g: Any) -> tuple:
            if s.needs[0]:
                _no_gradient(name, first)
            return None, grad(xp, g, *s.inputs)

        @staticmethod
        def samples(make: Any) -> Any:
            for a, x in (((3, 4), (4,)), ((), (3,)), ((0,), (1,))):
                orders = make.uniform(a, 1.5, 6, grad=False)
                yield make(name, orders, make.uniform(x, 0.5, 6), _module="special", _half=False)

    Card.__doc__ = f"{name}(a, x)."
    return op("special_" + name, function=False, method=False)(Card)


def _gamma_slope(xp: Any, a: Any, x: Any) -> Any:
    """The derivative of P(a, x) for x."""
    return xp.exp((a - 1) * xp.log(x) - x - xp.lgamma(a))


_LOWER = _pair("gammainc", lambda a, x: incomplete_gamma(a, x)[0], lambda xp, g, a, x: g * _gamma_slope(xp, a, x), "input")
_UPPER = _pair("gammaincc", lambda a, x: incomplete_gamma(a, x)[1], lambda xp, g, a, x: -g * _gamma_slope(xp, a, x), "input")
_ZETA = _pair("zeta", hurwitz_zeta, lambda xp, g, s, q: -g * s * xp.special_zeta(s + 1, q), "self")


def _as_pair(name: str, input: Any, other: Any) -> tuple[Any, Any]:
    if not isinstance(input, Tensor) and not isinstance(other, Tensor):
        raise TypeError(f"{name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    return input, other


@composite("igamma", inplace=True)
def igamma(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The regularized lower incomplete gamma function P(input, other), for positive arguments. No gradient for `input`.

    >>> torch.igamma(torch.tensor([4.0]), torch.tensor([3.0]))
    tensor([0.3528])
    """
    result = apply(_LOWER, _as_pair("igamma", input, other))
    return result if out is None else write_out(out, result)


@composite("igammac", inplace=True)
def igammac(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The regularized upper incomplete gamma function Q(input, other) = 1 - P. No gradient for `input`.

    >>> torch.igammac(torch.tensor([4.0]), torch.tensor([3.0]))
    tensor([0.6472])
    """
    result = apply(_UPPER, _as_pair("igammac", input, other))
    return result if out is None else write_out(out, result)


def zeta(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
    """Hurwitz's zeta function: the sum over k >= 0 of (k + other)^-input. No gradient for `input`.

    >>> torch.special.zeta(torch.tensor([2., 4.]), 1)
    tensor([1.6449, 1.0823])
    """
    result = apply(_ZETA, _as_pair("zeta", input, other))
    return result if out is None else write_out(out, result)


SPECIAL.update(gammainc=igamma, gammaincc=igammac, zeta=zeta)


# -- polynomials ------------------------------------------------------------------------------------------------------


def _polynomial(name: str) -> None:
    class Card(Op):
        n, promote, to_float = 2, True, True

        @staticmethod
        def forward(xp: Any, x: Any, n: Any) -> Any:
            return polynomial(name, x, n)

        @staticmethod
        def backward(xp: Any, s: Any, g: Any) -> tuple:
            _no_gradient(name, "x")

        @staticmethod
        def samples(make: Any) -> Any:
            for x, n in (((3, 4), (4,)), ((), (5,)), ((0,), (1,))):
                yield make(name, make.uniform(x, -1.5, 1.5, grad=False), make.ints(n, 0, 6), _module="special", _half=False)
            yield make(name, make.uniform((3,), -1.5, 1.5, grad=False), 3, _module="special", _half=False)

    Card.__doc__ = f"{name}, by its recurrence."
    op("special_" + name, function=False, method=False)(Card)

    def call(input: Any, n: Any, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(input, Tensor) and isinstance(n, Tensor):
            input = wrap(np.asarray(input, dtypes.get_default_dtype().np))
        result = apply(Card, _as_pair(name, input, n))
        return result if out is None else write_out(out, result)

    family, kind = name.replace("_polynomial_", " ").replace("shifted_", "shifted ").rsplit(" ", 1)
    _public(name, call, f"The {family} polynomial {kind.capitalize()} of degree `n` at each element; 0 if `n` is negative.\n\n"
            f"    Degrees may be a tensor, which broadcasts. There is no gradient, as in torch.\n\n"
            f"    >>> torch.special.{name}(torch.tensor([0.5]), 2).shape\n    torch.Size([1])\n    ")


for _name in (*RECURRENCES, *SHIFTED):
    _polynomial(_name)
