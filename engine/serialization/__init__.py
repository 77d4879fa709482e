"""Saving and loading: one safetensors file for everything, and torch's own archives. Nothing in a file is ever executed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, BinaryIO

from engine.devices import device
from engine.serialization.errors import CheckpointError, SaveError
from engine.serialization.files import FORMAT_VERSION, check_storable, load, read_metadata, save
from engine.serialization.state_dict import load_file, save_file
from engine.serialization.torch_archive_writer import save_torch

# Names of torch.serialization that libraries import for their annotations and default arguments.
MAP_LOCATION = Callable[[Any, str], Any] | device | str | dict[str, str] | None
FILE_LIKE = str | os.PathLike | BinaryIO
DEFAULT_PROTOCOL = 2


def add_safe_globals(safe_globals: list) -> None:
    """Without effect: a file is never allowed to name a class; what is read is fixed."""


__all__ = [
    "DEFAULT_PROTOCOL",
    "FILE_LIKE",
    "FORMAT_VERSION",
    "MAP_LOCATION",
    "CheckpointError",
    "SaveError",
    "add_safe_globals",
    "check_storable",
    "load",
    "load_file",
    "read_metadata",
    "save",
    "save_file",
    "save_torch",
]
