"""Comparisons, logic and choice: ==, <, logical_*, bitwise_*, isnan, isclose, where, isin and their kin."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, wrap
from ._blocked import select
from .base import F32, F64, Op, apply, composite, expect_tensor, install, op
from .inplace import with_out, write_out
from .pointwise import _NUMBERS, _binary_slow, explain_broadcast
from .samples import samples_for

I64 = np.dtype(np.int64)


class Compare(Op):
    """Base of the six comparisons: broadcasting, bool result, no gradient."""

    n, promote, differentiable = 2, True, False
    ufunc: Callable

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        if isinstance(error, TypeError):
            return NotImplementedError(f"{cls.name}(): not implemented for {dtypes.result_dtype(tensors)}: {error}")
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
    ordered = name not in ("eq", "ne")

    def forward(xp: Any, a: Any, b: Any) -> Any:
        if ordered and a.dtype.kind == "c":
            raise TypeError("complex numbers have no order")
        return ufunc(a, b)

    body = {"__doc__": doc, "forward": staticmethod(forward)}
    card: Any = op(name, inplace=True)(type(name.capitalize(), (Compare,), body))
    slow = "Vc" if ordered else "V"  # kinds of dtypes that NumPy cannot compare, or must not
    card.call = _comparison_function(card, ufunc, slow, False)
    install(card.call, name, *([alias] if alias else []), inplace=True, doc=doc)
    setattr(Tensor, f"__{name}__", _comparison_function(card, ufunc, slow, True))


def _comparison_function(card: Any, ufunc: Any, slow: str, dunder: bool) -> Callable:
    def call(input: Tensor, other: Any, *, out: Tensor | None = None) -> Tensor:
        if isinstance(other, Tensor) and isinstance(input, Tensor) and out is None:
            a, b = input._array, other._array
            if a.dtype is b.dtype and a.shape == b.shape and a.dtype.kind not in slow:
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
        return select(c, x, y) if xp is np else xp.where(c, x, y)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        c, needs = s.inputs[0], s.needs
        return None, (xp._zero_where(g, ~c) if needs[1] else None), (xp._zero_where(g, c) if needs[2] else None)

    @staticmethod
    def call(condition: Tensor, input: Any = None, other: Any = None, *, out: Tensor | None = None) -> Any:
        expect_tensor(condition, "where", "condition")
        if input is None and other is None:
            a = backend.namespace(condition._array).atleast_1d(condition._array)
            return tuple([wrap(backend.namespace(a).ascontiguousarray(i)) for i in a.nonzero()])
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
            raise RuntimeError("where expected condition to be a boolean tensor, but got a tensor with dtype "
                               f"{condition.dtype}")
        condition = wrap(condition._array != 0)
    if not (isinstance(x, Tensor) and isinstance(y, Tensor) and x._array.dtype is y._array.dtype):
        for position, (label, value) in enumerate((("input", x), ("other", y)), 2):
            if not isinstance(value, (Tensor, *_NUMBERS)):
                raise TypeError(f"where(): argument '{label}' (position {position}) must be Tensor or Number, not "
                                f"{type(value).__name__}")
        d = dtypes.result_dtype([v._array if isinstance(v, Tensor) else v for v in (x, y)])
        x, y = [v.to(d) if isinstance(v, Tensor) else wrap(np.asarray(v, d.np)) for v in (x, y)]
    result = Where.apply(condition, x, y)
    return result if out is None else write_out(out, result)


def _where_method(input: Tensor, condition: Tensor, other: Any) -> Tensor:
    """This tensor where `condition` holds, else `other`: `torch.where(condition, self, other)`."""
    return Where.call(condition, input, other)


Tensor.where = _where_method  # type: ignore[attr-defined]


# -- tests of single elements -----------------------------------------------------------------------------------------


def _test(name: str, forward: Callable, shown: str, sentence: str) -> None:
    """Register one elementwise test: bool result, no gradient."""
    doc = f"""{sentence}

    >>> torch.{name}(torch.tensor([1., float("nan"), -float("inf")]))
    tensor([{shown}])
    """

    def call(input: Tensor) -> Tensor:
        if name in ("isposinf", "isneginf") and expect_tensor(input, name).is_complex():  # type: ignore[attr-defined]
            raise RuntimeError(f"{name} does not support complex inputs.")
        return apply(card, (expect_tensor(input, name),))

    if name in ("isposinf", "isneginf", "signbit"):
        call = with_out(call)

    def samples(make: Any) -> Any:
        yield make(name, make.uniform((3, 4)))
        yield make(name, make.ints((3,), -2, 2))
        yield make(name, make.uniform(()))

    card: Any = op(name)(type(name.capitalize(), (Op,), {
        "__doc__": doc, "differentiable": False, "forward": staticmethod(forward), "call": staticmethod(call),
        "samples": staticmethod(samples)}))


_test("isnan", lambda xp, x: xp.isnan(x), "False,  True, False", "Whether each element is NaN.")
_test("isinf", lambda xp, x: xp.isinf(x), "False, False,  True", "Whether each element is infinite.")
_test("isfinite", lambda xp, x: xp.isfinite(x), " True, False, False", "Whether each element is neither infinite nor NaN.")
_test("isreal", lambda xp, x: xp.isreal(x), "True, True, True", "Whether each element has no imaginary part.")
_test("isposinf", lambda xp, x: x == xp.inf, "False, False, False", "Whether each element is positive infinity.")
_test("isneginf", lambda xp, x: x == -xp.inf, "False, False,  True", "Whether each element is negative infinity.")
_test("signbit", lambda xp, x: xp.signbit(x) if x.dtype.kind == "f" else x < 0, "False, False,  True",
      "Whether each element has its sign bit set (-0. has).")


@op("isclose")
class IsClose(Op):
    """Whether |input - other| <= atol + rtol * |other|, elementwise; `equal_nan` lets two NaNs be close.

    Both tensors have one dtype; RuntimeError otherwise.

    >>> torch.isclose(torch.tensor([1., 2.]), torch.tensor([1.000001, 2.1]))
    tensor([ True, False])
    """

    n, differentiable = 2, False

    @staticmethod
    def forward(xp: Any, a: Any, b: Any, rtol: float, atol: float, equal_nan: bool) -> Any:
        close = a == b
        if a.dtype.kind in "fc":
            if equal_nan:
                close = close | ((a != a) & (b != b))
            if rtol or atol:
                close = close | ((abs(a - b) <= atol + abs(rtol * b)) & xp.isfinite(abs(a - b)) & xp.isfinite(b))
        elif a.dtype.kind in "iu" and (rtol or atol):
            close = close | (abs(a.astype(np.float64) - b) <= atol + abs(rtol * b))
        return close

    @staticmethod
    def call(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> Tensor:
        expect_tensor(input, "isclose")
        if input.dtype is not expect_tensor(other, "isclose", "other", 2).dtype:
            raise RuntimeError(f"{_legacy_name(input)} did not match {_legacy_name(other)} (isclose() needs tensors of one "
                               "dtype)")
        if rtol < 0 or atol < 0:
            raise RuntimeError(f"rtol and atol must be greater than or equal to zero, but got rtol={rtol} and atol={atol}")
        return apply(IsClose, (input, other), (rtol, atol, equal_nan))

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast(tensors)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("isclose", make.uniform((3, 4)), make.uniform((4,)), rtol=0.3, atol=0.2)
        yield make("isclose", make.ints((5,), 0, 3), make.ints((5,), 0, 3))


def _legacy_name(t: Tensor) -> str:
    return t.type().rpartition(".")[2].removesuffix("Tensor")  # type: ignore[attr-defined]


@composite("allclose")
def allclose(input: Tensor, other: Tensor, rtol: float = 1e-05, atol: float = 1e-08, equal_nan: bool = False) -> bool:
    """Whether `isclose` holds for all elements, as a Python bool.

    >>> torch.allclose(torch.tensor([1., 2.]), torch.tensor([1., 2.1]))
    False
    """
    return bool(IsClose.call(input, other, rtol, atol, equal_nan)._array.all())


@composite("equal")
def equal(input: Tensor, other: Tensor) -> bool:
    """Whether two tensors have the same shape and the same elements, as a Python bool. NaN equals nothing.

    >>> torch.equal(torch.tensor([1, 2]), torch.tensor([1, 2]))
    True
    """
    a, b = expect_tensor(input, "equal")._array, expect_tensor(other, "equal", "other", 2)._array
    return a.shape == b.shape and bool((a == b).all())


@composite("is_nonzero")
def is_nonzero(input: Tensor) -> bool:
    """Whether the single element is not zero. RuntimeError for more or fewer elements.

    >>> torch.is_nonzero(torch.tensor([0.5]))
    True
    """
    return bool(input)


@composite("isin", method=False)
@with_out
def isin(elements: Any, test_elements: Any, *, assume_unique: bool = False, invert: bool = False) -> Tensor:
    """Whether each of `elements` is among `test_elements` (one of them may be a number).

    >>> torch.isin(torch.tensor([1, 2, 3]), torch.tensor([3, 1]))
    tensor([ True, False,  True])
    """
    xp = backend.namespace(next(v._array for v in (elements, test_elements) if isinstance(v, Tensor)))
    kinds = [v.dtype for v in (elements, test_elements) if isinstance(v, Tensor)]
    for kind in kinds:
        if kind is dtypes.bool_ or kind.is_complex:
            raise RuntimeError(f"Unsupported input type encountered for isin(): {kind.word}")
    common = dtypes.result_dtype([v._array if isinstance(v, Tensor) else v for v in (elements, test_elements)]).np
    a, b = [xp.asarray(v._array if isinstance(v, Tensor) else v).astype(common) for v in (elements, test_elements)]
    return wrap(xp.isin(a, b, assume_unique=assume_unique, invert=invert))


@samples_for("isin")
def _isin_samples(make: Any) -> Any:
    yield make("isin", make.ints((3, 4), 0, 9), make.ints((3,), 0, 9))
    yield make("isin", make.ints((3, 4), 0, 9), make.ints((3,), 0, 9), invert=True)
    yield make("isin", make.ints((3, 4), 0, 3), 2)


@composite("numel", method=False)
def numel(input: Tensor) -> int:
    """The number of elements.

    >>> torch.numel(torch.zeros(2, 3))
    6
    """
    return expect_tensor(input, "numel").numel()


@composite("is_floating_point", method=False)
def is_floating_point(input: Tensor) -> bool:
    """Whether the dtype is a floating type.

    >>> torch.is_floating_point(torch.tensor([1.]))
    True
    """
    return input.is_floating_point()


@composite("is_complex", method=False)
def is_complex(input: Tensor) -> bool:
    """Whether the dtype is a complex type.

    >>> torch.is_complex(torch.tensor([1.]))
    False
    """
    return input.is_complex()
