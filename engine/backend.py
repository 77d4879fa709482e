"""The array libraries underneath: NumPy always, CuPy where a GPU is. The only file that names cupy.

Everything above works on "raw arrays" (`numpy.ndarray` or `cupy.ndarray`) and asks here for the module that owns one.
"""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Any

import numpy as np

from . import _batched_rules  # noqa: F401 - fills the table of rules
from .batched import Batched, BatchedModule
from .coo import Coo
from .errors import LIBRARIES
from .meta import MODULE as META
from .meta import Meta, no_data

ndarray = np.ndarray
_cupy: Any = None
several_devices = False  # that there is more than one GPU
devices_in_use = False  # that some array was put on a GPU: until then nobody has to look for one
_cuda_ok: bool | None = None


def cuda_available() -> bool:
    """Whether CuPy is installed and sees a GPU. Does not import CuPy when it is not installed; remembered."""
    global _cuda_ok
    if _cuda_ok is None:
        _cuda_ok = False
        if importlib.util.find_spec("cupy") is not None:
            try:
                _cuda_ok = gpu().cuda.runtime.getDeviceCount() > 0
            except Exception:  # CuPy raises its own driver errors; all of them mean "no usable GPU"
                _cuda_ok = False
    return _cuda_ok


def gpu() -> Any:
    """The cupy module; a RuntimeError that says what to install where it is missing."""
    global _cupy
    if _cupy is None:
        try:
            import cupy as module
        except ImportError as error:
            raise RuntimeError(
                "engine found no CuPy, which it needs for CUDA tensors. "
                'HINT: pip install "litengine[cuda13]" (CUDA 13) or "litengine[cuda12]" (CUDA 12) on a machine with '
                "an NVIDIA GPU, or keep tensors on 'cpu'."
            ) from error
        LIBRARIES.add(module.__name__)
        _cupy = module
    return _cupy


def require_cuda() -> Any:
    """cupy, after checking that a GPU is really there."""
    global devices_in_use, several_devices
    module = gpu()
    if not cuda_available():
        raise RuntimeError(
            "Found no NVIDIA driver or GPU on this system: CUDA tensors cannot be made. "
            "HINT: check `nvidia-smi`, or keep tensors on 'cpu' (`torch.cuda.is_available()` tells which)."
        )
    if not devices_in_use:
        from .gpu import memory

        memory.install(module)
        devices_in_use, several_devices = True, module.cuda.runtime.getDeviceCount() > 1
    return module


def namespace(array: Any) -> Any:
    """The module (numpy or cupy) whose functions work on `array`."""
    if isinstance(array, (ndarray, np.generic)):
        return np if type(array) is not Meta else META
    if isinstance(array, Batched):
        return BatchedModule(array.level, namespace(array.inner))
    return namespace(array.values) if isinstance(array, Coo) else gpu()


def is_array(value: Any) -> bool:
    """Whether `value` is a raw array of either library."""
    return isinstance(value, (ndarray, Batched, Coo)) or (_cupy is not None and isinstance(value, _cupy.ndarray))


def is_on_device(array: Any) -> bool:
    """Whether a raw array, below any batch dimensions and sparse indices, is CuPy's."""
    return _cupy is not None and isinstance(plain(array), _cupy.ndarray)


def another_device(arrays: Any) -> Any:
    """A context for the GPU that holds the first of `arrays` on one, if it is not the current GPU; otherwise None."""
    for array in arrays if several_devices else ():
        if array is not None and is_on_device(array):
            index = cuda_index(plain(array))
            return None if index == _cupy.cuda.Device().id else _cupy.cuda.Device(index)
    return None


def beside(array: Any) -> Any:
    """A context in which new arrays are on the device of `array`."""
    return another_device((array,)) or _NOTHING


_NOTHING = contextlib.nullcontext()


def check_one_device(arrays: Any) -> None:
    """ValueError if several GPUs hold `arrays`."""
    if several_devices and len({cuda_index(plain(a)) for a in arrays if a is not None and is_on_device(a)}) > 1:
        raise ValueError("arrays on several devices")


def scalar_on_device(array: np.ndarray, plain_number: bool) -> Any:
    """A 0-d NumPy array for use among CuPy's: a NumPy scalar, or a 0-d array filled by a kernel, which needs no copy."""
    if plain_number and array.dtype.kind != "V":
        return array[()]
    made = gpu().empty((), array.dtype)
    made.fill(array.item())
    return made


def accumulate(ufunc: Any, array: Any, axis: int) -> Any:
    """`ufunc.accumulate`; on a GPU, where CuPy has it for sums and products only, by doubling the distance combined."""
    if not is_on_device(array):
        return ufunc.accumulate(array, axis=axis)
    out = array.copy()
    lines, distance = out.swapaxes(axis, -1), 1
    while distance < array.shape[axis]:
        lines[..., distance:] = ufunc(lines[..., distance:], lines[..., :-distance])
        distance *= 2
    return out


_ATOMIC = {np.dtype(t) for t in ("i4", "i8", "u4", "u8", "f2", "f4", "f8", "c8", "c16")}  # what CuPy adds without races


