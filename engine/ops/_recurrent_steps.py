"""The loops over time under recurrent.py: forward and backward through time of LSTM, GRU and plain RNN, on raw arrays.

How rows, steps and blocks lie in memory, and which thread does what, is told in `_recurrent_layout.py`. A step is one
product and a few ufuncs; a sigmoid is taken as 0.5 * tanh(0.5 * v) + 0.5, with the inner half in the weights, so that one
tanh serves all gates. The sums over inputs, the gradients of inputs and weights, and what backward can compute from what
forward has kept, are made for several steps at once.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ._recurrent_layout import Layer, Segment, over_panels, reordered

_LSTM_ORDER = (2, 1, 0, 3)  # gates g, f, i, o after the cell state c: [c, g] * [f, i] are the two parts of the next state


def _half(xp: Any, dtype: Any) -> Any:
    """0.5 as an operand that NumPy takes quickest; CuPy takes numbers only."""
    return np.full((), 0.5, dtype) if xp is np and dtype.kind == "f" else 0.5


def _sigmoid_of_double(xp: Any, sums: Any, half: Any) -> None:
    """sigmoid(2 * v) in place of tanh(v)."""
    xp.multiply(sums, half, out=sums)
    xp.add(sums, half, out=sums)


def _hand_out(out: Any, states: Any, last: Any) -> None:
    """Outputs are the states that the following steps start from, and the last one."""
    out[:-1] = states[1:]
    out[-1] = last


# -- LSTM -------------------------------------------------------------------------------------------------------------


def lstm_forward(xp: Any, x: Any, h0: Any, c0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, final c, what backward needs)."""
    w_ih, w_hh, b_ih, b_hh, w_hr = weights
    layer = Layer(xp, x, len(h0), 4, c0.shape[1], h0.shape[1], steps, b_ih is not None)
    joined, kept = layer.joined(x), layer.empty(5)
    out, h, c = xp.empty((layer.rows, layer.state), x.dtype), h0.copy(), c0.copy()
    from_x = layer.sums(_LSTM_ORDER, (w_ih, *layer.biases(b_ih, b_hh)), halved=3)
    from_h = layer.sums(_LSTM_ORDER, (w_hh,), halved=3)
    project = None if w_hr is None else layer.times(w_hr.T)
    half = _half(xp, x.dtype)

    def before(segment: Segment, block: slice) -> None:
        from_x(layer.inputs_of(segment.rows(joined, block)), segment.slots(kept, block, 5, layer.panels)[:, 1:])

    def loop(segment: Segment, block: slice) -> None:
        _lstm_segment(layer, segment, block, (joined, kept, out, h[block], c[block]), from_h, project, half)

    layer.forward(before, loop)
    return out, h, c, (layer, joined, kept)


def _lstm_segment(layer: Layer, segment: Segment, block: slice, arrays: tuple, from_h: Any, project: Any, half: Any) -> None:
    xp, (joined, kept, out, h, c) = layer.xp, arrays
    states, slots = layer.states_of(segment.rows(joined, block)), segment.slots(kept, block, 5, layer.panels)
    h, cell = h[: states.shape[1]], over_panels(c[: states.shape[1]], layer.panels)
    states[0], slots[0, 0] = h, cell
    sums = xp.empty(slots.shape[1:], c.dtype)[1:]
    pair = sums[:2]
    nexts = [*states[1:], h]
    made = h if project is None else xp.empty((len(h), layer.hidden), c.dtype)
    news = [over_panels(made if project else to, layer.panels) for to in nexts]
    for state, gates, sigmoids, cells, from_cells, o, next_cell, new, to in zip(
        states, slots[:, 1:], slots[:, 2:], slots[:, :2], slots[:, 2:4], slots[:, 4], [*slots[1:, 0], cell], news, nexts
    ):
        from_h(state, sums)
        xp.add(gates, sums, out=gates)
        xp.tanh(gates, out=gates)
        _sigmoid_of_double(xp, sigmoids, half)
        xp.multiply(cells, from_cells, out=pair)
        xp.add(pair[0], pair[1], out=next_cell)
        xp.tanh(next_cell, out=pair[0])
        xp.multiply(o, pair[0], out=new)
        if project is not None:
            project(made, to)
    _hand_out(segment.rows(out, block), states, h)


