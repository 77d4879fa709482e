"""The old names of `engine.amp` with "cpu" as the device."""

from __future__ import annotations

import functools

from engine import amp
from engine.dtypes import bfloat16, dtype

__all__ = ["GradScaler", "autocast"]

GradScaler = functools.partial(amp.GradScaler, "cpu")


class autocast(amp.autocast):
    """`engine.amp.autocast("cpu", ...)`."""

    def __init__(self, enabled: bool = True, dtype: dtype = bfloat16, cache_enabled: bool = True) -> None:
        super().__init__("cpu", dtype=dtype, enabled=enabled, cache_enabled=cache_enabled)
