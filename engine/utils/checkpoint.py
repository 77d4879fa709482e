"""Activation checkpointing: keep a function's inputs instead of its intermediate values, and compute those again.

The function runs once and records its graph as always. Then everything its nodes kept for backward is let go, and each
node gets a hook: the first one that backward reaches runs the function again, under the same random state, and hands the
values of the new graph to the nodes of the old one. So gradients flow as without a checkpoint, into arguments, captured
parameters and through `autograd.grad`; torch calls this non-reentrant.
"""

from __future__ import annotations

import contextlib
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from .. import random
from ..autograd.function import CustomNode
from ..autograd.graph import RELEASED, AccumulateGrad, Node, Pick, next_seq
from ..autograd.modes import enable_grad, is_grad_enabled
from ..tensor import Tensor


class CheckpointError(RuntimeError):
    """The function did something else when it was run again."""


def noop_context_fn() -> tuple:
    """The default `context_fn`: no contexts around the two runs."""
    return contextlib.nullcontext(), contextlib.nullcontext()


def _tensors_in(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in _tensors_in(v)] if isinstance(value, (list, tuple)) else []


def _recorded(outputs: Any, since: int) -> list[Node]:
    """The nodes behind `outputs` made after sequence number `since`, oldest first."""
    found: dict[Node, None] = {}
    stack = [t._node for t in _tensors_in(outputs) if t.requires_grad]
    while stack:
        node = stack.pop()
        if node is None or node in found or node.seq <= since or isinstance(node, AccumulateGrad):
            continue
        found[node] = None
        stack.extend(node.edges)
    return sorted((n for n in found if not isinstance(n, Pick)), key=lambda n: n.seq)


class _Segment:
    """One checkpointed call: how to run it again, and the nodes that wait for the values."""

    def __init__(self, function: Callable, args: tuple, kwargs: dict, state: Any, context: Any) -> None:
        self.function, self.args, self.kwargs = function, args, kwargs
        self.state, self.context = state, context
        self.versions = [(t, t._version) for t in _tensors_in((args, kwargs))]
        self.nodes: list[tuple[weakref.ref, bool]] = []
        self.kinds: list[type] = []

    def watch(self, nodes: Sequence[Node]) -> None:
        """Take from the nodes what they kept, and fill it in again when backward needs it."""
        self.kinds = [type(n) for n in nodes]
        for node in nodes:
            kept = isinstance(node, CustomNode) or bool(node.tensors) or node.out is not None or node.aux is not None
            self.nodes.append((weakref.ref(node), kept))
            if kept:
                node.register_prehook(_Refill(self, node))
                _empty(node)

    def fill(self) -> None:
        """Run the function again and give its values to the waiting nodes."""
        for t, version in self.versions:
            if t._version != version:
                raise RuntimeError(
                    "checkpoint(): an argument was modified in place after the forward call, so it cannot be run again: "
                    f"tensor of shape {list(t.shape)} is at version {t._version}; expected version {version}. HINT: pass a "
                    "clone(), or use the out-of-place form of that operator.")
        since = next_seq()
        with contextlib.ExitStack() as stack:
            if self.state is not None:
                stack.enter_context(random.fork_rng())
                random.set_rng_state(self.state)
            stack.enter_context(enable_grad())
            stack.enter_context(self.context)
            again = _recorded(self.function(*self.args, **self.kwargs), since)
        if [type(n) for n in again] != self.kinds:
            raise CheckpointError(
                "checkpoint(): the function recorded other operators when it was run again: "
                f"{len(again)} ({', '.join(n.name() for n in again[:8])}), at first {len(self.kinds)} "
                f"({', '.join(k.__name__ for k in self.kinds[:8])}). HINT: it must not depend on state that changes between "
                "forward and backward.")
        for (reference, kept), fresh in zip(self.nodes, again):
            node = reference()
            if kept and node is not None and _is_empty(node):
                _fill(node, fresh)


class _Refill:
    """The hook on one waiting node."""

    def __init__(self, segment: _Segment, node: Node) -> None:
        self.segment, self.node = segment, weakref.ref(node)

    def __call__(self, grads: tuple) -> None:
        node = self.node()
        if node is not None and _is_empty(node):
            self.segment.fill()


class _Absent:
    """Stands in for what a checkpoint has let go."""


_ABSENT: Any = _Absent()


