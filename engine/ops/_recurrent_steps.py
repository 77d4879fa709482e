"""The loops over time under recurrent.py: forward and backward through time of LSTM, GRU and plain RNN, on raw arrays.

Sequences come packed: the rows of all sequences at step 0, then at step 1, and so on, longest sequences first, so that
the n sequences that are still running are always the first n rows of the state. `steps` lists (first row, n) in the
order of processing (backwards for the reverse direction). The inputs of all steps are projected in one product before
the loop, and all weight gradients are one product after it: a step does only what depends on the step before.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import pool
from ._blocked import product

# Order of an LSTM's gates inside: the three that are sigmoids first, the three that act on the cell last (o, i, f, g).
# torch's order in the parameters is i, f, g, o.


def _one_blas_thread(loop: Callable) -> Callable:
    """A loop over time with one BLAS thread: its products are too small for several, which would only wait for each other."""

    @functools.wraps(loop)
    def limited(*args: Any) -> Any:
        with pool.blas_limit:
            return loop(*args)

    return limited


def lstm_rows(w: Any) -> Any:
    """Rows of an LSTM parameter from torch's order of gates to ours."""
    quarter = w.shape[0] // 4
    return w[[*range(3 * quarter, 4 * quarter), *range(3 * quarter)]]


def _torch_rows(w: Any) -> Any:
    quarter = w.shape[0] // 4
    return w[[*range(quarter, 4 * quarter), *range(quarter)]]


def _whole(xp: Any, a: Any, b: Any) -> Any:
    """A product over all steps at once: large enough for the engine's threads."""
    return product(a, b) if xp is np else xp.dot(a, b)


def project(xp: Any, x: Any, w: Any, *biases: Any) -> Any:
    """x @ w.T plus biases (None: none), for all steps at once."""
    out = _whole(xp, x, w.T)
    for b in biases:
        if b is not None:
            out += b
    return out


@_one_blas_thread
def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, final c, what backward needs)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    hidden = w_hh.shape[0] // 4
    bias = None if b_ih is None else lstm_rows(b_ih + b_hh)
    gates = project(xp, x, lstm_rows(w_ih), bias)
    gates[:, : 3 * hidden] *= 0.5  # sigmoid(v) = (1 + tanh(v / 2)) / 2, so that one tanh serves all four gates
    recurrent = xp.ascontiguousarray(lstm_rows(w_hh).T)
    recurrent[:, : 3 * hidden] *= 0.5
    cells, before = xp.empty((x.shape[0], hidden), x.dtype), xp.empty((x.shape[0], hidden), x.dtype)
    squashed = xp.empty_like(cells)
    out = xp.empty((x.shape[0], h0.shape[1]), x.dtype)
    h, c = h0.copy(), c0.copy()
    for at, n in steps:
        rows = slice(at, at + n)
        a = gates[rows]
        a += xp.dot(h[:n], recurrent)
        xp.tanh(a, out=a)
        sigmoids = a[:, : 3 * hidden]
        sigmoids *= 0.5
        sigmoids += 0.5
        before[rows] = c[:n]
        cell = xp.multiply(a[:, 2 * hidden : 3 * hidden], c[:n], out=cells[rows])
        cell += a[:, hidden : 2 * hidden] * a[:, 3 * hidden :]
        c[:n] = cell
        tanh_c = xp.tanh(cell, out=squashed[rows])
        if w_hr is None:
            h[:n] = xp.multiply(a[:, :hidden], tanh_c, out=out[rows])
        else:
            h[:n] = out[rows] = xp.dot(a[:, :hidden] * tanh_c, w_hr.T)
    return out, h, c, (gates, before, squashed)


@_one_blas_thread
def lstm_backward(
    xp: Any, g: tuple, x: Any, h_before: Any, weights: tuple, steps: list, saved: tuple, shapes: tuple
) -> tuple:
    """Gradients of (x, h0, c0, w_ih, w_hh, bias, w_hr) from those of (outputs, final h, final c)."""
    w_ih, w_hh, _, _, w_hr = weights
    gates, before, squashed = saved
    g_out, dh, dc = g
    hidden = w_hh.shape[0] // 4
    o, i, f, cand = [gates[:, k * hidden : (k + 1) * hidden] for k in range(4)]
    # d(pre-activation) = factor * dh for the output gate, and factor * dc for the other three
    factors = xp.empty_like(gates)
    factors[:, :hidden] = squashed * o * (1 - o)
    factors[:, hidden : 2 * hidden] = cand * i * (1 - i)
    factors[:, 2 * hidden : 3 * hidden] = before * f * (1 - f)
    factors[:, 3 * hidden :] = i * (1 - cand * cand)
    into_cell = o * (1 - squashed * squashed)
    recurrent = lstm_rows(w_hh)
    pre = xp.empty_like(gates)
    states: Any = xp.zeros((x.shape[0], shapes[0]), x.dtype) if w_hr is not None else None
    for at, n in reversed(steps):
        rows = slice(at, at + n)
        d = dh[:n] + g_out[rows] if g_out is not None else dh[:n].copy()
        if w_hr is not None:
            states[rows] = d
            d = xp.dot(d, w_hr)
        cell = dc[:n]
        cell += d * into_cell[rows]
        block = pre[rows]
        xp.multiply(d, factors[rows, :hidden], out=block[:, :hidden])
        four = (n, 4, hidden)
        xp.multiply(cell[:, None, :], factors[rows].reshape(four)[:, 1:], out=block.reshape(four)[:, 1:])
        cell *= f[rows]
        dh[:n] = xp.dot(block, recurrent)
    g_hr = None if w_hr is None else _whole(xp, states.T, o * squashed)
    return (
        _whole(xp, pre, lstm_rows(w_ih)),
        dh,
        dc,
        _torch_rows(_whole(xp, pre.T, x)),
        _torch_rows(_whole(xp, pre.T, h_before)),
        _torch_rows(pre.sum(axis=0)),
        g_hr,
    )


