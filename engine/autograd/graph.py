"""The graph: nodes recorded by operators, and the driver that runs them backwards.

A `Node` stands for one operator application. It knows its inputs' nodes (`edges`), what its gradient formula needs
(`tensors`, `out`, `aux`), and the shape and dtype of its output, but not the output itself: nothing forms a cycle, so
memory goes with the last reference. The driver takes nodes newest first (`seq`), which is a topological order because a
node is always younger than its inputs. Gradients are raw arrays; with `create_graph` they are Tensors, and the same
formulas then record a graph of their own ("one formula, two readings", docs/architecture.md).
"""

from __future__ import annotations

import itertools
import sys
import weakref
from collections.abc import Sequence
from heapq import heappop, heappush
from typing import Any

import numpy as np

from .. import backend, dtypes
from .modes import state

ndarray = np.ndarray
BF16, F16, F32 = dtypes.BF16, dtypes.F16, dtypes.F32
next_seq = itertools.count(1).__next__
_ENGINE = __name__.partition(".")[0] + "."


class Hooks:
    """What the lower level needs from the upper ones; `engine.tensor` and `engine.ops.base` fill it at import."""

    wrap: Any  # raw array -> Tensor
    sum_to: Any  # (space, gradient, shape) -> gradient summed over broadcast dimensions
    cast: Any  # (space, gradient, numpy dtype) -> gradient of that dtype
    raw: Any  # numpy/cupy module -> the array reading of the operator vocabulary
    traced: Any  # the Tensor reading of the operator vocabulary


class Version:
    """Counts in-place changes of one storage; shared by all tensors that view it.

    `history` counts the changes that recorded a graph, so that views know when to look up their base again.
    """

    __slots__ = ("count", "history", "site")

    def __init__(self) -> None:
        self.count = 0
        self.history = 0
        self.site: tuple | None = None

    def bump(self, what: str) -> None:
        """Note one change, by operator `what`, and the user's line that made it."""
        self.count += 1
        frame: Any = sys._getframe(1)
        while frame is not None and frame.f_globals.get("__name__", "").startswith(_ENGINE):
            frame = frame.f_back
        self.site = (what, frame.f_code.co_filename, frame.f_lineno) if frame is not None else (what, "?", 0)


class _Released:
    """Stands in for what backward has already used and let go."""


RELEASED = _Released()


class Node:
    """One recorded operator. Subclasses (one per operator card) carry the card in `op`."""

    __slots__ = ("edges", "tensors", "versions", "out", "aux", "params", "shape", "dtype", "seq",
                 "__weakref__", "__dict__")

    edges: tuple  # the inputs' nodes, None where no gradient flows
    tensors: Any  # kept inputs (tensors), or RELEASED
    versions: tuple | None  # their versions at the time; None: all 0
    out: Any  # the kept output, raw
    aux: Any  # what else forward left for backward
    params: Any  # forward's other arguments
    shape: tuple
    dtype: Any
    seq: int

    op: Any = None
    # Rare fields live in __dict__; these are their defaults.
    out_version: Any = None  # (Version, count) of the kept output
    watched = False  # some hook below is set, or the output's .grad is wanted
    hooks: Any = None  # called with the gradients of the inputs and of the output
    pre_hooks: Any = None  # called with the gradient of the output
    tensor_hooks: Any = None  # Tensor.register_hook on the output: may replace the gradient
    retain: Any = None  # weak reference to the output tensor whose .grad is wanted
    trace: Any = None  # the forward call's stack, in anomaly mode
    metadata: Any = None

    def name(self) -> str:
        """The operator's name as printed in `grad_fn=<...>`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple:
        """`((node, 0), ...)` for every tensor input, as torch shows the graph; None where no gradient flows."""
        return tuple((edge, 0) for edge in self.edges)

    @property
    def needs(self) -> tuple[bool, ...]:
        """For each tensor input, whether its gradient is wanted."""
        return tuple(edge is not None for edge in self.edges)

    @property
    def inputs(self) -> list:
        """The kept inputs as raw arrays (None where not kept); half precision as float32."""
        arrays = [None if t is None else t._array for t in self.tensors]
        if self.dtype is BF16 or self.dtype is F16:
            return [_lift(a) for a in arrays]
        return arrays

    @property
    def output(self) -> Any:
        """The kept output as a raw array; half precision as float32."""
        return _lift(self.out) if self.dtype is BF16 or self.dtype is F16 else self.out

    def register_hook(self, fn: Any) -> Handle:
        """Call `fn(grad_inputs, grad_outputs)` after this node's backward."""
        self.hooks, self.watched = self.hooks or {}, True
        return Handle(self.hooks, fn)

    def register_prehook(self, fn: Any) -> Handle:
        """Call `fn(grad_outputs)` before this node's backward."""
        self.pre_hooks, self.watched = self.pre_hooks or {}, True
        return Handle(self.pre_hooks, fn)

    def check(self) -> None:
        """Raise if what the formula needs was released or changed in place since the forward call."""
        tensors = self.tensors
        if tensors is RELEASED:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved tensors after they have "
                "already been freed). Saved intermediate values of the graph are freed when you call .backward() or "
                "autograd.grad(). Specify retain_graph=True if you need to backward through the graph a second time or "
                "if you need to access saved tensors after calling backward."
            )
        versions = self.versions
        for i, t in enumerate(tensors):
            if t is not None and t._vc is not None:
                expected = versions[i] if versions is not None else 0
                if t._vc.count != expected:
                    raise modified(self, t._array, t._vc, expected)
        if self.out_version is not None:
            vc, expected = self.out_version
            if vc.count != expected:
                raise modified(self, self.out, vc, expected)

    def run(self, g: Any, xp: Any) -> Sequence:
        """The gradients of the inputs, as raw arrays."""
        if self.tensors or self.out_version is not None:
            self.check()
        return self.op.backward(xp, self, g)

    def run_traced(self, g: Any) -> Sequence:
        """The gradients of the inputs, as Tensors with a graph of their own."""
        self.check()
        return self.op.backward_traced(Hooks.traced, TracedNode(self), g)

    def release(self) -> None:
        """Let go of everything kept for backward."""
        if self.tensors or self.out is not None or self.aux is not None:
            self.tensors = RELEASED
            self.out = self.aux = None


