"""Who am I: what code in a dataset may ask about the worker process it runs in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class WorkerInfo:
    """`id` (0 to num_workers - 1), `num_workers`, `seed`, and this worker's copy of the `dataset`."""

    id: int
    num_workers: int
    seed: int
    dataset: Any


_info: WorkerInfo | None = None


def get_worker_info() -> WorkerInfo | None:
    """In a `DataLoader`'s worker process: its id, the number of workers, its seed and its copy of the dataset.

    None in the main process.

    >>> torch.utils.data.get_worker_info() is None
    True
    """
    return _info


def set_worker_info(info: WorkerInfo) -> None:
    """Called once in every worker process."""
    global _info
    _info = info
