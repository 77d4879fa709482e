"""Gradient modes: per thread, usable as context managers and as decorators."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any


class _State(threading.local):
    """What the operators read: class attributes are the defaults of every new thread."""

    grad = True
    inference = False
    anomaly = False
    check_nan = True
    finishers: Any = None  # what to call at the end of the running backward pass
    saving: tuple = ()  # the pairs of hooks of `saved_tensors_hooks`, the innermost last
    watched = False  # anomaly mode is on, or there are such hooks: operators look once

    def watch(self) -> None:
        """Bring `watched` up to date."""
        self.watched = self.anomaly or bool(self.saving)


state = _State()


def is_grad_enabled() -> bool:
    """Whether operators on this thread record a graph."""
    return state.grad


def is_inference_mode_enabled() -> bool:
    """Whether `inference_mode` is on in this thread."""
    return state.inference


def decorate(make: Callable[[], Any], function: Callable) -> Callable:
    """Wrap a function (or generator function) so that every call, or every resumption, runs inside `make()`."""
    import inspect

    if inspect.isclass(function):
        raise TypeError(f"{type(make()).__name__} decorates functions, not classes. HINT: decorate the methods.")
    if not inspect.isgeneratorfunction(function):
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with make():
                return function(*args, **kwargs)

        return inside

    @functools.wraps(function)
    def steps(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        reply, thrown = None, None
        while True:
            try:
                with make():
                    item = generator.send(reply) if thrown is None else generator.throw(thrown)
            except StopIteration as stop:
                return stop.value
            reply, thrown = None, None
            try:
                reply = yield item
            except GeneratorExit:
                generator.close()
                raise
            except BaseException as error:  # handed to the wrapped generator, which may catch it
                thrown = error

    return steps


class _Mode:
    """Base of the switches: remembers what it found on entry and puts it back on exit."""

    def _clone(self) -> _Mode:
        return type(self)()

    def __call__(self, function: Callable) -> Callable:
        return decorate(self._clone, function)

    def __exit__(self, *exc: object) -> None:
        state.grad, state.inference = self._before

    def _enter(self, grad: bool, inference: bool) -> None:
        self._before = (state.grad, state.inference)
        state.grad, state.inference = grad, inference


class no_grad(_Mode):
    """Record no graph inside.

    >>> x = torch.ones(1, requires_grad=True)
    >>> with torch.no_grad():
    ...     y = x * 2
    >>> y.requires_grad
    False
    """

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        """Also usable as a bare decorator: `@torch.no_grad`."""
        mode = super().__new__(cls)
        return mode if orig_func is None else mode(orig_func)

    def __enter__(self) -> None:
        self._enter(False, state.inference)


class enable_grad(_Mode):
    """Record a graph inside, also within `no_grad`."""

    def __new__(cls, orig_func: Callable | None = None) -> Any:
        """Also usable as a bare decorator: `@torch.enable_grad`."""
        mode = super().__new__(cls)
        return mode if orig_func is None else mode(orig_func)

    def __enter__(self) -> None:
        self._enter(True, state.inference)


def recording(function: Callable[[], Any]) -> Any:
    """What `function()` returns, called under `enable_grad` unless graphs are recorded anyway: an optimizer's closure."""
    if state.grad:
        return function()
    with enable_grad():
        return function()


class inference_mode(_Mode):
    """`no_grad` for code that never needs a gradient; `mode=False` switches recording on again.

    Here tensors made inside stay ordinary tensors: they may be used in a later graph (torch refuses).
    """

    mode: bool

    def __new__(cls, mode: Any = True) -> Any:
        self = super().__new__(cls)
        self.mode = True if callable(mode) else bool(mode)
        return self(mode) if callable(mode) else self

    def __init__(self, mode: bool = True) -> None:
        pass

    def _clone(self) -> inference_mode:
        return inference_mode(self.mode)

    def __enter__(self) -> None:
        self._enter(not self.mode, self.mode)


class set_grad_enabled(_Mode):
    """Switch recording on or off: at once when called, until exit when used as a context manager.

    >>> _ = torch.set_grad_enabled(False); torch.is_grad_enabled()
    False
    >>> _ = torch.set_grad_enabled(True)
    """

    def __init__(self, mode: bool) -> None:
        if not isinstance(mode, bool):
            raise TypeError(f"set_grad_enabled(): argument 'enabled' (position 1) must be bool, not {type(mode).__name__}")
        self.mode = mode
        self._before = (state.grad, state.inference)
        state.grad = self.mode

    def __call__(self, function: Callable) -> Callable:
        self.__exit__()  # as a decorator it acts during calls only
        return super().__call__(function)

    def _clone(self) -> set_grad_enabled:
        before = state.grad
        switch = set_grad_enabled(self.mode)
        state.grad = before
        return switch

    def __enter__(self) -> None:
        state.grad = self.mode


class detect_anomaly:
    """Inside, backward names the forward call whose gradient failed or became NaN. Slow: for debugging.

    Raises RuntimeError when a backward function returns NaN and `check_nan` is true.
    """

    def __init__(self, check_nan: bool = True) -> None:
        self.mode, self.check_nan = True, check_nan

    def __enter__(self) -> None:
        self._before = (state.anomaly, state.check_nan)
        state.anomaly, state.check_nan = self.mode, self.check_nan
        state.watch()

    def __exit__(self, *exc: object) -> None:
        state.anomaly, state.check_nan = self._before
        state.watch()


class set_detect_anomaly(detect_anomaly):
    """Switch anomaly mode at once; as a context manager, until exit."""

    def __init__(self, mode: bool, check_nan: bool = True) -> None:
        super().__init__(check_nan)
        self.mode = bool(mode)
        super().__enter__()

    def __enter__(self) -> None:
        state.anomaly, state.check_nan = self.mode, self.check_nan
        state.watch()


def is_anomaly_enabled() -> bool:
    """Whether anomaly mode is on in this thread."""
    return state.anomaly


def is_anomaly_check_nan_enabled() -> bool:
    """Whether anomaly mode also looks for NaN gradients."""
    return state.check_nan


def set_anomaly_enabled(enabled: bool, check_nan: bool = True) -> None:
    """Switch anomaly mode (see `detect_anomaly`) in this thread."""
    state.anomaly, state.check_nan = bool(enabled), bool(check_nan)
    state.watch()
