"""Dropout and its relatives. Masks are torch's for the same seed: one 53-bit double per element, in memory order."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, random
from ..copying import empty_as
from ..devices import device_of
from ..gpu.pointwise import Masked
from ..rng import assign_in_memory_order
from ..tensor import Tensor
from ._blocked import elements, is_large, pointwise
from .base import Op, composite, expect_tensor, install, op
from .inplace import assign, check_inplace
from .samples import samples_for

_ALPHA = 1.7580993408473766  # minus SELU's limit at minus infinity: scale * alpha (Klambauer et al. 2017)


def keep_mask(array: Any, p: float, shape: tuple | None = None) -> Any:
    """A boolean mask, True with probability 1 - p: laid out like `array`, or row-major of another `shape`."""
    if shape is not None or not isinstance(array, np.ndarray) or array.flags.c_contiguous:
        generator = random.of_device(device_of(array))
        return generator.bernoulli_scalar(1 - p, array.shape if shape is None else shape)
    mask = empty_as(array, bool)
    assign_in_memory_order(mask, random.default_generator.bernoulli_scalar(1 - p, array.shape))
    return mask


def check_probability(p: float) -> None:
    """ValueError unless 0 <= p <= 1."""
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout probability has to be between 0 and 1, but got {p}")


@op("_dropout", function=False, method=False, node="MulBackward0")
class Dropout(Op):
    """`input * mask * scale + shift * !mask`: what all dropouts come down to. The mask broadcasts over the input."""

    gpu = Masked()

    @staticmethod
    def forward(xp: Any, x: Any, mask: Any, scale: float, dropped: float | None, kept: float | None) -> Any:
        if dropped is None and type(x) is np.ndarray:
            out = elements("scale_kept", x, mask, params=(scale,))
            if out is not None:
                return out
        if is_large(x):
            out = pointwise(lambda x, mask: x * (mask * x.dtype.type(scale)), x, mask)
        else:
            out = x * (mask * x.dtype.type(scale))
        if dropped is not None:
            out += xp.where(mask, x.dtype.type(kept), x.dtype.type(dropped))
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        mask, scale, *_ = s.params
        return (xp._dropout(g, mask, scale, None, None),)


def _finish(function: str, input: Tensor, inplace: bool, compute: Callable[[], Tensor]) -> Tensor:
    if not inplace:
        return compute()
    check_inplace(input)
    return assign(input, compute(), function)


def _scaled(input: Tensor, mask: Any, p: float) -> Tensor:
    return Dropout.apply(input, mask, 1 / (1 - p) if p < 1 else 0.0, None, None)


@composite("dropout", method=False, functional=True)
def dropout(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Zero each element with probability `p` and scale the others by 1 / (1 - p); the input itself if not `training`.

    Draws one number per element from the default generator; the mask equals torch's for the same seed. Any shape,
    floating dtypes. ValueError unless 0 <= p <= 1. Srivastava et al. 2014.

    >>> _ = torch.manual_seed(0)
    >>> nn.functional.dropout(torch.ones(5))
    tensor([0., 0., 2., 0., 0.])
    """
    check_probability(p)
    a = expect_tensor(input, "dropout")._array
    if not training or p == 0 or not a.size:
        return input
    if p == 1:
        mask = backend.namespace(a).zeros(a.shape, bool)
    else:
        mask = keep_mask(a, p)
    return _finish("dropout_", input, inplace, lambda: _scaled(input, mask, p))


def _by_channel(input: Tensor, p: float, channels_at: int) -> Any:
    """A mask (N, C, 1, ...), or (C, 1, ...) for input without a batch dimension."""
    shape = input._array.shape
    head = shape[: channels_at + 1]
    full = (*head, *[1] * (len(shape) - len(head)))
    return keep_mask(input._array, p, full)


def feature_dropout(function: str, input: Tensor, p: float, training: bool, inplace: bool, batched: bool) -> Tensor:
    check_probability(p)
    a = expect_tensor(input, function)._array
    if not training or p == 0 or not a.size:
        return input
    if batched and a.ndim < 2:
        raise RuntimeError(
            f"Feature dropout requires at least 2 dimensions in the input, got {a.ndim}-D input to {function}"
        )
    mask = _by_channel(input, p, 1 if batched else 0) if p < 1 else backend.namespace(a).zeros((1,) * a.ndim, bool)
    return _finish(function + "_", input, inplace, lambda: _scaled(input, mask, p))


