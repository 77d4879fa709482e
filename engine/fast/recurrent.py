"""Recurrent layers: each function takes some sequences of a batch through all time steps, forward or backward.

Rows are packed as `ops/_recurrent_steps.py` says, which is also the reference. A block are the sequences from `first`
on, as many as the states have rows; `steps` holds (first row, sequences) per time step. Weights come in panels of
`products.pack` (for sums) and `products.pack_rows` (for gradients); what they are multiplied to is as wide as the panels
together, or wider. A sequence's numbers do not depend on the block it is in.

Places are (address, bytes to the next row): asking an array for them in a loop would count references each time. So memory
that a function works in is handed to it too, and not its own, which would be freed after the last such question.
"""

from __future__ import annotations

from .cells import (
    gru_cell,
    gru_cell_backward,
    lstm_cell,
    lstm_cell_backward,
    relu_cell,
    relu_cell_backward,
    tanh_cell,
    tanh_cell_backward,
)
from .functions import ZERO
from .jit import inline, kernel, part
from .products import LANES, NARROW, WIDE, multiply

_VECTOR = 4 * LANES  # bytes
_PANEL = WIDE * _VECTOR


@inline
def _rows(steps, s, first, most):  # type: ignore[no-untyped-def]
    """First row and number of rows of a block at a time step."""
    return steps[s, 0] + first, max(0, min(steps[s, 1] - first, most))


@inline
def _place(array):  # type: ignore[no-untyped-def]
    return array.ctypes.data, array.strides[0]


@inline
def _at(place, row):  # type: ignore[no-untyped-def]
    """The address of a row."""
    return place[0] + row * place[1]


@part
def _note(source, n, to, at):  # type: ignore[no-untyped-def]
    """Copy n rows to those from `at` on, as many columns as these have."""
    for i in range(n):
        row, line = to[at + i], source[i]
        for j in range(row.size):
            row[j] = line[j]


@part
def _add(g_out, at, n, dh):  # type: ignore[no-untyped-def]
    """Add the gradients of outputs that a step has; none if `g_out` is empty."""
    if g_out.size:
        for i in range(n):
            row, line = dh[i], g_out[at + i]
            for j in range(line.size):
                row[j] += line[j]


@inline
def _sums(vectors, a, at, panels, inner, p, start, start_row, to, to_row, n):  # type: ignore[no-untyped-def]
    """n rows at `to` = those at `start` + rows of `a` times panel p."""
    multiply(vectors, to, to_row, start, start_row, _at(a, at), a[1], 4, _at(panels, p), vectors * _VECTOR, inner, n)


@part
def _times(a, at, panels, to, first, n):  # type: ignore[no-untyped-def]
    """n rows of `to`, from the first on, = rows of `a` times a matrix in wide panels."""
    place = _place(to)
    to[first : first + n] = ZERO
    for p in range(len(panels)):
        here = _at(place, first) + p * _PANEL
        _sums(WIDE, a, at, _place(panels), panels.shape[1], p, here, place[1], here, place[1], n)


@kernel
def lstm_forward(x, h, c, new, w_ih, w_hh, w_hr, bias, steps, first, gates, cells, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's gates (i, f, g, o), cells and states before every step, and outputs; h, c end as the last ones."""
    g, cell, kept, made = _place(gates), _place(c), _place(cells), _place(new)
    xs, hs, ws, us = _place(x), _place(h), _place(w_ih), _place(w_hh)
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(c))
        _note(h, n, states, at)
        for p in range(len(w_ih)):
            to = _at(g, at) + p * _PANEL
            _sums(WIDE, xs, at, ws, x.shape[1], p, bias.ctypes.data + p * _PANEL, 0, to, g[1], n)
            _sums(WIDE, hs, 0, us, w_hh.shape[1], p, to, g[1], to, g[1], n)
            for i in range(n):
                here = p * _VECTOR
                lstm_cell(to + i * g[1], _at(cell, i) + here, _at(kept, at + i) + here, _at(made, i) + here)
        if w_hr.size:
            _times(made, 0, w_hr, h, 0, n)
        else:
            _note(new, n, h, 0)
        _note(h, n, out, at)


