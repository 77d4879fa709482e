"""`autocast`: a region in which operators choose their dtype (the lists are in `engine/ops/casting.py`)."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

from engine import cuda
from engine.autograd.modes import decorate
from engine.dtypes import bfloat16, dtype, float16, float64
from engine.tensor import Tensor

from .switches import (
    autocast_decrement_nesting,
    autocast_increment_nesting,
    clear_autocast_cache,
    get_autocast_dtype,
    is_autocast_cache_enabled,
    is_autocast_enabled,
    set_autocast_cache_enabled,
    set_autocast_dtype,
    set_autocast_enabled,
)

__all__ = ["autocast", "custom_bwd", "custom_fwd", "is_autocast_available"]

_DEVICES = ("cpu", "cuda")
_FAST = (bfloat16, float16)


class autocast:
    """A context, and a decorator, inside which products and convolutions run in a half-precision dtype.

    Operators follow torch's lists. On the CPU matrix products, convolutions, recurrent layers and attention are computed
    in `dtype`; losses, `linalg`, `fft` and their like in float32; `cat` and `stack` in the widest dtype among their
    inputs; everything else in the dtype of its inputs. On CUDA float32 takes norms, softmax, sums, powers, logarithms
    and exponentials as well, but neither `linalg` nor `fft`, and `binary_cross_entropy` is refused (RuntimeError).
    float64 and integer tensors are never cast. Casts are part of the graph, so gradients arrive in the dtype of the
    parameters. The state is per thread.

    Args:
        device_type: "cpu" or "cuda": tensors on other devices are left alone.
        dtype: bfloat16 or float16; by default bfloat16 on the CPU and float16 on CUDA. Another one disables it, with a
            warning.
        enabled: False switches autocast off inside, also within another context.
        cache_enabled: whether the cast of a parameter is kept until the outermost context ends.

    With "cuda" and no GPU it warns and is disabled, as in torch.

    Raises:
        RuntimeError: another device.

    >>> with torch.autocast("cpu"):
    ...     y = torch.ones(2, 2) @ torch.ones(2, 2)
    >>> y
    tensor([[2., 2.],
            [2., 2.]], dtype=torch.bfloat16)
    """

    def __init__(self, device_type: str, dtype: dtype | None = None, enabled: bool = True,
                 cache_enabled: bool | None = None) -> None:
        if not isinstance(device_type, str):
            raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
        if device_type not in _DEVICES:
            raise RuntimeError(f"User specified an unsupported autocast device_type '{device_type}'. "
                               f"HINT: one of {_DEVICES}.")
        self.device = device_type
        self.fast_dtype = get_autocast_dtype(device_type) if dtype is None else dtype
        if enabled and device_type == "cuda" and not cuda.is_available():
            warnings.warn("autocast('cuda'): CUDA is not available, so autocast is disabled", stacklevel=2)
            enabled = False
        elif enabled and self.fast_dtype not in _FAST:
            warnings.warn(f"In {device_type.upper()} autocast, but the target dtype {self.fast_dtype} is not supported. "
                          f"Disabling autocast. It supports {', '.join(map(str, _FAST))}.", stacklevel=2)
            enabled = False
        self._enabled = enabled
        self._cache_enabled = is_autocast_cache_enabled() if cache_enabled is None else cache_enabled

    def __enter__(self) -> autocast:
        self._before = (is_autocast_enabled(self.device), get_autocast_dtype(self.device), is_autocast_cache_enabled())
        set_autocast_enabled(self.device, self._enabled)
        set_autocast_dtype(self.device, self.fast_dtype)
        set_autocast_cache_enabled(self._cache_enabled)
        autocast_increment_nesting()
        return self

    def __exit__(self, *exc: object) -> None:
        if autocast_decrement_nesting() == 0:
            clear_autocast_cache()
        enabled, fast, cached = self._before
        set_autocast_enabled(self.device, enabled)
        set_autocast_dtype(self.device, fast)
        set_autocast_cache_enabled(cached)

    def __call__(self, function: Callable) -> Callable:
        return decorate(self._again, function)

    def _again(self) -> autocast:
        """A context like this one, so that the decorated function may call itself."""
        return autocast(self.device, self.fast_dtype, self._enabled, self._cache_enabled)


def is_autocast_available(device_type: str) -> bool:
    """Whether operators can be cast on that kind of device."""
    return device_type in _DEVICES


def _cast(value: Any, device_type: str, to: dtype) -> Any:
    """Floating tensors below float64 on the device, also inside of dicts, lists and tuples, in another dtype."""
    if isinstance(value, Tensor):
        fits = value.is_floating_point() and value.device.type == device_type and value.dtype is not float64  # type: ignore[attr-defined]
        return value.to(to) if fits else value  # type: ignore[attr-defined]
    if isinstance(value, dict):
        return {_cast(k, device_type, to): _cast(v, device_type, to) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_cast(v, device_type, to) for v in value)
    return value


def custom_fwd(fwd: Callable | None = None, *, device_type: str, cast_inputs: dtype | None = None) -> Any:
    """Decorates the forward of an `autograd.Function` for use under autocast.

    With `cast_inputs`, floating tensors are cast to it and forward runs with autocast off; without, forward runs with
    the surrounding autocast. Outside of autocast it changes nothing. ValueError for a device that is not a string.
    """
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if fwd is None:
        return functools.partial(custom_fwd, device_type=device_type, cast_inputs=cast_inputs)

    @functools.wraps(fwd)
    def forward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        ctx._autocast_dtype = get_autocast_dtype(device_type)
        ctx._used_autocast = cast_inputs is None and is_autocast_enabled(device_type)
        if cast_inputs is None or not is_autocast_enabled(device_type):
            return fwd(ctx, *args, **kwargs)
        with autocast(device_type, enabled=False):
            return fwd(ctx, *_cast(args, device_type, cast_inputs), **_cast(kwargs, device_type, cast_inputs))

    return forward


def custom_bwd(bwd: Callable | None = None, *, device_type: str) -> Any:
    """Decorates the backward of an `autograd.Function`: it runs with the autocast that its forward ran with."""
    if not isinstance(device_type, str):
        raise ValueError(f"Expected `device_type` of type `str`, got: `{type(device_type)}`")
    if bwd is None:
        return functools.partial(custom_bwd, device_type=device_type)

    @functools.wraps(bwd)
    def backward(ctx: Any, *args: Any, **kwargs: Any) -> Any:
        with autocast(device_type, dtype=ctx._autocast_dtype, enabled=ctx._used_autocast):
            return bwd(ctx, *args, **kwargs)

    return backward
