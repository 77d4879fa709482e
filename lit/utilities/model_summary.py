"""The table of a model's layers, under Lightning's names."""

from __future__ import annotations

from typing import Any

from callbacks.layer_table import LayerTable
from engine.nn import Module


class ModelSummary(LayerTable):
    """The layers of ``model`` as a table (``str``) and as lists, one item per layer shown.

    Args:
        model: the module; its ``example_input_array`` gives sizes and FLOPs.
        max_depth: levels of nesting to show; -1 for all, 0 for none.

    Example:
        >>> from lit.utilities.model_summary import ModelSummary
        >>> summary = ModelSummary(nn.Sequential(nn.Linear(4, 3), nn.ReLU()))
        >>> summary.layer_names, summary.layer_types, summary.param_nums, summary.total_parameters
        (['0', '1'], ['Linear', 'ReLU'], [15, 0], 15)
    """

    def __init__(self, model: Module, max_depth: int = 1) -> None:
        super().__init__(model, max_depth)
        modules = dict(model.named_modules())
        self.named_modules = [(layer.name, modules[layer.name]) for layer in self.layers]

    @property
    def layer_names(self) -> list[str]:
        return [layer.name for layer in self.layers]

    @property
    def layer_types(self) -> list[str]:
        return [layer.kind for layer in self.layers]

    @property
    def in_sizes(self) -> list[Any]:
        return [layer.in_size for layer in self.layers]

    @property
    def out_sizes(self) -> list[Any]:
        return [layer.out_size for layer in self.layers]

    @property
    def param_nums(self) -> list[int]:
        return [layer.parameters for layer in self.layers]

    @property
    def flop_counts(self) -> dict[str, int]:
        """FLOPs of a forward pass by layer."""
        return {layer.name: layer.flops for layer in self.layers}

    @property
    def training_modes(self) -> list[bool]:
        return [layer.mode == "train" for layer in self.layers]

    @property
    def total_training_modes(self) -> dict[str, int]:
        return {"train": self.modules_in_train_mode, "eval": self.modules_in_eval_mode}

    @property
    def total_layer_params(self) -> int:
        """The sum of ``param_nums``: layers inside layers shown count again."""
        return sum(self.param_nums)

    __repr__ = LayerTable.__str__


def summarize(lightning_module: Module, max_depth: int = 1) -> ModelSummary:
    """``ModelSummary(lightning_module, max_depth)``."""
    return ModelSummary(lightning_module, max_depth)
