"""Making tensors: from data, filled, by ranges, and like other tensors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, devices, dtypes
from ..copying import empty_as
from ..rng import assign_in_memory_order
from ..tensor import Size, Tensor, wrap
from ._spacing import arange_values, linspace_values
from .base import composite
from .inplace import write_out


def _sizes(size: Sequence, function: str) -> tuple:
    """Sizes given as separate ints or as one sequence. TypeError and RuntimeError as torch's."""
    shape = tuple(size[0]) if len(size) == 1 and isinstance(size[0], (tuple, list, Size)) else tuple(size)
    for n in shape:
        if type(n) is not int or n < 0:
            break
    else:
        return shape
    out = []
    for at, n in enumerate(shape):
        if isinstance(n, float) or not hasattr(n, "__index__"):
            kind = type(n).__name__
            found = kind if shape == tuple(size) else f"tuple with an element of type {kind} at pos {at}"
            raise TypeError(f"{function}(): argument 'size' (position {at + 1}) must be tuple of ints, not {found}")
        out.append(n.__index__())
    if any(n < 0 for n in out):
        raise RuntimeError(f"Trying to create tensor with negative dimension {min(out)}: {out}")
    return tuple(out)


def finish(array: Any, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    """A fresh array as a tensor, or in `out`."""
    t = wrap(array)
    if out is not None:
        return write_out(out, t)
    return t.requires_grad_() if requires_grad else t


def filled(shape: tuple, value: Any, dtype: Any, device: Any) -> Any:
    """A new array on a device, filled with `value` (None: whatever is in memory)."""
    xp = devices.module_for(devices.get_default_device() if device is None else devices.as_device(device))
    d = (dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)).np
    if value is None:
        return xp.empty(shape, d)
    if value is _ZERO:
        return xp.zeros(shape, d)
    if xp is not np:
        return xp.full(shape, value, d)
    if d.kind == "u" and isinstance(value, int) and value < 0:  # wraps around, as in torch
        value = xp.asarray(value).astype(d)
    array = xp.empty(shape, d)
    array.fill(value)  # `full` spends several times as long on its way here
    return array


_ZERO = 0.0


