"""How recurrent layers lie in memory while `_recurrent_steps.py` runs them.

Sequences come packed: the rows of all sequences at step 0, then at step 1, and so on, longest sequences first, so that
the n sequences that are still running are always the first n rows of the state. `steps` lists (first row, n) in the
order of processing (backwards for the reverse direction).

A step's inputs and its state lie side by side as rows [x | 1 | h], which makes the gradients of both weights and of the bias
one product. What a step computes lies quantity by quantity (`slots`), each contiguous, so that one ufunc covers several. A
hidden size is cut into q panels of w: BLAS is quickest on narrow right operands.

Two threads that both call small ufuncs wait for the interpreter more than they gain. So where steps are little work, one
thread runs the loop over all sequences, and the others do the large products that do not wait for the step before: the sums
over the inputs of coming steps, the gradients of inputs and weights of steps that are done (`_Pipeline`). Where steps are
much work, blocks of sequences run side by side, each through all steps. Which it is, and the blocks, depend on sizes alone,
and so do results.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from threading import Lock
from typing import Any, NamedTuple

import numpy as np

from ..pool import LARGE, get_num_threads, parallel_for, spans
from ._blocked import products

_ROWS = 16  # sequences of a block at least: enough for the products to be fast
_WORK = 10_000_000  # multiplications of a step, in a block at least
_BLOCKS = 8  # at most
_GROUPS = 8  # of segments whose gradients of weights are one product
_TOGETHER = 8  # steps whose factors are computed at once; what is in between stays in cache
_FEW = 4  # fewer steps do not repay a copy of the weights
_WIDEST = 128
_SMALL = 1_000_000  # rows * inner * columns of the largest product that OpenBLAS does without packing


def panel_width(columns: int, rows: int, inner: int) -> int:
    """The widest panel that divides `columns` and keeps products of so many rows and inner elements small."""
    most = min(_WIDEST, max(16, _SMALL // max(1, rows * inner)), max(1, columns))
    return next((w for w in range(most, 15, -1) if columns % w == 0), columns)


def panels(w: Any, width: int) -> Any:
    """A matrix (inner, columns) as contiguous panels (columns / width, inner, width)."""
    return w.reshape(w.shape[0], -1, width).transpose(1, 0, 2).copy(order="C")


class Segment(NamedTuple):
    """Steps, one after the other, in which the same sequences run: `length` of them, from row `at` on, `total` rows each."""

    at: int
    total: int
    length: int
    back: bool

    @property
    def end(self) -> int:
        """One past its last row."""
        return self.at + self.length * self.total

    def rows_in(self, block: slice) -> slice:
        """Which of the rows of a step belong to a block."""
        return slice(block.start, min(block.stop, self.total))

    def rows(self, matrix: Any, block: slice) -> Any:
        """A block's rows as (steps, sequences, columns), a view."""
        steps = matrix[self.at : self.end].reshape(self.length, self.total, matrix.shape[1])
        return self._in_order(steps[:, self.rows_in(block)])

    def slots(self, flat: Any, block: slice, parts: int, panels: tuple[int, int]) -> Any:
        """A block's share of what is kept per step, as (steps, parts, q, sequences, w), a view. Each part is contiguous."""
        q, width = panels
        size, here = parts * q * width, self.rows_in(block)
        steps = flat[self.at * size : self.end * size].reshape(self.length, -1)
        mine = steps[:, here.start * size : here.stop * size]
        return self._in_order(mine.reshape(self.length, parts, q, here.stop - here.start, width))

    def _in_order(self, steps: Any) -> Any:
        return steps[::-1] if self.back else steps


def segments(steps: Sequence[tuple[int, int]]) -> list[Segment]:
    """Steps in segments, in the order of processing."""
    back, found, i = len(steps) > 1 and steps[-1][0] < steps[0][0], [], 0
    while i < len(steps):
        count = 1
        while count < _TOGETHER and i + count < len(steps) and steps[i + count][1] == steps[i][1]:
            count += 1
        found.append(Segment(min(steps[i][0], steps[i + count - 1][0]), steps[i][1], count, back))
        i += count
    return found


def over_panels(rows: Any, panels: tuple[int, int]) -> Any:
    """Rows (..., n, q * w) as (..., q, n, w), a view."""
    return rows.reshape(*rows.shape[:-1], *panels).swapaxes(-3, -2)


