"""The loop over worker processes: who gets which batch, in which order they come back, what happens when one dies."""

from __future__ import annotations

import contextlib
import itertools
import multiprocessing
import os
import signal
import time
import weakref
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import TYPE_CHECKING, Any

from ...errors import not_supported
from . import sharedmem
from .sampler import draw_seed
from .worker import EndOfStream, Failure, Job, NewEpoch, Task, run

if TYPE_CHECKING:
    from .dataloader import DataLoader

_SECONDS_TO_LEAVE = 5.0  # for a worker that was told to stop, before it is killed
# Orders ahead per worker. More would not fill the pipe's two directions with unread messages, but could come near it.
_MAX_AHEAD = 32
# The parent's ends of all pools' pipes. A fork inherits them; a worker closes its copies, because a pipe is at its end,
# which tells workers to leave, only when nobody holds it any more.
_parent_ends: weakref.WeakSet[Connection] = weakref.WeakSet()


def _context(loader: DataLoader) -> Any:
    """The user's context; else the start method the program has chosen; else fork on Linux, the default elsewhere."""
    if loader.multiprocessing_context is not None:
        return loader.multiprocessing_context
    chosen = multiprocessing.get_start_method(allow_none=True)
    linux = os.name == "posix" and os.uname().sysname == "Linux"
    return multiprocessing.get_context(chosen or ("fork" if linux else None))


def _stop(owner: int, connections: list[Connection], processes: list[Any]) -> None:
    """End the workers: let them leave, then kill. Does nothing in a forked copy of the process that started them."""
    if os.getpid() != owner:
        return
    for connection in connections:
        connection.close()  # a worker that waits, or wants to send, sees the end of the pipe and leaves
    deadline = time.monotonic() + _SECONDS_TO_LEAVE
    for process in processes:
        process.join(max(0.0, deadline - time.monotonic()))
    for process in processes:
        if process.is_alive():
            process.terminate()
            process.join(1.0)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
    processes.clear()
    connections.clear()


