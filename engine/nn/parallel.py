"""`nn.parallel`: DataParallel, and the class that says what to do instead of DistributedDataParallel."""

from __future__ import annotations

from typing import Any, NoReturn

from engine.errors import not_supported
from engine.nn.data_parallel import DataParallel

__all__ = ["DataParallel", "DistributedDataParallel"]


class DistributedDataParallel:
    """NotImplementedError: training runs in one process."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise not_supported("DistributedDataParallel", "train the module itself, in one process.")
