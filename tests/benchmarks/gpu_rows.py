"""What `tests.benchmarks.gpu` measures: one row for each kind of work, written once for both libraries.

A row's `make(lib)` gives a function that does the work once. Where memory is small (the stand-in) sizes are tiny.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import engine
from tests.benchmarks import models


def small() -> bool:
    """Whether this is no real GPU."""
    return engine.cuda.mem_get_info()[1] < 8 << 30


@dataclasses.dataclass(frozen=True)
class Row:
    """A measure: `work` is what a call does at least, in units that divided by milliseconds give the unit's name."""

    name: str
    make: Callable[..., Callable[[], Any]]
    work: dict[str, float] = dataclasses.field(default_factory=dict)
    goals: dict[str, float] = dataclasses.field(default_factory=dict)
    compiled: bool = False  # whether torch.compile takes part


def _step(lib: Any, model: Any, optimizer: Any, x: Any, y: Any, half: bool, compile: bool = False) -> Callable[[], Any]:
    """One training step of a classifier, in bfloat16 by autocast if `half`."""
    run = lib.compile(model) if compile else model

    def step() -> Any:
        optimizer.zero_grad()
        with lib.autocast("cuda", dtype=lib.bfloat16, enabled=half):
            loss = lib.nn.functional.cross_entropy(run(x).flatten(0, -2), y.flatten())
        loss.backward()
        optimizer.step()
        return loss

    return step


def _fused(lib: Any) -> dict[str, bool]:
    """torch's fastest optimizers; ours have one form, which may be captured."""
    return {"capturable": True} if lib is engine else {"fused": True}


GPT = {"layers": 12, "width": 768, "heads": 12, "vocabulary": 50304, "context": 1024}
GPT_BATCH, GPT_PARAMETERS = 8, 124_000_000


def gpt(lib: Any, compile: bool = False) -> Callable[[], Any]:
    """GPT-2 small, bfloat16, AdamW, context 1024."""
    sizes = {"layers": 1, "width": 32, "heads": 2, "vocabulary": 64, "context": 16} if small() else GPT
    model = models.transformer(lib, **sizes, causal=True).cuda()
    model.head.weight = model.tokens.weight
    batch = 2 if small() else GPT_BATCH
    x, y = (lib.randint(0, sizes["vocabulary"], (batch, sizes["context"]), device="cuda") for _ in range(2))
    return _step(lib, model, lib.optim.AdamW(model.parameters(), **_fused(lib)), x, y, True, compile)


def resnet(lib: Any, compile: bool = False) -> Callable[[], Any]:
    """ResNet-50, bfloat16, channels last, 128 images of 224 x 224, SGD with momentum."""
    model = models.resnet50(lib, *(((1, 1, 1, 1), 4) if small() else ())).cuda().to(memory_format=lib.channels_last)
    n, size = (2, 32) if small() else (128, 224)
    x = lib.randn(n, 3, size, size, device="cuda").to(memory_format=lib.channels_last)
    y = lib.randint(0, 1000, (n,), device="cuda")
    return _step(lib, model, lib.optim.SGD(model.parameters(), lr=0.1, momentum=0.9), x, y, True, compile)


def digits(lib: Any) -> Callable[[], Any]:
    """The digits MLP, batch 32, Adam, float32."""
    model = models.mlp(lib, 784, 128, 128, 10).cuda()
    x, y = lib.randn(32, 784, device="cuda"), lib.randint(0, 10, (32,), device="cuda")
    return _step(lib, model, lib.optim.Adam(model.parameters(), capturable=True), x, y, False)


LSTM = {"batch": 64, "steps": 128, "inputs": 512, "hidden": 512}


def lstm(lib: Any) -> Callable[[], Any]:
    """A two-layer LSTM over sequences of 128, bfloat16, Adam."""
    n, steps, inputs, hidden = (2, 3, 4, 4) if small() else LSTM.values()

    class Net(lib.nn.Module):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.core, self.head = lib.nn.LSTM(inputs, hidden, 2, batch_first=True), lib.nn.Linear(hidden, 10)

        def forward(self, x: Any) -> Any:
            return self.head(self.core(x)[0][:, -1])

    model = Net().cuda()
    x, y = lib.randn(n, steps, inputs, device="cuda"), lib.randint(0, 10, (n,), device="cuda")
    return _step(lib, model, lib.optim.Adam(model.parameters(), **_fused(lib)), x, y, True)


