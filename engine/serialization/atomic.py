"""Writing a file so that at every moment either the old or the new one is there, whole."""

from __future__ import annotations

import itertools
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import BinaryIO

Later = Callable[[Callable[[], None]], None]

BUFFER = 1 << 20  # bytes: a small file is written in one piece
_numbers = itertools.count()


@contextmanager
def replacing(path: str | os.PathLike, later: Later | None = None) -> Iterator[BinaryIO]:
    """A binary file open for writing that becomes `path` when the block ends without an exception.

    The bytes go to a temporary file in the same directory (a rename across file systems would not be atomic), which is
    flushed to the disk, renamed over `path`, and the directory entry flushed too. When anything fails, the temporary
    file is removed and `path` is what it was.

    Waiting for the disk takes longer than writing. With `later`, a file of a new name is there at once, and what makes
    it durable is handed to that function instead of being called; a file that is replaced is waited for in any case.

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
    waits = later is None or os.path.lexists(target)
    handles: list[int] = []
    temporary = os.path.join(folder, f"{_stem(name)}{os.getpid()}.{next(_numbers)}.tmp")
    try:
        with open(temporary, "xb", buffering=BUFFER) as file:
            yield file
            file.flush()
            if waits:
                os.fsync(file.fileno())
            else:
                handles = [os.dup(file.fileno())]
        os.replace(temporary, target)
    except BaseException:
        if os.path.exists(temporary):
            os.remove(temporary)
        raise
    if later is None or waits:
        flush_folder(folder)
    else:
        later(partial(_flush, handles + _opened_folder(folder)))


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
    _flush(_opened_folder(folder))


def _opened_folder(folder: str) -> list[int]:
    return [os.open(folder, os.O_RDONLY)] if os.name == "posix" else []


def _flush(handles: list[int]) -> None:
    """Make what is open as `handles` durable, in this order, and close it.

    Nothing else is done here: in a thread beside a training, every call that waits takes the interpreter from it once.
    """
    try:
        for handle in handles:
            os.fsync(handle)
    finally:
        for handle in handles:
            os.close(handle)
