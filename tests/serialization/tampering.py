"""Changing what a file says, as an attacker would: checksums are no secret."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from engine.serialization import container, files


def rewrite_structure(path: Path, rewrite: Callable[[str], str]) -> None:
    """Write the file again, with the same arrays, another structure, and checksums that fit."""
    with container.opened(path) as source:
        header = container.read_header(source)
        arrays = container.read_arrays(source, header)
    metadata = {**header.metadata, files.STRUCTURE: rewrite(header.metadata[files.STRUCTURE])}
    container.write(path, {name: container.Piece(a, a.dtype, a.shape) for name, a in arrays.items()}, metadata)
