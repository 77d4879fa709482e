"""Recurrent layers: lstm, gru, rnn_tanh and rnn_relu over whole sequences (single steps: recurrent_cells.py).

One node per layer and direction, whatever the length of the sequence; the loops over time are in `_recurrent_steps`
and, compiled, in `_recurrent_compiled`, a step alone in `_recurrent_single`.
Formulas: Hochreiter and Schmidhuber 1997 with forget gates; Cho et al. 2014 (in the variant of torch's documentation).
"""

from __future__ import annotations

from typing import Any

from .. import autograd
from ..gpu.recurrent import Gru, Lstm
from ..tensor import Tensor
from . import _recurrent_compiled, _recurrent_single, _recurrent_steps
from .base import CARDS, Op, apply, expect_tensor, install, op
from .casting import casting, lower
from .dropout import dropout as drop
from .samples import samples_for


class Recurrent(Op):
    """Base of the layer cards: inputs x (rows, I), h0, c0, w_ih, w_hh, b_ih, b_hh, w_hr; params `steps`, `relu`.

    Outputs: the states after every step (rows, H), the final h (B, H), and for the LSTM the final c (B, H).
    """

    n = 8
    outputs = 0
    has_aux = True
    keep = (0, 1, 2, 3, 4, 5, 6, 7)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        """Differentiable gradients: run the layer again as a composition of operators and differentiate that."""
        steps, relu = s.params
        aliases = [None if t is None else CARDS["_reshape"].apply(t, tuple(t.shape)) for t in s.inputs]
        outs = compose(cls.name, aliases, steps, relu)
        pairs = [(o, d) for o, d in zip(outs, g) if d is not None]
        wanted = [i for i, need in enumerate(s.needs) if need]
        found = autograd.grad(
            [o for o, _ in pairs],
            [aliases[i] for i in wanted],
            [d for _, d in pairs],
            create_graph=True,
            allow_unused=True,
        )
        grads: list = [None] * len(aliases)
        for i, grad in zip(wanted, found):
            grads[i] = grad
        return tuple(grads)


def _form(x: Any, h0: Any, w_ih: Any, steps: list) -> Any:
    """What to run: a single step, or loops, compiled or written with NumPy or CuPy."""
    if len(steps) == 1 and steps[0][1] == len(h0):
        return _recurrent_single
    return _recurrent_compiled if _recurrent_compiled.usable(x, h0, w_ih) else _recurrent_steps


def _start(xp: Any, g: Any, states: tuple) -> tuple:
    """Gradients of the outputs, and of the final states as new arrays (zeros where none arrived)."""
    return (g[0], *[xp.zeros(s.shape, s.dtype) if d is None else xp.array(d, order="C") for d, s in zip(g[1:], states)])


@op("_lstm_layer", function=False, method=False, node="LstmBackward0")
class LstmLayer(Recurrent):
    """One LSTM layer in one direction."""

    gpu = Lstm()

    @staticmethod
    def forward(xp: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, steps: list,
                relu: bool) -> tuple:  # fmt: skip
        form = _form(x, h0, w_ih, steps)
        out, h, c, saved = form.lstm_forward(xp, x, h0, c0, (w_ih, w_hh, b_ih, b_hh, w_hr), steps)
        return [out, h, c], (form, saved)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, h0, c0, *weights = s.inputs
        form, saved = s.aux
        gx, gh, gc, gi, gr, gb, gp = form.lstm_backward(
            xp.np, _start(xp.np, g, (h0, c0)), x, tuple(weights), s.params[0], saved, s.needs[0]
        )
        return gx, gh, gc, gi, gr, gb, gb, gp


@op("_gru_layer", function=False, method=False, node="GruBackward0")
class GruLayer(Recurrent):
    """One GRU layer in one direction."""

    gpu = Gru()

    @staticmethod
    def forward(xp: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, steps: list,
                relu: bool) -> tuple:  # fmt: skip
        form = _form(x, h0, w_ih, steps)
        out, h, saved = form.gru_forward(xp, x, h0, (w_ih, w_hh, b_ih, b_hh, w_hr), steps)
        return [out, h], (form, saved)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, h0, _, *weights = s.inputs
        form, saved = s.aux
        gx, gh, gi, gr, gb, gb_h = form.gru_backward(
            xp.np, _start(xp.np, g, (h0,)), x, tuple(weights), s.params[0], saved, s.needs[0]
        )
        return gx, gh, None, gi, gr, gb, gb_h, None


