"""Moving a Module to another dtype or device: ``to``, ``cuda``, ``half`` and their kin, all through ``_apply``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import engine
from engine.gpu import order
from engine.nn.parameter import is_lazy
from engine.tensor import Tensor

__all__ = ["ConversionMethods"]


class ConversionMethods:
    """The part of Module that converts its tensors in place: Parameters stay the same objects, so optimizers hold."""

    if TYPE_CHECKING:  # what Module itself brings
        children: Callable[[], Iterator[Any]]

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        """Replace the data of every parameter, gradient and buffer by ``fn(data)``."""
        if recurse:
            for child in self.children():
                child._apply(fn)
        values = self.__dict__
        with engine.no_grad():
            for name in values["_parameter_names"]:
                parameter = values[name]
                if parameter is not None:
                    grad = parameter.grad
                    parameter.grad = None  # a gradient must match its tensor, so it moves after it
                    parameter.data = fn(parameter.data)
                    if grad is not None:
                        parameter.grad = fn(grad.detach()).requires_grad_(grad.requires_grad)
            for name in values["_buffer_names"]:
                buffer = values[name]
                if is_lazy(buffer):
                    buffer.data = fn(buffer.data)
                elif buffer is not None:
                    values[name] = fn(buffer)
        return self

    def to(self, *args: Any, **kwargs: Any) -> Any:
        """Convert in place and return the module: ``to(device)``, ``to(dtype)``, ``to(device, dtype)``, ``to(tensor)``.

        A dtype is applied to floating point (and complex) tensors only; integer buffers just move. A channels-last
        ``memory_format`` is for tensors of its rank on a GPU; the CPU has no other order than rows.

        Raises:
            TypeError: if the dtype is not floating point or complex.

        Example::

            >>> nn.Linear(2, 1).to(torch.float64).weight.dtype
            torch.float64
        """
        memory_format = kwargs.pop("memory_format", None)
        device, dtype, non_blocking = _parse_to(*args, **kwargs)
        if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
            raise TypeError(
                f"nn.Module.to only accepts floating point or complex dtypes, but got desired dtype={dtype}"
            )

        def convert(tensor: Tensor) -> Tensor:
            wanted = dtype if tensor.is_floating_point() or tensor.is_complex() else None
            return tensor.to(
                device=tensor.device if device is None else device,
                dtype=tensor.dtype if wanted is None else wanted,
                non_blocking=non_blocking,
                memory_format=memory_format if tensor.dim() == order.rank_of(memory_format) else None,
            )

        return self._apply(convert)

    def to_empty(self, *, device: Any, recurse: bool = True) -> Any:
        """Move to `device` with uninitialised values."""
        return self._apply(lambda tensor: engine.empty_like(tensor, device=device), recurse=recurse)

    def cpu(self) -> Any:
        """Move all parameters and buffers to the CPU."""
        return self._apply(lambda tensor: tensor.cpu())

    def cuda(self, device: Any = None) -> Any:
        """Move all parameters and buffers to a CUDA device."""
        return self._apply(lambda tensor: tensor.cuda(device))

    def type(self, dst_type: Any) -> Any:
        """Cast all parameters and buffers, integer ones too, to `dst_type`."""
        return self._apply(lambda tensor: tensor.type(dst_type))

    def float(self) -> Any:
        """Cast floating point parameters and buffers to float32."""
        return self._cast_floating(engine.float32)

    def double(self) -> Any:
        """Cast floating point parameters and buffers to float64."""
        return self._cast_floating(engine.float64)

    def half(self) -> Any:
        """Cast floating point parameters and buffers to float16."""
        return self._cast_floating(engine.float16)

    def bfloat16(self) -> Any:
        """Cast floating point parameters and buffers to bfloat16."""
        return self._cast_floating(engine.bfloat16)

    def _cast_floating(self, dtype: Any) -> Any:
        return self._apply(lambda tensor: tensor.to(dtype) if tensor.is_floating_point() else tensor)

    def share_memory(self) -> Any:
        """Not supported.

        Raises:
            NotImplementedError: always; DataLoader workers share batches on their own, models are sent by pickling.
        """
        raise NotImplementedError("Module.share_memory is not supported: pass the module's state_dict to the process")


def _parse_to(*args: Any, **kwargs: Any) -> tuple[Any, Any, bool]:
    """(device, dtype, non_blocking) of any of the call forms of ``to``."""
    device, dtype = kwargs.pop("device", None), kwargs.pop("dtype", None)
    non_blocking = kwargs.pop("non_blocking", False)
    other = kwargs.pop("tensor", None)
    if kwargs:
        raise TypeError(f"to() received an invalid argument: {next(iter(kwargs))!r}")
    for arg in args:
        if isinstance(arg, Tensor):
            other = arg
        elif isinstance(arg, engine.dtype):
            dtype = arg
        elif isinstance(arg, bool):
            non_blocking = arg
        elif arg is not None:
            device = arg
    if other is not None:
        device, dtype = other.device, other.dtype
    return None if device is None else engine.device(device), dtype, non_blocking
