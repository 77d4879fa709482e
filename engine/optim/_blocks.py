"""Blocks: the pieces of the flat index space that an update is computed on, one after the other.

A block is small enough to stay in the processor's cache while a chain of a dozen in-place operations goes over it. A
`kernel` is such a chain: `kernel(xp, g, s, t, state, c)` reads the gradient `g`, updates the arrays in `state`, leaves
in `s` what is to be added to the parameter, and may use `t` as it likes. All are 1-D arrays of one length; `c` holds
constants. What is the same for all optimizers (maximize, weight decay, the addition itself) is done here. A chain that is
marked by `compiled_as` has a compiled form, which does all of it in one pass over large parameters.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

from engine import fast
from engine.gpu import steps
from engine.pool import LARGE, block_size

__all__ = ["Constants", "Member", "Update", "compiled_as", "cut"]

# Elements per block at most. One thread is quickest where a block's operands fit in its second-level cache (2**15), but two
# then ask for the interpreter so often that they wait for each other: 26 ms where blocks of 2**18 take 11, on one or the
# other 19. Where less cache falls to a processor than the operands of such a block need, blocks are smaller: they would come
# from memory again and again. On a GPU every operation costs a launch, so blocks are larger still.
_CPU_BLOCK = 1 << 18
_GPU_BLOCK = 1 << 22
_OPERANDS = 7  # parameter, gradient, up to two quantities that are remembered, three of scratch
# A compiled kernel needs no scratch memory and takes parameters one by one, unless they are so small that the call costs more.
_COMPILED = 1 << 13
# Blocks are dealt into lanes with scratch memory of their own, so that as many threads can work side by side.
_LANES = os.cpu_count() or 1


def compiled_as(name: str) -> Callable[[Callable], Callable]:
    """Decorator of a chain: the kernel of that name in `engine/fast/optimizers.py`, or `engine/gpu/steps.py`, does the same."""

    def mark(chain: Callable) -> Callable:
        chain.compiled = name  # type: ignore[attr-defined]
        return chain

    return mark


class Update:
    """What a step does to every block: a chain and its constants, and the compiled form of the chain or None.

    With `live`, an array of the device, it begins with `decay`, `shrink` and the constants, and these are views of it. Where
    `found`, a float32 of the device, is not 0, nothing is to be done.
    """

    __slots__ = ("c", "compiled", "constants", "decay", "found", "kernel", "live", "maximize", "name", "shrink")

    def __init__(self, kernel: Callable, maximize: bool, decay: float, shrink: float, values: tuple, constants: Constants,
                 compiled: bool) -> None:
        loaded = constants.load((decay, shrink, *values))
        self.kernel, self.maximize, self.constants = kernel, bool(maximize), constants.buffer
        self.decay, self.shrink, self.c = loaded[0] if decay else None, loaded[1] if shrink != 1 else None, loaded[2:]
        self.name = getattr(kernel, "compiled", "")
        name = self.name if compiled and self.constants is not None else ""
        kernels = fast.kernels("optimizers") if name else None
        self.compiled = None if kernels is None else getattr(kernels, name)
        self.live = self.found = None

    @classmethod
    def on_device(cls, kernel: Callable, maximize: bool, decay: Any, shrink: Any, c: tuple, live: Any) -> Update:
        """An update whose numbers are in device memory; None for a decay or shrinking that there is not."""
        made = cls.__new__(cls)
        made.kernel, made.maximize, made.decay, made.shrink, made.c, made.live = kernel, maximize, decay, shrink, c, live
        made.name, made.compiled, made.constants, made.found = getattr(kernel, "compiled", ""), None, None, None
        return made


class Member:
    """One parameter in a plan: its gradient's index, its array, and where its state lies in the flat arrays."""

    __slots__ = ("array", "index", "start", "stop")

    def __init__(self, index: int, array: Any, start: int) -> None:
        self.index, self.array = index, array
        self.start, self.stop = start, start + array.size


class Constants:
    """Constants of a kernel as 0-d arrays of the computing dtype: NumPy takes those faster than Python numbers."""

    __slots__ = ("buffer", "dtype", "_cells")

    def __init__(self, xp: Any, dtype: Any) -> None:
        self.dtype = dtype
        self.buffer = np.empty(16, dtype) if xp is np else None
        self._cells = () if self.buffer is None else tuple(self.buffer[i, ...] for i in range(16))

    def load(self, values: tuple) -> tuple:
        """The values, ready as operands; valid until the next call."""
        if self.buffer is None:
            return values
        self.buffer[: len(values)] = values
        return self._cells[: len(values)]


