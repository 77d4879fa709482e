"""Writing a file so that at every moment either the old or the new one is there, whole."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

_numbers = itertools.count()


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[BinaryIO]:
    """A binary file open for writing that becomes `path` when the block ends without an exception.

    The bytes go to a temporary file in the same directory (a rename across file systems would not be atomic), which is
    flushed to the disk, renamed over `path`, and the directory entry flushed too. When anything fails, the temporary
    file is removed and `path` is what it was.

    Raises:
        IsADirectoryError: `path` is a directory.
        RuntimeError: the directory to write in does not exist.
    """
    target = os.path.realpath(os.fspath(path))  # write through a symbolic link, as open() does
    folder, name = os.path.split(target)
    if os.path.isdir(target):
        raise IsADirectoryError(f"cannot save to {os.fspath(path)!r}: it is a directory")
    if not os.path.isdir(folder):
        raise RuntimeError(f"cannot save to {os.fspath(path)!r}: parent directory {folder} does not exist.")
    _remove_leftovers(folder, name)
    temporary = os.path.join(folder, f"{_stem(name)}{os.getpid()}.{next(_numbers)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    flush_folder(folder)


def _stem(name: str) -> str:
    return f".{name[:80]}.{socket.gethostname()[:40]}."


def _remove_leftovers(folder: str, name: str) -> None:
    """Remove temporary files of `name` that processes of this machine left behind when they were killed."""
    stem = _stem(name)
    for entry in os.listdir(folder):
        owner = entry[len(stem) :].split(".")[0] if entry.startswith(stem) and entry.endswith(".tmp") else ""
        if owner.isdecimal() and not _is_running(int(owner)):
            os.remove(os.path.join(folder, entry))


def _is_running(pid: int) -> bool:
    if os.name != "posix":
        return True  # there is no harmless question, so the file stays
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True


def flush_folder(folder: str) -> None:
    """Make a rename in `folder` durable. Only POSIX systems let a directory be opened for that."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
