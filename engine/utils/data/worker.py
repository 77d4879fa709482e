"""What runs inside a worker process: seed, read the dataset, send batches, until told to stop or the parent is gone."""

from __future__ import annotations

import os
import pickle
import random
import signal
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any, NoReturn

import numpy as np

from ... import random as engine_random
from . import sharedmem
from .dataset import IterableDataset
from .fetch import Fetch, make_fetch
from .position import state_of
from .streams import Streams
from .worker_info import WorkerInfo, set_worker_info

_SECONDS_BETWEEN_LOOKS = 5.0  # at whether the parent still lives, for the case that its end of the pipe was inherited


@dataclass(frozen=True)
class Task:
    """Fetch batch `number` with what the sampler gave."""

    number: int
    index: Any


@dataclass(frozen=True)
class NewEpoch:
    """Begin with the dataset anew, and say so: replies before the answer belong to the epoch that was left."""


@dataclass(frozen=True)
class EndOfStream:
    """This worker's part of an IterableDataset is used up."""


@dataclass(frozen=True)
class Failure:
    """An exception, on its way to the parent: class, the words it carried, and the traceback as text."""

    kind: type[BaseException] | None  # None where the class cannot be sent
    name: str
    text: str
    worker: int

    @classmethod
    def of(cls, error: BaseException, worker: int) -> Failure:
        kind: type[BaseException] | None = type(error)
        try:
            pickle.dumps(kind)
        except (pickle.PicklingError, AttributeError, TypeError):
            kind = None
        return cls(kind, type(error).__name__, "".join(traceback.format_exception(error)), worker)

    def reraise(self) -> NoReturn:
        """Raise the same class with the worker's traceback in its message (RuntimeError where it takes no message)."""
        message: str = f"Caught {self.name} in DataLoader worker process {self.worker}.\nOriginal {self.text}"
        if self.kind is KeyError:
            message = _Verbatim(message)
        try:
            error = self.kind(message) if self.kind is not None else RuntimeError(message)
        except Exception:  # a class with a constructor of its own
            error = RuntimeError(message)
        raise error


class _Verbatim(str):
    """Text whose repr is the text: KeyError prints the repr of its argument."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


@dataclass(frozen=True)
class Job:
    """What all workers of one loader have in common."""

    dataset: Any
    batched: bool
    collate_fn: Callable[[Any], Any]
    drop_last: bool
    any_index: Any  # what a sampler of a stream gives, for a worker that reads it again up to its place
    base_seed: int
    worker_init_fn: Callable[[int], Any] | None
    num_workers: int
    parent: int


@dataclass(frozen=True)
class WorkerState:
    """What the next batches of a worker depend on, besides their indices."""

    streams: Streams
    dataset: dict[str, Any] | None

    @classmethod
    def now(cls, dataset: Any) -> WorkerState:
        return cls(Streams(), state_of(dataset))

    def state_dict(self) -> dict[str, Any]:
        return {"streams": self.streams.state_dict(), "dataset": self.dataset}

    @classmethod
    def from_state_dict(cls, state: dict[str, Any]) -> WorkerState:
        return cls(Streams.from_state_dict(state["streams"]), state["dataset"])

    def restore(self, dataset: Any) -> None:
        self.streams.restore()
        if self.dataset is not None:
            dataset.load_state_dict(self.dataset)


@dataclass(frozen=True)
class Resumed:
    """Where a worker of an earlier process was: at the beginning of its epoch, and after the batches it had given."""

    beginning: WorkerState | None  # None: as every new worker begins
    state: WorkerState | None
    batches: int

    def state_dict(self) -> dict[str, Any]:
        beginning, state = (None if one is None else one.state_dict() for one in (self.beginning, self.state))
        return {"beginning": beginning, "state": state, "batches": self.batches}

    @classmethod
    def of(cls, saved: dict[str, Any]) -> Resumed:
        beginning, state = (
            None if one is None else WorkerState.from_state_dict(one) for one in (saved["beginning"], saved["state"])
        )
        return cls(beginning, state, int(saved["batches"]))


def seed_worker(base_seed: int, worker: int) -> int:
    """Seed the engine, Python's `random` and NumPy for this worker, as torch does; returns the seed."""
    seed = base_seed + worker
    random.seed(seed)
    engine_random.manual_seed(seed)
    # NumPy takes 32-bit seeds: mixed from both numbers, so that worker 1 of one epoch is not worker 0 of the next
    entropy = np.random.SeedSequence([worker, base_seed & 0xFFFFFFFF, base_seed >> 32])
    np.random.seed(entropy.generate_state(4))
    return seed