@composite("zeros", method=False)
def zeros(*sizes: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
          pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of zeros of the given size.

    >>> torch.zeros(2, 3)
    tensor([[0., 0., 0.],
            [0., 0., 0.]])
    """
    return finish(filled(_sizes(sizes if size is None else (size,), "zeros"), _ZERO, dtype, device), requires_grad, out)


@composite("ones", method=False)
def ones(*sizes: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
         pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of ones of the given size.

    >>> torch.ones(2, dtype=torch.int64)
    tensor([1, 1])
    """
    return finish(filled(_sizes(sizes if size is None else (size,), "ones"), 1, dtype, device), requires_grad, out)


@composite("empty", method=False)
def empty(*sizes: Any, size: Any = None, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
          requires_grad: bool = False, pin_memory: bool = False, memory_format: Any = None) -> Tensor:
    """A tensor of the given size with whatever was in memory.

    >>> torch.empty(2, 3).shape
    torch.Size([2, 3])
    """
    return finish(filled(_sizes(sizes if size is None else (size,), "empty"), None, dtype, device), requires_grad, out)


@composite("full", method=False)
def full(size: Any, fill_value: Any, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
         device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A tensor of the given size filled with one value; its dtype is the value's unless given.

    >>> torch.full((2,), 7)
    tensor([7, 7])
    """
    value = fill_value.item() if isinstance(fill_value, Tensor) else fill_value
    dtype = dtypes.of_scalar(value) if dtype is None else dtype
    return finish(filled(_sizes((size,) if not isinstance(size, int) else (size,), "full"), value, dtype, device),
                  requires_grad, out)


def in_rows(input: Tensor) -> bool:
    """Whether a dense tensor with the memory order of `input` is row-major: transposed ones are not, slices are."""
    a = input._array
    return a.flags.c_contiguous or empty_as(a).flags.c_contiguous


def laid_out_as(input: Tensor, array: Any, memory_format: Any) -> Any:
    """New numbers, in memory's order, in the memory order of `input`; in rows if a memory format other than that is asked."""
    if in_rows(input) or str(memory_format or "torch.preserve_format") != "torch.preserve_format":
        return array
    target = empty_as(input._array, array.dtype)
    assign_in_memory_order(target, array)
    return target


def _like(name: str, make: Callable, value: Any) -> None:
    def like(input: Tensor, *, dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
             memory_format: Any = None, pin_memory: bool = False) -> Tensor:
        d = input.dtype if dtype is None else dtype
        array = filled(input._array.shape, value, d, input.device if device is None else device)
        return finish(laid_out_as(input, array, memory_format), requires_grad)

    like.__doc__ = f"As `{name[:-5]}`, with the shape, dtype and device of `input`."
    composite(name, method=False)(like)

    def new(input: Tensor, *size: Any, dtype: Any = None, device: Any = None, requires_grad: bool = False,
            layout: Any = None, pin_memory: bool = False) -> Tensor:
        d = input.dtype if dtype is None else dtype
        where = input.device if device is None else device
        return finish(filled(_sizes(size, "new_" + name[:-5]), value, d, where), requires_grad)

    new.__doc__ = f"As `{name[:-5]}`, with the dtype and device of this tensor."
    composite("new_" + name[:-5], function=False)(new)


for _name, _make, _value in (("zeros_like", zeros, _ZERO), ("ones_like", ones, 1), ("empty_like", empty, None)):
    _like(_name, _make, _value)


@composite("full_like", method=False)
def full_like(input: Tensor, fill_value: Any, *, dtype: Any = None, layout: Any = None, device: Any = None,
              requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False) -> Tensor:
    """A tensor of `input`'s shape, dtype and device filled with one value.

    >>> torch.full_like(torch.zeros(2), 7)
    tensor([7., 7.])
    """
    d, where = input.dtype if dtype is None else dtype, input.device if device is None else device
    filled_rows = full(input.shape, fill_value, dtype=d, device=where)
    return finish(laid_out_as(input, filled_rows._array, memory_format), requires_grad)


@composite("new_full", function=False)
def new_full(input: Tensor, size: Any, fill_value: Any, *, dtype: Any = None, device: Any = None,
             requires_grad: bool = False, layout: Any = None, pin_memory: bool = False) -> Tensor:
    """As `full`, with the dtype and device of this tensor.

    >>> torch.zeros(1).new_full((2,), 7)
    tensor([7., 7.])
    """
    d, where = input.dtype if dtype is None else dtype, input.device if device is None else device
    return full(size, fill_value, dtype=d, device=where, requires_grad=requires_grad)


def array_from(data: Any, dtype: dtypes.dtype | None) -> Any:
    """A new NumPy array (or CuPy, for device data) of nested sequences, scalars, arrays or tensors."""
    if isinstance(data, Tensor):
        data = data._array
    if backend.is_array(data):
        return dtypes.cast(data, (dtype or dtypes.from_numpy_dtype(data.dtype)).np)
    if isinstance(data, (list, tuple)) and _holds_tensors(data):
        data = _plain(data)
    try:
        array = np.array(data)
    except ValueError as error:
        raise ValueError(f"expected nested sequences of equal lengths to make a tensor of: {error}") from None
    if array.dtype.kind in "OUSV" and array.dtype not in dtypes.UNKNOWN_TO_NUMPY:
        raise _not_numbers(data)
    if dtype is not None:
        if array.dtype.kind in "if" and array.size and dtype.np.kind in "iu":
            _check_range(array, dtype)
        return dtypes.cast(array, dtype.np)
    if isinstance(data, (np.generic, np.ndarray)) or isinstance(_first(data), np.generic):
        return array.astype(dtypes.from_numpy_dtype(array.dtype).np)
    kinds = {"f": dtypes.get_default_dtype(), "c": dtypes.get_default_dtype().to_complex(), "i": dtypes.int64}
    found = kinds.get(array.dtype.kind)
    if array.size == 0 and array.dtype.kind == "f":
        found = dtypes.get_default_dtype()
    return array if found is None else array.astype(found.np, copy=False)


def _not_numbers(data: Any) -> Exception:
    """The error for data that is no tensor: strings are sequences of too many dimensions, other objects have no dtype."""
    found = type(_first(data)).__name__
    if not isinstance(_first(data), (str, bytes)):
        return RuntimeError(f"Could not infer dtype of {found}: expected numbers or nested sequences of equal length")
    if data is _first(data):
        return TypeError(f"new(): invalid data type '{found}': expected numbers or nested sequences of equal length")
    return ValueError(f"too many dimensions '{found}': expected numbers or nested sequences of equal length")


def _check_range(array: Any, dtype: dtypes.dtype) -> None:
    """RuntimeError for numbers outside of `dtype`; unsigned ones may be given as negatives and wrap around, as in torch."""
    limits = np.iinfo(dtype.np)
    if array.max() > limits.max or array.min() < min(limits.min, -limits.max):
        raise RuntimeError(f"value cannot be converted to type {dtype.name} without overflow")


def _first(data: Any) -> Any:
    while isinstance(data, (list, tuple)) and data:
        data = data[0]
    return data


def _holds_tensors(data: Any) -> bool:
    return any(isinstance(x, Tensor) or (isinstance(x, (list, tuple)) and _holds_tensors(x)) for x in data)


def _plain(data: Any) -> Any:
    if isinstance(data, Tensor):
        return backend.to_numpy(data._array).tolist() if data.ndim else data.item()
    return [_plain(x) for x in data] if isinstance(data, (list, tuple)) else data


@composite("tensor", method=False)
def tensor(data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
           pin_memory: bool = False) -> Tensor:
    """A new leaf tensor with a copy of `data`: numbers, nested sequences, NumPy arrays, or tensors.

    Without `dtype`: floats give the default dtype, ints int64, bools bool; arrays keep theirs.
    Raises ValueError for ragged sequences and TypeError for what is not numbers.

    >>> torch.tensor([[1, 2], [3, 4]])
    tensor([[1, 2],
            [3, 4]])
    """
    if isinstance(data, Tensor):
        import warnings

        warnings.warn("To copy construct from a tensor, it is recommended to use sourceTensor.detach().clone() or "
                      "sourceTensor.detach().clone().requires_grad_(True), rather than torch.tensor(sourceTensor).",
                      UserWarning, stacklevel=2)
        device = data.device if device is None else device
    array = array_from(data, None if dtype is None else dtypes.as_dtype(dtype))
    where = devices.get_default_device() if device is None else devices.as_device(device)
    return finish(devices.place(array, where), requires_grad)


@composite("new_tensor", function=False)
def new_tensor(input: Tensor, data: Any, *, dtype: Any = None, device: Any = None, requires_grad: bool = False,
               layout: Any = None, pin_memory: bool = False) -> Tensor:
    """A new tensor with a copy of `data`, with this tensor's dtype and device unless given.

    >>> torch.zeros(1).new_tensor([1, 2])
    tensor([1., 2.])
    """
    d = input.dtype if dtype is None else dtypes.as_dtype(dtype)
    where = input.device if device is None else devices.as_device(device)
    return finish(devices.place(array_from(data, d), where), requires_grad)


@composite("from_numpy", method=False)
def from_numpy(ndarray: Any) -> Tensor:
    """A tensor that shares memory with a NumPy array. TypeError for anything else and for unsupported dtypes.

    >>> torch.from_numpy(np.array([1.0, 2.0]))
    tensor([1., 2.], dtype=torch.float64)
    """
    if not isinstance(ndarray, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(ndarray).__name__})")
    dtypes.from_numpy_dtype(ndarray.dtype)
    native = ndarray if ndarray.dtype.isnative else ndarray.astype(ndarray.dtype.newbyteorder("="))
    return wrap(native.view(np.ndarray))


@composite("as_tensor", method=False)
def as_tensor(data: Any, dtype: Any = None, device: Any = None) -> Tensor:
    """`data` as a tensor, without a copy where it is a tensor or NumPy array of that dtype already.

    >>> x = torch.ones(2)
    >>> torch.as_tensor(x) is x
    True
    """
    if not isinstance(data, Tensor):
        if not isinstance(data, np.ndarray):
            return tensor(data, dtype=dtype, device=device)
        data = from_numpy(data)
    return data.to(device=device, dtype=None if dtype is None else dtypes.as_dtype(dtype))  # type: ignore[attr-defined]


@composite("asarray", method=False)
def asarray(obj: Any, *, dtype: Any = None, device: Any = None, copy: bool | None = None,
            requires_grad: bool = False) -> Tensor:
    """`obj` as a tensor without history: sharing memory where possible, or always (`copy=False`), or never (`copy=True`).

    Takes tensors, NumPy arrays, objects with `__dlpack__` or the buffer protocol, and (nested) sequences of numbers.
    ValueError where `copy=False` is impossible.

    >>> x = torch.ones(2)
    >>> torch.asarray(x, copy=True) is x
    False
    """
    if isinstance(obj, (bytes, bytearray, memoryview)):
        obj = np.frombuffer(obj, (dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)).np)
    elif not isinstance(obj, (Tensor, np.ndarray, np.generic)) and hasattr(obj, "__dlpack__"):
        obj = np.from_dlpack(obj)
    out = as_tensor(obj, dtype=dtype, device=device)
    shares = isinstance(obj, (Tensor, np.ndarray)) and out.data_ptr() == as_tensor(obj).data_ptr()
    if copy is False and not shares:
        raise ValueError(f"can't alias arbitrary sequence or object of type {type(obj).__name__} with this dtype and device")
    if isinstance(obj, Tensor) and (out is obj or out.requires_grad):
        out = out.detach() if obj.requires_grad or requires_grad else out
    if copy and shares:
        out = wrap(out._array.copy())
    return out.requires_grad_() if requires_grad else out


