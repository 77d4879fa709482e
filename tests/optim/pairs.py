"""What the optimizer tests share: parameters with given gradients, for our optimizers and for the oracle's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

import engine

# A matrix, a vector, a 0-d value, one large enough to be updated where it lies, and an empty one.
SHAPES = ((5, 3), (3,), (), (20_000,), (7, 2), (0, 4))


def leaf(values: Any, dtype: Any = None) -> engine.Tensor:
    """A parameter with its own storage."""
    array = np.array(values, dtype=dtype or np.float32)
    return engine.from_numpy(array).requires_grad_()


def array_of(tensor: Any) -> np.ndarray:
    """The elements of a tensor of ours or of the oracle's, as float64; as complex128 if they are complex."""
    wide = np.complex128 if tensor.is_complex() else np.float64
    if isinstance(tensor, engine.Tensor):
        return tensor._array.astype(wide)
    return (tensor.detach() if tensor.is_complex() else tensor.detach().double()).numpy().astype(wide)


def random_arrays(shapes: Sequence[tuple], dtype: Any, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [np.asarray(rng.standard_normal(shape)).astype(dtype) for shape in shapes]


def gradient_sequence(
    shapes: Sequence[tuple], dtype: Any, steps: int, gaps: bool = False
) -> Iterator[list[np.ndarray | None]]:
    """Gradients for every step; with `gaps` each parameter misses every third one."""
    for step in range(steps):
        grads = random_arrays(shapes, dtype, seed=100 + step)
        yield [None if gaps and (step + i) % 3 == 0 else g for i, g in enumerate(grads)]


def give(parameters: Sequence[engine.Tensor], grads: Sequence[np.ndarray | None]) -> None:
    """Set `.grad` of our parameters to fresh tensors."""
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = None if grad is None else engine.from_numpy(grad.copy())
