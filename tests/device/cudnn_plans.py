"""`python -m tests.device.cudnn_plans`: cuDNN's own answer to every graph of ours, on a machine without a GPU.

The library builds plans from the properties of a device that need not be there (cuDNN 9.11 and later). One part of it wants
`libcuda`; where no driver is installed, a library of the same name that can do nothing stands in. Prints one JSON object:
for each graph the name of its kernels, or how it was refused.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

# An H100 SXM, as the library describes devices.
H100 = {"maxGridSize": [2147483647, 65535, 65535], "maxBlockSize": [1024, 1024, 64], "regsPerBlock": 65536,
        "multiProcessorCount": 132, "smCountOrigin": 0, "warpSize": 32, "maxSharedMemoryPerBlock": 49152,
        "maxSharedMemoryPerBlockOptin": 232448, "oversizedSharedMemoryPerBlock": 0, "reservedSharedMemoryPerBlock": 1024,
        "maxRegistersPerSM": 65536, "maxCtasPerSM": 32, "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048, "pciDeviceId": 0,
        "isTccDriver": 0, "supportCoopLaunch": 1, "totalGlobalMem": 85017493504, "smClockRateKHz": 1980000,
        "memClockRateKHz": 2619000, "memoryBusWidth": 5120, "l2CacheSize": 52428800, "cudaDeviceId": 0, "deviceVer": 900,
        "driverVer": 13000, "deviceName": "NVIDIA H100 80GB HBM3"}
_GIVES = ("cuLibraryLoadData", "cuLibraryGetKernel", "cuKernelGetFunction", "cuModuleLoadData", "cuModuleGetFunction")
_CALLED = re.compile(rb"cu[A-Z][A-Za-z0-9]{3,40}(?=\0)")


def driver(libraries: Path) -> None:
    """Load `libcuda`, or a stand-in that has every name the library asks for: loading succeeds, all else finds no device."""
    with contextlib.suppress(OSError):
        ctypes.CDLL("libcuda.so.1", ctypes.RTLD_GLOBAL)
        return
    names: set[str] = set()
    for path in libraries.glob("libcudnn_*.so.9"):
        if "precompiled" not in path.name:
            names |= {found.decode() for found in _CALLED.findall(path.read_bytes())}
    lines = ["static int thing;", "int cuDriverGetVersion(int* v) { *v = 13000; return 0; }"]
    for name in sorted(names - {"cuDriverGetVersion"}):
        done = name.startswith(("cuLibrary", "cuModule", "cuKernel", "cuFunc", "cuOccupancy"))
        body = "(void** p) { *p = &thing; return 0; }" if name in _GIVES else f"() {{ return {0 if done else 100}; }}"
        lines.append(f"int {name}{body}")
    folder = tempfile.mkdtemp()
    try:
        source, made = Path(folder, "driver.c"), Path(folder, "libcuda.so.1")
        source.write_text("\n".join(lines))
        subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(made), str(source)], check=True)
        ctypes.CDLL(str(made), ctypes.RTLD_GLOBAL)
    finally:
        shutil.rmtree(folder)


def load() -> tuple[Any, dict]:
    """(the real module, where plans are for)."""
    from importlib.metadata import files

    found = next(f for f in files("nvidia-cudnn-cu13") or files("nvidia-cudnn-cu12") or () if f.name == "libcudnn.so.9")
    driver(Path(found.locate()).parent)
    import cudnn

    return cudnn, {"device_property": cudnn.create_device_properties(json.dumps(H100)), "sm_version": 90}


def answers(asks: Any) -> dict[str, str]:
    """What the library says to each graph that `asks` makes the engine ask for; the engine is told that all went well."""
    from engine.gpu import cudnn as ours

    lib, where = load()
    found: dict[str, str] = {}

    def run(kind: str, inputs: Any, outputs: Any, *params: Any) -> bool:
        key = ours.key_of(kind, inputs, outputs, *params)
        if str(key) not in found:
            try:
                plan = ours.Plan(lib, key, **where)
                found[str(key)] = f"{plan.graph.get_plan_name_at_index(0)}{'' if plan._raw else ' without raw pointers'}"
            except Exception as error:  # the refusal is the answer
                found[str(key)] = f"REFUSED {' '.join(str(error).split())[:300]}"
        return True

    ours.run, ours.library = run, lambda: lib  # type: ignore[assignment]
    asks()
    return found


def asks() -> None:
    """Everything that the engine asks cuDNN for in the samples of its cards and in the layers of some networks."""
    import engine
    from engine import backend, nn
    from tests import fake_cupy
    from tests.device import test_cards as cards

    backend._cuda_ok, backend._cupy = True, fake_cupy.install()
    for label, _, sample in cards.CASES:
        if label in ("_convolution", "_conv_transpose"):
            for dtype in ("float32", "float16", "bfloat16", "float64"):
                with contextlib.suppress(AssertionError, NotImplementedError):
                    outs, leaves = cards.on_device(sample, dtype, grad=True)
                    cards.gradients(outs, leaves, False)
    for kind in (engine.bfloat16, engine.float16, engine.float32):
        for order in (False, True):
            for channels, size, out, kernel, stride in ((3, 224, 64, 7, 2), (64, 56, 64, 3, 1), (256, 56, 128, 1, 2),
                                                        (512, 7, 512, 3, 1), (1024, 14, 2048, 1, 2)):
                conv = nn.Conv2d(channels, out, kernel, stride, kernel // 2).to("cuda", kind)
                x = engine.zeros(8, size, size, channels, device="cuda", dtype=kind)
                x = x.permute(0, 3, 1, 2) if order else x.reshape(8, channels, size, size)
                y = conv(x.requires_grad_())
                y.backward(engine.zeros_like(y))
    _ask_for_attention()


def _ask_for_attention() -> None:
    """Few graphs: the library compiles kernels for each."""
    import engine

    for kind, shape, keys, options in (
            ("bfloat16", (2, 12, 1024, 64), 1024, {"is_causal": True}), ("bfloat16", (2, 12, 1024, 64), 77, {}),
            ("float16", (2, 12, 1024, 64), 1024, {"is_causal": True}), ("bfloat16", (2, 2, 5, 8), 7, {"attn_mask": (5, 7)}),
            ("bfloat16", (2, 2, 64, 128), 64, {"attn_mask": (2, 1, 1, 64)}), ("bfloat16", (1, 1, 64, 256), 64, {})):
        n, heads, length, width = shape
        q = engine.zeros(n, length, heads, width, device="cuda", dtype=getattr(engine, kind)).transpose(1, 2).requires_grad_()
        k = engine.zeros(n, heads, keys, width, device="cuda", dtype=getattr(engine, kind), requires_grad=True)
        if "attn_mask" in options:
            options = {"attn_mask": engine.ones(*options["attn_mask"], device="cuda", dtype=engine.bool)}
        out = engine.nn.functional.scaled_dot_product_attention(q, k, k, **options)
        out.backward(engine.zeros_like(out))


if __name__ == "__main__":
    sys.path.insert(0, os.getcwd())
    json.dump(answers(asks), sys.stdout, indent=1)
