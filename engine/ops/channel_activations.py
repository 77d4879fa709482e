"""Batch norm with the ReLU or leaky ReLU after it as one node: one pass over the images where two operators make two.

`nn.Sequential` asks for it, where nobody can see what lies between the two.
"""

from __future__ import annotations

from typing import Any

from .. import fast
from ..dtypes import F32
from ..tensor import Tensor
from . import _channels
from ._blocked import COMPILED, ndarray
from .base import Op, op
from .channel_norms import BatchNorm, apply_batch_norm


def serves(input: Any) -> bool:
    """Whether one pass is less than two here: for large images with the extra `fast`."""
    a = getattr(input, "_array", None)
    large = type(input) is Tensor and type(a) is ndarray and a.dtype is F32 and a.ndim > 2 and a.size >= COMPILED
    return large and fast.fits(a) and fast.kernels("channels") is not None


@op("_batch_norm_leaky_relu", function=False, method=False, node="ReluBackward0")
class BatchNormLeakyRelu(Op):
    """Batch norm, and x if x > 0, else slope * x. The gradient's mask is computed again from the input, not kept."""

    n = 3
    keep = (0, 1)
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any, mean: Any, var: Any, training: bool, momentum: float, eps: float,
                slope: float) -> Any:  # fmt: skip
        out, (mean, rstd) = BatchNorm.forward(xp, x, w, b, mean, var, training, momentum, eps, slope)
        return out, (mean, rstd, _channels.factors(w, b, mean, rstd)[1])

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), (mean, rstd, shift) = s.inputs, s.aux
        return _channels.gradients(xp.np, g, x, w, mean, rstd, s.params[2], s.needs, shift, s.params[5])

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), slope = s.inputs, s.params[5]
        sizes = (-1, *[1] * (len(x.shape) - 2))
        rstd, shift = (a.reshape(sizes) for a in s.aux[1:])
        factor = rstd if w is None else xp._reshape(w, sizes) * rstd
        return BatchNorm.backward_traced(xp, s, xp.where(x * factor + shift <= 0, g * slope, g))

    @staticmethod
    def call(input: Tensor, *settings: Any) -> Tensor:
        """`settings` are batch_norm's, all of them, and the slope."""
        return apply_batch_norm(BatchNormLeakyRelu, input, *settings)


__all__ = ["BatchNormLeakyRelu", "serves"]
