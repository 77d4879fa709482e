"""Average pooling, adaptive average pooling and resampling by our kernels, over the last one or two dimensions."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import backend
from .card import Kernel, contiguous
from .kernels import NULL, over_elements, suffix, wide
from .reductions import total


def plane(sizes: tuple, missing: int = 1) -> tuple:
    """Sizes of one or two dimensions as two."""
    return (missing, *sizes) if len(sizes) == 1 else tuple(sizes)


@functools.lru_cache(maxsize=256)
def _kept(gpu: Any, device: int, values: bytes, dtype: Any) -> Any:
    """A small array of numbers that lies on the device from its first use on."""
    return gpu.asarray(np.frombuffer(values, dtype))


def kept_on_device(values: np.ndarray) -> Any:
    """`values`, flat, on the current GPU; copied there only once."""
    gpu = backend.gpu()
    return _kept(gpu, gpu.cuda.Device().id, values.tobytes(), values.dtype)


class AveragePool(Kernel):
    """`_avg_pool`: sums of windows over a divisor, a number or an array of the output's spatial shape. Those of whole images
    are sums of rows."""

    def forward(self, x: Any, windows: Any, divisor: Any) -> Any:
        if len(windows.spatial) > 2 or suffix(x.dtype) is None or not x.size:
            return NotImplemented
        lead = x.shape[: x.ndim - len(windows.out)]
        if windows.kernel == windows.spatial and math.prod(windows.out) == 1 and isinstance(divisor, int):  # of whole images
            rows = contiguous(backend.gpu(), x).reshape(-1, math.prod(windows.spatial))
            made = total(rows, 1, False, 1 / divisor)
            if made is not NotImplemented:
                return made.reshape(*lead, *windows.out)
        out = backend.gpu().empty((*lead, *windows.out), x.dtype)
        return self._run("avg_pool", x, out, windows, divisor, out)

    def backward(self, node: Any, g: Any) -> Any:
        windows, divisor = node.params
        if len(windows.spatial) > 2 or suffix(g.dtype) is None or not g.size:
            return NotImplemented
        dx = backend.gpu().empty((*g.shape[: g.ndim - len(windows.out)], *windows.spatial), g.dtype)
        return (self._run("avg_pool_backward", g, dx, windows, divisor, g),)

    @staticmethod
    def _run(name: str, given: Any, made: Any, windows: Any, divisor: Any, out: Any) -> Any:
        by = NULL if isinstance(divisor, int) else kept_on_device(np.asarray(divisor, wide(given.dtype)))
        pads = tuple([low for low, _ in windows.pads])
        sizes = (*plane(windows.spatial), *plane(windows.out), *plane(windows.kernel), *plane(windows.stride), *plane(pads, 0))
        planes = out.size // math.prod(windows.out)
        over_elements(f"{name}_{suffix(given.dtype)}", made.size, contiguous(backend.gpu(), given), made, by, np.int64(planes),
                      *(np.int32(n) for n in sizes), np.float64(divisor if isinstance(divisor, int) else 1))
        return made


class AdaptiveAveragePool(Kernel):
    """`_adaptive_avg_pool`: means over windows that differ in size."""

    def forward(self, x: Any, out: tuple) -> Any:
        lead, spatial = x.shape[: x.ndim - len(out)], x.shape[x.ndim - len(out) :]
        if len(out) > 2 or suffix(x.dtype) is None or not x.size or 0 in out:
            return NotImplemented
        made = backend.gpu().empty((*lead, *out), x.dtype)
        self._run("adaptive_avg_pool", contiguous(backend.gpu(), x), made, spatial, out)
        return made, spatial

    def backward(self, node: Any, g: Any) -> Any:
        (out,), spatial = node.params, node.aux
        if len(out) > 2 or suffix(g.dtype) is None or not g.size:
            return NotImplemented
        dx = backend.gpu().empty((*g.shape[: g.ndim - len(out)], *spatial), g.dtype)
        self._run("adaptive_avg_pool_backward", contiguous(backend.gpu(), g), dx, spatial, out)
        return (dx,)

    @staticmethod
    def _run(name: str, given: Any, made: Any, spatial: tuple, out: tuple) -> None:
        planes = made.size // math.prod(made.shape[made.ndim - len(out) :])
        over_elements(f"{name}_{suffix(given.dtype)}", made.size, given, made, np.int64(planes),
                      *(np.int32(n) for n in (*plane(spatial), *plane(out))))


class Resampled(Kernel):
    """`_resample` along the last one or two dimensions."""

    def forward(self, x: Any, steps: tuple) -> Any:
        if not self._serves(x, x.ndim, steps):
            return NotImplemented
        gpu, out = backend.gpu(), tuple([step[1].shape[0] for step in steps])
        made = gpu.empty((*x.shape[: x.ndim - len(out)], *out), x.dtype)
        self._run("resample", contiguous(gpu, x), made, made, steps)
        return made

    def backward(self, node: Any, g: Any) -> Any:
        (steps,) = node.params
        if not self._serves(g, g.ndim, steps):
            return NotImplemented
        gpu, spatial = backend.gpu(), tuple([step[3] for step in steps])
        dx = gpu.zeros((*g.shape[: g.ndim - len(steps)], *spatial), wide(g.dtype))
        self._run("resample_backward", contiguous(gpu, g), dx, g, steps)
        return (dx.astype(g.dtype, copy=False),)

    @staticmethod
    def _serves(x: Any, nd: int, steps: tuple) -> bool:
        return (suffix(x.dtype) is not None and x.size and 0 < len(steps) <= 2
                and [step[0] for step in steps] == list(range(nd - len(steps), nd)))

    @staticmethod
    def _run(name: str, given: Any, made: Any, out: Any, steps: tuple) -> None:
        one_row = (0, np.zeros((1, 1), np.int64), np.ones((1, 1)), 1)
        rows_and_columns = steps if len(steps) == 2 else (one_row, *steps)
        taps: list = []
        for _, index, weight, _ in rows_and_columns:
            taps += [kept_on_device(np.asarray(index, np.int64)), kept_on_device(np.asarray(weight, wide(given.dtype)))]
        (h, oh, ty), (w, ow, tx) = [(size, *index.shape) for _, index, _, size in rows_and_columns]
        over_elements(f"{name}_{suffix(given.dtype)}", out.size, given, made, *taps, np.int64(out.size // (oh * ow)),
                      *(np.int32(n) for n in (h, w, oh, ow, ty, tx)))
