"""Gradient clipping, in place on the ``.grad`` of parameters."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import engine
from engine import backend, pool
from engine.gpu import many
from engine.tensor import Tensor, wrap

__all__ = ["clip_grad_norm", "clip_grad_norm_", "clip_grad_value_", "clip_grads_with_norm_", "get_total_norm"]

# Clipping runs once per step over every parameter, so it works on the raw arrays: no graph, no Tensor per gradient. Large
# ones are taken in pieces, on the engine's threads.


def _as_list(tensors: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _gradients(parameters: Tensor | Iterable[Tensor]) -> list[Tensor]:
    return [parameter.grad for parameter in _as_list(parameters) if parameter.grad is not None]


def _norm(xp: Any, array: Any, order: float) -> Any:
    """The norm of all elements, a 0-d value in at least float32."""
    flat = array.reshape(-1)
    if flat.dtype.itemsize < 4:
        flat = flat.astype(xp.float32)
    if order == 2:  # on a GPU without cuBLAS, whose products CuPy does not let into a graph
        squares = (flat * flat.conj()).sum() if backend.is_on_device(flat) else xp.vdot(flat, flat)
        return xp.sqrt(squares.real)
    size = xp.abs(flat)
    if order == math.inf:
        return size.max() if size.size else xp.zeros((), size.dtype)
    if order == -math.inf:
        return size.min()
    if order == 0:
        return xp.count_nonzero(size).astype(size.dtype)
    return xp.power(xp.power(size, order).sum(), 1.0 / order)


def get_total_norm(
    tensors: Tensor | Iterable[Tensor],
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The `norm_type`-norm of all elements of all tensors, as a 0-d tensor (0 if there are none).

    Args:
        error_if_nonfinite: whether a norm of NaN or infinity is an error.
        foreach: accepted, without effect.

    Raises:
        RuntimeError: if the norm is not finite and `error_if_nonfinite`.

    Example::

        >>> nn.utils.get_total_norm([torch.tensor([3.0]), torch.tensor([4.0])])
        tensor(5.)
    """
    tensors = _as_list(tensors)
    order = float(norm_type)
    if not tensors:
        return engine.tensor(0.0)
    first = tensors[0]._array
    xp = backend.namespace(first)
    arrays = [tensor._array for tensor in tensors]  # "norm" 0 counts the tensors that have one, so these stay whole
    fused = many.total_norm(arrays, order) if tensors[0].is_cuda else NotImplemented
    if fused is NotImplemented:
        norms = pool.in_pieces(lambda piece: _norm(xp, piece, order), arrays, cut=order != 0)
        fused = xp.asarray(_norm(xp, xp.stack(norms), order), dtype=first.real.dtype)
    total = wrap(fused)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {order} for gradients from `parameters` is non-finite, so it cannot be "
            "clipped. To disable this error and scale the gradients by the non-finite norm anyway, set "
            "`error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensor | Iterable[Tensor], max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by min(1, max_norm / (total_norm + 1e-6)), `total_norm` being their norm.

    Example::

        >>> p = nn.Parameter(torch.zeros(1))
        >>> p.grad = torch.tensor([4.0])
        >>> nn.utils.clip_grads_with_norm_(p, 2.0, torch.tensor(4.0))
        >>> p.grad
        tensor([2.0000])
    """
    norm, grads = total_norm._array, _gradients(parameters)
    if total_norm.is_cuda and grads and many.clip([grad._array for grad in grads], norm, float(max_norm)):
        _change(grads, None, "clip_grad_norm_")
        return
    factor = backend.namespace(norm).minimum(float(max_norm) / (norm + 1e-6), 1.0)
    if not total_norm.is_cuda and factor == 1.0:
        return  # on a GPU the multiplication is cheaper than waiting to know

    def scale(array: Any) -> None:
        array *= factor.astype(array.dtype)

    _change(grads, scale, "clip_grad_norm_")


def _change(grads: list[Tensor], fn: Callable[[Any], Any] | None, name: str) -> None:
    """Call `fn` (None: it was done) on the gradients' memory, and note that they have changed."""
    if grads and fn is not None:
        pool.in_pieces(fn, [grad._array for grad in grads])
    for grad in grads:
        grad._bump(name)


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale the gradients of `parameters` so that their common norm is at most `max_norm`.

    Returns:
        The norm before clipping, a 0-d tensor.

    Raises:
        RuntimeError: if the norm is not finite and `error_if_nonfinite`.

    Example::

        >>> p = nn.Parameter(torch.zeros(2))
        >>> p.grad = torch.tensor([3.0, 4.0])
        >>> nn.utils.clip_grad_norm_([p], max_norm=1.0)
        tensor(5.)
        >>> p.grad
        tensor([0.6000, 0.8000])
    """
    parameters = _as_list(parameters)
    total_norm = get_total_norm(_gradients(parameters), norm_type, error_if_nonfinite, foreach)
    clip_grads_with_norm_(parameters, max_norm, total_norm, foreach)
    return total_norm


def clip_grad_norm(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of `clip_grad_norm_`: works, with a FutureWarning."""
    warnings.warn("nn.utils.clip_grad_norm is deprecated: write nn.utils.clip_grad_norm_.", FutureWarning, stacklevel=2)
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of the gradients to [-clip_value, clip_value].

    Example::

        >>> p = nn.Parameter(torch.zeros(2))
        >>> p.grad = torch.tensor([3.0, -0.5])
        >>> nn.utils.clip_grad_value_(p, 1.0)
        >>> p.grad
        tensor([ 1.0000, -0.5000])
    """
    limit = float(clip_value)
    _change(
        _gradients(parameters),
        lambda array: backend.namespace(array).clip(array, -limit, limit, out=array),
        "clip_grad_value_",
    )
