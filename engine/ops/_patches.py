"""Convolutions of large float32 arrays by the kernels of engine/fast/patches.py: the tables those need, and the blocks.

An output is a sum over the kernel's elements, the taps. Forward, position q sees the input at q * stride + tap * dilation.
The input's gradient is the same kind of sum over output gradients without a stride: inputs whose places leave the same rest
when divided by the stride, a phase, see the same taps, at shifts of whole outputs. So no zeros are inserted and nothing
is added back; transposed convolutions are these gradients.
"""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import numpy as np

from .. import fast
from ..dtypes import F32
from ..pool import parallel_for, scratch, spans
from ._blocked import LARGE_PRODUCT, run_blocks

LAID = 1 << 17  # elements of a block's images as they are laid out: half of a second-level cache of 1 MB
SHORT_ROW = 16  # elements; where rows are shorter, TILE images lie innermost
TILE = 8  # rows and columns that the kernels transpose at a time
PANEL = 64  # positions
SHARES = 8  # blocks of images, if there are so many
PARTS = 4  # blocks at least, where one image can be cut
LANES_MOVED = 16  # floats that a kernel may write behind the end of what is laid out
LANES = 8  # blocks that may add to weight gradients at the same time, each into an array of its own
SUMS = 1 << 20  # elements of all lanes' weight gradients


def _three(values: Any, fill: Any) -> tuple:
    """One to three values as three, the last for the last dimension."""
    return (*[fill] * (3 - len(values)), *values)


