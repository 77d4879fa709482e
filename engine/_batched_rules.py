"""How NumPy's functions treat a batch dimension: one vectorised call for the whole batch where there is a rule here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .batched import RULES, Batched, Level, NoRule, at, lifted, loop, promoted, wrapped


def _axes(axis: Any, ndim: int) -> Any:
    """A sample's axis (or axes, or None for all of them) as axes behind the batch."""
    if axis is None:
        return tuple(range(1, ndim + 1))
    if isinstance(axis, (tuple, list)):
        return tuple([a + 1 if a >= 0 else a for a in axis])
    return axis + 1 if axis >= 0 else axis


def _along(func: Callable, default: Any = None, flat: bool = False) -> Callable:
    """A rule for `func(x, axis=default, ...)`; `flat`: without an axis it works on the flattened sample."""

    def rule(level: Level, x: Any, axis: Any = default, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Batched) or x.level is not level or kwargs.get("out") is not None:
            return loop(level, func, (x, axis, *args), kwargs)
        inner = x.inner
        if axis is None and flat:
            inner, axis = inner.reshape(level.size, -1), -1
        return wrapped(func(inner, _axes(axis, x.ndim), *args, **kwargs), level)

    return rule


_f: Any
for _f in (np.sum, np.prod, np.max, np.min, np.amax, np.amin, np.any, np.all, np.mean, np.var, np.std, np.nansum, np.flip,
           np.nanmean, np.count_nonzero):
    RULES[_f] = _along(_f)
for _f in (np.argmax, np.argmin, np.cumsum, np.cumprod):
    RULES[_f] = _along(_f, None, flat=True)
for _f in (np.sort, np.argsort):
    RULES[_f] = _along(_f, -1, flat=True)
RULES[np.expand_dims] = _along(np.expand_dims)


