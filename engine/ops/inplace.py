"""Changing tensors: in-place forms, `out=`, and how a tensor's (and its base's) history goes on afterwards."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

from .. import dtypes
from ..autograd.modes import state
from ..copying import unlock
from ..tensor import Tensor, wrap
from .base import CARDS, apply
from .casting import casting, without


def write_out(out: Tensor, result: Any) -> Any:
    """Put a result into the tensor given as `out=`: resized if empty, cast where torch allows it, without a graph."""
    if isinstance(out, (tuple, list)):
        return type(out)(*[write_out(o, r) for o, r in zip(out, result)]) if hasattr(out, "_fields") else tuple(
            write_out(o, r) for o, r in zip(out, result))
    if result._requires_grad or (out._requires_grad and result.dtype.category >= 2):
        raise RuntimeError("functions with out=... arguments don't support automatic differentiation, but one of the "
                           "arguments requires grad.")
    if not dtypes.can_cast(result.dtype, out.dtype):
        raise RuntimeError(f"result type {result.dtype} can't be cast to the desired output type {out.dtype}")
    if out._array.shape == result._array.shape:
        store(out._array, result._array, "out=")
    else:
        if out._array.size:
            warnings.warn(f"An output with one or more elements was resized since it had shape {list(out.shape)}, which does "
                          f"not match the required output shape {list(result.shape)}. HINT: make it empty before, with "
                          "out.resize_(0).", stacklevel=4)
        out._array = result._array.astype(out._array.dtype, order="C")
    out._bump("out=")
    return out


def with_out(call: Callable) -> Callable:
    """`call` with a keyword argument `out`, for functions that need not know about it."""

    @functools.wraps(call)
    def stored(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        result = call(*args, **kwargs)
        return result if out is None else write_out(out, result)

    plain = inspect.signature(call)
    keyword = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None, annotation="Tensor | None")
    stored.__signature__ = plain.replace(parameters=[*plain.parameters.values(), keyword])  # type: ignore[attr-defined]
    return stored


def inplace_form(call: Callable, name: str) -> Callable:
    """`name_`: compute out of place, store into the first argument, and let its history go on from the result."""

    def inplace(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_inplace(input)
        try:
            result = without(call, (input, *args), kwargs) if casting.on else call(input, *args, **kwargs)
        except TypeError as error:
            result = _number_first(call, name, input, args, kwargs, error)
        return assign(input, result, name + "_")

    inplace.__name__ = inplace.__qualname__ = name + "_"
    inplace.__doc__ = f"In-place form of `{name}`: changes and returns the tensor."
    return inplace


def _number_first(call: Callable, name: str, input: Tensor, args: tuple, kwargs: dict, error: TypeError) -> Tensor:
    """The order of torch before 1.5, which optimizers in the wild still use: `add_(alpha, t)`, `addcmul_(value, t1, t2)`."""
    keyword = {"add": "alpha", "sub": "alpha", "addcmul": "value", "addcdiv": "value"}.get(name)
    tensors = args[1:]
    if keyword is None or kwargs or not tensors or not isinstance(args[0], (int, float)):
        raise error
    if not all(isinstance(t, Tensor) for t in tensors):
        raise error
    warnings.warn(f"This overload of {name}_ is deprecated: write {name}_({', '.join(['tensor'] * len(tensors))}, "
                  f"{keyword}=number).", stacklevel=3)
    return call(input, *tensors, **{keyword: args[0]})


def check_inplace(t: Tensor) -> None:
    """Raise if autograd forbids changing `t` in place."""
    if not state.grad:
        return
    if t._view is not None:
        t._sync()
        if t._view.frozen:
            raise RuntimeError("A view was created in no_grad mode and is being modified inplace with grad mode enabled. "
                               "HINT: create the view with grad mode enabled, or change it under no_grad.")
        base = t._view.base
        if base._requires_grad and base.is_leaf:
            raise RuntimeError("a view of a leaf Variable that requires grad is being used in an in-place operation.")
    if t._requires_grad and t.is_leaf:
        raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")


def assign(target: Tensor, result: Tensor, what: str) -> Tensor:
    """Store `result` into `target`'s memory; `target` (and what it views) continues from `result`'s history."""
    a, r = target._array, result._array
    if r.dtype is not a.dtype and not dtypes.can_cast(result.dtype, target.dtype):
        raise RuntimeError(f"result type {result.dtype} can't be cast to the desired output type {target.dtype}")
    if what == "abs_" and a.dtype.kind == "c":
        raise RuntimeError("In-place abs is not supported for complex tensors.")
    if r.shape != a.shape:
        raise RuntimeError(f"output with shape {list(a.shape)} doesn't match the broadcast shape {list(r.shape)}")
    if state.grad and result._node is not None:
        _keep_old_value(target, result._node)
    store(a, r, what)
    if state.grad and (result._requires_grad or target._requires_grad):  # no_grad leaves history alone
        if r.dtype is not a.dtype:
            result = CARDS["_to_dtype"].apply(result, a.dtype)
        _continue_from(target, result)
    target._bump(what)
    node = target._node if result._requires_grad else None
    if node is not None and node.out is r and node.out_version is not None:  # the output lives in target's memory now
        node.out = a
        node.out_version = (target._vc, target._vc.count)  # type: ignore[union-attr]
    return target


def store(a: Any, r: Any, what: str) -> None:
    """Write `r` into the raw array `a`. RuntimeError if its elements share memory, as an expanded tensor's do."""
    try:
        a[...] = r
    except ValueError as error:
        if unlock(a):
            return store(a, r, what)
        raise RuntimeError(
            f"{what}: unsupported operation: more than one element of the written-to tensor refers to a single memory "
            "location. Please clone() the tensor before performing the operation. "
            f"(or its memory is read-only; shape={list(a.shape)}, strides={list(a.strides)})") from error


def _keep_old_value(target: Tensor, node: Any) -> None:
    """If the formula in `node` needs the tensor that is about to change, let it keep a stand-in.

    A node that keeps the tensor it is about to belong to would be a cycle, too. The changed operand (the first) is kept
    with its old value; where the same tensor is another operand as well, backward will say that it was modified.
    """
    if not any(t is target for t in node.tensors):
        return
    changed = wrap(target._array, target._node)
    changed._vc = target._version_counter()
    kept = [changed if t is target else t for t in node.tensors]
    if kept[0] is changed:
        kept[0] = wrap(target._array.copy(), target._node)
    node.tensors = tuple(kept)
    node.versions = tuple([0 if t is None or t._vc is None else t._vc.count for t in kept])


def _continue_from(target: Tensor, result: Tensor) -> None:
    """Give `target` the history of `result`; a view also writes it into the history of its base."""
    node, view = result._node, target._view
    old = target._node
    if old is not None and node is not None and old.retain is not None and old.retain() is target:
        # `.grad` is that of the new value
        node.retain, node.watched, old.retain = old.retain, True, None
    if view is not None:
        base = view.base
        if base._view is None and (base._requires_grad or result._requires_grad):
            if not base._array.flags.c_contiguous and any(card.name == "as_strided" for card, _ in view.steps):
                raise NotImplementedError("changing as_strided() of a tensor that is not contiguous in place, under autograd. "
                                          "HINT: call contiguous() first.")
            patched = apply(CARDS["_scatter_view"], (base, result), (view.steps,))
            base._node, base._requires_grad = patched._node, patched._requires_grad
            vc = target._version_counter()
            vc.history += 1
            view.history = vc.history
    elif target._vc is not None:
        target._vc.history += 1
    target._node, target._requires_grad = node, result._requires_grad
