"""Copies, casts and moves between devices: to, float, clone, contiguous, cpu, cuda, real, imag, conj."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..autograd.graph import Hooks
from ..autograd.modes import state
from ..copying import empty_as, repeats, row_major_copy, unlock
from ..gpu import order
from ..tensor import Tensor, wrap
from .base import Op, composite, expect_tensor, op, scalar_array
from .inplace import assign, check_inplace, store
from .memory_formats import in_format


@op("_to_dtype", function=False, method=False, node="ToCopyBackward0")
class ToDtype(Op):
    """A copy in another dtype; the gradient comes back in the input's dtype (the driver casts it)."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, np_dtype: Any) -> Any:
        if x.dtype.kind == "c" and np_dtype.kind != "c":
            x = x.real
        if repeats(x):
            x = Clone.forward(xp, x)  # NumPy's own copy would put the repeated dimensions innermost
        return dtypes.cast(x, np_dtype)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)


@op("_to_device", function=False, method=False, node="ToCopyBackward0")
class ToDevice(Op):
    """A copy on another device."""

    moves = True

    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, where: devices.device, pinned: bool = False) -> Any:
        return devices.place(x, where, pinned), devices.device_of(x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._to_device(g, s.aux),)


@op("_nothing", function=False, method=False)
class Nothing(Op):
    """Zeros like `x`: the gradient of what does not change, also where an infinite one arrives (0 times which is NaN)."""

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return xp.zeros_like(x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._nothing(g),)


@op("clone")
class Clone(Op):
    """A copy that is recorded: gradients flow through it to the input.

    >>> torch.clone(torch.tensor([1., 2.]))
    tensor([1., 2.])
    """

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        if not isinstance(x, np.ndarray):
            return x.copy()
        if not repeats(x):
            return x.copy(order="K")
        out = empty_as(x)
        out[...] = x
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)

    @staticmethod
    def call(input: Tensor, *, memory_format: Any = None) -> Tensor:
        return Clone.apply(expect_tensor(input, "clone"))

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("clone", make.uniform((3, 4), -1, 1))
        yield make("clone", make.uniform((3, 4), -1, 1).t())


@op("_contiguous", function=False, method=False, node="CloneBackward0")
class Contiguous(Op):
    """A row-major copy."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return row_major_copy(x) if xp is np else xp.array(x, order="C")

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)


@composite("contiguous", function=False)
def contiguous(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor itself if it lies row-major in memory, otherwise a row-major copy. On a GPU also channels-last.

    >>> torch.zeros(2, 3).t().contiguous().stride()
    (2, 1)
    """
    if memory_format is not None and input.is_cuda and order.rank_of(memory_format):
        return in_format(input, memory_format)
    return input if input._array.flags.c_contiguous else Contiguous.apply(input)


def to_dtype(input: Tensor, d: dtypes.dtype, copy: bool = False) -> Tensor:
    """`input` in dtype `d`: itself when it has it already and no copy is asked for."""
    if input._array.dtype is d.np or input._array.dtype == d.np:
        return Clone.apply(input) if copy else input
    return ToDtype.apply(input, d.np)


def to_device(input: Tensor, where: devices.device, non_blocking: bool = False) -> Tensor:
    """`input` on a device: itself when it is there already. `non_blocking` counts for page-locked memory (`pin_memory`)."""
    here = input.device
    if here.type == where.type and where.index in (None, here.index):
        return input
    return ToDevice.apply(input, where, non_blocking and "_pinned" in input.__dict__)


Hooks.move = staticmethod(lambda t, like: ToDevice.apply(t, devices.device_of(like)))


