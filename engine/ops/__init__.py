"""The operators. Importing this package registers every card; the lists are in `base`."""

from __future__ import annotations

from . import (
    activations,
    activations_smooth,
    adaptive_pooling,
    arithmetic,
    attention,
    comparison,
    conversion,
    convolution,
    creation,
    dropout,
    einsum,
    elementwise,
    elementwise_pairs,
    embedding,
    extrema,
    fold,
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
    products,
    random_ops,
    readings,
    rearranging,
    recurrent,
    reductions,
    scatter,
    shape,
    softmax,
)
from .base import CARDS, FUNCTIONAL, FUNCTIONS

__all__ = ["CARDS", "FUNCTIONAL", "FUNCTIONS", "activations", "activations_smooth", "adaptive_pooling", "arithmetic",
           "attention", "comparison", "conversion", "convolution", "creation", "dropout", "einsum", "elementwise",
           "elementwise_pairs", "embedding", "extrema", "fold", "grids", "indexing", "interop", "joining", "logic",
           "losses", "matmul", "normalization", "padding", "pooling", "products", "random_ops", "readings", "rearranging",
           "recurrent", "reductions", "scatter", "shape", "softmax"]
