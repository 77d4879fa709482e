"""`engine.distributed`: honest answers for programs that ask whether they run on several processes. They never do.

>>> torch.distributed.is_available(), torch.distributed.is_initialized()
(False, False)
"""

from __future__ import annotations

from enum import Enum
from types import SimpleNamespace
from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["ProcessGroup", "ReduceOp", "all_gather", "all_gather_object", "all_reduce", "all_to_all", "barrier", "broadcast",
           "broadcast_object_list", "destroy_process_group", "gather", "gather_object", "get_backend", "get_rank",
           "get_world_size", "group", "init_process_group", "irecv", "is_available", "is_gloo_available", "is_initialized",
           "is_mpi_available", "is_nccl_available", "is_torchelastic_launched", "isend", "new_group", "nn", "recv", "reduce",
           "reduce_scatter", "scatter", "send"]

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


get_rank = get_world_size = get_backend = barrier = destroy_process_group = new_group = _no_group
all_gather = all_gather_object = all_reduce = all_to_all = broadcast = broadcast_object_list = _no_group
gather = gather_object = _no_group
reduce = reduce_scatter = scatter = send = recv = isend = irecv = _no_group
is_gloo_available = is_mpi_available = is_nccl_available = is_available
nn = SimpleNamespace(all_gather=_no_group, all_reduce=_no_group, broadcast=_no_group, reduce_scatter=_no_group)


class ReduceOp(Enum):
    """How processes combine their tensors. For annotations and default arguments: there is one process."""

    SUM, AVG, PRODUCT, MIN, MAX = range(5)


class ProcessGroup:
    """A group of processes, for annotations: nothing is an instance of it."""


class group:  # noqa: N801 - torch's name
    """The groups there are: none."""

    WORLD = None
