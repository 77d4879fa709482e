"""All parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

import engine
from engine.tensor import Tensor

__all__ = ["parameters_to_vector", "vector_to_parameters"]


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after the other, as a 1-D tensor.

    Raises:
        TypeError: if they are on different devices.

    Example::

        >>> nn.utils.parameters_to_vector([torch.ones(2), torch.zeros(1, 2)])
        tensor([1., 1., 0., 0.])
    """
    parameters = list(parameters)
    devices = {str(parameter.device) for parameter in parameters}
    if len(devices) > 1:
        raise TypeError(
            f"Found two parameters on different devices, this is currently not supported: {sorted(devices)}"
        )
    return engine.cat([parameter.reshape(-1) for parameter in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the elements of `vec`, in order; they then share its storage.

    Raises:
        TypeError: if `vec` is not a tensor.

    Example::

        >>> p = nn.Parameter(torch.zeros(1, 2))
        >>> nn.utils.vector_to_parameters(torch.tensor([1.0, 2.0]), [p])
        >>> p.detach()
        tensor([[1., 2.]])
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected torch.Tensor, but got: {type(vec)}")
    start = 0
    for parameter in parameters:
        end = start + parameter.numel()
        parameter.data = vec[start:end].view_as(parameter).data
        start = end
