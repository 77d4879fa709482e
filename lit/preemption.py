"""Preemption: a cluster's SIGTERM or SIGUSR1 ends a run at the next safe point, with a checkpoint and exit code 143.

The handler does nothing but set ``trainer.state.preempted``, so no write and no step is ever torn. The loops look at
that one attribute where everything a checkpoint holds is consistent: after an optimizer step, between two batches of
an evaluation, and between two epochs; there they raise ``SIGTERMException``. lit/run.py writes the file.

Ctrl-C inside of a training batch waits for its end in the same way, so that no step is torn; pressed again, it does not.
"""

from __future__ import annotations

import os
import signal
import threading
from types import FrameType, TracebackType
from typing import TYPE_CHECKING, Any

from engine.utils.data.waiting import while_waiting
from lit.state import Point, RunningStage

if TYPE_CHECKING:
    from lit.trainer import Trainer

EXIT_CODE = 143  # 128 + SIGTERM: what a shell reports for a process that SIGTERM ended
CHECKPOINT_NAME = "preempted.ckpt"
SIGNALS = tuple(getattr(signal, name) for name in ("SIGTERM", "SIGUSR1") if hasattr(signal, name))


class SIGTERMException(SystemExit):
    """A signal asked the run to end; not caught, it ends the process with exit code 143.

    Example:
        >>> from lit.preemption import SIGTERMException
        >>> SIGTERMException().code
        143
    """

    def __init__(self) -> None:
        super().__init__(EXIT_CODE)


class Preemption:
    """Listens for the signals while the ``with`` block runs, then puts the handlers back that were there before.

    Nothing is installed outside of the main thread (Python allows it only there), for a signal that the program
    ignores, or over a handler that is not Python's. A Python handler of the user is called as well, at once. What it
    raises has to wait for the checkpoint: ``raise_what_waited`` raises it, unless it is just another ``SystemExit``.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer, self._state = trainer, trainer.state
        self._before: dict[int, Any] = {}
        self._raised: BaseException | None = None

    def __enter__(self) -> Preemption:
        self._state.preempted = self._state.interrupted = False
        while_waiting.append(self._end_waiting)
        if threading.current_thread() is threading.main_thread():
            if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
                self._before[signal.SIGINT] = signal.default_int_handler
                signal.signal(signal.SIGINT, self._interrupt)
            for number in SIGNALS:
                before = signal.getsignal(number)
                if before is not None and before != signal.SIG_IGN:
                    self._before[number] = before
                    signal.signal(number, self._receive)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        while_waiting.remove(self._end_waiting)
        for number, before in self._before.items():
            if signal.getsignal(number) in (self._receive, self._interrupt):  # else the program has installed its own meanwhile
                signal.signal(number, before)

    def _receive(self, number: int, frame: FrameType | None) -> None:
        self._state.preempted = True
        before = self._before[number]
        if callable(before):
            try:
                before(number, frame)
            except BaseException as error:
                self._raised = error

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        state = self._state
        if state.interrupted or state.stage != RunningStage.TRAINING or not self._trainer.fit_loop.inside_batch:
            raise KeyboardInterrupt
        state.interrupted = True

    def _end_waiting(self) -> None:
        """Workers may take long to start, or to fetch a batch; between two batches nobody has to wait for them."""
        loop, state = self._trainer.fit_loop, self._state
        if not state.preempted or (state.stage == RunningStage.TRAINING and loop.inside_batch):
            return
        if state.stage == RunningStage.TRAINING and state.point == Point.EPOCH_START:
            state.point = Point.BETWEEN_BATCHES  # the epoch has begun, its first batch is on its way
        raise SIGTERMException

    def raise_what_waited(self) -> None:
        """Raise what a handler of the user raised while the run had to come to its end first."""
        if self._raised is not None and not isinstance(self._raised, SystemExit):
            raise self._raised


def save_preempted(trainer: Trainer) -> str | None:
    """Write the checkpoint of a ``fit`` that has to end now; returns its path, or None where there is none to write.

    It goes where the first checkpoint callback writes, or to ``trainer.default_root_dir``.

    Raises:
        OSError: the file cannot be written; the one of an earlier preemption is still whole.
    """
    if trainer.state.fn != "fit" or trainer.fast_dev_run:
        return None
    folder = getattr(trainer.checkpoint_callback, "dirpath", None) or trainer.default_root_dir
    path = os.path.join(folder, CHECKPOINT_NAME)
    trainer.save_checkpoint(path)
    trainer.strategy.checkpoint_io.wait()
    trainer.print(f"The run was asked to end. Saved {path!r}; fit(ckpt_path='last') goes on from it.")
    return path
