"""The stand-in's array: NumPy's elements behind CuPy's manners.

It does not mix with NumPy arrays, does not turn into one unasked, has only the methods of CuPy's array, and every way back to
the host is counted.
"""

from __future__ import annotations

import functools
import operator
from typing import Any

import numpy as np

from . import capture, state
from .surface import RECORD, binder

REFUSED_KINDS = "OSUVMm"


class Flags:
    """`ndarray.flags`: CuPy's has no `writeable`."""

    def __init__(self, a: np.ndarray) -> None:
        self.c_contiguous, self.f_contiguous = a.flags.c_contiguous, a.flags.f_contiguous
        self.owndata = a.base is None

    def __getitem__(self, name: str) -> bool:
        return getattr(self, {"C_CONTIGUOUS": "c_contiguous", "F_CONTIGUOUS": "f_contiguous"}.get(name, name.lower()))


def is_bfloat16(dtype: Any) -> bool:
    return dtype.name == "bfloat16"


def check_dtype(dtype: Any) -> None:
    """ValueError for element types that live on no GPU."""
    if dtype.kind in REFUSED_KINDS and not is_bfloat16(dtype) or dtype in (np.dtype(np.longdouble), np.dtype(np.clongdouble)):
        raise ValueError(f"Unsupported dtype {dtype}")


