"""The loops over time under recurrent.py: forward and backward through time of LSTM, GRU and plain RNN, on raw arrays.

Sequences come packed: the rows of all sequences at step 0, then at step 1, and so on, longest sequences first, so that
the n sequences that are still running are always the first n rows of the state. `steps` lists (first row, n) in the
order of processing (backwards for the reverse direction). The inputs of all steps are projected in one product before
the loop, and all weight gradients are one product after it: a step does only what depends on the step before.

Forward keeps the activated gates, side by side in torch's order, and the states that every step started from; so does
`_recurrent_compiled`, and either form can go on from what the other has kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import pool
from ._blocked import product

_WIDTH = 64  # columns of a panel
_FEW = 4  # fewer steps do not repay the making of panels


def panels(w: Any) -> Any:
    """A matrix (inner, columns) as contiguous panels (count, inner, width): BLAS is quickest with a right operand like that.

    OpenBLAS multiplies small matrices without packing them first, but only up to 10**6 operations.
    """
    inner, columns = w.shape
    count = next((c for c in range(-(-columns // _WIDTH), columns // 16 + 1) if columns % c == 0), 1)
    return np.ascontiguousarray(w.reshape(inner, count, columns // count).transpose(1, 0, 2))


def _multiplier(xp: Any, w: Any, rows: int, steps: list) -> Callable:
    """`a -> a @ w` for one matrix and an `a` of at most `rows` rows per step. A result is valid until the next call."""
    if xp is not np or len(steps) < _FEW:
        return lambda a: xp.dot(a, w)
    parts = panels(w)
    count, _, width = parts.shape
    out = np.empty((rows, w.shape[1]), w.dtype)
    in_panels = out.reshape(rows, count, width).transpose(1, 0, 2)

    def times(a: Any) -> Any:
        n = a.shape[0]
        np.matmul(a, parts, out=in_panels[:, :n])
        return out[:n]

    return times


def _whole(xp: Any, a: Any, b: Any) -> Any:
    """A product over all steps at once: large enough for the engine's threads."""
    return product(a, b) if xp is np else xp.dot(a, b)


def _projected(xp: Any, x: Any, w: Any, *biases: Any) -> Any:
    """x @ w.T plus biases (None: none), for all steps at once."""
    out = _whole(xp, x, w.T)
    for b in biases:
        if b is not None:
            out += b
    return out


def _sigmoid_by_tanh(xp: Any, hidden: int, dtype: Any) -> tuple:
    """(s, t) per gate of an LSTM, so that tanh(s * v) * s + t is sigmoid(v) for i, f and o, and tanh(v) for g."""
    s = xp.full(4 * hidden, 0.5, dtype)
    s[2 * hidden : 3 * hidden] = 1
    return s, 1 - s


def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, final c, what backward needs)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    hidden = w_hh.shape[0] // 4
    scale, shift = _sigmoid_by_tanh(xp, hidden, x.dtype)
    gates = _projected(xp, x, w_ih, b_ih, b_hh)
    cells, states = xp.empty((x.shape[0], hidden), x.dtype), xp.empty((x.shape[0], h0.shape[1]), x.dtype)
    out = xp.empty_like(states)
    h, c = h0.copy(), c0.copy()
    with pool.blas_limit:
        times = _multiplier(xp, w_hh.T, len(h), steps)
        project = None if w_hr is None else _multiplier(xp, w_hr.T, len(h), steps)
        for at, n in steps:
            rows = slice(at, at + n)
            a, cell = gates[rows], c[:n]
            states[rows], cells[rows] = h[:n], cell
            a += times(h[:n])
            a *= scale
            xp.tanh(a, out=a)
            a *= scale
            a += shift
            cell *= a[:, hidden : 2 * hidden]
            cell += a[:, :hidden] * a[:, 2 * hidden : 3 * hidden]
            new = a[:, 3 * hidden :] * xp.tanh(cell)
            h[:n] = out[rows] = new if project is None else project(new)
    return out, h, c, (gates, cells, states)


def lstm_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    """Gradients of (x, h0, c0, w_ih, w_hh, bias, w_hr) from those of (outputs, final h, final c); of x if it needs one."""
    w_ih, w_hh, _, _, w_hr = weights
    gates, cells, states = saved
    g_out, dh, dc = g
    hidden = w_hh.shape[0] // 4
    i, f, cand, o = [gates[:, k * hidden : (k + 1) * hidden] for k in range(4)]
    squashed = xp.tanh(f * cells + i * cand)
    # d(sum) = factor * dc for the first three gates, and factor * dh for the output gate
    factors = xp.empty_like(gates)
    factors[:, :hidden] = cand * i * (1 - i)
    factors[:, hidden : 2 * hidden] = cells * f * (1 - f)
    factors[:, 2 * hidden : 3 * hidden] = i * (1 - cand * cand)
    factors[:, 3 * hidden :] = squashed * o * (1 - o)
    into_cell = o * (1 - squashed * squashed)
    pre = xp.empty_like(gates)
    taken: Any = None if w_hr is None else xp.empty_like(states)
    with pool.blas_limit:
        times = _multiplier(xp, w_hh, len(dh), steps)
        unproject = None if w_hr is None else _multiplier(xp, w_hr, len(dh), steps)
        for at, n in reversed(steps):
            rows = slice(at, at + n)
            d, cell, block, factor = dh[:n], dc[:n], pre[rows], factors[rows]
            if g_out is not None:
                d += g_out[rows]
            if unproject is not None:
                taken[rows] = d
                d = unproject(d)
            cell += d * into_cell[rows]
            four = (n, 4, hidden)
            xp.multiply(d, factor[:, 3 * hidden :], out=block[:, 3 * hidden :])
            xp.multiply(cell[:, None, :], factor.reshape(four)[:, :3], out=block.reshape(four)[:, :3])
            cell *= f[rows]
            dh[:n] = times(block)
    return (
        _whole(xp, pre, w_ih) if needs_x else None,
        dh,
        dc,
        _whole(xp, pre.T, x),
        _whole(xp, pre.T, states),
        pre.sum(axis=0),
        None if w_hr is None else _whole(xp, taken.T, o * squashed),
    )


