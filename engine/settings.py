"""Process-wide settings that programs touch at their start: threads, matrix precision, determinism.

Only the number of threads has an effect (see `pool.py`). The others are kept so that a program can ask for what it has
set: on the CPU every result is computed in full precision and is the same in every run anyway.
"""

from __future__ import annotations

from .pool import get_num_threads, set_num_threads

__all__ = ["are_deterministic_algorithms_enabled", "get_float32_matmul_precision", "get_num_interop_threads",
           "get_num_threads", "is_deterministic_algorithms_warn_only_enabled", "set_float32_matmul_precision",
           "set_num_interop_threads", "set_num_threads", "use_deterministic_algorithms"]

_PRECISIONS = ("highest", "high", "medium")

_matmul_precision = "highest"
_deterministic = False
_warn_only = False
_interop_threads = 1


def set_num_interop_threads(num: int) -> None:
    """Kept, without effect: operators run one after the other."""
    global _interop_threads
    _check_count(num, "set_num_interop_threads")
    _interop_threads = num


def get_num_interop_threads() -> int:
    """What `set_num_interop_threads` was given; 1 at first."""
    return _interop_threads


def _check_count(num: int, function: str) -> None:
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"{function} expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError(f"{function} expects a positive integer, but got {num}")


def set_float32_matmul_precision(precision: str) -> None:
    """Keep `precision` ("highest", "high" or "medium"). Without effect: float32 products are float32 products.

    Raises: ValueError for any other word.
    """
    global _matmul_precision
    if precision not in _PRECISIONS:
        raise ValueError(f"set_float32_matmul_precision(): expected one of {_PRECISIONS}, got {precision!r}")
    _matmul_precision = precision


def get_float32_matmul_precision() -> str:
    """What `set_float32_matmul_precision` was given; "highest" at first."""
    return _matmul_precision


def use_deterministic_algorithms(mode: bool, *, warn_only: bool = False) -> None:
    """Keep `mode`. Without effect on the CPU, where every operator gives the same result in every run.

    On a GPU `index_add`, `scatter_add` and the gradients of gathers add in an order that CUDA chooses; this setting
    does not change that.
    """
    global _deterministic, _warn_only
    _deterministic, _warn_only = bool(mode), bool(warn_only)


def are_deterministic_algorithms_enabled() -> bool:
    """What `use_deterministic_algorithms` was given; False at first."""
    return _deterministic


def is_deterministic_algorithms_warn_only_enabled() -> bool:
    """The `warn_only` that `use_deterministic_algorithms` was given."""
    return _warn_only
