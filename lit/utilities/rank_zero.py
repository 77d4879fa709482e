"""What the first of several processes does; there is one."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

Function = TypeVar("Function", bound=Callable[..., Any])


def rank_zero_only(fn: Function, default: Any = None) -> Function:
    """Run ``fn`` in the first process only (others get ``default``); there is one, so it always runs.

    Example:
        >>> from lit.utilities import rank_zero_only
        >>> @rank_zero_only
        ... def greet():
        ...     return "hello"
        >>> greet(), rank_zero_only.rank
        ('hello', 0)
    """

    @functools.wraps(fn)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return fn(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


rank_zero_only.rank = 0  # type: ignore[attr-defined]


def rank_zero_warn(message: str | Warning, stacklevel: int = 2, **kwargs: Any) -> None:
    """``warnings.warn`` (with its ``category``) once per process group; there is one process."""
    warnings.warn(message, stacklevel=stacklevel, **kwargs)


def rank_zero_info(*args: Any, stacklevel: int = 2, **kwargs: Any) -> None:
    """Print once per process group; there is one process."""
    print(*args)


def rank_zero_debug(*args: Any) -> None:
    """Details for those who look for them; nobody does here."""


def rank_zero_deprecation(message: str, stacklevel: int = 2) -> None:
    """Warn of something that will go, once per process group."""
    rank_zero_warn(message, stacklevel + 1, category=DeprecationWarning)
