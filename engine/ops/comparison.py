"""Comparisons, logic and choice: ==, <, logical_*, bitwise_*, isnan, isclose, where, isin and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend
from ..dtypes import promote_types, result_dtype
from ..tensor import Tensor, wrap
from .base import F32, F64, Op, apply, composite, expect_tensor, install, op, write_out
from .pointwise import _NUMBERS, _binary_slow, explain_broadcast
from .samples import samples_for

I64 = np.dtype(np.int64)


class Compare(Op):
    """Base of the six comparisons: broadcasting, bool result, no gradient."""

    n, promote, differentiable = 2, True, False
    ufunc: Callable

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast(tensors)

    @classmethod
    def samples(cls, make: Any) -> Any:
        yield make(cls.name, make.ints((3, 4), 0, 3), make.ints((4,), 0, 3))
        yield make(cls.name, make.uniform((3, 1), -1, 1), make.uniform((4,), -1, 1))
        yield make(cls.name, make.uniform((5,), -1, 1), 0.25)
        yield make(cls.name, make.ints((5,), -2, 2), 0.5)
        yield make(cls.name, make.ints((5,), -2, 2), make.uniform((5,), -1, 1))
        yield make(cls.name, make.bools((5,)), make.bools((5,)))
        yield make(cls.name, make.uniform((), -1, 1), make.uniform((0,), -1, 1))


def _comparison(name: str, alias: str, ufunc: Any, words: str, sign: str, shown: str) -> None:
    """Register one comparison with its function, method, operator and in-place form."""
    doc = f"""Whether `input {sign} other`, elementwise with broadcasting ({words}). The result is bool.

    >>> torch.{name}(torch.tensor([1, 2, 3]), 2)
    tensor([{shown}])
    """
    body = {"__doc__": doc, "forward": staticmethod(lambda xp, a, b: ufunc(a, b))}
    card: Any = op(name, inplace=True)(type(name.capitalize(), (Compare,), body))
    card.call = _comparison_function(card, ufunc, False)
    install(card.call, name, *([alias] if alias else []), inplace=True, doc=doc)
    setattr(Tensor, f"__{name}__", _comparison_function(card, ufunc, True))


def _comparison_function(card: Any, ufunc: Any, dunder: bool) -> Callable:
    def call(input: Tensor, other: Any, *, out: Tensor | None = None) -> Tensor:
        if isinstance(other, Tensor) and isinstance(input, Tensor) and out is None:
            a, b = input._array, other._array
            if a.dtype is b.dtype and a.shape == b.shape and a.dtype.kind != "V":
                return wrap(ufunc(a, b))
        elif type(other) in (int, float) and isinstance(input, Tensor) and out is None:
            a = input._array
            if a.dtype is F32 or a.dtype is F64 or (a.dtype == I64 and type(other) is int):
                return wrap(ufunc(a, other))
        return _binary_slow(card, input, other, out, dunder)

    return call


for _row in (("eq", "", np.equal, "equal", "==", "False,  True, False"),
             ("ne", "not_equal", np.not_equal, "not equal", "!=", " True, False,  True"),
             ("lt", "less", np.less, "less", "<", " True, False, False"),
             ("le", "less_equal", np.less_equal, "less or equal", "<=", " True,  True, False"),
             ("gt", "greater", np.greater, "greater", ">", "False, False,  True"),
             ("ge", "greater_equal", np.greater_equal, "greater or equal", ">=", "False,  True,  True")):
    _comparison(*_row)


# -- choosing ---------------------------------------------------------------------------------------------------------


@op("where", method=False)
class Where(Op):
    """`input` where `condition` holds, else `other`; all three broadcast, the two values are promoted.

    With the condition alone: the indices of its True elements, as `nonzero(as_tuple=True)`. The condition is bool;
    RuntimeError for others.

    >>> torch.where(torch.tensor([True, False]), torch.tensor([1., 2.]), 0.)
    tensor([1., 0.])
    """

    n = 3
    moves = True
    keep = {0: (1, 2)}

    @staticmethod
    def forward(xp: Any, c: Any, x: Any, y: Any) -> Any:
        return xp.where(c, x, y)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        c, needs = s.inputs[0], s.needs
        return None, (xp.where(c, g, 0) if needs[1] else None), (xp.where(c, 0, g) if needs[2] else None)

    @staticmethod
    def call(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
        expect_tensor(condition, "where", "condition")
        if input is None and other is None:
            return tuple(wrap(i) for i in backend.namespace(condition._array).nonzero(condition._array))
        return _choose(condition, input, other, out)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        c, x, y = [t if isinstance(t, Tensor) else wrap(np.asarray(t)) for t in tensors]
        try:
            np.broadcast_shapes(tuple(x.shape), tuple(y.shape))
        except ValueError:
            return explain_broadcast((x, y))
        return explain_broadcast((c, x if x.ndim > y.ndim else y))

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("where", make.bools((3, 4)), make.uniform((3, 4)), make.uniform((4,)))
        yield make("where", make.bools((4,)), make.uniform((3, 1)), make.uniform(()))
        yield make("where", make.bools((4,)), make.uniform((4,)), 0.5)
        yield make("where", make.bools((4,)), 1, make.uniform((4,)))
        yield make("where", make.bools((4,)), make.ints((4,), 0, 9), make.uniform((4,)))
        yield make("where", make.bools((3, 4)))


def _choose(condition: Tensor, x: Any, y: Any, out: Tensor | None) -> Tensor:
    kind = condition._array.dtype.kind
    if kind != "b":
        if condition._array.dtype != np.uint8:
            raise RuntimeError(f"where expected condition to be a boolean tensor, but got a tensor with dtype {condition.dtype}")
        condition = wrap(condition._array != 0)
    for position, (label, value) in enumerate((("input", x), ("other", y)), 2):
        if not isinstance(value, (Tensor, *_NUMBERS)):
            raise TypeError(f"where(): argument '{label}' (position {position}) must be Tensor or Number, not "
                            f"{type(value).__name__}")
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x._array.dtype is y._array.dtype):
        d = result_dtype([v._array if isinstance(v, Tensor) else v for v in (x, y)])
        x, y = [v.to(d) if isinstance(v, Tensor) else wrap(np.asarray(v, d.np)) for v in (x, y)]
    result = apply(Where, (condition, x, y))
    return result if out is None else write_out(out, result)


def _where_method(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor where `condition` holds, else `other`: `torch.where(condition, self, other)`."""
    return Where.call(condition, input, other)


Tensor.where = _where_method  # type: ignore[attr-defined]
