"""Writing text so that a reader, or a crash, never sees half a file."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def replace_file(path: str | Path, text: str | Iterable[str]) -> None:
    """Put a text, or its parts one after the other, at ``path``: whole or not at all.

    It goes to a temporary file beside ``path``, which is flushed to disk and then renamed over it.

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
            for part in [text] if isinstance(text, str) else text:
                file.write(part.encode("utf-8"))
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
