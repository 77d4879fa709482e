"""Cells of recurrent layers on vectors of LANES units: what a step does with its sums, and the gradients of that.

A place is an address; place[i] is its i-th vector. Gates lie as `products.pack` puts them: the same units of every gate side
by side. Formulas as in `ops/_recurrent_steps.py`, which is the reference.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from .moves import intrinsic, load, store
from .products import LANES, WIDE

_KIND = ir.VectorType(ir.FloatType(), LANES)
_FLAGS = ("contract", "nsz")
# tanh(x) = x * P(x**2) / Q(x**2), fitted to |x| < 8, where a float32 is nearly 1: 5 units in the last place off at most.
_P = (1.523043792e-08, 2.189467663e-05, 0.003571598943, 0.1344449877, 0.9999999936)
_Q = (8.522454874e-07, 0.0003411293498, 0.02616444647, 0.4677782609, 1.0)
_MOST = 8.0


class _Vector:
    """LANES floats in a register, with the arithmetic of numbers."""

    def __init__(self, builder: Any, value: Any) -> None:
        self.builder, self.value = builder, value

    @staticmethod
    def _value(other: Any) -> Any:
        return other.value if isinstance(other, _Vector) else ir.Constant(_KIND, [other] * LANES)

    def _with(self, other: Any, operation: str, turned: bool = False) -> _Vector:
        pair = (self._value(other), self.value) if turned else (self.value, self._value(other))
        return _Vector(self.builder, getattr(self.builder, operation)(*pair, flags=_FLAGS))

    def __add__(self, other: Any) -> _Vector:
        return self._with(other, "fadd")

    def __sub__(self, other: Any) -> _Vector:
        return self._with(other, "fsub")

    def __rsub__(self, other: Any) -> _Vector:
        return self._with(other, "fsub", turned=True)

    def __mul__(self, other: Any) -> _Vector:
        return self._with(other, "fmul")

    def __truediv__(self, other: Any) -> _Vector:
        return self._with(other, "fdiv")

    def choose(self, comparison: str, bound: float, yes: Any, no: Any) -> _Vector:
        """`yes` where the comparison with the bound holds, else `no`, also for NaN."""
        holds = self.builder.fcmp_ordered(comparison, self.value, self._value(bound))
        return _Vector(self.builder, self.builder.select(holds, self._value(yes), self._value(no)))


class _Place:
    """Vectors at an address."""

    def __init__(self, builder: Any, address: Any) -> None:
        self.builder, self.address = builder, address

    def _at(self, i: int) -> Any:
        return self.builder.add(self.address, ir.Constant(self.address.type, 4 * LANES * i))

    def __getitem__(self, i: int) -> _Vector:
        return _Vector(self.builder, load(self.builder, self._at(i), LANES))

    def __setitem__(self, i: int, vector: _Vector) -> None:
        store(self.builder, vector.value, self._at(i), LANES)


def on_places(formula: Callable) -> Any:
    """An intrinsic that takes as many addresses as the formula takes places."""

    def typed(typingctx, *addresses):  # type: ignore[no-untyped-def]
        def call(context, builder, signature, args):  # type: ignore[no-untyped-def]
            formula(*[_Place(builder, address) for address in args])
            return context.get_dummy_value()

        return types.void(*[types.intp] * len(addresses)), call

    typed.__name__, typed.__doc__ = formula.__name__, formula.__doc__
    places = inspect.signature(formula).parameters.values()
    context = inspect.Parameter("typingctx", inspect.Parameter.POSITIONAL_OR_KEYWORD)
    typed.__signature__ = inspect.Signature([context, *places])  # type: ignore[attr-defined]
    return intrinsic(typed)


def _polynomial(x: _Vector, factors: tuple) -> _Vector:
    value = x * factors[0] + factors[1]
    for factor in factors[2:]:
        value = value * x + factor
    return value


def tanh(x: _Vector) -> _Vector:
    """The hyperbolic tangent, in fewer steps than by way of an exponential."""
    x = x.choose("<", -_MOST, -_MOST, x)
    x = x.choose(">", _MOST, _MOST, x)
    square = x * x
    return x * _polynomial(square, _P) / _polynomial(square, _Q)


def sigmoid(x: _Vector) -> _Vector:
    return tanh(x * 0.5) * 0.5 + 0.5


@on_places
def lstm_cell(gates: _Place, cell: _Place, kept: _Place, new: _Place) -> None:
    """Gates i, f, g, o from their sums, in place; the cell state is `kept`, and the next takes its place; `new` outputs."""
    i, f, g, o = sigmoid(gates[0]), sigmoid(gates[1]), tanh(gates[2]), sigmoid(gates[3])
    old = cell[0]
    c = f * old + i * g
    gates[0], gates[1], gates[2], gates[3] = i, f, g, o
    kept[0], cell[0] = old, c
    new[0] = o * tanh(c)


@on_places
def lstm_cell_backward(gates: _Place, kept: _Place, dc: _Place, d: _Place, pre: _Place, made: _Place) -> None:
    """Gradients of the sums from those of the output, `d`, and of the cell state, `dc`; that becomes the one of the old state.

    Also o * tanh(c), which is `made` again.
    """
    i, f, g, o, old, dh = gates[0], gates[1], gates[2], gates[3], kept[0], d[0]
    squashed = tanh(f * old + i * g)
    made[0] = o * squashed
    of_o = dh * o
    of_c = dc[0] + of_o * (1 - squashed * squashed)
    pre[0] = of_c * g * (i * (1 - i))
    pre[1] = of_c * old * (f * (1 - f))
    pre[2] = of_c * i * (1 - g * g)
    pre[3] = of_o * squashed * (1 - o)
    dc[0] = of_c * f


@on_places
def gru_cell(gates: _Place, from_h: _Place, state: _Place, inner: _Place, new: _Place) -> None:
    """Gates r, z, n from their sums over inputs, in place, and over states; the candidate's of those goes to `inner`."""
    r, z, last, h = sigmoid(gates[0] + from_h[0]), sigmoid(gates[1] + from_h[1]), from_h[2], state[0]
    n = tanh(gates[2] + r * last)
    gates[0], gates[1], gates[2], inner[0] = r, z, n, last
    new[0] = (h - n) * z + n