class ndarray:  # noqa: N801 - CuPy's name
    """`cupy.ndarray`."""

    __array_priority__ = 100
    __slots__ = ("_a", "_root", "_mem", "__weakref__")

    def __new__(cls, shape: Any = (), dtype: Any = float, memptr: Any = None, strides: Any = None, order: str = "C") -> Any:
        if memptr is not None:
            raise NotImplementedError("the stand-in makes no arrays on given memory")
        return own(np.full(shape, 99, dtype, order) if np.dtype(dtype).kind != "V" else np.empty(shape, dtype, order))

    # what it is
    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    itemsize = property(lambda self: self._a.itemsize)
    nbytes = property(lambda self: self._a.nbytes)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: Flags(self._a))
    base = property(lambda self: self._root)
    T = property(lambda self: view(self._a.T, self))
    mT = property(lambda self: view(self._a.mT, self))
    real = property(lambda self: view(self._a.real, self), lambda self, value: set_part(self, "real", value))
    imag = property(lambda self: view(self._a.imag, self) if self._a.dtype.kind == "c" else own(np.zeros_like(self._a)),
                    lambda self, value: set_part(self, "imag", value))
    flat = property(lambda self: (_ for _ in ()).throw(NotImplementedError("flat")))

    @property
    def shape(self) -> tuple:
        return self._a.shape

    @shape.setter
    def shape(self, value: Any) -> None:
        self._a.shape = value

    @property
    def data(self) -> Any:
        return state.Pointer(self._mem.mem, self._a.ctypes.data)

    @property
    def device(self) -> Any:
        from .cuda import Device

        return Device(self._mem.device_id)

    @property
    def __cuda_array_interface__(self) -> dict:
        a = self._a
        return {"shape": a.shape, "strides": None if a.flags.c_contiguous else a.strides, "typestr": a.dtype.str,
                "data": (a.ctypes.data, False), "version": 3, "stream": 1}

    # back to the host
    def get(self, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> np.ndarray:
        state.note("to_host")
        if blocking:
            state.events["synchronize"] += 1
        if out is None:
            return self._a.copy(order)
        out[...] = self._a
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if arr.dtype != self._a.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self._a.dtype} array")
        if arr.shape != self._a.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self._a.shape}, new shape: {arr.shape}")
        state.note("to_device")
        self._a[...] = arr  # refused during a capture

    def item(self) -> Any:
        state.note("synchronize")
        return self._a.item()

    def tolist(self) -> Any:
        state.note("synchronize")
        return self._a.tolist()

    def __bool__(self) -> bool:
        state.note("synchronize")
        return bool(self._a)

    def __int__(self) -> int:
        state.note("synchronize")
        return int(self._a)

    def __float__(self) -> float:
        state.note("synchronize")
        return float(self._a)

    def __complex__(self) -> complex:
        state.note("synchronize")
        return complex(self._a)

    def __repr__(self) -> str:
        state.note("synchronize")
        return repr(self._a)

    __str__ = __repr__

    def __array__(self, dtype: Any = None) -> Any:
        raise TypeError("Implicit conversion to a NumPy array is not allowed. "
                        "Please use `.get()` to construct a NumPy array explicitly.")

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        from . import module

        out = kwargs.pop("out", None)
        if out is not None:
            if len(out) != 1:
                raise ValueError("The 'out' parameter must have exactly one array value")
            kwargs["out"] = out[0]
        mine = getattr(module(), ufunc.__name__, None)
        if mine is None:
            return NotImplemented
        if ufunc.__name__ in ("greater", "greater_equal", "less", "less_equal", "equal", "not_equal"):
            inputs = tuple(x.item() if isinstance(x, np.ndarray) and x.ndim == 0 else x for x in inputs)
        return (mine if method == "__call__" else getattr(mine, method))(*inputs, **kwargs)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        from . import module

        try:
            place = functools.reduce(getattr, func.__module__.split(".")[1:], module())
            mine = getattr(place, func.__name__)
        except AttributeError:
            return NotImplemented
        if any(t not in (ndarray, np.ndarray) for t in types):
            return NotImplemented
        return mine(*args, **kwargs)

    # elements
    def __len__(self) -> int:
        if not self._a.ndim:
            raise TypeError("len() of unsized object")
        return len(self._a)

    def __iter__(self) -> Any:
        if not self._a.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: Any) -> Any:
        plain = indices(index)
        picked = self._a[plain]
        if isinstance(picked, np.ndarray) and not advanced(plain):
            return view(picked, self)
        if not advanced(plain):  # integers only: CuPy gives a 0-d view, and so does an Ellipsis at the end
            return view(self._a[(*plain, ...) if isinstance(plain, tuple) else (plain, ...)], self)
        recording = capture.about_to([self, *arrays_in(index, [])])
        made = own(np.asarray(picked))
        if recording is not None:
            source, memory = self._a, made._a
            recording.calls.append(lambda: np.copyto(memory, source[plain]))
        return made

    def __setitem__(self, index: Any, value: Any) -> None:
        recording = capture.about_to([self, *arrays_in([index, value], [])])
        if isinstance(value, np.ndarray):
            if index is Ellipsis or index == slice(None):
                if value.ndim and value.shape != self._a.shape:
                    raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
                state.note("to_device")
            elif value.ndim:
                raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        elif isinstance(value, ndarray):
            same_device(self, value)
            value = value._a
        elif not np.isscalar(value) and not isinstance(value, (np.generic, bool)):
            raise TypeError(f"Unsupported type {type(value)}")
        if isinstance(value, (np.ndarray, complex)) and np.iscomplexobj(value) and self._a.dtype.kind != "c":
            raise TypeError(f"Cannot cast {np.asarray(value).dtype} to {self._a.dtype}")
        plain = indices(index)
        self._a[plain] = value
        state.events["launch"] += 1
        if recording is not None:
            memory = self._a
            recording.calls.append(lambda: memory.__setitem__(plain, value))

    def __copy__(self) -> Any:
        return self.copy()

    def __deepcopy__(self, memo: dict) -> Any:
        return self.copy()

    def __reduce__(self) -> tuple:
        from . import rebuilt

        return rebuilt, (self.get(),)

    __hash__ = None  # type: ignore[assignment]

    def __matmul__(self, other: Any) -> Any:
        from . import module

        return module().matmul(self, other)

    def __rmatmul__(self, other: Any) -> Any:
        from . import module

        return module().matmul(other, self)

    def dot(self, b: Any, out: Any = None) -> Any:
        from . import module

        return module().dot(self, b, out)

    def fill(self, value: Any) -> None:
        if isinstance(value, ndarray):
            value = value._a
        elif isinstance(value, np.ndarray) and value.ndim:
            raise ValueError("non-scalar numpy.ndarray cannot be used for fill")
        recording = capture.about_to([self])
        self._a.fill(value)
        state.events["launch"] += 1
        if recording is not None:
            memory = self._a
            recording.calls.append(lambda: memory.fill(value))

    def view(self, dtype: Any = None, type: Any = None) -> Any:
        return view(self._a.view(dtype) if dtype is not None else self._a.view(), self)

    def astype(self, dtype: Any, order: str = "K", casting: Any = None, subok: Any = None, copy: bool = True) -> Any:
        if casting is not None or subok is not None:
            raise TypeError("casting and subok are not supported")
        check_dtype(np.dtype(dtype))
        if not copy and self._a.dtype == dtype:
            return self
        part = self._a.real if self._a.dtype.kind == "c" and np.dtype(dtype).kind not in "cb" else self._a
        return self._copied(lambda: part.astype(dtype, order=order))

    def copy(self, order: str = "C") -> Any:
        source = self._a
        return self._copied(lambda: source.copy(order))

    def _copied(self, copy: Any) -> Any:
        recording = capture.about_to([self])
        made = own(copy())
        if recording is not None:
            memory = made._a
            recording.calls.append(lambda: np.copyto(memory, copy()))
        return made

    def scatter_add(self, slices: Any, value: Any) -> None:
        scatter(np.add, self, slices, value)

    def scatter_max(self, slices: Any, value: Any) -> None:
        scatter(np.maximum, self, slices, value)

    def scatter_min(self, slices: Any, value: Any) -> None:
        scatter(np.minimum, self, slices, value)

    def reduced_view(self, dtype: Any = None) -> Any:
        return self


