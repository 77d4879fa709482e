"""Running a graph backwards: one `Run` is one backward pass.

The driver takes nodes newest first, sums what arrives at each, calls hooks, and hands each node's gradient to its formula. See
`graph.py` for what a node is, and docs/architecture.md for why it works this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .. import backend
from ..batched import Batched
from ..pool import LARGE
from .graph import BF16, F16, F32, AccumulateGrad, Hooks, Node, Pick, lift, ndarray
from .modes import state


class Run:
    """One backward pass over the graph."""

    def __init__(self, create_graph: bool, keep_graph: bool) -> None:
        self.create_graph, self.keep_graph = create_graph, keep_graph
        self.numpy = Hooks.raw(np)
        self.pending: dict[Node, Any] = {}
        self.leaves: list[Node] = []
        self.heap: list[tuple[int, Node]] = []
        self.wanted: dict[Node, Any] | None = None  # nodes whose gradient is captured instead of accumulated
        self.only: set[Node] | None = None  # nodes that lead to a wanted one

    def restrict(self, roots: list[Node], wanted: list[Node]) -> None:
        """Compute only what leads from `roots` to `wanted`, and capture their gradients."""
        self.wanted = dict.fromkeys(wanted)
        self.only = _leading_to(roots, set(wanted))

    def deliver(self, edge: Node, g: Any) -> None:
        """Add gradient `g` to what waits for node `edge`, in its shape and dtype."""
        if g.shape != edge.shape:
            g = Hooks.sum_to(g, edge.shape, self.create_graph)
        if (g._array if self.create_graph else g).dtype is not edge.dtype:
            g = Hooks.cast(g, edge.dtype, self.create_graph)
        pending = self.pending
        before = pending.get(edge)
        if before is not None:
            pending[edge] = before + g if type(g) is not ndarray or g.size < LARGE else Hooks.add(before, g)
            return
        kind = type(edge)
        if kind is Pick and not edge.watched and (self.wanted is None or edge not in self.wanted):
            self._deposit(edge, g)
            return
        pending[edge] = g
        if kind is AccumulateGrad:
            self.leaves.append(edge)
        else:
            heappush(self.heap, (-edge.seq, edge))

    def _deposit(self, pick: Any, g: Any) -> None:
        """Put the gradient of one output into the list that its operator's node waits for."""
        parent = pick.edges[0]
        slots = self.pending.get(parent)
        if slots is None:
            slots = self.pending[parent] = [None] * parent.op_outputs
            heappush(self.heap, (-parent.seq, parent))
        i = pick.index
        slots[i] = g if slots[i] is None else slots[i] + g

    def go(self) -> None:
        """Run until nothing is pending, newest node first."""
        heap, pending, deliver = self.heap, self.pending, self.deliver
        plain = self.wanted is None and not state.anomaly
        while heap:
            node = heappop(heap)[1]
            g = pending.pop(node)
            grads: Any
            if plain and not node.watched:
                grads = self._formula(node, g)
                if not self.keep_graph:
                    node.release()
            else:
                g = self._observe(node, g)
                if g is None:
                    continue
                if type(node) is Pick:
                    self._deposit(node, g)
                    continue
                grads = self._step(node, g)
            for edge, grad in zip(node.edges, grads):
                if edge is not None and grad is not None and (plain or self.only is None or edge in self.only):
                    deliver(edge, grad)
        grads = grad = g = None  # the last references: a leaf may take its gradient without a copy
        for leaf in self.leaves:
            self._accumulate(leaf, pending.pop(leaf))

    def _step(self, node: Node, g: Any) -> Sequence:
        """Run one node's formula with its hooks, checks and release."""
        if node.pre_hooks is not None:
            g = _call_pre_hooks(node, g, self.create_graph)
        masked = None
        if self.only is not None:  # hide inputs that nobody asked for, so that formulas skip them
            masked = node.edges
            node.edges = tuple(e if e in self.only else None for e in masked)
        try:
            if state.anomaly:
                grads = _careful(node, g, self._formula)
            else:
                grads = self._formula(node, g)
        finally:
            if masked is not None:
                node.edges = masked
        if node.hooks is not None:
            grads = _call_hooks(node, grads, g, self.create_graph)
        if not self.keep_graph:
            node.release()
        return grads

    def _formula(self, node: Node, g: Any) -> Sequence:
        if self.create_graph:
            return node.run_traced(g)
        if type(g) is ndarray and node.dtype is F32:
            return node.run(g, self.numpy)
        first = g if type(g) is not list else next(x for x in g if x is not None)
        form = None if node.op is None else node.op.gpu
        if form is not None and (type(g) is not list or form.many) and backend.is_on_device(first):
            with backend.beside(first):
                fused = node.run_fused(g)
            if fused is not NotImplemented:
                return fused
        if node.dtype is BF16 or node.dtype is F16:
            g = [lift(x) for x in g] if type(g) is list else lift(g)
        if type(first) is Batched:
            return Hooks.batched(node, g, first)
        elsewhere = backend.another_device((first,))
        if elsewhere is None:
            return node.run(g, Hooks.raw(backend.namespace(first)))
        with elsewhere:
            return node.run(g, Hooks.raw(backend.namespace(first)))

    def _observe(self, node: Node, g: Any) -> Any:
        """Tensor hooks, retained gradients and captures; returns the gradient to go on with, or None to stop here."""
        if node.tensor_hooks is not None:
            g = _call_tensor_hooks(node, g, self.create_graph)
        if node.retain is not None:
            output = node.retain()
            if output is not None:
                output._store_grad(g, self.create_graph)
        if self.wanted is not None and node in self.wanted:
            self.wanted[node] = g
            if self.only is not None and not any(e in self.only for e in node.edges):
                return None
        return g

    def _accumulate(self, leaf: Node, g: Any) -> None:
        tensor = leaf.leaf()  # type: ignore[attr-defined]
        if leaf.tensor_hooks is not None:
            g = _call_tensor_hooks(leaf, g, self.create_graph)
        if self.wanted is not None:
            if leaf in self.wanted:
                self.wanted[leaf] = g
            return
        if tensor is None:
            return
        tensor._accumulate_grad(g, self.create_graph)
        if leaf.hooks is not None:
            for fn in list(leaf.hooks.values()):
                fn(tensor)


