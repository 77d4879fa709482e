"""Seeing every operator, forward and backward, for a while.

The functions that users call are replaced by measuring ones wherever a module of the engine names them, and put back
afterwards; so a run that is not watched pays nothing, not even a test.
"""

from __future__ import annotations

import functools
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from engine import Tensor
from engine.autograd.graph import Node
from engine.ops.base import FUNCTIONAL, FUNCTIONS

# note(name, whether backward, start, end, shapes of the tensors that went in)
Note = Callable[[str, bool, float, float, list[Any]], None]
clock = time.perf_counter


@contextmanager
def watched_operators(note: Note) -> Iterator[None]:
    """Call ``note`` after every operator inside the block.

    Example:
        >>> from engine.profiler.watching import watched_operators
        >>> seen = []
        >>> with watched_operators(lambda name, backward, start, end, shapes: seen.append((name, backward, shapes))):
        ...     _ = torch.matmul(torch.ones(2, 3), torch.ones(3, 1))
        >>> ("matmul", False, [(2, 3), (3, 1)]) in seen
        True
    """
    replaced = [*_replace_functions(note), *_replace_backward(note)]
    try:
        yield
    finally:
        for owner, name, original in replaced:
            setattr(owner, name, original)


def _replace_functions(note: Note) -> Iterator[tuple[Any, str, Any]]:
    """(owner, attribute, original) of everything that was replaced."""
    public = {id(function): function for table in (FUNCTIONS, FUNCTIONAL) for function in table.values()}
    dunders = (value for name, value in vars(Tensor).items() if name.startswith("__") and _is_operator(value))
    public.update({id(function): function for function in dunders})
    measuring = {key: _measuring(function, note) for key, function in public.items()}
    modules = [module for name, module in list(sys.modules.items()) if name == "engine" or name.startswith("engine.")]
    for owner in [Tensor, *modules]:
        if getattr(owner, "__name__", "") == "engine.ops.base":
            continue  # the tables themselves
        for name, value in list(vars(owner).items()):
            if id(value) in measuring:
                setattr(owner, name, measuring[id(value)])
                yield owner, name, value


def _is_operator(value: Any) -> bool:
    return callable(value) and getattr(value, "__module__", "").startswith("engine.ops.")


def _measuring(function: Callable[..., Any], note: Note) -> Callable[..., Any]:
    name = function.__name__.strip("_")

    @functools.wraps(function)
    def measured(*args: Any, **kwargs: Any) -> Any:
        shapes = [tuple(value.shape) for value in args if isinstance(value, Tensor)]
        start = clock()
        try:
            return function(*args, **kwargs)
        finally:
            note(name, False, start, clock(), shapes)

    return measured


def _replace_backward(note: Note) -> Iterator[tuple[Any, str, Any]]:
    pending: list[type] = [Node]
    while pending:
        kind = pending.pop()
        pending += kind.__subclasses__()
        for name in ("run", "run_traced"):
            if name in vars(kind):
                original = vars(kind)[name]
                setattr(kind, name, _measuring_backward(original, note))
                yield kind, name, original


def _measuring_backward(run: Callable[..., Any], note: Note) -> Callable[..., Any]:
    @functools.wraps(run)
    def measured(node: Node, gradient: Any, *args: Any) -> Any:
        shape = getattr(gradient, "shape", None)
        start = clock()
        try:
            return run(node, gradient, *args)
        finally:
            note(node.name(), True, start, clock(), [] if shape is None else [tuple(shape)])

    return measured
