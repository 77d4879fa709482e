"""Spectral normalisation (Miyato et al. 2018): a weight divided by its largest singular value."""

from __future__ import annotations

from typing import Any

import engine
from engine.nn import functional as F
from engine.nn.conv import ConvTranspose1d, ConvTranspose2d, ConvTranspose3d
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = ["remove_spectral_norm", "spectral_norm"]


class _SpectralNorm:
    """The forward pre-hook that computes ``name`` from ``name_orig``; u and v follow its singular vectors."""

    def __init__(self, name: str, steps: int, eps: float, dim: int) -> None:
        self.name = name
        self.steps = steps
        self.eps = eps
        self.dim = dim

    def matrix(self, weight: Tensor) -> Tensor:
        """The weight with `dim` as rows and everything else as columns."""
        weight = weight.transpose(0, self.dim) if self.dim else weight
        return weight.reshape(weight.shape[0], -1)

    def normalised(self, vector: Tensor) -> Tensor:
        return F.normalize(vector, dim=0, eps=self.eps)

    def weight(self, module: Module, iterate: bool) -> Tensor:
        original = getattr(module, self.name + "_orig")
        u, v = getattr(module, self.name + "_u"), getattr(module, self.name + "_v")
        matrix = self.matrix(original)
        if iterate:
            with engine.no_grad():
                for _ in range(self.steps):
                    v.copy_(self.normalised(matrix.t() @ u))
                    u.copy_(self.normalised(matrix @ v))
            u, v = u.clone(), v.clone()  # the graph keeps these, and the next step changes the buffers
        return original / (u * (matrix @ v)).sum()

    def __call__(self, module: Module, args: Any) -> None:
        setattr(module, self.name, self.weight(module, module.training))


def spectral_norm(
    module: Module, name: str = "weight", n_power_iterations: int = 1, eps: float = 1e-12, dim: int | None = None
) -> Module:
    """Divide the parameter `name` by its largest singular value in every forward; returns the module.

    The parameter is kept as ``name_orig``; the buffers ``name_u`` and ``name_v`` follow its singular vectors by
    `n_power_iterations` steps per forward in training.

    Args:
        eps: smallest norm that is divided by.
        dim: dimension of the outputs; default 1 for transposed convolutions, else 0.

    Raises:
        RuntimeError: if the parameter is spectrally normalised already.
        ValueError: if `n_power_iterations` is not positive.

    Example::

        >>> layer = nn.utils.spectral_norm(nn.Linear(20, 40))
        >>> layer.weight_u.shape, layer.weight_v.shape
        (torch.Size([40]), torch.Size([20]))
    """
    if _find(module, name) is not None:
        raise RuntimeError(f"Cannot register two spectral_norm hooks on the same parameter {name}")
    if n_power_iterations <= 0:
        raise ValueError(f"Expected n_power_iterations to be positive, but got n_power_iterations={n_power_iterations}")
    if dim is None:
        dim = 1 if isinstance(module, (ConvTranspose1d, ConvTranspose2d, ConvTranspose3d)) else 0
    hook = _SpectralNorm(name, n_power_iterations, eps, dim)
    weight = getattr(module, name)
    rows, columns = hook.matrix(weight.detach()).shape
    u = hook.normalised(weight.detach().new_empty(rows).normal_(0, 1))
    v = hook.normalised(weight.detach().new_empty(columns).normal_(0, 1))
    delattr(module, name)
    module.register_parameter(name + "_orig", weight)
    setattr(module, name, weight.detach())
    module.register_buffer(name + "_u", u)
    module.register_buffer(name + "_v", v)
    module.register_forward_pre_hook(hook)
    return module


def remove_spectral_norm(module: Module, name: str = "weight") -> Module:
    """Undo `spectral_norm`: `name` is a parameter again, with the present value; returns the module.

    Raises:
        ValueError: if the parameter is not spectrally normalised.

    Example::

        >>> layer = nn.utils.remove_spectral_norm(nn.utils.spectral_norm(nn.Linear(2, 2)))
        >>> sorted(layer.state_dict())
        ['bias', 'weight']
    """
    found = _find(module, name)
    if found is None:
        raise ValueError(f"spectral_norm of '{name}' not found in {module}")
    key, hook = found
    with engine.no_grad():
        weight = hook.weight(module, iterate=False)
    for attribute in (name, name + "_orig", name + "_u", name + "_v"):
        delattr(module, attribute)
    setattr(module, name, Parameter(weight.detach()))
    del module._forward_pre_hooks[key]
    return module


def _find(module: Module, name: str) -> tuple[int, _SpectralNorm] | None:
    for key, (hook, *_) in module._forward_pre_hooks.items():
        if isinstance(hook, _SpectralNorm) and hook.name == name:
            return key, hook
    return None
