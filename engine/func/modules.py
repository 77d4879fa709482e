"""Modules as functions of their parameters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import engine
from engine.nn.batchnorm import _NormBase
from engine.nn.module import Module
from engine.nn.utils.stateless import functional_call as call_with
from engine.tensor import Tensor

__all__ = ["functional_call", "replace_all_batch_norm_modules_", "stack_module_state"]


def functional_call(module: Module, parameter_and_buffer_dicts: Any, args: Any = None, kwargs: dict[str, Any] | None = None,
                    *, tie_weights: bool = True, strict: bool = False) -> Any:
    """``module(*args, **kwargs)`` with other tensors in place of its parameters and buffers.

    Args:
        parameter_and_buffer_dicts: {dotted name: tensor}, or a sequence of such dicts.
        tie_weights: whether a tensor that has several names in the module is replaced under all of them.
        strict: whether all names must be given and no others.

    Raises:
        ValueError: for a name in several dicts, or different tensors for tied names.
        RuntimeError: if `strict` and the names differ.

    Example::

        >>> layer = nn.Linear(1, 1)
        >>> new = {"weight": torch.tensor([[2.0]]), "bias": torch.tensor([1.0])}
        >>> torch.func.functional_call(layer, new, torch.tensor([3.0]))
        tensor([7.])
    """
    given = parameter_and_buffer_dicts
    if not isinstance(given, dict):
        if not isinstance(given, Sequence) or not all(isinstance(d, dict) for d in given):
            raise ValueError("Expected parameter_and_buffer_dicts to be a dict, or a list/tuple of dicts, but got "
                             f"{type(given)}")
        names = [name for d in given for name in d]
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise ValueError(f"{repeated} appeared in multiple dictionaries; behavior of functional call is ambiguous")
        given = {name: value for d in given for name, value in d.items()}
    return call_with(module, given, args, kwargs, tie_weights=tie_weights, strict=strict)


def stack_module_state(models: Sequence[Module]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The parameters and the buffers of several modules of one class, stacked along a new first dimension, for `vmap`.

    Raises:
        RuntimeError: without models, or for models of different classes, modes or `requires_grad`.

    Example::

        >>> parameters, buffers = torch.func.stack_module_state([nn.Linear(2, 1) for _ in range(3)])
        >>> parameters["weight"].shape
        torch.Size([3, 1, 2])
    """
    if len(models) == 0:
        raise RuntimeError("stack_module_state: Expected at least one model, got 0.")
    if any(m.training != models[0].training for m in models):
        raise RuntimeError("stack_module_state: Expected all models to have the same training/eval mode.")
    if any(type(m) is not type(models[0]) for m in models):
        raise RuntimeError("stack_module_state: Expected all models to be of the same class.")
    parameters = [dict(m.named_parameters()) for m in models]
    buffers = [dict(m.named_buffers()) for m in models]
    return ({name: _stacked(name, [p[name] for p in parameters]) for name in parameters[0]},
            {name: _stacked(name, [b[name] for b in buffers]) for name in buffers[0]})


def _stacked(name: str, tensors: list[Tensor]) -> Tensor:
    wants = tensors[0].requires_grad
    if any(t.requires_grad != wants for t in tensors):
        raise RuntimeError(f"Expected {name} from each model to have the same .requires_grad")
    return engine.stack([t.detach() for t in tensors]).requires_grad_(wants)


def replace_all_batch_norm_modules_(root: Module) -> Module:
    """Have all batch and instance norms below `root` use the batch's statistics only: running ones cannot be batched."""
    for module in root.modules():
        if isinstance(module, _NormBase):
            module.running_mean = module.running_var = module.num_batches_tracked = None
            module.track_running_stats = False
    return root