@op("_rnn_layer", function=False, method=False, node="RnnBackward0")
class RnnLayer(Recurrent):
    """One plain recurrent layer in one direction."""

    @staticmethod
    def forward(xp: Any, x: Any, h0: Any, c0: Any, w_ih: Any, w_hh: Any, b_ih: Any, b_hh: Any, w_hr: Any, steps: list,
                relu: bool) -> tuple:  # fmt: skip
        form = _form(x, h0, w_ih, steps)
        out, h, saved = form.rnn_forward(xp, x, h0, (w_ih, w_hh, b_ih, b_hh, w_hr), steps, relu)
        return [out, h], (form, saved)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, h0, _, *weights = s.inputs
        steps, relu = s.params
        form, saved = s.aux
        gx, gh, gi, gr, gb = form.rnn_backward(
            xp.np, _start(xp.np, g, (h0,)), x, tuple(weights), steps, saved, s.needs[0], relu
        )
        return gx, gh, None, gi, gr, gb, gb, None


# -- the same layers as compositions, for gradients of gradients ------------------------------------------------------


def compose(kind: str, tensors: list, steps: list, relu: bool) -> list:
    """A layer's outputs, computed step by step with recorded operators."""
    x, h, c, w_ih, w_hh, b_ih, b_hh, w_hr = tensors
    pieces: dict[int, Tensor] = {}
    for at, n in steps:
        a, u = x[at : at + n] @ w_ih.T, h[:n] @ w_hh.T
        if b_ih is not None:
            a, u = a + b_ih, u + b_hh
        if kind == "_lstm_layer":
            i, f, g, o = (a + u).chunk(4, 1)
            cell = f.sigmoid() * c[:n] + i.sigmoid() * g.tanh()
            new = o.sigmoid() * cell.tanh()
            new = new if w_hr is None else new @ w_hr.T
            c = _replaced(c, cell, n)
        elif kind == "_gru_layer":
            (r, z, m), (r_h, z_h, m_h) = a.chunk(3, 1), u.chunk(3, 1)
            candidate = (m + (r + r_h).sigmoid() * m_h).tanh()
            new = (h[:n] - candidate) * (z + z_h).sigmoid() + candidate
        else:
            new = (a + u).relu() if relu else (a + u).tanh()
        pieces[at] = new
        h = _replaced(h, new, n)
    out = CARDS["cat"].call([pieces[at] for at in sorted(pieces)], 0)
    return [out, h, c] if kind == "_lstm_layer" else [out, h]


def _replaced(state: Tensor, rows: Tensor, n: int) -> Tensor:
    """`state` with its first n rows replaced."""
    return rows if n == state.shape[0] else CARDS["cat"].call([rows, state[n:]], 0)  # type: ignore[index]


# -- layers stacked ---------------------------------------------------------------------------------------------------


def _steps_of(sizes: list) -> list:
    """(first row, count) of every time step of packed rows."""
    steps, at = [], 0
    for n in sizes:
        steps.append((at, n))
        at += n
    return steps


def _layer_weights(params: Any, has_biases: bool, layers: int, directions: int, function: str) -> list[tuple]:
    """Flat parameters as (w_ih, w_hh, b_ih, b_hh, w_hr) per layer and direction."""
    params = list(params)
    total = layers * directions
    each = len(params) // total if total else 0
    expected = (4, 5) if has_biases else (2, 3)
    if each not in expected or each * total != len(params):
        raise RuntimeError(
            f"{function}(): got an incorrect number of RNN parameters: {len(params)} for {layers} layers, "
            f"{directions} directions and has_biases={has_biases}"
        )
    groups = [params[i * each : (i + 1) * each] for i in range(total)]
    if has_biases:
        return [(*g, None) if each == 4 else tuple(g) for g in groups]
    return [(g[0], g[1], None, None, g[2] if each == 3 else None) for g in groups]


def lower_layer(card: type[Op], x: Tensor, states: tuple, weights: Any) -> tuple:
    """A layer's tensors in autocast's dtype. Where the state is not computed by a product alone (GRU, and the cells of
    LSTM), torch stays on the CPU with the dtype of the input, and so do we."""
    if card is not RnnLayer and not x.dtype.half and not x.is_cuda:
        return x, states, weights
    return lower(x)[0], lower(*states), lower(*weights)


