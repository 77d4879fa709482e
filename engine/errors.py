"""Words for errors: the few helpers that make every message name what was expected and what was given."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


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


def not_supported(what: str, instead: str) -> NotImplementedError:
    """The error for a name we know and do not have: says what to write instead."""
    return NotImplementedError(f"{what} is not supported by litengine. HINT: {instead}")
