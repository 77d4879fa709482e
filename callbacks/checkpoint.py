"""The base class of callbacks that write checkpoints."""

from __future__ import annotations

from callbacks.base import Callback


class Checkpoint(Callback):
    """A callback that writes checkpoints; the Trainer runs all of them after every other callback.

    They come last so that a checkpoint holds what the other callbacks did at the same moment
    (early stopping's patience, a changed learning rate).

    Example:
        >>> from callbacks import Checkpoint
        >>> Checkpoint.runs_last, Checkpoint.monitoring, Checkpoint.role
        (True, True, 'checkpoint')
    """

    monitoring = True
    runs_last = True
    role = "checkpoint"
