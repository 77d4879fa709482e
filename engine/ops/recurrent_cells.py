"""Single steps of recurrent layers: lstm_cell, gru_cell, rnn_tanh_cell, rnn_relu_cell. One node each."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from .base import Op, apply, expect_tensor, install
from .casting import casting
from .recurrent import GruLayer, LstmLayer, RnnLayer, check_layer, lower_layer


def _cell(
    card: type[Op],
    function: str,
    input: Tensor,
    states: tuple,
    w_ih: Tensor,
    w_hh: Tensor,
    b_ih: Any,
    b_hh: Any,
    relu: bool = False,
) -> tuple:
    if expect_tensor(input, function)._array.ndim != 2:
        raise RuntimeError(f"{function}(): Expected input to be 2D (batch, features), got {list(input.shape)}")
    if casting.on:
        input, states, (w_ih, w_hh, b_ih, b_hh) = lower_layer(card, input, states, (w_ih, w_hh, b_ih, b_hh))
    check_layer(function, input, (w_ih, w_hh), states)
    h0, c0 = states if len(states) == 2 else (states[0], None)
    if h0._array.shape[0] != input._array.shape[0]:
        raise RuntimeError(
            f"Input batch size {input._array.shape[0]} doesn't match hidden0 batch size {h0._array.shape[0]}"
        )
    return apply(card, (input, h0, c0, w_ih, w_hh, b_ih, b_hh, None), ([(0, input._array.shape[0])], relu))[1:]


def lstm_cell(
    input: Tensor, hx: Any, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> tuple:
    """One LSTM step: input (B, I) and hx = (h, c), each (B, H), give the next (h, c).

    >>> h = torch.zeros(1, 1)
    >>> torch.lstm_cell(torch.ones(1, 1), (h, h), torch.ones(4, 1), torch.ones(4, 1))
    (tensor([[0.3696]]), tensor([[0.5568]]))
    """
    return _cell(LstmLayer, "lstm_cell", input, tuple(hx), w_ih, w_hh, b_ih, b_hh)


def gru_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One GRU step: input (B, I) and hx (B, H) give the next state.

    >>> torch.gru_cell(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(3, 1), torch.ones(3, 1))
    tensor([[0.2048]])
    """
    return _cell(GruLayer, "gru_cell", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_tanh_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a recurrent layer with tanh: input (B, I) and hx (B, H) give the next state.

    >>> torch.rnn_tanh_cell(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1))
    tensor([[0.7616]])
    """
    return _cell(RnnLayer, "rnn_tanh_cell", input, (hx,), w_ih, w_hh, b_ih, b_hh)[0]


def rnn_relu_cell(
    input: Tensor, hx: Tensor, w_ih: Tensor, w_hh: Tensor, b_ih: Tensor | None = None, b_hh: Tensor | None = None
) -> Tensor:
    """One step of a recurrent layer with relu: input (B, I) and hx (B, H) give the next state.

    >>> torch.rnn_relu_cell(torch.ones(1, 1), torch.zeros(1, 1), torch.ones(1, 1), torch.ones(1, 1))
    tensor([[1.]])
    """
    return _cell(RnnLayer, "rnn_relu_cell", input, (hx,), w_ih, w_hh, b_ih, b_hh, relu=True)[0]


for _fn in (lstm_cell, gru_cell, rnn_tanh_cell, rnn_relu_cell):
    install(_fn, _fn.__name__, method=False)
