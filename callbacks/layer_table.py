"""A model's layers as a table: name, type, parameters, mode and, if an example input is known, sizes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from engine.nn import Module

UNKNOWN_SIZE = "?"
NOT_APPLICABLE = "n/a"


@dataclass
class Layer:
    """One line of the table."""

    name: str
    kind: str
    parameters: int
    mode: str
    in_size: Any = UNKNOWN_SIZE
    out_size: Any = UNKNOWN_SIZE
    flops: int = 0  # of a forward pass; 0 where there is no example input


class LayerTable:
    """The layers of ``model`` down to ``max_depth`` levels (-1: all), and sums over the whole model.

    If the model has an ``example_input_array`` that is not None, it is run once on it, in eval mode, without gradients
    and without touching random streams, to find the layers' input and output sizes and to count the floating-point
    operations of their matrix products (``engine.utils.flop_counter``).

    Args:
        model: the module.
        max_depth: levels of nesting to show; -1 for all.

    Raises:
        ValueError: ``max_depth`` is less than -1.

    Attributes:
        layers: the lines.
        total_parameters, trainable_parameters: numbers of parameters, shared ones counted once.
        model_size: size of the parameters in MB (10^6 bytes).
        other_parameters: number of parameters that belong to none of the layers shown.
        total_flops: floating-point operations of the whole forward pass; 0 without an example input.
        columns: (header, cells) of the table; sums: the lines below it.

    Example:
        >>> from callbacks.layer_table import LayerTable
        >>> print(LayerTable(nn.Sequential(nn.Linear(4, 3), nn.ReLU())))
          | Name | Type   | Params | Mode
        ----------------------------------
        0 | 0    | Linear | 15     | train
        1 | 1    | ReLU   | 0      | train
        ----------------------------------
        15        Trainable params
        0         Non-trainable params
        15        Total params
        0.000     Total estimated model params size (MB)
        2         Modules in train mode
        0         Modules in eval mode
    """

    def __init__(self, model: Module, max_depth: int = 1) -> None:
        if max_depth < -1:
            raise ValueError(f"LayerTable(max_depth={max_depth}): expected -1 (all levels), 0 or more.")
        modules = {
            name: module
            for name, module in model.named_modules()
            if name and (max_depth == -1 or name.count(".") < max_depth)
        }
        self.layers = [
            Layer(name, type(module).__name__, _count(module.parameters()), "train" if module.training else "eval")
            for name, module in modules.items()
        ]
        self.total_flops = 0
        self._has_sizes = getattr(model, "example_input_array", None) is not None
        if self._has_sizes:
            self._find_sizes(model, list(modules.values()))

        parameters = list(model.parameters())
        shown = {id(parameter) for module in modules.values() for parameter in module.parameters()}
        self.total_parameters = _count(parameters)
        self.trainable_parameters = _count(p for p in parameters if p.requires_grad)
        self.other_parameters = _count(p for p in parameters if id(p) not in shown)
        self.model_size = sum(p.numel() * p.element_size() for p in parameters) / 1e6
        modes = [module.training for name, module in model.named_modules() if name]
        self.modules_in_train_mode, self.modules_in_eval_mode = modes.count(True), modes.count(False)

    def _find_sizes(self, model: Module, modules: list[Module]) -> None:
        handles = []
        for layer, module in zip(self.layers, modules, strict=True):

            def note(_: Module, args: Any, kwargs: Any, output: Any, layer: Layer = layer) -> None:
                inputs = (*args, *kwargs.values())
                layer.in_size = _size(inputs[0] if len(inputs) == 1 else inputs)
                layer.out_size = _size(output)

            handles.append(module.register_forward_hook(note, with_kwargs=True))
        from engine.utils.flop_counter import FlopCounterMode

        counter = FlopCounterMode(display=False)
        try:
            with counter:
                _run_example(model)
        finally:
            for handle in handles:
                handle.remove()
        self.total_flops = counter.get_total_flops()
        counts = counter.get_flop_counts()
        for layer in self.layers:
            layer.flops = sum(counts.get(f"{type(model).__name__}.{layer.name}", {}).values())

    @property
    def columns(self) -> list[tuple[str, list[str]]]:
        """The table by columns: header and cells."""
        layers = self.layers
        columns = [
            (" ", [str(number) for number in range(len(layers))]),
            ("Name", [layer.name for layer in layers]),
            ("Type", [layer.kind for layer in layers]),
            ("Params", [readable_count(layer.parameters) for layer in layers]),
            ("Mode", [layer.mode for layer in layers]),
        ]
        if self._has_sizes:
            columns += [
                ("FLOPs", [readable_count(layer.flops) for layer in layers]),
                ("In sizes", [str(layer.in_size) for layer in layers]),
                ("Out sizes", [str(layer.out_size) for layer in layers]),
            ]
        if self.other_parameters:
            leftover = [" ", "other params", NOT_APPLICABLE, readable_count(self.other_parameters)]
            leftover += [NOT_APPLICABLE] * (len(columns) - len(leftover))
            for (_, cells), text in zip(columns, leftover, strict=True):
                cells.append(text)
        return columns

    def __str__(self) -> str:
        columns = [[header, *cells] for header, cells in self.columns]
        widths = [max(map(len, column)) for column in columns]
        rows = [
            " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip()
            for row in zip(*columns, strict=True)
        ]
        rule = "-" * max(map(len, rows))
        sums = [f"{value:<10}{what}" for what, value in self.sums.items()]
        return "\n".join([rows[0], rule, *rows[1:], rule, *sums])

    @property
    def sums(self) -> dict[str, str]:
        """What stands below the table."""
        fixed = self.total_parameters - self.trainable_parameters
        sums = {
            "Trainable params": readable_count(self.trainable_parameters),
            "Non-trainable params": readable_count(fixed),
            "Total params": readable_count(self.total_parameters),
            "Total estimated model params size (MB)": f"{self.model_size:,.3f}",
            "Modules in train mode": str(self.modules_in_train_mode),
            "Modules in eval mode": str(self.modules_in_eval_mode),
        }
        return {**sums, "Total FLOPs": readable_count(self.total_flops)} if self._has_sizes else sums


def readable_count(number: int) -> str:
    """A count with K, M, B or T for thousands, millions, billions, trillions.

    Example:
        >>> from callbacks.layer_table import readable_count
        >>> [readable_count(n) for n in (0, 123, 1234, 132_000, 2_000_000, 5 * 10**15)]
        ['0', '123', '1.2 K', '132 K', '2.0 M', '5,000 T']
    """
    units = ["", " K", " M", " B", " T"]
    power = min((len(str(number)) - 1) // 3, len(units) - 1)
    value = number / 1000**power
    return f"{value:,.1f}{units[power]}" if power and value < 100 else f"{int(value):,d}{units[power]}"


def _run_example(model: Any) -> None:
    import engine

    inputs = model.example_input_array
    if hasattr(model, "transfer_batch_to_device"):
        inputs = model.transfer_batch_to_device(inputs, model.device, 0)
    with engine.no_grad(), engine.random.fork_rng(), _eval_mode(model):
        if isinstance(inputs, (list, tuple)):
            model(*inputs)
        elif isinstance(inputs, dict):
            model(**inputs)
        else:
            model(inputs)


@contextmanager
def _eval_mode(model: Module) -> Iterator[None]:
    """Eval mode, and afterwards the mode that each module had."""
    before = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in before:
            module.training = training


def _count(parameters: Any) -> int:
    return sum(parameter.numel() for parameter in parameters)


def _size(value: Any) -> Any:
    if hasattr(value, "shape"):
        return list(value.shape)
    if isinstance(value, (list, tuple)):
        return [_size(item) for item in value]
    return UNKNOWN_SIZE
