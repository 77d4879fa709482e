"""Saving and loading: one safetensors file for everything, nothing in it is ever executed."""

from __future__ import annotations

from engine.serialization.errors import CheckpointError, SaveError
from engine.serialization.files import FORMAT_VERSION, load, read_metadata, save
from engine.serialization.state_dict import load_file, save_file

__all__ = [
    "FORMAT_VERSION",
    "CheckpointError",
    "SaveError",
    "load",
    "load_file",
    "read_metadata",
    "save",
    "save_file",
]
