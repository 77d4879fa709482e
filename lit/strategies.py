"""``lit.strategies``: one process on one device. Lightning's other names are here to say what to do instead."""

from __future__ import annotations

from typing import Any

from engine.errors import did_you_mean, not_supported
from lit.device import SingleDeviceStrategy

__all__ = ["SingleDeviceStrategy", "Strategy"]

Strategy = SingleDeviceStrategy  # there is no other
ELSEWHERE = (
    "DDPStrategy", "DeepSpeedStrategy", "FSDPStrategy", "ModelParallelStrategy", "ParallelStrategy", "SingleDeviceXLAStrategy",
    "XLAStrategy",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    if name not in ELSEWHERE:
        raise AttributeError(f"module 'lit.strategies' has no attribute {name!r}.{did_you_mean(name, [*__all__, *ELSEWHERE])}")

    def refuse(*args: Any, **kwargs: Any) -> Any:
        raise not_supported("Trainer(strategy=" + name + "(...))", "Trainer(strategy='auto') trains on one device.")

    refuse.__name__ = refuse.__qualname__ = name
    return refuse