def _is_empty(node: Node) -> bool:
    return node.tensors is _ABSENT


def _empty(node: Node) -> None:
    node.out = node.aux = node.versions = node.out_version = None
    node.tensors = _ABSENT
    if isinstance(node, CustomNode):
        node.ctx = _ABSENT


def _fill(node: Node, fresh: Node) -> None:
    if fresh.tensors is RELEASED:
        raise CheckpointError("checkpoint(): the function called backward() itself when it was run again.")
    for name in ("tensors", "versions", "out", "aux", "out_version"):
        setattr(node, name, getattr(fresh, name))
    if isinstance(node, CustomNode):
        node.ctx = fresh.ctx  # type: ignore[attr-defined]


def checkpoint(function: Callable, *args: Any, use_reentrant: bool | None = None,
               context_fn: Callable[[], tuple] = noop_context_fn, determinism_check: str = "default", debug: bool = False,
               early_stop: bool = True, preserve_rng_state: bool = True, **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, whose intermediate values are computed again in backward instead of being kept.

    Saves memory for about one more forward call. With `preserve_rng_state` dropout draws the same mask again.
    `use_reentrant`, `determinism_check`, `debug` and `early_stop` are accepted: there is one implementation, and it
    always compares the operators of the two runs. Raises CheckpointError (a RuntimeError) in backward when they differ,
    RuntimeError when an argument was changed in place in between.

    >>> from engine.utils.checkpoint import checkpoint
    >>> x = torch.tensor([1., 2.], requires_grad=True)
    >>> checkpoint(lambda v: v.exp().log() * v, x, use_reentrant=False).sum().backward(); x.grad
    tensor([2., 4.])
    """
    first, again = context_fn()
    if not is_grad_enabled():
        with first:
            return function(*args, **kwargs)
    state = random.get_rng_state() if preserve_rng_state else None
    since = next_seq()
    segment = _Segment(function, args, kwargs, state, again)
    with first:
        outputs = function(*args, **kwargs)
    nodes = _recorded(outputs, since)
    segment.watch(nodes)
    return outputs


def checkpoint_sequential(functions: Any, segments: int, input: Any, use_reentrant: bool | None = None,
                          **kwargs: Any) -> Any:
    """Run modules one after the other in `segments` parts, each but the last inside a `checkpoint`.

    >>> from engine.utils.checkpoint import checkpoint_sequential
    >>> model = nn.Sequential(nn.ReLU(), nn.Tanh(), nn.ReLU())
    >>> checkpoint_sequential(model, 2, torch.tensor([-1., 0.])).tolist()
    [0.0, 0.0]
    """
    modules = list(functions.children()) if hasattr(functions, "children") else list(functions)
    size = max(len(modules) // segments, 1)
    value, at = input, 0
    for _ in range(segments - 1):
        value = checkpoint(_Chain(modules[at : at + size]), value, use_reentrant=use_reentrant, **kwargs)
        at += size
    return _Chain(modules[at:])(value)


class _Chain:
    """Modules applied one after the other."""

    def __init__(self, modules: Sequence[Callable]) -> None:
        self.modules = modules

    def __call__(self, value: Any) -> Any:
        for module in self.modules:
            value = module(value)
        return value


@contextlib.contextmanager
def set_checkpoint_early_stop(enable: bool) -> Iterator[None]:
    """Accepted, without effect: the function always runs to its end when it runs again, with the same gradients.

    >>> with torch.utils.checkpoint.set_checkpoint_early_stop(False):
    ...     y = torch.utils.checkpoint.checkpoint(torch.exp, torch.zeros(1), use_reentrant=False)
    >>> y
    tensor([1.])
    """
    yield


def get_device_states(*args: Any) -> tuple[list[int], list[Any]]:
    """Random states of the devices that tensors among `args` are on: none, since all numbers come from the CPU's generator.

    >>> torch.utils.checkpoint.get_device_states(torch.zeros(1))
    ([], [])
    """
    return [], []


def set_device_states(devices: Sequence[int], states: Sequence[Any], *, device_type: str | None = None) -> None:
    """The counterpart of `get_device_states`: nothing to set.

    >>> torch.utils.checkpoint.set_device_states([], [])
    """


__all__ = ["CheckpointError", "checkpoint", "checkpoint_sequential", "get_device_states", "noop_context_fn",
           "set_checkpoint_early_stop", "set_device_states"]
