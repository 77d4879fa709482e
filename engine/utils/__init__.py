"""Helpers around training: `engine.utils.data` loads data."""

from __future__ import annotations

from . import data

__all__ = ["data"]
