"""Single steps of recurrent networks: RNNCell, LSTMCell, GRUCell."""

from __future__ import annotations

import math
from typing import Any

import engine
from engine.nn import init
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = ["GRUCell", "LSTMCell", "RNNCell", "RNNCellBase"]


class RNNCellBase(Module):
    """What the cells share: weights (num_chunks * hidden_size, ...), uniform in +-1/sqrt(hidden_size) at the start."""

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        num_chunks: int,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.input_size = input_size
        self.hidden_size = hidden_size
        self.bias = bias
        rows = num_chunks * hidden_size
        self.weight_ih = Parameter(engine.empty((rows, input_size), device=device, dtype=dtype))
        self.weight_hh = Parameter(engine.empty((rows, hidden_size), device=device, dtype=dtype))
        for name in ("bias_ih", "bias_hh"):
            self.register_parameter(name, Parameter(engine.empty(rows, device=device, dtype=dtype)) if bias else None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw all parameters anew, in order."""
        bound = 1.0 / math.sqrt(self.hidden_size) if self.hidden_size > 0 else 0
        for parameter in self.parameters():
            init.uniform_(parameter, -bound, bound)

    def extra_repr(self) -> str:
        text = f"{self.input_size}, {self.hidden_size}"
        if self.bias is not True:
            text += f", bias={self.bias}"
        nonlinearity = getattr(self, "nonlinearity", "tanh")
        return text if nonlinearity == "tanh" else f"{text}, nonlinearity={nonlinearity}"

    def _step(self, function: Any, input: Tensor, states: tuple[Tensor | None, ...], pair: bool) -> Any:
        """Call `function` (engine.lstm_cell or its kin) on a batch (N, features) or a single (features)."""
        for name, value in (("input", input), *((f"hx[{i}]" if pair else "hidden", s) for i, s in enumerate(states))):
            if value is not None and value.dim() not in (1, 2):
                raise ValueError(f"{self._get_name()}: Expected {name} to be 1D or 2D, got {value.dim()}D instead")
        batched = input.dim() == 2
        input = input if batched else input.unsqueeze(0)
        shape = (input.shape[0], self.hidden_size)
        full = [
            engine.zeros(shape, dtype=input.dtype, device=input.device)
            if state is None
            else (state if batched else state.unsqueeze(0))
            for state in states
        ]
        new = function(
            input, tuple(full) if pair else full[0], self.weight_ih, self.weight_hh, self.bias_ih, self.bias_hh
        )
        if batched:
            return new
        return tuple(state.squeeze(0) for state in new) if pair else new.squeeze(0)


class RNNCell(RNNCellBase):
    """One step of `RNN`: h' = tanh(x W_ih^T + b_ih + h W_hh^T + b_hh), or with ReLU.

    Shapes: input (N, input_size) or (input_size); h (N, hidden_size), default zeros; returns h'.

    Raises:
        ValueError: for inputs of more than 2 dimensions.
        RuntimeError: for an unknown nonlinearity.

    Example::

        >>> nn.RNNCell(10, 20)(torch.zeros(3, 10)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        nonlinearity: str = "tanh",
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 1, device, dtype)
        self.nonlinearity = nonlinearity

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        if self.nonlinearity not in ("tanh", "relu"):
            raise RuntimeError(f"Unknown nonlinearity: {self.nonlinearity}")
        function = engine.rnn_tanh_cell if self.nonlinearity == "tanh" else engine.rnn_relu_cell
        return self._step(function, input, (hx,), pair=False)


class LSTMCell(RNNCellBase):
    """One step of `LSTM`: returns (h', c').

    Shapes: input (N, input_size) or (input_size); state (h, c), (N, hidden_size) each, default zeros.

    Example::

        >>> h, c = nn.LSTMCell(10, 20)(torch.zeros(3, 10))
        >>> h.shape, c.shape
        (torch.Size([3, 20]), torch.Size([3, 20]))
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 4, device, dtype)

    def forward(self, input: Tensor, hx: tuple[Tensor, Tensor] | None = None) -> tuple[Tensor, Tensor]:
        return self._step(engine.lstm_cell, input, (None, None) if hx is None else tuple(hx), pair=True)


class GRUCell(RNNCellBase):
    """One step of `GRU`.

    Shapes: input (N, input_size) or (input_size); h (N, hidden_size), default zeros; returns h'.

    Example::

        >>> nn.GRUCell(10, 20)(torch.zeros(3, 10)).shape
        torch.Size([3, 20])
    """

    def __init__(
        self, input_size: int, hidden_size: int, bias: bool = True, device: Any = None, dtype: Any = None
    ) -> None:
        super().__init__(input_size, hidden_size, bias, 3, device, dtype)

    def forward(self, input: Tensor, hx: Tensor | None = None) -> Tensor:
        return self._step(engine.gru_cell, input, (hx,), pair=False)
