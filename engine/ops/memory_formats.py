"""Memory formats on a GPU: `channels_last` puts the channels of images innermost, as cuDNN likes them.

On the CPU arrays stay in rows, whatever is asked for: its kernels have no other order.
"""

from __future__ import annotations

from typing import Any

from ..gpu import order
from ..tensor import Tensor
from .base import Op, op


@op("_channels_last", function=False, method=False, node="CloneBackward0")
class ChannelsLast(Op):
    """A copy with the channels innermost."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return order.channels_last(xp, x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)


def in_format(input: Tensor, memory_format: Any) -> Tensor:
    """A tensor on a GPU in a channels-last format, itself if it is; all others as they are. RuntimeError for a wrong rank."""
    rank = order.rank_of(memory_format)
    if not rank or not input.is_cuda:
        return input
    a = input._array
    if a.ndim != rank:
        raise RuntimeError(f"required rank {rank} tensor to use {str(memory_format).removeprefix('torch.')} format")
    return input if order.has_strides(a, True) else ChannelsLast.apply(input)
