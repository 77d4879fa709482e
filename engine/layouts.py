"""Layouts and memory formats: names that programs pass on. Storage order is the engine's own."""

from __future__ import annotations


class layout(str):
    """How a tensor's elements are kept: `strided`, or `sparse_coo` for sparse tensors.

    >>> isinstance(torch.zeros(1).layout, torch.layout), torch.zeros(1).layout
    (True, torch.strided)
    """

    __slots__ = ()
    __repr__ = str.__str__


class memory_format(str):
    """The order of a tensor's dimensions in memory: accepted where torch accepts it, without effect.

    >>> torch.channels_last
    torch.channels_last
    """

    __slots__ = ()
    __repr__ = str.__str__


strided = layout("torch.strided")
sparse_coo = layout("torch.sparse_coo")
contiguous_format = memory_format("torch.contiguous_format")
preserve_format = memory_format("torch.preserve_format")
channels_last = memory_format("torch.channels_last")
channels_last_3d = memory_format("torch.channels_last_3d")