def _gpt_parameters(lib: Any) -> list:
    """Parameters of GPT-2 small's shapes with gradients; few of them where memory is small."""
    shapes: list[tuple] = [(50304, 768), (1024, 768)]
    for _ in range(12):
        shapes += [(768,)] * 4 + [(2304, 768), (2304,), (768, 768), (768,), (3072, 768), (3072,), (768, 3072), (768,)]
    made = []
    for shape in [(3, 5), (7,)] if small() else [*shapes, (768,), (768,)]:
        p = lib.nn.Parameter(lib.randn(*shape, device="cuda"))
        p.grad = lib.randn(*shape, device="cuda")
        made.append(p)
    return made


def adam(lib: Any) -> Callable[[], Any]:
    """An Adam step over GPT-2 small's 124M parameters in 148 tensors."""
    return lib.optim.Adam(_gpt_parameters(lib), **_fused(lib)).step


def clip(lib: Any) -> Callable[[], Any]:
    """Clipping the norm of the same gradients."""
    parameters = _gpt_parameters(lib)
    return lambda: lib.nn.utils.clip_grad_norm_(parameters, 1.0)


MATRIX = (8192, 4096)


def both_ways(fn: Callable[[Any, Any], Any]) -> Callable[[Any], Callable[[], Any]]:
    """A function of a large bfloat16 matrix, with its gradient."""

    def make(lib: Any) -> Callable[[], Any]:
        x = lib.randn(*((32, 64) if small() else MATRIX), device="cuda").bfloat16().requires_grad_()
        g = lib.ones_like(fn(lib, x))

        def step() -> Any:
            x.grad = None
            fn(lib, x).backward(g)

        return step

    return make


_TOKENS = GPT_BATCH * GPT["context"]
_ATTENTION = 6 * GPT["layers"] * GPT["width"] * GPT["context"]  # of a token, with its gradients, half of it masked
_GPT_WORK = _TOKENS * (6 * GPT_PARAMETERS + _ATTENTION) / 1e9
_LSTM_WORK = 3 * 2 * 2 * LSTM["batch"] * LSTM["steps"] * 4 * LSTM["hidden"] * (LSTM["inputs"] + LSTM["hidden"]) / 1e9
_BYTES = MATRIX[0] * MATRIX[1] * 2 / 1e6
_F = "forward and backward, bf16 8192 x 4096"

ROWS: list[Row] = [
    Row("digits MLP, step", digits, goals={"captured": 0.3}),
    Row("GPT-2 small bf16, context 1024, batch 8, step", gpt, {"TFLOP/s": _GPT_WORK}, {"eager": 0.9, "compile": 1.1}, True),
    Row("ResNet-50 bf16 channels last, batch 128, step", resnet, {"TFLOP/s": 3 * 8.2 * 128}, {"eager": 1.0}),
    Row("LSTM 512 x 2 bf16, 64 sequences of 128, step", lstm, {"TFLOP/s": _LSTM_WORK}),
    Row("Adam, 124M in 148 tensors", adam, {"GB/s": 7 * 4 * GPT_PARAMETERS / 1e6}, {"fused": 1.0}),
    Row("clip_grad_norm_, 124M in 148 tensors", clip, {"GB/s": 3 * 4 * GPT_PARAMETERS / 1e6}),
    Row(f"softmax, {_F}", both_ways(lambda lib, x: lib.softmax(x, 1)), {"GB/s": 5 * _BYTES}),
    Row(f"layer_norm, {_F}", both_ways(lambda lib, x: lib.nn.functional.layer_norm(x, x.shape[1:])), {"GB/s": 5 * _BYTES}),
    Row(f"rms_norm, {_F}", both_ways(lambda lib, x: lib.nn.functional.rms_norm(x, x.shape[1:])), {"GB/s": 5 * _BYTES}),
    Row(f"gelu, {_F}", both_ways(lambda lib, x: lib.nn.functional.gelu(x)), {"GB/s": 5 * _BYTES}),
    Row(f"dropout, {_F}", both_ways(lambda lib, x: lib.nn.functional.dropout(x, 0.1)), {"GB/s": 4 * _BYTES}),
    Row(f"sum of columns, {_F}", both_ways(lambda lib, x: x.sum(0)), {"GB/s": 2 * _BYTES}),
    Row(f"mse_loss, {_F}", both_ways(lambda lib, x: lib.nn.functional.mse_loss(x, x.detach())), {"GB/s": 5 * _BYTES}),
]
