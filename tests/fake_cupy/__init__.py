"""A stand-in for CuPy on NumPy, so that the device's code paths run without a GPU.

It offers what the real CuPy offers (`surface.json`, recorded from the wheel by `record.py`) with the same parameters and
element types, and not what it lacks: mixing with NumPy arrays, implicit conversion, scalars where CuPy gives 0-d arrays.
What would make the host wait is counted in `state.events`. What it can't show: speed, rounding on the GPU, and
asynchrony. `pytest --device fake-cuda` puts it in CuPy's place.
"""

from __future__ import annotations

import importlib.machinery
import sys
import types
from typing import Any

import numpy as np

from . import arrays, cuda, functions, kernels, linalg, state
from .surface import RECORD

_module: types.ModuleType | None = None


def module() -> Any:
    """The module that stands in for cupy."""
    global _module
    if _module is None:
        _module = _build()
    return _module


def rebuilt(a: np.ndarray) -> Any:
    """Unpickle an array."""
    return functions.array(a)


def _fill(made: Any, name: str, source: Any) -> None:
    for attribute, how in RECORD["modules"][name].items():
        theirs = getattr(source, attribute, None)
        if isinstance(how, list) and theirs is not None and isinstance(getattr(np, attribute, None), np.ufunc):
            setattr(made, attribute, functions.ufunc(attribute, how))
        elif isinstance(how, list) and theirs is not None:
            setattr(made, attribute, _elementwise(attribute, how, theirs))
        elif theirs is not None:
            setattr(made, attribute, functions.function(name, attribute, theirs))


def _elementwise(name: str, types_: list, theirs: Any) -> Any:
    """A ufunc of CuPy that is a plain function in NumPy."""
    made = functions.ufunc.__new__(functions.ufunc)
    made.name, made.types, made.__name__, made.np = f"cupy_{name}", types_, name, theirs
    made.nin, made.nout = (len(part) for part in types_[0].split("->"))
    return made


def _build() -> types.ModuleType:
    made: Any = types.ModuleType("cupy")
    made.__path__ = []
    made.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    made.__version__ = RECORD["version"]
    _fill(made, "cupy", np)
    made.ndarray, made.ufunc = arrays.ndarray, functions.ufunc
    for name in ("array", "asarray", "ascontiguousarray", "asnumpy"):
        setattr(made, name, getattr(functions, name))
    made.asanyarray = functions.asarray
    made.get_array_module = lambda *a: made if any(isinstance(x, arrays.ndarray) for x in a) else np
    made.get_default_memory_pool = lambda: state.default_pool
    made.get_default_pinned_memory_pool = cuda.PinnedMemoryPool
    for name in ("newaxis", "inf", "nan", "pi", "e", "euler_gamma", "dtype", "finfo", "iinfo", "generic", "number", "integer",
                 "floating", "inexact", "complexfloating", "bool_", "int8", "int16", "int32", "int64", "uint8", "uint16",
                 "uint32", "uint64", "float16", "float32", "float64", "complex64", "complex128", "intp"):
        setattr(made, name, getattr(np, name))
    for name in RECORD["modules"]["cupy"]:  # creation functions give new arrays, whatever NumPy called its own
        if hasattr(made, name) and name in ("result_type", "can_cast", "promote_types", "common_type", "ndim", "shape", "size",
                                            "isscalar", "iscomplexobj", "isrealobj", "broadcast_shapes", "may_share_memory",
                                            "shares_memory"):
            setattr(made, name, _on_host(getattr(np, name)))
    made.linalg, made.fft, made.random = (types.ModuleType(f"cupy.{n}") for n in ("linalg", "fft", "random"))
    _fill(made.linalg, "cupy.linalg", np.linalg)
    _fill(made.fft, "cupy.fft", np.fft)
    made.linalg.LinAlgError = np.linalg.LinAlgError
    made.lib = types.SimpleNamespace(stride_tricks=types.SimpleNamespace())
    _fill(made.lib.stride_tricks, "cupy.lib.stride_tricks", np.lib.stride_tricks)
    made.cuda = cuda.module("cupy.cuda")
    made.RawModule = kernels.RawModule
    made.show_config = lambda: None
    return made


def _on_host(theirs: Any) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        return theirs(*arrays.unwrap(args), **kwargs)

    return call


def _build_cupyx() -> dict[str, types.ModuleType]:
    cupyx: Any = types.ModuleType("cupyx")
    cupyx.__path__ = []
    cupyx.errstate = linalg.errstate
    cupyx.scatter_add = lambda a, slices, value: a.scatter_add(slices, value)
    cupyx.scatter_max = lambda a, slices, value: a.scatter_max(slices, value)
    cupyx.scatter_min = lambda a, slices, value: a.scatter_min(slices, value)
    return {"cupyx": cupyx}


def install() -> Any:
    """Put the stand-in where `import cupy` finds it, and return it."""
    made = module()
    sys.modules.update({"cupy": made, "cupy.cuda": made.cuda, "cupy.linalg": made.linalg, **_build_cupyx()})
    return made


def uninstall() -> None:
    """Take it away again."""
    for name in [n for n in sys.modules if n.split(".")[0] in ("cupy", "cupyx")]:
        del sys.modules[name]