class Block:
    """Shared part: scratch of the block's length, and its share of the flat state."""

    __slots__ = ("g", "s", "state", "stored", "t", "xp")

    def __init__(self, xp: Any, scratch: tuple, state: tuple, length: int) -> None:
        self.xp = xp
        self.g, self.s, self.t = (buffer[:length] for buffer in scratch)
        self.state = self.stored = state  # as computed with, as kept

    def run(self, update: Update, grads: list) -> None:
        """Update the parameters of this block from `grads`, in which the gradients of large parameters are flat."""
        raise NotImplementedError

    def places(self, grads: list) -> list:
        """The parameters of this block, in the order of their states, with their gradients."""
        raise NotImplementedError

    def run_on_device(self, update: Update, grads: list) -> None:
        """As `run`, by one of our kernels where there is one, and undone where `update.found` is not 0."""
        places = self.places(grads)
        if steps.run(update.name, places, self.stored, update):
            return
        written: list[Any] = [] if update.found is None else [*self.stored, *(p for p, _ in places)]
        before = [array.copy() for array in written]
        self.run(update, grads)
        for array, kept in zip(written, before, strict=True):
            self.xp.copyto(array, kept, where=update.found != 0)


class GatheredBlock(Block):
    """Whole parameters, small or not contiguous: gradients are copied in side by side, the update is added to each."""

    __slots__ = ("inputs", "outputs")

    def __init__(self, xp: Any, scratch: tuple, state: tuple, members: list[Member]) -> None:
        first = members[0].start
        super().__init__(xp, scratch, state, members[-1].stop - first)
        spans = [(m, slice(m.start - first, m.stop - first)) for m in members]
        self.inputs = [(m.index, self.g[span].reshape(m.array.shape)) for m, span in spans]
        self.outputs = [(m.array, self.s[span].reshape(m.array.shape)) for m, span in spans]

    def places(self, grads: list) -> list:
        return [(array, grads[index]) for (index, _), (array, _) in zip(self.inputs, self.outputs, strict=True)]

    def run(self, update: Update, grads: list) -> None:
        xp, g, s = self.xp, self.g, self.s
        add = xp.add
        for index, here in self.inputs:
            here[...] = grads[index]
        if update.maximize:
            xp.negative(g, g)
        if update.decay is not None:
            for array, here in self.outputs:
                here[...] = array
            xp.multiply(s, update.decay, s)
            add(g, s, g)
        update.kernel(xp, g, s, self.t, self.state, update.c)
        if update.shrink is not None:
            for array, _ in self.outputs:
                xp.multiply(array, update.shrink, array)
        for array, here in self.outputs:
            add(array, here, array)


class DirectBlock(Block):
    """A stretch of one large contiguous parameter, updated where it lies."""

    __slots__ = ("index", "p", "span")

    def __init__(self, xp: Any, scratch: tuple, state: tuple, member: Member, span: slice) -> None:
        super().__init__(xp, scratch, state, span.stop - span.start)
        self.index, self.span = member.index, span
        self.p = member.array.reshape(-1)[span]

    def places(self, grads: list) -> list:
        return [(self.p, grads[self.index][self.span])]

    def run(self, update: Update, grads: list) -> None:
        g = grads[self.index][self.span]
        if update.compiled is not None and fast.fits(self.p, g):
            update.compiled(self.p, g, *self.state, update.constants, update.maximize)
            return
        xp, p, s = self.xp, self.p, self.s
        if update.maximize:
            g = xp.negative(g, self.g)
        if update.decay is not None:
            xp.multiply(p, update.decay, s)
            g = xp.add(g, s, self.g)
        update.kernel(xp, g, s, self.t, self.state, update.c)
        if update.shrink is not None:
            xp.multiply(p, update.shrink, p)
        xp.add(p, s, p)


