"""What goes wrong with a file."""

from __future__ import annotations

import pickle


class CheckpointError(RuntimeError, pickle.UnpicklingError):
    """A file cannot be read: it is damaged, foreign, too new, or holds something that may not be rebuilt.

    The message names the file and what was expected of it. It is also the class that torch raises, so
    that programs written to catch that one go on catching it.
    """


class EmptyFileError(CheckpointError, EOFError):
    """A file without a byte in it, as a full disk leaves behind."""


class SaveError(TypeError):
    """An object cannot be written. The message names its class and where it sits, like `encoder.act` or `rng.0`."""
