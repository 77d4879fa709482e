"""Words for errors: the few helpers that make every message name what was expected and what was given."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import Any


class LinAlgError(RuntimeError):
    """A matrix that has no inverse, or a factorisation that does not exist or converge; `engine.linalg.LinAlgError`."""


class AcceleratorError(RuntimeError):
    """A call to a GPU failed."""


class OutOfMemoryError(RuntimeError):
    """A GPU has no memory left."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` for the closest known name, or an empty string."""
    close = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f" Did you mean '{close[0]}'?" if close else ""


def no_attribute(module: str, name: str, known: Iterable[str]) -> AttributeError:
    """The error for a name that a module of the engine does not have."""
    return AttributeError(f"module '{module}' has no attribute '{name}'.{did_you_mean(name, known)} "
                          "HINT: docs/compatibility.md lists what is here and what is not.")


def describe(value: object) -> str:
    """One phrase for any value: a tensor or array by shape, dtype and device, everything else by type and value."""
    shape = getattr(value, "shape", None)
    if shape is not None:
        device = getattr(value, "device", "cpu")
        return f"{type(value).__name__}(shape={list(shape)}, dtype={getattr(value, 'dtype', None)}, device={device})"
    text = repr(value)
    return f"{type(value).__name__} {text if len(text) <= 60 else text[:57] + '...'}"


LIBRARIES = {"engine", "lit", "callbacks", "loggers"}  # whose lines are not the program's; `backend` adds the GPU's


_REPORTING = ("engine.errors", "engine.cuda.sync")


def _room(frame: Any) -> str:
    """ "engine" and so on; "" for the program's own code."""
    name = frame.f_globals.get("__name__", "").partition(".")[0]
    return name if name in LIBRARIES else ""


def calling_line() -> tuple[str, int]:
    """File and line of the program that led here."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and _room(frame):
        frame = frame.f_back
    return frame.f_code.co_filename, frame.f_lineno


def library_line() -> str:
    """ "engine/optim/_flat.py:12": the line of ours that did what the program asked for; its own if it did that itself."""
    frame: Any = sys._getframe(1)
    while frame.f_back is not None and (not _room(frame) or frame.f_globals.get("__name__") in _REPORTING):
        frame = frame.f_back
    parts = frame.f_code.co_filename.replace("\\", "/").split("/")
    room = _room(frame)
    return "/".join(parts[parts.index(room):] if room in parts else parts[-1:]) + f":{frame.f_lineno}"


def failing_line(trace: TracebackType | None) -> str:
    """ "file.py:12", the line of the program in which an error arose, or which called what failed."""
    found, above = "?", ""
    while trace is not None:
        below, room = trace.tb_next, _room(trace.tb_frame)
        if not room and (_room(below.tb_frame) if below is not None else above != "engine"):
            found = f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"
        above, trace = room or above, below
    return found


def not_supported(what: str, instead: str) -> NotImplementedError:
    """The error for a name we know and do not have: says what to write instead."""
    return NotImplementedError(f"{what} is not supported by litengine. HINT: {instead}")
