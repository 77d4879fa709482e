"""Hooks on what the graph keeps and on several gradients at once: the rest of `torch.autograd.graph`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, NoReturn

from . import graph
from .modes import state

_forbidden: list[str] = []  # messages of `disable_saved_tensors_hooks`


class saved_tensors_hooks:  # noqa: N801 - torch's name
    """A context in which `pack_hook(tensor)` keeps every tensor that backward will need, and `unpack_hook` gives it back.

    What is kept are inputs, outputs and helper arrays of operators. RuntimeError under `disable_saved_tensors_hooks`.

    >>> x = torch.ones(3, requires_grad=True)
    >>> with torch.autograd.graph.saved_tensors_hooks(lambda t: t.half(), lambda t: t.float()):
    ...     y = (x * x).sum()
    >>> y.backward(); x.grad
    tensor([2., 2., 2.])
    """

    def __init__(self, pack_hook: Callable[[Any], Any], unpack_hook: Callable[[Any], Any]) -> None:
        self.pack_hook, self.unpack_hook = pack_hook, unpack_hook

    def __enter__(self) -> None:
        if _forbidden:
            raise RuntimeError(_forbidden[-1])
        state.saving = (*state.saving, (self.pack_hook, self.unpack_hook))
        state.watch()

    def __exit__(self, *exc: object) -> None:
        state.saving = state.saving[:-1]
        state.watch()


class save_on_cpu(saved_tensors_hooks):  # noqa: N801 - torch's name
    """A context that keeps what backward needs in main memory; what is there already stays as it is."""

    def __init__(self, pin_memory: bool = False, device_type: str = "cuda") -> None:
        super().__init__(lambda t: (t.device, t.cpu()), lambda kept: kept[1].to(kept[0]))


class disable_saved_tensors_hooks:  # noqa: N801 - torch's name
    """A context in which `saved_tensors_hooks` raises RuntimeError with this message."""

    def __init__(self, error_message: str) -> None:
        self.error_message = error_message

    def __enter__(self) -> None:
        if state.saving:
            raise RuntimeError(self.error_message)
        _forbidden.append(self.error_message)

    def __exit__(self, *exc: object) -> None:
        _forbidden.pop()


class _Handles:
    """Several hooks that are removed together."""

    def __init__(self, handles: Sequence[graph.Handle]) -> None:
        self.handles = handles

    def remove(self) -> None:
        """Take the hooks out."""
        for handle in self.handles:
            handle.remove()


def register_multi_grad_hook(tensors: Sequence[Any], fn: Callable, *, mode: str = "all") -> _Handles:
    """Call `fn(gradients)` when a backward pass has computed those of all tensors (None for those it did not reach).

    It is called at the end of the pass, before that returns. With mode "any", `fn(gradient)` is called for the first.
    ValueError for another mode.

    >>> a, b = torch.ones(1, requires_grad=True), torch.ones(1, requires_grad=True)
    >>> handle = torch.autograd.graph.register_multi_grad_hook((a, b), lambda grads: print(grads))
    >>> (a * 2 + b * 3).backward()
    (tensor([2.]), tensor([3.]))
    """
    if mode not in ("all", "any"):
        raise ValueError(f"Expects mode to be one of ('all', 'any') but got {mode}")
    found: dict[int, Any] = {}

    def note(i: int, grad: Any) -> None:
        if not found and mode == "all":
            state.finishers.append(finish)
        if not found and mode == "any":
            fn(grad)
            state.finishers.append(found.clear)
        found[i] = grad

    def finish() -> None:
        grads = tuple(found.get(i) for i in range(len(tensors)))
        found.clear()
        fn(grads)

    return _Handles([t.register_hook(lambda grad, i=i: note(i, grad)) for i, t in enumerate(tensors)])


class GradientEdge(NamedTuple):
    """Where a gradient flows to: a node, and which of its outputs the gradient is of."""

    node: graph.Node
    output_nr: int


def get_gradient_edge(tensor: Any) -> GradientEdge:
    """The edge that this tensor's gradient flows along. RuntimeError without requires_grad."""
    if not tensor.requires_grad:
        raise RuntimeError("It is not possible to get the gradient edge for a Tensor that does not require gradients")
    node = tensor._node
    return GradientEdge(node.edges[0], node.index) if isinstance(node, graph.Pick) else GradientEdge(node, 0)


def increment_version(tensor: Any) -> None:
    """Count an in-place change of each tensor (or of the one) that autograd has not seen."""
    for t in [tensor] if hasattr(tensor, "_array") else tensor:
        t._bump("increment_version")


def allow_mutation_on_saved_tensors() -> NoReturn:
    """NotImplementedError: what backward needs is not copied when it is changed."""
    raise NotImplementedError("allow_mutation_on_saved_tensors is not supported. HINT: clone() a tensor before changing it.")


for _name in ("GradientEdge", "allow_mutation_on_saved_tensors", "disable_saved_tensors_hooks", "get_gradient_edge",
              "increment_version", "register_multi_grad_hook", "save_on_cpu", "saved_tensors_hooks"):  # torch has them there
    setattr(graph, _name, globals()[_name])
