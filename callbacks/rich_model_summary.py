"""RichModelSummary: the table of layers, drawn by ``rich`` (extra ``rich``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from callbacks.layer_table import LayerTable
from callbacks.model_summary import ModelSummary
from callbacks.rich_package import require_rich

if TYPE_CHECKING:
    from lit import Trainer

RIGHT = ("Params", "FLOPs", "In sizes", "Out sizes")


class RichModelSummary(ModelSummary):
    """Print the table of the model's layers with ``rich`` when ``fit`` starts.

    Args:
        max_depth: levels of nesting to show: 1 the module's own layers, -1 all, 0 no table at all.
        **summarize_kwargs: ``header_style`` of the table ("bold magenta").

    Raises:
        ModuleNotFoundError: ``rich`` is not installed.
        ValueError: ``max_depth`` is less than -1.

    Example:
        >>> from callbacks import RichModelSummary
        >>> RichModelSummary(max_depth=2).role
        'model_summary'
    """

    def __init__(self, max_depth: int = 1, **summarize_kwargs: Any) -> None:
        require_rich("RichModelSummary")
        super().__init__(max_depth, **summarize_kwargs)
        self._header_style = summarize_kwargs.get("header_style", "bold magenta")

    def show(self, table: LayerTable, trainer: Trainer) -> None:
        """Print it."""
        from rich import get_console
        from rich.table import Table

        drawn = Table(header_style=self._header_style)
        columns = table.columns
        for header, _ in columns:
            drawn.add_column(header, justify="right" if header in RIGHT else "left", style="dim" if header == " " else "")
        for row in zip(*(cells for _, cells in columns), strict=True):
            drawn.add_row(*row)
        sums = Table.grid()
        for what, value in table.sums.items():
            sums.add_row(f"[bold]{what}[/]: {value}")
        console = get_console()
        console.print(drawn)
        console.print(sums)