def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, what backward needs). Gates r, z, n; n = tanh(W x + b + r * (U h + c))."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    hidden = w_hh.shape[1]
    gates = _projected(xp, x, w_ih, b_ih)
    inner = xp.empty((x.shape[0], hidden), x.dtype)  # U h + c of the candidate, before r
    out, states = xp.empty_like(inner), xp.empty_like(inner)
    h = h0.copy()
    with pool.blas_limit:
        times = _multiplier(xp, w_hh.T, len(h), steps)
        for at, n in steps:
            rows = slice(at, at + n)
            a, state, kept = gates[rows], h[:n], inner[rows]
            states[rows] = state
            from_h = times(state)
            if b_hh is not None:
                from_h += b_hh
            rz, candidate = a[:, : 2 * hidden], a[:, 2 * hidden :]
            rz += from_h[:, : 2 * hidden]
            rz *= 0.5
            xp.tanh(rz, out=rz)
            rz *= 0.5
            rz += 0.5
            kept[...] = from_h[:, 2 * hidden :]
            candidate += rz[:, :hidden] * kept
            xp.tanh(candidate, out=candidate)
            state -= candidate
            state *= rz[:, hidden:]
            state += candidate
            out[rows] = state
    return out, h, (gates, inner, states)


def gru_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, b_ih, b_hh) from those of (outputs, final h); of x if it needs one."""
    w_ih, w_hh, _, _, _ = weights
    gates, inner, states = saved
    g_out, dh = g
    hidden = w_hh.shape[1]
    r, z, cand = [gates[:, k * hidden : (k + 1) * hidden] for k in range(3)]
    to_candidate = (1 - z) * (1 - cand * cand)
    to_z = (states - cand) * z * (1 - z)
    to_r = inner * r * (1 - r)
    pre, pre_h = xp.empty_like(gates), xp.empty_like(gates)
    with pool.blas_limit:
        times = _multiplier(xp, w_hh, len(dh), steps)
        for at, n in reversed(steps):
            rows = slice(at, at + n)
            d, block, block_h = dh[:n], pre[rows], pre_h[rows]
            if g_out is not None:
                d += g_out[rows]
            candidate = xp.multiply(d, to_candidate[rows], out=block[:, 2 * hidden :])
            xp.multiply(d, to_z[rows], out=block[:, hidden : 2 * hidden])
            xp.multiply(candidate, to_r[rows], out=block[:, :hidden])
            block_h[:, : 2 * hidden] = block[:, : 2 * hidden]
            xp.multiply(candidate, r[rows], out=block_h[:, 2 * hidden :])
            d *= z[rows]
            d += times(block_h)
    g_x = _whole(xp, pre, w_ih) if needs_x else None
    return g_x, dh, _whole(xp, pre.T, x), _whole(xp, pre_h.T, states), pre.sum(axis=0), pre_h.sum(axis=0)


def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    """(outputs, final h, what backward needs). h = tanh or relu of W x + U h + biases."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    out = _projected(xp, x, w_ih, b_ih, b_hh)
    states = xp.empty_like(out)
    h = h0.copy()
    with pool.blas_limit:
        times = _multiplier(xp, w_hh.T, len(h), steps)
        for at, n in steps:
            rows = slice(at, at + n)
            a = out[rows]
            states[rows] = h[:n]
            a += times(h[:n])
            if relu:
                xp.maximum(a, 0, out=a)
            else:
                xp.tanh(a, out=a)
            h[:n] = a
    return out, h, (out.copy(), states)  # a copy: the caller may change the output in place


def rnn_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool, relu: bool) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, bias) from those of (outputs, final h); of x if it needs one."""
    w_ih, w_hh, _, _, _ = weights
    out, states = saved
    g_out, dh = g
    slope = (out > 0).astype(out.dtype) if relu else 1 - out * out
    pre = xp.empty_like(out)
    with pool.blas_limit:
        times = _multiplier(xp, w_hh, len(dh), steps)
        for at, n in reversed(steps):
            rows = slice(at, at + n)
            d = dh[:n]
            if g_out is not None:
                d += g_out[rows]
            dh[:n] = times(xp.multiply(d, slope[rows], out=pre[rows]))
    g_x = _whole(xp, pre, w_ih) if needs_x else None
    return g_x, dh, _whole(xp, pre.T, x), _whole(xp, pre.T, states), pre.sum(axis=0)
