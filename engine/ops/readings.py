"""The two readings of the operator vocabulary: on raw arrays (`RawSpace`) and on Tensors (`TracedSpace`).

A gradient formula gets one of them as `xp`; `xp.<card>(*forward's arguments)` computes or records.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend
from ..autograd.graph import Hooks
from ..tensor import calibrate, wrap
from ._blocked import SINGLE, pointwise
from .base import CARDS, Op, apply


class RawSpace:
    """The operators on raw arrays: `xp.<card>(*forward's arguments)`."""

    def __init__(self, module: Any) -> None:
        self.np = module

    def __getattr__(self, name: str) -> Any:
        card = _card(name)
        module = self.np
        if card.has_aux:
            def read(*args: Any) -> Any:
                return card.forward(module, *args)[0]
        else:
            def read(*args: Any) -> Any:
                return card.forward(module, *args)
        setattr(self, name, read)
        return read


class TracedSpace:
    """The same operators on Tensors, recording a graph: `xp.<card>(*forward's arguments)`."""

    def __getattr__(self, name: str) -> Any:
        card = _card(name)

        def read(*args: Any) -> Any:
            if card.n < 0:
                return apply(card, [_traced(a) for a in args[0]], args[1:])
            return apply(card, [_traced(a) for a in args[: card.n]], args[card.n :])

        setattr(self, name, read)
        return read


def _traced(value: Any) -> Any:
    return wrap(value) if backend.is_array(value) or isinstance(value, np.generic) else value


def _card(name: str) -> type[Op]:
    try:
        return CARDS[name]
    except KeyError:
        raise AttributeError(f"no operator card is named '{name}'") from None


_RAW: dict[Any, RawSpace] = {np: RawSpace(np)}


def raw_space(module: Any) -> RawSpace:
    """The raw reading for numpy or cupy."""
    space = _RAW.get(module)
    if space is None:
        space = _RAW[module] = RawSpace(module)
    return space


def sum_to(g: Any, shape: tuple, traced: bool) -> Any:
    """Sum a gradient over the dimensions along which its input was broadcast."""
    if len(g.shape) < len(shape):
        raise RuntimeError(f"a backward formula returned a gradient of shape {list(g.shape)} for an input of {list(shape)}")
    extra = len(g.shape) - len(shape)
    axes = tuple(range(extra)) + tuple(i + extra for i, n in enumerate(shape) if n == 1 and g.shape[i + extra] != 1)
    if traced:
        return CARDS["_reshape"].apply(CARDS["sum"].apply(g, axes, False, None), shape) if axes else g
    return g.sum(axis=axes).reshape(shape)


def cast(g: Any, np_dtype: Any, traced: bool) -> Any:
    """A gradient in its input's dtype (complex gradients of real inputs keep their real part)."""
    if traced:
        g = CARDS["real"].apply(g) if np_dtype.kind != "c" and g._array.dtype.kind == "c" else g
        return CARDS["_to_dtype"].apply(g, np_dtype)
    if np_dtype.kind != "c" and g.dtype.kind == "c":
        g = g.real
    return g.astype(np_dtype)


def add(a: Any, b: Any) -> Any:
    """The sum of two large arrays."""
    return pointwise(np.add, a, b, longest=SINGLE) if type(a) is type(b) is np.ndarray else a + b


Hooks.add = staticmethod(add)
Hooks.sum_to = staticmethod(sum_to)
Hooks.cast = staticmethod(cast)
Hooks.raw = staticmethod(raw_space)
Hooks.traced = TracedSpace()
calibrate()
