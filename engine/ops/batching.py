"""Operators on batched arrays (`torch.func.vmap`), where their formula for plain arrays does not do.

Most formulas run on `Batched` arrays as they are. One that fails is tried again with a batch dimension on every input, then
by the card's own rule (`Op.batched`), and at last once per sample: always right, and never reached without vmap.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .. import backend
from ..autograd.graph import Hooks
from ..batched import Batched, BatchedModule, Level, NoRule, at, join, promoted, top
from .base import CARDS
from .readings import RawSpace


def _forward(card: Any, xp: Any, arrays: Sequence, params: Sequence) -> Any:
    return card.forward(xp, list(arrays), *params) if card.n < 0 else card.forward(xp, *arrays, *params)


def retry(card: Any, level: Level, arrays: Sequence, params: Sequence) -> Any:
    """What `card.forward` returns for batched arrays on which it has failed."""
    if card.batched is not None:
        result = card.batched(level, *arrays, *params)
        if result is not None:
            return result
    whole = [promoted(a, level) if backend.is_array(a) else a for a in arrays]
    batch = next((a for a in whole if isinstance(a, Batched)), None)
    if batch is not None:
        try:
            return _forward(card, backend.namespace(batch), whole, params)
        except (TypeError, ValueError, NoRule):
            pass  # no formula for whole batches: sample by sample
    if card.view is True:
        raise NoRule(f"vmap: {card.name} gives a view, which single samples put together are not")
    results = []
    for i in range(level.size):
        one, rest = at(list(arrays), level, i), at(tuple(params), level, i)
        inner = top((one, rest))
        xp = backend.namespace(next(a for a in one if backend.is_array(a))) if inner is None else _module(one)
        results.append(run(card, xp, one, rest))
    return join(results, level)


def _module(arrays: Sequence) -> Any:
    return backend.namespace(next((a for a in arrays if isinstance(a, Batched)), arrays[0]))


def run(card: Any, xp: Any, arrays: Sequence, params: Sequence) -> Any:
    """`card.forward`, by whichever way works."""
    try:
        return _forward(card, xp, arrays, params)
    except (TypeError, ValueError, NoRule):
        level = top((list(arrays), tuple(params)))
        if level is None:
            raise
        return retry(card, level, arrays, params)


class BatchedSpace(RawSpace):
    """The operators on raw arrays of which some are batched."""

    def __getattr__(self, name: str) -> Any:
        card = CARDS[name]
        module = self.np

        def read(*args: Any) -> Any:
            out = run(card, module, args[0] if card.n < 0 else args[: card.n], args[1 if card.n < 0 else card.n :])
            return out[0] if card.has_aux else out

        return read


class _SampleOfNode:
    """A recorded operator as the formula of one sample sees it."""

    def __init__(self, node: Any, level: Level, i: int) -> None:
        self.inputs, self.output = at(node.inputs, level, i), at(node.output, level, i)
        self.aux, self.params = at(node.aux, level, i), at(node.params, level, i)
        self.needs = node.needs
        self.np = None


def backward(node: Any, g: Any, first: Batched) -> Sequence:
    """The gradients of a node's inputs for a batched gradient of its output."""
    space = BatchedSpace(BatchedModule(first.level, backend.namespace(first.inner)))
    if node.op is None:  # a custom function, whose backward works on Tensors
        return node.run(g, space)
    node.check()
    card = node.op
    formulas = [card.backward]
    if "backward_traced" in card.__dict__:
        formulas.insert(0, card.backward_traced)
    for formula in formulas:
        try:
            return formula(space, node, g)
        except (TypeError, ValueError, AttributeError, RuntimeError):
            continue  # written for plain arrays: sample by sample
    level = top((g, node.inputs, node.output, node.aux, node.params))
    results = []
    for i in range(level.size):
        one = at(g, level, i)
        head = next(x for x in (one if isinstance(one, list) else [one]) if x is not None)
        sample = _SampleOfNode(node, level, i)
        inner = isinstance(head, Batched)
        xp = BatchedSpace(backend.namespace(head)) if inner else Hooks.raw(backend.namespace(head))
        results.append(list(card.backward(xp, sample, one)))
    return join(results, level)


Hooks.retry = staticmethod(retry)
Hooks.batched = staticmethod(backward)
