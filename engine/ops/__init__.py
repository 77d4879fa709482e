"""The operators. Importing this package registers every card; the lists are in `base`."""

from __future__ import annotations

from . import (
    activations,
    activations_smooth,
    arithmetic,
    comparison,
    conversion,
    convolution,
    creation,
    dropout,
    elementwise,
    elementwise_pairs,
    embedding,
    extrema,
    grids,
    indexing,
    interop,
    joining,
    logic,
    losses,
    matmul,
    normalization,
    padding,
    pooling,
    random_ops,
    rearranging,
    recurrent,
    reductions,
    scatter,
    shape,
    softmax,
)
from .base import CARDS, FUNCTIONAL, FUNCTIONS

__all__ = ["CARDS", "FUNCTIONAL", "FUNCTIONS", "activations", "activations_smooth", "arithmetic", "comparison",
           "conversion", "convolution", "creation", "dropout", "elementwise", "elementwise_pairs", "embedding",
           "extrema", "grids", "indexing", "interop", "joining", "logic", "losses", "matmul", "normalization",
           "padding", "pooling", "random_ops", "rearranging", "recurrent", "reductions", "scatter", "shape",
           "softmax"]