def _whole(func: Callable) -> Callable:
    """A rule for functions that treat every element, or every trailing matrix, by itself."""

    def rule(level: Level, x: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(x, Batched) or x.level is not level:
            return loop(level, func, (x, *args), kwargs)
        result = func(x.inner, *args, **kwargs)
        if hasattr(result, "_fields"):
            return type(result)(*[Batched(r, level) for r in result])
        return wrapped(result, level)

    return rule


for _f in (np.zeros_like, np.ones_like, np.empty_like, np.copy, np.real, np.imag, np.nan_to_num, np.round, np.around, np.tril,
           np.triu, np.linalg.inv, np.linalg.det, np.linalg.slogdet, np.linalg.cholesky, np.linalg.eigh, np.linalg.eigvalsh,
           np.linalg.svd, np.linalg.qr, np.linalg.pinv):
    RULES[_f] = _whole(_f)


def rule(*functions: Any) -> Callable[[Callable], Callable]:
    """Register a rule for NumPy functions."""

    def register(fn: Callable) -> Callable:
        RULES.update(dict.fromkeys(functions, fn))
        return fn

    return register


@rule(np.reshape)
def _reshape(level: Level, x: Batched, shape: Any = None, *args: Any, **kwargs: Any) -> Batched:
    shape = tuple(shape) if hasattr(shape, "__iter__") else (shape,)
    return Batched(x.inner.reshape(level.size, *shape), level)


@rule(np.ravel)
def _ravel(level: Level, x: Batched, order: str = "C") -> Batched:
    return Batched(x.inner.reshape(level.size, -1), level)


@rule(np.transpose)
def _transpose(level: Level, x: Batched, axes: Any = None) -> Batched:
    order = reversed(range(x.ndim)) if axes is None else [a % x.ndim for a in axes]
    return Batched(x.inner.transpose(0, *[a + 1 for a in order]), level)


@rule(np.swapaxes)
def _swapaxes(level: Level, x: Batched, axis1: int, axis2: int) -> Batched:
    return Batched(x.inner.swapaxes(*_axes((axis1, axis2), x.ndim)), level)


@rule(np.moveaxis)
def _moveaxis(level: Level, x: Batched, source: Any, destination: Any) -> Batched:
    return Batched(np.moveaxis(x.inner, _axes(source, x.ndim), _axes(destination, x.ndim)), level)


@rule(np.diagonal)
def _diagonal(level: Level, x: Batched, offset: int = 0, axis1: int = 0, axis2: int = 1) -> Batched:
    result = np.diagonal(x.inner, offset, *_axes((axis1, axis2), x.ndim))
    if type(result) is np.ndarray and x.inner.flags.writeable:
        result.flags.writeable = True  # NumPy gives a view that cannot be written to
    return Batched(result, level)


@rule(np.squeeze)
def _squeeze(level: Level, x: Batched, axis: Any = None) -> Batched:
    if axis is None:
        axis = tuple(i for i, n in enumerate(x.shape) if n == 1)
    return Batched(np.squeeze(x.inner, _axes(axis, x.ndim)), level)


@rule(np.broadcast_to)
def _broadcast_to(level: Level, x: Batched, shape: Any, **kwargs: Any) -> Batched:
    return Batched(np.broadcast_to(lifted(x, level, len(shape)), (level.size, *shape)), level)


@rule(np.where)
def _where(level: Level, condition: Any, *choices: Any) -> Batched:
    if len(choices) != 2:
        return loop(level, np.where, (condition,), {})
    parts = (condition, *choices)
    n = max(np.ndim(p) for p in parts)
    return Batched(np.where(*[lifted(p, level, n) for p in parts]), level)


@rule(np.clip)
def _clip(level: Level, x: Any, low: Any = None, high: Any = None, **kwargs: Any) -> Batched:
    n = max(np.ndim(p) for p in (x, low, high) if p is not None)
    return Batched(np.clip(*[lifted(p, level, n) for p in (x, low, high)], **kwargs), level)


@rule(np.concatenate)
def _concatenate(level: Level, arrays: Any, axis: int = 0, **kwargs: Any) -> Batched:
    return Batched(np.concatenate([promoted(a, level).inner for a in arrays], _axes(axis, 1), **kwargs), level)


@rule(np.stack)
def _stack(level: Level, arrays: Any, axis: int = 0, **kwargs: Any) -> Batched:
    return Batched(np.stack([promoted(a, level).inner for a in arrays], _axes(axis, 1), **kwargs), level)


@rule(np.full_like)
def _full_like(level: Level, x: Any, value: Any, *args: Any, **kwargs: Any) -> Batched:
    out = np.empty_like(promoted(x, level).inner, *args, **kwargs)
    filled = Batched(out, level)
    filled[...] = value
    return filled


@rule(np.take)
def _take(level: Level, x: Any, indices: Any, axis: Any = None, **kwargs: Any) -> Batched:
    if axis is None or isinstance(indices, Batched):
        return loop(level, np.take, (x, indices, axis), kwargs)
    return Batched(np.take(x.inner, indices, _axes(axis, x.ndim), **kwargs), level)


@rule(np.take_along_axis)
def _take_along_axis(level: Level, x: Any, indices: Any, axis: int = -1) -> Batched:
    a, b = promoted(x, level), promoted(indices, level)
    return Batched(np.take_along_axis(a.inner, b.inner, _axes(axis, a.ndim)), level)


@rule(np.repeat)
def _repeat(level: Level, x: Any, repeats: Any, axis: Any = None) -> Batched:
    if axis is None or isinstance(repeats, Batched):
        return loop(level, np.repeat, (x, repeats, axis), {})
    return Batched(np.repeat(x.inner, repeats, _axes(axis, x.ndim)), level)


@rule(np.matmul, np.dot)
def _matmul(level: Level, a: Any, b: Any, out: Any = None) -> Any:
    """Products of the last two dimensions. A matrix for all samples meets them in one product, not in one for each."""
    na, nb = np.ndim(a), np.ndim(b)
    if na == 0 or nb == 0:
        return a * b
    a, b = a[None] if na == 1 else a, b[..., None] if nb == 1 else b
    if isinstance(a, Batched) and a.level is level and np.ndim(b) == 2 and not (isinstance(b, Batched) and b.level is level):
        inner = a.inner
        result = np.matmul(inner.reshape(-1, inner.shape[-1]), b).reshape(*inner.shape[:-1], b.shape[-1])
    else:
        n = max(np.ndim(a), np.ndim(b))
        result = np.matmul(lifted(a, level, n), lifted(b, level, n))
    whole = Batched(result, level)
    whole = whole[..., 0] if nb == 1 else whole
    return whole if na != 1 else whole[0] if nb == 1 else whole[..., 0, :]


@rule(np.einsum)
def _einsum(level: Level, subscripts: str, *operands: Any, **kwargs: Any) -> Any:
    if "->" not in subscripts:
        return loop(level, np.einsum, (subscripts, *operands), kwargs)
    letter = next(c for c in "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ" if c not in subscripts)
    terms, result = subscripts.replace(" ", "").split("->")
    mine = [isinstance(x, Batched) and x.level is level for x in operands]
    terms = ",".join(letter + t if own else t for t, own in zip(terms.split(","), mine))
    arrays = [x.inner if own else x for x, own in zip(operands, mine)]
    return Batched(np.einsum(f"{terms}->{letter}{result}", *arrays, **kwargs), level)


@rule(np.shape)
def _shape(level: Level, x: Any) -> tuple:
    return x.shape


@rule(np.ndim)
def _ndim(level: Level, x: Any) -> int:
    return x.ndim


@rule(np.size)
def _size(level: Level, x: Any, axis: Any = None) -> int:
    return x.size if axis is None else x.shape[axis]


@rule(np.iscomplexobj)
def _iscomplexobj(level: Level, x: Any) -> bool:
    return x.dtype.kind == "c"


@rule(np.result_type)
def _result_type(level: Level, *values: Any) -> Any:
    return np.result_type(*[v.dtype if isinstance(v, Batched) else v for v in values])


@rule(np.may_share_memory, np.shares_memory)
def _may_share_memory(level: Level, a: Any, b: Any, max_work: Any = None) -> bool:
    return np.may_share_memory(*[x.inner if isinstance(x, Batched) else x for x in (a, b)])


# -- indexing ---------------------------------------------------------------------------------------------------------


def _simple(index: Any) -> tuple | None:
    """The index behind the batch, if the same index means the same there; None for those that numpy would reorder."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [i for i, p in enumerate(parts) if isinstance(p, (np.ndarray, list))]
    if arrays:  # ints go together with arrays, and what is not side by side moves to the front
        arrays = [i for i, p in enumerate(parts) if isinstance(p, (np.ndarray, list, int, np.integer))]
        if arrays[-1] - arrays[0] + 1 != len(arrays):
            return None
    if any(isinstance(p, (Batched, bool, np.bool_)) for p in parts):
        return None
    return (slice(None), *parts)


def _getitem(level: Level, x: Any, index: Any) -> Any:
    place = _simple(index)
    if place is None or x.level is not level:
        return loop(level, lambda a, i: a[i], (x, index), {})
    return Batched(x.inner[place], level)


def _setitem(level: Level, x: Any, index: Any, value: Any) -> None:
    place = _simple(index)
    if x.level is not level:
        raise NoRule("vmap: in-place change of an array without a batch dimension by values that have one")
    if place is None:
        for i in range(level.size):
            x.inner[i : i + 1][(0, *_parts(at(index, level, i)))] = at(value, level, i)
        return
    n = np.ndim(x.inner[place]) - 1 if isinstance(value, Batched) else 0
    x.inner[place] = lifted(value, level, n)


def _parts(index: Any) -> tuple:
    return index if isinstance(index, tuple) else (index,)


RULES["getitem"], RULES["setitem"] = _getitem, _setitem
