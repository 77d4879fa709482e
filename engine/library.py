"""`engine.library`: custom operators as functions with a gradient of their own; `torch.ops.<name>` does not call them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NoReturn

from .autograd import Function
from .errors import not_supported
from .tensor import Tensor

__all__ = ["CustomOpDef", "Library", "custom_op", "define", "impl", "register_autograd", "register_fake", "register_kernel",
           "triton_op"]


_made: dict[str, CustomOpDef] = {}


class CustomOpDef:
    """What `custom_op` makes of a function: calls it, or the form registered for the device of its first tensor.

    Without `register_autograd` gradients flow through the function's own operators.
    """

    def __init__(self, name: str, fn: Callable) -> None:
        self._name, self._fn = name, fn
        _made[name] = self
        self._kernels: dict[str, Callable] = {}
        self._function: Any = None
        self.__name__, self.__doc__ = name.partition("::")[2] or name, fn.__doc__

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        device = next((a.device.type for a in args if isinstance(a, Tensor)), "cpu")
        fn = self._kernels.get(device, self._fn)
        if self._function is None:
            return fn(*args, **kwargs)
        return self._function(lambda *given: fn(*given, **kwargs)).apply(*args)

    def register_fake(self, fn: Callable | None = None, /) -> Any:
        """Not needed: shapes come out of the function itself."""
        return fn if fn is not None else lambda function: function

    register_vmap = register_torch_dispatch = register_fake

    def register_kernel(self, device_types: str | Sequence[str], fn: Callable | None = None, /) -> Any:
        """Give the operator another form for a kind of device; also as a decorator."""
        kinds = [device_types] if isinstance(device_types, str) else device_types

        def register(function: Callable) -> Callable:
            self._kernels.update(dict.fromkeys(kinds, function))
            return function

        return register if fn is None else register(fn)

    def register_autograd(self, backward: Callable, /, *, setup_context: Callable | None = None) -> None:
        """Give the operator a gradient: `setup_context(ctx, inputs, output)` and `backward(ctx, *grads)`."""

        def function(fn: Callable) -> Any:
            kept = setup_context or (lambda ctx, inputs, output: None)
            return type(self.__name__, (Function,), {"forward": staticmethod(fn), "setup_context": staticmethod(kept),
                                                     "backward": staticmethod(backward)})  # fmt: skip

        self._function = function


def custom_op(name: str, fn: Callable | None = None, /, *, mutates_args: Any = (), device_types: Any = None,
              schema: str | None = None, tags: Any = None) -> Any:
    """A function as a custom operator (also as a decorator); it is called by what this returns, not by its name.

    >>> @torch.library.custom_op("mine::double", mutates_args=())
    ... def double(x: torch.Tensor) -> torch.Tensor:
    ...     return x * 2
    >>> double.register_autograd(lambda ctx, g: g * 2)
    >>> x = torch.ones(2, requires_grad=True)
    >>> double(x).sum().backward(); x.grad
    tensor([2., 2.])
    """
    return CustomOpDef(name, fn) if fn is not None else lambda function: CustomOpDef(name, function)


def _defined(op: Any, what: str) -> CustomOpDef:
    op = _made.get(op, op) if isinstance(op, str) else op
    if isinstance(op, CustomOpDef):
        return op
    raise not_supported(f"torch.library.{what}({op!r})", f"call {what} of what custom_op() returned.")


def register_autograd(op: Any, backward: Callable, /, *, setup_context: Callable | None = None, lib: Any = None) -> None:
    """`op.register_autograd(...)`; `op` may be the name of one. NotImplementedError for a name that custom_op has not made."""
    _defined(op, "register_autograd").register_autograd(backward, setup_context=setup_context)


def register_kernel(op: Any, device_types: Any, func: Callable | None = None, /, *, lib: Any = None) -> Any:
    """`op.register_kernel(...)`; `op` may be the name of one. NotImplementedError for another name."""
    return _defined(op, "register_kernel").register_kernel(device_types, func)


def register_fake(op: Any, func: Callable | None = None, /, *, lib: Any = None, allow_override: bool = False) -> Any:
    """Not needed: shapes come out of the function itself."""
    return func if func is not None else lambda function: function


def _by_name(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: operators are not registered by name."""
    raise not_supported("an operator registered by its name", "use torch.library.custom_op, and call what it returns.")


class Library:
    """NotImplementedError: operators are not registered by name."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        _by_name()


define = impl = triton_op = _by_name
