"""What ``Trainer(plugins=...)`` takes."""

from __future__ import annotations

from lit.plugins import io
from lit.plugins.io import AsyncCheckpointIO, CheckpointIO, FileCheckpointIO

__all__ = ["AsyncCheckpointIO", "CheckpointIO", "FileCheckpointIO", "io"]
