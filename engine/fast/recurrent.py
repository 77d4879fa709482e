"""Recurrent layers: each function takes some sequences of a batch through all time steps, forward or backward.

Rows are packed as `ops/_recurrent_steps.py` says, which is also the reference. A block are the sequences from `first`
on, as many as the states have rows; `steps` holds (first row, sequences) per time step. Matrices come as panels
(`blas.add_product`). Loops are short because those over two or three rows become vector instructions, and longer ones do not.
"""

from __future__ import annotations

import numpy as np

from .blas import add_product, add_transposed_product
from .functions import HALF, ONE, ZERO
from .jit import inline, kernel

F = np.float32
# tanh(x) = x * P(x**2) / Q(x**2), fitted to |x| < 8, where a float32 is nearly 1: 5 units in the last place off at most.
_P0, _P1, _P2, _P3, _P4 = F(0.9999999936), F(0.1344449877), F(0.003571598943), F(2.189467663e-05), F(1.523043792e-08)
_Q1, _Q2, _Q3, _Q4 = F(0.4677782609), F(0.02616444647), F(0.0003411293498), F(8.522454874e-07)
_LOWEST, _HIGHEST = F(-8), F(8)


@inline
def tanh(x):  # type: ignore[no-untyped-def]
    """The hyperbolic tangent, in fewer steps than by way of an exponential."""
    x = _LOWEST if x < _LOWEST else x
    x = _HIGHEST if x > _HIGHEST else x
    t = x * x
    p = (((_P4 * t + _P3) * t + _P2) * t + _P1) * t + _P0
    q = (((_Q4 * t + _Q3) * t + _Q2) * t + _Q1) * t + ONE
    return x * p / q


@inline
def sigmoid(x):  # type: ignore[no-untyped-def]
    return HALF * tanh(HALF * x) + HALF


@inline
def _rows(steps, s, first, most):  # type: ignore[no-untyped-def]
    """First row and number of rows of a block at a time step."""
    return steps[s, 0] + first, max(0, min(steps[s, 1] - first, most))


@inline
def _start(bias, h, a, states):  # type: ignore[no-untyped-def]
    """Before a step: the gates are the bias, and the states it starts from are noted down."""
    for i in range(len(a)):
        row, old, kept = a[i], h[i], states[i]
        for j in range(row.size):
            row[j] = bias[j]
        for j in range(old.size):
            kept[j] = old[j]


@inline
def _lstm_cell(a, c, cells, new):  # type: ignore[no-untyped-def]
    """Gates from their sums, in place; the next cell state, and o * tanh(c) into `new`."""
    hidden = c.shape[1]
    for i in range(len(a)):
        row, cell, kept, out = a[i], c[i], cells[i], new[i]
        ig, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        for j in range(hidden):
            ig[j] = sigmoid(ig[j])
        for j in range(hidden):
            f[j] = sigmoid(f[j])
        for j in range(hidden):
            g[j] = tanh(g[j])
        for j in range(hidden):
            o[j] = sigmoid(o[j])
        for j in range(hidden):
            kept[j] = cell[j]
        for j in range(hidden):
            cell[j] = f[j] * cell[j] + ig[j] * g[j]
        for j in range(hidden):
            out[j] = o[j] * tanh(cell[j])


@kernel
def lstm_forward(sgemm, x, h, c, w_ih, w_hh, w_hr, bias, steps, first, gates, cells, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's gates (i, f, g, o), cells and states before every step, and outputs; h, c end as the last ones."""
    new = np.empty(c.shape, np.float32)
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(c))
        a = gates[at : at + n]
        _start(bias, h, a, states[at : at + n])
        add_product(sgemm, x[at : at + n], w_ih, a)
        add_product(sgemm, h[:n], w_hh, a)
        _lstm_cell(a, c, cells[at : at + n], new)
        if w_hr.size:
            h[:n] = ZERO
            add_product(sgemm, new[:n], w_hr, h[:n])
        else:
            h[:n] = new[:n]
        out[at : at + n] = h[:n]


