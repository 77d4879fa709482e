"""`engine.multiprocessing`: Python's own multiprocessing. Tensors are copied between processes, not shared.

>>> torch.multiprocessing.get_sharing_strategy()
'copy'
"""

from __future__ import annotations

import multiprocessing
from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["get_all_sharing_strategies", "get_sharing_strategy", "set_sharing_strategy", "spawn"]


def get_all_sharing_strategies() -> set[str]:
    """The one way in which tensors reach another process: as a copy."""
    return {"copy"}


def get_sharing_strategy() -> str:
    """Always "copy"."""
    return "copy"


def set_sharing_strategy(new_strategy: str) -> None:
    """Accepted, without effect: programs set PyTorch's strategies to get around limits that copies do not have."""


def spawn(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: training runs in one process."""
    raise not_supported("torch.multiprocessing.spawn", "call the function itself, in one process, or start processes with "
                        "torch.multiprocessing.get_context('spawn').Process.")


def __getattr__(name: str) -> Any:
    return getattr(multiprocessing, name)
