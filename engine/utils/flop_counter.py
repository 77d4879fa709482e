"""FlopCounterMode: how many floating-point operations a program needs, by operator and by module.

Counted are the operators that multiply matrices (products, convolutions, attention, recurrent layers), two for every
multiplication with its addition, as torch counts them; pointwise operators and reductions are not.
"""

from __future__ import annotations

import weakref
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from math import prod
from typing import Any

from engine.nn._hooks import register_module_forward_hook, register_module_forward_pre_hook
from engine.ops import matmul, readings, recurrent, recurrent_cells
from engine.ops.applying import apply
from engine.ops.base import CARDS

__all__ = ["FlopCounterMode"]

Shapes = Sequence[Any]


def _matmul(shapes: Shapes, out: tuple) -> int:
    a, b = shapes
    columns = b[-1] if len(b) > 1 else 1
    rows = prod(out) // columns if columns else 0
    return 2 * rows * columns * a[-1]


def _linear(shapes: Shapes, out: tuple) -> int:
    return 2 * prod(shapes[0][:-1]) * prod(shapes[1])


def _convolution(shapes: Shapes, out: tuple) -> int:
    return 2 * out[0] * prod(out[2:]) * prod(shapes[1])


def _conv_transpose(shapes: Shapes, out: tuple) -> int:
    return 2 * shapes[0][0] * prod(shapes[0][2:]) * prod(shapes[1])


def _conv_weight_grad(shapes: Shapes, out: tuple) -> int:
    return 2 * shapes[0][0] * prod(shapes[0][2:]) * prod(out)


def _attention(shapes: Shapes, out: tuple) -> int:
    query, key = shapes[:2]
    return 2 * prod(out[:-1]) * key[-2] * (query[-1] + out[-1])


def _recurrent(shapes: Shapes, out: tuple) -> int:
    return 2 * shapes[0][0] * sum(prod(shapes[i]) for i in (3, 4, 7) if shapes[i] is not None)


# card: (the name in the table, FLOPs from the shapes of inputs and output)
FORMULAS: dict[str, tuple[str, Callable[[Shapes, tuple], int]]] = {
    "matmul": ("matmul", _matmul),
    "linear": ("linear", _linear),
    "_convolution": ("convolution", _convolution),
    "_conv_transpose": ("convolution", _conv_transpose),
    "_conv_input_grad": ("convolution_backward", _conv_transpose),
    "_conv_weight_grad": ("convolution_backward", _conv_weight_grad),
    "scaled_dot_product_attention": ("scaled_dot_product_attention", _attention),
    "_lstm_layer": ("lstm", _recurrent),
    "_gru_layer": ("gru", _recurrent),
    "_rnn_layer": ("rnn", _recurrent),
}


