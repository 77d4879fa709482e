"""`engine.version`: the version of this package, and what it was built with (nothing)."""

from __future__ import annotations

__all__ = ["__version__", "cuda", "debug", "git_version", "hip"]

__version__ = "0.1.0"
debug = False
cuda: str | None = None  # nothing is compiled against a CUDA version; CuPy finds the one that is installed
hip: str | None = None
git_version: str | None = None