_CHANNEL_DOC = """Zero channels of (N, C, {dims}){or_unbatched} with probability `p`; scale the others by 1 / (1 - p).

    The input itself when not `training`. ValueError unless 0 <= p <= 1. Tompson et al. 2015.

    >>> x = torch.ones({example})
    >>> y = nn.functional.dropout{nd}d(x, p=0.2)
    >>> bool(((y == 0) | (y == 1.25)).all())
    True
    """


def _install_channel_dropouts() -> None:
    def dropout1d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if input._array.ndim not in (2, 3):
            raise RuntimeError(
                f"dropout1d: Expected 2D or 3D input, but received a {input._array.ndim}D input. Note that "
                "dropout1d exists to provide channel-wise dropout on inputs with 1 spatial dimension, a "
                "channel dimension, and an optional batch dimension (i.e. 2D or 3D inputs)."
            )
        return feature_dropout("dropout1d", input, p, training, inplace, input._array.ndim == 3)

    def dropout2d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if input._array.ndim not in (3, 4):
            warnings.warn(
                f"dropout2d: Received a {input._array.ndim}-D input, not (N, C, H, W): channels are taken to be "
                "dimension 1.",
                stacklevel=2,
            )
        return feature_dropout("dropout2d", input, p, training, inplace, True)

    def dropout3d(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
        if input._array.ndim not in (4, 5):
            warnings.warn(
                f"dropout3d: Received a {input._array.ndim}-D input, not (N, C, D, H, W) or (C, D, H, W).", stacklevel=2
            )
        return feature_dropout("dropout3d", input, p, training, inplace, input._array.ndim == 5)

    for nd, fn in ((1, dropout1d), (2, dropout2d), (3, dropout3d)):
        fn.__doc__ = _CHANNEL_DOC.format(
            nd=nd,
            dims=("L", "H, W", "D, H, W")[nd - 1],
            or_unbatched="" if nd == 2 else " or the same without N",
            example=", ".join(["2"] * (nd + 2)),
        )
        install(fn, f"dropout{nd}d", function=False, method=False, functional=True)


def _alpha(function: str, input: Tensor, p: float, training: bool, inplace: bool, by_channel: bool) -> Tensor:
    check_probability(p)
    a = expect_tensor(input, function)._array
    if not training or p == 0 or not a.size:
        return input
    if p == 1:
        return _finish(function + "_", input, inplace, lambda: _scaled(input, keep_mask(a, 1.0, (1,) * a.ndim), p))
    scale = 1 / math.sqrt((_ALPHA * _ALPHA * p + 1) * (1 - p))
    mask = _by_channel(input, p, 1) if by_channel else keep_mask(a, p)
    shift = _ALPHA * scale * p
    return _finish(
        function + "_", input, inplace, lambda: Dropout.apply(input, mask, scale, shift - _ALPHA * scale, shift)
    )


@composite("alpha_dropout", method=False, functional=True)
def alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """Dropout that keeps mean 0 and variance 1: dropped elements take SELU's lower limit. Klambauer et al. 2017.

    The input itself when not `training`. ValueError unless 0 <= p <= 1.

    >>> x = torch.ones(1000)
    >>> len(set(nn.functional.alpha_dropout(x, 0.5, training=True).tolist()))
    2
    """
    return _alpha("alpha_dropout", input, p, training, inplace, by_channel=False)


@composite("feature_alpha_dropout", method=False, functional=True)
def feature_alpha_dropout(input: Tensor, p: float = 0.5, training: bool = False, inplace: bool = False) -> Tensor:
    """`alpha_dropout` of whole channels of (N, C, ...).

    The input itself when not `training`. ValueError unless 0 <= p <= 1.

    >>> y = nn.functional.feature_alpha_dropout(torch.ones(2, 3, 4), 0.5, training=True)
    >>> bool((y == y[:, :, :1]).all())
    True
    """
    return _alpha("feature_alpha_dropout", input, p, training, inplace, by_channel=True)


_install_channel_dropouts()


@samples_for("dropout")
def _samples(make: Any) -> Any:
    yield make("dropout", make.uniform((3, 4)), training=False, _module="nn.functional")
    yield make("dropout", make.uniform((3, 4)), 0.0, _module="nn.functional")
    yield make("dropout", make.uniform((3, 4)), 1.0, _module="nn.functional")
