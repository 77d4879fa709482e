"""The few names of torch's compiled core that libraries ask for by this path."""

from __future__ import annotations

from engine.rng import Generator
from engine.size import Size
from engine.tensor import Tensor as TensorBase

__all__ = ["Generator", "Size", "TensorBase"]


def _log_api_usage_once(name: str) -> None:
    """Nothing is logged."""


def _get_tracing_state() -> None:
    """Always None: nothing is traced."""