@inline
def _lstm_cell_backward(gates, cells, dc, d, pre, made):  # type: ignore[no-untyped-def]
    """Gradients of the sums from those of the output `d` and of the cell state `dc`, which becomes that of the step before.

    Also o * tanh(c) into `made`.
    """
    hidden = dc.shape[1]
    for i in range(len(gates)):
        row, old, cell, dh, to, again = gates[i], cells[i], dc[i], d[i], pre[i], made[i]
        ig, f, g, o = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden : 3 * hidden], row[3 * hidden :]
        di, df, dg, do = to[:hidden], to[hidden : 2 * hidden], to[2 * hidden : 3 * hidden], to[3 * hidden :]
        for j in range(hidden):
            do[j] = tanh(f[j] * old[j] + ig[j] * g[j])
        for j in range(hidden):
            again[j] = o[j] * do[j]
        for j in range(hidden):
            cell[j] += dh[j] * o[j] * (ONE - do[j] * do[j])
        for j in range(hidden):
            do[j] *= dh[j] * o[j] * (ONE - o[j])
        for j in range(hidden):
            di[j] = cell[j] * g[j] * ig[j] * (ONE - ig[j])
        for j in range(hidden):
            dg[j] = cell[j] * ig[j] * (ONE - g[j] * g[j])
        for j in range(hidden):
            df[j] = cell[j] * old[j] * f[j] * (ONE - f[j])
        for j in range(hidden):
            cell[j] *= f[j]


@kernel
def lstm_backward(sgemm, g_out, dh, dc, w_ih, w_hh, w_hr, steps, first, gates, cells, pre, made, taken, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the gates' sums (`pre`) and of the inputs (`gx`); dh, dc end as those of the first states.

    With a projection, `made` and `taken` get what its gradient is made of: o * tanh(c), and the gradients of its results.
    """
    d, again = np.empty(dc.shape, np.float32), np.empty(dc.shape, np.float32)
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dc))
        rows = slice(at, at + n)
        if g_out.size:
            dh[:n] += g_out[rows]
        if w_hr.size:
            taken[rows] = dh[:n]
            d[:n] = ZERO
            add_product(sgemm, dh[:n], w_hr, d[:n])
            _lstm_cell_backward(gates[rows], cells[rows], dc, d, pre[rows], made[rows])
        else:
            _lstm_cell_backward(gates[rows], cells[rows], dc, dh, pre[rows], again)
        dh[:n] = ZERO
        add_product(sgemm, pre[rows], w_hh, dh[:n])
        if gx.size:
            gx[rows] = ZERO
            add_product(sgemm, pre[rows], w_ih, gx[rows])


@inline
def _gru_cell(a, u, h, inner):  # type: ignore[no-untyped-def]
    """The next state from the sums of the inputs (`a`, which become the gates) and of the states (`u`)."""
    hidden = h.shape[1]
    for i in range(len(a)):
        row, from_h, state, kept = a[i], u[i], h[i], inner[i]
        r, z, g = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden :]
        r_h, z_h, g_h = from_h[:hidden], from_h[hidden : 2 * hidden], from_h[2 * hidden :]
        for j in range(hidden):
            r[j] = sigmoid(r[j] + r_h[j])
        for j in range(hidden):
            z[j] = sigmoid(z[j] + z_h[j])
        for j in range(hidden):
            kept[j] = g_h[j]
        for j in range(hidden):
            g[j] = tanh(g[j] + r[j] * kept[j])
        for j in range(hidden):
            state[j] = (state[j] - g[j]) * z[j] + g[j]


@kernel
def gru_forward(sgemm, x, h, w_ih, w_hh, bias, bias_h, steps, first, gates, inner, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's gates (r, z, n), the candidate's sums over h (`inner`), states before every step, and outputs."""
    u = np.empty((len(h), gates.shape[1]), np.float32)
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(h))
        rows = slice(at, at + n)
        a = gates[rows]
        _start(bias, h, a, states[rows])
        for i in range(n):
            u[i] = bias_h
        add_product(sgemm, x[rows], w_ih, a)
        add_product(sgemm, h[:n], w_hh, u[:n])
        _gru_cell(a, u, h, inner[rows])
        out[rows] = h[:n]


