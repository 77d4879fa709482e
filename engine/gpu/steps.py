"""Optimizer steps, unscaling and the scale of losses by our kernels: one pass over parameters, gradients and state."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend
from .kernels import NULL, launch, over_elements, suffix, usable

MEMBERS = 64  # parameters to a launch
TABLE = np.dtype([("p", "u8", MEMBERS), ("g", "u8", MEMBERS), ("start", "i8", MEMBERS + 1), ("count", "i8")])
RECIPE_SIZE = 96  # count, leaves and instructions that the kernel `recipe` has room for


def _or_null(array: Any) -> Any:
    return NULL if array is None else array


def _common(update: Any) -> tuple:
    if update.live is not None:
        return np.float64(0), np.float64(0), np.int32(update.maximize)
    decay, shrink = update.decay, update.shrink
    return np.float64(decay or 0.0), np.float64(1.0 if shrink is None else shrink), np.int32(update.maximize)


def _numbers(update: Any, count: int) -> tuple:
    """The first constants of an update by value; zeros where the kernel finds them in device memory."""
    given = () if update.live is not None else update.c[:count]
    return *(np.float64(c) for c in given), *[np.float64(0)] * (count - len(given))


def _adam(end: str, table: Any, n: int, state: Sequence, update: Any) -> None:
    m, v, *top = state
    over_elements(f"adam_{end}", n, table, m, v, top[0] if top else NULL, np.int64(n), *_common(update),
                  *_numbers(update, 5), _or_null(update.live), _or_null(update.found))


def _sgd(nesterov: bool) -> Callable:
    def step(end: str, table: Any, n: int, state: Sequence, update: Any) -> None:
        over_elements(f"sgd_{end}", n, table, state[0] if state else NULL, np.int64(n), *_common(update),
                      *_numbers(update, 3), np.int32(nesterov), _or_null(update.live), _or_null(update.found))

    return step


def _chain(name: str) -> Callable:
    def step(end: str, table: Any, n: int, state: Sequence, update: Any) -> None:
        states = [*state, *[NULL] * (3 - len(state))]
        over_elements(f"{name}_{end}", n, table, *states, np.int64(n), *_common(update), *_numbers(update, 5),
                      np.int32(len(update.c)), _or_null(update.live), _or_null(update.found))

    return step


_CHAINS = ("rmsprop", "rmsprop_momentum", "rmsprop_centered", "rmsprop_centered_momentum", "adagrad", "adamax", "adadelta",
           "moments")
_STEPS = {**{name: _chain(name) for name in _CHAINS},
          "adam": _adam, "amsgrad": _adam, "sgd": _sgd(False), "sgd_momentum": _sgd(False), "sgd_nesterov": _sgd(True)}


def run(name: str, places: Sequence[tuple[Any, Any]], state: Sequence, update: Any) -> bool:
    """Update parameters, given with their gradients, by the chain `name` of engine/optim. Their states lie side by side.

    False, and nothing done, where there is no kernel for it and these arrays.
    """
    step = _STEPS.get(name)
    end = None if step is None else usable(*state, *(a for place in places for a in place))
    if step is None or end is None:
        return False
    start = 0
    for first in range(0, len(places), MEMBERS):
        table, n = _table(places[first : first + MEMBERS])
        step(end, table, n, [s[start : start + n] for s in state], update)
        start += n
    return True


def _table(places: Sequence[tuple[Any, Any]]) -> tuple[np.ndarray, int]:
    table, start = np.zeros(1, TABLE), 0
    row = table[0]
    for j, (p, g) in enumerate(places):
        row["p"][j], row["g"][j], row["start"][j] = p.data.ptr, g.data.ptr, start
        start += p.size
    row["start"][len(places)], row["count"] = start, len(places)
    return table, start


def unscale(gradients: Sequence, scale: Any) -> Any:
    """Divide the gradients by `scale`, a float32 of the device, in place. A 0-d array: 1 if anything was not finite."""
    gpu = backend.gpu()
    found = gpu.zeros((), np.float32)
    for g in gradients:
        if usable(g) is None:
            gpu.maximum(found, (~gpu.isfinite(g)).any().astype(np.float32), out=found)
            gpu.multiply(g, gpu.divide(np.float32(1), scale).astype(g.real.dtype), out=g)
        else:
            over_elements(f"unscale_{suffix(g.dtype)}", g.size, g, found, np.int64(g.size), scale)
    return found


def adapt_scale(scale: Any, tracker: Any, found: Any, growth: float, backoff: float, interval: int) -> None:
    """The scale and its count of steps without overflow, after a step."""
    launch("adapt_scale", (1,), (1,), scale, tracker, found, np.float64(growth), np.float64(backoff), np.int32(interval))
