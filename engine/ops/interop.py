"""NumPy functions on tensors: `np.sin(t)`, `array * t`, `np.concatenate([t, u])`, and DLPack.

Without a gradient they compute: ufuncs give tensors, other NumPy functions give arrays, as with torch. On a tensor that
requires a gradient they either go through the engine's operator of that name, which differentiates, or raise.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, wrap
from .base import FUNCTIONS, composite
from .creation import from_numpy

# NumPy's names of operators that are called otherwise here.
_NAMES = {"absolute": "abs", "conjugate": "conj", "power": "pow", "float_power": "pow", "invert": "bitwise_not",
          "equal": "eq", "not_equal": "ne", "less": "lt", "less_equal": "le", "greater": "gt", "greater_equal": "ge",
          "left_shift": "bitwise_left_shift", "right_shift": "bitwise_right_shift", "arctan2": "atan2",
          "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arcsinh": "asinh", "arccosh": "acosh", "arctanh": "atanh",
          "concatenate": "cat", "expand_dims": "unsqueeze", "swapaxes": "swapaxes", "transpose": "permute",
          "rint": "round", "mod": "remainder"}
# NumPy functions (not ufuncs) that differentiate when a tensor requires a gradient; `axis` and `keepdims` are renamed.
_DIFFERENTIABLE = {"sum", "mean", "prod", "std", "var", "concatenate", "stack", "where", "reshape", "ravel", "squeeze",
                   "expand_dims", "tensordot", "einsum", "dot", "cumsum", "cumprod", "clip", "moveaxis", "swapaxes", "diag",
                   "trace", "tril", "triu", "roll", "flip", "outer", "kron", "hstack", "vstack", "split", "amax",
                   "amin"}


def _tensors(values: Any) -> list:
    found = []
    for v in values:
        if isinstance(v, Tensor):
            found.append(v)
        elif isinstance(v, (list, tuple)):
            found += _tensors(v)
    return found


def _arrays(value: Any) -> Any:
    if isinstance(value, Tensor):
        return value.numpy()
    if isinstance(value, (list, tuple)):
        return type(value)(_arrays(v) for v in value) if not hasattr(value, "_fields") else value
    return {k: _arrays(v) for k, v in value.items()} if isinstance(value, dict) else value


def _as_operand(value: Any) -> Any:
    return from_numpy(value) if isinstance(value, np.ndarray) else value


def array_ufunc(self: Tensor, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
    """`Tensor.__array_ufunc__`: an engine operator where there is one, else NumPy's own on the arrays."""
    out = kwargs.get("out", ())
    if any(isinstance(o, Tensor) for o in out):
        raise TypeError(f"np.{ufunc.__name__}(): out= must be a NumPy array. HINT: use the tensor's in-place method.")
    tracked = any(t.requires_grad for t in _tensors(inputs))
    own = FUNCTIONS.get(_NAMES.get(ufunc.__name__, ufunc.__name__))
    if method == "__call__" and own is not None and not kwargs:
        return own(*[_as_operand(v) for v in inputs])
    if tracked:
        raise TypeError(f"np.{ufunc.__name__}{'' if method == '__call__' else '.' + method}() cannot be differentiated. "
                        "HINT: use the torch function of that name, or tensor.detach().")
    result = getattr(ufunc, method)(*_arrays(inputs), **kwargs)
    if out:
        return result
    return tuple(map(_wrapped, result)) if isinstance(result, tuple) else _wrapped(result)


def _wrapped(value: Any) -> Any:
    return wrap(np.asarray(value)) if isinstance(value, (np.ndarray, np.generic)) else value


def array_function(self: Tensor, func: Any, types: Any, args: tuple, kwargs: dict) -> Any:
    """`Tensor.__array_function__`: NumPy on the arrays; through the engine's operator when a gradient is needed."""
    if not any(t.requires_grad for t in _tensors([*args, *kwargs.values()])):
        return func(*_arrays(args), **_arrays(kwargs))
    name = _NAMES.get(func.__name__, func.__name__)
    own = FUNCTIONS.get(name)
    if func.__name__ not in _DIFFERENTIABLE or own is None:
        raise TypeError(f"np.{func.__name__}() cannot be differentiated. HINT: use the torch function of that name, or "
                        "tensor.detach().")
    renamed = {{"axis": "dim", "keepdims": "keepdim"}.get(k, k): v for k, v in kwargs.items()}
    return own(*args, **renamed)


Tensor.__array_ufunc__ = array_ufunc  # type: ignore[attr-defined]
Tensor.__array_function__ = array_function  # type: ignore[attr-defined]


@composite("from_dlpack", method=False)
def from_dlpack(ext_tensor: Any, *, device: Any = None, copy: bool | None = None) -> Tensor:
    """A tensor that shares memory with another library's array through DLPack (`__dlpack__`).

    `copy=True` makes a copy; `device` moves it (with `copy=False`: only to where it is already, else ValueError).

    >>> torch.from_dlpack(np.arange(3.0))
    tensor([0., 1., 2.], dtype=torch.float64)
    """
    if not hasattr(ext_tensor, "__dlpack__"):
        raise TypeError(f"from_dlpack(): expected an object with __dlpack__, got {type(ext_tensor).__name__}")
    if isinstance(ext_tensor, np.ndarray):  # NumPy before 2.2 gives read-only arrays through DLPack
        shared = from_numpy(ext_tensor)
    else:
        kind = ext_tensor.__dlpack_device__()[0] if hasattr(ext_tensor, "__dlpack_device__") else 1
        array = np.from_dlpack(ext_tensor) if int(kind) == 1 else backend.require_cuda().from_dlpack(ext_tensor)
        dtypes.from_numpy_dtype(array.dtype)
        shared = wrap(array)
    moved = shared if device is None else shared.to(device)  # type: ignore[attr-defined]
    if copy is False and moved is not shared:
        raise ValueError(f"from_dlpack(): cannot move from {shared.device} to {device} with copy=False")
    return moved.clone() if copy and moved is shared else moved


@composite("to_dlpack", method=False)
def to_dlpack(tensor: Tensor) -> Any:
    """The DLPack capsule of a tensor's memory."""
    return tensor.__dlpack__()

