"""`engine.cuda`: what torch.cuda offers, on CuPy. Everything answers honestly where there is no GPU."""

from __future__ import annotations

import importlib
from typing import Any

from engine import backend
from engine.errors import no_attribute

from .devices import (
    can_device_access_peer,
    current_device,
    device,
    device_count,
    device_of,
    get_arch_list,
    get_device_capability,
    get_device_name,
    get_device_properties,
    is_available,
    is_bf16_supported,
    set_device,
    synchronize,
)
from .memory import (
    OutOfMemoryError,
    empty_cache,
    max_memory_allocated,
    max_memory_reserved,
    mem_get_info,
    memory_allocated,
    memory_reserved,
    memory_stats,
    memory_summary,
    reset_peak_memory_stats,
    set_per_process_memory_fraction,
)
from .random import (
    get_rng_state,
    get_rng_state_all,
    initial_seed,
    manual_seed,
    manual_seed_all,
    seed,
    seed_all,
    set_rng_state,
    set_rng_state_all,
)
from .streams import Event, Stream, StreamContext, current_stream, default_stream, set_stream, stream

__all__ = ["Event", "OutOfMemoryError", "Stream", "StreamContext", "can_device_access_peer", "current_device",
           "current_stream", "default_stream", "device", "device_count", "device_of", "empty_cache", "get_arch_list",
           "get_device_capability", "get_device_name", "get_device_properties", "get_rng_state", "get_rng_state_all", "init",
           "initial_seed", "is_available", "is_bf16_supported", "is_initialized", "manual_seed", "manual_seed_all",
           "max_memory_allocated", "max_memory_reserved", "mem_get_info", "memory_allocated", "memory_reserved",
           "memory_stats", "memory_summary", "reset_peak_memory_stats", "seed", "seed_all", "set_device",
           "set_per_process_memory_fraction", "set_rng_state", "set_rng_state_all", "set_stream", "stream", "synchronize"]

_initialized = False  # that torch's own lazy start has happened, which libraries look at before they save random states
_LAZY = {"amp": "amp", "make_graphed_callables": "graphed",
         **dict.fromkeys(("detect_sync", "get_sync_debug_mode", "set_sync_debug_mode"), "sync"),
         **dict.fromkeys(("CUDAGraph", "graph", "graph_pool_handle", "is_current_stream_capturing"), "graphs")}


def is_initialized() -> bool:
    """Whether a GPU is in use; there is no separate initialisation here."""
    return is_available()


def init() -> None:
    """Nothing to do: CuPy initialises on first use. RuntimeError without a GPU."""
    backend.require_cuda()


def __getattr__(name: str) -> Any:
    if name in _LAZY:  # loaded when they are used
        module = importlib.import_module(f"{__name__}.{_LAZY[name]}")
        return module if _LAZY[name] == name else getattr(module, name)
    raise no_attribute(__name__, name, __all__)