@composite("to", function=False)
def to(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """The tensor in another dtype and/or on another device: `to(dtype)`, `to(device)`, `to(device, dtype)`, `to(other)`.

    Options: `non_blocking`, `copy`, `memory_format`. Returns the tensor itself if nothing changes.

    >>> torch.tensor([1.9]).to(torch.int64)
    tensor([1])
    """
    d, where, non_blocking, copy = parse_to(args, kwargs)
    moved = input if where is None else to_device(input, where, non_blocking)
    moved = moved if d is None else to_dtype(moved, d)
    if "memory_format" in kwargs:
        moved = in_format(moved, kwargs["memory_format"])
    return Clone.apply(input) if copy and moved is input else moved


def parse_to(args: tuple, kwargs: dict) -> tuple[dtypes.dtype | None, devices.device | None, bool, bool]:
    """(dtype, device, non_blocking, copy) out of the many spellings of `to`. TypeError for what is none of them."""
    known = {"dtype", "device", "non_blocking", "copy", "memory_format", "other"}
    for key in kwargs:
        if key not in known:
            raise TypeError(f"to() got an unexpected keyword argument '{key}'")
    d, where = kwargs.get("dtype"), kwargs.get("device")
    where = None if where is None else devices.as_device(where)
    rest = [*args]
    if "other" in kwargs:
        rest.insert(0, kwargs["other"])
    flags = []
    for value in rest:
        if isinstance(value, Tensor):
            d, where = value.dtype, value.device
        elif isinstance(value, dtypes.dtype):
            d = value
        elif isinstance(value, bool):
            flags.append(value)
        elif isinstance(value, (str, int, devices.device)):
            where = devices.as_device(value)
        elif value is not None:
            d = dtypes.as_dtype(value)
    return d, where, kwargs.get("non_blocking", bool(flags) and flags[0]), kwargs.get("copy", len(flags) > 1 and flags[1])


def _cast_method(name: str, d: dtypes.dtype) -> Callable:
    def cast(input: Tensor, memory_format: Any = None) -> Tensor:
        return to_dtype(input, d)

    cast.__doc__ = f"The tensor as {d!r}: itself when it has that dtype already."
    return composite(name, function=False)(cast)


for _name, _d in (("float", dtypes.float32), ("double", dtypes.float64), ("half", dtypes.float16),
                  ("bfloat16", dtypes.bfloat16), ("long", dtypes.int64), ("int", dtypes.int32), ("short", dtypes.int16),
                  ("char", dtypes.int8), ("byte", dtypes.uint8), ("bool", dtypes.bool_), ("cfloat", dtypes.complex64),
                  ("cdouble", dtypes.complex128)):
    _cast_method(_name, _d)


@composite("type_as", function=False)
def type_as(input: Tensor, other: Tensor) -> Tensor:
    """The tensor in `other`'s dtype and on its device.

    >>> torch.tensor([1.5]).type_as(torch.tensor(1))
    tensor([1])
    """
    return to(input, other)


@composite("type", function=False)
def type_(input: Tensor, dtype: Any = None, non_blocking: bool = False) -> Any:
    """The tensor in another dtype (`torch.float64`, or the old names "torch.DoubleTensor"); without one, its type's name.

    >>> torch.tensor([1.]).type()
    'torch.FloatTensor'
    """
    if dtype is None:
        place = "cuda." if input.is_cuda else ""
        return f"torch.{place}{_LEGACY[input.dtype]}"
    if isinstance(dtype, str):
        name = dtype.rpartition(".")[2]
        found = {v: k for k, v in _LEGACY.items()}.get(name)
        if found is None:
            raise ValueError(f"invalid type: '{dtype}'")
        return to_dtype(input, found)
    kind = getattr(dtype, "dtype", None)  # of a typed constructor, such as torch.LongTensor
    return to_dtype(input, kind if isinstance(kind, dtypes.dtype) else dtypes.as_dtype(dtype))


_LEGACY = {dtypes.float32: "FloatTensor", dtypes.float64: "DoubleTensor", dtypes.float16: "HalfTensor",
           dtypes.bfloat16: "BFloat16Tensor", dtypes.int64: "LongTensor", dtypes.int32: "IntTensor",
           dtypes.int16: "ShortTensor", dtypes.int8: "CharTensor", dtypes.uint8: "ByteTensor", dtypes.bool_: "BoolTensor",
           dtypes.complex64: "ComplexFloatTensor", dtypes.complex128: "ComplexDoubleTensor"}


@composite("cpu", function=False)
def cpu(input: Tensor, memory_format: Any = None) -> Tensor:
    """The tensor in main memory: itself when it is there already.

    >>> torch.tensor([1]).cpu()
    tensor([1])
    """
    return to_device(input, devices.CPU)


@composite("cuda", function=False)
def cuda(input: Tensor, device: Any = None, non_blocking: bool = False, memory_format: Any = None) -> Tensor:
    """The tensor on a GPU (the current one by default). RuntimeError that says what to install where there is none."""
    return to_device(input, devices.as_device("cuda" if device is None else device), non_blocking)


@op("real", function=True, method=False)
class Real(Op):
    """The real part of a complex tensor; a real tensor itself.

    >>> torch.real(torch.tensor([1+2j]))
    tensor([1.])
    """

    view = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x.real

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("real", make.complex((3, 2)), _half=False)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        return Real.apply(input) if input._array.dtype.kind == "c" else input


@op("imag", function=True, method=False)
class Imag(Op):
    """The imaginary part of a complex tensor. RuntimeError for real ones.

    >>> torch.imag(torch.tensor([1+2j]))
    tensor([2.])
    """

    view = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x.imag

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g * 1j,)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("imag", make.complex((3, 2)), _half=False)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        if input._array.dtype.kind != "c":
            raise RuntimeError("imag is not implemented for tensors with non-complex dtypes.")
        return Imag.apply(input)


