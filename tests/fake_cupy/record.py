"""Writes `surface.json`: the names of the real CuPy and how they are called, which the stand-in then keeps to.

Needs CuPy and no GPU: `pip install cupy-cuda13x && python -m tests.fake_cupy.record`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
import types
from pathlib import Path
from typing import Any

MODULES = ("cupy", "cupy.linalg", "cupy.fft", "cupy.random", "cupy.lib.stride_tricks", "cupyx")
FILE = Path(__file__).with_name("surface.json")
_DOCUMENTED = re.compile(r"^[\w.]*\.?(\w+)(\(.*?\))(?: ->.*)?$")


def signature(value: Any) -> str | None:
    """The parameters of a function, from its code or, for compiled ones, from the first line of its docstring."""
    try:
        return str(inspect.signature(value))
    except (ValueError, TypeError):
        first = (value.__doc__ or "").partition("\n")[0]
        found = _DOCUMENTED.match(first)
        if not found:
            return None
        names = [re.sub(r"^(?:[\w.]+ )+(\w)", r"\1", part.strip()) for part in found[2][1:-1].split(",")]
        return f"({', '.join(names)})"


def surface(module: types.ModuleType) -> dict[str, Any]:
    """name -> the loops of a ufunc (a list), or the signature of a function (a string; null where it is not known)."""
    found: dict[str, Any] = {}
    for name in sorted(dir(module)):
        value = getattr(module, name)
        if name.startswith("_") or isinstance(value, types.ModuleType):
            continue
        if type(value).__name__ == "ufunc":
            found[name] = value.types
        elif callable(value) and not isinstance(value, type):
            found[name] = signature(value)
    return found


def main() -> None:
    """Record the CuPy that is installed."""
    cupy = importlib.import_module("cupy")
    record = {"version": cupy.__version__, "modules": {name: surface(importlib.import_module(name)) for name in MODULES}}
    methods = {}
    for name in dir(cupy.ndarray):
        value = getattr(cupy.ndarray, name)
        if not name.startswith("_") or name.startswith("__"):
            methods[name] = signature(value) if callable(value) and not isinstance(value, type) else None
    FILE.write_text(json.dumps({**record, "ndarray": methods}, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
