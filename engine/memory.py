"""Keeping freed memory in the process, so that the next step's arrays do not have to ask the system for it again.

glibc gives large blocks back to the system as soon as they are freed, and every page of the next such block then costs a
fault: a chain of four operators on 65536 floats took 885 us with its defaults and 44 us with the ones set here (measured
on a virtual machine, where faults are dear). A training step frees and takes the same sizes over and over.
"""

from __future__ import annotations

import ctypes
import os
import sys

__all__ = ["keep_freed"]

# From glibc's malloc.h. The first is as large as glibc allows: larger blocks are always the system's own.
_MMAP_THRESHOLD, _MMAP_LARGEST = -3, 1 << 25
_TRIM_THRESHOLD, _KEPT = -1, 1 << 30  # bytes that may lie unused at the end of the heap


def keep_freed() -> bool:
    """Tell the C library to keep freed blocks up to 32 MB, 1 GB in all; whether it could be told.

    For the whole process. The environment variable LITENGINE_MALLOC=system leaves the library's own defaults, and so do
    glibc's variables MALLOC_MMAP_THRESHOLD_ and MALLOC_TRIM_THRESHOLD_: whoever sets them has chosen.
    """
    chosen = {"MALLOC_MMAP_THRESHOLD_", "MALLOC_TRIM_THRESHOLD_"} & os.environ.keys()
    if not sys.platform.startswith("linux") or os.environ.get("LITENGINE_MALLOC") == "system" or chosen:
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:  # a C library without this function
        return False
    return bool(mallopt(_MMAP_THRESHOLD, _MMAP_LARGEST)) and bool(mallopt(_TRIM_THRESHOLD, _KEPT))