@inline
def _gru_cell_backward(gates, inner, states, d, pre, pre_h):  # type: ignore[no-untyped-def]
    """Gradients of the sums over inputs and over states from that of the new state, `d`; that becomes d * z."""
    hidden = d.shape[1]
    for i in range(len(gates)):
        row, from_h, old, dh, to, to_h = gates[i], inner[i], states[i], d[i], pre[i], pre_h[i]
        r, z, g = row[:hidden], row[hidden : 2 * hidden], row[2 * hidden :]
        dr, dz, dg = to[:hidden], to[hidden : 2 * hidden], to[2 * hidden :]
        dr_h, dz_h, dg_h = to_h[:hidden], to_h[hidden : 2 * hidden], to_h[2 * hidden :]
        for j in range(hidden):
            dg[j] = dh[j] * (ONE - z[j]) * (ONE - g[j] * g[j])
        for j in range(hidden):
            dz[j] = dh[j] * (old[j] - g[j]) * z[j] * (ONE - z[j])
        for j in range(hidden):
            dr[j] = dg[j] * from_h[j] * r[j] * (ONE - r[j])
        for j in range(hidden):
            dg_h[j] = dg[j] * r[j]
        for j in range(hidden):
            dr_h[j] = dr[j]
        for j in range(hidden):
            dz_h[j] = dz[j]
        for j in range(hidden):
            dh[j] *= z[j]


@kernel
def gru_backward(sgemm, g_out, dh, w_ih, w_hh, steps, first, gates, inner, states, pre, pre_h, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the sums over inputs (`pre`) and over states (`pre_h`), and of the inputs; dh ends as that of h0."""
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dh))
        rows = slice(at, at + n)
        if g_out.size:
            dh[:n] += g_out[rows]
        _gru_cell_backward(gates[rows], inner[rows], states[rows], dh, pre[rows], pre_h[rows])
        add_product(sgemm, pre_h[rows], w_hh, dh[:n])
        if gx.size:
            gx[rows] = ZERO
            add_product(sgemm, pre[rows], w_ih, gx[rows])


@kernel
def rnn_forward(sgemm, x, h, w_ih, w_hh, bias, relu, steps, first, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's outputs and the states before every step; h = tanh or relu of its sums ends as the last state."""
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(h))
        a = out[at : at + n]
        _start(bias, h, a, states[at : at + n])
        add_product(sgemm, x[at : at + n], w_ih, a)
        add_product(sgemm, h[:n], w_hh, a)
        for i in range(n):
            row = a[i]
            if relu:
                for j in range(row.size):
                    row[j] = ZERO if row[j] < ZERO else row[j]
            else:
                for j in range(row.size):
                    row[j] = tanh(row[j])
        h[:n] = a


@kernel
def rnn_backward(sgemm, g_out, dh, w_ih, w_hh, relu, steps, first, out, pre, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the sums (`pre`) and of the inputs; dh ends as that of h0."""
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dh))
        rows = slice(at, at + n)
        if g_out.size:
            dh[:n] += g_out[rows]
        for i in range(n):
            y, d, to = out[at + i], dh[i], pre[at + i]
            if relu:
                for j in range(y.size):
                    to[j] = d[j] if y[j] > ZERO else ZERO
            else:
                for j in range(y.size):
                    to[j] = d[j] * (ONE - y[j] * y[j])
        dh[:n] = ZERO
        add_product(sgemm, pre[rows], w_hh, dh[:n])
        if gx.size:
            gx[rows] = ZERO
            add_product(sgemm, pre[rows], w_ih, gx[rows])


@kernel
def weight_gradient(sgemm, pre, x, columns, out, bias):  # type: ignore[no-untyped-def]
    """out = pre[:, columns : columns + len(out)].T @ x, and the sums of those columns into `bias` if it is not empty."""
    out[:] = ZERO
    add_transposed_product(sgemm, pre, columns, x, out)
    bias[:] = ZERO
    if bias.size:
        for i in range(len(pre)):
            row = pre[i, columns : columns + bias.size]
            for j in range(row.size):
                bias[j] += row[j]