class FlopCounterMode:
    """A context that counts floating-point operations, forward and backward.

    Args:
        mods: not needed any more, as in torch.
        depth: how deep into the modules the table goes; None for all.
        display: whether the table is printed at the end.
        custom_mapping: NotImplementedError: operators are not looked up by torch's internal names here.

    >>> from engine.utils.flop_counter import FlopCounterMode
    >>> with FlopCounterMode(display=False) as counter:
    ...     nn.Linear(3, 5)(torch.ones(2, 3)).sum().backward()
    >>> counter.get_total_flops()
    120
    >>> counter.get_flop_counts()["Linear"]
    {'linear': 60, 'linear_backward': 60}
    """

    def __init__(self, mods: Any = None, depth: int | None = 2, display: bool = True, custom_mapping: Any = None) -> None:
        if custom_mapping:
            raise NotImplementedError("FlopCounterMode(custom_mapping=...): operators have no internal names here. HINT: add "
                                      "what get_total_flops() does not count.")
        self.depth, self.display = depth, display
        self.flop_counts: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        self._owners: Any = weakref.WeakKeyDictionary()  # node -> the modules that were running when it was recorded
        self._names: Any = weakref.WeakKeyDictionary()  # module -> its name in the table
        self._running: list[str] = []

    def get_total_flops(self) -> int:
        """All operations that were counted."""
        return sum(self.flop_counts["Global"].values())

    def get_flop_counts(self) -> dict[str, dict[str, int]]:
        """{module: {operator: operations}}; a module's include those of the modules inside; "Global" has all."""
        return {module: dict(counts) for module, counts in self.flop_counts.items()}

    def get_table(self, depth: int | None = None) -> str:
        """The counts as text: modules down to `depth` levels, their operators, and shares of the total."""
        depth = self.depth if depth is None else depth
        total = self.get_total_flops()
        unit = max(0, min(4, (len(str(total)) - 2) // 3))
        rows = [("Module", "FLOP", "% Total")]
        for module in ["Global", *sorted(self.flop_counts.keys() - {"Global"})]:
            level = 0 if module == "Global" else module.count(".") + 1
            if depth is not None and level > depth:
                continue
            counts = self.flop_counts[module]
            named = [(module, sum(counts.values())), *((f" - {name}", n) for name, n in counts.items())]
            rows += [(" " * level + name, f"{n / 1000**unit:.3f}{' KMBT'[unit].strip()}", f"{n / total if total else 0:.2%}")
                     for name, n in named]
        widths = [max(len(row[i]) for row in rows) for i in range(3)]
        rows.insert(1, ("-" * widths[0], "-" * widths[1], "-" * widths[2]))
        return "\n".join(f"{a:<{widths[0]}}  {b:>{widths[1]}}  {c:>{widths[2]}}" for a, b, c in rows)

    def __enter__(self) -> FlopCounterMode:
        self.flop_counts.clear()
        self._stack = ExitStack()
        self._stack.enter_context(_counting(self._forward, self._backward))
        self._stack.callback(register_module_forward_pre_hook(self._begin).remove)
        self._stack.callback(register_module_forward_hook(self._end, always_call=True).remove)
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()
        if self.display:
            print(self.get_table())

    def _begin(self, module: Any, args: Any) -> None:
        if module not in self._names:
            root = type(module).__name__
            self._names.update({inner: f"{root}.{name}" if name else root for name, inner in module.named_modules()})
        self._running.append(self._names[module])

    def _end(self, module: Any, args: Any, output: Any) -> None:
        self._running.pop()

    def _add(self, owners: Sequence[str], name: str, flops: int) -> None:
        for owner in {"Global", *owners}:
            self.flop_counts[owner][name] += flops

    def _forward(self, card: Any, shapes: Shapes, out: Any) -> None:
        first = out[0] if isinstance(out, tuple) else out
        name, formula = FORMULAS[card.name]
        self._add(self._running, name, formula(shapes, tuple(first.shape)))
        if first._node is not None and self._running:
            node = first._node
            self._owners[node if isinstance(node, card.Node) else node.edges[0]] = tuple(self._running)

    def _backward(self, node: Any) -> None:
        self._add(self._owners.get(node, ()), *_backward_flops(node))


def _backward_flops(node: Any) -> tuple[str, int]:
    """(name, FLOPs) of a node's formula: as many as the forward for each operand that wants a gradient."""
    card = node.op
    name, formula = FORMULAS[card.name]
    shapes: list[Any] = [tuple(t.shape) if t is not None else edge.shape if edge is not None else None
              for t, edge in zip(node.tensors, node.edges)]
    if formula is _recurrent:
        flops = 2 * _recurrent(shapes, ())
        flops -= 0 if node.needs[0] else 2 * shapes[0][0] * prod(shapes[3])
        flops -= 0 if node.needs[1] else 2 * node.params[0][0][1] * prod(shapes[4])
    elif formula is _attention:  # the gradients of both products, and where scores were not kept, the scores anew
        query, key = shapes[:2]
        again = query[-1] if isinstance(node.aux, tuple) else 0
        flops = 2 * formula(shapes, node.shape) + 2 * prod(query[:-1]) * key[-2] * again
    else:
        wanted = sum(node.needs[:2])
        flops = wanted * formula(shapes, node.shape) if wanted else 0
    return (name if name.endswith("_backward") else name + "_backward"), flops


@contextmanager
def _counting(forward: Callable, backward: Callable) -> Iterator[None]:
    """Call `forward(card, shapes, result)` and `backward(node)` for every operator that has a formula."""

    def counted(card: Any, tensors: Sequence, params: Sequence = ()) -> Any:
        out = apply(card, tensors, params)
        if card.name in FORMULAS:
            forward(card, [None if t is None else tuple(t.shape) for t in tensors], out)
        return out

    def through(card: Any) -> Callable:
        return staticmethod(lambda *args: counted(card, args[: card.n], args[card.n :]))  # type: ignore[return-value]

    def plain_linear(input: Any, weight: Any, bias: Any, *arrays: Any) -> Any:
        return counted(matmul.Linear, (input, weight, bias))

    places: list[tuple[Any, str, Any]] = [(module, "apply", counted) for module in (readings, recurrent, recurrent_cells)]
    places += [(matmul, "_plain_linear", plain_linear)]
    for name in FORMULAS:
        card: Any = CARDS[name]
        places += [(card, "apply", through(card)), (card.Node, "run", _counted_run(card.Node.run, backward))]
    before = [(owner, name, vars(owner).get(name)) for owner, name, _ in places]
    for owner, name, value in places:
        setattr(owner, name, value)
    try:
        yield
    finally:
        for owner, name, value in before:
            if value is None:
                delattr(owner, name)
            else:
                setattr(owner, name, value)


def _counted_run(run: Callable, backward: Callable) -> Callable:
    def counted(node: Any, g: Any, xp: Any) -> Any:
        grads = run(node, g, xp)
        backward(node)
        return grads

    return counted
