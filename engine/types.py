"""`torch.types`: the names that type annotations use for numbers, devices and files.

>>> isinstance(3, torch.types.Number)
True
"""

from __future__ import annotations

import builtins
import os
from typing import IO, Union

from . import devices, dtypes, layouts
from .ops.storages import UntypedStorage as Storage
from .size import Size
from .symbols import SymBool, SymFloat, SymInt

__all__ = ["Device", "FileLike", "Number", "Storage"]

_int, _float, _bool = builtins.int, builtins.float, builtins.bool
_complex, _str, _bytes = builtins.complex, builtins.str, builtins.bytes
_device, _dtype, _layout = devices.device, dtypes.dtype, layouts.layout

Number = int | float | bool
_Number = (int, float, bool)
FileLike = Union[str, "os.PathLike[str]", IO[bytes]]
Device = _device | str | int | None
_size = Size | list[int] | tuple[int, ...]
IntLikeType, FloatLikeType, BoolLikeType = int | SymInt, float | SymFloat, bool | SymBool
