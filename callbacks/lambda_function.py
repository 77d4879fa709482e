"""LambdaCallback: a callback made of functions, without a class."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

from callbacks.base import Callback
from engine.errors import did_you_mean

_NOT_HOOKS = {"state_dict", "load_state_dict", "state_key"}


class LambdaCallback(Callback):
    """Run functions as hooks.

    Args:
        **hooks: a function for each hook; it gets what the method of ``Callback`` of this name gets after ``self``.

    Raises:
        TypeError: a name is no hook, or a value cannot be called.

    Example:
        >>> from callbacks import LambdaCallback
        >>> callback = LambdaCallback(on_train_start=lambda trainer, pl_module: print("training starts"))
        >>> callback.on_train_start(None, None)
        training starts
    """

    def __init__(self, **hooks: Callable[..., Any] | None) -> None:
        super().__init__()
        for name, function in hooks.items():
            if name not in HOOK_NAMES:
                raise TypeError(
                    f"LambdaCallback({name}=...): there is no hook {name!r}.{did_you_mean(name, HOOK_NAMES)}"
                    " HINT: `callbacks.Callback` lists all hooks."
                )
            if function is None:
                continue
            if not callable(function):
                raise TypeError(f"LambdaCallback({name}={function!r}): expected a function.")
            setattr(self, name, function)


HOOK_NAMES = sorted(
    name
    for name, member in vars(Callback).items()
    if isinstance(member, FunctionType) and not name.startswith("_") and name not in _NOT_HOOKS
)
