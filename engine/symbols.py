"""torch's symbolic numbers and control flow, for programs written with a tracing compiler in mind: here sizes are plain
numbers, and `cond` and `while_loop` run the branch at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .tensor import Tensor

__all__ = ["SymBool", "SymFloat", "SymInt", "cond", "sym_constrain_range", "sym_constrain_range_for_size", "sym_float",
           "sym_fresh_size", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt", "sym_sum", "while_loop"]


class SymInt:
    """A size that is not known yet: there is never one here, so `isinstance(x, torch.SymInt)` is False."""

    def __new__(cls, *args: Any) -> Any:
        raise TypeError(f"{cls.__name__} cannot be made: sizes are plain numbers here.")


class SymFloat(SymInt):
    """See `SymInt`."""


class SymBool(SymInt):
    """See `SymInt`."""


def sym_int(a: Any) -> int:
    """`a` as an int, cut off towards zero.

    >>> torch.sym_int(2.7), torch.sym_max(1, 2.5), torch.sym_not(False)
    (2, 2.5, True)
    """
    return math.trunc(a)


def sym_float(a: Any) -> float:
    """`a` as a float."""
    return float(a)


def sym_not(a: Any) -> bool:
    """`not a`."""
    return not a


def sym_max(a: Any, b: Any) -> Any:
    """The larger of two numbers; a float if one of them is."""
    return type(a + b)(max(a, b))


def sym_min(a: Any, b: Any) -> Any:
    """The smaller of two numbers; a float if one of them is."""
    return type(a + b)(min(a, b))


def sym_sum(args: Iterable) -> Any:
    """The sum of numbers."""
    return sum(args)


def sym_sqrt(a: Any) -> float:
    """The square root of a number."""
    return math.sqrt(a)


def sym_ite(b: bool, t: Any, f: Any) -> Any:
    """`t` if `b` is true, else `f`."""
    return t if b else f


def sym_fresh_size(expr: Any) -> Any:
    """The size itself."""
    return expr


def sym_constrain_range(size: Any, *, min: int | None = None, max: int | None = None) -> None:
    """Nothing to tell a compiler. ValueError if `size` is outside of the range."""
    if (min is not None and size < min) or (max is not None and size > max):
        raise ValueError(f"Invalid value range for {size} between [{min}, {max}]")


sym_constrain_range_for_size = sym_constrain_range


def cond(pred: bool | Tensor, true_fn: Callable, false_fn: Callable, operands: Sequence = ()) -> Any:
    """`true_fn(*operands)` if `pred` (a bool, or a tensor of one element) is true, else `false_fn(*operands)`.

    >>> torch.cond(torch.tensor(True), lambda x: x + 1, lambda x: x - 1, (torch.ones(1),))
    tensor([2.])
    """
    if isinstance(pred, Tensor) and pred.numel() != 1:
        raise RuntimeError(f"Expected pred to be bool or single-element tensor, but got {pred}.")
    return true_fn(*operands) if bool(pred) else false_fn(*operands)


def while_loop(cond_fn: Callable, body_fn: Callable, carried_inputs: Sequence) -> tuple:
    """Apply `body_fn` to the carried values as long as `cond_fn` of them is true.

    >>> torch.while_loop(lambda i: i < 3, lambda i: (i + 1,), (torch.tensor(0),))
    (tensor(3),)
    """
    carried = tuple(carried_inputs)
    while bool(cond_fn(*carried)):
        after = body_fn(*carried)
        carried = tuple(after) if isinstance(after, (tuple, list)) else (after,)
    return carried