def lstm_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    """Gradients of (x, h0, c0, w_ih, w_hh, bias, w_hr) from those of (outputs, final h, final c); of x if it needs one."""
    w_ih, w_hh, _, _, w_hr = weights
    layer, joined, kept = saved
    g_out, dh, dc = g
    hidden = layer.hidden
    pre, g_x = xp.empty((layer.rows, 6 * hidden), x.dtype), xp.empty(x.shape, x.dtype) if needs_x else None
    taken, made = (None, None) if w_hr is None else (xp.empty((layer.rows, n), x.dtype) for n in w_hr.shape)
    to_h, to_x = layer.times(reordered(w_hh, _LSTM_ORDER)), layer.times(reordered(w_ih, _LSTM_ORDER)) if needs_x else None
    unproject = None if w_hr is None else layer.times(w_hr)

    def loop(segment: Segment, block: slice) -> None:
        factors = layer.parts_of(segment.rows(pre, block))
        again = None if made is None else over_panels(segment.rows(made, block), layer.panels)
        _lstm_factors(xp, segment.slots(kept, block, 5, layer.panels), factors, again)
        _lstm_segment_backward(layer, segment, block, (g_out, dh[block], dc[block], pre, taken), to_h, unproject)

    def after(segment: Segment, block: slice) -> None:
        to_x(segment.rows(pre, block)[:, :, hidden : 5 * hidden], segment.rows(g_x, block))  # type: ignore[misc]

    pairs = [(pre[:, hidden : 5 * hidden], joined)] + ([] if w_hr is None else [(taken, made)])
    product, *g_hr = layer.backward(loop, after if needs_x else None, *pairs)
    g_ih, g_bias, g_hh = (layer.gates_of(product, _LSTM_ORDER, *columns) for columns in layer.columns)
    return g_x, dh, dc, g_ih, g_hh, g_bias.reshape(-1) if layer.biased else None, g_hr[0] if g_hr else None


def _lstm_factors(xp: Any, slots: Any, factors: Any, again: Any) -> None:
    """What makes gradients, by multiplication and step by step: of the cell state before and of the sums g, f, i from that of
    the cell state; of the sum o and of the cell state from that of the output. And o * tanh(c), if it is wanted `again`."""
    pairs = slots[:, :2] * slots[:, 2:4]
    squashed = xp.tanh(xp.add(pairs[:, 0], pairs[:, 1], out=pairs[:, 0]), out=pairs[:, 0])
    g, f, i, o = (slots[:, k] for k in range(1, 5))
    sums = 1 - slots[:, 1:]
    sums[:, 1:] *= slots[:, 2:]
    sums[:, 1:3] *= slots[:, :2]
    sums[:, 3] *= squashed
    candidate = sums[:, 0]
    candidate *= xp.add(g, 1, out=pairs[:, 1])
    candidate *= i
    made = xp.multiply(o, squashed, out=pairs[:, 1])
    if again is not None:
        again[...] = made
    factors[:, 0], factors[:, 1:5] = f, sums
    xp.subtract(o, xp.multiply(made, squashed, out=squashed), out=factors[:, 5])


def _lstm_segment_backward(layer: Layer, segment: Segment, block: slice, arrays: tuple, to_h: Any, unproject: Any) -> None:
    """Gradients of the sums (g, f, i, o) take the place of their factors."""
    xp, (g_out, dh, dc, pre, taken) = layer.xp, arrays
    pres = segment.rows(pre, block)
    n, hidden = pres.shape[1], layer.hidden
    parts = layer.parts_of(pres)
    dh, cell = dh[:n], over_panels(dc[:n], layer.panels)
    d_rows = dh if unproject is None else xp.empty((n, hidden), dh.dtype)
    takens: Any = None if unproject is None else segment.rows(taken, block)
    d, d_cell, before = over_panels(d_rows, layer.panels), xp.empty(cell.shape, dh.dtype), cell
    given = None if g_out is None else segment.rows(g_out, block)
    for s in range(len(pres) - 1, -1, -1):
        part = parts[s]
        if given is not None:
            dh += given[s]
        if unproject is not None:
            takens[s] = dh
            unproject(dh, d_rows)
        of_h, of_cell = part[4:], part[:4]
        xp.multiply(d, of_h, out=of_h)
        xp.add(before, part[5], out=d_cell)
        xp.multiply(d_cell, of_cell, out=of_cell)
        before = part[0]
        to_h(pres[s, :, hidden : 5 * hidden], dh)
    cell[...] = before


# -- GRU --------------------------------------------------------------------------------------------------------------


