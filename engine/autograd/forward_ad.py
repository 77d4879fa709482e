"""Forward mode as torch spells it: dual numbers, made by `make_dual` and taken apart by `unpack_dual`.

A dual tensor is an alias of its primal that requires grad; its tangent is remembered by the level. What a tensor computed
from dual ones has for a tangent is J v, found by two backward passes when it is asked for. So operators must record: under
`no_grad` there are no tangents.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .api import grad
from .graph import Hooks
from .modes import enable_grad, state

__all__ = ["UnpackedDualTensor", "dual_level", "enter_dual_level", "exit_dual_level", "make_dual", "unpack_dual"]

_levels: list[list[tuple[Any, Any]]] = []  # per level: (dual tensor, tangent)


class UnpackedDualTensor(NamedTuple):
    """What a dual tensor is made of; the tangent is None if nothing it was computed from has one."""

    primal: Any
    tangent: Any


def enter_dual_level() -> int:
    """Begin a level of dual numbers; RuntimeError inside another one."""
    if _levels:
        raise RuntimeError("Nested forward mode AD is not supported at the moment")
    _levels.append([])
    return len(_levels) - 1


def exit_dual_level(*, level: int | None = None) -> None:
    """End the level: tangents are forgotten."""
    if level not in (None, len(_levels) - 1):
        raise RuntimeError(f"Trying to exit a forward AD level that was not the last one that was created: {level}")
    _levels.pop()


class dual_level:
    """A context in which dual numbers exist.

    >>> import engine.autograd.forward_ad as fwAD
    >>> with fwAD.dual_level():
    ...     x = fwAD.make_dual(torch.tensor(2.), torch.tensor(1.))
    ...     fwAD.unpack_dual(x ** 3).tangent
    tensor(12.)
    """

    def __enter__(self) -> int:
        return enter_dual_level()

    def __exit__(self, *exc: object) -> None:
        exit_dual_level()


def _need_level(what: str, level: int | None) -> list:
    if not _levels or level not in (None, len(_levels) - 1):
        raise RuntimeError(f"Trying to {what} outside of a forward AD level: use `with forward_ad.dual_level():`")
    return _levels[-1]


def make_dual(tensor: Any, tangent: Any, *, level: int | None = None) -> Any:
    """A tensor with the values of `tensor` and a tangent of the same shape and dtype."""
    pairs = _need_level("create a dual Tensor for forward AD", level)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise ValueError(f"Expected primal to be floating point or complex, but got: {tensor.dtype}")
    if tensor.shape != tangent.shape or tensor.dtype != tangent.dtype:
        raise RuntimeError("Expected tangent to have the same shape and dtype as the primal, got "
                           f"{list(tangent.shape)} of {tangent.dtype} for {list(tensor.shape)} of {tensor.dtype}")
    dual = tensor.view_as(tensor) if tensor.requires_grad and state.grad else tensor.detach().requires_grad_()
    pairs.append((dual, tangent))
    return dual


def unpack_dual(tensor: Any, *, level: int | None = None) -> UnpackedDualTensor:
    """`(primal, tangent)` of a tensor. Outside of a level, and for tensors without one, the tangent is None."""
    if not _levels:
        return UnpackedDualTensor(tensor, None)
    pairs = _need_level("unpack a dual Tensor", level)
    for dual, tangent in reversed(pairs):
        if tensor is dual:
            return UnpackedDualTensor(tensor.detach(), tangent)
    if not tensor.requires_grad or not pairs:
        return UnpackedDualTensor(tensor, None)
    duals, tangents = zip(*pairs)
    with enable_grad():
        weight = Hooks.wrap(tensor.detach()._array * 0).requires_grad_()
        slopes = grad(tensor, duals, weight, retain_graph=True, create_graph=True, allow_unused=True)
        used = [(s, t) for s, t in zip(slopes, tangents) if s is not None]
        if not used:
            return UnpackedDualTensor(tensor, None)
        linear = [(s, t) for s, t in used if s.requires_grad]
        slope = None
        if linear:
            slope, = grad([s for s, _ in linear], weight, [t for _, t in linear], retain_graph=True, allow_unused=True)
    return UnpackedDualTensor(tensor.detach(), weight.detach() if slope is None else slope)
