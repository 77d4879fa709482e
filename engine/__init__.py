"""litengine's engine: tensors, autograd, nn, optim and data on NumPy and CuPy, in torch's shape.

`import engine as torch` is meant to be the only changed line of a program. Operators come from the registry
(`engine.ops`); sub-packages load when they are first named.
"""

from __future__ import annotations

import importlib
from typing import Any

from . import autograd, dtypes, memory, ops, random
from .autograd.modes import (
    enable_grad,
    inference_mode,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_grad_enabled,
)
from .devices import device
from .dtypes import (
    bfloat16,
    can_cast,
    complex64,
    complex128,
    dtype,
    finfo,
    float16,
    float32,
    float64,
    get_default_dtype,
    iinfo,
    int8,
    int16,
    int32,
    int64,
    promote_types,
    set_default_dtype,
    uint8,
    uint16,
    uint32,
    uint64,
)
from .ops.creation import get_default_device, set_default_device, tensor
from .printing import set_printoptions
from .random import default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .rng import Generator
from .tensor import Size, Tensor, is_tensor

__version__ = "0.1.0"

bool = dtypes.bool_
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
cfloat, cdouble = complex64, complex128
newaxis = None
inf, nan, pi, e = dtypes.INF, dtypes.NAN, dtypes.PI, dtypes.E
strided = "torch.strided"
contiguous_format, preserve_format, channels_last = "contiguous", "preserve", "channels_last"

# Sub-packages and what lives in them, loaded on first use.
_LAZY_MODULES = ("accelerator", "amp", "backends", "compiler", "cuda", "distributed", "distributions", "fft", "hub",
                 "jit", "legacy", "linalg",
                 "nn", "onnx", "optim", "serialization", "settings", "sparse", "testing", "utils", "version")
_LAZY_NAMES = {
    name: module
    for module, names in {
        "amp": ("GradScaler", "autocast"),
        "compiler": ("compile",),
        "legacy": ("BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
                   "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type"),
        "serialization": ("load", "save"),
        "settings": ("are_deterministic_algorithms_enabled", "get_float32_matmul_precision", "get_num_interop_threads",
                     "get_num_threads", "is_deterministic_algorithms_warn_only_enabled",
                     "set_float32_matmul_precision", "set_num_interop_threads", "set_num_threads",
                     "use_deterministic_algorithms"),
        "sparse": ("sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spmm"),
    }.items()
    for name in names
}

__all__ = [
    "Generator", "Size", "Tensor", "autograd", "bfloat16", "bool", "can_cast", "cdouble", "cfloat", "complex64",
    "complex128", "default_generator", "device", "double", "dtype", "e", "enable_grad", "finfo", "float", "float16",
    "float32", "float64", "get_default_device", "get_default_dtype", "get_rng_state", "half", "iinfo", "inf",
    "inference_mode", "initial_seed", "int", "int8", "int16", "int32", "int64", "is_grad_enabled",
    "is_inference_mode_enabled", "is_tensor", "long", "manual_seed", "nan", "newaxis", "no_grad", "ops", "pi", "promote_types",
    "random", "seed", "set_default_device", "set_default_dtype", "set_grad_enabled", "set_printoptions", "set_rng_state",
    "short", "strided", "tensor", "uint8", "uint16", "uint32", "uint64", *ops.FUNCTIONS,
]

globals().update(ops.FUNCTIONS)
memory.keep_freed()


def __getattr__(name: str) -> Any:
    if name in _LAZY_MODULES:
        try:
            return importlib.import_module(f"{__name__}.{name}")
        except ModuleNotFoundError as error:
            if error.name != f"{__name__}.{name}":
                raise
    if name in _LAZY_NAMES:
        return getattr(importlib.import_module(f"{__name__}.{_LAZY_NAMES[name]}"), name)
    from .errors import did_you_mean

    raise AttributeError(f"module 'engine' has no attribute '{name}'.{did_you_mean(name, __dir__())} "
                         "HINT: docs/compatibility.md lists what is here and what is not.")


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