def check_layer(function: str, x: Tensor, weights: tuple, states: tuple) -> None:
    expected = weights[0]._array.shape[1]
    if x._array.shape[-1] != expected:
        raise RuntimeError(
            f"input.size(-1) must be equal to input_size. Expected {expected}, got {x._array.shape[-1]} "
            f"({function}(), input of size {list(x.shape)})"
        )
    width = weights[1]._array.shape[1]
    if states[0]._array.shape[-1] != width:
        raise RuntimeError(f"{function}(): expected a hidden state of width {width}, got {list(states[0].shape)}")
    for t in (weights[0], *states):
        if t._array.dtype != x._array.dtype:
            raise RuntimeError(
                f"{function}(): input has dtype {x.dtype}, but a parameter or hidden state has dtype {t.dtype}"
            )


def stack(
    card: type[Op],
    function: str,
    data: Tensor,
    sizes: list,
    hx: tuple,
    params: Any,
    has_biases: bool,
    num_layers: int,
    dropout: float,
    train: bool,
    bidirectional: bool,
    relu: bool = False,
) -> tuple:
    """Layers on top of each other over packed rows: (top outputs, final states of all layers and directions ...)."""
    directions = 2 if bidirectional else 1
    weights = _layer_weights(params, has_biases, num_layers, directions, function)
    for state in hx:
        if (
            state._array.ndim != 3
            or state._array.shape[0] != len(weights)
            or (sizes and state._array.shape[1] != sizes[0])
        ):
            raise RuntimeError(
                f"{function}(): expected hidden states of shape ({len(weights)}, "
                f"{sizes[0] if sizes else 0}, *), got {list(state.shape)}"
            )
    steps = _steps_of(sizes)
    finals: list[list] = [[] for _ in hx]
    for layer in range(num_layers):
        outs = []
        for direction in range(directions):
            k = layer * directions + direction
            states = tuple(state[k] for state in hx)  # type: ignore[index]
            check_layer(function, data, weights[k], states)
            h0, c0 = states if len(states) == 2 else (states[0], None)
            order = steps[::-1] if direction else steps
            out, *last = apply(card, (data, h0, c0, *weights[k]), (order, relu))
            outs.append(out)
            for kept, value in zip(finals, last):
                kept.append(value)
        data = outs[0] if directions == 1 else CARDS["cat"].call(outs, 1)
        if dropout and train and layer < num_layers - 1:
            data = drop(data, dropout, True)
    return (data, *[_stacked(kept) for kept in finals])


def _stacked(states: list) -> Tensor:
    return states[0].unsqueeze(0) if len(states) == 1 else CARDS["cat"].call([s.unsqueeze(0) for s in states], 0)


def _run(card: type[Op], function: str, args: tuple, kwargs: dict, states: int, relu: bool = False) -> tuple:
    """Parse torch's two overloads (padded and packed sequences) and run the layers."""
    names = ("input", "hx", "params", "has_biases", "num_layers", "dropout", "train", "bidirectional", "batch_first")
    packed = "batch_sizes" in kwargs or (
        len(args) > 2 and isinstance(args[1], Tensor) and (states == 2 or isinstance(args[2], Tensor))
    )
    if packed:
        names = ("data", "batch_sizes", *names[1:-1])
    given = dict(zip(names, args))
    for name, value in kwargs.items():
        if name not in names or name in given:
            raise TypeError(
                f"{function}() got an unexpected or repeated argument '{name}' (arguments: {', '.join(names)})"
            )
        given[name] = value
    missing = [name for name in names if name not in given and name != "batch_first"]
    if missing or len(args) > len(names):
        raise TypeError(f"{function}(): expected arguments {', '.join(names)}; missing: {', '.join(missing) or 'none'}")
    hx = given["hx"]
    hx = (hx,) if states == 1 else tuple(hx)
    if casting.on:
        first = "data" if packed else "input"
        layer = RnnLayer if card is LstmLayer else card  # torch's LSTM layer is one kernel that runs in autocast's dtype
        given[first], hx, given["params"] = lower_layer(layer, given[first], hx, given["params"])
    if len(hx) != states:
        raise RuntimeError(f"{function} expects {states} hidden states, got {len(hx)}")
    settings = (
        hx,
        given["params"],
        given["has_biases"],
        given["num_layers"],
        given["dropout"],
        given["train"],
        given["bidirectional"],
        relu,
    )
    if packed:
        return stack(card, function, given["data"], given["batch_sizes"].tolist(), *settings)
    return _padded(card, function, expect_tensor(given["input"], function), given.get("batch_first", False), settings)


