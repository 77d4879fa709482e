"""Process-wide settings that programs touch at their start: threads, matrix precision, determinism.

Only the number of threads (see `pool.py`) and, on a GPU, the precision of products have an effect. The others are kept so
that a program can ask for what it has set: on the CPU every result is computed in full precision and is the same in every
run anyway.
"""

from __future__ import annotations

from .gpu import gemm
from .pool import get_num_threads, set_num_threads

__all__ = ["are_deterministic_algorithms_enabled", "get_deterministic_debug_mode", "get_float32_matmul_precision",
           "get_num_interop_threads", "get_num_threads", "is_deterministic_algorithms_warn_only_enabled",
           "is_warn_always_enabled", "set_deterministic_debug_mode", "set_float32_matmul_precision", "set_flush_denormal",
           "set_num_interop_threads", "set_num_threads", "set_warn_always", "use_deterministic_algorithms"]

_PRECISIONS = ("highest", "high", "medium")
_DEBUG_MODES = ("default", "warn", "error")

_matmul_precision = "highest"
_deterministic = False
_warn_only = False
_warn_always = False
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
    """"highest", or "high" and "medium", with which float32 products on a GPU may use TF32. No effect on the CPU.

    Raises: ValueError for any other word.
    """
    global _matmul_precision
    if precision not in _PRECISIONS:
        raise ValueError(f"set_float32_matmul_precision(): expected one of {_PRECISIONS}, got {precision!r}")
    _matmul_precision = precision
    gemm.switches.allow_tf32 = precision != "highest"


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


def set_deterministic_debug_mode(debug_mode: int | str) -> None:
    """`use_deterministic_algorithms` by number or word: 0 "default" (off), 1 "warn", 2 "error".

    Raises: TypeError for other types, RuntimeError for other values.
    """
    if isinstance(debug_mode, str):
        if debug_mode not in _DEBUG_MODES:
            raise RuntimeError(f"invalid value of debug_mode, expected one of `default`, `warn`, `error`, but got {debug_mode}")
        debug_mode = _DEBUG_MODES.index(debug_mode)
    if not isinstance(debug_mode, int):
        raise TypeError(f"debug_mode must be str or int, but got {type(debug_mode)}")
    if debug_mode not in (0, 1, 2):
        raise RuntimeError(f"invalid value of debug_mode, expected 0, 1, or 2, but got {debug_mode}")
    use_deterministic_algorithms(debug_mode > 0, warn_only=debug_mode == 1)


def get_deterministic_debug_mode() -> int:
    """0, 1 or 2, as `set_deterministic_debug_mode` takes it."""
    return 0 if not _deterministic else 1 if _warn_only else 2


def set_warn_always(b: bool, /) -> None:
    """Keep `b`. Without effect: how often a warning shows is decided by Python's `warnings` filters."""
    global _warn_always
    if not isinstance(b, bool):
        raise RuntimeError(f"setWarnOnlyOnce expects a bool, but got {type(b).__name__}")
    _warn_always = b


def is_warn_always_enabled() -> bool:
    """What `set_warn_always` was given; False at first."""
    return _warn_always


def set_flush_denormal(mode: bool) -> bool:
    """False: the processor's treatment of denormal numbers cannot be changed from here, and stays as it is."""
    if not isinstance(mode, bool):
        raise RuntimeError(f"flush_denormal expects a bool, but got {type(mode).__name__}")
    return False
