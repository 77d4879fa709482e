"""What goes wrong with a file."""

from __future__ import annotations


class CheckpointError(RuntimeError):
    """A file cannot be read: it is damaged, foreign, too new, or holds something that may not be rebuilt.

    The message names the file and what was expected of it.
    """


class SaveError(TypeError):
    """An object cannot be written. The message names its class and where it sits, like `encoder.act` or `rng.0`."""
