"""Which operators autocast runs in which dtype, and the casts themselves (the context is `engine.amp.autocast`).

Three policies, with torch's lists for CPU (`torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCPU")`):
- `lower`: products and convolutions, in autocast's dtype. Each of them begins with `if casting.on: ... = lower(...)`;
- `widest`: `cat`, `stack` and `index_copy`, in the widest floating dtype among their tensors;
- float32: what loses too much in half precision. `install` wraps the public functions named in `FLOAT32`.

`casting.on` is false unless some thread is inside an autocast context, so that reading it is all that autocast costs
programs that do not use it. Everything else is per thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.graph import AccumulateGrad
from ..autograd.modes import state as modes
from ..dtypes import bfloat16, dtype, float16, float32
from ..tensor import Tensor

BF16, F16, F32 = dtypes.BF16, dtypes.F16, dtypes.F32

_NAMES = """
    adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy binary_cross_entropy_with_logits cdist
    cholesky cholesky_inverse cholesky_solve cosine_embedding_loss cross_entropy ctc_loss fractional_max_pool2d
    fractional_max_pool3d geqrf grid_sample grid_sampler grid_sampler_2d grid_sampler_3d hinge_embedding_loss huber_loss
    inverse kl_div l1_loss lu_solve margin_ranking_loss max_unpool2d max_unpool3d mse_loss multi_margin_loss
    multilabel_margin_loss nanquantile nll_loss orgqr ormqr pinverse poisson_nll_loss polar prod qr quantile
    smooth_l1_loss soft_margin_loss stft svd trace triangular_solve triplet_margin_loss view_as_complex
"""
FLOAT32 = frozenset(_NAMES.split())


class _Casting(threading.local):
    """Autocast's state in one thread; class attributes are the defaults of every new thread."""

    enabled: frozenset = frozenset()  # types of devices
    cache_enabled = True
    nesting = 0

    def __init__(self) -> None:
        self.dtypes = {"cpu": bfloat16, "cuda": float16}
        self.cache: dict[tuple, tuple] = {}  # casts of parameters: each is made once per outermost context


class _Switch:
    """`on`: whether autocast is enabled on any device in any thread."""

    __slots__ = ("on", "lock")

    def __init__(self) -> None:
        self.on, self.lock = 0, threading.Lock()


state = _Casting()
casting = _Switch()


def enable(device_type: str, enabled: bool) -> None:
    """Switch autocast for a type of device in this thread."""
    before = state.enabled
    state.enabled = before | {device_type} if enabled else before - {device_type}
    with casting.lock:
        casting.on += bool(state.enabled) - bool(before)


def _eligible(value: Any) -> bool:
    """Whether autocast may cast this: a tensor of a floating dtype below float64 on a device where it is enabled."""
    if not isinstance(value, Tensor):
        return False
    d = value._array.dtype
    return (d is F32 or d is BF16 or d is F16) and value.device.type in state.enabled


def _lowered(value: Any) -> Any:
    if not _eligible(value):
        return value
    to = state.dtypes[value.device.type]
    if value._array.dtype is to.np:
        return value
    if type(value._node) is AccumulateGrad and value._view is None and value._array.dtype is F32 and state.cache_enabled:
        return _remembered(value, to)
    return value.to(to)  # type: ignore[attr-defined]


def _remembered(leaf: Tensor, to: dtype) -> Tensor:
    key = (id(leaf), to, modes.grad)
    found = state.cache.get(key)
    if found is None or found[1] != leaf._version:
        found = state.cache[key] = (leaf, leaf._version, leaf.to(to))  # type: ignore[attr-defined]
    return found[2]


def lower(*values: Any) -> tuple:
    """Tensors that are eligible in autocast's dtype; everything else as it is."""
    if not state.enabled:
        return values
    return tuple([_lowered(v) for v in values])


def widest(tensors: Sequence) -> Sequence:
    """Eligible tensors in float32 if one of them is, else unchanged. RuntimeError for a half dtype not autocast's own."""
    found = [t for t in tensors if _eligible(t)] if state.enabled else []
    if any(t._array.dtype is F32 for t in found):
        return [_cast(t, float32) for t in tensors]
    for t in found:
        if t.dtype is not state.dtypes[t.device.type]:
            raise RuntimeError(f"Unexpected floating ScalarType in autocast: {t.dtype}, expected float32 or "
                               f"{state.dtypes[t.device.type]}")
    return tensors


def _cast(value: Any, to: dtype) -> Any:
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_cast(v, to) for v in value)
    return value.to(to) if _eligible(value) else value


def in_float32(call: Callable) -> Callable:
    """`call` with its eligible tensors cast to float32 wherever autocast is enabled, and autocast off inside it."""

    @functools.wraps(call)
    def cast_first(*args: Any, **kwargs: Any) -> Any:
        if not casting.on or not state.enabled or kwargs.get("out") is not None:
            return call(*args, **kwargs)
        args = _cast(args, float32)
        kwargs = {name: _cast(value, float32) for name, value in kwargs.items()}
        return without(call, args, kwargs)

    return cast_first


def without(call: Callable, args: Sequence, kwargs: dict) -> Any:
    """`call(*args, **kwargs)` with autocast off in this thread."""
    before, state.enabled = state.enabled, frozenset()
    try:
        return call(*args, **kwargs)
    finally:
        state.enabled = before
