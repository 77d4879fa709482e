"""Batch normalisation by our kernels, in both memory orders: sums by channel, and one pass over the elements."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend
from . import order
from .card import Aux, Kernel
from .kernels import MOST_BLOCKS, NULL, THREADS, launch, over_elements, over_rows, suffix, wide

_MOST_ELEMENTS = 1 << 31
_EACH = 16  # pieces that a thread takes at least, before another block is worth its sums


class Images:
    """Arrays (N, C, *) of one order as the kernels see them: `images` times `channels` times `length` elements."""

    def __init__(self, gpu: Any, first: Any, *others: Any) -> None:
        self.gpu, self.shape, self.dtype = gpu, first.shape, first.dtype
        self.last = order.is_channels_last(first)
        self.arrays = [order.ordered(gpu, a, self.last) for a in (first, *others)]
        self.count, self.channels = first.size, first.shape[1]
        self.length = 1 if self.last else math.prod(first.shape[2:])
        self.images = self.count // (self.channels * self.length)
        self.end = suffix(first.dtype)

    def piece(self, *more: Any) -> int:
        """Elements that are read at a time: 16 bytes of them, where all addresses allow, or one."""
        wanted = 16 // self.dtype.itemsize
        row = self.channels if self.length == 1 else self.length
        return wanted if row % wanted == 0 and all(a.data.ptr % 16 == 0 for a in (*self.arrays, *more)) else 1

    def sizes(self) -> tuple:
        return np.uint32(self.channels), np.uint32(self.length)

    def sums(self, kernel: str, *arrays: Any) -> tuple[Any, int]:
        """(sums of shares of every channel, their number)."""
        piece = self.piece()
        if self.length == 1:
            pieces = self.channels // piece
            across, work = -(-pieces // THREADS), self.images * min(pieces, THREADS)
        else:
            across, work = self.channels, self.images * (self.length // piece)
        threads = min(THREADS, max(32, 1 << (work - 1).bit_length()))
        shares = max(1, min(-(-work // (THREADS * _EACH)), MOST_BLOCKS // across, 65535))
        parts = self.gpu.empty((shares, self.channels, 3), wide(self.dtype))
        launch(f"{kernel}_{self.end}", (across, shares), (threads,), *arrays, parts, np.uint32(self.images), *self.sizes(),
               np.int32(piece > 1))
        return parts, shares

    def each(self, kernel: str, *args: Any, more: tuple = ()) -> Any:
        """A new array in this order, made in one pass."""
        out = order.new(self.gpu, self.shape, self.dtype, self.last)
        piece = self.piece(out)
        over_elements(f"{kernel}_{self.end}", self.count // piece, *args, out, np.int64(self.count), *self.sizes(),
                      np.int32(piece > 1), *more)
        return out


def _wide(a: Any, dtype: Any) -> Any:
    return NULL if a is None else a.astype(dtype, copy=False)


def _follow(running: Any, value: Any, momentum: float) -> None:
    """Running statistics of another type than the kernels'."""
    running[...] = (running.astype(value.dtype) * (1 - momentum) + value * momentum).astype(running.dtype)


class BatchNorm(Kernel):
    """`batch_norm`. Leaves mean and 1 / std of each channel, as the card does."""

    def forward(self, x: Any, w: Any, b: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float) -> Any:
        if suffix(x.dtype) is None or not 0 < x.size < _MOST_ELEMENTS:
            return NotImplemented
        gpu = backend.gpu()
        images, kind = Images(gpu, x), wide(x.dtype)
        if training:
            mean, rstd = self._statistics(images, mean, var, momentum, eps)
        else:
            var = gpu.ascontiguousarray(var.astype(kind, copy=False))
            mean, rstd = gpu.ascontiguousarray(mean.astype(kind)), gpu.empty(x.shape[1], kind)
            over_elements(f"channel_rstd_{suffix(kind)}", x.shape[1], var, rstd, np.int64(x.shape[1]), np.float64(eps))
        out = images.each("channel_normalise", *images.arrays, mean, rstd, _wide(w, kind), _wide(b, kind))
        return out, Aux((mean, rstd))

    @staticmethod
    def _statistics(images: Images, mean: Any, var: Any, momentum: float, eps: float) -> tuple:
        kind = wide(images.dtype)
        parts, shares = images.sums("channel_moments", *images.arrays)
        found, rstd, unbiased = (images.gpu.empty(images.channels, kind) for _ in range(3))
        direct = [NULL if r is None or r.dtype != kind or not r.flags.c_contiguous else r for r in (mean, var)]
        over_rows(f"channel_statistics_{suffix(kind)}", images.channels, 32, parts, found, rstd, unbiased, *direct,
                  np.int64(images.channels), np.int32(shares), np.float64(eps), np.float64(momentum))
        for running, given, value in zip((mean, var), direct, (found, unbiased)):
            if running is not None and given is NULL:
                _follow(running, value, momentum)
        return found, rstd

    def backward(self, node: Any, g: Any) -> Any:
        x, w, _ = node.raw_inputs
        if type(node.aux) is not Aux or x is None or g.dtype != x.dtype:
            return NotImplemented
        (mean, rstd), needs, training, gpu = node.aux, node.needs, node.params[2], backend.gpu()
        images, kind = Images(gpu, x, g), wide(x.dtype)
        x, g = images.arrays
        dw = db = dx = None
        if training or needs[1] or needs[2]:
            parts, shares = images.sums("channel_products", g, x, mean)
            dw, db = (gpu.empty(images.channels, kind) for _ in range(2))
            over_rows(f"channel_gradients_{suffix(kind)}", images.channels, 32, parts, rstd, dw, db, np.int64(images.channels),
                      np.int32(shares))
        if needs[0]:
            share, sums = images.channels / images.count if training else 0.0, [NULL if a is None else a for a in (dw, db)]
            dx = images.each("channel_backward", g, x, mean, rstd, _wide(w, kind), *sums, more=(np.float64(share),))
        return dx, dw if needs[1] else None, db if needs[2] else None