@on_places
def gru_cell_backward(gates: _Place, inner: _Place, state: _Place, d: _Place, pre: _Place, pre_h: _Place) -> None:
    """Gradients of the sums over inputs and over states from that of the new state, `d`; that becomes d * z."""
    r, z, n, last, h, dh = gates[0], gates[1], gates[2], inner[0], state[0], d[0]
    of_n = dh * (1 - z) * (1 - n * n)
    of_z = dh * (h - n) * (z * (1 - z))
    of_r = of_n * last * (r * (1 - r))
    pre[0], pre[1], pre[2] = of_r, of_z, of_n
    pre_h[0], pre_h[1], pre_h[2] = of_r, of_z, of_n * r
    d[0] = dh * z


@on_places
def tanh_cell(sums: _Place) -> None:
    for v in range(WIDE):
        sums[v] = tanh(sums[v])


@on_places
def relu_cell(sums: _Place) -> None:
    for v in range(WIDE):
        total = sums[v]
        sums[v] = total.choose("<", 0.0, 0.0, total)


@on_places
def tanh_cell_backward(out: _Place, d: _Place, pre: _Place) -> None:
    for v in range(WIDE):
        y = out[v]
        pre[v] = d[v] * (1 - y * y)


@on_places
def relu_cell_backward(out: _Place, d: _Place, pre: _Place) -> None:
    for v in range(WIDE):
        pre[v] = out[v].choose(">", 0.0, d[v], 0.0)