class Correlation:
    """The tables of one sum over taps, and its blocks. Names are those of engine/fast/patches.py."""

    def __init__(self, plan: Any, taps: list, phases: list, **geometry: tuple) -> None:
        self.n, self.groups = plan.n, plan.groups
        self.planes = geometry["planes"]
        self.reach, self.out_step, self.extents = geometry["reach"], geometry["out_step"], geometry["extents"]
        self.source, self.target = geometry["source"], geometry["target"]  # (channels of a group, 3 sizes)
        self.taps, self.phases = np.array(taps, np.int64).reshape(-1, 4), np.array(phases, np.int64)
        self.low, self.step = geometry["low"], geometry["step"]
        self.counts = [b - a for a, b in self.extents]
        self.places = self._places()
        self._boxes: dict[tuple, list] = {}

    def _row(self) -> int:
        """Positions in one piece."""
        d, h, w = self.counts
        if self.reach[2] or self.out_step[1:] != (1, 1) or w != self.target[3]:
            return w
        return h * w if self.reach[1] or self.out_step[0] != 1 or h != self.target[2] else d * h * w

    def _laid(self, rows: int, dim: int) -> int:
        """Elements of an image laid out, or of so many rows of it."""
        sizes = [n + r for n, r in zip(self.counts, self.reach)]
        sizes[dim] = rows + self.reach[dim]
        return math.prod(sizes) * math.prod(self.planes) * self.source[0] * self.groups

    def _places(self) -> list[tuple]:
        """Boxes of images and positions, and whether images lie innermost."""
        dim = next((i for i, count in enumerate(self.counts) if count > 1), 2)
        length = self.counts[dim]
        whole = self._laid(length, dim)
        together = self.n // TILE * TILE if self._row() < SHORT_ROW else 0  # images
        group = max(1, PANEL // (TILE * math.prod(self.counts))) * TILE
        blocks = [(slice(i, min(i + group, together)), True) for i in range(0, together, group)]
        most = max(1, min(LAID // max(whole, 1), -(-self.n // SHARES)))
        blocks += [(slice(together + s.start, together + s.stop), False) for s in spans(self.n - together, most) if s.stop]
        rows = length
        if whole > LAID:
            rows = max(LAID * length // whole - self.reach[dim], 2 * self.reach[dim], 1)
        if len(blocks) < PARTS:
            positions = math.prod(self.counts) * self.n // len(blocks)
            rows = min(rows, max(-(-length * len(blocks) // PARTS), -(-length * PANEL // positions), 1))
        first = self.extents[dim][0]
        found = []
        for (i, inner), r in itertools.product(blocks, spans(length, rows)):
            ranges = list(self.extents)
            ranges[dim] = (first + r.start, first + r.stop)
            found.append((i.start, i.stop, *itertools.chain(*ranges), inner))
        return found

    def lay(self, x: Any, box: Any, first: int, last: int) -> tuple:
        """(channels first to last of the images of a box, laid out in this thread's memory; the sizes of a plane)."""
        size = np.array([box[2 * i + 3] - box[2 * i + 2] + reach for i, reach in enumerate(self.reach)])
        return laid_out(x, box, first, last, self.low, self.step, self.planes, size, 0), size

    def boxes(self, parts: int, count: int) -> list:
        """Every place with parts of the groups, or where there is one group, of its `count` outputs or channels."""
        if (parts, count) not in self._boxes:
            if self.groups > 1:
                pieces = [(s.start, s.stop, 0, count) for s in spans(self.groups, -(-self.groups // min(parts, self.groups)))]
            else:
                pieces = [(0, 1, s.start, s.stop) for s in spans(count, -(-count // min(parts, count)))]
            found = [np.array((*place[:-1], *piece, place[-1]), np.int64) for piece in pieces for place in self.places]
            self._boxes[parts, count] = found
        return self._boxes[parts, count]


def laid_out(x: Any, box: Any, first: int, last: int, low: tuple, step: tuple, planes: tuple, size: Any, slot: int) -> Any:
    """What engine/fast/layouts.py lays out, in this thread's memory."""
    images = int(box[1] - box[0])
    laid = scratch(math.prod(planes) * (last - first) * images * math.prod(size.tolist()) + LANES_MOVED, F32, slot)
    turned = scratch(TILE * x.shape[3] * x.shape[4], F32, 2)
    fast.kernels("layouts").lay(x, box, first, last, low, step, planes, size, turned, laid)
    return laid


class Patches:
    """The correlations of a convolution, and which element of the kernel each tap of its input gradient is."""

    def __init__(self, plan: Any) -> None:
        windows = plan.windows
        kernel, stride, dilation = (_three(v, 1) for v in (windows.kernel, windows.stride, windows.dilation))
        self.outputs = (plan.outputs // plan.groups, *_three(windows.out, 1))
        self.inputs = (plan.channels // plan.groups, *_three(windows.spatial, 1))
        self.plan, self.kernel, self.stride, self.dilation = plan, kernel, stride, dilation
        self.low = _three([low for low, _ in windows.pads], 0)
        self.reach = tuple([d * (k - 1) // s for k, s, d in zip(kernel, stride, dilation)])

    @functools.cached_property
    def forward(self) -> Correlation:
        """Outputs of inputs."""
        planes = tuple([1 + max(k * d % s for k in range(n)) for n, s, d in zip(self.kernel, self.stride, self.dilation)])
        taps: list = []
        for at in itertools.product(*[range(k) for k in self.kernel]):
            (a, b, c), shifts = zip(*[divmod(k * d, s)[::-1] for k, s, d in zip(at, self.stride, self.dilation)])
            taps.append(((a * planes[1] + b) * planes[2] + c, *shifts))
        out = self.outputs[1:]
        phases = [(0, len(taps), 0, 0, 0, 0, 0, out[0], 0, out[1], 0, out[2])]
        return Correlation(self.plan, taps, phases, low=self.low, step=self.stride, planes=planes, reach=self.reach,
                           out_step=(1, 1, 1), extents=tuple([(0, n) for n in out]), source=self.inputs,
                           target=self.outputs)  # fmt: skip

    def _phases(self, dim: int) -> list[tuple]:
        """(first place, first and behind last position, elements of the kernel) of every phase along one dimension."""
        s, d, low, n = self.stride[dim], self.dilation[dim], self.low[dim], self.inputs[1 + dim]
        return [(rest - low, max(0, -((rest - low) // s)), (low + n - 1 - rest) // s + 1,
                 [k for k in range(self.kernel[dim]) if k * d % s == rest]) for rest in range(s)]  # fmt: skip

    @functools.cached_property
    def backward(self) -> tuple[Correlation, Any]:
        """Input gradients of output gradients, and the number of the kernel's element that each tap is."""
        along = [self._phases(dim) for dim in range(3)]
        taps: list = []
        phases: list = []
        elements: list = []
        weights = 0
        for chosen in itertools.product(*along):
            start = len(taps)
            for at in itertools.product(*[c[3] for c in chosen]):
                steps = [r - k * d // s for r, k, d, s in zip(self.reach, at, self.dilation, self.stride)]
                taps.append((0, *steps))
                elements.append((at[0] * self.kernel[1] + at[1]) * self.kernel[2] + at[2])
            ranges = itertools.chain(*[c[1:3] for c in chosen])
            phases.append((start, len(taps), weights, *[c[0] for c in chosen], *ranges))
            weights += self.plan.channels * self.outputs[0] * (len(taps) - start)
        extents = tuple([(min(p[1] for p in ps), max(p[2] for p in ps)) for ps in along])
        made = Correlation(self.plan, taps, phases, low=self.reach, step=(1, 1, 1), planes=(1, 1, 1), reach=self.reach,
                           out_step=self.stride, extents=extents, source=self.outputs, target=self.inputs)  # fmt: skip
        return made, np.array(elements, np.int64)


@functools.cache
def sgemm() -> int:
    """The address of BLAS's product, 0 if it is not found."""
    return fast.kernels("blas").address()


def compiled(plan: Any, *arrays: Any) -> Any:
    """The kernels, if they are worth it here and these arrays (None among them) are what they are compiled for."""
    if plan.work < LARGE_PRODUCT or not all(a is None or (type(a) is np.ndarray and a.dtype is F32) for a in arrays):
        return None
    return fast.kernels("patches") if fast.kernels("blas") and sgemm() else None


def spatial(x: Any) -> Any:
    """(N, C, *) with three spatial dimensions."""
    return fast.ready(x).reshape(*x.shape[:2], *_three(x.shape[2:], 1))


def _correlate(kernels: Any, x: Any, w: Any, bias: Any, shape: tuple, made: Correlation) -> Any:
    out, x = np.empty(shape, F32), spatial(x)
    outputs = made.target[0]
    boxes = made.boxes(max(1, PARTS // len(made.places)), outputs)
    shift = np.zeros(shape[1], F32) if bias is None else fast.ready(bias)
    target = spatial(out)
    where, channels = sgemm(), made.source[0]

    def run(i: int) -> None:
        box = boxes[i]
        laid = made.lay(x, box, box[8] * channels, box[9] * channels)
        kernels.correlate(where, *laid, channels, w, shift, target, made.groups, box, made.taps, made.phases, made.out_step)

    parallel_for(run, len(boxes))
    return out


def convolve(kernels: Any, x: Any, w: Any, bias: Any, plan: Any) -> Any:
    """The convolution of (N, C, *) with (O, C / groups, *kernel), plus a bias (O) or None."""
    return _correlate(kernels, x, fast.ready(w).reshape(-1), bias, plan.out_shape, plan.patches.forward)


def input_gradient(kernels: Any, g: Any, w: Any, bias: Any, plan: Any) -> Any:
    """The gradient of a convolution's input from that of its output, plus a bias by channel or None."""
    made, elements = plan.patches.backward
    w, turned = fast.ready(w).reshape(*w.shape[:2], -1), np.empty(w.size, F32)
    blocks = spans(plan.channels, max(1, (1 << 16) // max(1, w[:, 0].size)))

    def reorder(i: int) -> None:
        for first, last, start in made.phases[:, :3]:
            kernels.reorder(w, plan.groups, elements, first, last, blocks[i].start, blocks[i].stop, start, turned)

    run_blocks(reorder, len(blocks), len(blocks) > 1)
    return _correlate(kernels, g, turned, bias, plan.x_shape, made)


def weight_gradient(kernels: Any, g: Any, x: Any, plan: Any) -> Any:
    """The gradient (O, C / groups, *kernel) of a convolution's weights."""
    made, g, x = plan.patches.forward, spatial(g), spatial(x)
    channels, outputs = made.source[0], made.target[0]
    shape = (plan.groups, channels * len(made.taps), outputs)
    lanes = min(LANES, len(made.places), max(1, SUMS // math.prod(shape)))
    each = len(made.places)
    boxes = made.boxes(-(-PARTS // lanes), channels)
    totals, where = np.zeros((lanes, *shape), F32), sgemm()

    def run(i: int) -> None:
        part, lane = divmod(i, lanes)
        for box in boxes[part * each : (part + 1) * each][lane::lanes]:
            laid = made.lay(x, box, box[8] * channels + box[10], (box[9] - 1) * channels + box[11])
            kernels.add_weight_gradient(where, *laid, channels, g, totals[lane], made.groups, box, made.taps)

    parallel_for(run, lanes * (len(boxes) // each))
    gw = np.empty(plan.w_shape, F32)
    rows, tiles = gw.reshape(plan.outputs, -1), plan.groups * -(-shape[1] // TILE)
    blocks = spans(tiles, max(1, (1 << 16) // (lanes * outputs * TILE)))
    run_blocks(lambda i: kernels.add_up(totals, blocks[i].start, blocks[i].stop, rows), len(blocks), len(blocks) > 1)
    return gw
