"""x[i] and x[i] = y: basic indices give views, tensors and lists of indices gather copies; both differentiable."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd.modes import state
from ..tensor import Tensor, wrap
from .base import Op, apply, op
from .inplace import assign, check_inplace
from .conversion import copy_, to_device
from .creation import tensor


@op("_scatter_view", function=False, method=False, node="CopySlices")
class ScatterView(Op):
    """A base after one of its views was changed in place: the base's gradient with the view's region cut out, and that
    region as the gradient of the new value. `steps` are the view operators that lead from the base to the view."""

    n = 2
    moves = True

    @staticmethod
    def forward(xp: Any, base: Any, value: Any, steps: tuple) -> Any:
        return base  # the memory has been written already

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        steps = s.params[0]
        base = xp._zero_region(g, steps) if s.needs[0] else None
        return base, xp._region(g, steps) if s.needs[1] else None


def _walk(xp: Any, array: Any, steps: tuple) -> Any:
    """Follow view steps on a raw array."""
    for card, params in steps:
        array = card.forward(xp, array, *params)
        if card.has_aux:
            array = array[0]
    return array


@op("_region", function=False, method=False)
class Region(Op):
    """A copy of the region that view steps lead to."""

    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, steps: tuple) -> Any:
        return xp.array(_walk(xp, xp.ascontiguousarray(x).reshape(x.shape), steps)), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._place_region(g, s.aux, s.params[0]),)


@op("_place_region", function=False, method=False)
class PlaceRegion(Op):
    """Zeros of a shape with a region filled in: the adjoint of `_region`."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple, steps: tuple) -> Any:
        out = xp.zeros(shape, x.dtype)
        _walk(xp, out, steps)[...] = x
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._region(g, s.params[1]),)


@op("_zero_region", function=False, method=False)
class ZeroRegion(Op):
    """A copy with zeros in a region."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, steps: tuple) -> Any:
        out = xp.array(x, order="C")
        _walk(xp, out, steps)[...] = 0
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._zero_region(g, s.params[0]),)


# -- reading ----------------------------------------------------------------------------------------------------------


@op("_slice", function=False, method=False, node="SliceBackward0")
class Slice(Op):
    """A view by ints, slices, None and Ellipsis."""

    view = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any) -> Any:
        out = x[index]
        return (out if backend.is_array(out) else x[(index if isinstance(index, tuple) else (index,)) + (...,)]), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._place_region(g, s.aux, ((Slice, s.params),)),)


@op("_gather_index", function=False, method=False, node="IndexBackward0")
class GatherIndex(Op):
    """A copy of the elements that integer or boolean arrays select."""

    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any) -> Any:
        return x[index], x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._add_at(g, s.aux, s.params[0]),)


@op("_add_at", function=False, method=False)
class AddAt(Op):
    """Zeros of a shape to which values are added at an advanced index: the adjoint of `_gather_index`."""

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple, index: Any) -> Any:
        out = xp.zeros(shape, x.dtype)
        if _unique(index):
            out[index] = x
        elif xp is np:
            np.add.at(out, index, x)
        else:
            xp.add.at(out, index, x)
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._gather_index(g, s.params[1]),)


def _unique(index: Any) -> bool:
    """Whether an index surely names no element twice (one boolean mask)."""
    parts = index if isinstance(index, tuple) else (index,)
    arrays = [p for p in parts if backend.is_array(p)]
    return len(arrays) == 1 and arrays[0].dtype.kind == "b"


def parse_index(t: Tensor, index: Any) -> tuple[Any, bool]:
    """A user's index as NumPy takes it, and whether it is an advanced one. IndexError and TypeError as torch's."""
    kind = type(index)
    if kind is int or kind is slice or index is None or index is ...:
        return (_plain_slice(index) if kind is slice else index), False
    parts = index if kind is tuple else (index,)
    out: list = []
    advanced = False
    for part in parts:
        if isinstance(part, Tensor):
            if part._array.ndim == 0 and part._array.dtype.kind in "iu":
                out.append(int(part._array))
                continue
            out.append(_index_array(t, part._array))
            advanced = True
        elif isinstance(part, slice):
            out.append(_plain_slice(part))
        elif part is None or part is ... or (isinstance(part, (int, np.integer)) and not isinstance(part, bool)):
            out.append(part)
        elif isinstance(part, (bool, np.bool_)):
            out.append(np.asarray(part))
            advanced = True
        elif isinstance(part, (list, tuple, range, np.ndarray)):
            out.append(_index_array(t, tensor(list(part) if isinstance(part, range) else part)._array))
            advanced = True
        else:
            raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
                             f"indices (got {type(part).__name__})")
    return (tuple(out) if kind is tuple else out[0]), advanced


def _plain_slice(part: slice) -> slice:
    if part.step is not None and int(part.step) <= 0:
        raise ValueError("step must be greater than zero")
    if any(isinstance(v, Tensor) for v in (part.start, part.stop, part.step)):
        return slice(*[None if v is None else int(v) for v in (part.start, part.stop, part.step)])
    return part


def _index_array(t: Tensor, array: Any) -> Any:
    kind = array.dtype.kind
    if array.size == 0 and kind == "f":
        return array.astype(np.int64)
    if kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.dtype == np.uint8:
        array = array.astype(bool)
    if backend.namespace(t._array) is not backend.namespace(array):
        array = backend.namespace(t._array).asarray(backend.to_numpy(array))
    return array


def _index_error(t: Tensor, index: Any, error: Exception) -> Exception:
    text = str(error)
    if "too many indices" in text:
        return IndexError(f"too many indices for tensor of dimension {t._array.ndim}")
    if "boolean index did not match" in text:
        return IndexError(f"The shape of the mask does not match the shape of the indexed tensor {list(t.shape)}: {text}")
    if "could not be broadcast" in text or "shape mismatch" in text:
        return IndexError(f"shape mismatch: indexing tensors could not be broadcast together: {text}")
    return IndexError(text.replace("axis", "dimension"))


def getitem(self: Tensor, index: Any) -> Tensor:
    """`x[index]`: a view for ints, slices, None and Ellipsis; a copy for tensors, lists and masks of indices."""
    key, advanced = parse_index(self, index)
    try:
        return apply(GatherIndex if advanced else Slice, (self,), (key,))
    except IndexError as error:
        raise _index_error(self, index, error) from None


# -- writing ----------------------------------------------------------------------------------------------------------


@op("_put", function=False, method=False, node="IndexPutBackward0")
class Put(Op):
    """A copy of `x` with `value` stored (or added) at an advanced index."""

    n = 2
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, value: Any, index: Any, accumulate: bool) -> Any:
        out = x.copy()
        if accumulate:
            xp.add.at(out, index, value)
        else:
            out[index] = value
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        index, accumulate = s.params
        rest = g if accumulate else xp._clear(g, index)
        return (rest if s.needs[0] else None), (xp._gather_index(g, index) if s.needs[1] else None)


@op("_clear", function=False, method=False)
class Clear(Op):
    """A copy with zeros at an advanced index."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any) -> Any:
        out = x.copy()
        out[index] = 0
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._clear(g, s.params[0]),)


