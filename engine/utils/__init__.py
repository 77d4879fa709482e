"""Helpers around training: `data` loads data, `checkpoint` saves memory, `tensorboard` writes event files."""

from __future__ import annotations

import importlib
from typing import Any

from . import data

__all__ = ["benchmark", "checkpoint", "data", "dlpack", "flop_counter", "hooks", "model_zoo", "tensorboard"]


def __getattr__(name: str) -> Any:
    if name in ("_pytree", "benchmark", "checkpoint", "dlpack", "flop_counter", "hooks", "model_zoo", "tensorboard"):
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
