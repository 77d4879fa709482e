"""`engine.distributed`: honest answers for programs that ask whether they run on several processes. They never do.

>>> torch.distributed.is_available(), torch.distributed.is_initialized()
(False, False)
"""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["barrier", "destroy_process_group", "get_rank", "get_world_size", "init_process_group", "is_available",
           "is_initialized", "is_torchelastic_launched"]

_INSTEAD = "train in one process; ask is_available() first, which is False here."


def is_available() -> bool:
    """Always False: there is no communication between processes."""
    return False


def is_initialized() -> bool:
    """Always False."""
    return False


def is_torchelastic_launched() -> bool:
    """Always False."""
    return False


def init_process_group(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: several processes are not supported."""
    raise not_supported("torch.distributed.init_process_group", _INSTEAD)


def _no_group(*args: Any, **kwargs: Any) -> NoReturn:
    """ValueError, as in torch: there is no process group."""
    raise ValueError("Default process group has not been initialized: litengine runs in one process. HINT: " + _INSTEAD)


get_rank = get_world_size = barrier = destroy_process_group = _no_group
