"""Reverse-mode differentiation: `backward`, `grad`, gradient modes, custom functions, checks."""

from __future__ import annotations

from typing import Any

from . import forward_ad, function, functional, graph, saving
from .api import backward, grad
from .function import Function
from .gradcheck import GradcheckError, gradcheck, gradgradcheck
from .modes import (
    detect_anomaly,
    enable_grad,
    inference_mode,
    is_grad_enabled,
    no_grad,
    set_detect_anomaly,
    set_grad_enabled,
)


class _VariableType(type):
    """Makes every tensor an instance of `Variable`, as old programs expect."""

    def __instancecheck__(cls, instance: object) -> bool:
        return hasattr(type(instance), "requires_grad_")


class Variable(metaclass=_VariableType):
    """The old name for a tensor: `Variable(data)` is `data` itself, or an alias of it that requires grad."""

    def __new__(cls, data: Any, requires_grad: bool = False, volatile: bool | None = None) -> Any:
        return data.detach().requires_grad_() if requires_grad else data


def variable(*args: Any, **kwargs: Any) -> Any:
    """`Variable(...)`: the function of that name is deprecated in torch, too."""
    return Variable(*args, **kwargs)


class set_multithreading_enabled:  # noqa: N801 - torch's name
    """Kept, and without effect: a backward pass walks the graph on one thread; large operators use all.

    >>> with torch.autograd.set_multithreading_enabled(False):
    ...     pass
    """

    def __init__(self, mode: bool) -> None:
        self.mode = mode

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exc: object) -> None:
        pass


__all__ = ["Function", "GradcheckError", "Variable", "backward", "detect_anomaly", "enable_grad", "forward_ad", "function",
           "functional", "grad", "gradcheck", "gradgradcheck", "graph", "inference_mode", "is_grad_enabled", "no_grad",
           "saving", "set_detect_anomaly", "set_multithreading_enabled", "variable", "set_grad_enabled"]
