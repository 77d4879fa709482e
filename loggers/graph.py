"""A model's modules as a TensorBoard graph: which module feeds which."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

INPUT = "input"
OUTPUT = "output"


@dataclass
class Call:
    """One call of a module without children."""

    name: str
    kind: str
    inputs: list[Any]
    outputs: list[Any]
    sources: list[str] = field(default_factory=list)


def trace_modules(model: Any, inputs: Any) -> list[Call]:
    """Run ``model`` once in eval mode and note every call of a module without children, in order.

    What feeds a call is found by the tensors themselves and, where plain functions stand between two modules, by
    going back through ``grad_fn`` to the modules that these functions took their values from.

    Args:
        model: a module with ``named_modules``, ``register_forward_hook`` and ``training`` flags.
        inputs: its input; a tuple or list for several, a dict for keyword arguments.

    Returns:
        The calls, a first one for the inputs and a last one for the outputs included.
    """
    positional = list(inputs) if isinstance(inputs, (tuple, list)) else [] if isinstance(inputs, dict) else [inputs]
    named = inputs if isinstance(inputs, dict) else {}
    calls = [Call(INPUT, "Input", [], list(_tensors([positional, named])))]
    times: dict[str, int] = {}
    handles = []

    def watch(path: str, module: Any) -> None:
        def note(_: Any, args: Any, kwargs: Any, output: Any) -> None:
            nth = times[path] = times.get(path, -1) + 1
            name = path.replace(".", "/") + (f"_{nth}" if nth else "")
            calls.append(Call(name, type(module).__name__, list(_tensors([args, kwargs])), list(_tensors(output))))

        handles.append(module.register_forward_hook(note, with_kwargs=True))

    modes = [(module, module.training) for module in model.modules()]
    for path, module in model.named_modules():
        if path and next(module.children(), None) is None:
            watch(path, module)
    try:
        model.eval()
        result = model(*positional, **named)
    finally:
        for handle in handles:
            handle.remove()
        for module, training in modes:
            module.training = training
    calls.append(Call(OUTPUT, "Output", list(_tensors(result)), []))
    _find_sources(calls)
    return calls


def _find_sources(calls: list[Call]) -> None:
    # In order, so that a module which hands on the tensor that it got becomes its latest source.
    by_tensor: dict[int, str] = {}
    by_node: dict[int, str] = {}
    for call in calls:
        found: list[str] = []
        for tensor in call.inputs:
            if id(tensor) in by_tensor:
                found.append(by_tensor[id(tensor)])
            else:
                found.extend(_ancestors(getattr(tensor, "grad_fn", None), by_node))
        # A function of the input alone leaves no trace in the graph of gradients.
        call.sources = list(dict.fromkeys(found)) or ([INPUT] if call.inputs else [])
        for tensor in call.outputs:
            by_tensor[id(tensor)] = call.name
            if getattr(tensor, "grad_fn", None) is not None:
                by_node[id(tensor.grad_fn)] = call.name


def _ancestors(node: Any, by_node: dict[int, str]) -> Iterator[str]:
    """Names of the calls that ``node`` descends from, with no other call between."""
    pending, seen = [node], set()
    while pending:
        node = pending.pop()
        if node is None or id(node) in seen:
            continue
        seen.add(id(node))
        if id(node) in by_node:
            yield by_node[id(node)]
        else:
            pending.extend(parent for parent, _ in node.next_functions)


def _tensors(value: Any) -> Iterator[Any]:
    if hasattr(value, "shape"):
        yield value
    elif isinstance(value, dict):
        yield from _tensors(list(value.values()))
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _tensors(item)


def graph_event(model: Any, inputs: Any) -> Any:
    """The event that shows ``trace_modules(model, inputs)`` on TensorBoard's GRAPHS page."""
    from tensorboardX.proto.attr_value_pb2 import AttrValue
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.proto.graph_pb2 import GraphDef
    from tensorboardX.proto.node_def_pb2 import NodeDef
    from tensorboardX.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboardX.proto.versions_pb2 import VersionDef

    root = type(model).__name__

    def full_name(name: str) -> str:
        return name if name in (INPUT, OUTPUT) else f"{root}/{name}"

    def node(call: Call) -> Any:
        shapes = [
            TensorShapeProto(dim=[TensorShapeProto.Dim(size=size) for size in tensor.shape]) for tensor in call.outputs
        ]
        return NodeDef(
            name=full_name(call.name),
            op=call.kind,
            input=[full_name(source) for source in call.sources],
            attr={"_output_shapes": AttrValue(list=AttrValue.ListValue(shape=shapes))},
        )

    graph = GraphDef(node=[node(call) for call in trace_modules(model, inputs)], versions=VersionDef(producer=22))
    return Event(graph_def=graph.SerializeToString())
