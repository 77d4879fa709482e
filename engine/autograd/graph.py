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
    add: Any  # (large array, another) -> their sum
    cast: Any  # (space, gradient, numpy dtype) -> gradient of that dtype
    raw: Any  # numpy/cupy module -> the array reading of the operator vocabulary
    traced: Any  # the Tensor reading of the operator vocabulary
    move: Any  # (tensor, an array on a GPU) -> the tensor on that GPU, recorded
    retry: Any  # (card, level, arrays, parameters) -> forward's result on batched arrays
    batched: Any  # (node, gradient) -> gradients of the inputs, where something is batched


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


RELEASED, PACKED = _Released(), _Released()  # PACKED: a hook has it, see engine/autograd/saving.py


class Packed:
    """A kept tensor in the form that a user's hook gave it."""

    __slots__ = ("kept", "unpack", "edge")

    def __init__(self, tensor: Any, edge: Node | None) -> None:
        hooks, state.saving = state.saving, ()
        before, state.grad = state.grad, False
        state.watch()
        try:
            self.kept = hooks[-1][0](tensor.detach())
        finally:
            state.saving, state.grad = hooks, before
            state.watch()
        self.unpack = hooks[-1][1]
        self.edge = None if edge is None else weakref.ref(edge)

    def tensor(self) -> Any:
        """The tensor again, with its history."""
        found = self.unpack(self.kept)
        if not hasattr(found, "_array"):
            raise TypeError(f"Output of saved tensor unpack_hook expected to be a Tensor but got {type(found).__name__}")
        return Hooks.wrap(found._array, None if self.edge is None else self.edge())

    def array(self) -> Any:
        """The bare array again."""
        return self.tensor()._array


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
    packed: Any = None  # (tensors, out, aux) as `saved_tensors_hooks` keeps them
    metadata: Any = None

    def name(self) -> str:
        """The operator's name as printed in `grad_fn=<...>`."""
        return type(self).__name__

    def __repr__(self) -> str:
        return f"<{self.name()} object at {id(self):#x}>"

    @property
    def next_functions(self) -> tuple:
        """`((node, 0), ...)` for every tensor input, as torch shows the graph; None where no gradient flows."""
        return tuple((edge.edges[0], edge.index) if isinstance(edge, Pick) else (edge, 0) for edge in self.edges)

    @property
    def needs(self) -> tuple[bool, ...]:
        """For each tensor input, whether its gradient is wanted."""
        return tuple(edge is not None for edge in self.edges)

    @property
    def inputs(self) -> list:
        """The kept inputs as raw arrays (None where not kept); half precision as float32."""
        arrays = [None if t is None else t._array for t in self.tensors]
        if self.dtype is BF16 or self.dtype is F16:
            return [lift(a) for a in arrays]
        return arrays

    @property
    def raw_inputs(self) -> list:
        """The kept inputs as raw arrays of their own dtype (None where not kept)."""
        return [None if t is None else t._array for t in self.tensors]

    @property
    def output(self) -> Any:
        """The kept output as a raw array; half precision as float32."""
        return lift(self.out) if self.dtype is BF16 or self.dtype is F16 else self.out

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
        if tensors is PACKED:
            self.tensors, self.out, self.aux = (_through(part, _is_packed, Packed.tensor if i == 0 else Packed.array)
                                                for i, part in enumerate(self.packed))
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
                if not self.op.output_again:
                    raise modified(self, self.out, vc, expected)
                self.out = self.op.forward(backend.namespace(self.out), *self.inputs, *self.params)

    def run(self, g: Any, xp: Any) -> Sequence:
        """The gradients of the inputs, as raw arrays."""
        if self.tensors or self.out_version is not None:
            self.check()
        return self.op.backward(xp, self, g)

    def run_fused(self, g: Any) -> Any:
        """As `run`, by the card's form for a GPU; NotImplemented where that does not serve the layout."""
        if self.tensors or self.out_version is not None:
            self.check()
        return self.op.gpu.backward(self, g)

    def run_traced(self, g: Any) -> Sequence:
        """The gradients of the inputs, as Tensors with a graph of their own."""
        self.check()
        return self.op.backward_traced(Hooks.traced, TracedNode(self), g)

    def pack(self) -> None:
        """Let a hook of `saved_tensors_hooks` keep what backward needs."""
        kept = tuple(None if t is None else Packed(t, edge) for t, edge in zip(self.tensors, self.edges))
        raw = [_through(part, backend.is_array, lambda a: Packed(Hooks.wrap(a), None)) for part in (self.out, self.aux)]
        if any(kept) or self.out is not None or self.aux is not None:
            self.packed = (kept, *raw)
            self.tensors, self.versions, self.out, self.aux, self.out_version = PACKED, None, None, None, None

    def release(self) -> None:
        """Let go of everything kept for backward."""
        if self.tensors or self.out is not None or self.aux is not None:
            self.tensors = RELEASED
            self.out = self.aux = None
            if self.packed is not None:
                self.packed = None


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
        self._hooks = hooks
        hooks[self.id] = fn

    def remove(self) -> None:
        """Take the hook out; harmless when it is gone already."""
        self._hooks.pop(self.id, None)

    def __enter__(self) -> Handle:
        return self

    def __exit__(self, *exc: object) -> None:
        self.remove()


def _is_packed(value: Any) -> bool:
    return isinstance(value, Packed)


def _through(value: Any, fits: Any, function: Any) -> Any:
    """`function` of a value that `fits`, also inside a tuple or list; others stay."""
    if type(value) in (tuple, list):
        return type(value)([_through(v, fits, function) for v in value])
    return function(value) if fits(value) else value


def lift(array: Any) -> Any:
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
