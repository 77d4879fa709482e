"""The handle that hook registrations return, under torch's name."""

from __future__ import annotations

from engine.autograd.graph import Handle as RemovableHandle

__all__ = ["RemovableHandle"]
