"""Convolutions of batched arrays (`torch.func.vmap`): every sample's is part of one larger convolution.

Where only the images are batched, the batch goes into their number. Where the weights are, or where the gradient of each
sample's weights is wanted, the batch goes into the channels, as groups of its own.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from ..batched import Batched, Level, promoted
from ._columns import Plan
from .batching import run


@functools.lru_cache(maxsize=256)
def _larger(plan: Plan, images: int, groups: int) -> Plan:
    """The plan of a convolution with so many times as many images, or channels and groups."""
    (n, channels, *sizes), (outputs, *kernel) = plan.x_shape, plan.w_shape
    return Plan((n * images, channels * groups, *sizes), (outputs * groups, *kernel), plan.groups * groups, plan.windows)


def _is_batched(a: Any, level: Level) -> bool:
    return isinstance(a, Batched) and a.level is level


def _joined(a: Any, level: Level, axis: int) -> Any:
    """The batch dimension of `a` merged into its dimension `axis`."""
    whole = np.moveaxis(promoted(a, level).inner, 0, axis)
    shape = whole.shape
    return whole.reshape(*shape[:axis], shape[axis] * shape[axis + 1], *shape[axis + 2 :])


def _parted(a: Any, level: Level, axis: int) -> Batched:
    """The opposite of `_joined`."""
    shape = a.shape
    whole = a.reshape(*shape[:axis], level.size, shape[axis] // level.size, *shape[axis + 1 :])
    return Batched(np.moveaxis(whole, axis, 0), level)


def _plus(out: Any, bias: Any, plan: Plan) -> Any:
    """The result and a bias, batched or not."""
    return out if bias is None else out + bias.reshape(-1, *(1,) * (len(plan.x_shape) - 2))


def images_with_weights(card: Any, takes_bias: bool) -> Callable:
    """The rule of a card from images (or their gradient) and weights to images."""

    def rule(level: Level, x: Any, w: Any, *rest: Any) -> Any:
        bias, plan = rest if takes_bias else (None, rest[0])
        if not level.size:
            return None
        if not _is_batched(w, level):
            given, axis, larger = (_joined(x, level, 0), w), 0, _larger(plan, level.size, 1)
        else:
            given, axis, larger = (_joined(x, level, 1), _joined(w, level, 0)), 1, _larger(plan, 1, level.size)
        out = run(card, np, (*given, None) if takes_bias else given, (larger,))
        whole = _plus(_parted(out[0] if card.has_aux else out, level, axis), bias, plan)
        return (whole, None) if card.has_aux else whole

    return rule


def weight_gradients(card: Any) -> Callable:
    """The rule of the gradient of every sample's weights."""

    def rule(level: Level, g: Any, x: Any, plan: Plan) -> Any:
        if not level.size:
            return None
        out = run(card, np, (_joined(g, level, 1), _joined(x, level, 1)), (_larger(plan, 1, level.size),))
        return _parted(out, level, 0)

    return rule
