"""litengine's engine: tensors, autograd, nn, optim and data on NumPy and CuPy, in torch's shape.

`import engine as torch` is meant to be the only changed line of a program. Operators come from the registry
(`engine.ops`); sub-packages load when they are first named.
"""

from __future__ import annotations

import importlib
import sys
from typing import Any

from . import autograd, dtypes, memory, ops, random
from .autograd.modes import (
    enable_grad,
    inference_mode,
    is_anomaly_check_nan_enabled,
    is_anomaly_enabled,
    is_grad_enabled,
    is_inference_mode_enabled,
    no_grad,
    set_anomaly_enabled,
    set_grad_enabled,
)
from .devices import device, get_default_device, set_default_device
from .dtypes import (
    bfloat16,
    can_cast,
    complex64,
    complex128,
    dtype,
    finfo,
    float8_e4m3fn,
    float8_e4m3fnuz,
    float8_e5m2,
    float8_e5m2fnuz,
    float8_e8m0fnu,
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
from .layouts import (
    channels_last,
    channels_last_3d,
    contiguous_format,
    layout,
    memory_format,
    preserve_format,
    sparse_coo,
    sparse_csc,
    sparse_csr,
    strided,
)
from .ops.creation import tensor
from .printing import set_printoptions
from .random import default_generator, get_rng_state, initial_seed, manual_seed, seed, set_rng_state
from .rng import Generator
from .tensor import Size, Tensor, is_tensor
from .version import __version__ as __version__

bool = dtypes.bool_
half, float, double = float16, float32, float64
short, int, long = int16, int32, int64
cfloat, cdouble = complex64, complex128
newaxis = None
has_lapack = has_spectral = True  # linalg and fft are there
has_mkl = has_openmp = False
inf, nan, pi, e = dtypes.INF, dtypes.NAN, dtypes.PI, dtypes.E

# Sub-packages and what lives in them, loaded on first use.
_LAZY_MODULES = ("_C", "__config__", "_dynamo", "accelerator", "amp", "backends", "compiler", "cpu", "cuda", "distributed",
                 "distributions", "export", "fft", "func", "futures", "fx", "hub", "jit", "legacy", "library", "linalg",
                 "multiprocessing", "nn", "onnx", "optim", "profiler", "serialization", "settings", "signal", "sparse",
                 "special", "testing", "types", "utils", "version")
_LAZY_NAMES = {
    name: module
    for module, names in {
        "amp": ("GradScaler", "autocast"),
        "amp.switches": ("autocast_decrement_nesting", "autocast_increment_nesting", "clear_autocast_cache",
                         "get_autocast_cpu_dtype", "get_autocast_dtype", "get_autocast_gpu_dtype",
                         "is_autocast_cache_enabled", "is_autocast_cpu_enabled", "is_autocast_enabled",
                         "set_autocast_cache_enabled", "set_autocast_cpu_dtype", "set_autocast_cpu_enabled",
                         "set_autocast_dtype", "set_autocast_enabled", "set_autocast_gpu_dtype"),
        "compiler": ("compile",),
        "accelerator": ("get_device_module",),
        "cpu": ("Event", "Stream"),
        "func": ("vmap",),
        "futures": ("Future", "fork", "wait"),
        "legacy": ("BFloat16Tensor", "BoolTensor", "ByteTensor", "CharTensor", "DoubleTensor", "FloatTensor", "HalfTensor",
                   "IntTensor", "LongTensor", "ShortTensor", "set_default_tensor_type"),
        "errors": ("AcceleratorError", "OutOfMemoryError"),
        "serialization": ("load", "save"),
        "settings": ("are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_float32_matmul_precision",
                     "get_num_interop_threads", "get_num_threads", "is_deterministic_algorithms_warn_only_enabled",
                     "is_warn_always_enabled", "set_deterministic_debug_mode", "set_float32_matmul_precision",
                     "set_flush_denormal", "set_num_interop_threads", "set_num_threads", "set_warn_always",
                     "use_deterministic_algorithms"),
        "ops.storages": ("BFloat16Storage", "BoolStorage", "ByteStorage", "CharStorage", "ComplexDoubleStorage",
                         "ComplexFloatStorage", "DoubleStorage", "FloatStorage", "HalfStorage", "IntStorage",
                         "LongStorage", "ShortStorage", "Storage", "StorageBase", "TypedStorage", "UntypedStorage",
                         "is_storage"),
        "symbols": ("SymBool", "SymFloat", "SymInt", "cond", "sym_constrain_range", "sym_constrain_range_for_size",
                    "sym_float", "sym_fresh_size", "sym_int", "sym_ite", "sym_max", "sym_min", "sym_not", "sym_sqrt",
                    "sym_sum", "while_loop"),
        "sparse": ("sparse_compressed_tensor", "sparse_coo_tensor", "sparse_csc_tensor", "sparse_csr_tensor", "spmm"),
    }.items()
    for name in names
}

__all__ = [
    "Generator", "Size", "Tensor", "autograd", "bfloat16", "bool", "can_cast", "cdouble", "cfloat", "channels_last",
    "channels_last_3d", "complex128", "complex64", "contiguous_format", "default_generator", "device", "double", "dtype",
    "e", "enable_grad", "finfo", "float", "float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz",
    "float8_e8m0fnu", "float16", "float32", "float64", "get_default_device", "get_default_dtype", "get_rng_state", "half",
    "has_lapack", "has_mkl", "has_openmp", "has_spectral", "iinfo", "inf", "inference_mode", "initial_seed", "int",
    "int16", "int32", "int64", "int8", "is_anomaly_check_nan_enabled", "is_anomaly_enabled", "is_grad_enabled",
    "is_inference_mode_enabled", "is_tensor", "layout", "long", "manual_seed", "memory_format", "nan", "newaxis",
    "no_grad", "ops", "pi", "preserve_format", "promote_types", "random", "seed", "set_anomaly_enabled",
    "set_default_device", "set_default_dtype", "set_grad_enabled", "set_printoptions", "set_rng_state", "short",
    "sparse_coo", "sparse_csc", "sparse_csr", "strided", "tensor", "uint16", "uint32", "uint64", "uint8", *ops.FUNCTIONS,
]

globals().update(ops.FUNCTIONS)
torch = sys.modules[__name__]  # as in torch itself; libraries write torch.torch by mistake
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
    from .errors import no_attribute

    raise no_attribute(__name__, name, __dir__())


def __dir__() -> list[str]:
    return sorted({*globals(), *_LAZY_MODULES, *_LAZY_NAMES})
