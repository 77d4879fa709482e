"""`make_graphed_callables`: modules and functions whose forward and backward are replayed as graphs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import engine
from engine import Tensor
from engine.autograd import Function
from engine.nn import Module

from .graphs import CUDAGraph, graph, graph_pool_handle


class _Graphs:
    """One callable's graphs, and the tensors that they read and write."""

    def __init__(self, function: Callable, args: tuple, pool: Any) -> None:
        self.function, self.args, self.pool = function, args, pool
        self.parameters = tuple(function.parameters()) if isinstance(function, Module) else ()
        self.inputs = (*args, *self.parameters)  # what gradients may be asked for
        self.forward, self.backward = CUDAGraph(), CUDAGraph()
        self.wanted = [t for t in self.inputs if t.requires_grad]
        self.gradients: list[Tensor | None] = []

    def record_forward(self) -> None:
        with graph(self.forward, pool=self.pool):
            out = self.function(*self.args)
        self.is_single = isinstance(out, Tensor)
        self.outputs = (out,) if self.is_single else tuple(out)

    def record_backward(self, allow_unused: bool) -> None:
        traced = [out for out in self.outputs if out.requires_grad]
        self.incoming = [engine.empty_like(out) if out.requires_grad else None for out in self.outputs]
        if traced and self.wanted:
            with graph(self.backward, pool=self.pool):
                given = [g for g in self.incoming if g is not None]
                self.gradients = list(engine.autograd.grad(traced, self.wanted, given, allow_unused=allow_unused))

    def call(self, *args: Tensor) -> Any:
        results = _Replay.apply(self, *args, *self.parameters)
        return results[0] if self.is_single else results


class _Replay(Function):
    @staticmethod
    def forward(ctx: Any, graphs: _Graphs, *inputs: Tensor) -> tuple:
        ctx.graphs = graphs
        for place, value in zip(graphs.args, inputs):
            if place is not value:
                place.data.copy_(value)
        graphs.forward.replay()
        return tuple(out.detach() for out in graphs.outputs)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple:
        graphs = ctx.graphs
        for place, value in zip(graphs.incoming, gradients):
            if place is not None:
                place.copy_(value)
        graphs.backward.replay()
        found = iter(graphs.gradients)
        return None, *(g.detach() if t.requires_grad and (g := next(found)) is not None else None for t in graphs.inputs)


def _replayed(graphs: _Graphs) -> Callable:
    """The module itself, with another `forward` while it is in the mode it was captured in; or a function."""
    function = graphs.function
    if not isinstance(function, Module):
        return graphs.call
    mode, eager = function.training, function.forward

    def forward(*args: Any) -> Any:
        return graphs.call(*args) if function.training == mode else eager(*args)

    function.forward = forward  # type: ignore[method-assign]
    return function


def make_graphed_callables(callables: Any, sample_args: tuple, num_warmup_iters: int = 3, allow_unused_input: bool = False,
                           pool: Any = None) -> Any:
    """Functions or modules whose forward and backward are replayed as graphs; a module is changed in place and returned.

    Args:
        callables: one, or a tuple of them in the order in which a step calls them.
        sample_args: a tuple of CUDA tensors, of the shapes, types and `requires_grad` of all later calls; for several callables
            a tuple of such tuples. Calls copy their arguments in there.
        num_warmup_iters: how often each runs before it is captured.
        allow_unused_input: whether an input may get no gradient.
        pool: memory to share (`graph_pool_handle()`).

    A result is the graph's own tensor, which the next call overwrites. RuntimeError for what can't be captured; TypeError for
    arguments that are not tensors.
    """
    several = isinstance(callables, tuple)
    pairs = list(zip(callables, sample_args)) if several else [(callables, sample_args)]
    for _, args in pairs:
        if not all(isinstance(a, Tensor) for a in args):
            raise TypeError("make_graphed_callables: sample_args must be tensors. HINT: bind other arguments with"
                            " functools.partial.")
    for function, args in pairs:
        for _ in range(num_warmup_iters):
            graphs = _Graphs(function, args, None)
            out = function(*args)
            traced = [t for t in ((out,) if isinstance(out, Tensor) else out) if t.requires_grad]
            if traced and graphs.wanted:
                engine.autograd.grad(traced, graphs.wanted, [engine.ones_like(t) for t in traced], allow_unused=True)
    pool = pool or graph_pool_handle()
    made = [_Graphs(function, args, pool) for function, args in pairs]
    for graphs in made:
        graphs.record_forward()
    for graphs in reversed(made):
        graphs.record_backward(allow_unused_input)
    replayed = tuple(_replayed(graphs) for graphs in made)
    return replayed if several else replayed[0]
