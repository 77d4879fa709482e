"""`engine.jit`: TorchScript's decorators, which return what they are given. Nothing is compiled."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NoReturn

from .compiler import notice_once
from .errors import not_supported
from .futures import fork, wait

__all__ = ["Final", "ScriptFunction", "ScriptModule", "export", "fork", "ignore", "is_scripting", "is_tracing", "load", "save",
           "script", "trace", "unused", "wait"]

_FILES = "write the module with torch.save(model, path) and read it with torch.load(path)."


class ScriptModule:
    """What `torch.jit.script` makes of a module elsewhere; nothing is an instance of it here."""


class ScriptFunction(ScriptModule):
    """What `torch.jit.script` makes of a function elsewhere; nothing is an instance of it here."""


def script(obj: Any, *args: Any, **kwargs: Any) -> Any:
    """`obj` itself, with one notice per process.

    >>> @torch.jit.script
    ... def double(x):
    ...     return x + x
    >>> double(torch.tensor([1.0]))
    tensor([2.])
    """
    notice_once("torch.jit.script")
    return obj


def trace(func: Callable, example_inputs: Any = None, *args: Any, **kwargs: Any) -> Any:
    """`func` itself, not called, with one notice per process."""
    notice_once("torch.jit.trace")
    return func


def export(fn: Callable) -> Callable:
    """`fn` itself."""
    return fn


def unused(fn: Callable) -> Callable:
    """`fn` itself."""
    return fn


def ignore(drop: Any = False, **kwargs: Any) -> Any:
    """The decorated function itself; with or without arguments."""
    return drop if callable(drop) else lambda function: function


def is_scripting() -> bool:
    """Always False."""
    return False


def is_tracing() -> bool:
    """Always False."""
    return False


def save(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no TorchScript files."""
    raise not_supported("torch.jit.save", _FILES)


def load(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: there are no TorchScript files."""
    raise not_supported("torch.jit.load", _FILES)
