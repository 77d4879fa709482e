"""How a card gets a fused form on a GPU: `gpu = SomeKernel(...)` in its body.

The form sees raw arrays in their own element type (half precision stays half) and answers NotImplemented for layouts and types
it does not serve; the card's ordinary forward then runs on CuPy.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


class Kernel:
    """Base of fused forms."""

    numbers = False  # whether forward takes a 0-d array of NumPy, a number, in the place of an array
    many = False  # several outputs: forward returns a list of them, and backward gets a list, with None for no gradient

    def forward(self, *args: Any) -> Any:
        """As the card's forward, without the module; or NotImplemented."""
        return NotImplemented

    def backward(self, node: Any, g: Any) -> Any:
        """The gradients of the inputs, from `node` (`raw_inputs`, `out`, `aux`, `params`, `needs`); or NotImplemented."""
        return NotImplemented


class Aux(tuple):
    """What a fused forward leaves for its backward, in the place of what the card's forward leaves."""


def contiguous(gpu: Any, array: Any) -> Any:
    """The array in rows, itself if it is already."""
    return array if array.flags.c_contiguous else gpu.ascontiguousarray(array).reshape(array.shape)


def _is_number(a: Any) -> bool:
    return type(a) is np.ndarray and not a.ndim


def run(form: Kernel, arrays: Sequence, params: Sequence, lists: bool) -> Any:
    """The fused forward on a card's inputs; NotImplemented if one of them is no array of a GPU."""
    from .. import backend

    if lists or any(a is not None and not backend.is_on_device(a) and not (form.numbers and _is_number(a)) for a in arrays):
        return NotImplemented
    if form.numbers and not any(map(backend.is_on_device, arrays)):
        return NotImplemented
    return form.forward(*arrays, *params)