# kinds of elements that CuPy adds atomically
_ATOMIC = {"add": ["int32", "uint32", "uint64", "int64", "float16", "float32", "float64", "complex64", "complex128"],
           "maximum": ["int32", "uint32", "int64", "uint64", "float32", "float64"],
           "minimum": ["int32", "uint32", "int64", "uint64", "float32", "float64"]}


def scatter(ufunc: Any, a: ndarray, slices: Any, value: Any) -> None:
    """`ufunc.at`, for the element types that CuPy has atomics for."""
    if a.dtype.name not in _ATOMIC.get(ufunc.__name__, _ATOMIC["add"]):
        raise TypeError(f"scatter_{ufunc.__name__} only supports {_ATOMIC[ufunc.__name__]} as data type")
    recording = capture.about_to(arrays_in([a, slices, value], []))
    plain, added = indices(slices), unwrap(value)
    ufunc.at(a._a, plain, added)
    state.events["launch"] += 1
    if recording is not None:
        memory = a._a
        recording.calls.append(lambda: ufunc.at(memory, plain, added))


def set_part(a: ndarray, part: str, value: Any) -> None:
    recording = capture.about_to(arrays_in([a, value], []))
    place, given = getattr(a._a, part), unwrap(value)
    place[...] = given
    if recording is not None:
        recording.calls.append(lambda: place.__setitem__(..., given))


def advanced(index: Any) -> bool:
    """Whether an index (of NumPy) holds arrays."""
    return any(isinstance(i, (np.ndarray, list, bool)) for i in (index if isinstance(index, tuple) else (index,)))


def indices(index: Any) -> Any:
    """An index with the stand-in's arrays as NumPy's. Masks make the host wait; lists and NumPy arrays are copied over."""
    many = index if isinstance(index, tuple) else (index,)
    plain: list = []
    for i in many:
        if isinstance(i, ndarray):
            if i.dtype.kind not in "biu":
                raise IndexError(f"arrays used as indices must be of integer or boolean type. (actual: {i.dtype.type})")
            if i.dtype.kind == "b":
                state.note("synchronize")
            plain.append(i._a)
        else:
            if isinstance(i, (np.ndarray, list)) and np.size(i):
                state.note("to_device")
            plain.append(i)
    return tuple(plain) if isinstance(index, tuple) else plain[0]


def own(a: Any) -> ndarray:
    """New memory of the device with the elements of `a`."""
    a = np.asarray(a)
    check_dtype(a.dtype)
    if a.base is not None or not a.flags.writeable:
        a = a.copy(order="K")
    made = object.__new__(ndarray)
    made._a, made._root, made._mem = a, None, state.allocate(a.nbytes)
    state.roots[id(made)] = made
    state.events["launch"] += 1
    recording = capture.current()
    if recording is not None:
        recording.made(a)
    return made


def view(a: np.ndarray, of: ndarray) -> ndarray:
    """The same memory seen otherwise."""
    made = object.__new__(ndarray)
    made._a, made._root, made._mem = a, of if of._root is None else of._root, of._mem
    return made


def same_device(*arrays: Any) -> None:
    """ValueError for arrays of two devices: no peer access here. (CuPy would say so, or copy, depending on the machine.)"""
    found = {a._mem.device_id for a in arrays if isinstance(a, ndarray)} - {state.here.device}
    if found:
        raise ValueError(f"The device where the array resides ({found.pop()}) is different from the current device "
                         f"({state.here.device}). Peer access is unavailable between these devices.")


