"""`autocast`: accepted where it costs nothing to be without it, refused where the program asks for half precision."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from engine import cuda
from engine.dtypes import bfloat16, dtype, float16, float32
from engine.errors import not_supported

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICES = ("cpu", "cuda")


class autocast:
    """A context, and a decorator, inside which operators keep computing in the dtypes of their tensors.

    Args:
        device_type: "cpu" or "cuda".
        dtype: None or float32: float32 tensors are computed in float32, with a warning that nothing is cast.
        enabled: False makes it do nothing, silently.
        cache_enabled: accepted, without effect.

    With "cuda" and no GPU it warns and is disabled, as in torch.

    Raises:
        NotImplementedError: `dtype` is float16 or bfloat16, on a device that is there: operators are not cast by
            themselves. Convert the module and its inputs with `.to(torch.bfloat16)`.
        RuntimeError: another device.

    >>> with torch.autocast("cpu", dtype=torch.float32):
    ...     torch.ones(2, 2).mm(torch.ones(2, 2)).dtype
    torch.float32
    """

    def __init__(self, device_type: str, dtype: dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'. "
                               f"HINT: one of {_DEVICES}.")
        if enabled and device_type == "cuda" and not cuda.is_available():
            warnings.warn("autocast('cuda'): CUDA is not available, so autocast is disabled", stacklevel=2)
            enabled = False
        if enabled and dtype in (float16, bfloat16):
            raise not_supported(f"autocast to {dtype}", "leave dtype out to compute in float32, or convert the module "
                                f"and its inputs with .to({dtype}).")
        if enabled and dtype is None:
            warnings.warn("autocast: operators keep computing in the dtypes of their tensors", stacklevel=2)
        self.device = device_type
        self.fast_dtype = float32 if dtype is None else dtype
        self._enabled = enabled

    def __enter__(self) -> autocast:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def __call__(self, function: Callable) -> Callable:
        @functools.wraps(function)
        def inside(*args: Any, **kwargs: Any) -> Any:
            with self:
                return function(*args, **kwargs)

        return inside


def is_autocast_available(device_type: str) -> bool:
    """Whether operators are cast on that kind of device: nowhere yet."""
    return False


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: dtype | None = None) -> Any:
    """Decorates the forward of an `autograd.Function`; returns it unchanged, because nothing is cast."""
    return fwd if fwd is not None else lambda function: function


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Any:
    """Decorates the backward of an `autograd.Function`; returns it unchanged, because nothing is cast."""
    return bwd if bwd is not None else lambda function: function