def run(
    connection: Connection, inherited: list[Connection], job: Job, worker: int, resumed: Resumed | None = None
) -> None:
    """The body of worker process number `worker`."""
    # Ctrl-C reaches the whole process group; the parent decides what it means. A fork also inherits the parent's
    # SIGTERM handler (a Trainer's saves a checkpoint), which is not for a worker to run.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    for other in inherited:
        other.close()  # else the parent could not end the pipe for the other workers
    try:
        _serve(connection, job, worker, resumed)
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone, or has closed its end: nobody waits for batches
    finally:
        connection.close()


def _serve(connection: Connection, job: Job, worker: int, resumed: Resumed | None) -> None:
    fetch, failure = _prepare(job, worker, resumed)
    ended = False
    known = WorkerState.now(job.dataset)  # what the parent knows: without a message, the state of the start
    while True:
        while not connection.poll(_SECONDS_BETWEEN_LOOKS):
            if os.getppid() != job.parent:
                return
        order = sharedmem.receive(connection)()
        if isinstance(order, NewEpoch):
            sharedmem.send(connection, order)
            fetch, failure = _open(job, worker)
            ended = False
        elif ended:
            continue  # ordered before the parent knew that the stream is used up
        elif fetch is None:
            sharedmem.send(connection, (order.number, failure, None))
        else:
            ended, known = _answer(connection, order, fetch, job, worker, known)


def _prepare(job: Job, worker: int, resumed: Resumed | None) -> tuple[Fetch | None, Failure | None]:
    try:
        seed = seed_worker(job.base_seed, worker)
        set_worker_info(WorkerInfo(worker, job.num_workers, seed, job.dataset))
        if job.worker_init_fn is not None:
            job.worker_init_fn(worker)
        if resumed is not None and resumed.beginning is not None:
            resumed.beginning.restore(job.dataset)
    except Exception as error:
        return None, Failure.of(error, worker)
    fetch, failure = _open(job, worker, None if resumed is None else resumed.state)
    if resumed is not None and fetch is not None:
        try:
            _go_to(resumed, fetch, job)
        except Exception as error:
            return None, Failure.of(error, worker)
    return fetch, failure


def _go_to(resumed: Resumed, fetch: Fetch, job: Job) -> None:
    """Read a stream again up to its place, unless it has been put there, and go on with the random numbers."""
    by_itself = resumed.state is not None and resumed.state.dataset is not None
    if isinstance(job.dataset, IterableDataset) and not by_itself:
        for _ in range(resumed.batches):
            fetch(job.any_index)
    if resumed.state is not None:
        resumed.state.streams.restore()


def _open(job: Job, worker: int, state: WorkerState | None = None) -> tuple[Fetch | None, Failure | None]:
    try:
        if state is not None and state.dataset is not None:
            job.dataset.load_state_dict(state.dataset)
        return make_fetch(job.dataset, job.batched, job.collate_fn, job.drop_last), None
    except Exception as error:
        return None, Failure.of(error, worker)


def _answer(
    connection: Connection, task: Task, fetch: Fetch, job: Job, worker: int, known: WorkerState
) -> tuple[bool, WorkerState]:
    """Send one batch, or what went wrong, with this worker's state if that is news.

    Returns whether the stream has ended, and the state that the parent knows now.
    """
    result: Any
    ended = False
    try:
        result = fetch(task.index)
    except Exception as error:
        ended = isinstance(error, StopIteration) and isinstance(job.dataset, IterableDataset)
        result = EndOfStream() if ended else Failure.of(error, worker)
    try:
        state = WorkerState.now(job.dataset)
        is_news = state.dataset is not None or state.streams != known.streams
        sharedmem.send(connection, (task.number, result, state if is_news else None))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        raise
    except Exception as error:  # a batch that cannot be pickled, or no memory for it
        sharedmem.send(connection, (task.number, Failure.of(error, worker), None))
        return ended, known
    return ended, state