def gru_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list) -> tuple:
    """(outputs, final h, what backward needs). Gates r, z, n; n = tanh(W x + b + r * (U h + c))."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    hidden = w_hh.shape[1]
    layer = Layer(xp, x, len(h0), 3, hidden, hidden, steps, b_ih is not None)
    joined, kept = layer.joined(x), layer.empty(4)  # kept: n, r, z, and U h + c
    out, h = xp.empty((layer.rows, hidden), x.dtype), h0.copy()
    from_x = layer.sums((2, 0, 1), (w_ih, *layer.biases(b_ih)), halved=2)
    from_h = layer.sums((2, 0, 1), (*layer.biases(b_hh), w_hh), halved=2)
    half = _half(xp, x.dtype)

    def before(segment: Segment, block: slice) -> None:
        from_x(layer.inputs_of(segment.rows(joined, block)), segment.slots(kept, block, 4, layer.panels)[:, :3])

    def loop(segment: Segment, block: slice) -> None:
        _gru_segment(layer, segment, block, (joined, kept, out, h[block]), from_h, half)

    layer.forward(before, loop)
    return out, h, (layer, joined, kept)


def _gru_segment(layer: Layer, segment: Segment, block: slice, arrays: tuple, from_h: Any, half: Any) -> None:
    xp, (joined, kept, out, h) = layer.xp, arrays
    rows, slots = segment.rows(joined, block), segment.slots(kept, block, 4, layer.panels)
    h, states = h[: rows.shape[1]], layer.states_of(rows)
    states[0] = h
    old = over_panels(states, layer.panels)
    sums = xp.empty((3, *old.shape[1:]), h.dtype)
    scratch = sums[0]
    for row, candidate, gates, last, before, new in zip(
        rows[:, :, layer.inputs :], slots[:, 0], slots[:, 1:3], slots[:, 3], old, [*old[1:], over_panels(h, layer.panels)]
    ):
        from_h(row, sums)
        last[...] = scratch
        xp.add(gates, sums[1:], out=gates)
        xp.tanh(gates, out=gates)
        _sigmoid_of_double(xp, gates, half)
        xp.multiply(gates[0], last, out=scratch)
        xp.add(candidate, scratch, out=candidate)
        xp.tanh(candidate, out=candidate)
        xp.subtract(before, candidate, out=scratch)
        xp.multiply(scratch, gates[1], out=scratch)
        xp.add(scratch, candidate, out=new)
    _hand_out(segment.rows(out, block), states, h)


def gru_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, b_ih, b_hh) from those of (outputs, final h); of x if it needs one."""
    w_ih, w_hh, _, _, _ = weights
    layer, joined, kept = saved
    g_out, dh = g
    hidden = layer.hidden
    pre, g_x = xp.empty((layer.rows, 5 * hidden), x.dtype), xp.empty(x.shape, x.dtype) if needs_x else None
    to_h, to_x = layer.times(reordered(w_hh, (1, 0, 2))), layer.times(reordered(w_ih, (2, 1, 0))) if needs_x else None

    def loop(segment: Segment, block: slice) -> None:
        states = over_panels(layer.states_of(segment.rows(joined, block)), layer.panels)
        slots = segment.slots(kept, block, 4, layer.panels)
        _gru_factors(xp, slots, states, layer.parts_of(segment.rows(pre, block)))
        _gru_segment_backward(layer, segment, block, (g_out, dh[block], pre), to_h)

    def after(segment: Segment, block: slice) -> None:
        to_x(segment.rows(pre, block)[:, :, hidden : 4 * hidden], segment.rows(g_x, block))  # type: ignore[misc]

    (_, at), (_, end), _ = layer.columns
    pairs = (pre[:, hidden : 4 * hidden], joined[:, :end]), (pre[:, 2 * hidden :], joined[:, at:])
    over_x, over_h = layer.backward(loop, after if needs_x else None, *pairs)
    g_ih, g_bias = (layer.gates_of(over_x, (2, 1, 0), *columns) for columns in layer.columns[:2])
    g_bias_h, g_hh = (layer.gates_of(over_h, (1, 0, 2), *columns) for columns in ((0, end - at), (end - at, None)))
    if not layer.biased:
        return g_x, dh, g_ih, g_hh, None, None
    return g_x, dh, g_ih, g_hh, g_bias.reshape(-1), g_bias_h.reshape(-1)


def _gru_factors(xp: Any, slots: Any, states: Any, factors: Any) -> None:
    """What makes gradients, by multiplication and step by step: of the state before (without the product) and of the sums
    n over x and z from that of the state; of the sums r and n over h from that of n over x."""
    candidate, r, z, last = (slots[:, k] for k in range(4))
    rest = 1 - slots[:, 1:3]  # 1 - r, 1 - z
    squares = candidate * candidate
    xp.multiply(xp.subtract(1, squares, out=squares), rest[:, 1], out=factors[:, 1])
    rest *= slots[:, 1:3]
    xp.multiply(rest[:, 1], xp.subtract(states, candidate, out=squares), out=factors[:, 2])
    xp.multiply(rest[:, 0], last, out=factors[:, 3])
    factors[:, 0], factors[:, 4] = z, r


