"""LSTM and GRU layers on a GPU: products by cuBLASLt, and one kernel for all that is pointwise in a step.

The products of all inputs are one; the gradients of weights as well, because a step's gradients are stored side by side.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from .card import Aux, Kernel, contiguous
from .gemm import matmul
from .kernels import NULL, over_elements, suffix
from .reductions import columns


class RecurrentLayer(Kernel):
    """One layer in one direction: x (rows, I) in packed time order, states (B, H), and steps of (first row, count)."""

    many = True  # several outputs

    def _forward(self, gpu: Any, end: str, x: Any, h: Any, c0: Any, weights: tuple, steps: list) -> Any:
        """[outputs, final states ...] and what `_backward` needs; `h` may be written to."""
        raise NotImplementedError

    def _backward(self, gpu: Any, end: str, g: Any, states: list, node: Any) -> tuple:
        """The gradients of all inputs from those of the outputs (None for none) and of the states, which may be written to."""
        raise NotImplementedError

    def forward(self, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, steps: list,
                relu: bool) -> Any:  # fmt: skip
        given = [a for a in (x, h0, c0, w_ih, w_hh, b_ih, b_hh) if a is not None]
        end = suffix(x.dtype)
        if w_hr is not None or end is None or not x.size or not h0.size or any(a.dtype != x.dtype for a in given):
            return NotImplemented
        gpu = backend.gpu()
        x, h = contiguous(gpu, x), contiguous(gpu, h0).copy()
        return self._forward(gpu, end, x, h, c0, (w_ih, w_hh, b_ih, b_hh), steps)

    def backward(self, node: Any, g: Any) -> Any:
        if type(node.aux) is not Aux:
            return NotImplemented
        _, h0, c0, *_ = node.raw_inputs
        gpu, dtype = backend.gpu(), node.dtype
        gradients = [None if d is None else contiguous(gpu, d.astype(dtype, copy=False)) for d in g]
        states = [gpu.zeros(s.shape, dtype) if d is None else d.copy() for d, s in zip(gradients[1:], (h0, c0))]
        return self._backward(gpu, suffix(dtype) or "", gradients[0], states, node)


class Lstm(RecurrentLayer):
    """`_lstm_layer` without projection."""

    def _forward(self, gpu: Any, end: str, x: Any, h: Any, c0: Any, weights: tuple, steps: list) -> Any:
        w_ih, w_hh, b_ih, b_hh = weights
        rows, hidden, c = len(x), h.shape[1], contiguous(gpu, c0).copy()
        sums = matmul(x, w_ih.T, None if b_ih is None else b_ih + b_hh)
        out, h_before, c_before = (gpu.empty((rows, hidden), x.dtype) for _ in range(3))
        for at, n in steps:
            span = slice(at, at + n)
            over_elements(f"lstm_step_{end}", n * hidden, sums[span], matmul(h[:n], w_hh.T), h, c, h_before[span],
                          c_before[span], out[span], np.int64(n), np.int32(hidden))
        return [out, h, c], Aux((sums, h_before, c_before))

    def _backward(self, gpu: Any, end: str, g: Any, states: list, node: Any) -> tuple:
        (x, _, _, w_ih, w_hh, *_), steps = node.raw_inputs, node.params[0]
        (dh, dc), (sums, h_before, c_before), hidden = states, node.aux, w_hh.shape[1]
        pre = sums.copy()  # the graph may be kept for another backward
        for at, n in reversed(steps):
            span = slice(at, at + n)
            over_elements(f"lstm_step_backward_{end}", n * hidden, pre[span], c_before[span], NULL if g is None else g[span],
                          dh, dc, np.int64(n), np.int32(hidden))
            dh[:n] = matmul(pre[span], w_hh)
        dx, di, dr, db = _weights(node.needs, pre, pre, x, h_before, w_ih)
        return dx, dh, dc, di, dr, db, db, None


class Gru(RecurrentLayer):
    """`_gru_layer`."""

    def _forward(self, gpu: Any, end: str, x: Any, h: Any, c0: Any, weights: tuple, steps: list) -> Any:
        w_ih, w_hh, b_ih, b_hh = weights
        rows, hidden = len(x), h.shape[1]
        sums = matmul(x, w_ih.T, b_ih)
        out, h_before, inner = (gpu.empty((rows, hidden), x.dtype) for _ in range(3))
        for at, n in steps:
            span = slice(at, at + n)
            over_elements(f"gru_step_{end}", n * hidden, sums[span], matmul(h[:n], w_hh.T, b_hh), h, h_before[span],
                          inner[span], out[span], np.int64(n), np.int32(hidden))
        return [out, h], Aux((sums, h_before, inner))

    def _backward(self, gpu: Any, end: str, g: Any, states: list, node: Any) -> tuple:
        (x, _, _, w_ih, w_hh, *_), steps = node.raw_inputs, node.params[0]
        (direct,), (sums, h_before, inner), hidden = states, node.aux, w_hh.shape[1]
        pre, products = sums.copy(), gpu.empty(sums.shape, sums.dtype)
        dh = gpu.zeros(direct.shape, direct.dtype)
        for at, n in reversed(steps):
            span = slice(at, at + n)
            over_elements(f"gru_step_backward_{end}", n * hidden, pre[span], h_before[span], inner[span],
                          NULL if g is None else g[span], dh, direct, products[span], np.int64(n), np.int32(hidden))
            dh[:n] = matmul(products[span], w_hh)
        dx, di, dr, db = _weights(node.needs, pre, products, x, h_before, w_ih)
        return dx, dh + direct, None, di, dr, db, columns(products, *products.shape) if node.needs[6] else None, None


def _weights(needs: tuple, from_x: Any, from_h: Any, x: Any, h_before: Any, w_ih: Any) -> tuple:
    """Gradients of the inputs, of both weights and of the inputs' bias, from those of the sums of all steps."""
    return (matmul(from_x, w_ih) if needs[0] else None, matmul(from_x.T, x) if needs[3] else None,
            matmul(from_h.T, h_before) if needs[4] else None, columns(from_x, *from_x.shape) if needs[5] else None)



