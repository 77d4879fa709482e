"""What makes the host wait for a GPU: reported with the line of the program that did it.

While this is on, the methods and functions of the GPU's array library that bring something to the host are replaced by ones
that report first. `synchronize()` of devices, streams and events is asked for, and not reported; nor are copies to the GPU.
"""

from __future__ import annotations

import functools
import threading
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

from engine import backend
from engine.errors import calling_line, library_line

_MODES = {"default": 0, "warn": 1, "error": 2}
_METHODS = ("item", "get", "tolist", "nonzero", "compress", "__bool__", "__int__", "__float__", "__complex__", "__index__",
            "__repr__", "__str__", "__format__")
_FUNCTIONS = ("nonzero", "flatnonzero", "argwhere", "unique", "unique_values", "unique_counts", "unique_inverse", "unique_all",
              "array_equal", "array_equiv", "bincount", "histogram", "histogramdd", "histogram2d", "extract", "compress",
              "setdiff1d", "union1d", "intersect1d", "trim_zeros", "place", "asnumpy")


class Waiting(NamedTuple):
    """One time that the host waited."""

    what: str  # the array library's name of it
    file: str
    line: int


_here = threading.local()  # .inside: what is being reported may call others of these
_listeners: list[Callable[[Waiting], None]] = []
_replaced: list[tuple[Any, str, Any]] = []  # (owner, name, what it had of that name itself, or None)
_warned: dict[str, dict] = {}  # by file: Python's notes of what has been shown
_mode = 0


def _report(what: str) -> None:
    found = Waiting(what, *calling_line())
    for listener in list(_listeners):
        listener(found)


def _watched(what: str, original: Callable, waits: Callable[..., bool]) -> Callable:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        if getattr(_here, "inside", False) or not waits(*args, **kwargs):
            return original(*args, **kwargs)
        _here.inside = True
        try:
            _report(what)
            return original(*args, **kwargs)
        finally:
            _here.inside = False

    return call


def _always(*args: Any, **kwargs: Any) -> bool:
    return True


def _by_mask(array: Any, index: Any, *value: Any) -> bool:
    """Whether an index holds a mask: how many elements it picks, only the device knows."""
    return any(backend.is_on_device(i) and i.dtype.kind == "b" for i in (index if isinstance(index, tuple) else (index,)))


def _listen(listener: Callable[[Waiting], None]) -> None:
    _listeners.append(listener)
    if _replaced:
        return
    gpu = backend.require_cuda()
    watched = [(gpu.ndarray, name, _always) for name in _METHODS] + [(gpu, name, _always) for name in _FUNCTIONS]
    watched += [(gpu.ndarray, name, _by_mask) for name in ("__getitem__", "__setitem__")]
    watched.append((gpu, "where", lambda *args, **kwargs: len(args) == 1))
    for owner, name, waits in watched:
        original = getattr(owner, name, None)
        if original is not None:
            _replaced.append((owner, name, vars(owner).get(name)))
            where = "ndarray." if owner is gpu.ndarray else ""
            setattr(owner, name, _watched(where + name, original, waits))


def _ignore(listener: Callable[[Waiting], None]) -> None:
    _listeners.remove(listener)
    while _replaced and not _listeners:
        owner, name, own = _replaced.pop()
        if own is None:
            delattr(owner, name)
        else:
            setattr(owner, name, own)


def _warn(found: Waiting) -> None:
    text = f"called a synchronizing CUDA operation: {found.what} at {library_line()}"
    warnings.warn_explicit(text, UserWarning, found.file, found.line, registry=_warned.setdefault(found.file, {}))


def _fail(found: Waiting) -> None:
    raise RuntimeError(f"called a synchronizing CUDA operation: {found.what} ({found.file}:{found.line})")


_LISTENER = {1: _warn, 2: _fail}


def set_sync_debug_mode(debug_mode: int | str) -> None:
    """Warn ("warn" or 1) or raise RuntimeError ("error", 2) when the host waits for a GPU unasked; "default", 0: neither.

    A warning is at the line of the program, and Python shows it once for each. RuntimeError for another mode or without a GPU.
    """
    global _mode
    mode = _MODES.get(debug_mode, -1) if isinstance(debug_mode, str) else debug_mode
    if mode not in _MODES.values():
        raise RuntimeError("invalid value of debug_mode, expected one of `default`, `warn`, `error`")
    if mode == _mode:
        return
    if mode:
        _listen(_LISTENER[mode])
    if _mode:
        _ignore(_LISTENER[_mode])
    _mode = mode


def get_sync_debug_mode() -> int:
    """0, 1 (warn) or 2 (error)."""
    return _mode


class detect_sync:  # noqa: N801 - used like a function
    """`with torch.cuda.detect_sync() as waits:` each time that the host waits for the GPU inside is added to `waits`.

    Its elements have `what`, `file` and `line`. With `mode="warn"` or "error" it is also warned of, or raised.
    """

    def __init__(self, mode: str = "default") -> None:
        if mode not in _MODES:
            raise ValueError(f"detect_sync({mode!r}): expected one of {', '.join(map(repr, _MODES))}")
        self.mode = mode
        self.waits: list[Waiting] = []

    def _note(self, found: Waiting) -> None:
        self.waits.append(found)
        if self.mode != "default":
            _LISTENER[_MODES[self.mode]](found)

    def __enter__(self) -> list[Waiting]:
        self._listener = self._note
        _listen(self._listener)
        return self.waits

    def __exit__(self, *exc: object) -> None:
        _ignore(self._listener)
