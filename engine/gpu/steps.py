"""Optimizer steps and unscaling by our kernels: one pass over parameters, gradients and state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .kernels import NULL, over_elements, suffix, usable


def _common(update: Any) -> tuple:
    decay, shrink = update.decay, update.shrink
    return np.float64(decay or 0.0), np.float64(1.0 if shrink is None else shrink), np.int32(update.maximize)


def _adam(end: str, p: Any, g: Any, state: Sequence, update: Any) -> None:
    m, v, *top = state
    over_elements(f"adam_{end}", p.size, p, g, m, v, top[0] if top else NULL, np.int64(p.size), *_common(update),
                  *(np.float64(c) for c in update.c))


def _sgd(nesterov: bool) -> Callable:
    def step(end: str, p: Any, g: Any, state: Sequence, update: Any) -> None:
        rate, momentum, fresh = update.c if state else (*update.c, 0.0, 0.0)
        over_elements(f"sgd_{end}", p.size, p, g, state[0] if state else NULL, np.int64(p.size), *_common(update),
                      *(np.float64(c) for c in (rate, momentum, fresh)), np.int32(nesterov))

    return step


_STEPS = {"adam": _adam, "amsgrad": _adam, "sgd": _sgd(False), "sgd_momentum": _sgd(False), "sgd_nesterov": _sgd(True)}


def run(name: str, p: Any, g: Any, state: Sequence, update: Any) -> bool:
    """Update the contiguous stretch `p` by the chain `name` of engine/optim, if there is a kernel for it and these arrays."""
    step, end = _STEPS.get(name), usable(p, g, *state)
    if step is None or end not in ("f32", "f64"):
        return False
    step(end, p, g, state, update)
    return True


def unscale(gradients: Sequence, factor: float) -> Any:
    """Multiply the gradients by `factor` in place. A 0-d array: 1 if anything was not finite. The host waits for nothing."""
    gpu = backend.gpu()
    found = gpu.zeros((), np.float32)
    for g in gradients:
        if usable(g) is None:
            gpu.maximum(found, (~gpu.isfinite(g)).any().astype(np.float32), out=found)
            g *= g.dtype.type(factor)
        else:
            over_elements(f"unscale_{suffix(g.dtype)}", g.size, g, found, np.int64(g.size), np.float64(factor))
    return found