@_one_blas_thread
def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, what backward needs). Gates r, z, n; n = tanh(W x + b + r * (U h + c))."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    hidden = w_hh.shape[1]
    gates = project(xp, x, w_ih, b_ih)
    recurrent = xp.ascontiguousarray(w_hh.T)
    inner = xp.empty((x.shape[0], hidden), x.dtype)  # U h + c of the candidate, before r
    out = xp.empty_like(inner)
    h = h0.copy()
    for at, n in steps:
        rows = slice(at, at + n)
        a, from_h = gates[rows], xp.dot(h[:n], recurrent)
        if b_hh is not None:
            from_h += b_hh
        rz = a[:, : 2 * hidden]
        rz += from_h[:, : 2 * hidden]
        rz *= 0.5
        xp.tanh(rz, out=rz)
        rz *= 0.5
        rz += 0.5
        inner[rows] = from_h[:, 2 * hidden :]
        candidate = a[:, 2 * hidden :]
        candidate += rz[:, :hidden] * inner[rows]
        xp.tanh(candidate, out=candidate)
        new = xp.subtract(h[:n], candidate, out=out[rows])
        new *= rz[:, hidden:]
        new += candidate
        h[:n] = new
    return out, h, (gates, inner)


@_one_blas_thread
def gru_backward(xp: Any, g: tuple, x: Any, h_before: Any, weights: tuple, steps: list, saved: tuple) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, b_ih, b_hh) from those of (outputs, final h)."""
    w_ih, w_hh, _, _, _ = weights
    gates, inner = saved
    g_out, dh = g
    hidden = w_hh.shape[1]
    r, z, cand = [gates[:, k * hidden : (k + 1) * hidden] for k in range(3)]
    to_candidate = (1 - z) * (1 - cand * cand)
    to_z = (h_before - cand) * z * (1 - z)
    to_r = inner * r * (1 - r)
    pre, pre_h = xp.empty_like(gates), xp.empty_like(gates)
    for at, n in reversed(steps):
        rows = slice(at, at + n)
        d = dh[:n] + g_out[rows] if g_out is not None else dh[:n].copy()
        block, block_h = pre[rows], pre_h[rows]
        candidate = xp.multiply(d, to_candidate[rows], out=block[:, 2 * hidden :])
        xp.multiply(d, to_z[rows], out=block[:, hidden : 2 * hidden])
        xp.multiply(candidate, to_r[rows], out=block[:, :hidden])
        block_h[:, : 2 * hidden] = block[:, : 2 * hidden]
        xp.multiply(candidate, r[rows], out=block_h[:, 2 * hidden :])
        d *= z[rows]
        d += xp.dot(block_h, w_hh)
        dh[:n] = d
    return (_whole(xp, pre, w_ih), dh, _whole(xp, pre.T, x), _whole(xp, pre_h.T, h_before), pre.sum(axis=0), pre_h.sum(axis=0))


@_one_blas_thread
def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    """(outputs, final h). h = tanh or relu of W x + U h + biases."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    out = project(xp, x, w_ih, b_ih, b_hh)
    recurrent = xp.ascontiguousarray(w_hh.T)
    h = h0.copy()
    for at, n in steps:
        a = out[at : at + n]
        a += xp.dot(h[:n], recurrent)
        if relu:
            xp.maximum(a, 0, out=a)
        else:
            xp.tanh(a, out=a)
        h[:n] = a
    return out, h


@_one_blas_thread
def rnn_backward(xp: Any, g: tuple, x: Any, h_before: Any, out: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, bias) from those of (outputs, final h)."""
    w_ih, w_hh, _, _, _ = weights
    g_out, dh = g
    slope = (out > 0).astype(out.dtype) if relu else 1 - out * out
    pre = xp.empty_like(out)
    for at, n in reversed(steps):
        rows = slice(at, at + n)
        d = dh[:n] + g_out[rows] if g_out is not None else dh[:n]
        dh[:n] = xp.dot(xp.multiply(d, slope[rows], out=pre[rows]), w_hh)
    return _whole(xp, pre, w_ih), dh, _whole(xp, pre.T, x), _whole(xp, pre.T, h_before), pre.sum(axis=0)


def states_before(xp: Any, out: Any, h0: Any, steps: list) -> Any:
    """For every row of the outputs, the state its step started from."""
    before = xp.empty_like(out)
    previous = None
    for at, n in steps:
        if previous is None:
            before[at : at + n] = h0[:n]
        else:
            last, running = previous
            both = min(n, running)
            before[at : at + both] = out[last : last + both]
            before[at + both : at + n] = h0[both:n]  # sequences that the reverse direction only now reaches
        previous = (at, n)
    return before
