"""Saving and loading: one safetensors file for everything, and torch's own archives. Nothing in a file is ever executed."""

from __future__ import annotations

from engine.serialization.errors import CheckpointError, SaveError
from engine.serialization.files import FORMAT_VERSION, check_storable, load, read_metadata, save
from engine.serialization.state_dict import load_file, save_file
from engine.serialization.torch_archive_writer import save_torch

__all__ = [
    "FORMAT_VERSION",
    "CheckpointError",
    "SaveError",
    "check_storable",
    "load",
    "load_file",
    "read_metadata",
    "save",
    "save_file",
    "save_torch",
]
