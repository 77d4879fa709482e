"""ModelSummary: prints the model's layers before training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callbacks.base import Callback
from callbacks.layer_table import LayerTable

if TYPE_CHECKING:
    from lit import LightningModule, Trainer


class ModelSummary(Callback):
    """Print a table of the model's layers when ``fit`` starts.

    Args:
        max_depth: levels of nesting to show: 1 the module's own layers, -1 all, 0 no table at all.
        **summarize_kwargs: for subclasses that print the table their way.

    If the module sets ``self.example_input_array``, the table has the layers' input and output sizes and the
    floating-point operations of their matrix products.
    ``callbacks.layer_table.LayerTable`` makes the same table without a Trainer.

    Raises:
        ValueError: ``max_depth`` is less than -1.

    Example:
        >>> from callbacks import ModelSummary
        >>> ModelSummary(max_depth=-1).role
        'model_summary'
    """

    role = "model_summary"

    def __init__(self, max_depth: int = 1, **summarize_kwargs: Any) -> None:
        super().__init__()
        self._summarize_kwargs = summarize_kwargs
        if max_depth < -1:
            raise ValueError(f"ModelSummary(max_depth={max_depth}): expected -1 (all levels), 0 (no table) or more.")
        self._max_depth = max_depth

    def on_fit_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Print the table."""
        if self._max_depth:
            self.show(LayerTable(pl_module, self._max_depth), trainer)

    def show(self, table: LayerTable, trainer: Trainer) -> None:
        """Print ``table``. Override it to print it your way."""
        trainer.print(f"\n{table}")
