"""`nn.parallel`: DataParallel and its parts on one device, and the class that says what to do instead of
DistributedDataParallel."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any, NoReturn

from engine.errors import not_supported
from engine.nn.data_parallel import DataParallel
from engine.tensor import Tensor
from engine.utils._pytree import tree_map_only

__all__ = ["DataParallel", "DistributedDataParallel", "data_parallel", "gather", "parallel_apply", "replicate", "scatter"]


class DistributedDataParallel:
    """NotImplementedError: training runs in one process."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise not_supported("DistributedDataParallel", "train the module itself, in one process.")


def _one(devices: Sequence[Any], function: str) -> Any:
    if len(devices) != 1:
        raise not_supported(f"nn.parallel.{function} over {len(devices)} devices", "give one device.")
    return devices[0]


def scatter(inputs: Any, target_gpus: Sequence[Any], dim: int = 0) -> list:
    """The inputs for each of `target_gpus`, of which there is one: all of them, there. NotImplementedError for several."""
    device = _one(target_gpus, "scatter")
    return [tree_map_only(Tensor, lambda t: t.to(device), inputs)]


def gather(outputs: Sequence[Any], target_device: Any, dim: int = 0) -> Any:
    """The outputs of the one device, on `target_device`. NotImplementedError for several."""
    return tree_map_only(Tensor, lambda t: t.to(target_device), _one(outputs, "gather"))


def replicate(network: Any, devices: Sequence[Any], detach: bool = False) -> list:
    """The network for each of `devices`, of which there is one: itself. NotImplementedError for several."""
    _one(devices, "replicate")
    return [network]


def parallel_apply(modules: Sequence[Any], inputs: Sequence[Any], kwargs_tup: Sequence[Any] | None = None,
                   devices: Sequence[Any] | None = None) -> list:
    """The outputs of modules for their inputs (a tuple of arguments each)."""
    options = kwargs_tup or [{}] * len(modules)
    return [m(*(i if isinstance(i, (tuple, list)) else (i,)), **k) for m, i, k in zip(modules, inputs, options, strict=True)]


def data_parallel(module: Any, inputs: Any, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0,
                  module_kwargs: dict | None = None) -> Any:
    """`module(*inputs)` on the one device."""
    if device_ids is not None and len(device_ids) > 1:
        _one(device_ids, "data_parallel")
    return module(*(inputs if isinstance(inputs, tuple) else (inputs,)), **(module_kwargs or {}))


# torch's import path for two of them.
__path__: list[str] = []
scatter_gather = ModuleType(f"{__name__}.scatter_gather")
scatter_gather.scatter, scatter_gather.gather = scatter, gather  # type: ignore[attr-defined]
sys.modules[scatter_gather.__name__] = scatter_gather