def _padded(card: type[Op], function: str, x: Any, batch_first: bool, settings: tuple) -> tuple:
    if x._array.ndim != 3:
        raise RuntimeError(
            f"{function}(): Expected input to be 3D (time, batch, features), got {x._array.ndim}D: {list(x.shape)}"
        )
    if batch_first:
        x = x.transpose(0, 1)
    length, batch, width = x._array.shape
    if length == 0:
        raise RuntimeError(f"{function}(): Expected sequence length to be larger than 0 in RNN")
    out, *finals = stack(card, function, x.reshape(length * batch, width), [batch] * length, *settings)
    out = out.reshape(length, batch, -1)
    return (out.transpose(0, 1) if batch_first else out, *finals)


_DOC = """{title} over a whole sequence, layer upon layer; what `nn.{module}` calls.

    Two forms, as torch: `(input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first)`
    with input (T, B, I) or (B, T, I), and `(data, batch_sizes, hx, params, has_biases, num_layers, dropout, train,
    bidirectional)` with packed rows. `hx` is {hx}; `params` are w_ih, w_hh, b_ih, b_hh per layer and direction.
    Returns (outputs, {returns}). RuntimeError for sizes or dtypes that do not fit.

    >>> w = [torch.ones({g}, 1), torch.ones({g}, 1)]
    >>> h = torch.zeros(1, 1, 1)
    >>> torch.{name}(torch.ones(2, 1, 1), {call}, w, False, 1, 0.0, False, False, False)[0].flatten()
    {result}
    """


def _install_layers() -> None:
    table = (
        ("lstm", LstmLayer, 2, False, "LSTM", "Long short-term memory", 4, "tensor([0.3696, 0.6505])"),
        ("gru", GruLayer, 1, False, "GRU", "Gated recurrent units", 3, "tensor([0.2048, 0.3468])"),
        ("rnn_tanh", RnnLayer, 1, False, "RNN", "A recurrent layer with tanh", 1, "tensor([0.7616, 0.9427])"),
        ("rnn_relu", RnnLayer, 1, True, "RNN", "A recurrent layer with relu", 1, "tensor([1., 2.])"),
    )
    for name, card, states, relu, module, title, gates, result in table:

        def layers(*args: Any, _of: tuple = (card, name, states, relu), **kwargs: Any) -> tuple:
            card, name, states, relu = _of
            return _run(card, name, args, kwargs, states, relu)

        layers.__doc__ = _DOC.format(
            name=name,
            title=title,
            module=module,
            g=gates,
            result=result,
            call="(h, h)" if states == 2 else "h",
            hx="(h, c), each (layers * directions, B, H)" if states == 2 else "(layers * directions, B, H)",
            returns="h, c" if states == 2 else "h",
        )
        install(layers, name, method=False)


_install_layers()


@samples_for("lstm")
def _samples(make: Any) -> Any:
    def weights(gates: int, layers: int, directions: int, bias: bool, proj: int = 0) -> list:
        state = proj or 3
        out = []
        for layer in range(layers):
            for _ in range(directions):
                out += [
                    make.uniform((gates * 3, 2 if layer == 0 else state * directions), -1, 1),
                    make.uniform((gates * 3, state), -1, 1),
                ]
                out += [make.uniform((gates * 3,), -1, 1), make.uniform((gates * 3,), -1, 1)] if bias else []
                out += [make.uniform((proj, 3), -1, 1)] if proj else []
        return out

    def state(k: int, width: int = 3) -> Any:
        return make.uniform((k, 2, width), -1, 1)

    for name, gates in (("lstm", 4), ("gru", 3), ("rnn_tanh", 1), ("rnn_relu", 1)):
        for layers, both, bias, first in ((1, False, True, False), (2, True, True, True), (1, False, False, False)):
            k = layers * (2 if both else 1)
            hx = (state(k), state(k)) if name == "lstm" else state(k)
            yield make(
                name,
                make.uniform((2, 2, 2)),
                hx,
                weights(gates, layers, 1 + both, bias),
                bias,
                layers,
                0.0,
                False,
                both,
                first,
            )
        cell_hx = (make.uniform((2, 3)), make.uniform((2, 3))) if name == "lstm" else make.uniform((2, 3))
        yield make(name + "_cell", make.uniform((2, 2)), cell_hx, *weights(gates, 1, 1, True))
    yield make(
        "lstm",
        make.uniform((3, 2, 2)),
        (state(2, 1), state(2)),
        weights(4, 1, 2, True, 1),
        True,
        1,
        0.0,
        False,
        True,
        False,
    )
