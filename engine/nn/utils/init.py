"""Making a module whose parameters are about to be overwritten."""

from __future__ import annotations

import inspect
from typing import Any

from engine import random
from engine.nn.module import Module

__all__ = ["skip_init"]


def skip_init(module_cls: type[Module], *args: Any, **kwargs: Any) -> Module:
    """`module_cls(*args, **kwargs)` without moving the random numbers on: its parameters are meant to be overwritten.

    What they hold is undefined in torch; here they hold what the module's own initialisation gave them.

    Raises:
        RuntimeError: if the class is no Module, or takes no `device`.

    Example::

        >>> nn.utils.skip_init(nn.Linear, 2, 3).weight.shape
        torch.Size([3, 2])
    """
    if not issubclass(module_cls, Module):
        raise RuntimeError(f"Expected a Module; got {module_cls}")
    if "device" not in inspect.signature(module_cls).parameters:
        raise RuntimeError("Module must support a 'device' arg to skip initialization")
    with random.fork_rng():
        return module_cls(*args, **kwargs)
