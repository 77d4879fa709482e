"""`cupy.RawModule` without a GPU: the CUDA source compiled by g++, its threads emulated (`emulation.h`).

A launch checks what CUDA does not: that every argument has the type of the kernel's parameter.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from . import capture, state
from .arrays import ndarray

HEADER = Path(__file__).with_name("emulation.h")
_KERNEL = re.compile(r'extern "C" void (\w+)\(([^)]*)\)')
_SCALARS = {"i64": np.int64, "u64": np.uint64, "int": np.int32, "u32": np.uint32, "float": np.float32, "double": np.float64}
_POINTERS = {"i64": ("int64",), "u64": ("uint64",), "int": ("int32",), "u32": ("uint32",), "u8": ("uint8", "bool"),
             "float": ("float32",), "double": ("float64",), "f16": ("float16",), "bf16": ("bfloat16",)}
_WIDE = re.compile(r"(?:typename )?WideOf<(\w+)>::type")


def compiler() -> str | None:
    """A C++ compiler, if there is one."""
    return shutil.which("g++")


@functools.cache
def build(source: str) -> tuple[Any, dict[str, list[str]]]:
    """The compiled source, and each kernel's parameter types."""
    if compiler() is None:  # the test that needs a kernel can't go on
        pytest.skip("no g++")
    whole = f'#include "{HEADER}"\n{source}'
    folder = Path(tempfile.gettempdir())
    name = hashlib.sha256((whole + HEADER.read_text()).encode()).hexdigest()[:16]
    expanded = subprocess.run(["g++", "-std=c++17", "-E", "-P", "-x", "c++", "-"], input=whole, text=True,
                              capture_output=True, check=True).stdout
    kernels = {kernel: [_type_of(p) for p in parameters.split(",")] for kernel, parameters in _KERNEL.findall(expanded)}
    library = folder / f"litengine-kernels-{name}.so"
    if not library.exists():
        runners = "".join(f'extern "C" int run_{k}(void** a, const unsigned* g, const unsigned* b)'
                          f" {{ return emulate({k}, a, g, b); }}\n" for k in kernels)
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch, "kernels.so")
            # -Bsymbolic: a kernel may be named like something in the C library
            options = ["-std=c++17", "-O1", "-fPIC", "-shared", "-Wl,-Bsymbolic", "-ffp-contract=off", "-w"]
            subprocess.run(["g++", *options, "-x", "c++", "-", "-o", str(made)], input=whole + runners, text=True, check=True)
            made.replace(library)
    return ctypes.CDLL(str(library)), kernels


def _type_of(parameter: str) -> str:
    """ "const bf16*" of "const bf16* x"; the wide type of an element type as float or double."""
    kind = _WIDE.sub(lambda m: "double" if m[1] == "double" else "float", parameter.strip())
    return re.sub(r"\s*\w+$", "", kind)


class Function:
    """A kernel, to be launched."""

    def __init__(self, name: str, run: Any, types: list[str]) -> None:
        self.name, self._run, self.types = name, run, types

    def __call__(self, grid: tuple, block: tuple, args: tuple, *, shared_mem: int = 0, stream: Any = None) -> None:
        if len(args) != len(self.types):
            raise TypeError(f"{self.name}: {len(args)} arguments for {len(self.types)} parameters")
        threads = int(np.prod(block))
        if not 0 < threads <= 1024 or any(not 0 < n < 2**31 for n in grid) or max(grid[1:], default=1) > 65535:
            raise ValueError(f"{self.name}: cudaErrorInvalidConfiguration, grid {grid}, block {block}")
        values = [self._value(a, t, i) for i, (a, t) in enumerate(zip(args, self.types))]
        places = [p for a in args if isinstance(a, np.ndarray) for name in a.dtype.names if a.dtype[name].base == np.uint64
                  for p in a[0][name][: a[0]["count"]]]
        pointers = (ctypes.c_void_p * len(values))(*[v.ctypes.data for v in values])
        shape = [(ctypes.c_uint * 3)(*(*n, 1, 1)[:3]) for n in (grid, block)]
        state.events["launch"] += 1
        state.events["kernel " + self.name] += 1
        recording = capture.about_to(a for a in args if isinstance(a, ndarray))
        for place in places if recording is not None else ():
            recording.touch_address(int(place))
        if self._run(pointers, *shape):
            raise RuntimeError(f"{self.name}: threads wait for each other for ever")
        if recording is not None:
            memory = [a._a for a in args if isinstance(a, ndarray)]
            recording.calls.append(lambda: (self._run(pointers, *shape), values, memory))

    def _value(self, arg: Any, kind: str, position: int) -> np.ndarray:
        where = f"{self.name}, argument {position} ({kind})"
        if kind.endswith("*"):
            element = kind.removeprefix("const ").rstrip("* ")
            if isinstance(arg, ndarray):
                if arg.dtype.name not in _POINTERS[element]:
                    raise TypeError(f"{where}: an array of {arg.dtype}")
                if arg.device.id != state.here.device:
                    raise ValueError(f"{where}: an array on another device")
                return np.array([arg.data.ptr], np.uint64)
            if isinstance(arg, np.uint64) and not arg:
                return np.array([0], np.uint64)
            raise TypeError(f"{where}: {type(arg)}")
        if kind not in _SCALARS:  # a structure by value: CuPy takes an array of one
            if not isinstance(arg, np.ndarray) or arg.shape != (1,) or arg.dtype.names is None:
                raise TypeError(f"{where}: {type(arg)}")
            return arg.copy()
        if type(arg) is not _SCALARS[kind]:
            raise TypeError(f"{where}: {type(arg)}")
        return np.array([arg])


class RawModule:
    """`cupy.RawModule`."""

    def __init__(self, *, code: str | None = None, path: str | None = None, options: tuple = (), backend: str = "nvrtc",
                 translate_cucomplex: bool = False, enable_cooperative_groups: bool = False, name_expressions: Any = None,
                 jitify: bool = False) -> None:
        self.code, self.options = code, options

    def get_function(self, name: str) -> Function:
        library, kernels = build(self.code)
        return Function(name, getattr(library, f"run_{name}"), kernels[name])

    def compile(self, log_stream: Any = None) -> None:
        build(self.code)
