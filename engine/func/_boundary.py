"""The border of a vmap in the graph: tensors get a batch dimension on the way in and lose it on the way out.

Inside, gradients are batched like everything else, also those of tensors from outside that have no batch dimension. So
the whole vmap is one node (`VmapNode`) for the graph outside: its backward runs the graph inside and sums over the batch what
arrives at such tensors.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np

from engine.autograd.driver import Run
from engine.autograd.graph import RELEASED, Node, Pick, next_seq
from engine.autograd.modes import enable_grad, state
from engine.batched import Batched, Level, promoted
from engine.ops.base import Op, op
from engine.tensor import Tensor, wrap

__all__ = ["Inside", "enter", "leave"]


class _Levels(threading.local):
    depth = 0


_levels = _Levels()


class Inside:
    """Context in which `level` is the innermost vmap; notes which nodes are made within."""

    def __init__(self, level: Level, spans: tuple = ()) -> None:
        self.level, self.spans = level, spans
        self.start: float = float("inf")

    def __enter__(self) -> Inside:
        _levels.depth += 1
        self.before, self.level.depth = self.level.depth, _levels.depth
        self.start = next_seq()
        return self

    def __exit__(self, *exc: object) -> None:
        _levels.depth -= 1
        self.level.depth = self.before
        self.spans = (*self.spans, (self.start, next_seq()))
        self.start = float("inf")

    def contains(self, node: Node) -> bool:
        """Whether `node` was made inside."""
        return any(first < node.seq < last for first, last in (*self.spans, (self.start, float("inf"))))


@op("_vmap_in", function=False, method=False, node="VmapInBackward0")
class VmapIn(Op):
    """A tensor whose dimension `dim` becomes the hidden batch of `level`."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, level: Level, dim: int) -> Any:
        return Batched(np.moveaxis(x, dim, 0), level)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._vmap_out(g, *s.params),)


@op("_vmap_out", function=False, method=False, node="VmapOutBackward0")
class VmapOut(Op):
    """The hidden batch of `level` as dimension `dim`; tensors without one are repeated."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, level: Level, dim: int) -> Any:
        inner = promoted(x, level).inner
        return np.moveaxis(inner, 0, dim % inner.ndim)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._vmap_in(g, *s.params),)


def enter(x: Tensor, level: Level, dim: int) -> Tensor:
    """`x` as seen inside, one sample of it."""
    return VmapIn.apply(x, level, dim)


def leave(inside: Inside, outputs: Sequence[tuple[Tensor, int | None]]) -> list[Tensor]:
    """Tensors from inside as seen outside, with the batch as the given dimension (None: they have none)."""
    plain = [t.detach() if dim is None else VmapOut.apply(t.detach(), inside.level, dim) for t, dim in outputs]
    if not state.grad or not any(t.requires_grad for t, _ in outputs):
        return plain
    node = VmapNode(inside, outputs, plain)
    made = []
    for i, (t, (before, _)) in enumerate(zip(plain, outputs)):
        made.append(wrap(t._array, Pick(node, i, t._array)) if before.requires_grad else t)
    return made


class _InnerRun(Run):
    """A backward pass over the graph inside; what leaves it is collected, without the batch dimension."""

    def __init__(self, node: VmapNode, create_graph: bool) -> None:
        super().__init__(create_graph, True)
        self.node = node
        self.collected: dict[Node, list] = {}

    def deliver(self, edge: Node, g: Any) -> None:
        if self.node.inside.contains(edge):
            super().deliver(edge, g)
        elif edge in self.node.frontier:
            self.collected.setdefault(edge, []).append(g)


class VmapNode(Node):
    """One vmap in the graph outside: its edges are the nodes outside that the graph inside starts from."""

    __slots__ = ("dims", "frontier", "inside", "op_outputs", "roots")

    def __init__(self, inside: Inside, outputs: Sequence, plain: Sequence) -> None:
        self.inside = inside
        self.roots: Any = [t for t, _ in outputs]
        self.dims = [dim for _, dim in outputs]
        self.frontier = _frontier(inside, [t._node for t in self.roots if t.requires_grad])
        self.edges = tuple(self.frontier)
        self.tensors, self.versions, self.out, self.aux, self.params = (), None, None, None, ()
        self.shape, self.dtype = None, plain[0]._array.dtype  # type: ignore[assignment]
        self.op_outputs = len(plain)
        self.seq = next_seq()

    def name(self) -> str:
        return "VmapBackward"

    def _gradients(self, grads: Any, create_graph: bool) -> list:
        """For every edge the gradients that arrive at it, as a list of (Tensor, whether it has the batch dimension)."""
        if self.roots is RELEASED:
            raise RuntimeError("Trying to backward through the graph a second time. Specify retain_graph=True if you need to "
                               "backward through the graph a second time.")
        level = self.inside.level
        run = _InnerRun(self, create_graph)
        with Inside(level, self.inside.spans) as inner:
            self.inside, before = inner, self.inside
            try:
                for root, dim, g in zip(self.roots, self.dims, grads):
                    if g is None or not root.requires_grad:
                        continue
                    g = g if dim is None else enter(g, level, dim)
                    run.deliver(root._node, g if create_graph else g._array)
                run.go()
            finally:
                self.inside = before
            collected = [run.collected.get(edge, []) for edge in self.edges]
        found = [[g if create_graph else wrap(g) for g in many] for many in collected]
        flat = [(g, 0 if _has_batch(g, level) else None) for many in found for g in many]
        summed = iter([g if dim is None else g.sum(0) for g, (_, dim) in zip(leave(inner, flat), flat)])
        return [[next(summed) for _ in many] for many in found]

    def run(self, g: Any, xp: Any) -> list:
        grads = [None if one is None else wrap(one) for one in g]
        return [None if not many else _total(many)._array for many in self._gradients(grads, False)]

    def run_traced(self, g: Any) -> list:
        with enable_grad():
            return [None if not many else _total(many) for many in self._gradients(g, True)]

    def release(self) -> None:
        """Let go of the graph inside."""
        self.roots = RELEASED


def _has_batch(t: Tensor, level: Level) -> bool:
    return isinstance(t._array, Batched) and t._array.level is level


def _total(tensors: list) -> Tensor:
    total = tensors[0]
    for t in tensors[1:]:
        total = total + t
    return total


def _frontier(inside: Inside, roots: list) -> dict[Node, None]:
    """The nodes outside that are reached first from `roots`."""
    found: dict[Node, None] = {}
    seen: set[Node] = set()
    stack = list(roots)
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        if not inside.contains(node):
            found[node] = None
        else:
            stack.extend(edge for edge in node.edges if edge is not None)
    return found
