"""Transformations of functions, under torch's names: derivatives, vmap, and modules as functions of their parameters."""

from __future__ import annotations

from typing import Any

from engine.errors import no_attribute
from engine.func.derivatives import functionalize, grad, grad_and_value, hessian, jacfwd, jacrev, jvp, linearize, vjp
from engine.func.mapping import vmap
from engine.func.modules import functional_call, replace_all_batch_norm_modules_, stack_module_state

__all__ = [
    "functional_call",
    "functionalize",
    "grad",
    "grad_and_value",
    "hessian",
    "jacfwd",
    "jacrev",
    "jvp",
    "linearize",
    "replace_all_batch_norm_modules_",
    "stack_module_state",
    "vjp",
    "vmap",
]


def __getattr__(name: str) -> Any:
    raise no_attribute(__name__, name, __all__)
