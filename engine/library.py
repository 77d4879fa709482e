"""`engine.library`: operators are not registered by name; a custom operator is an `autograd.Function`."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["Library", "custom_op", "define", "impl", "register_autograd", "register_fake", "register_kernel", "triton_op"]


def custom_op(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: operators are not registered by name."""
    raise not_supported("torch.library", "write the operator as a torch.autograd.Function, or as a plain function.")


class Library:
    """NotImplementedError: operators are not registered by name."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        custom_op()


define = impl = register_autograd = register_fake = register_kernel = triton_op = custom_op