class TracedNode:
    """A node as its formula sees it under `create_graph`: kept values are Tensors with their history."""

    __slots__ = ("node",)

    def __init__(self, node: Node) -> None:
        self.node = node

    @property
    def needs(self) -> tuple[bool, ...]:
        return self.node.needs

    @property
    def inputs(self) -> list:
        return list(self.node.tensors)

    @property
    def params(self) -> Any:
        return self.node.params

    @property
    def output(self) -> Any:
        return Hooks.wrap(self.node.out, self.node)

    @property
    def aux(self) -> Any:
        aux = self.node.aux
        if isinstance(aux, tuple):
            return tuple(Hooks.wrap(a) if backend.is_array(a) else a for a in aux)
        return Hooks.wrap(aux) if backend.is_array(aux) else aux


class AccumulateGrad(Node):
    """The end of a path: adds the gradient to a leaf's `.grad`. Holds the leaf weakly."""

    __slots__ = ("leaf",)

    def __init__(self, leaf: Any) -> None:
        self.leaf = weakref.ref(leaf)
        self.edges = self.tensors = ()
        self.versions = self.out = self.aux = None
        self.shape, self.dtype = leaf._array.shape, leaf._array.dtype
        self.seq = next_seq()

    @property
    def variable(self) -> Any:
        """The leaf tensor."""
        return self.leaf()

    def release(self) -> None:
        """Nothing is kept here."""


class Pick(Node):
    """One output of an operator with several; collects its gradient into the operator's node."""

    __slots__ = ("index",)

    def __init__(self, parent: Node, index: int, array: Any) -> None:
        self.edges, self.index = (parent,), index
        self.tensors, self.versions, self.out, self.aux = (), None, None, None
        self.shape, self.dtype = array.shape, array.dtype
        self.seq = next_seq()

    def name(self) -> str:
        return self.edges[0].name()

    def release(self) -> None:
        """Nothing is kept here."""


class Handle:
    """Returned by every `register_*hook`; `remove()` takes the hook out again. Also a context manager."""

    _ids = itertools.count()

    def __init__(self, hooks: dict, fn: Any) -> None:
        self.id = next(Handle._ids)
        self._hooks = weakref.ref(hooks) if not isinstance(hooks, dict) else (lambda: hooks)
        hooks[self.id] = fn

    def remove(self) -> None:
        """Take the hook out; harmless when it is gone already."""
        self._hooks().pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _lift(array: Any) -> Any:
    """Half precision as float32, in which formulas are computed; anything else as it is."""
    return array.astype(F32) if array is not None and array.dtype in (BF16, F16) else array


def modified(node: Node, array: Any, vc: Version, expected: int) -> RuntimeError:
    """torch's sentence for a changed saved tensor, with the operator and the line of the change."""
    what, file, line = vc.site or ("an operator", "?", 0)
    kind = "cuda" if not isinstance(array, backend.ndarray) else "cpu"
    return RuntimeError(
        "one of the variables needed for gradient computation has been modified by an inplace operation: "
        f"[{array.dtype} tensor of shape {list(array.shape)} on {kind}], which is an input or output of {node.name()}, "
        f"is at version {vc.count}; expected version {expected} instead. It was last changed by {what} at {file}:{line}. "
        "HINT: use the out-of-place form of that operator, or clone() the tensor first."
    )


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
            pending[edge] = before + g
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
        if node.dtype is BF16 or node.dtype is F16:
            g = [_lift(x) for x in g] if type(g) is list else _lift(g)
        first = g if type(g) is not list else next(x for x in g if x is not None)
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
    run = Run(create_graph, retain_graph)
    start = [t._node for t in roots]
    if wanted is not None:
        run.restrict(start, wanted)
    before = (state.grad, backend.hush())
    state.grad = create_graph
    try:
        for node, g in zip(start, grads):
            if run.only is None or node in run.only:
                run.deliver(node, g)
        run.go()
    finally:
        state.grad = before[0]
        backend.unhush(before[1])
    return [] if wanted is None else [run.wanted[node] for node in wanted]  # type: ignore[index]