def add_at(out: Any, index: Any, values: Any) -> None:
    """`np.add.at`; on a GPU element types without atomic addition go through a wider one."""
    if not is_on_device(out) or out.dtype in _ATOMIC:
        namespace(out).add.at(out, index, values)
        return
    wide = out.astype(np.int32 if out.dtype.kind in "iub" else np.float32)
    _cupy.add.at(wide, index, values.astype(wide.dtype))
    out[...] = wide.astype(out.dtype)


def combine_at(name: str, out: Any, index: tuple, values: Any) -> None:
    """`np.<name>.at(out, index, values)`; CuPy has no products of that kind, so they are formed on the host."""
    if name != "multiply" or not is_on_device(out):
        getattr(namespace(out), name).at(out, index, values)
        return
    host = to_numpy(out)
    np.multiply.at(host, tuple([to_numpy(i) if is_array(i) else i for i in index]), to_numpy(values))
    out[...] = _cupy.asarray(host)


def matmul(a: Any, b: Any) -> Any:
    """`a @ b`; on a GPU batched half-precision products, which CuPy gets wrong or slow, one matrix at a time."""
    if not is_on_device(a) or max(a.ndim, b.ndim) < 3 or a.dtype.itemsize != 2:
        return a @ b
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    out = _cupy.empty((*lead, a.shape[-2], b.shape[-1]), a.dtype)
    a, b = (_cupy.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (a, b))
    for i in np.ndindex(*lead):
        out[i] = a[i] @ b[i]
    return out


def plain(array: Any) -> Any:
    """The array that holds the elements, below any batch dimensions and sparse indices."""
    while isinstance(array, (Batched, Coo)):
        array = array.inner if isinstance(array, Batched) else array.values
    return array


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy array with the same elements: itself on the CPU, a copy from the device otherwise."""
    if isinstance(array, ndarray):
        if type(array) is Meta:
            raise no_data()
        return array
    return np.asarray(array) if isinstance(array, (Batched, Coo)) else gpu().asnumpy(array)


def strided(array: Any, shape: Any, strides: Any) -> Any:
    """`as_strided` (strides in bytes), also of element types that NumPy's does not know."""
    if isinstance(array, Batched):
        inner = array.inner
        return Batched(strided(inner, (inner.shape[0], *shape), (inner.strides[0], *strides)), array.level)
    bits = array.view(np.uint8) if array.itemsize == 1 else array
    return namespace(array).lib.stride_tricks.as_strided(bits, shape, strides).view(array.dtype)


def memory_of(array: Any) -> tuple[Any, int]:
    """(all the memory that `array` is a part of, as a 1-D array of its dtype, where in it `array` begins)."""
    if isinstance(array, Batched):  # a sample is taken for an array of its own
        return array.reshape(-1), 0
    owner, base = array, array.base
    while base is not None:  # NumPy's as_strided puts an object of its own between a view and its base
        if is_array(base):
            owner = base
        base = getattr(base, "base", None)
    span = sum((n - 1) * step for n, step in zip(owner.shape, owner.strides)) // owner.itemsize + 1 if owner.size else 0
    flat = strided(owner, (span,), (owner.itemsize,)).view(array.dtype)
    return flat, (address(array) - address(owner)) // array.itemsize


def owns_memory(array: Any) -> bool:
    """Whether an array that is not NumPy's lies on a GPU, in memory of its own."""
    return _cupy is not None and isinstance(array, _cupy.ndarray) and array.base is None


def readable(array: Any) -> bool:
    """Whether there are elements and they may be looked at. On a GPU not: a check of indices would make the host wait."""
    return bool(array.size) and not is_on_device(array)


def address(array: Any) -> int:
    """Where the first element lies in memory."""
    return array.ctypes.data if isinstance(array, ndarray) else array.data.ptr


def pinned_copy(array: np.ndarray) -> np.ndarray:
    """A copy of a NumPy array in page-locked memory, from which copies to a GPU are faster."""
    memory = gpu().cuda.alloc_pinned_memory(max(array.nbytes, 1))
    pinned = np.frombuffer(memory, np.uint8, array.nbytes).view(array.dtype).reshape(array.shape)
    pinned[...] = array
    return pinned


def cuda_index(array: Any) -> int:
    """The device index of a CuPy array."""
    return int(array.device.id)


# NumPy warns on 1/0, log(-1), overflow; torch computes silently. `np.errstate` around every operator would cost more than
# the operator, so we set its context variable directly where NumPy has it, and use errstate where it has not.
try:
    from numpy._core.umath import _extobj_contextvar, _make_extobj

    # A ufunc copies rows shorter than its buffer into it, three copies for an addition; longer ones it reads where they lie.
    _SILENT = _make_extobj(all="ignore", bufsize=256)

    def hush() -> Any:
        """Silence NumPy's floating-point warnings on this thread; returns what `unhush` needs."""
        return _extobj_contextvar.set(_SILENT)

    unhush = _extobj_contextvar.reset
except ImportError:  # a NumPy that keeps this elsewhere

    def hush() -> Any:
        """Silence NumPy's floating-point warnings on this thread; returns what `unhush` needs."""
        return np.seterr(all="ignore")

    def unhush(before: Any) -> None:
        """Put NumPy's warning settings back."""
        np.seterr(**before)