def _number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) else value


@composite("arange", method=False)
def arange(start: Any = 0, end: Any = None, step: Any = 1, *, out: Tensor | None = None, dtype: Any = None,
           layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """Numbers from `start` up to, not including, `end` in steps of `step`; int64 if all are ints.

    >>> torch.arange(1, 2.5, 0.5)
    tensor([1.0000, 1.5000, 2.0000])
    """
    if end is None:
        start, end = 0, start
    start, end, step = _number(start), _number(end), _number(step)
    if step == 0:
        raise RuntimeError("step must be nonzero")
    if (step > 0 and start > end) or (step < 0 and start < end):
        raise RuntimeError("upper bound and lower bound inconsistent with step sign")
    whole = all(isinstance(v, int) for v in (start, end, step))
    d = dtypes.as_dtype(dtype) if dtype is not None else dtypes.int64 if whole else dtypes.get_default_dtype()
    where = devices.get_default_device() if device is None else devices.as_device(device)
    with devices.current(where):
        xp = devices.module_for(where)
        if whole:
            array = xp.arange(start, end, step).astype(d.np)
        else:
            count = int(np.ceil((end - start) / step))
            array = arange_values(xp, start, step, count, d.np)
    return finish(array, requires_grad, out)


@composite("linspace", method=False)
def linspace(start: Any, end: Any, steps: int, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
             device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """`steps` evenly spaced numbers from `start` to `end`, both included. Computed from both ends, as torch does.

    >>> torch.linspace(0, 1, 5)
    tensor([0.0000, 0.2500, 0.5000, 0.7500, 1.0000])
    """
    if steps < 0:
        raise RuntimeError("number of steps must be non-negative")
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    where = devices.get_default_device() if device is None else devices.as_device(device)
    work = d.np if d.np in (dtypes.F32, dtypes.F64) or d.np.kind == "c" else dtypes.F64
    with devices.current(where):
        array = linspace_values(devices.module_for(where), _number(start), _number(end), steps, work).astype(d.np)
    return finish(array, requires_grad, out)


@composite("eye", method=False)
def eye(n: int, m: int | None = None, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None,
        device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """Ones on the diagonal of an n x m matrix (m = n by default).

    >>> torch.eye(2)
    tensor([[1., 0.],
            [0., 1.]])
    """
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    xp = devices.module_for(devices.get_default_device() if device is None else devices.as_device(device))
    return finish(xp.eye(n, m, dtype=d.np), requires_grad, out)
