"""Recurrent layers by the compiled kernels of `fast/recurrent.py`: the same functions as `_recurrent_steps`, which see.

A block of sequences runs through all time steps on one thread, without a word of Python in between; the blocks, whose
size depends on that of the batch alone, run side by side on the pool.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .. import fast
from ..pool import LARGE, parallel_for, spans
from ._recurrent_layout import panels

_ROWS = 16  # sequences in a block: enough for the products to be fast, few enough for a batch to be several blocks
_LEAST_ROWS = 4
_WIDTH = 64  # columns of a panel
_COLUMNS = 128  # rows of a weight whose gradient is one block
_NONE = np.empty((0, 0), np.float32)
_NO_PANELS = np.empty((0, 0, 0), np.float32)


def usable(x: Any, h0: Any, w_ih: Any) -> bool:
    """Whether kernels are there for this layer, and the work is worth it."""
    large = x.shape[0] * w_ih.shape[0] >= LARGE
    return large and type(x) is np.ndarray and x.dtype == np.float32 and fast.kernels("recurrent") is not None and _sgemm() != 0


@cache
def _kernels() -> Any:
    """The kernels, also for a backward pass after they were switched off."""
    return fast.kernels("recurrent")


@cache
def _sgemm() -> int:
    return fast.kernels("blas").address()


def _run(kernel: str, states: tuple, *arguments: Any) -> None:
    """Call a kernel for every block of the batch: (sgemm, *arguments with the block's states and first sequence)."""
    compiled, where = getattr(_kernels(), kernel), _sgemm()
    batch = len(states[0])
    blocks = spans(batch, max(batch // 8, min(_ROWS, max(_LEAST_ROWS, -(-batch // 2)))))

    def run(i: int) -> None:
        block = blocks[i]
        given = [a(block) if callable(a) else a for a in arguments]
        compiled(where, *given)

    parallel_for(run, len(blocks))


def _part(state: Any) -> Callable:
    return lambda block: state[block]


def _first(block: slice) -> int:
    return block.start


def _panels(w: Any) -> Any:
    """As the kernels want a matrix: panels of 64 columns, or of the nearest number below that fits; none for None."""
    if w is None:
        return _NO_PANELS
    columns = w.shape[1]
    count = next((c for c in range(-(-columns // _WIDTH), columns // 16 + 1) if columns % c == 0), 1)
    return panels(w, columns // count)


def _solid(a: Any) -> Any:
    """An array as kernels take it; `_NONE` for None."""
    return _NONE if a is None else a if fast.fits(a) else np.array(a, np.float32, order="C")


def _bias(like: Any, *biases: Any) -> Any:
    total = np.zeros(like.shape[0], np.float32)
    for b in biases:
        if b is not None:
            total += b
    return total


def _empty(*shapes: tuple) -> list:
    return [np.empty(shape, np.float32) for shape in shapes]


def _weight_gradients(*pairs: tuple) -> list:
    """For every (gradients of sums, what the weight was multiplied with, whether there is a bias): those of weight and bias."""
    compiled, where = _kernels().weight_gradient, _sgemm()
    made, tasks = [], []
    for pre, x, biased in pairs:
        out, bias = _empty((pre.shape[1], x.shape[1]), (pre.shape[1] if biased else 0,))
        made += [out, bias]
        tasks += [(pre, x, block.start, out[block], bias[block]) for block in spans(pre.shape[1], _COLUMNS)]
    parallel_for(lambda i: compiled(where, *tasks[i]), len(tasks))
    return made


def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    x, h, c = _solid(x), np.array(h0, order="C"), np.array(c0, order="C")
    rows, hidden = x.shape[0], c.shape[1]
    gates, cells, states, out = _empty((rows, 4 * hidden), (rows, hidden), (rows, h.shape[1]), (rows, h.shape[1]))
    projection = _panels(None if w_hr is None else w_hr.T)
    _run("lstm_forward", (h,), x, _part(h), _part(c), _panels(w_ih.T), _panels(w_hh.T), projection, _bias(w_ih, b_ih, b_hh),
         np.array(steps), _first, gates, cells, states, out)  # fmt: skip
    return out, h, c, (gates, cells, states)


def lstm_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, w_hr = weights
    gates, cells, states = saved
    g_out, dh, dc = g
    rows, hidden = cells.shape
    pre, gx = _empty(gates.shape, x.shape if needs_x else (0, 0))
    made, taken = (_NONE, _NONE) if w_hr is None else _empty((rows, hidden), states.shape)
    _run("lstm_backward", (dh,), _solid(g_out), _part(dh), _part(dc), _panels(w_ih), _panels(w_hh),
         _panels(w_hr), np.array(steps), _first, gates, cells, pre, made, taken, gx)  # fmt: skip
    projected = () if w_hr is None else ((taken, made, False),)
    g_ih, g_bias, g_hh, _, *g_hr = _weight_gradients((pre, _solid(x), True), (pre, states, False), *projected)
    return gx if needs_x else None, dh, dc, g_ih, g_hh, g_bias, g_hr[0] if g_hr else None


def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    w_ih, w_hh, b_ih, b_hh, _ = weights
    x, h = _solid(x), np.array(h0, order="C")
    rows, hidden = x.shape[0], h.shape[1]
    gates, inner, states, out = _empty((rows, 3 * hidden), *[(rows, hidden)] * 3)
    _run("gru_forward", (h,), x, _part(h), _panels(w_ih.T), _panels(w_hh.T), _bias(w_ih, b_ih), _bias(w_hh, b_hh),
         np.array(steps), _first, gates, inner, states, out)  # fmt: skip
    return out, h, (gates, inner, states)


def gru_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    gates, inner, states = saved
    g_out, dh = g
    pre, pre_h, gx = _empty(gates.shape, gates.shape, x.shape if needs_x else (0, 0))
    _run("gru_backward", (dh,), _solid(g_out), _part(dh), _panels(w_ih), _panels(w_hh), np.array(steps), _first,
         gates, inner, states, pre, pre_h, gx)  # fmt: skip
    g_ih, g_bias, g_hh, g_bias_h = _weight_gradients((pre, _solid(x), True), (pre_h, states, True))
    return gx if needs_x else None, dh, g_ih, g_hh, g_bias, g_bias_h


def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    w_ih, w_hh, b_ih, b_hh, _ = weights
    x, h = _solid(x), np.array(h0, order="C")
    states, out = _empty(*[(x.shape[0], h.shape[1])] * 2)
    _run("rnn_forward", (h,), x, _part(h), _panels(w_ih.T), _panels(w_hh.T), _bias(w_ih, b_ih, b_hh), relu,
         np.array(steps), _first, states, out)  # fmt: skip
    return out, h, (out.copy(), states)


def rnn_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool, relu: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    out, states = saved
    g_out, dh = g
    pre, gx = _empty(out.shape, x.shape if needs_x else (0, 0))
    _run("rnn_backward", (dh,), _solid(g_out), _part(dh), _panels(w_ih), _panels(w_hh), relu, np.array(steps), _first,
         out, pre, gx)  # fmt: skip
    g_ih, g_bias, g_hh, _ = _weight_gradients((pre, _solid(x), True), (pre, states, False))
    return gx if needs_x else None, dh, g_ih, g_hh, g_bias
