"""The names of torch's tracer that libraries import at their start. Nothing is traced here."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import ModuleType, SimpleNamespace
from typing import Any

from engine.compiler import allow_in_graph, assume_constant_result, disable, is_compiling, reset

__all__ = ["allow_in_graph", "assume_constant_result", "config", "disable", "is_compiling", "mark_dynamic", "mark_static",
           "reset"]

config = SimpleNamespace(suppress_errors=False, cache_size_limit=8)  # settings that programs write


def mark_dynamic(t: Any, index: Any, **kwargs: Any) -> None:
    """Without effect: nothing is compiled."""


mark_static = mark_dynamic

__path__: list[str] = []
_ops = ModuleType(f"{__name__}._trace_wrapped_higher_order_op")
_ops.TransformGetItemToIndex = nullcontext  # type: ignore[attr-defined]
sys.modules[_ops.__name__] = _ops
