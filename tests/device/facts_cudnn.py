"""What was only read of cuDNN, or asked of it without a GPU: that its plans run, give our values, and how fast they are."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engine
from engine import nn
from engine.gpu import cudnn
from tests.device.facts import fact, microseconds, milliseconds, outcome, peer, sized

F, LAST = nn.functional, engine.channels_last
# Convolutions of ResNet-50: channels in, image size, channels out, kernel, stride.
RESNET = ((3, 224, 64, 7, 2), (64, 56, 64, 1, 1), (64, 56, 64, 3, 1), (64, 56, 256, 1, 1), (256, 56, 512, 1, 2),
          (128, 28, 128, 3, 1), (512, 28, 128, 1, 1), (256, 14, 256, 3, 1), (1024, 14, 2048, 1, 2), (512, 7, 512, 3, 1),
          (512, 7, 2048, 1, 1))
KINDS = {"plain": ((2, 16, 9, 7), (8, 16, 3, 3), {"padding": 1}), "strided": ((2, 8, 9, 9), (16, 8, 3, 3), {"stride": 2}),
         "grouped": ((2, 8, 6, 6), (16, 2, 3, 3), {"groups": 4}), "depthwise": ((2, 16, 8, 8), (16, 1, 3, 3), {"groups": 16}),
         "dilated": ((2, 8, 9, 9), (8, 8, 3, 3), {"dilation": 2}), "odd": ((3, 3, 7, 5), (5, 3, 2, 3), {}),
         "even, same": ((2, 8, 6, 6), (8, 8, 2, 4), {"padding": "same"})}


def worst(ours: Any, expected: Any) -> float:
    """The largest difference, in units of the largest expected element."""
    pairs = [(a.float(), b.float()) for a, b in zip(ours, expected)]
    return max(float((a - b).abs().max()) / max(float(b.abs().max()), 1e-6) for a, b in pairs)


def with_gradients(fn: Callable[..., Any], inputs: list) -> list:
    """A function's value and the gradients of its inputs."""
    leaves = [t.detach().requires_grad_() for t in inputs]
    out = fn(*leaves)
    return [out.detach(), *engine.autograd.grad(out, leaves, engine.ones_like(out))]


@fact("cuDNN")
def cudnn_is_there() -> dict:
    lib = cudnn.library()
    if lib is None:
        return {"library": None}
    return {"frontend": getattr(lib, "__version__", "?"), "library": lib.backend_version(),
            "handle": outcome(lib.create_handle), "raw pointers": hasattr(lib.pygraph, "_execute_with_raw_ptrs")}


@fact("cuDNN convolutions beside the ordinary form")
def convolutions() -> dict:
    found: dict[str, Any] = {}
    for name, (x_shape, w_shape, options) in KINDS.items():
        for dtype in ("float64", "float32", "float16", "bfloat16"):
            for last in (False, True):
                x, w = (engine.randn(*s, device="cuda").to(getattr(engine, dtype)) for s in (x_shape, w_shape))
                if last:
                    x, w = (t.to(memory_format=LAST) for t in (x, w))
                found[f"{name} {dtype}{' channels last' if last else ''}"] = outcome(
                    lambda: round(_against_the_ordinary_form(x, w, options), 6))  # noqa: B023 - called at once
    found["no plan"] = [str(at[-1])[:300] for at, plan in cudnn._plans.items() if plan is None]
    return found


def _against_the_ordinary_form(x: Any, w: Any, options: dict) -> float:
    def conv(x: Any, w: Any) -> Any:
        return F.conv2d(x, w, **options)

    with engine.backends.cudnn.flags(enabled=True, allow_tf32=False):
        ours = with_gradients(conv, [x, w])
    with engine.backends.cudnn.flags(enabled=False):
        return worst(ours, with_gradients(conv, [x, w]))


