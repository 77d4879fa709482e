"""How tensors print: torch's layout."""

from __future__ import annotations

from typing import Any


def set_printoptions(precision: Any = None, threshold: Any = None, edgeitems: Any = None, linewidth: Any = None,
                     profile: Any = None, sci_mode: Any = None) -> None:
    """Set how tensors print."""


def tensor_repr(t: Any) -> str:
    """The text of a tensor."""
    return f"tensor({t._array!r})"
