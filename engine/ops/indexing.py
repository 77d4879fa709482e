"""x[i] and x[i] = y: basic indices give views, tensors and lists of indices gather copies; both differentiable."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd.modes import state
from ..copying import unlock
from ..tensor import Tensor, wrap
from ._scatter import add_at, pick
from .base import Op, apply, op, scalar_array
from .conversion import copy_, no_room, to_device, to_dtype
from .creation import tensor
from .inplace import assign, check_inplace


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
        if type(out) is np.ndarray or backend.is_array(out):
            return out, x.shape
        return x[(*(index if type(index) is tuple else (index,)), ...)], x.shape  # NumPy gives a scalar, not a view

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._place_region(g, s.aux, ((Slice, s.params),)),)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return TypeError("slice indices must be integers or None or have an __index__ method")


@op("_gather_index", function=False, method=False, node="IndexBackward0")
class GatherIndex(Op):
    """A copy of the elements that integer or boolean arrays select."""

    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any) -> Any:
        if type(index) is np.ndarray and index.dtype.kind == "i" and type(x) is np.ndarray and x.ndim > 1:
            return x.take(index, 0), x.shape  # the commonest index needs no reading
        return pick(xp, x, index), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._add_at(g, s.aux, s.params[0]),)


@op("_add_at", function=False, method=False)
class AddAt(Op):
    """Zeros of a shape to which values are added at an advanced index: the adjoint of `_gather_index`."""

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple, index: Any) -> Any:
        if _unique(index):
            out = xp.zeros(shape, x.dtype)
            out[index] = x
            return out
        out = xp.zeros(shape, x.dtype)
        add_at(xp, out, index, x)
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
    if kind is int or index is None or index is ...:
        return index, False
    if kind is slice:
        return _plain_slice(index), False
    if kind is Tensor and index._array.ndim and index._array.dtype.kind == "i" and type(index._array) is type(t._array):
        return index._array, True
    out: list = []
    advanced = ellipsis = False
    for part in index if kind is tuple else (index,):
        one = type(part)
        if one is int or part is None:
            out.append(part)
        elif one is slice:
            out.append(_plain_slice(part))
        elif part is ...:
            if not ellipsis:  # torch reads a second one as nothing
                out.append(part)
            ellipsis = True
        elif isinstance(part, (int, np.integer)) and one is not bool:
            out.append(int(part))
        elif isinstance(part, Tensor) and part._array.ndim == 0 and part._array.dtype.kind in "iu":
            out.append(int(part._array))
        else:
            out.append(_index_array(t, part))
            advanced = True
    return (tuple(out) if kind is tuple else out[0]), advanced


def _plain_slice(part: slice) -> slice:
    """A slice of ints, without Tensors. ValueError for steps that are not positive, TypeError for other bounds."""
    start, stop, step = part.start, part.stop, part.step
    try:
        if step is not None and step.__index__() <= 0:
            raise ValueError("step must be greater than zero")
        if isinstance(start, Tensor) or isinstance(stop, Tensor) or isinstance(step, Tensor):
            return slice(*[None if v is None else v.__index__() for v in (start, stop, step)])
    except AttributeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None
    return part


def _index_array(t: Tensor, part: Any) -> Any:
    """A tensor, mask, list, range or NumPy array as an index array where `t` is."""
    if isinstance(part, (bool, np.bool_)):
        return np.asarray(part)
    if isinstance(part, Tensor):
        array = part._array
    elif type(part) is np.ndarray:
        array = part.copy()  # a gradient may need it after its owner has changed it
    elif isinstance(part, (list, tuple, range, str)):
        array = tensor(list(part) if isinstance(part, range) else part)._array
    else:
        raise IndexError("only integers, slices (`:`), ellipsis (`...`), None and long or byte Variables are valid "
                         f"indices (got {type(part).__name__})")
    kind = array.dtype.kind
    if array.size == 0 and kind == "f" and not isinstance(part, Tensor):
        return array.astype(np.int64)  # an empty list
    if kind not in "iub":
        raise IndexError("tensors used as indices must be long, int, byte or bool tensors")
    if array.dtype == np.uint8:
        array = array.astype(bool)
    if backend.namespace(t._array) is not backend.namespace(array):
        array = backend.namespace(t._array).asarray(backend.to_numpy(array))
    return array


def _index_error(t: Tensor, error: Exception) -> Exception:
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
    try:
        if type(index) is int and self._array.ndim > 1:  # the commonest key needs no reading
            return Slice.apply(self, index)
        key, advanced = parse_index(self, index)
        if not advanced:
            return view_at(self, key)
        before, key = _ints_first(key)
        return GatherIndex.apply(self if before is None else view_at(self, before), key)
    except IndexError as error:
        raise _index_error(self, error) from None


def view_at(x: Tensor, key: Any) -> Tensor:
    """`x[key]` for a basic key, as a view."""
    return Slice.apply(x, key)


def _ints_first(key: Any) -> tuple[Any, Any]:
    """An advanced key as (basic key with its ints, or None; the rest).

    NumPy counts an int beside arrays as an array, which moves dimensions to the front in `x[0, :, [0, 1]]`; torch takes
    the ints first. The two differ only where an int and something basic stand beside an array.
    """
    if type(key) is not tuple or not any(type(k) is int for k in key):
        return None, key
    if not any(k is None or k is ... or type(k) is slice for k in key):
        return None, key
    before: list = []
    for k in key:
        if k is ... or type(k) is int:
            before.append(k)
        elif k is not None:
            before += [slice(None)] * (1 if type(k) is slice or k.dtype.kind != "b" else k.ndim)
    return tuple(before), tuple([k for k in key if type(k) is not int])


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
            add_at(xp, out, index, value)
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
        out = xp.array(x, order="C")  # an array also where NumPy made a scalar of a 0-d gradient
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
            raise TypeError(f"can't assign a {type(value).__name__} to a torch.{self.dtype.name} tensor")
        value = tensor(value, dtype=self.dtype) if type(value) is np.ndarray else wrap(scalar_array(value, self._array.dtype))
    if not advanced and not (state.grad and (value.requires_grad or self.requires_grad)):
        _store(self, key, to_device(value, self.device)._array)
        return
    try:
        if not advanced:
            target = view_at(self, key)
            copy_(target, _drop_leading(value, target._array.ndim))
            return
        before, key = _ints_first(key)
        target = self if before is None else view_at(self, before)
        if value._array.ndim > 1 and value._array.shape[0] == 1:
            value = _drop_leading(value, target._array[key].ndim)
        put(target, key, value)
    except IndexError as error:
        raise _index_error(self, error) from None


def _store(target: Tensor, key: Any, value: Any) -> None:
    """`target[key] = value` for a basic key where nothing is recorded; `value` is a raw array."""
    check_inplace(target)
    a = target._array
    value = value.reshape(()) if value.size == 1 else value  # NumPy keeps [1, 1] out of a single element
    try:
        a[key] = value.real if value.dtype.kind == "c" and a.dtype.kind != "c" else value
    except IndexError as error:
        raise _index_error(target, error) from None
    except TypeError:
        raise TypeError("slice indices must be integers or None or have an __index__ method") from None
    except ValueError as error:
        backend.to_numpy(value)  # under vmap it raises NoRule: a batch does not fit into one element
        if "read-only" in str(error):
            if unlock(a):
                _store(target, key, value)
                return
            raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single "
                               "memory location. Please clone() the tensor before performing the operation.") from None
        raise no_room(np.shape(a[key]), value.shape) from None
    target._bump("__setitem__")


def _drop_leading(value: Tensor, ndim: int) -> Tensor:
    """Leading dimensions of size 1 that a target of `ndim` dimensions does not have are dropped, as in torch."""
    while value._array.ndim > ndim and value._array.shape[0] == 1:
        value = view_at(value, 0)
    return value


def put(target: Tensor, key: Any, value: Tensor, accumulate: bool = False, what: str = "index_put_") -> Tensor:
    """Store or add `value` at an advanced index of `target`, in place."""
    check_inplace(target)
    value = to_device(to_dtype(value, target.dtype), target.device)
    if state.grad and (target.requires_grad or value.requires_grad):
        try:
            return assign(target, apply(Put, (target, value), (key, accumulate)), what)
        except RuntimeError as error:
            raise RuntimeError(f"{what}(): {error}") from None
    try:
        if accumulate:
            add_at(backend.namespace(target._array), target._array, key, value._array)
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
