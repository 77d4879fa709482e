"""What the stand-in for cuDNN computes, in float32 or wider, with NumPy. `check`: only raise that for what has no kernels."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np


def _wide(*arrays: Any) -> list:
    return [a if a.dtype == np.float64 else a.astype(np.float32) for a in arrays]


def _positions(kernel: tuple, out: tuple, stride: list, dilation: list) -> Any:
    """Every place in the kernel, with the slices of the padded image that all windows have there."""
    for place in itertools.product(*[range(k) for k in kernel]):
        yield place, tuple(slice(p * d, p * d + s * (n - 1) + 1, s) for p, d, s, n in zip(place, dilation, stride, out))


def _padded(x: Any, pre: list, post: list) -> Any:
    return np.pad(x, [(0, 0), (0, 0), *zip(pre, post)])


def _grouped(a: Any, axis: int, groups: int) -> Any:
    return a.reshape(*a.shape[:axis], groups, a.shape[axis] // groups, *a.shape[axis + 1 :])


def _fits(check: Any, x: tuple, w: tuple, y: tuple | None, pre: list, post: list, stride: list, dilation: list) -> None:
    """Shapes that go with each other, as cuDNN wants them."""
    out = tuple((n + a + b - d * (k - 1) - 1) // s + 1
                for n, k, a, b, s, d in zip(x[2:], w[2:], pre, post, stride, dilation))
    if x[1] % w[1] or w[0] % (x[1] // w[1]) or (y is not None and y[2:] != out) or len(x) not in (4, 5):
        raise check("CUDNN_STATUS_BAD_PARAM_SHAPE_MISMATCH")


def fprop(x: Any, w: Any, pre_padding: list, post_padding: list, stride: list, dilation: list, shape: Any = None,
          check: Any = None) -> Any:
    if check:
        return _fits(check, x.shape, w.shape, None, pre_padding, post_padding, stride, dilation)
    x, w = _wide(x, w)
    groups = x.shape[1] // w.shape[1]
    x, w = _grouped(_padded(x, pre_padding, post_padding), 1, groups), _grouped(w, 0, groups)
    spatial = [(n - d * (k - 1) - 1) // s + 1 for n, k, s, d in zip(x.shape[3:], w.shape[3:], stride, dilation)]
    total: Any = 0
    for place, part in _positions(w.shape[3:], tuple(spatial), stride, dilation):
        total = total + np.einsum("ngc...,goc->ngo...", x[(..., *part)], w[(..., *place)])
    return [total.reshape(x.shape[0], -1, *spatial)]


def dgrad(g: Any, w: Any, pre_padding: list, post_padding: list, stride: list, dilation: list, shape: Any = None,
          check: Any = None) -> Any:
    if check:
        return None
    g, w = _wide(g, w)
    groups = shape[1] // w.shape[1]
    g, w = _grouped(g, 1, groups), _grouped(w, 0, groups)
    padded = [n + a + b for n, a, b in zip(shape[2:], pre_padding, post_padding)]
    out = np.zeros((shape[0], groups, w.shape[2], *padded), g.dtype)
    for place, part in _positions(w.shape[3:], g.shape[3:], stride, dilation):
        out[(..., *part)] += np.einsum("ngo...,goc->ngc...", g, w[(..., *place)])
    inside = tuple(slice(a, a + n) for n, a in zip(shape[2:], pre_padding))
    return [out.reshape(shape[0], shape[1], *padded)[(..., *inside)]]


def wgrad(x: Any, g: Any, pre_padding: list, post_padding: list, stride: list, dilation: list, shape: Any = None,
          check: Any = None) -> Any:
    if check:
        return None
    x, g = _wide(x, g)
    groups = x.shape[1] // shape[1]
    x, g = _grouped(_padded(x, pre_padding, post_padding), 1, groups), _grouped(g, 1, groups)
    out = np.zeros((groups, shape[0] // groups, *shape[1:]), x.dtype)
    for place, part in _positions(tuple(shape[2:]), g.shape[3:], stride, dilation):
        window = x[(..., *part)]
        flat = [a.reshape(*a.shape[:3], -1) for a in (g, window)]
        out[(..., *place)] = np.einsum("ngos,ngcs->goc", *flat)
    return [out.reshape(shape)]


def add(x: Any, b: Any, shape: Any = None, check: Any = None) -> Any:
    return None if check else [np.add(*_wide(x, b))]


def _attention_fits(check: Any, *tensors: Any) -> None:
    if any(t.dtype.itemsize != 2 or len(t.shape) != 4 for t in tensors) or any(t.shape[3] % 8 for t in tensors[:3]):
        raise check("hidden_dim should be multiple of 8, and elements half precision")
    if any(t.strides[3] != 1 for t in tensors):
        raise check("the stride for the last dimension corresponding to the embedding size per head should be 1")


def _weights(q: Any, k: Any, bias: Any, scale: float, causal: bool) -> Any:
    """(attention weights, logarithms of their sums)."""
    scores = q @ k.swapaxes(-1, -2) * np.float32(scale)
    if bias:
        scores = scores + bias[0]
    if causal:
        scores = np.where(np.tri(*scores.shape[-2:], dtype=bool), scores, np.float32(-math.inf))
    top = scores.max(-1, keepdims=True)
    logs = top + np.log(np.exp(scores - top).sum(-1, keepdims=True))
    return np.exp(scores - logs), logs


def attention(q: Any, k: Any, v: Any, *bias: Any, scale: float, causal: bool, shape: Any = None, check: Any = None) -> Any:
    if check:
        return _attention_fits(check, q, k, v)
    q, k, v, *bias = _wide(q, k, v, *bias)
    weights, logs = _weights(q, k, bias, scale, causal)
    return [weights @ v, logs]


def attention_gradients(q: Any, k: Any, v: Any, o: Any, g: Any, logs: Any, *bias: Any, scale: float, causal: bool,
                        shape: Any = None, check: Any = None) -> Any:
    if check:
        return _attention_fits(check, q, k, v, o, g)
    q, k, v, o, g, logs, *bias = _wide(q, k, v, o, g, logs, *bias)
    weights, again = _weights(q, k, bias, scale, causal)
    np.testing.assert_allclose(logs, again, rtol=2e-2, atol=2e-2, err_msg="not the statistics of these inputs")
    h = weights * (g @ v.swapaxes(-1, -2) - (g * o).sum(-1, keepdims=True)) * np.float32(scale)
    return [h @ k, h.swapaxes(-1, -2) @ q, weights.swapaxes(-1, -2) @ g]
