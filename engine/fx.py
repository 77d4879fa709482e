"""`engine.fx`: programs are not traced into graphs; `wrap` marks functions for a tracer and changes nothing.

>>> from engine import fx
>>> fx.wrap("len") is None, fx.wrap(abs)(-1)
(True, 1)
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["Graph", "GraphModule", "Interpreter", "Node", "Proxy", "Tracer", "Transformer", "symbolic_trace", "wrap"]


def wrap(fn_or_name: Any) -> Any:
    """The function itself; None for a name. There is no tracer that would look into it."""
    return None if isinstance(fn_or_name, str) else fn_or_name


class _Refused:
    """A class of torch.fx: there are no instances of it."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        raise not_supported(f"torch.fx.{cls.__name__}", "hooks of modules (register_forward_hook) see every layer's output.")


class Graph(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class GraphModule(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class Interpreter(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class Node(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class Proxy(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class Tracer(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


class Transformer(_Refused):
    """NotImplementedError: programs are not traced into graphs."""


def symbolic_trace(root: Any, concrete_args: Any = None) -> NoReturn:
    """NotImplementedError: programs are not traced into graphs."""
    raise not_supported("torch.fx.symbolic_trace", "hooks of modules (register_forward_hook) see every layer's output.")


def _get_proxy_mode() -> None:
    """Always None: nothing is being traced."""


# The paths under which libraries ask whether they are being traced.
__path__: list[str] = []
experimental, _proxy_tensor = ModuleType(f"{__name__}.experimental"), ModuleType(f"{__name__}.experimental.proxy_tensor")
_proxy_tensor.get_proxy_mode = _get_proxy_mode  # type: ignore[attr-defined]
experimental.__path__, experimental.proxy_tensor = [], _proxy_tensor  # type: ignore[attr-defined]
sys.modules[experimental.__name__], sys.modules[_proxy_tensor.__name__] = experimental, _proxy_tensor
