"""DataParallel, for programs that wrap their model in it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from engine.nn.module import Module

__all__ = ["DataParallel"]


class DataParallel(Module):
    """Calls its module on the one device there is; state keys begin with ``module.`` as in torch.

    Args:
        module: the module to call.
        device_ids: at most one device.

    Raises:
        NotImplementedError: if several devices are given.

    Example::

        >>> list(nn.DataParallel(nn.Linear(2, 1)).state_dict())
        ['module.weight', 'module.bias']
    """

    def __init__(
        self, module: Module, device_ids: Sequence[Any] | None = None, output_device: Any = None, dim: int = 0
    ) -> None:
        super().__init__()
        if device_ids is not None and len(device_ids) > 1:
            raise NotImplementedError(
                f"DataParallel over {len(device_ids)} devices is not supported. HINT: give one device, or none."
            )
        self.module = module
        self.device_ids = [] if device_ids is None else list(device_ids)
        self.output_device = output_device
        self.dim = dim

    def forward(self, *inputs: Any, **kwargs: Any) -> Any:
        return self.module(*inputs, **kwargs)
