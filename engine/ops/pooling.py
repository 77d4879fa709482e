"""Pooling over sliding windows, max pooling and its inverse; means are in average_pooling.py.

Maxima and sums over a window are taken one dimension after the other, as a few ufunc calls on strided slices. Adaptive
pooling is in adaptive_pooling.py.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np

from .. import backend, fast
from ..gpu.pointwise import MaxPool2d
from ..pool import parallel_for, scratch
from ..tensor import Tensor
from ._blocked import BITS, WORTH, by_rows, is_large, row_blocks
from ._windows import Windows, by_x, key, many, windows_of
from .applying import row_major
from .base import Op, expect_tensor, install, op
from .samples import samples_for


def along_axes(x: Any, windows: Windows, combine: Any) -> Any:
    """Reduce every window of the (padded) last dimensions of `x` with a binary ufunc; always a new array."""
    nd = len(windows.out)
    out = x
    for i, (k, s, d, n) in enumerate(zip(windows.kernel, windows.stride, windows.dilation, windows.out)):
        after = (slice(None),) * (nd - 1 - i)
        reduced = None
        for p in range(k):
            part = out[(..., slice(p * d, p * d + s * (n - 1) + 1, s), *after)]
            if reduced is None:
                reduced = part
            elif reduced.base is None and p > 1:
                combine(reduced, part, out=reduced)
            else:
                reduced = combine(reduced, part)
        out = reduced
    return out if out.base is None and out is not x else out.copy()


def spread_axes(xp: Any, g: Any, windows: Windows) -> Any:
    """The adjoint of `along_axes` with addition: every element of `g` added to all places of its window; unpadded."""
    nd = len(windows.out)
    lead = g.ndim - nd
    for i in reversed(range(nd)):
        k, s, d, n = windows.kernel[i], windows.stride[i], windows.dilation[i], windows.out[i]
        wide = xp.zeros((*g.shape[: lead + i], windows.padded[i], *g.shape[lead + i + 1 :]), g.dtype)
        for p in range(k):
            region = wide[(..., slice(p * d, p * d + s * (n - 1) + 1, s), *(slice(None),) * (nd - 1 - i))]
            region += g
        g = wide
    return xp.ascontiguousarray(windows.crop(g))


# -- geometry ---------------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=1024)
def pool_windows(
    function: str, shape: tuple, kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool
) -> Windows:
    """The windows of a pooling over the last dimensions of `shape`. RuntimeError for arguments that do not fit."""
    nd = int(function[-2])
    kernel, padding, dilation = [
        many(v, nd, name, function)
        for v, name in ((kernel, "kernel_size"), (padding, "padding"), (dilation, "dilation"))
    ]
    stride = kernel if stride is None or stride == () else many(stride, nd, "stride", function)
    if len(shape) not in (nd + 1, nd + 2) or 0 in shape[-nd - 1 :]:
        raise RuntimeError(
            f"{function}(): Expected {nd + 1}D or {nd + 2}D (batch mode) tensor with optional 0 dim batch size "
            f"for input, but got: {list(shape)}"
        )
    for name, values in (("kernel size", kernel), ("stride", stride), ("dilation", dilation)):
        if any(v <= 0 for v in values):
            raise RuntimeError(f"{function}(): {name} should be greater than zero, but got {list(values)}")
    for p, k, d in zip(padding, kernel, dilation):
        if p < 0 or p > (d * (k - 1) + 1) // 2:
            raise RuntimeError(
                f"{function}(): pad should be non-negative and at most half of effective kernel size, but got "
                f"pad={p}, kernel_size={k} and dilation={d}"
            )
    sizes = shape[-nd:]
    spans = [d * (k - 1) + 1 for k, d in zip(kernel, dilation)]
    out = tuple([_out_size(*v, ceil_mode) for v in zip(sizes, spans, stride, padding)])
    if any(n < 1 for n in out):
        raise RuntimeError(
            f"Given input size: ({by_x(shape[-nd - 1 :])}). Calculated output size: "
            f"({by_x((shape[-nd - 1], *out))}). Output size is too small"
        )
    pads = tuple(
        [(p, max(0, (o - 1) * s + span - n - p)) for p, o, s, span, n in zip(padding, out, stride, spans, sizes)]
    )
    return windows_of(sizes, kernel, stride, pads, dilation, out)


def _out_size(n: int, span: int, stride: int, pad: int, ceil_mode: bool) -> int:
    room = n + 2 * pad - span
    out = (room + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (out - 1) * stride >= n + pad:  # the last window must start inside the input or the left padding
        out -= 1
    return out


def _lowest(dtype: Any) -> Any:
    return -math.inf if dtype.kind == "f" else np.iinfo(dtype).min


def _compiled(x: Any, windows: Windows) -> Any:
    """Max pooling of 2 x 2 elements side by side by engine/fast/pooling.py; None where that does not serve."""
    two = windows.kernel == windows.stride == (2, 2) and not windows.is_padded and windows.dilation == (1, 1)
    kernels = fast.kernels("pooling") if two and windows.out[1] >= 4 and fast.fits(x) else None
    if not kernels:
        return None
    y = np.empty((*x.shape[:-2], *windows.out), x.dtype)
    planes = [a.reshape(-1, *a.shape[-2:]) for a in (x, y)]
    blocks = row_blocks(len(planes[0]), math.prod(windows.spatial))
    parallel_for(lambda i: kernels.max_pool_of_two(*[a[blocks[i]] for a in planes]), len(blocks))
    return y


def _compiled_gradient(g: Any, x: Any, best: Any, windows: Windows) -> Any:
    """The gradient of max pooling in one or two dimensions by engine/fast/pooling.py; None where that does not serve."""
    kernels = fast.kernels("pooling") if len(windows.out) < 3 and fast.fits(g, x, best) else None
    if not kernels:
        return None
    apart = windows.kernel == windows.stride and not windows.is_padded and set(windows.dilation) == {1}
    gx = (np.empty if apart else np.zeros)(x.shape, g.dtype)
    flat = len(windows.out) == 1  # an image of one row
    geometry = [windows.kernel, windows.stride, windows.dilation, tuple([low for low, _ in windows.pads])]
    if flat:
        geometry = [(one, *values) for one, values in zip((1, 1, 1, 0), geometry)]
    planes = [a.reshape(-1, 1 if flat else a.shape[-2], a.shape[-1]) for a in (x, best, g, gx)]
    blocks = row_blocks(len(planes[0]), math.prod(windows.spatial))
    kernel, more = (kernels.max_pool_backward_apart, geometry[:1]) if apart else (kernels.max_pool_backward, geometry)
    parallel_for(lambda i: kernel(*[a[blocks[i]] for a in planes], *more), len(blocks))
    return gx


BOOL = np.dtype(np.bool_)


def _apart_gradient(g: Any, x: Any, best: Any, windows: Windows) -> Any:
    """The gradient of max pooling of large arrays of NumPy whose windows lie side by side, written where it belongs; None for
    others. Elements are brought together before they are compared: a strided operand costs a ufunc more than a copy does."""
    apart = windows.kernel == windows.stride and not windows.is_padded and set(windows.dilation) == {1}
    if not apart or x.dtype not in BITS or not all(a.flags.c_contiguous and a.dtype is x.dtype for a in (g, x, best)):
        return None
    covered = all(k * n == size for k, n, size in zip(windows.kernel, windows.out, windows.spatial))
    gx: Any = (np.empty if covered else np.zeros)(x.shape, g.dtype)
    bits: Any = BITS[x.dtype]
    planes = [a.reshape(-1, *a.shape[-len(windows.out) :]) for a in (g, x, best, gx)]
    blocks = row_blocks(len(planes[0]), math.prod(windows.spatial), least=WORTH)

    def run(i: int) -> None:
        g, x, best, gx = [a[blocks[i]] for a in planes]
        hit, free, values, chosen = [scratch(g.size, dtype, slot).reshape(g.shape)
                                     for dtype, slot in ((BOOL, 0), (BOOL, 1), (x.dtype, 0), (bits, 0))]  # fmt: skip
        free[...] = True
        lost = np.isnan(best.min())  # a NaN is the maximum of its window, and equal to nothing
        for _, slices in windows.offsets:
            np.copyto(values, x[slices])
            np.equal(values, best, out=hit)
            if lost:
                hit |= np.isnan(values) & np.isnan(best)
            hit &= free
            free ^= hit
            np.copyto(chosen, hit)
            np.multiply(chosen, g.view(bits), out=chosen)
            np.copyto(gx[slices], chosen.view(g.dtype))

    parallel_for(run, len(blocks))
    return gx


# -- max pooling ------------------------------------------------------------------------------------------------------


@op("_max_pool", function=False, method=False, node="MaxPoolBackward0")
class MaxPool(Op):
    """The maximum of every window; NaN wins. The gradient goes to the first of equal maxima."""

    gpu = MaxPool2d()

    keep = (0,)
    keep_output = True
    output_again = True  # torch keeps indices instead, so programs may change the output in place

    @staticmethod
    def forward(xp: Any, x: Any, windows: Windows) -> Any:
        x = row_major(xp, x)
        large = is_large(x)
        y = _compiled(x, windows) if large else None
        if y is not None:
            return y

        def images(x: Any) -> Any:
            return along_axes(windows.pad(xp, x, _lowest(x.dtype)), windows, xp.maximum)

        return by_rows(images, (x,)) if large else images(x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, best, windows = s.inputs[0], s.output, s.params[0]
        if is_large(x):
            gx = _compiled_gradient(g, x, best, windows)
            if gx is None:
                gx = _apart_gradient(g, x, best, windows)
            if gx is not None:
                return (gx,)
            gx = by_rows(lambda g, x, best: MaxPool.gradient(np, g, x, best, windows), (g, x, best), split=(True,) * 3)
            return (gx,)
        return (MaxPool.gradient(xp.np, g, x, best, windows),)

    @staticmethod
    def gradient(xp: Any, g: Any, x: Any, best: Any, windows: Windows) -> Any:
        """The gradient of some images from those of their maxima `best`; raw arrays."""
        padded = windows.pad(xp, x, _lowest(x.dtype))
        gx = xp.zeros(padded.shape, g.dtype)
        apart = all(t >= d * (k - 1) + 1 for t, k, d in zip(windows.stride, windows.kernel, windows.dilation))
        free = None
        lost = xp is np and best.size and best.dtype.kind == "f" and np.isnan(best.min())
        for _, slices in windows.offsets:
            hit = padded[slices] == best
            if lost:
                hit |= np.isnan(padded[slices]) & np.isnan(best)
            if free is None:
                free = ~hit
            else:
                hit &= free
                free ^= hit
            if apart:
                xp.multiply(g, hit, out=gx[slices])
            else:
                region = gx[slices]
                region += g * hit
        return xp.ascontiguousarray(windows.crop(gx))

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        x, best = s.inputs[0]._array, s.output._array
        index = MaxPoolIndices.forward(backend.namespace(x), x, best, s.params[0])
        return (xp._put_flat(g, index, s.params[0].spatial),)

    @staticmethod
    def samples(make: Any) -> Any:
        for args, options in (
            (((1, 2, 5), 2), {}),
            (((2, 6), 3), {"stride": 2, "padding": 1}),
            (((2, 2, 5, 6), 2), {}),
            (((2, 5, 6), (3, 2)), {"stride": (2, 1), "padding": (1, 0)}),
            (((1, 2, 5, 6), 2), {"ceil_mode": True}),
            (((1, 2, 6, 6), 3), {"stride": 1, "padding": 1, "dilation": (1, 2)}),
            (((1, 2, 4, 5), 3), {"return_indices": True, "stride": 1, "padding": 1}),
            (((1, 2, 4, 3, 5), 2), {"ceil_mode": True}),
            (((2, 4, 4, 4), 2), {"return_indices": True}),
        ):
            nd = len(args[0]) - 2 if args[0][0] == 1 or args[0] == (2, 2, 5, 6) else len(args[0]) - 1
            yield make(f"max_pool{nd}d", make.distinct(args[0]), args[1], _module="nn.functional", **options)


@op("_max_pool_indices", function=False, method=False)
class MaxPoolIndices(Op):
    """Where in the (unpadded, flattened) last dimensions the maxima of the windows are: int64, the first of equals."""

    n = 2
    differentiable = False

    @staticmethod
    def forward(xp: Any, x: Any, best: Any, windows: Windows) -> Any:
        padded = windows.pad(xp, x, _lowest(x.dtype))
        steps = [math.prod(windows.spatial[i + 1 :]) for i in range(len(windows.spatial))]
        index = xp.zeros(best.shape, xp.int64)
        for position, slices in reversed(windows.offsets):
            part = padded[slices]
            hit = (part == best) | (part != part)
            index[hit] = sum(p * d * step for p, d, step in zip(position, windows.dilation, steps))
        for i, (step, s, (low, _), n) in enumerate(zip(steps, windows.stride, windows.pads, windows.out)):
            index += ((xp.arange(n) * s - low) * step).reshape(-1, *[1] * (len(steps) - 1 - i))
        return index


@op("_put_flat", function=False, method=False)
class PutFlat(Op):
    """Zeros with elements added at flat indices of the last dimensions, of sizes `spatial`."""

    @staticmethod
    def forward(xp: Any, x: Any, index: Any, spatial: tuple) -> Any:
        rows = math.prod(x.shape[: x.ndim - len(spatial)])
        size = math.prod(spatial)
        out = xp.zeros(rows * size, x.dtype)
        places = index.reshape(rows, -1) + (xp.arange(rows) * size)[:, None]
        backend.add_at(out, places.reshape(-1), x.reshape(-1))
        return out.reshape(*x.shape[: x.ndim - len(spatial)], *spatial)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        index, spatial = s.params
        return (xp._take_flat(g, index, len(spatial)),)


@op("_take_flat", function=False, method=False)
class TakeFlat(Op):
    """Elements at flat indices of the last `nd` dimensions."""

    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, index: Any, nd: int) -> Any:
        lead = x.shape[: x.ndim - nd]
        rows = math.prod(lead)
        flat = x.reshape(rows, -1)
        return flat[xp.arange(rows)[:, None], index.reshape(rows, -1)].reshape(index.shape), x.shape[x.ndim - nd :]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._put_flat(g, s.params[0], s.aux),)


def _max_pool(
    function: str,
    input: Any,
    kernel_size: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    shape = expect_tensor(input, function)._array.shape
    windows = pool_windows(function, shape, key(kernel_size), key(stride), key(padding), key(dilation), bool(ceil_mode))
    out = MaxPool.apply(input, windows)
    return (out, MaxPoolIndices.apply(input, out, windows)) if return_indices else out


_MAX_DOC = """The maximum of every window of the last {nd} dimension{s}; `stride` defaults to `kernel_size`.

    Shape (N, C, {dims}) or (C, {dims}). `padding` counts as minus infinity and is at most half the kernel; with
    `ceil_mode` a last window may reach over the end. `return_indices` gives (maxima, flat int64 indices), for
    max_unpool{nd}d. RuntimeError for sizes that do not fit.

    >>> x = torch.arange({count}.).reshape({ones}, {sizes})
    >>> nn.functional.max_pool{nd}d(x, 2).flatten()
    tensor([{last}.])
    """


_INDICES_DOC = """`max_pool{nd}d` with `return_indices=True`: (maxima, flat int64 indices).

    >>> values, index = nn.functional.max_pool{nd}d_with_indices(torch.arange({count}.).reshape({ones}), 2)
    >>> values.item(), index.item()
    ({last}.0, {last})
    """


def _install_max_pools() -> None:
    for nd in (1, 2, 3):

        def pool(
            input: Tensor,
            kernel_size: Any,
            stride: Any = None,
            padding: Any = 0,
            dilation: Any = 1,
            ceil_mode: bool = False,
            return_indices: bool = False,
            *,
            _name: str = f"max_pool{nd}d",
        ) -> Any:
            return _max_pool(_name, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)

        def with_indices(
            input: Tensor,
            kernel_size: Any,
            stride: Any = None,
            padding: Any = 0,
            dilation: Any = 1,
            ceil_mode: bool = False,
            return_indices: bool = False,
            *,
            _name: str = f"max_pool{nd}d",
        ) -> Any:
            return _max_pool(_name, input, kernel_size, stride, padding, dilation, ceil_mode, True)

        pool.__doc__ = _MAX_DOC.format(
            nd=nd,
            s="s" if nd > 1 else "",
            dims=("L", "H, W", "D, H, W")[nd - 1],
            count=2**nd,
            ones="1, 1",
            sizes=", ".join(["2"] * nd),
            last=2**nd - 1,
        )
        with_indices.__doc__ = _INDICES_DOC.format(nd=nd, count=2**nd, ones=", ".join(["1", "1", *["2"] * nd]), last=2**nd - 1)
        install(pool, f"max_pool{nd}d", method=False, functional=True)
        install(with_indices, f"max_pool{nd}d_with_indices", function=nd == 1, method=False, functional=True)


@op("_max_unpool", function=False, method=False, node="MaxUnpoolBackward0")
class MaxUnpool(Op):
    """Zeros of sizes `spatial` with elements stored at flat indices of the last dimensions."""

    @staticmethod
    def forward(xp: Any, x: Any, index: Any, spatial: tuple) -> Any:
        lead = x.shape[: x.ndim - len(spatial)]
        rows = math.prod(lead)
        out = xp.zeros((rows, math.prod(spatial)), x.dtype)
        out[xp.arange(rows)[:, None], index.reshape(rows, -1)] = x.reshape(rows, -1)
        return out.reshape(*lead, *spatial)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        index, spatial = s.params
        return (xp._take_flat(g, index, len(spatial)),)


def _unpool_size(function: str, sizes: tuple, kernel: tuple, stride: tuple, padding: tuple, wanted: Any) -> tuple:
    default = tuple([(n - 1) * s + k - 2 * p for n, s, k, p in zip(sizes, stride, kernel, padding)])
    if wanted is None:
        return default
    wanted = tuple(wanted)[-len(sizes) :]
    for n, d, s in zip(wanted, default, stride):
        if not d - s < n < d + s:
            raise ValueError(
                f'invalid output_size "{list(wanted)}" ({function}(): each size must be within a stride of '
                f"{list(default)})"
            )
    return wanted


_UNPOOL_DOC = """The partial inverse of max_pool{nd}d: zeros with `input` at the `indices` of the maxima.

    Shapes (N, C, {dims}) or (C, {dims}); `output_size` settles what `kernel_size`, `stride` and `padding` leave open.
    ValueError for an impossible `output_size` or shapes that differ, RuntimeError for indices outside of the output.

    >>> x, index = torch.tensor([5.]).reshape({ones}), torch.tensor([1]).reshape({ones})
    >>> nn.functional.max_unpool{nd}d(x, index, 2).flatten()
    tensor([{result}])
    """


def _install_unpools() -> None:
    for nd in (1, 2, 3):

        def unpool(
            input: Tensor,
            indices: Tensor,
            kernel_size: Any,
            stride: Any = None,
            padding: Any = 0,
            output_size: Any = None,
            *,
            _nd: int = nd,
        ) -> Tensor:
            name = f"max_unpool{_nd}d"
            a, index = expect_tensor(input, name)._array, indices._array
            if a.shape != index.shape:
                raise ValueError(
                    f"{name}(): expected indices of the input's shape {list(a.shape)}, got {list(index.shape)}"
                )
            kernel, padding = many(kernel_size, _nd, "kernel_size", name), many(padding, _nd, "padding", name)
            stride = kernel if stride is None else many(stride, _nd, "stride", name)
            spatial = _unpool_size(name, a.shape[-_nd:], kernel, stride, padding, output_size)
            if backend.readable(index) and not 0 <= int(index.min()) <= int(index.max()) < math.prod(spatial):
                raise RuntimeError(
                    f"{name}(): found an invalid max index: expected 0 to {math.prod(spatial) - 1} for output "
                    f"size {list(spatial)}, got {int(index.min())} to {int(index.max())}"
                )
            return MaxUnpool.apply(input, index, spatial)

        unpool.__doc__ = _UNPOOL_DOC.format(
            nd=nd,
            dims=("L", "H, W", "D, H, W")[nd - 1],
            ones=", ".join(["1"] * (nd + 1)),
            result=", ".join(["5." if i == 1 else "0." for i in range(2**nd)]),
        )
        install(unpool, f"max_unpool{nd}d", function=False, method=False, functional=True)


_install_max_pools()
_install_unpools()


@samples_for("max_unpool2d")
def _samples(make: Any) -> Any:
    yield make("max_unpool1d", make.uniform((1, 1, 1)), make.ints((1, 1, 1), 1, 2), 2, _module="nn.functional")
    yield make(
        "max_unpool2d",
        make.uniform((1, 1, 1, 1)),
        make.ints((1, 1, 1, 1), 3, 4),
        2,
        output_size=(3, 3),
        _module="nn.functional",
    )