def unwrap(value: Any) -> Any:
    """Arguments of a function as NumPy's, arrays of NumPy refused."""
    if isinstance(value, ndarray):
        return value._a
    if isinstance(value, np.ndarray):
        raise TypeError(f"Unsupported type {type(value)}")
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(unwrap(v) for v in value)
    return value


def rewrap(result: Any, given: list[ndarray]) -> Any:
    """A result of NumPy as CuPy's: 0-d arrays instead of scalars, views where memory is shared."""
    if isinstance(result, (list, tuple)):
        made = [rewrap(r, given) for r in result]
        return type(result)(*made) if hasattr(result, "_fields") else type(result)(made)
    if isinstance(result, np.ndarray):
        for a in given:
            if result is a._a:
                return a
            if result.base is not None and result.size and np.may_share_memory(result, a._a):
                return view(result, a)
        return own(result)
    return own(result) if isinstance(result, (np.generic, bool)) else result


def arrays_in(value: Any, found: list) -> list:
    """All of the stand-in's arrays in nested arguments."""
    if isinstance(value, ndarray):
        found.append(value)
    elif isinstance(value, (list, tuple)):
        for v in value:
            arrays_in(v, found)
    elif isinstance(value, dict):
        arrays_in(list(value.values()), found)
    return found


def _method(name: str) -> Any:
    bind, theirs = binder(RECORD["ndarray"][name]), getattr(np.ndarray, name)

    def method(self: ndarray, *args: Any, **kwargs: Any) -> Any:
        bind(self, *args, **kwargs)
        if name in ("nonzero", "compress"):
            state.note("synchronize")
        given = arrays_in([self, args, kwargs], [])
        same_device(*given)
        recording = capture.about_to(given)
        plain, named = unwrap(args), {k: unwrap(v) for k, v in kwargs.items()}
        with np.errstate(all="ignore"):
            result = theirs(self._a, *plain, **named)
        if name == "diagonal" and result.size:  # CuPy's can be written to
            result.setflags(write=True)
        state.events["launch"] += 1
        made = rewrap(result, given)
        if recording is not None:
            source, memory = self._a, capture.memory_of(made, given)
            recording.calls.append(lambda: capture.refill(memory, theirs(source, *plain, **named)))
        return made

    method.__name__ = name
    return method


for _name in RECORD["ndarray"]:
    if not _name.startswith("_") and _name not in ndarray.__dict__ and hasattr(np.ndarray, _name):
        setattr(ndarray, _name, _method(_name))


def _operator(name: str, ufunc: str, swapped: bool = False, inplace: bool = False) -> None:
    def apply(self: ndarray, other: Any = None) -> Any:
        from . import module

        fn = getattr(module(), ufunc)
        if isinstance(other, np.ndarray):
            raise TypeError(f"Unsupported type {type(other)}")
        if other is not None and not isinstance(other, (ndarray, np.generic, int, float, complex)):
            return NotImplemented
        args = (other, self) if swapped else (self, other)
        return fn(*args, out=self) if inplace else fn(*args)

    setattr(ndarray, name, apply)


for _short, _ufunc in (("add", "add"), ("sub", "subtract"), ("mul", "multiply"), ("truediv", "true_divide"),
                       ("floordiv", "floor_divide"), ("mod", "remainder"), ("pow", "power"), ("and", "bitwise_and"),
                       ("or", "bitwise_or"), ("xor", "bitwise_xor"), ("lshift", "left_shift"), ("rshift", "right_shift")):
    _operator(f"__{_short}__", _ufunc)
    _operator(f"__r{_short}__", _ufunc, swapped=True)
    _operator(f"__i{_short}__", _ufunc, inplace=True)
for _short, _ufunc in (("eq", "equal"), ("ne", "not_equal"), ("lt", "less"), ("le", "less_equal"), ("gt", "greater"),
                       ("ge", "greater_equal")):
    _operator(f"__{_short}__", _ufunc)
for _short, _ufunc in (("neg", "negative"), ("pos", "positive"), ("abs", "absolute"), ("invert", "invert")):
    setattr(ndarray, f"__{_short}__", lambda self, ufunc=_ufunc: operator.call(getattr(self._module(), ufunc), self))


def _module_of(self: ndarray) -> Any:
    from . import module

    return module()


ndarray._module = _module_of  # type: ignore[attr-defined]
