"""Weight normalisation (Salimans and Kingma 2016): a weight as a length times a direction."""

from __future__ import annotations

from typing import Any

import engine
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = ["remove_weight_norm", "weight_norm"]


class _WeightNorm:
    """The forward pre-hook that computes ``name`` from ``name_g`` and ``name_v``."""

    def __init__(self, name: str, dim: int) -> None:
        self.name = name
        self.dim = dim

    def weight(self, module: Module) -> Tensor:
        g, v = getattr(module, self.name + "_g"), getattr(module, self.name + "_v")
        return v * (g / engine.norm_except_dim(v, 2, self.dim))

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.weight(module))


def weight_norm(module: Module, name: str = "weight", dim: int | None = 0) -> Module:
    """Replace the parameter `name` by a length ``name_g`` and a direction ``name_v``; returns the module.

    Args:
        dim: dimension along which each slice has a length of its own; None: one length for the whole weight.

    Raises:
        RuntimeError: if the parameter is weight-normalised already.

    Example::

        >>> layer = nn.utils.weight_norm(nn.Linear(20, 40), name="weight")
        >>> layer.weight_g.shape, layer.weight_v.shape
        (torch.Size([40, 1]), torch.Size([40, 20]))
    """
    if _find(module, name) is not None:
        raise RuntimeError(f"Cannot register two weight_norm hooks on the same parameter {name}")
    hook = _WeightNorm(name, -1 if dim is None else dim)
    weight = getattr(module, name)
    delattr(module, name)
    module.register_parameter(name + "_g", Parameter(engine.norm_except_dim(weight.detach(), 2, hook.dim)))
    module.register_parameter(name + "_v", Parameter(weight.detach()))
    setattr(module, name, hook.weight(module))
    module.register_forward_pre_hook(hook)
    return module


def remove_weight_norm(module: Module, name: str = "weight") -> Module:
    """Undo `weight_norm`: `name` is a parameter again, with the present value; returns the module.

    Raises:
        ValueError: if the parameter is not weight-normalised.

    Example::

        >>> layer = nn.utils.remove_weight_norm(nn.utils.weight_norm(nn.Linear(2, 2)))
        >>> sorted(layer.state_dict())
        ['bias', 'weight']
    """
    found = _find(module, name)
    if found is None:
        raise ValueError(f"weight_norm of '{name}' not found in {module}")
    key, hook = found
    weight = hook.weight(module).detach()
    for attribute in (name, name + "_g", name + "_v"):
        delattr(module, attribute)
    setattr(module, name, Parameter(weight))
    del module._forward_pre_hooks[key]
    return module


def _find(module: Module, name: str) -> tuple[int, _WeightNorm] | None:
    for key, (hook, *_) in module._forward_pre_hooks.items():
        if isinstance(hook, _WeightNorm) and hook.name == name:
            return key, hook
    return None