@op("conj", "conj_physical")
class Conj(Op):
    """The complex conjugate; a real tensor itself.

    >>> torch.conj(torch.tensor([1+2j]))
    tensor([1.-2.j])
    """

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return xp.conj(x) if x.dtype.kind == "c" else x

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.conj(g),)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("conj", make.complex((3, 2)), _half=False)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        return Conj.apply(input) if input._array.dtype.kind == "c" else input


def _set_part(part: Callable) -> Callable:
    def setter(self: Tensor, value: Any) -> None:
        part(self).copy_(value)  # type: ignore[attr-defined]

    return setter


Tensor.real = property(Real.call, _set_part(Real.call), doc=Real.__doc__)  # type: ignore[attr-defined]
Tensor.imag = property(Imag.call, _set_part(Imag.call), doc=Imag.__doc__)  # type: ignore[attr-defined]


@op("_copy", function=False, method=False, node="CopyBackwards")
class Copy(Op):
    """`source` broadcast to `target`'s shape in its dtype: what `copy_` stores. `target` itself gets no gradient."""

    n = 2
    moves = True

    @staticmethod
    def forward(xp: Any, target: Any, source: Any) -> Any:
        out = xp.empty(target.shape, target.dtype)
        out[...] = source.real if source.dtype.kind == "c" and target.dtype.kind != "c" else source
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return None, g

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return no_room(tensors[0].shape, tensors[1].shape)


def no_room(target: Sequence, source: Sequence) -> Exception:
    """The error for a value of shape `source` that cannot be broadcast into memory of shape `target`."""
    lead = len(target) - len(source)
    if lead < 0:
        return RuntimeError(f"output with shape {list(target)} doesn't match the broadcast shape {list(source)}")
    at = next((i for i, n in enumerate(source) if n not in (1, target[lead + i])), 0)
    return RuntimeError(f"The expanded size of the tensor ({target[lead + at]}) must match the existing size ({source[at]}) "
                        f"at non-singleton dimension {lead + at}. Target sizes: {list(target)}. Tensor sizes: {list(source)}")


@composite("copy_", function=False)
def copy_(input: Tensor, src: Any, non_blocking: bool = False) -> Tensor:
    """Copy `src` (broadcast, cast, moved to this device) into the tensor, in place. Gradients flow to `src`.

    >>> torch.zeros(2).copy_(torch.tensor([1, 2]))
    tensor([1., 2.])
    """
    check_inplace(input)
    if not isinstance(src, Tensor):
        src = wrap(scalar_array(src, input._array.dtype))
    src = to_device(src, input.device)
    if not (state.grad and (src.requires_grad or input.requires_grad)):
        return _store(input, src)
    return assign(input, Copy.apply(input, src), "copy_")


def _store(target: Tensor, source: Tensor) -> Tensor:
    """Write `source` into `target` without a graph."""
    a, b = target._array, source._array
    try:
        a[...] = b.real if b.dtype.kind == "c" and a.dtype.kind != "c" else b
    except ValueError as error:
        if "read-only" in str(error):
            if unlock(a):
                return _store(target, source)
            raise RuntimeError("unsupported operation: more than one element of the written-to tensor refers to a single "
                               "memory location. Please clone() the tensor before performing the operation.") from error
        raise Copy.explain(error, (target, source), ()) from None
    target._bump("copy_")
    return target


@op("fill", node="FillBackward0", inplace=True)
class Fill(Op):
    """The input's shape and dtype, filled with one value (a number or 0-d tensor).

    >>> torch.fill(torch.zeros(2), 3)
    tensor([3., 3.])
    """

    n = 2
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, value: Any) -> Any:
        out = xp.empty(x.shape, x.dtype)
        out[...] = value
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._nothing(g) if s.needs[0] else None), g

    @staticmethod
    def call(input: Tensor, value: Any) -> Tensor:
        if not isinstance(value, Tensor):
            value = wrap(np.asarray(value))
        elif value._array.ndim:
            raise RuntimeError("fill_ only supports 0-dimension value tensor but got tensor with "
                               f"{value._array.ndim} dimensions.")
        return Fill.apply(input, value)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("fill", make.uniform((2, 3)), 1.5)
        yield make("fill", make.uniform((2,)), make.uniform((), grad=False))


@composite("zero_", function=False)
def zero_(input: Tensor) -> Tensor:
    """Set all elements to zero, in place.

    >>> torch.ones(2).zero_()
    tensor([0., 0.])
    """
    if state.grad and input.requires_grad:
        return Tensor.fill_(input, 0)  # type: ignore[attr-defined]
    check_inplace(input)
    store(input._array, 0, "zero_")
    input._bump("zero_")
    return input


@composite("resolve_conj", "resolve_neg")
def resolve_conj(input: Tensor) -> Tensor:
    """The tensor itself: conjugation and negation are never put off here.

    >>> torch.tensor([1+2j]).resolve_conj()
    tensor([1.+2.j])
    """
    return input
