"""Layouts and memory formats: names that programs pass on. Storage order is the engine's own."""

from __future__ import annotations


class layout(str):
    """How a tensor's elements are kept: `strided`, or `sparse_coo`, `sparse_csr`, `sparse_csc` for sparse tensors.

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
sparse_csr = layout("torch.sparse_csr")
sparse_csc = layout("torch.sparse_csc")
contiguous_format = memory_format("torch.contiguous_format")
preserve_format = memory_format("torch.preserve_format")
channels_last = memory_format("torch.channels_last")
channels_last_3d = memory_format("torch.channels_last_3d")


def of_axis(axis: int | None) -> layout:
    """The layout of a sparse array, by the dimension in whose order it is compressed."""
    return sparse_coo if axis is None else sparse_csc if axis else sparse_csr
