"""What the tables of mistakes and of views share."""

from __future__ import annotations

import math
from typing import Any

# A row: what went wrong, the code, the class of the error, and the facts that both messages give.
# A row whose last fact is `LOOSE` does not compare every number and quoted name of torch's message, because they
# describe torch's inside (a C++ signature, a line of its source) and not the mistake.
LOOSE = object()


def set_attribute(thing: Any, name: str, value: Any) -> None:
    setattr(thing, name, value)


def leaf(torch: Any, *shape: int) -> Any:
    return torch.ones(*shape or (2,), requires_grad=True)


def counted(torch: Any, *shape: int) -> Any:
    """A leaf with the elements 1., 2., 3., ..."""
    shape = shape or (3,)
    return torch.arange(1.0, 1.0 + math.prod(shape)).reshape(shape).requires_grad_()
