"""Scaled dot-product attention as one operator: softmax(q k^T * scale + mask) v (Vaswani et al. 2017)."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..gpu import attention as by_cudnn
from ..gpu.card import Aux
from ..pool import LARGE
from ..tensor import Tensor, wrap
from . import _attention_blocks, _attention_compiled
from .base import Op, expect_tensor, op
from .casting import casting, lower
from .dropout import check_probability, keep_mask

BLOCK = 1 << 17  # scores worked on at a time, so that the passes of a softmax stay in cache


def _softmax(xp: Any, scores: Any) -> None:
    """Softmax over the last dimension, in place; rows that are minus infinity throughout give zeros."""
    if not scores.size:
        return
    top = scores.max(axis=-1, keepdims=True)
    top[top == -math.inf] = 0
    scores -= top
    xp.exp(scores, out=scores)
    total = scores.sum(axis=-1, keepdims=True)
    total[total == 0] = 1
    scores /= total


def _blocks(scores: Any) -> list[slice]:
    """Slices of the first dimension with about BLOCK scores each; a matrix of scores is one block."""
    n = scores.shape[0]
    step = n if scores.ndim < 3 else max(1, BLOCK * n // max(scores.size, 1))
    return [slice(start, start + step) for start in range(0, n, step)] if n else []


def _is_many(q: Any, k: Any, v: Any) -> bool:
    """Whether the scores are many, and queries, keys and values have the same heads."""
    lead = q.shape[:-2]
    many = type(q) is np.ndarray and math.prod(lead) * q.shape[-2] * k.shape[-2] >= LARGE
    return many and lead == k.shape[:-2] == v.shape[:-2] and len(lead) > 0


def _in_blocks(q: Any, k: Any, mask: Any, params: tuple) -> _attention_blocks.Blocks:
    scale, causal, kept, keep_scale = params
    shape, four = (*q.shape[:-1], k.shape[-2]), _attention_blocks.four
    masks = [None if m is None else four(np.broadcast_to(m, shape)) for m in (mask, kept)]
    return _attention_blocks.Blocks(four(q), four(k), masks[0], scale, causal, masks[1], keep_scale)


@op("scaled_dot_product_attention", function=False, method=False, functional=True)
class Attention(Op):
    """softmax(query key^T * scale + mask) value, with dropout on the attention weights.

    Shapes: query (..., L, E), key (..., S, E), value (..., S, Ev); `attn_mask` broadcasts to (..., L, S): booleans,
    True where attention is allowed, or floats that are added. `is_causal` allows position i to see positions up to i,
    instead of a mask. `scale` defaults to 1 / sqrt(E). `dropout_p` applies always: pass 0 outside of training. With
    `enable_gqa` the query may have a multiple of the heads (dimension -3) of key and value. Rows that may see nothing
    give zeros. Raises RuntimeError for shapes or dtypes that do not fit.

    >>> q = torch.tensor([[1., 0.], [0., 1.]])
    >>> nn.functional.scaled_dot_product_attention(q, q, q, is_causal=True)
    tensor([[1.0000, 0.0000],
            [0.3302, 0.6698]])
    """

    n = 4
    keep = (0, 1, 2, 3)
    has_aux = True
    gpu = by_cudnn.Attention()

    @staticmethod
    def forward(
        xp: Any, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, kept: Any, keep_scale: float
    ) -> tuple:
        four = _attention_blocks.four
        if mask is None and kept is None and _attention_compiled.usable(q, k, v):
            out, logs = _attention_compiled.forward(four(q), four(k), four(v), scale, causal)
            out = out.reshape(*q.shape[:-1], v.shape[-1]) if q.ndim != 4 else out
            return out, (out, logs)
        if _is_many(q, k, v):
            blocks = _in_blocks(q, k, mask, (scale, causal, kept, keep_scale))
            out, logs = _attention_blocks.forward(blocks, four(v))
            out = out.reshape(*q.shape[:-1], v.shape[-1]) if q.ndim != 4 else out
            return out, (out, logs)
        out, weights = Attention.plain(xp, q, k, v, mask, scale, causal, kept, keep_scale)
        return out, weights

    @staticmethod
    def plain(
        xp: Any, q: Any, k: Any, v: Any, mask: Any, scale: float, causal: bool, kept: Any, keep_scale: float
    ) -> tuple:
        """(output, weights) in one piece."""
        weights = xp.matmul(q * q.dtype.type(scale), k.swapaxes(-1, -2))
        if mask is not None:
            shut = weights.dtype.type(-math.inf)
            weights = xp.where(mask, weights, shut) if mask.dtype.kind == "b" else weights + mask
        future = None
        if causal:
            allowed = xp.tri(weights.shape[-2], weights.shape[-1], dtype=bool)
            future = xp.where(allowed, weights.dtype.type(0), weights.dtype.type(-math.inf))
        flat = weights.reshape(math.prod(weights.shape[:-2]), *weights.shape[-2:])
        for block in _blocks(flat):
            scores = flat[block]
            if future is not None:
                scores += future
            _softmax(xp, scores)
        dropped = weights if kept is None else weights * (kept * weights.dtype.type(keep_scale))
        return xp.matmul(dropped, v), weights

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        q, k, v, mask = s.inputs
        if s.needs[3] and type(s.aux) is tuple or type(s.aux) is Aux:  # the weights were not kept
            weights = Attention.plain(backend.namespace(q), q, k, v, mask, *s.params)[1]
            return Attention.gradients(xp, s, g, weights)
        if type(s.aux) is not tuple:
            return Attention.gradients(xp, s, g, s.aux)
        out, logs = s.aux
        four, (scale, causal, kept, _) = _attention_blocks.four, s.params
        if mask is None and kept is None and _attention_compiled.usable(q, k, v):
            found = _attention_compiled.backward(four(q), four(k), four(v), four(out), logs, four(g), scale, causal)
            found = [d if need else None for d, need in zip(found, s.needs)]
        else:
            found = _attention_blocks.backward(_in_blocks(q, k, mask, s.params), four(v), four(out), logs, four(g), s.needs[:3])
        return *[None if d is None else d.reshape(x.shape) for d, x in zip(found, (q, k, v))], None

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        q, k, _, mask = s.inputs
        scale, causal, _, _ = s.params
        scores = (q * scale) @ k.swapaxes(-1, -2)
        shut = None
        if mask is not None and mask._array.dtype.kind == "b":
            shut = ~mask._array
        elif mask is not None:
            scores = scores + mask
        if causal:
            future = ~np.tri(scores.shape[-2], scores.shape[-1], dtype=bool)
            shut = future if backend.namespace(q._array) is np else backend.namespace(q._array).asarray(future)
        if shut is not None:
            scores = xp.where(shut, scores * 0 - math.inf, scores)
        return cls.gradients(xp, s, g, xp._softmax(scores, len(scores.shape) - 1))

    @staticmethod
    def gradients(xp: Any, s: Any, g: Any, weights: Any) -> tuple:
        q, k, v, mask = s.inputs
        scale, _, kept, keep_scale = s.params
        need_q, need_k, need_v, need_mask = s.needs
        gv = None
        if need_v:
            dropped = weights if kept is None else xp._dropout(weights, kept, keep_scale, None, None)
            gv = dropped.swapaxes(-1, -2) @ g
        if not (need_q or need_k or need_mask):
            return None, None, gv, None
        h = g @ v.swapaxes(-1, -2)
        if kept is not None:
            h = xp._dropout(h, kept, keep_scale, None, None)
        h = weights * h
        scores = h - weights * xp.sum(h, (len(h.shape) - 1,), True, None)
        return (
            (scores @ k) * scale if need_q else None,
            (scores.swapaxes(-1, -2) @ q) * scale if need_k else None,
            gv,
            scores if need_mask else None,
        )

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        shapes = ", ".join(
            f"{name} {list(t.shape)}"
            for name, t in zip(("query", "key", "value", "attn_mask"), tensors)
            if t is not None
        )
        return RuntimeError(
            f"scaled_dot_product_attention(): expected query (..., L, E), key (..., S, E), value (..., S, Ev) "
            f"and a mask that broadcasts to (..., L, S), got {shapes}"
        )

    @staticmethod
    def call(
        query: Tensor,
        key: Tensor,
        value: Tensor,
        attn_mask: Tensor | None = None,
        dropout_p: float = 0.0,
        is_causal: bool = False,
        scale: float | None = None,
        enable_gqa: bool = False,
    ) -> Tensor:
        if casting.on:
            query, key, value, attn_mask = lower(query, key, value, attn_mask)
        q = expect_tensor(query, "scaled_dot_product_attention", "query")._array
        k, v = key._array, value._array
        if q.ndim < 2 or k.ndim < 2 or v.ndim < 2:
            raise RuntimeError(
                "Expected query, key, and value to all be at least 2 dimensional, but got query.dim(): "
                f"{q.ndim}, key.dim(): {k.ndim} and value.dim(): {v.ndim} instead."
            )
        if q.dtype != k.dtype or q.dtype != v.dtype:
            raise RuntimeError(
                "Expected query, key, and value to have the same dtype, but got query.dtype: "
                f"{query.dtype} key.dtype: {key.dtype} and value.dtype: {value.dtype} instead."
            )
        if attn_mask is not None and is_causal:  # both forbid
            allowed = wrap(np.tri(query.shape[-2], key.shape[-2], dtype=bool)).to(query.device)  # type: ignore[attr-defined]
            both = attn_mask & allowed if attn_mask.dtype is dtypes.bool_ else attn_mask.masked_fill(~allowed, -math.inf)  # type: ignore[attr-defined, operator]
            attn_mask, is_causal = both, False
        if attn_mask is not None and attn_mask._array.dtype.kind != "b" and attn_mask._array.dtype != q.dtype:
            raise RuntimeError(
                "Expected attn_mask dtype to be bool or float or to match query dtype, but got attn_mask.dtype: "
                f"{attn_mask.dtype} and  query.dtype: {query.dtype} instead."
            )
        if enable_gqa:
            key, value = _share_heads(query, key), _share_heads(query, value)
        check_probability(dropout_p)
        kept = None
        if dropout_p > 0:
            lead = np.broadcast_shapes(q.shape[:-2], key._array.shape[:-2])
            kept = keep_mask(q, dropout_p, (*lead, q.shape[-2], k.shape[-2]))
        scale = 1 / math.sqrt(q.shape[-1] or 1) if scale is None else scale
        return Attention.apply(
            query, key, value, attn_mask, scale, is_causal, kept, 1 / (1 - dropout_p) if dropout_p < 1 else 0.0
        )

    @staticmethod
    def samples(make: Any) -> Any:
        def case(q: tuple, k: tuple, v: tuple, *more: Any, **options: Any) -> Any:
            return make(
                "scaled_dot_product_attention",
                make.uniform(q),
                make.uniform(k),
                make.uniform(v),
                *more,
                _module="nn.functional",
                **options,
            )

        yield case((2, 3, 4), (2, 5, 4), (2, 5, 2))
        yield case((1, 2, 3, 4), (1, 2, 3, 4), (1, 2, 3, 4), is_causal=True)
        yield case((2, 3, 4), (2, 5, 4), (2, 5, 4), make.uniform((3, 5)), scale=0.3)
        mask = make.bools((2, 1, 3, 5))
        mask.values[..., 0] = True
        yield case((2, 2, 3, 4), (2, 2, 5, 4), (2, 2, 5, 4), mask)
        yield case((1, 4, 3, 2), (1, 2, 3, 2), (1, 2, 3, 2), enable_gqa=True)
        yield case((3, 4), (2, 4), (2, 4))


def _share_heads(query: Tensor, other: Tensor) -> Tensor:
    """Key or value with its heads repeated up to the number of the query's; RuntimeError if that is no multiple."""
    heads, have = query.shape[-3], other.shape[-3]
    if have == 0 or heads % have:
        raise RuntimeError(
            "Number of heads in key and value must divide the number of heads in query when enable_gqa=True, "
            f"but got {have} and {heads}"
        )
    return other if heads == have else other.repeat_interleave(heads // have, -3)  # type: ignore[attr-defined]
