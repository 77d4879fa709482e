"""`engine.nn.functional`: the functions that operator cards register as functional, and compositions of them."""

from __future__ import annotations

from typing import Any

from ..ops import FUNCTIONAL

__all__ = sorted(FUNCTIONAL)

globals().update(FUNCTIONAL)


def __getattr__(name: str) -> Any:
    if name == "multi_head_attention_forward":  # a composition that lives with its module, and imports this file
        from .functional_attention import multi_head_attention_forward

        return multi_head_attention_forward
    from ..errors import no_attribute

    raise no_attribute(__name__, name, __all__)