class _Pipeline:
    """One thread runs the loops over segments; the others work ahead of it (`before`), or behind it (`after`).

    With one thread, or where helpers come late, the looping thread does all of it by itself.
    """

    def __init__(self, order: Sequence[Segment], before: Callable | None, loop: Callable, after: Callable | None) -> None:
        self.order, self.before, self.loop, self.after = order, before, loop, after
        self.unprepared = deque(range(len(order)) if before else ())
        self.prepared = [Lock() for _ in self.unprepared]  # released when it is
        for lock in self.prepared:
            lock.acquire()
        self.left: SimpleQueue = SimpleQueue()  # segments for `after`; None: no more

    def run(self) -> None:
        parallel_for(lambda i: self._help() if i else self._lead(), get_num_threads())

    def _prepare_next(self) -> bool:
        """Whether there was one."""
        try:
            k = self.unprepared.popleft()
        except IndexError:
            return False
        try:
            self.before(self.order[k])  # type: ignore[misc]
        finally:
            self.prepared[k].release()
        return True

    def _wait_for(self, k: int) -> None:
        while not self.prepared[k].acquire(blocking=False):
            if not self._prepare_next():
                self.prepared[k].acquire()
                return

    def _finish(self) -> None:
        while (segment := self.left.get()) is not None:
            self.after(segment)  # type: ignore[misc]
        self.left.put(None)  # for the next who asks

    def _help(self) -> None:
        while self._prepare_next():
            pass
        self._finish()

    def _lead(self) -> None:
        try:
            for k, segment in enumerate(self.order):
                if self.before:
                    self._wait_for(k)
                self.loop(segment)
                if self.after:
                    self.left.put(segment)
        finally:
            self.left.put(None)
        self._finish()


