"""`engine.compile` and `engine.compiler`: programs that ask for compilation run uncompiled, and are told once."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["allow_in_graph", "assume_constant_result", "compile", "cudagraph_mark_step_begin", "disable", "is_compiling",
           "is_dynamo_compiling", "is_exporting", "notice_once", "reset", "set_stance", "substitute_in_graph"]

_said: set[str] = set()


def notice_once(name: str) -> None:
    """Warn that `name` compiles nothing; the second call with the same name says nothing."""
    if name not in _said:
        _said.add(name)
        warnings.warn(f"{name}: litengine does not compile; the program runs as it is written.", stacklevel=3)


def compile(model: Callable | None = None, *, fullgraph: bool = False, dynamic: bool | None = None,
            backend: Any = None, mode: str | None = None, options: dict | None = None, name: str | None = None,
            disable: bool = False, recompile_limit: int | None = None, isolate_recompiles: bool = False,
            shapes_spec: Any = None) -> Any:
    """`model` itself, with one notice per process. All options are accepted and without effect.

    What is returned is the same object, so its `state_dict` has no ``_orig_mod.`` prefix.

    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     torch.compile(abs) is abs
    True
    """
    if not disable:
        notice_once("torch.compile")
    return model if model is not None else lambda function: function


def disable(fn: Callable | None = None, recursive: bool = True, *, reason: str | None = None) -> Any:
    """`fn` itself: nothing is compiled in any case."""
    return fn if fn is not None else lambda function: function


def is_compiling() -> bool:
    """Always False."""
    return False


is_dynamo_compiling = is_exporting = is_compiling


def allow_in_graph(fn: Any) -> Any:
    """`fn` itself."""
    return fn


assume_constant_result = allow_in_graph


def substitute_in_graph(original_fn: Any, **kwargs: Any) -> Callable:
    """A decorator that changes nothing: there is no graph."""
    return lambda traceable: traceable


def reset() -> None:
    """Without effect: nothing is compiled."""


def cudagraph_mark_step_begin() -> None:
    """Without effect: nothing is captured."""


class set_stance:  # noqa: N801 - torch's name
    """Without effect, as a function, a context or a decorator: nothing is compiled."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, fn: Any) -> Any:
        return fn