def _leading_to(roots: list[Node], targets: set[Node]) -> set[Node]:
    """All nodes on a path from `roots` to a node of `targets`. Iterative: graphs are deeper than Python's stack."""
    leads: dict[Node, bool] = {}
    stack = list(roots)
    while stack:
        node = stack[-1]
        if node not in leads:
            leads[node] = node in targets
            stack.extend(e for e in node.edges if e is not None and e not in leads)
        else:
            stack.pop()
            if not leads[node]:
                leads[node] = any(leads.get(e, False) for e in node.edges if e is not None)
    return {node for node, yes in leads.items() if yes}


def _as_tensors(values: Any, traced: bool) -> list:
    many = values if isinstance(values, (list, tuple)) else [values]
    return [v if v is None or traced else Hooks.wrap(v) for v in many]


def _from_hook(value: Any, traced: bool) -> Any:
    return value if traced or value is None else value._array


def _call_tensor_hooks(node: Node, g: Any, traced: bool) -> Any:
    tensor = g if traced else Hooks.wrap(g)
    for fn in list(node.tensor_hooks.values()):
        changed = fn(tensor)
        if changed is not None:
            if not hasattr(changed, "_array"):
                raise TypeError(f"a gradient hook must return a Tensor or None, got {type(changed).__name__}")
            tensor = changed
    return tensor if traced else tensor._array


def _call_pre_hooks(node: Node, g: Any, traced: bool) -> Any:
    tensors = tuple(_as_tensors(g, traced))
    for fn in list(node.pre_hooks.values()):
        changed = fn(tensors)
        if changed is not None:
            tensors = changed if isinstance(changed, tuple) else (changed,)
    back = [_from_hook(t, traced) for t in tensors]
    return back if isinstance(g, list) else back[0]


def _call_hooks(node: Node, grads: Sequence, g: Any, traced: bool) -> Sequence:
    inputs, outputs = tuple(_as_tensors(list(grads), traced)), tuple(_as_tensors(g, traced))
    for fn in list(node.hooks.values()):
        changed = fn(inputs, outputs)
        if changed is not None:
            inputs = changed if isinstance(changed, tuple) else (changed,)
    return [_from_hook(t, traced) for t in inputs]


def _careful(node: Node, g: Any, formula: Any) -> Sequence:
    """Anomaly mode: run one formula, look for NaN, and point at the forward call that recorded the node."""
    try:
        grads = formula(node, g)
        for i, grad in enumerate(grads):
            raw = getattr(grad, "_array", grad)
            if state.check_nan and raw is not None and raw.dtype.kind in "fc" and bool(np.isnan(raw).any()):
                raise RuntimeError(f"Function '{node.name()}' returned nan values in its {i}th output.")
        return grads
    except Exception as error:
        if node.trace:
            note = "Traceback of forward call that caused the error:\n" + "".join(node.trace)
            error.args = (f"{error.args[0] if error.args else error}\n{note}", *error.args[1:])
        raise


def backward(roots: list, grads: list, retain_graph: bool, create_graph: bool, wanted: list[Node] | None = None,
             accumulate: bool = True) -> list:
    """Run the graph backwards from `roots` (Tensors) with starting gradients `grads` (raw arrays, or Tensors when
    `create_graph`). With `wanted` only those nodes' gradients are computed; they are returned, and put into `.grad` of
    their tensors by the caller if `accumulate`."""
    if backend.several_devices:
        elsewhere = backend.another_device([getattr(g, "_array", g) for g in grads])
        if elsewhere is not None:
            with elsewhere:
                return backward(roots, grads, retain_graph, create_graph, wanted, accumulate)
    run = Run(create_graph, retain_graph)
    start = [t._node for t in roots]
    if wanted is not None:
        run.restrict(start, wanted)
    before = (state.grad, backend.hush(), state.finishers)
    state.grad, state.finishers = create_graph, []
    try:
        for node, g in zip(start, grads):
            if run.only is None or node in run.only:
                run.deliver(node, g)
        run.go()
        for finish in state.finishers:
            finish()
    finally:
        state.grad, state.finishers = before[0], before[2]
        backend.unhush(before[1])
    return [] if wanted is None else [run.wanted[node] for node in wanted]  # type: ignore[index]
