"""`engine.futures`, and `fork` and `wait` of `engine.jit`: work is done at once, and a future holds what it gave."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Any

__all__ = ["Future", "collect_all", "fork", "wait", "wait_all"]


class Future:
    """A result that may still be set.

    >>> future = torch.futures.Future()
    >>> future.then(lambda done: done.value() + 1)  # doctest: +ELLIPSIS
    <engine.futures.Future object at ...>
    >>> future.set_result(1); future.wait()
    1
    """

    __class_getitem__: Any = classmethod(GenericAlias)  # `Future[int]` in annotations

    def __init__(self, *, devices: Any = None) -> None:
        self._done = False
        self._value: Any = None
        self._error: BaseException | None = None
        self._after: list[Callable] = []

    def done(self) -> bool:
        """Whether a result or an exception was set."""
        return self._done

    def wait(self) -> Any:
        """The result; raises the exception that was set. RuntimeError if nothing was set: nobody else can do it."""
        if not self._done:
            raise RuntimeError("Future.wait(): nothing was set, and nothing runs that could set it.")
        if self._error is not None:
            raise self._error
        return self._value

    value = wait

    def _finish(self) -> None:
        if self._done:
            raise RuntimeError("Future can only be marked completed once")

    def set_result(self, result: Any) -> None:
        """Set the result, and call what waits for it."""
        self._finish()
        self._done, self._value = True, result
        for call in self._after:
            call(self)

    def set_exception(self, result: BaseException) -> None:
        """Set an exception, which `wait` raises."""
        self._finish()
        self._done, self._error = True, result
        for call in self._after:
            call(self)

    def add_done_callback(self, callback: Callable[[Future], None]) -> None:
        """Call `callback(self)` when the future is done: at once, if it is."""
        if self._done:
            callback(self)
        else:
            self._after.append(callback)

    def then(self, callback: Callable[[Future], Any]) -> Future:
        """A future of `callback(self)`."""
        following = Future()

        def go_on(done: Future) -> None:
            try:
                following.set_result(callback(done))
            except Exception as error:
                following.set_exception(error)

        self.add_done_callback(go_on)
        return following


def collect_all(futures: list[Future]) -> Future:
    """A future of the list of futures, done when they all are."""
    together = Future()
    left = [f for f in futures if not f.done()]
    if not left:
        together.set_result(futures)
    for future in left:
        future.add_done_callback(lambda _: together.set_result(futures) if all(f.done() for f in futures) else None)
    return together


def wait_all(futures: list[Future]) -> list:
    """The results of all futures."""
    return [f.wait() for f in futures]


def fork(func: Callable, *args: Any, **kwargs: Any) -> Future:
    """A future of `func(*args, **kwargs)`, which is called at once."""
    future = Future()
    future.set_result(func(*args, **kwargs))
    return future


def wait(future: Future) -> Any:
    """`future.wait()`."""
    return future.wait()
