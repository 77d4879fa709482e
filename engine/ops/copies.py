"""Views as copies: `torch.view_copy` and its kin, each the view of that name and then new memory."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from ..tensor import Tensor, check_dim
from . import grids, joining, rearranging, regions, shape  # noqa: F401 (the views must be there first)
from .base import FUNCTIONS, composite
from .inplace import write_out


def _alias(input: Tensor) -> Tensor:
    return input


def _slice(input: Tensor, dim: int = 0, start: int | None = None, end: int | None = None, step: int = 1) -> Tensor:
    return input[(slice(None),) * check_dim(dim, input.ndim) + (slice(start, end, step),)]  # type: ignore[index]


def _copy_of(name: str, view: Callable) -> None:
    @functools.wraps(view)
    def copied(*args: Any, out: Any = None, **kwargs: Any) -> Any:
        found = view(*args, **kwargs)
        if isinstance(found, (tuple, list)):
            made: Any = tuple([t.clone() for t in found])
        else:
            made = found.clone()
        return made if out is None else write_out(out, made)

    copied.__doc__ = (f"`{name}` as new memory: a change of the result changes nothing else.\n\n"
                      f"    >>> callable(torch.{name}_copy)\n    True\n    ")
    composite(f"{name}_copy", method=False)(copied)


for _name in ("as_strided", "detach", "diagonal", "expand", "permute", "select", "split", "split_with_sizes", "squeeze", "t",
              "transpose", "unbind", "unfold", "unsqueeze", "view_as_complex", "view_as_real", "view"):
    _copy_of(_name, FUNCTIONS.get(_name) or getattr(Tensor, _name))
_copy_of("alias", _alias)
_copy_of("slice", _slice)