class Layer:
    """Sizes of a layer, and its rows in blocks and segments."""

    def __init__(self, xp: Any, x: Any, batch: int, gates: int, hidden: int, state: int, steps: Sequence, biased: bool) -> None:
        self.xp, self.dtype, self.rows = xp, x.dtype, len(x)
        self.inputs, self.hidden, self.state, self.biased = x.shape[1], hidden, state, biased
        self.inner = self.inputs + biased + state
        work = batch * self.inner * gates * hidden
        count = min(_BLOCKS, batch // _ROWS, work // _WORK) if xp is np else 1
        self.blocks = spans(batch, -(-batch // max(1, count)) or 1)
        self.segments = segments(steps)
        self.pipelined = len(self.blocks) == 1 and len(self.segments) > 1 and self.rows * hidden >= LARGE and xp is np
        self.few = len(steps) < _FEW
        self.at_most = self.blocks[0].stop  # about as many as in any other
        self.panels = self.cut(hidden, self.inner)
        at, end = self.inputs, self.inputs + biased
        self.columns = (0, at), (at, end), (end, self.inner)  # of x, 1 and h

    def cut(self, columns: int, inner: int) -> tuple[int, int]:
        """(q, w) for products with so many columns."""
        width = panel_width(columns, self.at_most, inner)
        return columns // width, width

    def joined(self, x: Any) -> Any:
        """Rows [x | 1 | h], h not yet filled in."""
        rows = self.xp.empty((self.rows, self.inner), self.dtype)
        rows[:, : self.inputs] = x
        if self.biased:
            rows[:, self.inputs] = 1
        return rows

    def empty(self, parts: int) -> Any:
        """Room for `parts` quantities of the hidden size per row: see `Segment.slots`."""
        return self.xp.empty(self.rows * parts * self.hidden, self.dtype)

    def forward(self, before: Callable, loop: Callable) -> None:
        """Take all sequences through the segments, by `before` and `loop`, both called with (segment, block).

        `loop` follows that of the segment before; `before` does not depend on any.
        """
        if self.pipelined:
            block = self.blocks[0]
            _Pipeline(self.segments, lambda s: before(s, block), lambda s: loop(s, block), None).run()
        else:
            self._run_blocks(self.segments, before, loop)

    def backward(self, loop: Callable, after: Callable | None, *pairs: tuple) -> list:
        """Take all sequences through the segments from the last to the first; `after` follows the `loop` of its segment.

        Returns `[a.T @ b, ...]` of `pairs` of matrices whose rows loops fill in.
        """
        order, parts = self.segments[::-1], [after] if after else []
        if not self.pipelined:
            self._run_blocks(order, loop, *parts)
            return products(*[(a.T, b) for a, b in pairs]) if self.xp is np else [self.xp.dot(a.T, b) for a, b in pairs]
        groups = [order[span] for span in spans(len(order), -(-len(order) // _GROUPS))]
        number = {group[-1]: k for k, group in enumerate(groups)}
        found: list = [None] * len(groups)  # added in this order, whoever made them

        def finish(segment: Segment) -> None:
            for part in parts:
                part(segment, self.blocks[0])
            k = number.get(segment)
            if k is not None:
                rows = slice(min(s.at for s in groups[k]), max(s.end for s in groups[k]))
                found[k] = [a[rows].T @ b[rows] for a, b in pairs]

        _Pipeline(order, None, lambda segment: loop(segment, self.blocks[0]), finish).run()
        for more in found[1:]:
            for total, product in zip(found[0], more):
                total += product
        return found[0]

    def _run_blocks(self, order: Sequence[Segment], *parts: Callable) -> None:
        def through(i: int) -> None:
            block = self.blocks[i]
            for segment in order:
                if segment.total > block.start:
                    for part in parts:
                        part(segment, block)

        parallel_for(through, len(self.blocks))

    def times(self, w: Any) -> Callable:
        """`multiply(rows, out)` that makes `out = rows @ w`; both may be views, with steps in front."""
        if self.few:
            return lambda rows, out: self.xp.matmul(rows, w, out=out)
        cut = self.cut(w.shape[1], w.shape[0])
        ready = panels(w, cut[1])
        return lambda rows, out: self.xp.matmul(rows[..., None, :, :], ready, out=over_panels(out, cut))

    def biases(self, *given: Any) -> tuple:
        """The sum of biases, to go with weights; nothing if there are none."""
        return (sum(given),) if self.biased else ()

    def inputs_of(self, rows: Any) -> Any:
        """[x | 1] of rows [x | 1 | h]."""
        return rows[..., : self.inner - self.state]

    def states_of(self, rows: Any) -> Any:
        """h of rows [x | 1 | h]."""
        return rows[..., self.inner - self.state :]

    def parts_of(self, rows: Any) -> Any:
        """Rows of several quantities (..., n, parts * hidden) as (..., parts, q, n, w), a view."""
        return over_panels(rows.reshape(*rows.shape[:-1], -1, self.hidden).swapaxes(-3, -2), self.panels)

    def sums(self, gates: Sequence[int], weights: tuple, halved: int = 0) -> Callable:
        """`fill(rows, out)` that makes the sums of the given gates, in that order, the last `halved` of them divided by two.

        Rows have as many columns as `weights` together, one for a bias among them; `out` is (..., gates, q, n, w).
        """
        xp, (q, width) = self.xp, self.panels
        if self.few:
            return lambda rows, out: self._sums_without_copies(rows, weights, gates, halved, out)
        columns = [w if w.ndim == 2 else w[:, None] for w in weights]
        ready, at = xp.empty((len(gates), q, sum(w.shape[1] for w in columns), width), self.dtype), 0
        for w in columns:
            end = at + w.shape[1]
            for to, gate in zip(ready, gates):
                mine = w[gate * self.hidden : (gate + 1) * self.hidden]
                to[:, at:end] = mine.reshape(q, width, -1).swapaxes(1, 2)
            at = end
        ready[len(gates) - halved :] *= 0.5
        return lambda rows, out: xp.matmul(rows[..., None, None, :, :], ready, out=out)

    def _sums_without_copies(self, rows: Any, weights: tuple, gates: Sequence[int], halved: int, out: Any) -> None:
        """What `sums` promises, from the weights as they lie."""
        (w,) = (w for w in weights if w.ndim == 2)
        at = int(weights[0] is not w)  # the column of ones
        total = rows[..., at : at + w.shape[1]] @ w.T
        for bias in weights:
            if bias is not w:
                total += bias
        by_gate = self.parts_of(total)
        for k, gate in enumerate(gates):
            out[..., k, :, :, :] = by_gate[..., gate, :, :, :]
        out[..., len(gates) - halved :, :, :, :] *= 0.5

    def gates_of(self, product: Any, order: Sequence[int], first: int, end: int) -> Any:
        """Some columns of a product of gradients with rows, its gates in another order: the gradient of a weight."""
        return self.xp.concatenate([product[gate * self.hidden : (gate + 1) * self.hidden, first:end] for gate in order])


def reordered(w: Any, gates: Sequence[int]) -> Any:
    """A weight's rows, gate after gate in another order."""
    return w.reshape(len(gates), -1, w.shape[1])[list(gates)].reshape(w.shape)