@kernel
def lstm_backward(g_out, dh, dc, d, w_ih, w_hh, w_hr, steps, first, gates, cells, pre, made, taken, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the gates' sums (`pre`) and of the inputs (`gx`); dh, dc end as those of the first states.

    With a projection, `made` and `taken` get what its gradient is made of: o * tanh(c), and the gradients of its results;
    without, `made` is one row.
    """
    projected = w_hr.size > 0
    g, kept, cell, sums, again = _place(gates), _place(cells), _place(dc), _place(pre), _place(made)
    source = _place(d) if projected else _place(dh)
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dc))
        _add(g_out, at, n, dh)
        if projected:
            _note(dh, n, taken, at)
            _times(_place(dh), 0, w_hr, d, 0, n)
        for i in range(n):
            for p in range(cells.shape[1] // LANES):
                here = p * _VECTOR
                to = _at(again, at + i if projected else first) + here
                lstm_cell_backward(_at(g, at + i) + WIDE * here, _at(kept, at + i) + here, _at(cell, i) + here,
                                   _at(source, i) + here, _at(sums, at + i) + WIDE * here, to)  # fmt: skip
        _times(sums, at, w_hh, dh, 0, n)
        if gx.size:
            _times(sums, at, w_ih, gx, at, n)


@kernel
def gru_forward(x, h, new, u, w_ih, w_hh, bias, bias_h, steps, first, gates, inner, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's gates (r, z, n), the candidate's sums over h (`inner`), states before every step, and outputs."""
    g, from_h, last, made = _place(gates), _place(u), _place(inner), _place(new)
    xs, hs, ws, us = _place(x), _place(h), _place(w_ih), _place(w_hh)
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(h))
        _note(h, n, states, at)
        for p in range(len(w_ih)):
            here, panel = p * _VECTOR, p * NARROW * _VECTOR
            to, shift, shift_h = _at(g, at) + panel, bias.ctypes.data + panel, bias_h.ctypes.data + panel
            _sums(NARROW, xs, at, ws, x.shape[1], p, shift, 0, to, g[1], n)
            _sums(NARROW, hs, 0, us, w_hh.shape[1], p, shift_h, 0, from_h[0], from_h[1], n)
            for i in range(n):
                gru_cell(to + i * g[1], _at(from_h, i), _at(hs, i) + here, _at(last, at + i) + here, _at(made, i) + here)
        _note(new, n, h, 0)
        _note(h, n, out, at)


@kernel
def gru_backward(g_out, dh, w_ih, w_hh, steps, first, gates, inner, states, pre, pre_h, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the sums over inputs (`pre`) and over states (`pre_h`), and of the inputs; dh ends as that of h0."""
    g, last, old, sums, sums_h = _place(gates), _place(inner), _place(states), _place(pre), _place(pre_h)
    d, us = _place(dh), _place(w_hh)
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dh))
        _add(g_out, at, n, dh)
        for i in range(n):
            for p in range(states.shape[1] // LANES):
                here = p * _VECTOR
                gru_cell_backward(_at(g, at + i) + NARROW * here, _at(last, at + i) + here, _at(old, at + i) + here,
                                  _at(d, i) + here, _at(sums, at + i) + NARROW * here,
                                  _at(sums_h, at + i) + NARROW * here)  # fmt: skip
        for p in range(len(w_hh)):
            to = d[0] + p * _PANEL
            _sums(WIDE, sums_h, at, us, w_hh.shape[1], p, to, d[1], to, d[1], n)
        if gx.size:
            _times(sums, at, w_ih, gx, at, n)


@kernel
def rnn_forward(x, h, new, w_ih, w_hh, bias, relu, steps, first, states, out):  # type: ignore[no-untyped-def]
    """Writes the block's outputs and the states before every step; h = tanh or relu of its sums ends as the last state."""
    made, xs, hs, ws, us = _place(new), _place(x), _place(h), _place(w_ih), _place(w_hh)
    for s in range(len(steps)):
        at, n = _rows(steps, s, first, len(h))
        _note(h, n, states, at)
        for p in range(len(w_ih)):
            to = made[0] + p * _PANEL
            _sums(WIDE, xs, at, ws, x.shape[1], p, bias.ctypes.data + p * _PANEL, 0, to, made[1], n)
            _sums(WIDE, hs, 0, us, w_hh.shape[1], p, to, made[1], to, made[1], n)
            for i in range(n):
                if relu:
                    relu_cell(to + i * made[1])
                else:
                    tanh_cell(to + i * made[1])
        _note(new, n, h, 0)
        _note(h, n, out, at)


@kernel
def rnn_backward(g_out, dh, w_ih, w_hh, relu, steps, first, out, pre, gx):  # type: ignore[no-untyped-def]
    """Writes gradients of the sums (`pre`) and of the inputs; dh ends as that of h0."""
    y, d, sums = _place(out), _place(dh), _place(pre)
    for s in range(len(steps) - 1, -1, -1):
        at, n = _rows(steps, s, first, len(dh))
        _add(g_out, at, n, dh)
        for i in range(n):
            for here in range(0, dh.shape[1] * 4, _PANEL):
                if relu:
                    relu_cell_backward(_at(y, at + i) + here, _at(d, i) + here, _at(sums, at + i) + here)
                else:
                    tanh_cell_backward(_at(y, at + i) + here, _at(d, i) + here, _at(sums, at + i) + here)
        _times(sums, at, w_hh, dh, 0, n)
        if gx.size:
            _times(sums, at, w_ih, gx, at, n)
