"""What the tables of mistakes share."""

from __future__ import annotations

from typing import Any

# A row: what went wrong, the code, the class of the error, and the facts that both messages give.
# A row whose last fact is `LOOSE` does not compare every number and quoted name of torch's message, because they
# describe torch's inside (a C++ signature, a line of its source) and not the mistake.
LOOSE = object()


def set_attribute(thing: Any, name: str, value: Any) -> None:
    setattr(thing, name, value)


def leaf(torch: Any, *shape: int) -> Any:
    return torch.ones(*shape or (2,), requires_grad=True)
