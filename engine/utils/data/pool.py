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
from .waiting import while_waiting
from .worker import EndOfStream, Failure, Job, NewEpoch, Resumed, Task, WorkerState, run

if TYPE_CHECKING:
    from .dataloader import DataLoader

_SECONDS_TO_LEAVE = 5.0  # for a worker that was told to stop, before it is killed
# Orders ahead per worker. More would not fill the pipe's two directions with unread messages, but could come near it.
_MAX_AHEAD = 32
_SECONDS_BETWEEN_LOOKS = 0.2  # at whether somebody wants the waiting to end
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


def _wait(handles: list[Any], timeout: float) -> list[Any]:
    """Those of ``handles`` that are ready; none after ``timeout`` seconds (0: wait for ever)."""
    deadline = time.monotonic() + timeout if timeout else None
    while True:
        left = _SECONDS_BETWEEN_LOOKS if deadline is None else min(_SECONDS_BETWEEN_LOOKS, deadline - time.monotonic())
        ready = wait(handles, max(0.0, left))
        if ready or (deadline is not None and time.monotonic() >= deadline):
            return ready
        for look in while_waiting:
            look()


class WorkerPool:
    """Iterator over a loader's batches, fetched by `loader.num_workers` processes.

    Batches are ordered from the workers in turn, `prefetch_factor` ahead for each, and given out in the order in which
    they were ordered (unless `in_order=False`). The processes end with the iterator: used up, dropped, or broken off.
    """

    def __init__(self, loader: DataLoader, saved: dict[str, Any] | None = None) -> None:
        """``saved`` is the ``state_dict`` of an earlier pool in its epoch, or its ``workers_state`` between two."""
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
        self._start(loader, saved)
        self._begin(None if saved is None or "position" not in saved else saved)

    def _start(self, loader: DataLoader, saved: dict[str, Any] | None) -> None:
        # Drawn before the sampler begins, as torch does, so that the same seed gives the same shuffle. The workers of a
        # later epoch (`persistent_workers`) were seeded in an earlier one.
        self._drew_seed = saved is None or saved.get("drew_seed", False)
        drawn = draw_seed(loader.generator) if self._drew_seed else 0
        self._base_seed = drawn if saved is None else int(saved["base_seed"])
        resumed = [None] * loader.num_workers if saved is None else [Resumed.of(state) for state in saved["workers"]]
        self._states: list[WorkerState | None] = [None if one is None else one.state for one in resumed]
        self._beginnings: list[WorkerState | None] = [None if one is None else one.beginning for one in resumed]
        context = _context(loader)
        forked = context.get_start_method() == "fork"
        job = Job(
            dataset=loader.dataset,
            batched=loader._auto_collation,
            collate_fn=loader.collate_fn,
            drop_last=loader.drop_last,
            any_index=[None] * (loader.batch_size or 0) if loader._auto_collation else None,
            base_seed=self._base_seed,
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
                process = context.Process(target=run, args=(theirs, inherited, job, worker, resumed[worker]), daemon=True)
                with theirs:
                    process.start()
                self._processes.append(process)
        except BaseException:
            self._stop()
            raise

    def _begin(self, saved: dict[str, Any] | None = None) -> None:
        """Order the first batches of an epoch, or the first that are left of a saved one."""
        self._indices: Iterator = iter(self._sampler)
        if saved is None:
            saved = {"position": 0, "missing": [], "turn": 0, "active": [True] * len(self._processes)}
            self._given = [0] * len(self._processes)
        else:
            self._given = [int(worker["batches"]) for worker in saved["workers"]]
            self._indices = itertools.chain(saved["missing"], itertools.islice(self._indices, saved["position"], None))
        self._position = int(saved["position"])  # orders up to the latest batch given out
        self._numbers = itertools.count(self._position - len(saved["missing"]))
        self._turn = int(saved["turn"])
        self._ordered: dict[int, int] = {}  # batch number -> worker, in the order of delivery
        self._overtaken: dict[int, Any] = {}  # without `in_order`: what was ordered under a number
        self._arrived: dict[int, Any] = {}
        self._active = list(saved["active"])
        self._dead: set[int] = set()  # reported when a batch of theirs is needed
        self.used_up = False
        for _ in range(self._ahead):
            self._order_one()

    def state_dict(self) -> dict[str, Any]:
        """Where this epoch is after the last batch given out, and the workers with it."""
        workers = zip(self._beginnings, self._states, self._given, strict=True)
        return {
            "dataset": None,  # the workers have it
            "position": self._position,
            "missing": [index for number, index in self._overtaken.items() if number < self._position],
            "turn": next(iter(self._ordered.values()), self._turn),
            "active": list(self._active),
            "drew_seed": self._drew_seed,
            "base_seed": self._base_seed,
            "workers": [Resumed(*worker).state_dict() for worker in workers],
        }

    def workers_state(self) -> dict[str, Any]:
        """The processes as they are between two epochs (`persistent_workers`)."""
        workers = [Resumed(state, None, 0).state_dict() for state in self._states]
        return {"base_seed": self._base_seed, "workers": workers}

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
        self._beginnings, self._drew_seed = list(self._states), False
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
        if not self._in_order:
            self._overtaken[number] = index
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):  # a dead worker is reported when it is needed
            sharedmem.send(self._connections[worker], Task(number, index))

    def _next_worker(self) -> int | None:
        """The next worker in turn that has something left to read; out of order, also one that is not full."""
        load = list(self._ordered.values())
        share = self._ahead // max(1, sum(self._active))
        for _ in range(len(self._active)):
            worker, self._turn = self._turn, (self._turn + 1) % len(self._active)
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
            except BaseException as error:  # a dead worker, a timeout, Ctrl-C
                self._turn = worker
                self._ordered.clear()
                if not isinstance(error, Exception):  # nobody wants to wait for workers that leave by themselves
                    for process in self._processes:
                        process.terminate()
                self._stop()
                raise
            if arrived is not None and not self._in_order:
                return self._deliver(arrived)
        if not self._persistent:
            self._stop()
        self.used_up = True
        raise StopIteration

    def _deliver(self, number: int) -> Any:
        result, state = self._arrived.pop(number)
        worker = self._ordered.pop(number)
        self._overtaken.pop(number, None)
        self._position = max(self._position, number + 1)
        self._given[worker] += 1
        if state is not None:
            self._states[worker] = state
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
        ready = _wait([*pipes, *sentinels], self._timeout)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self._timeout} seconds")
        # messages first: a worker may have died after it sent a batch
        pipe = next((handle for handle in ready if handle in pipes), None)
        worker = sentinels[ready[0]] if pipe is None else pipes[pipe]
        try:
            number, result, state = self._take(worker)
        except (EOFError, ConnectionResetError):
            self._dead.add(worker)
            return None
        if isinstance(result, EndOfStream):
            self._active[self._ordered.pop(number)] = False
            self._order_one()
            return None
        self._arrived[number] = result, state
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