class WidenedBlock(Block):
    """Parameters of a half type: computed in float32, rounded once when stored.

    `pieces` are (member, stretch of it or None for the whole).
    """

    __slots__ = ("inputs", "outputs", "w")

    def __init__(self, xp: Any, scratch: tuple, state: tuple, pieces: list[tuple[Member, slice | None]]) -> None:
        lengths = [m.array.size if span is None else span.stop - span.start for m, span in pieces]
        total = sum(lengths)
        super().__init__(xp, scratch[:3], tuple(buffer[:total] for buffer in scratch[4:]), total)
        self.stored = state
        self.w = scratch[3][:total]
        self.inputs, self.outputs, start = [], [], 0
        for (member, span), length in zip(pieces, lengths, strict=True):
            array = member.array if span is None else member.array.reshape(-1)[span]
            here = slice(start, start + length)
            self.inputs.append((member.index, span, self.g[here].reshape(array.shape)))
            self.outputs.append((array, self.w[here].reshape(array.shape)))
            start += length

    def places(self, grads: list) -> list:
        return [(array, grads[index] if span is None else grads[index][span])
                for (index, span, _), (array, _) in zip(self.inputs, self.outputs, strict=True)]

    def run(self, update: Update, grads: list) -> None:
        xp, g, s, w = self.xp, self.g, self.s, self.w
        for index, span, here in self.inputs:
            here[...] = grads[index] if span is None else grads[index][span]
        for array, here in self.outputs:
            here[...] = array
        for wide, narrow in zip(self.state, self.stored, strict=True):
            wide[...] = narrow
        if update.maximize:
            xp.negative(g, g)
        if update.decay is not None:
            xp.multiply(w, update.decay, s)
            xp.add(g, s, g)
        update.kernel(xp, g, s, self.t, self.state, update.c)
        if update.shrink is not None:
            xp.multiply(w, update.shrink, w)
        xp.add(w, s, w)
        for wide, narrow in zip(self.state, self.stored, strict=True):
            narrow[...] = wide
        for array, here in self.outputs:
            array[...] = here


def cut(xp: Any, flats: list[Any], members: list[Member], dtype: Any) -> tuple[list[list], set[int]]:
    """Lanes of blocks for `members` (in the order of their state), and the indices of the gradients they want flattened.

    Blocks of one lane share scratch memory and run one after the other; lanes are independent of each other. Parameters
    that overlap in memory are all in one lane.
    """
    narrow = dtype.itemsize < 4
    limit = _CPU_BLOCK if xp is np else _GPU_BLOCK
    if dtype.itemsize > 4:
        limit //= 2
    if xp is np:
        limit = block_size(_OPERANDS * max(dtype.itemsize, 4), limit)
    total = sum(m.array.size for m in members)
    compiled = xp is np and total >= LARGE and dtype == np.float32 and fast.kernels("optimizers") is not None
    apart = min(_COMPILED, limit // 2) if compiled else limit // 2
    large = [m for m in members if m.array.size > apart and m.array.flags.c_contiguous]
    flat_grads = {m.index for m in large}
    work: list[tuple[int, int, list]] = []  # first and last element of the state, and (member, stretch or None for the whole)
    for run in _runs([m for m in members if m.index not in flat_grads], limit):
        work.append((run[0].start, run[-1].stop, [(m, None) for m in run]))
    for m in large:
        work += [(m.start + span.start, m.start + span.stop, [(m, span)]) for span in _stretches(m.array.size, limit)]
    side_by_side = xp is np and total >= LARGE and not _overlap([m.array for m in members])
    number = min(_LANES, len(work)) if side_by_side else 1
    longest = max(stop - start for start, stop, _ in work)
    computing = np.float32 if narrow else dtype
    scratches = [tuple(xp.empty(longest, computing) for _ in range(4 + len(flats) if narrow else 3)) for _ in range(number)]
    lanes: list[list] = [[] for _ in range(number)]
    dealt = 0
    for start, stop, pieces in work:
        lane = min(number - 1, dealt * number // max(total, 1))
        dealt += stop - start
        state = tuple(flat[start:stop] for flat in flats)
        lanes[lane].append(_block(xp, scratches[lane], state, pieces, narrow))
    return [lane for lane in lanes if lane], flat_grads


def _block(xp: Any, scratch: tuple, state: tuple, pieces: list, narrow: bool) -> Any:
    (member, span), *_ = pieces
    if narrow:
        return WidenedBlock(xp, scratch, state, pieces)
    if span is None:
        return GatheredBlock(xp, scratch, state, [m for m, _ in pieces])
    return DirectBlock(xp, scratch, state, member, span)


def _overlap(arrays: list) -> bool:
    """Whether some may share memory: two views of one array must not be updated on two threads at once."""
    bounds = sorted(np.lib.array_utils.byte_bounds(a) for a in arrays if a.size)
    return any(end > start for (_, end), (start, _) in zip(bounds, bounds[1:]))


def _runs(members: list[Member], limit: int) -> list[list[Member]]:
    """Neighbours in the flat state, together at most `limit` elements (a single longer one stays whole)."""
    runs: list[list[Member]] = []
    for member in members:
        last = runs[-1] if runs else None
        if last and last[-1].stop == member.start and member.stop - last[0].start <= limit:
            last.append(member)
        else:
            runs.append([member])
    return runs


def _stretches(size: int, limit: int) -> list[slice]:
    """`size` elements in equal stretches of at most `limit`."""
    count = -(-size // limit)
    edges = [size * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:], strict=False)]
