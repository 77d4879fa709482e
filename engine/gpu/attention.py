"""Scaled dot-product attention of half precision by cuDNN: no scores in memory, forward or backward (Dao et al. 2022).

Heads may lie where they are: (N, L, heads, E) seen as (N, heads, L, E) needs no copy. A mask is added to the scores, forbidden
ones as a large negative number, because rows of minus infinity would give NaN; what rows that may see nothing give is zero.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backend
from . import cudnn
from .card import Aux, Kernel

switches = SimpleNamespace(enabled=True)  # `torch.backends.cuda.enable_cudnn_sdp`
_LOWEST = {"float16": -6e4, "bfloat16": -1e30}  # far below any score, and far enough from infinity for their sum
_APART = 8  # elements that strides are a multiple of


def _options(lib: Any, key: cudnn.Key, bias: Sequence) -> dict[str, Any]:
    scale, causal = key.params
    found: dict[str, Any] = {"attn_scale": scale}
    if causal:
        found.update(diagonal_alignment=lib.diagonal_alignment.TOP_LEFT, diagonal_band_right_bound=0)
    if bias:
        found["bias"] = bias[0]
    return found


@cudnn.describes("attention")
def _forward(lib: Any, graph: Any, key: cudnn.Key, tensors: Sequence) -> Sequence:
    q, k, v, *bias = tensors
    return graph.sdpa(q=q, k=k, v=v, generate_stats=True, **_options(lib, key, bias))


@cudnn.describes("attention gradients")
def _backward(lib: Any, graph: Any, key: cudnn.Key, tensors: Sequence) -> Sequence:
    q, k, v, out, g, logs, *bias = tensors
    return graph.sdpa_backward(q=q, k=k, v=v, o=out, dO=g, stats=logs, use_deterministic_algorithm=key.deterministic,
                               **_options(lib, key, bias))


# -- arrays -----------------------------------------------------------------------------------------------------------


def _four(a: Any) -> Any:
    """(L, E) and (N, L, E) with four dimensions."""
    return a.reshape(*[1] * (4 - a.ndim), *a.shape) if a.ndim < 3 else a[:, None] if a.ndim == 3 else a


def _operand(gpu: Any, a: Any) -> cudnn.Operand:
    """The array where it lies, if its rows lie in one piece and apart as cuDNN wants them; otherwise a copy."""
    item = a.itemsize
    apart = [s // item for n, s in zip(a.shape[:3], a.strides) if n > 1]
    if (a.strides[3] != item and a.shape[3] > 1) or any(s <= 0 or s % _APART for s in apart):
        a = gpu.ascontiguousarray(a)
    rows = (a.shape[1] * a.shape[2] * a.shape[3], a.shape[2] * a.shape[3], a.shape[3], 1)
    return cudnn.operand(a, a.shape, tuple([s // item if n > 1 else r for n, s, r in zip(a.shape, a.strides, rows)]))


def _new(gpu: Any, like: Any, width: int) -> Any:
    """A new array (N, heads, L, width), heads inside of L where they are so in `like`."""
    n, heads, length, _ = like.shape
    if heads > 1 and like.strides[1] < like.strides[2]:
        return gpu.empty((n, length, heads, width), like.dtype).transpose(0, 2, 1, 3)
    return gpu.empty((n, heads, length, width), like.dtype)


def _bias(gpu: Any, mask: Any, dtype: Any, keys: int) -> tuple[Any, Any]:
    """(what is added to the scores, whether rows may see anything: 1 or 0) of a mask, with four dimensions."""
    low = np.float32(_LOWEST[dtype.name])
    if mask.dtype.kind == "b":
        seen, values = mask, gpu.where(mask, np.float32(0), low)
    else:
        wide = mask.astype(np.float32)
        seen, values = wide > low, gpu.maximum(wide, low)
    alive = seen.any(axis=-1, keepdims=True).astype(dtype)
    values = values.astype(dtype)
    if values.shape[-1] != keys:
        values = gpu.ascontiguousarray(gpu.broadcast_to(values, (*values.shape[:-1], keys)))
    return tuple([a.reshape(*[1] * (4 - a.ndim), *a.shape) for a in (values, alive)])  # type: ignore[return-value]


def _plain(a: Any) -> cudnn.Operand:
    """A new array in rows."""
    rows = (a.shape[1] * a.shape[2] * a.shape[3], a.shape[2] * a.shape[3], a.shape[3], 1)
    return cudnn.operand(a, a.shape, rows)


class Attention(Kernel):
    """`scaled_dot_product_attention` without dropout. Leaves its output, the logarithms of its sums, and its mask."""

    def forward(self, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, kept: Any, keep_scale: float) -> Any:
        lead = q.shape[:-2]
        if kept is not None or not switches.enabled or not cudnn.available() or q.dtype.name not in _LOWEST:
            return NotImplemented
        if q.ndim > 4 or not lead == k.shape[:-2] == v.shape[:-2] or q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2] \
                or not (q.size and k.size and v.size) or (mask is not None and mask.ndim not in (2, q.ndim)):
            return NotImplemented
        gpu, (q4, k4, v4) = backend.gpu(), (_four(a) for a in (q, k, v))
        bias, alive = (None, None) if mask is None else _bias(gpu, _four(mask), q.dtype, k.shape[-2])
        out, logs = _new(gpu, q4, v.shape[-1]), gpu.empty((*q4.shape[:3], 1), np.float32)
        inputs = [*[_operand(gpu, a) for a in (q4, k4, v4)], *([] if bias is None else [_plain(bias)])]
        if not cudnn.run("attention", inputs, [_operand(gpu, out), _plain(logs)], float(scale), bool(causal)):
            return NotImplemented
        if alive is not None:
            gpu.multiply(out, alive, out=out)
        return out.reshape(*lead, q.shape[-2], v.shape[-1]) if q.ndim < 4 else out, Aux((out, logs, bias, alive))

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux or node.needs[3]:
            return NotImplemented
        (q, k, v, _), (out, logs, bias, alive) = node.raw_inputs, node.aux
        scale, causal, *_ = node.params
        gpu, (q4, k4, v4, g4) = backend.gpu(), (_four(a) for a in (q, k, v, g))
        if alive is not None:
            g4 = g4 * alive
        made = [_new(gpu, a, a.shape[3]) for a in (q4, k4, v4)]
        inputs = [*[_operand(gpu, a) for a in (q4, k4, v4, out, g4)], _plain(logs), *([] if bias is None else [_plain(bias)])]
        if not cudnn.run("attention gradients", inputs, [_operand(gpu, a) for a in made], float(scale), bool(causal)):
            return NotImplemented
        return *[a.reshape(x.shape) if need else None for a, x, need in zip(made, (q, k, v), node.needs)], None
