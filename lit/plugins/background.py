"""Jobs that wait for a disk, done one after the other beside the training."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

IDLE_SECONDS = 1.0  # an owner that is forgotten without ``close`` leaves a thread for no longer


class Background:
    """Runs jobs in the order given, in a thread of its own.

    A job that fails takes those behind it along: they were given in the belief that it would be done. The thread is no
    daemon, so a program that ends waits for the jobs.

    Example:
        >>> from lit.plugins.background import Background
        >>> background, done = Background(), []
        >>> background.submit(lambda: done.append("first"))
        >>> background.submit(lambda: done.append("second"))
        >>> background.close()
        >>> done
        ['first', 'second']
    """

    def __init__(self) -> None:
        self._jobs: deque[Callable[[], Any]] = deque()  # the first is being done
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._closing = False
        self._failure: BaseException | None = None

    def submit(self, job: Callable[[], Any]) -> None:
        """Do ``job`` when those before it are done; after a failure that nobody has heard of yet, not at all."""
        with self._changed:
            if self._failure is not None:
                return
            self._jobs.append(job)
            self._changed.notify_all()
            if self._thread is None:  # it stays for the next jobs: starting one takes longer than handing a job over
                self._closing = False
                self._thread = threading.Thread(target=self._work, name="lit-checkpoints")
                self._thread.start()

    def wait(self) -> None:
        """Return when everything is done.

        Raises:
            BaseException: what a job raised, once.
        """
        with self._changed:
            self._changed.wait_for(lambda: not self._jobs)
            failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

    def close(self) -> None:
        """``wait``, and end the thread; the next job starts another."""
        try:
            self.wait()
        finally:
            with self._changed:
                self._closing = True
                self._changed.notify_all()
                thread = self._thread
            if thread is not None:
                thread.join()

    def _work(self) -> None:
        while (job := self._next()) is not None:
            failure = None
            try:
                job()
            except BaseException as error:
                failure = error
            del job  # and with it a copy of the weights, before anybody hears that it is done
            with self._changed:
                self._jobs.popleft()
                if failure is not None:
                    self._failure = failure
                    self._jobs.clear()
                self._changed.notify_all()

    def _next(self) -> Callable[[], Any] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._jobs or self._closing, IDLE_SECONDS)
            if self._jobs:
                return self._jobs[0]
            self._thread = None
            return None

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Background.__init__(self)  # type: ignore[misc]  # a copy has nothing to do
