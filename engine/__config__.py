"""How this build came about, as text."""

from __future__ import annotations

__all__ = ["parallel_info", "show"]


def show() -> str:
    """What computes: NumPy's version and BLAS.

    >>> "NumPy" in torch.__config__.show()
    True
    """
    import numpy as np

    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]  # type: ignore[call-overload]
    return f"litengine built with:\n  - NumPy {np.__version__}\n  - BLAS {blas.get('name')} {blas.get('version')}\n"


def parallel_info() -> str:
    """How many threads compute."""
    from engine.pool import get_num_threads

    return f"litengine parallel info:\n\tengine.get_num_threads() : {get_num_threads()}\n"
