"""What is asked while a loop waits for worker processes."""

from __future__ import annotations

from collections.abc import Callable

# What one of them raises ends the epoch: a Trainer that was asked to end does not wait for workers that start slowly.
while_waiting: list[Callable[[], None]] = []
