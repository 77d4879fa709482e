"""The base class of callbacks that write checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from callbacks.base import Callback

if TYPE_CHECKING:
    from lit import Trainer


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

    def write_due(self, trainer: Trainer) -> None:
        """Write what was due when the checkpoint was written that this run goes on from.

        Several callbacks may save at one moment. A run that ended between two of their files goes on by writing the
        rest.
        """