def setitem(self: Tensor, index: Any, value: Any) -> None:
    """`x[index] = value`, differentiable in `x` and `value`; `value` is broadcast and cast."""
    key, advanced = parse_index(self, index)
    if not isinstance(value, Tensor):
        if not isinstance(value, (int, float, bool, complex, np.number, np.ndarray, np.bool_)):
            raise TypeError(f"can't assign a {type(value).__name__} to a {self.dtype} tensor")
        value = tensor(value, dtype=self.dtype)
    try:
        if not advanced:
            copy_(apply(Slice, (self,), (key,)), _drop_leading(value, self, key))
        else:
            put(self, key, value)
    except IndexError as error:
        raise _index_error(self, index, error) from None


def _drop_leading(value: Tensor, target: Tensor, key: Any) -> Tensor:
    """Leading dimensions of size 1 that the target does not have are dropped, as torch's assignment does."""
    want = np.ndim(target._array[key])
    while value._array.ndim > want and value._array.shape[0] == 1:
        value = value[0]  # type: ignore[index]
    return value


def put(target: Tensor, key: Any, value: Tensor, accumulate: bool = False, what: str = "index_put_") -> Tensor:
    """Store or add `value` at an advanced index of `target`, in place."""
    check_inplace(target)
    if value._array.dtype != target._array.dtype:
        if accumulate or not value.ndim or what != "index_put_":
            pass
        value = value.to(target.dtype)  # type: ignore[attr-defined]
    value = to_device(value, target.device)
    if state.grad and (target.requires_grad or value.requires_grad):
        try:
            return assign(target, apply(Put, (target, value), (key, accumulate)), what)
        except RuntimeError as error:
            raise RuntimeError(f"{what}(): {error}") from None
    try:
        if accumulate:
            backend.namespace(target._array).add.at(target._array, key, value._array)
        else:
            target._array[key] = value._array
    except ValueError as error:
        raise RuntimeError(f"shape mismatch: value tensor of shape {list(value.shape)} cannot be broadcast to indexing "
                           f"result: {error}") from None
    target._bump(what)
    return target


Tensor.__getitem__ = getitem  # type: ignore[method-assign]
Tensor.__setitem__ = setitem  # type: ignore[method-assign]
__all__ = ["getitem", "put", "setitem", "wrap"]
