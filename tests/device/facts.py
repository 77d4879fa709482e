"""What was read in CuPy's and NVIDIA's sources and has to be seen on a GPU: one function per fact."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import engine
from engine import backend
from engine.dtypes import BF16
from engine.gpu import gemm, kernels

FACTS: dict[str, Callable[[], Any]] = {}


def fact(name: str) -> Callable[[Callable], Callable]:
    """Register a question to the machine."""

    def register(fn: Callable) -> Callable:
        FACTS[name] = fn
        return fn

    return register


def gpu() -> Any:
    return backend.require_cuda()


def outcome(fn: Callable[[], Any]) -> str:
    """What a call gives, or how it fails."""
    try:
        return str(fn())
    except Exception as error:  # the failure is the fact
        return f"{type(error).__name__}: {str(error)[:200]}"


def microseconds(fn: Callable[[], Any], calls: int = 200) -> float:
    """Host time per call, the device kept busy and not waited for."""
    for _ in range(5):
        fn()
    engine.cuda.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        fn()
    spent = time.perf_counter() - start
    engine.cuda.synchronize()
    return round(spent / calls * 1e6, 2)


def milliseconds(fn: Callable[[], Any], calls: int = 20) -> float:
    """Device time per call, by events."""
    fn()
    first, last = engine.cuda.Event(enable_timing=True), engine.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(calls):
        fn()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / calls


@fact("versions")
def versions() -> dict:
    found = {"device": engine.cuda.get_device_name(), "capability": engine.cuda.get_device_capability(),
             "memory": engine.cuda.mem_get_info(), "cupy": gpu().__version__, "numpy": np.__version__,
             "runtime": gpu().cuda.runtime.runtimeGetVersion(), "driver": gpu().cuda.runtime.driverGetVersion()}
    for name in ("nvmath", "cudnn", "torch", "cuda.bindings"):
        try:
            found[name] = importlib.util.find_spec(name) is not None
        except ModuleNotFoundError:
            found[name] = False
    found["cublasLt"] = gemm.library() is not None
    return found


@fact("our kernels compile")
def compiles() -> dict:
    start = time.perf_counter()
    kernels._module().compile()
    seconds = time.perf_counter() - start
    x = engine.randn(1000, device="cuda")
    return {"seconds": round(seconds, 2), "normal mean": x.mean().item(), "normal std": x.std().item(),
            "softmax": outcome(lambda: engine.softmax(x.reshape(10, 100), 1).sum().item())}


@fact("Philox gives the published words")
def philox() -> bool:
    out, state = gpu().zeros(2, np.int64), gpu().zeros(2, np.uint64)
    kernels.over_elements("integers", 1, out, np.int64(2), np.int64(0), np.uint64(0), state, np.uint64(0))
    return [hex(w) for w in out.get().view(np.uint64)] == ["0x6627e8d5e169c58d", "0xbc57ac4c9b00dbd8"]


@fact("element types")
def element_types() -> dict:
    half = gpu().ones((2, 2), BF16)
    batch16, batch_bf = gpu().ones((2, 4, 4), np.float16), gpu().ones((2, 4, 4), BF16)
    return {"bf16 * 2.0": outcome(lambda: (half * 2.0).dtype), "bf16 + bf16": outcome(lambda: (half + half).dtype),
            "bool * 2.0": outcome(lambda: (half > 0).__mul__(2.0).dtype),
            "bf16 2-D product": outcome(lambda: (half @ half).dtype),
            "bf16 3-D product": outcome(lambda: (batch_bf @ batch_bf).dtype),
            "fp16 3-D product": outcome(lambda: (batch16 @ batch16).dtype),
            "array + 0-d NumPy array": outcome(lambda: gpu().ones(2) + np.asarray(1.0)),
            "index out of range": outcome(lambda: gpu().arange(3)[gpu().asarray([7])]),
            "bf16 max": outcome(lambda: half.max()), "bf16 sort": outcome(lambda: gpu().sort(half, axis=0).dtype),
            "bf16 add.at": outcome(lambda: gpu().add.at(half, gpu().asarray([0]), half[:1])),
            "bf16 cumsum": outcome(lambda: gpu().cumsum(half, axis=0).dtype),
            "float64 maximum.at": outcome(lambda: gpu().maximum.at(gpu().ones(2), gpu().asarray([0]), gpu().ones(1))),
            "maximum.accumulate": outcome(lambda: gpu().maximum.accumulate(gpu().ones(2))),
            "broadcast view writable": outcome(lambda: gpu().broadcast_to(gpu().ones(1), (3,)).__setitem__(0, 2.0)),
            "singular inverse": outcome(lambda: gpu().linalg.inv(gpu().zeros((2, 2)))),
            "cholesky of -1": outcome(lambda: gpu().linalg.cholesky(-gpu().ones((1, 1))))}


@fact("host microseconds per call")
def overheads() -> dict:
    a, x = gpu().ones(1024, np.float32), engine.ones(1024, device="cuda")
    out, n = gpu().empty_like(a), np.int64(1024)
    small = gpu().ones((64, 64), np.float32)
    found = {"our kernel": microseconds(lambda: kernels.over_elements("relu_f32", 1024, a, out, n)),
             "cupy.add": microseconds(lambda: gpu().add(a, a)), "gemm 64": microseconds(lambda: gemm.matmul(small, small)),
             "engine x + x": microseconds(lambda: x + x), "engine relu": microseconds(lambda: engine.relu(x)),
             "cupy.empty": microseconds(lambda: gpu().empty(1024, np.float32))}
    torch = peer()
    if torch is not None:
        t, m = torch.ones(1024, device="cuda"), torch.ones(64, 64, device="cuda")
        found.update({"torch x + x": microseconds(lambda: t + t), "torch relu": microseconds(lambda: torch.relu(t)),
                      "torch gemm 64": microseconds(lambda: m @ m)})
    return found


def peer() -> Any:
    """torch with CUDA, or None."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    return torch if torch.cuda.is_available() else None