@fact("cuDNN attention beside the ordinary form")
def attention() -> dict:
    found = {}
    for dtype in ("float16", "bfloat16"):
        q, k, v = (engine.randn(2, 4, n, 64, device="cuda").to(getattr(engine, dtype)) for n in (65, 70, 70))
        seen = engine.rand(2, 1, 65, 70, device="cuda") > 0.3
        seen[0, 0, 3] = False
        for name, options in (("plain", {}), ("causal", {"is_causal": True}), ("mask", {"attn_mask": seen})):
            def attend(q: Any, k: Any, v: Any) -> Any:
                return F.scaled_dot_product_attention(q, k, v, **options)  # noqa: B023 - called at once

            ours = with_gradients(attend, [q, k, v])
            with engine.backends.cudnn.flags(enabled=False):
                found[f"{name} {dtype}"] = round(worst(ours, with_gradients(attend, [q, k, v])), 6)
    return found


def conv_step(lib: Any, case: tuple, dtype: str, last: bool) -> Callable[[], Any]:
    """A convolution of ResNet-50 with its gradients."""
    channels, size, out, kernel, stride = case
    n = 64
    if sized(8192) == 64:
        n, size, channels, out = 1, min(size, 4), min(channels, 4), min(out, 4)
    x = lib.randn(n, channels, size, size, device="cuda").to(getattr(lib, dtype))
    w = lib.randn(out, channels, kernel, kernel, device="cuda").to(getattr(lib, dtype))
    if last:
        x, w = (t.to(memory_format=lib.channels_last) for t in (x, w))
    x.requires_grad_()
    w.requires_grad_()
    y = lib.nn.functional.conv2d(x, w, None, stride, kernel // 2)
    g = lib.ones_like(y)
    return lambda: lib.autograd.grad(lib.nn.functional.conv2d(x, w, None, stride, kernel // 2), [x, w], g)


def beside_torch(make: Callable[[Any], Callable[[], Any]]) -> dict:
    """Milliseconds of a step, ours and torch's."""
    found = {"ours": outcome(lambda: round(milliseconds(make(engine)), 3))}
    torch = peer()
    if torch is not None:
        found["torch"] = outcome(lambda: round(milliseconds(make(torch)), 3))
    return found


@fact("ResNet-50's convolutions, ms forward and backward")
def resnet_convolutions() -> dict:
    found = {}
    for case in RESNET:
        for dtype, last in (("bfloat16", True), ("float32", False)):
            found[f"{case} {dtype}{' channels last' if last else ''}"] = beside_torch(
                lambda lib: conv_step(lib, case, dtype, last))  # noqa: B023 - called at once
    engine.backends.cudnn.benchmark = True
    try:
        found["benchmark, 64 -> 64, 3 x 3"] = beside_torch(lambda lib: conv_step(lib, RESNET[2], "bfloat16", True))
    finally:
        engine.backends.cudnn.benchmark = False
    return found


def norm_step(lib: Any, last: bool) -> Callable[[], Any]:
    n, size = (64, 56) if sized(8192) > 64 else (2, 4)
    x = lib.randn(n, 64, size, size, device="cuda").bfloat16()
    x = (x.to(memory_format=lib.channels_last) if last else x).requires_grad_()
    w, b, mean, var = (lib.ones(64, device="cuda") for _ in range(4))
    g = lib.ones_like(x)
    return lambda: lib.autograd.grad(lib.nn.functional.batch_norm(x, mean, var, w, b, True), [x], g)


def attention_step(lib: Any) -> Callable[[], Any]:
    length = sized(1024)
    q, k, v = (lib.randn(4, 12, length, 64, device="cuda").bfloat16().requires_grad_() for _ in range(3))
    g = lib.ones_like(q)
    return lambda: lib.autograd.grad(lib.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=True), [q, k, v], g)


@fact("batch norm and attention, ms forward and backward")
def norms_and_attention() -> dict:
    x, w = engine.randn(1, 8, 8, 8, device="cuda"), engine.randn(8, 8, 3, 3, device="cuda")
    return {"batch norm, 64 channels of 56 x 56": beside_torch(lambda lib: norm_step(lib, False)),
            "the same, channels last": beside_torch(lambda lib: norm_step(lib, True)),
            "attention, GPT-2, context 1024": beside_torch(attention_step),
            "host us per small convolution": outcome(lambda: microseconds(lambda: F.conv2d(x, w), 50))}
