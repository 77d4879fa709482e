"""Training steps and kernels on a GPU, beside torch in the same run: milliseconds by events, median of rounds."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

import engine
from tests.benchmarks import models
from tests.device.facts import peer, sized

ROUNDS, CALLS = 5, 10


def train(lib: Any, model: Any, optimizer: Any, x: Any, y: Any, dtype: Any = None) -> Callable[[], Any]:
    """One training step of a classifier."""

    def step() -> Any:
        optimizer.zero_grad()
        with lib.autocast("cuda", dtype=dtype or lib.bfloat16, enabled=dtype is not None):
            loss = lib.nn.functional.cross_entropy(model(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return step


def digits(lib: Any) -> Callable[[], Any]:
    """The digits MLP, batch 32, Adam."""
    model = models.mlp(lib, 784, 128, 128, 10).cuda()
    x, y = lib.randn(32, 784, device="cuda"), lib.randint(0, 10, (32,), device="cuda")
    return train(lib, model, lib.optim.Adam(model.parameters()), x, y)


def blocks(lib: Any, dtype: str) -> Callable[[], Any]:
    """Transformer layers of GPT-2's width, context 1024."""
    width, length = sized(768), sized(1024)
    layer = lib.nn.TransformerEncoderLayer(width, 4, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True)
    model = lib.nn.Sequential(layer, lib.nn.Linear(width, 100)).cuda()
    x, y = lib.randn(4, length, width, device="cuda"), lib.randint(0, 100, (4, length), device="cuda")
    return train(lib, model, lib.optim.AdamW(model.parameters()), x, y, getattr(lib, dtype))


def resnet(lib: Any) -> Callable[[], Any]:
    """ResNet-18 for 32 x 32 images, float32."""
    model = models.resnet18(lib).cuda()
    n = 128 if sized(8192) > 64 else 1
    x, y = lib.randn(n, 3, 32, 32, device="cuda"), lib.randint(0, 10, (n,), device="cuda")
    return train(lib, model, lib.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), x, y)


def adam(lib: Any) -> Callable[[], Any]:
    """An Adam step over 124M parameters in one tensor (one thousandth of that where memory is small)."""
    n = 124_000_000 if sized(8192) > 64 else 1000
    p = lib.zeros(n, device="cuda", requires_grad=True)
    p.grad = lib.randn(n, device="cuda")
    optimizer = lib.optim.Adam([p], **({} if lib is engine else {"fused": True}))
    return optimizer.step


def pointwise(fn: Callable[[Any, Any], Any]) -> Callable[[Any], Callable[[], Any]]:
    """A function of a large bfloat16 matrix, with its gradient."""

    def make(lib: Any) -> Callable[[], Any]:
        x = lib.randn(sized(8192), sized(4096), device="cuda").bfloat16().requires_grad_()
        g = lib.ones_like(x)

        def step() -> Any:
            x.grad = None
            fn(lib, x).backward(g)

        return step

    return make


ROWS: dict[str, Callable[[Any], Callable[[], Any]]] = {
    "digits MLP, step": digits, "transformer layer bf16, step": lambda lib: blocks(lib, "bfloat16"),
    "ResNet-18 32x32, step": resnet, "Adam, 124M": adam,
    "softmax bf16, forward and backward": pointwise(lambda lib, x: lib.softmax(x, 1)),
    "layer_norm bf16, forward and backward": pointwise(lambda lib, x: lib.nn.functional.layer_norm(x, x.shape[1:])),
    "gelu bf16, forward and backward": pointwise(lambda lib, x: lib.nn.functional.gelu(x)),
    "dropout bf16, forward and backward": pointwise(lambda lib, x: lib.nn.functional.dropout(x, 0.1)),
}


def spent(lib: Any, step: Callable[[], Any], calls: int) -> float:
    """Milliseconds per call."""
    first, last = lib.cuda.Event(enable_timing=True), lib.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(calls):
        step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / calls


def captured(step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as a graph."""
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        step()
    return graph.replay


def measure(name: str, rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, Any]:
    """A row: medians in milliseconds of ours, ours captured and torch's, taken in turns."""
    contestants: dict[str, tuple[Any, Callable]] = {"ours": (engine, ROWS[name](engine))}
    torch = peer()
    if torch is not None:
        contestants["torch"] = (torch, ROWS[name](torch))
    for lib, step in contestants.values():
        for _ in range(3):
            step()
        lib.cuda.synchronize()
    found: dict[str, Any] = {}
    try:
        contestants["captured"] = (engine, captured(contestants["ours"][1]))
    except Exception as error:  # eager figures are worth having all the same
        found["capture"] = f"{type(error).__name__}: {str(error)[:300]}"
    times: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for label, (lib, step) in contestants.items():
            times[label].append(spent(lib, step, calls))
    found.update({label: round(statistics.median(values), 4) for label, values in times.items()})
    if "torch" in times:
        found["ratio"] = round(found["ours"] / found["torch"], 3)
    return found