def sized(large: int) -> int:
    """A size that fills a GPU, or a small one where memory is small (the stand-in)."""
    return large if engine.cuda.mem_get_info()[1] > 8 << 30 else 64


@fact("TFLOP/s of products")
def products() -> dict:
    n, found = sized(8192), {}
    torch = peer()
    for name in ("bfloat16", "float16", "float32"):
        a = engine.randn(n, n, device="cuda").to(getattr(engine, name))._array
        found[name] = round(2 * n**3 / milliseconds(lambda: gemm.matmul(a, a)) / 1e9, 2)  # noqa: B023 - called at once
        if torch is not None:
            t = torch.randn(n, n, device="cuda").to(getattr(torch, name))
            found[f"torch {name}"] = round(2 * n**3 / milliseconds(lambda: t @ t) / 1e9, 2)  # noqa: B023 - called at once
    return found


@fact("GB/s of kernels")
def bandwidths() -> dict:
    n = sized(16384)
    x = engine.randn(n, 4096 if n > 64 else 64, device="cuda").bfloat16()
    w = engine.ones(x.shape[1], device="cuda").bfloat16()
    size = x.nbytes
    timed = {"copy": (lambda: x.clone(), 2), "softmax": (lambda: engine.softmax(x, 1), 2),
             "layer_norm": (lambda: engine.nn.functional.layer_norm(x, w.shape, w, w), 2),
             "gelu": (lambda: engine.nn.functional.gelu(x), 2), "normal_": (lambda: x.normal_(), 1)}
    return {name: round(times * size / milliseconds(fn) / 1e6, 1) for name, (fn, times) in timed.items()}


@fact("a graph of kernels and products")
def graphs() -> dict:
    x = engine.randn(sized(1024), sized(1024), device="cuda")
    graph, out = engine.cuda.CUDAGraph(), None

    def step() -> Any:
        return engine.nn.functional.gelu(x @ x).softmax(1).sum()

    for _ in range(3):
        step()
    with engine.cuda.graph(graph):
        out = step()
    graph.replay()
    return {"value": outcome(out.item), "expected": outcome(lambda: step().item()),
            "eager us": microseconds(step, 50), "replay us": microseconds(graph.replay, 50)}


@fact("out of memory")
def out_of_memory() -> str:
    total = engine.cuda.mem_get_info()[1]
    message = outcome(lambda: engine.empty(2 * total, dtype=engine.uint8, device="cuda"))
    return f"{message} | afterwards: {outcome(lambda: engine.ones(2, device='cuda').sum().item())}"
