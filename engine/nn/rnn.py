"""Recurrent layers over sequences: RNN, LSTM, GRU. Their single steps are in rnn_cells.py."""

from __future__ import annotations

import math
import warnings
from typing import Any

import engine
from engine.nn import init
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.nn.utils.rnn import PackedSequence
from engine.tensor import Tensor

__all__ = ["GRU", "LSTM", "RNN", "RNNBase"]

_GATES = {"RNN_TANH": 1, "RNN_RELU": 1, "LSTM": 4, "GRU": 3}


class RNNBase(Module):
    """What RNN, LSTM and GRU share: settings, parameters, shapes of inputs and states.

    Per layer k (and ``_reverse`` direction) the parameters are ``weight_ih_l{k}`` (gates * hidden_size, input),
    ``weight_hh_l{k}`` (gates * hidden_size, hidden), ``bias_ih_l{k}``, ``bias_hh_l{k}`` and with projections
    ``weight_hr_l{k}`` (proj_size, hidden_size), all uniform in +-1/sqrt(hidden_size) at the start.
    """

    def __init__(
        self,
        mode: str,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        if mode not in _GATES:
            raise ValueError(f"Unrecognized RNN mode: {mode}")
        self.mode = mode
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.num_layers = num_layers
        self.bias = bias
        self.batch_first = batch_first
        self.dropout = float(dropout)
        self.bidirectional = bidirectional
        self.proj_size = proj_size
        self._check_settings(dropout)
        self._weight_names: list[str] = []
        for layer in range(num_layers):
            for suffix in ("", "_reverse") if bidirectional else ("",):
                self._add_parameters(layer, suffix, device, dtype)
        self.reset_parameters()

    def _check_settings(self, dropout: Any) -> None:
        if isinstance(dropout, bool) or not isinstance(dropout, (int, float)) or not 0 <= dropout <= 1:
            raise ValueError(
                "dropout should be a number in range [0, 1] representing the probability of an element being zeroed"
            )
        if not isinstance(self.hidden_size, int):
            raise TypeError(f"hidden_size should be of type int, got: {type(self.hidden_size).__name__}")
        if self.hidden_size <= 0:
            raise ValueError("hidden_size must be greater than zero")
        if self.num_layers <= 0:
            raise ValueError("num_layers must be greater than zero")
        if self.proj_size < 0:
            raise ValueError("proj_size should be a positive integer or zero to disable projections")
        if self.proj_size >= self.hidden_size:
            raise ValueError("proj_size has to be smaller than hidden_size")
        if dropout > 0 and self.num_layers == 1:
            warnings.warn(
                "dropout option adds dropout after all but last recurrent layer, so non-zero dropout expects "
                f"num_layers greater than 1, but got dropout={dropout} and num_layers={self.num_layers}",
                stacklevel=4,
            )

    def _add_parameters(self, layer: int, suffix: str, device: Any, dtype: Any) -> None:
        rows = _GATES[self.mode] * self.hidden_size
        state = self.proj_size or self.hidden_size
        directions = 2 if self.bidirectional else 1
        shapes: dict[str, tuple[int, ...]] = {
            "weight_ih": (rows, self.input_size if layer == 0 else state * directions),
            "weight_hh": (rows, state),
        }
        if self.bias:
            shapes.update(bias_ih=(rows,), bias_hh=(rows,))
        if self.proj_size:
            shapes.update(weight_hr=(self.proj_size, self.hidden_size))
        for kind, shape in shapes.items():
            name = f"{kind}_l{layer}{suffix}"
            setattr(self, name, Parameter(engine.empty(shape, device=device, dtype=dtype)))
            self._weight_names.append(name)

    def reset_parameters(self) -> None:
        """Draw all parameters anew, in order."""
        bound = 1.0 / math.sqrt(self.hidden_size)
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def flatten_parameters(self) -> None:
        """Accepted and without effect: the weights need no particular place in memory."""

    @property
    def _flat_weights(self) -> list[Parameter]:
        return [getattr(self, name) for name in self._weight_names]

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters, one list per layer and direction."""
        directions = self.num_layers * (2 if self.bidirectional else 1)
        weights = self._flat_weights
        each = len(weights) // directions
        return [weights[i * each : (i + 1) * each] for i in range(directions)]

    def extra_repr(self) -> str:
        optional = (
            ("proj_size", 0),
            ("num_layers", 1),
            ("bias", True),
            ("batch_first", False),
            ("dropout", 0.0),
            ("bidirectional", False),
        )
        text = f"{self.input_size}, {self.hidden_size}"
        return text + "".join(
            f", {name}={getattr(self, name)}" for name, default in optional if getattr(self, name) != default
        )

    # -- running ---------------------------------------------------------------------------------------------------

    def _run(self, function: Any, input: Any, hx: Any, state_sizes: tuple[int, ...]) -> tuple[Any, tuple[Tensor, ...]]:
        """Call `function` (engine.lstm or its kin) on a tensor or PackedSequence; (output, final states).

        `state_sizes` holds the width of each state: (hidden,) or, for the LSTM, (output, cell).
        """
        settings = (self._flat_weights, self.bias, self.num_layers, self.dropout, self.training, self.bidirectional)
        if isinstance(input, PackedSequence):
            data, batch_sizes, order, back = input
            states = self._states(hx, state_sizes, int(batch_sizes[0]), data, True, order)
            output, *states = function(data, batch_sizes, _one_or_all(states), *settings)
            return (
                PackedSequence(output, batch_sizes, order, back),
                tuple(state if back is None else state.index_select(1, back) for state in states),
            )
        if input.dim() not in (2, 3):
            raise ValueError(f"{self._get_name()}: Expected input to be 2D or 3D, got {input.dim()}D instead")
        batched = input.dim() == 3
        if not batched:
            input = input.unsqueeze(0 if self.batch_first else 1)
        self._check_input(input)
        batch = input.shape[0 if self.batch_first else 1]
        states = self._states(hx, state_sizes, batch, input, batched, None)
        output, *states = function(input, _one_or_all(states), *settings, self.batch_first)
        if batched:
            return output, tuple(states)
        return output.squeeze(0 if self.batch_first else 1), tuple(state.squeeze(1) for state in states)

    def _check_input(self, input: Tensor) -> None:
        if input.shape[-1] != self.input_size:
            raise RuntimeError(
                f"input.size(-1) must be equal to input_size. Expected {self.input_size}, got {input.shape[-1]}"
            )

    def _states(
        self, hx: Any, sizes: tuple[int, ...], batch: int, like: Tensor, batched: bool, order: Tensor | None
    ) -> tuple[Tensor, ...]:
        """The initial states, (layers * directions, batch, size) each: zeros, or `hx` after checking its shapes."""
        layers = self.num_layers * (2 if self.bidirectional else 1)
        if hx is None:
            return tuple(engine.zeros((layers, batch, size), dtype=like.dtype, device=like.device) for size in sizes)
        states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
        names = ("hidden",) if len(sizes) == 1 else ("hidden[0]", "hidden[1]")
        wanted = 3 if batched else 2
        for state in states:
            if state.dim() != wanted:
                kind = "batched 3-D" if batched else "unbatched 2-D"
                raise RuntimeError(
                    f"For {kind} input, hx should also be {wanted}-D but got {tuple(s.dim() for s in states)}-D tensors"
                )
        if not batched:
            states = tuple(state.unsqueeze(1) for state in states)
        for name, state, size in zip(names, states, sizes):
            if tuple(state.shape) != (layers, batch, size):
                raise RuntimeError(f"Expected {name} size {(layers, batch, size)}, got {list(state.shape)}")
        return states if order is None else tuple(state.index_select(1, order) for state in states)


def _one_or_all(states: tuple[Tensor, ...]) -> Any:
    return states[0] if len(states) == 1 else states


class RNN(RNNBase):
    """Elman network: h_t = tanh(x_t W_ih^T + b_ih + h_{t-1} W_hh^T + b_hh), or with ReLU.

    Args:
        input_size: features of x_t.
        hidden_size: features of h_t.
        num_layers: how many are stacked.
        nonlinearity: "tanh" or "relu".
        bias: whether there are biases.
        batch_first: whether batches are (N, L, features) instead of (L, N, features).
        dropout: probability, on the outputs of all layers but the last.
        bidirectional: whether a second network reads backwards; its output is appended.

    Shapes: input (L, N, input_size), (L, input_size) or a PackedSequence; h_0 (layers * directions, N, hidden_size),
    default zeros. Returns output (L, N, directions * hidden_size) and h_n like h_0.

    Raises:
        ValueError: for an unknown `nonlinearity` or sizes that are not positive.
        RuntimeError: for inputs or states of other sizes.

    Example::

        >>> output, h_n = nn.RNN(10, 20, num_layers=2)(torch.zeros(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 20]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        proj_size: int = 0,
    ) -> None:
        if proj_size:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        if nonlinearity not in ("tanh", "relu"):
            raise ValueError(f"Unknown nonlinearity '{nonlinearity}'. Select from 'tanh' or 'relu'.")
        super().__init__(
            f"RNN_{nonlinearity.upper()}",
            input_size,
            hidden_size,
            num_layers,
            bias,
            batch_first,
            dropout,
            bidirectional,
            0,
            device,
            dtype,
        )
        self.nonlinearity = nonlinearity

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        function = engine.rnn_tanh if self.nonlinearity == "tanh" else engine.rnn_relu
        output, (h_n,) = self._run(function, input, hx, (self.hidden_size,))
        return output, h_n


class GRU(RNNBase):
    """Gated recurrent units (Cho et al. 2014); the rows of the weights are the gates r, z, n.

    r = sigmoid(W_ir x + b_ir + W_hr h + b_hr), z likewise, n = tanh(W_in x + b_in + r * (W_hn h + b_hn)),
    h' = (1 - z) * n + z * h. Arguments, shapes and errors as in `RNN`, without `nonlinearity`.

    Example::

        >>> output, h_n = nn.GRU(10, 20, bidirectional=True)(torch.zeros(5, 3, 10))
        >>> output.shape, h_n.shape
        (torch.Size([5, 3, 40]), torch.Size([2, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: Any = None,
        dtype: Any = None,
        proj_size: int = 0,
    ) -> None:
        if proj_size:
            raise ValueError("proj_size argument is only supported for LSTM, not RNN or GRU")
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("GRU", *sizes, bias, batch_first, dropout, bidirectional, 0, device, dtype)

    def forward(self, input: Any, hx: Tensor | None = None) -> tuple[Any, Tensor]:
        output, (h_n,) = self._run(engine.gru, input, hx, (self.hidden_size,))
        return output, h_n


class LSTM(RNNBase):
    """Long short-term memory (Hochreiter and Schmidhuber 1997); the rows of the weights are the gates i, f, g, o.

    i = sigmoid(W_ii x + b_ii + W_hi h + b_hi), f and o likewise, g with tanh; c' = f * c + i * g, h' = o * tanh(c').
    Arguments and errors as in `RNN`, without `nonlinearity`; `proj_size` projects h to that size (Sak et al. 2014).

    Shapes: as in `RNN`; the state is a pair (h, c), c being (layers * directions, N, hidden_size).

    Example::

        >>> output, (h_n, c_n) = nn.LSTM(10, 20, batch_first=True)(torch.zeros(3, 5, 10))
        >>> output.shape, h_n.shape, c_n.shape
        (torch.Size([3, 5, 20]), torch.Size([1, 3, 20]), torch.Size([1, 3, 20]))
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        proj_size: int = 0,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        sizes = (input_size, hidden_size, num_layers)
        super().__init__("LSTM", *sizes, bias, batch_first, dropout, bidirectional, proj_size, device, dtype)

    def forward(self, input: Any, hx: Any = None) -> tuple[Any, tuple[Tensor, ...]]:
        output, states = self._run(engine.lstm, input, hx, (self.proj_size or self.hidden_size, self.hidden_size))
        return output, states