def _gru_segment_backward(layer: Layer, segment: Segment, block: slice, arrays: tuple, to_h: Any) -> None:
    """Gradients of the sums (n over x, z, r, n over h) take the place of their factors."""
    xp, (g_out, dh, pre) = layer.xp, arrays
    pres = segment.rows(pre, block)
    parts = layer.parts_of(pres)
    dh = dh[: pres.shape[1]]
    d, given = over_panels(dh, layer.panels), None if g_out is None else segment.rows(g_out, block)
    for s in range(len(pres) - 1, -1, -1):
        part = parts[s]
        if given is not None:
            dh += given[s]
        of_h, of_n = part[:3], part[3:]
        xp.multiply(d, of_h, out=of_h)
        xp.multiply(part[1], of_n, out=of_n)
        to_h(pres[s, :, 2 * layer.hidden :], dh)
        xp.add(d, part[0], out=d)


# -- RNN --------------------------------------------------------------------------------------------------------------


def rnn_forward(xp: Any, x: Any, h0: Any, weights: tuple, steps: list, relu: bool) -> tuple:
    """(outputs, final h, what backward needs). h = tanh or relu of W x + U h + biases."""
    w_ih, w_hh, b_ih, b_hh, _ = weights
    hidden = w_hh.shape[1]
    layer = Layer(xp, x, len(h0), 1, hidden, hidden, steps, b_ih is not None)
    joined, kept, out, h = layer.joined(x), layer.empty(1), xp.empty((layer.rows, hidden), x.dtype), h0.copy()
    from_x, from_h = layer.sums((0,), (w_ih, *layer.biases(b_ih, b_hh))), layer.sums((0,), (w_hh,))

    def before(segment: Segment, block: slice) -> None:
        from_x(layer.inputs_of(segment.rows(joined, block)), segment.slots(kept, block, 1, layer.panels))

    def loop(segment: Segment, block: slice) -> None:
        _rnn_segment(layer, segment, block, (joined, kept, out, h[block]), from_h, relu)

    layer.forward(before, loop)
    return out, h, (layer, joined, kept)


def _rnn_segment(layer: Layer, segment: Segment, block: slice, arrays: tuple, from_h: Any, relu: bool) -> None:
    xp, (joined, kept, out, h) = layer.xp, arrays
    states, slots = layer.states_of(segment.rows(joined, block)), segment.slots(kept, block, 1, layer.panels)
    h = h[: states.shape[1]]
    states[0] = h
    sums = xp.empty(slots.shape[1:], h.dtype)
    for state, slot, new in zip(states, slots, [*over_panels(states[1:], layer.panels), over_panels(h, layer.panels)]):
        from_h(state, sums)
        xp.add(slot, sums, out=slot)
        if relu:
            xp.maximum(slot, 0, out=slot)
        else:
            xp.tanh(slot, out=slot)
        new[...] = slot[0]
    _hand_out(segment.rows(out, block), states, h)


def rnn_backward(xp: Any, g: tuple, x: Any, weights: tuple, steps: list, saved: tuple, needs_x: bool, relu: bool) -> tuple:
    """Gradients of (x, h0, w_ih, w_hh, bias) from those of (outputs, final h); of x if it needs one."""
    w_ih, w_hh, _, _, _ = weights
    layer, joined, kept = saved
    g_out, dh = g
    hidden = layer.hidden
    pre, g_x = xp.empty((layer.rows, hidden), x.dtype), xp.empty(x.shape, x.dtype) if needs_x else None
    to_h, to_x = layer.times(w_hh), layer.times(w_ih) if needs_x else None

    def loop(segment: Segment, block: slice) -> None:
        y = segment.slots(kept, block, 1, layer.panels)
        layer.parts_of(segment.rows(pre, block))[...] = y > 0 if relu else 1 - y * y
        _rnn_segment_backward(layer, segment, block, (g_out, dh[block], pre), to_h)

    def after(segment: Segment, block: slice) -> None:
        to_x(segment.rows(pre, block), segment.rows(g_x, block))  # type: ignore[misc]

    (product,) = layer.backward(loop, after if needs_x else None, (pre, joined))
    g_ih, g_bias, g_hh = (layer.gates_of(product, (0,), *columns) for columns in layer.columns)
    return g_x, dh, g_ih, g_hh, g_bias.reshape(-1) if layer.biased else None


def _rnn_segment_backward(layer: Layer, segment: Segment, block: slice, arrays: tuple, to_h: Any) -> None:
    """Gradients of the sums take the place of their factors."""
    xp, (g_out, dh, pre) = layer.xp, arrays
    pres = segment.rows(pre, block)
    dh, given = dh[: pres.shape[1]], None if g_out is None else segment.rows(g_out, block)
    for s in range(len(pres) - 1, -1, -1):
        if given is not None:
            dh += given[s]
        xp.multiply(dh, pres[s], out=pres[s])
        to_h(pres[s], dh)
