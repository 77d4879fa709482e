"""The array libraries underneath: NumPy always, CuPy where a GPU is. The only file that names cupy.

Everything above works on "raw arrays" (`numpy.ndarray` or `cupy.ndarray`) and asks here for the module that owns one.
"""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np

from . import _batched_rules  # noqa: F401 - fills the table of rules
from .batched import Batched, BatchedModule
from .coo import Coo

ndarray = np.ndarray
_cupy: Any = None
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
        _cupy = module
    return _cupy


def require_cuda() -> Any:
    """cupy, after checking that a GPU is really there."""
    module = gpu()
    if not cuda_available():
        raise RuntimeError(
            "Found no NVIDIA driver or GPU on this system: CUDA tensors cannot be made. "
            "HINT: check `nvidia-smi`, or keep tensors on 'cpu' (`torch.cuda.is_available()` tells which)."
        )
    return module


def namespace(array: Any) -> Any:
    """The module (numpy or cupy) whose functions work on `array`."""
    if isinstance(array, (ndarray, np.generic)):
        return np
    if isinstance(array, Batched):
        return BatchedModule(array.level, namespace(array.inner))
    return namespace(array.values) if isinstance(array, Coo) else gpu()


def is_array(value: Any) -> bool:
    """Whether `value` is a raw array of either library."""
    return isinstance(value, (ndarray, Batched, Coo)) or (_cupy is not None and isinstance(value, _cupy.ndarray))


def plain(array: Any) -> Any:
    """The array that holds the elements, below any batch dimensions and sparse indices."""
    while isinstance(array, (Batched, Coo)):
        array = array.inner if isinstance(array, Batched) else array.values
    return array


def to_numpy(array: Any) -> np.ndarray:
    """A NumPy array with the same elements: itself on the CPU, a copy from the device otherwise."""
    if isinstance(array, ndarray):
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

    _SILENT = _make_extobj(all="ignore")

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
