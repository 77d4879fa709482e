"""The record of the real CuPy's surface, and what is made of it."""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

RECORD = json.loads(Path(__file__).with_name("surface.json").read_text())
_OBJECT = re.compile(r"<[^<>]*>")


def binder(signature: str | None) -> Callable[..., Any]:
    """A function that raises TypeError for a call that the real function would not take."""
    if signature is None:
        return lambda *args, **kwargs: None
    text = _OBJECT.sub("None", signature)
    names: dict[str, Any] = {}
    try:
        exec(f"def call{text}: pass", {"__builtins__": {}}, names)
    except (SyntaxError, NameError):
        return lambda *args, **kwargs: None
    return inspect.signature(names["call"]).bind
