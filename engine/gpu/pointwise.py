"""Activations, dropout, embedding and pooling by our kernels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from . import order
from .card import Kernel, contiguous
from .kernels import over_elements, suffix, usable, wide

_I64 = np.dtype(np.int64)


class Activation(Kernel):
    """A function of one input whose gradient needs the input, or the output (`of_output`).

    `parameters`: whether its kernels take numbers, three of which every such kernel has room for.
    """

    def __init__(self, name: str, of_output: bool = False, parameters: bool = False) -> None:
        self.name, self.of_output, self.parameters = name, of_output, parameters

    def _numbers(self, given: Sequence) -> list:
        return [np.float64(v) for v in (*given, 0.0, 0.0, 0.0)[:3]] if self.parameters else []

    def forward(self, x: Any, *params: Any) -> Any:
        x, last = order.in_memory(x)
        if usable(x) is None:
            return NotImplemented
        out = backend.gpu().empty(x.shape, x.dtype)
        over_elements(f"{self.name}_{suffix(x.dtype)}", x.size, x, out, np.int64(x.size), *self._numbers(params), per_thread=4)
        return order.outer(out) if last else out

    def backward(self, node: Any, g: Any) -> Any:
        kept, last = order.in_memory(node.out if self.of_output else node.raw_inputs[0])
        if usable(kept) is None or g.dtype != kept.dtype:
            return NotImplemented
        gpu = backend.gpu()
        g, out = contiguous(gpu, order.inner(g) if last else g), gpu.empty(kept.shape, kept.dtype)
        over_elements(f"{self.name}_backward_{suffix(kept.dtype)}", out.size, g, kept, out, np.int64(out.size),
                      *self._numbers(node.params), per_thread=4)
        return (order.outer(out) if last else out,)


class Pair(Kernel):
    """`add`, `sub`, `mul` or `div` of arrays of one floating type, of which one may have a single element or lack the first
    dimensions of the other, or of an array and a number."""

    numbers = True

    def __init__(self, name: str) -> None:
        self.name = name

    def forward(self, a: Any, b: Any) -> Any:
        return self._combined(self.name, a, b)

    @staticmethod
    def _combined(name: str, a: Any, b: Any) -> Any:
        if type(a) is np.ndarray:  # a number first
            if name not in ("add", "mul"):
                return NotImplemented
            a, b = b, a
        alike = type(b) is np.ndarray or a.shape == b.shape  # only then images may have their channels last
        (a, last), (b, other) = (order.in_memory(x) if alike and type(x) is not np.ndarray else (x, False) for x in (a, b))
        end, gpu = usable(a), backend.gpu()
        if end is None:
            return NotImplemented
        if type(b) is np.ndarray:
            out = gpu.empty(a.shape, a.dtype)
            over_elements(f"{name}_number_{end}", a.size, a, out, np.int64(a.size), np.float64(b), per_thread=4)
            return order.outer(out) if last else out
        large, little = (a, b) if a.size >= b.size else (b, a)
        if last is not other or usable(b) != end or not little.size or not _repeats(large.shape, little.shape):
            return NotImplemented
        out = gpu.empty(np.broadcast_shapes(a.shape, b.shape), a.dtype)
        over_elements(f"{name}_{end}", out.size, a, b, out, *(np.int64(n) for n in (out.size, a.size, b.size)), per_thread=4)
        return order.outer(out) if last else out

    def backward(self, node: Any, g: Any) -> Any:
        da, db = node.needs
        if self.name in ("add", "sub"):
            minus = self._combined("mul", g, np.array(-1.0)) if db and self.name == "sub" else g
            return NotImplemented if minus is NotImplemented else ((g if da else None), (minus if db else None))
        a, b = node.raw_inputs
        if self.name == "div" and db:
            return NotImplemented
        gradients = [self._combined(self.name, g, other) if need and other is not None else None
                     for need, other in ((da, b), (db, a))]
        missing = any(need and (d is None or d is NotImplemented) for need, d in zip((da, db), gradients))
        return NotImplemented if missing else tuple(gradients)


def _repeats(large: tuple, little: tuple) -> bool:
    """Whether an array of shape `little` broadcasts to `large` by repeating as a whole."""
    while little and little[0] == 1:
        little = little[1:]
    return not little or large[len(large) - len(little) :] == little


class Masked(Kernel):
    """`_dropout`: elements times a mask and a number."""

    def forward(self, x: Any, mask: Any, scale: float, dropped: Any, kept: Any) -> Any:
        if dropped is not None or usable(x) is None or mask.shape != x.shape or not mask.flags.c_contiguous:
            return NotImplemented
        return self._apply(x, mask, scale)

    def backward(self, node: Any, g: Any) -> Any:
        mask, scale, *_ = node.params
        g = contiguous(backend.gpu(), g)
        if usable(g) is None or mask.shape != g.shape or not mask.flags.c_contiguous:
            return NotImplemented
        return (self._apply(g, mask, scale),)

    @staticmethod
    def _apply(x: Any, mask: Any, scale: float) -> Any:
        out = backend.gpu().empty(x.shape, x.dtype)
        over_elements(f"masked_{suffix(x.dtype)}", x.size, x, mask, out, np.int64(x.size), np.float64(scale))
        return out


class EmbeddingLookup(Kernel):
    """`embedding`: rows of a matrix by index. An index outside of it gives zeros: looking for one would stop the host."""

    def forward(self, weight: Any, index: Any, padding: int, by_count: bool) -> Any:
        if usable(weight) is None or weight.ndim != 2 or not weight.size:
            return NotImplemented
        gpu, (rows, cols) = backend.gpu(), weight.shape
        if not backend.is_on_device(index):
            raise RuntimeError("Expected all tensors to be on the same device, but got index is on cpu, different from other "
                               f"tensors on cuda:{backend.cuda_index(weight)} (in embedding())")
        index = contiguous(gpu, index.astype(_I64, copy=False))
        out = gpu.empty((*index.shape, cols), weight.dtype)
        over_elements(f"embedding_{suffix(weight.dtype)}", out.size, weight, index, out, np.int64(index.size), np.int64(rows),
                      np.int32(cols))
        return out, rows

    def backward(self, node: Any, g: Any) -> Any:
        index, padding, by_count = node.params
        end, rows, cols = suffix(g.dtype), node.aux, g.shape[-1]
        if end is None or by_count:
            return NotImplemented
        gpu = backend.gpu()
        g, index = contiguous(gpu, g), contiguous(gpu, index.astype(_I64, copy=False))
        total = gpu.zeros((rows, cols), wide(g.dtype))
        over_elements(f"embedding_backward_{end}", g.size, g, index, total, np.int64(index.size), np.int64(rows),
                      np.int32(cols), np.int64(padding))
        return (total.astype(g.dtype, copy=False),)


class MaxPool2d(Kernel):
    """`_max_pool` of (..., height, width). The places of the maxima are found again for the gradient."""

    def forward(self, x: Any, windows: Any) -> Any:
        sizes = self._sizes(x, windows)
        return NotImplemented if sizes is None else self._pool(x, sizes)[0]

    def backward(self, node: Any, g: Any) -> Any:
        (x,), windows = node.raw_inputs, node.params[0]
        sizes = self._sizes(x, windows)
        if sizes is None:
            return NotImplemented
        gpu, places = backend.gpu(), self._pool(x, sizes)[1]
        inside, outside = x.shape[-2] * x.shape[-1], g.shape[-2] * g.shape[-1]
        total = gpu.zeros(x.shape, wide(x.dtype))
        over_elements(f"max_pool_backward_{suffix(g.dtype)}", g.size, contiguous(gpu, g), places, total,
                      np.int64(g.size // outside), np.int32(inside), np.int32(outside))
        return (total.astype(x.dtype, copy=False),)

    @staticmethod
    def _sizes(x: Any, windows: Any) -> tuple | None:
        """Height, width, output sizes, kernel, stride, padding, dilation; None for other than two dimensions."""
        if len(windows.spatial) != 2 or suffix(x.dtype) is None or not x.size:
            return None
        pads = [low for low, _ in windows.pads]
        return (*windows.spatial, *windows.out, *windows.kernel, *windows.stride, *pads, *windows.dilation)

    @staticmethod
    def _pool(x: Any, sizes: tuple) -> tuple:
        """(maxima, their places in the planes)."""
        gpu, planes = backend.gpu(), x.size // (sizes[0] * sizes[1])
        out = gpu.empty((*x.shape[:-2], sizes[2], sizes[3]), x.dtype)
        places = gpu.empty(out.shape, _I64)
        over_elements(f"max_pool_{suffix(x.dtype)}", out.size, contiguous(gpu, x), out, places, np.int64(planes),
                      *(np.int32(n) for n in sizes))
        return out, places
