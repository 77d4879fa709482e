"""Writing text so that a reader, or a crash, never sees half a file."""

from __future__ import annotations

import os
import shutil
from pathlib import Path


def replace_file(path: str | Path, head: str, tail_of: str | Path | None = None, skip: int = 0) -> None:
    """Put ``head``, then the bytes of the file ``tail_of`` from offset ``skip`` on, at ``path``: whole or not at all.

    The text goes to a temporary file beside ``path``, which is flushed to disk and then renamed over it.

    Raises:
        OSError: the folder is missing or not writable, or the disk is full; ``path`` is then as it was before.

    Example:
        >>> from loggers.files import replace_file
        >>> replace_file("note.txt", "first\\n")
        >>> Path("note.txt").read_text()
        'first\\n'
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.part")  # one name: what a killed run left is written over
    try:
        with open(temporary, "wb") as file:
            file.write(head.encode("utf-8"))
            if tail_of is not None:
                with open(tail_of, "rb") as source:
                    source.seek(skip)
                    shutil.copyfileobj(source, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def append_text(path: str | Path, text: str) -> None:
    """Add ``text`` at the end of the file ``path``: all of it, or nothing if the disk is full.

    Raises:
        OSError: the text could not be written; the file is then as long as it was before.

    Example:
        >>> from loggers.files import append_text
        >>> append_text("log.txt", "one\\n")
        >>> append_text("log.txt", "two\\n")
        >>> Path("log.txt").read_text()
        'one\\ntwo\\n'
    """
    size = os.path.getsize(path) if os.path.exists(path) else 0
    try:
        with open(path, "a", encoding="utf-8", newline="") as file:
            file.write(text)
    except OSError:
        os.truncate(path, size)
        raise
