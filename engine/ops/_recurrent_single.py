"""One time step of LSTM, GRU and plain RNN: the same functions as `_recurrent_steps`, without its preparations for many steps.

What cells are made of, and layers over sequences of one element, as when a program generates token by token. Gates lie as
torch's weights have them, side by side in rows.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..pool import blas_limit
from ._blocked import column_sums, products

# Multiplications up to which one thread is as quick as two. BLAS takes two thirds of the time where weights come first; what
# follows then lies column by column.
_ALONE = 1 << 23


def _times(xp: Any, *pairs: tuple) -> list:
    return products(*pairs) if xp is np else [a @ b for a, b in pairs]


def _total(xp: Any, rows: Any) -> Any:
    return column_sums(rows) if xp is np else rows.sum(0)


def _sums(xp: Any, x: Any, h: Any, weights: tuple) -> tuple:
    """W x + b and U h + c."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    if xp is np and len(h) * (w_ih.size + w_hh.size) < _ALONE:
        with blas_limit:
            a, u = w_ih.dot(x.T).T, w_hh.dot(h.T).T
    else:
        a, u = _times(xp, (x, w_ih.T), (h, w_hh.T))
    if b_ih is not None:
        a += b_ih
        u += b_hh
    return a, u


def _sigmoid(xp: Any, part: Any) -> None:
    part *= 0.5
    xp.tanh(part, out=part)
    part *= 0.5
    part += 0.5


def _gates(a: Any, hidden: int) -> list:
    return [a[:, k : k + hidden] for k in range(0, a.shape[1], hidden)]


def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    w_hr = weights[4]
    a, u = _sums(xp, x, h0, weights)
    a += u
    i, f, g, o = _gates(a, c0.shape[1])
    xp.tanh(g, out=g)
    _sigmoid(xp, a[:, : 2 * c0.shape[1]])
    _sigmoid(xp, o)
    c = f * c0
    c += i * g
    squashed = xp.tanh(c)
    h = o * squashed
    if w_hr is not None:
        (h,) = _times(xp, (h, w_hr.T))
    h, c = xp.ascontiguousarray(h), xp.ascontiguousarray(c)
    return h.copy(), h, c, (a, h0, c0, squashed)


def lstm_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, w_hr = weights
    a, h0, c0, squashed = saved
    g_out, dh, dc = g
    hidden = c0.shape[1]
    i, f, candidate, o = _gates(a, hidden)
    if g_out is not None:
        dh += g_out
    d, g_hr = dh, None
    if w_hr is not None:
        d, g_hr = _times(xp, (dh, w_hr), (dh.T, o * squashed))
    pre = 1 - a
    pre *= a
    of_i, of_f, of_g, of_o = _gates(pre, hidden)
    of_o *= d
    of_o *= squashed
    slope = squashed * squashed
    xp.subtract(1, slope, out=slope)
    slope *= d
    slope *= o
    dc += slope
    of_i *= candidate
    of_f *= c0
    xp.multiply(candidate, candidate, out=of_g)
    xp.subtract(1, of_g, out=of_g)
    of_g *= i
    for part in (of_i, of_f, of_g):
        part *= dc
    dc *= f
    dh, g_ih, g_hh, *gx = _times(xp, (pre, w_hh), (pre.T, x), (pre.T, h0), *([(pre, w_ih)] if needs_x else ()))
    return gx[0] if gx else None, dh, dc, g_ih, g_hh, _total(xp, pre), g_hr


def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    a, u = _sums(xp, x, h0, weights)
    hidden = h0.shape[1]
    gates, n, last = a[:, : 2 * hidden], a[:, 2 * hidden :], u[:, 2 * hidden :]
    gates += u[:, : 2 * hidden]
    _sigmoid(xp, gates)
    n += gates[:, :hidden] * last
    xp.tanh(n, out=n)
    h = h0 - n
    h *= gates[:, hidden:]
    h += n
    h = xp.ascontiguousarray(h)
    return h.copy(), h, (a, last, h0)


def gru_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    a, last, h0 = saved
    g_out, dh = g
    r, z, n = _gates(a, h0.shape[1])
    if g_out is not None:
        dh += g_out
    pre = 1 - a
    of_r, of_z, of_n = _gates(pre, h0.shape[1])
    xp.multiply(n, n, out=of_n)
    xp.subtract(1, of_n, out=of_n)
    of_n *= of_z  # 1 - z
    of_n *= dh
    of_z *= z
    of_z *= dh
    of_z *= h0 - n
    of_r *= r
    of_r *= of_n
    of_r *= last
    pre_h = pre.copy()
    pre_h[:, 2 * h0.shape[1] :] *= r
    gh, g_ih, g_hh, *gx = _times(xp, (pre_h, w_hh), (pre.T, x), (pre_h.T, h0), *([(pre, w_ih)] if needs_x else ()))
    dh *= z
    gh += dh
    return gx[0] if gx else None, gh, g_ih, g_hh, _total(xp, pre), _total(xp, pre_h)


def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    a, u = _sums(xp, x, h0, weights)
    a += u
    if relu:
        xp.maximum(a, 0, out=a)
    else:
        xp.tanh(a, out=a)
    return a.copy(order="C"), a.copy(order="C"), (a, h0)


def rnn_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool, relu: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    y, h0 = saved
    g_out, pre = g
    if g_out is not None:
        pre += g_out
    pre *= y > 0 if relu else 1 - y * y
    gh, g_ih, g_hh, *gx = _times(xp, (pre, w_hh), (pre.T, x), (pre.T, h0), *([(pre, w_ih)] if needs_x else ()))
    return gx[0] if gx else None, gh, g_ih, g_hh, _total(xp, pre)
