"""The operators. Importing this package registers every card; the lists are in `base`."""

from __future__ import annotations

from . import (
    arithmetic,
    conversion,
    creation,
    elementwise,
    indexing,
    joining,
    random_ops,
    reductions,
    shape,
)
from .base import CARDS, FUNCTIONAL, FUNCTIONS

__all__ = ["CARDS", "FUNCTIONAL", "FUNCTIONS", "arithmetic", "conversion", "creation", "elementwise", "indexing", "joining", "random_ops",
           "reductions", "shape"]
