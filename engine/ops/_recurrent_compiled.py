"""Recurrent layers by the compiled kernels of `fast/recurrent.py`: the same functions as `_recurrent_steps`, which see.

A block of sequences runs through all time steps on one thread, without a word of Python in between, and the blocks run side
by side on the pool. A sequence's numbers do not depend on its block, so their number may go by that of threads.
Units are filled up to whole vectors, and columns of products to whole panels; what is in between is zero.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from .. import fast
from ..pool import LARGE, get_num_threads, parallel_for, spans

_LEAST_ROWS, _MOST_ROWS = 4, 32  # sequences in a block: weights are read for each, and its states stay in cache
_BLOCKS = 8  # of panels, in which the gradient of a weight is made
_NONE = np.empty((0, 0), np.float32)
_NO_PANELS = np.empty((0, 0, 0), np.float32)


def usable(x: Any, h0: Any, w_ih: Any) -> bool:
    """Whether kernels are there for this layer, and the work is worth it."""
    large = x.shape[0] * w_ih.shape[0] >= LARGE and x.shape[1] > 0
    return large and type(x) is np.ndarray and x.dtype == np.float32 and fast.kernels("recurrent") is not None


@cache
def _kernels() -> Any:
    """The kernels of layers and of products, also for a backward pass after they were switched off."""
    return fast.kernels("recurrent"), fast.kernels("products")


def _run(kernel: str, batch: int, *arguments: Any) -> None:
    """Call a kernel for every block of the batch; states come as functions of the block."""
    compiled = getattr(_kernels()[0], kernel)
    rows = -(-batch // (2 * get_num_threads()))  # two for each, because one may be held up, and long sequences come first
    blocks = spans(batch, min(_MOST_ROWS, max(_LEAST_ROWS, rows)))

    def run(i: int) -> None:
        compiled(*[a(blocks[i]) if callable(a) else a for a in arguments])

    parallel_for(run, len(blocks))


def _part(state: Any) -> Callable:
    return lambda block: state[block]


def _first(block: slice) -> int:
    return block.start


def _solid(a: Any) -> Any:
    """An array as kernels take it; `_NONE` for None."""
    return _NONE if a is None else a if fast.fits(a) else np.array(a, np.float32, order="C")


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


class _Sizes:
    """How wide things are: `units` of a layer's gates in whole vectors, `wide` the width of a panel of columns."""

    def __init__(self, gates: int, hidden: int) -> None:
        products = _kernels()[1]
        self.gates, self.lanes, self.wide = gates, products.LANES, products.WIDE * products.LANES
        self.vectors = products.WIDE if gates == 1 else gates
        self.panel = self.vectors * self.lanes
        self.units = _up(hidden, self.wide if gates == 1 else self.lanes)
        self.sums = gates * self.units

    def rows_of_sums(self, rows: int) -> Any:
        """For gates or their gradients: the distance of rows is no power of two, or they compete for places in a cache."""
        return np.empty((rows, self.sums + self.lanes), np.float32)

    def panels(self, w: Any) -> Any:
        """A weight for sums; none for None."""
        if w is None:
            return _NO_PANELS
        packed = np.empty((self.sums // self.panel, w.shape[1], self.panel), np.float32)
        _kernels()[1].pack(_solid(w), self.gates, packed)
        return packed

    def panels_of_rows(self, w: Any) -> Any:
        """A weight for gradients; none for None."""
        if w is None:
            return _NO_PANELS
        packed = np.empty((_up(w.shape[1], self.wide) // self.wide, self.sums, self.wide), np.float32)
        _kernels()[1].pack_rows(_solid(w), self.gates, packed)
        return packed

    def bias(self, *biases: Any) -> Any:
        """The sum of biases (zeros for None), in the order of sums."""
        total: Any = sum(b for b in biases if b is not None)
        packed = self.panels(None if type(total) is int else total[:, None])
        return packed.reshape(-1) if packed.size else np.zeros(self.sums, np.float32)

    def state(self, values: Any) -> Any:
        """A copy of states, or of their gradients, as wide as panels that multiply to it."""
        made = np.zeros((len(values), _up(values.shape[1], self.wide)), np.float32)
        made[:, : values.shape[1]] = values
        return made

    def scratch(self, state: Any) -> Any:
        """What a step makes in between, for all sequences: as wide as a state and all units."""
        return np.zeros((len(state), max(state.shape[1], self.units)), np.float32)

    def weight_gradients(self, *pairs: tuple) -> list:
        """For every (gradients of sums, what the weight was multiplied with, its shape, whether there is a bias): those of
        weight and bias."""
        compiled = _kernels()[1].weight_gradient
        made, tasks = [], []
        for pre, x, shape, biased in pairs:
            out, bias = np.empty(shape, np.float32), np.empty(shape[0] if biased else 0, np.float32)
            made += [out, bias]
            count = self.sums // self.panel
            tasks += [(pre, self.gates, x, s.start, s.stop, out, bias) for s in spans(count, -(-count // _BLOCKS))]
        parallel_for(lambda i: compiled(*tasks[i]), len(tasks))
        return made


def _cut(wide: Any, columns: int) -> Any:
    """The columns that are not there to fill up."""
    return wide if wide.shape[1] == columns else wide[:, :columns].copy()


def _room_for(x: Any, needs: bool, sizes: _Sizes) -> Any:
    """For gradients of inputs, if they are needed."""
    return np.empty((len(x), _up(x.shape[1], sizes.wide)), np.float32) if needs else _NONE


def _empty(*shapes: tuple) -> list:
    return [np.empty(shape, np.float32) for shape in shapes]


def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    rows, (batch, hidden), width, sizes = len(x), c0.shape, h0.shape[1], _Sizes(4, c0.shape[1])
    h, c = sizes.state(h0), sizes.state(c0)
    gates, (cells, states, out) = sizes.rows_of_sums(rows), _empty((rows, sizes.units), (rows, width), (rows, width))
    projection = _Sizes(1, width).panels(w_hr)
    _run("lstm_forward", batch, _solid(x), _part(h), _part(c), _part(sizes.scratch(h)), sizes.panels(w_ih),
         sizes.panels(w_hh), projection, sizes.bias(b_ih, b_hh), np.array(steps), _first, gates, cells, states,
         out)  # fmt: skip
    return out, _cut(h, width), _cut(c, hidden), (gates, cells, states)


def lstm_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, w_hr = weights
    gates, cells, states = saved
    g_out, g_h, g_c = g
    (rows, width), (batch, hidden), sizes = states.shape, g_c.shape, _Sizes(4, g_c.shape[1])
    dh, dc, pre, gx = sizes.state(g_h), sizes.state(g_c), sizes.rows_of_sums(rows), _room_for(x, needs_x, sizes)
    thin = _Sizes(1, width)
    made, taken = _empty((batch, sizes.units), (0, 0)) if w_hr is None else _empty((rows, sizes.units), (rows, thin.sums))
    _run("lstm_backward", batch, _solid(g_out), _part(dh), _part(dc), _part(sizes.scratch(dc)),
         sizes.panels_of_rows(w_ih), sizes.panels_of_rows(w_hh), thin.panels_of_rows(w_hr), np.array(steps), _first,
         gates, cells, pre, made, taken, gx)  # fmt: skip
    g_ih, g_bias, g_hh, _ = sizes.weight_gradients((pre, _solid(x), w_ih.shape, True), (pre, states, w_hh.shape, False))
    g_hr = None if w_hr is None else thin.weight_gradients((taken, made, w_hr.shape, False))[0]
    return _cut(gx, x.shape[1]) if needs_x else None, _cut(dh, width), _cut(dc, hidden), g_ih, g_hh, g_bias, g_hr


def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    w_ih, w_hh, b_ih, b_hh, _ = weights
    rows, (batch, hidden), sizes = len(x), h0.shape, _Sizes(3, h0.shape[1])
    h, gates = sizes.state(h0), sizes.rows_of_sums(rows)
    inner, states, out, panel = _empty((rows, sizes.units), (rows, sizes.units), (rows, hidden), (batch, sizes.panel))
    _run("gru_forward", batch, _solid(x), _part(h), _part(sizes.scratch(h)), _part(panel),
         sizes.panels(w_ih), sizes.panels(w_hh), sizes.bias(b_ih), sizes.bias(b_hh), np.array(steps), _first, gates,
         inner, states, out)  # fmt: skip
    return out, _cut(h, hidden), (gates, inner, states)


def gru_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    gates, inner, states = saved
    g_out, g_h = g
    rows, (batch, hidden), sizes = len(x), g_h.shape, _Sizes(3, g_h.shape[1])
    dh, pre, pre_h, gx = sizes.state(g_h), sizes.rows_of_sums(rows), sizes.rows_of_sums(rows), _room_for(x, needs_x, sizes)
    _run("gru_backward", batch, _solid(g_out), _part(dh), sizes.panels_of_rows(w_ih), sizes.panels_of_rows(w_hh),
         np.array(steps), _first, gates, inner, states, pre, pre_h, gx)  # fmt: skip
    pairs = (pre, _solid(x), w_ih.shape, True), (pre_h, states, w_hh.shape, True)
    g_ih, g_bias, g_hh, g_bias_h = sizes.weight_gradients(*pairs)
    return _cut(gx, x.shape[1]) if needs_x else None, _cut(dh, hidden), g_ih, g_hh, g_bias, g_bias_h


def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    w_ih, w_hh, b_ih, b_hh, _ = weights
    (batch, hidden), sizes = h0.shape, _Sizes(1, h0.shape[1])
    h, (states, kept) = sizes.state(h0), _empty((len(x), hidden), (len(x), sizes.units))
    _run("rnn_forward", batch, _solid(x), _part(h), _part(sizes.scratch(h)), sizes.panels(w_ih), sizes.panels(w_hh),
         sizes.bias(b_ih, b_hh), relu, np.array(steps), _first, states, kept)  # fmt: skip
    return kept[:, :hidden].copy(), _cut(h, hidden), (kept, states)


def rnn_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool, relu: bool) -> tuple:
    w_ih, w_hh, _, _, _ = weights
    kept, states = saved
    g_out, g_h = g
    (batch, hidden), sizes = g_h.shape, _Sizes(1, g_h.shape[1])
    dh, pre, gx = sizes.state(g_h), sizes.rows_of_sums(len(x)), _room_for(x, needs_x, sizes)
    _run("rnn_backward", batch, _solid(g_out), _part(dh), sizes.panels_of_rows(w_ih), sizes.panels_of_rows(w_hh),
         relu, np.array(steps), _first, kept, pre, gx)  # fmt: skip
    g_ih, g_bias, g_hh, _ = sizes.weight_gradients((pre, _solid(x), w_ih.shape, True), (pre, states, w_hh.shape, False))
    return _cut(gx, x.shape[1]) if needs_x else None, _cut(dh, hidden), g_ih, g_hh, g_bias
