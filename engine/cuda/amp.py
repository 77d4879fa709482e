"""The old names of `engine.amp` with "cuda" as the device."""

from __future__ import annotations

import functools

from engine import amp
from engine.amp import custom_bwd, custom_fwd
from engine.dtypes import dtype

__all__ = ["GradScaler", "autocast", "custom_bwd", "custom_fwd"]

GradScaler = functools.partial(amp.GradScaler, "cuda")


class autocast(amp.autocast):
    """`engine.amp.autocast("cuda", ...)`."""

    def __init__(self, enabled: bool = True, dtype: dtype | None = None, cache_enabled: bool = True) -> None:
        super().__init__("cuda", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)