class WorkerPool:
    """Iterator over a loader's batches, fetched by `loader.num_workers` processes.

    Batches are ordered from the workers in turn, `prefetch_factor` ahead for each, and given out in the order in which
    they were ordered (unless `in_order=False`). The processes end with the iterator: used up, dropped, or broken off.
    """

    def __init__(self, loader: DataLoader) -> None:
        if os.name != "posix":
            raise not_supported("DataLoader(num_workers > 0) on this system", "use num_workers=0")
        self._sampler = loader._index_sampler
        self._timeout = loader.timeout
        self._in_order = loader.in_order
        self._persistent = loader.persistent_workers
        self._ahead = min(loader.prefetch_factor or 1, _MAX_AHEAD) * loader.num_workers
        self._connections: list[Connection] = []
        self._processes: list[Any] = []
        self._stop = weakref.finalize(self, _stop, os.getpid(), self._connections, self._processes)
        # drawn before the sampler begins, as torch does, so that the same seed gives the same shuffle
        self._start(loader, draw_seed(loader.generator))
        self._begin()

    def _start(self, loader: DataLoader, base_seed: int) -> None:
        context = _context(loader)
        forked = context.get_start_method() == "fork"
        job = Job(
            dataset=loader.dataset,
            batched=loader._auto_collation,
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last,
            base_seed=base_seed,
            worker_init_fn=loader.worker_init_fn,
            num_workers=loader.num_workers,
            parent=os.getpid(),
        )
        try:
            for worker in range(loader.num_workers):
                ours, theirs = context.Pipe(duplex=True)
                self._connections.append(ours)
                _parent_ends.add(ours)
                inherited = list(_parent_ends) if forked else []
                process = context.Process(target=run, args=(theirs, inherited, job, worker), daemon=True)
                with theirs:
                    process.start()
                self._processes.append(process)
        except BaseException:
            self._stop()
            raise

    def _begin(self) -> None:
        """Order the first batches of an epoch."""
        self._indices: Iterator = iter(self._sampler)
        self._numbers = itertools.count()
        self._turns = itertools.cycle(range(len(self._processes)))
        self._ordered: dict[int, int] = {}  # batch number -> worker, in the order of delivery
        self._arrived: dict[int, Any] = {}
        self._active = [True] * len(self._processes)
        self._dead: set[int] = set()  # reported when a batch of theirs is needed
        for _ in range(self._ahead):
            self._order_one()

    def restart(self) -> None:
        """Begin a new epoch with the same processes (`persistent_workers`), dropping what is left of the last one."""
        try:
            for worker, connection in enumerate(self._connections):
                try:
                    sharedmem.send(connection, NewEpoch())
                    while not isinstance(self._take(worker), NewEpoch):
                        pass
                except (EOFError, BrokenPipeError, ConnectionResetError):
                    raise self._death(worker) from None
        except BaseException:
            self._stop()
            raise
        self._begin()

    @property
    def alive(self) -> bool:
        """Whether the processes are there for another epoch."""
        return bool(self._processes)

    def _order_one(self) -> None:
        worker = self._next_worker()
        if worker is None:
            return
        try:
            index = next(self._indices)
        except StopIteration:
            return
        number = next(self._numbers)
        self._ordered[number] = worker
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker is reported when it is needed
            sharedmem.send(self._connections[worker], Task(number, index))

    def _next_worker(self) -> int | None:
        """The next worker in turn that has something left to read; out of order, also one that is not full."""
        load = list(self._ordered.values())
        share = self._ahead // max(1, sum(self._active))
        for _ in range(len(self._active)):
            worker = next(self._turns)
            if self._active[worker] and (self._in_order or load.count(worker) < share):
                return worker
        return None

    def __iter__(self) -> WorkerPool:
        return self

    def __next__(self) -> Any:
        while self._ordered:
            number, worker = next(iter(self._ordered.items()))
            if number in self._arrived:
                return self._deliver(number)
            if not self._active[worker]:
                del self._ordered[number]  # the worker's stream ended before this order
                continue
            try:
                if worker in self._dead:
                    raise self._death(worker)
                arrived = self._receive_one()
            except BaseException:  # a dead worker, a timeout, Ctrl-C
                self._ordered.clear()
                self._stop()
                raise
            if arrived is not None and not self._in_order:
                return self._deliver(arrived)
        if not self._persistent:
            self._stop()
        raise StopIteration

    def _deliver(self, number: int) -> Any:
        result = self._arrived.pop(number)
        del self._ordered[number]
        self._order_one()
        if isinstance(result, Failure):
            result.reraise()
        return result

    def _receive_one(self) -> int | None:
        """Wait for a message of any worker. Returns the number of the batch that arrived, None for other messages."""
        waiting = {worker for number, worker in self._ordered.items() if number not in self._arrived}
        waiting = {worker for worker in waiting if self._active[worker] and worker not in self._dead}
        pipes: dict[Any, int] = {self._connections[worker]: worker for worker in waiting}
        sentinels = {self._processes[worker].sentinel: worker for worker in waiting}
        ready = wait([*pipes, *sentinels], self._timeout or None)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        # messages first: a worker may have died after it sent a batch
        pipe = next((handle for handle in ready if handle in pipes), None)
        worker = sentinels[ready[0]] if pipe is None else pipes[pipe]
        try:
            number, result = self._take(worker)
        except (EOFError, ConnectionResetError):
            self._dead.add(worker)
            return None
        if isinstance(result, EndOfStream):
            self._active[self._ordered.pop(number)] = False
            self._order_one()
            return None
        self._arrived[number] = result
        return number

    def _take(self, worker: int) -> Any:
        return sharedmem.receive(self._connections[worker])()

    def _death(self, worker: int) -> RuntimeError:
        process = self._processes[worker]
        process.join(_SECONDS_TO_LEAVE)
        code = process.exitcode
        hint = ""
        if code is not None and code < 0:
            how = f"is killed by signal: {signal.Signals(-code).name} ({signal.strsignal(-code)})."
            if -code == signal.SIGKILL:
                hint = " HINT: out of memory? Fewer workers or smaller batches need less."
        else:
            how = f"exited unexpectedly with exit code {code}."
        return RuntimeError(f"DataLoader worker (pid {process.pid}) {how}{hint}")
