"""The engine's own threads: large kernels cut their work into blocks, and the blocks run here.

NumPy lets go of the interpreter inside ufuncs, copies and matrix products, so plain threads run blocks side by side.
Three rules make this fast and predictable:

- BLAS runs one thread per call while a kernel of ours runs, and gets its own number back afterwards. Two pools of
  threads that compete for the same cores cost a factor of two to twelve.
- What the blocks are depends on the sizes of the arrays alone, never on the number of threads: so neither do results.
- Small arrays never come here. Nothing is started before the first large kernel asks for it.

Only one kernel at a time uses the threads. A caller that finds them busy (another user thread, or a kernel inside a
kernel) runs its blocks itself. A forked child starts without threads, with a count of one.
"""

from __future__ import annotations

import atexit
import os
import threading
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np

from . import backend

__all__ = ["LARGE", "blas_limit", "block_size", "get_num_threads", "in_pieces", "map_blocks", "parallel_for", "scratch",
           "set_num_threads", "spans"]  # fmt: skip

LARGE = 1 << 16  # elements; below, a plain NumPy call costs less than waking a thread
_LEAST_BLOCK = 1 << 15  # elements; with fewer, calls take longer than arithmetic
PIECE = 1 << 18  # elements that `in_pieces` hands over at once; with fewer, threads wait for the interpreter

_count: int | None = None  # threads per kernel, the caller's among them; None: not asked for yet
_crew: _Crew | None = None
_turn = threading.Lock()  # held by the one caller whose kernel uses the crew
_local = threading.local()


def get_num_threads() -> int:
    """How many threads a large kernel uses, the calling one among them.

    Until `set_num_threads` is called: the environment's LITENGINE_NUM_THREADS, else its OMP_NUM_THREADS, else the
    number of processors that this process may use.
    """
    global _count
    if _count is None:
        _count = _from_environment() or _processors()
    return _count


def set_num_threads(num: int) -> None:
    """Set how many threads a large kernel uses, the calling one among them. Results do not depend on it.

    Raises: TypeError, RuntimeError: `num` is not a positive int.

    >>> torch.set_num_threads(1)
    >>> torch.get_num_threads()
    1
    """
    global _count
    if not isinstance(num, int) or isinstance(num, bool):
        raise TypeError(f"set_num_threads expects an int, but got {type(num).__name__}")
    if num <= 0:
        raise RuntimeError(f"set_num_threads expects a positive integer, but got {num}")
    _count = num
    if _turn.acquire(blocking=False):  # otherwise the kernel that runs now is the last of the old crew
        try:
            _dismiss_if_wrong()
        finally:
            _turn.release()


def _from_environment() -> int | None:
    for name in ("LITENGINE_NUM_THREADS", "OMP_NUM_THREADS"):
        first = os.environ.get(name, "").split(",")[0].strip()  # OpenMP allows a list, one number per nesting level
        if first.isdigit() and int(first) > 0:
            return int(first)
    return None


def _processors() -> int:
    affinity = getattr(os, "sched_getaffinity", None)  # not on every system
    return len(affinity(0)) if affinity else os.cpu_count() or 1


# -- blocks -----------------------------------------------------------------------------------------------------------


def parallel_for(fn: Callable[[int], Any], n_blocks: int) -> None:
    """Call `fn(i)` for every i below `n_blocks`, on several threads, and return when all have returned.

    Every thread begins with its own share of the blocks, the first, the second, and so on, so that kernel after kernel finds
    the same parts of arrays in the same core's cache (fetching them from another core's took longer than the arithmetic).
    Which thread runs which block is left open all the same: blocks must not depend on each other. The first
    exception is raised here, after the blocks that were running have ended; the others are not begun.
    """
    wanted = min(get_num_threads(), n_blocks) - 1
    if wanted < 1 or not _turn.acquire(blocking=False):
        with blas_limit:
            for i in range(n_blocks):
                fn(i)
        return
    try:
        with blas_limit:
            _assembled().run(fn, n_blocks, wanted)
    finally:
        _dismiss_if_wrong()
        _turn.release()


def map_blocks(fn: Callable[[int], Any], n_blocks: int) -> list:
    """`[fn(0), fn(1), ...]`, computed by `parallel_for`; the order is that of the blocks."""
    results: list = [None] * n_blocks

    def keep(i: int) -> None:
        results[i] = fn(i)

    parallel_for(keep, n_blocks)
    return results


def spans(total: int, longest: int) -> list[slice]:
    """`range(total)` as equal slices of at most `longest`."""
    count = max(1, -(-total // longest))
    edges = [total * i // count for i in range(count + 1)]
    return [slice(a, b) for a, b in zip(edges, edges[1:])]


@cache
def _cache_share() -> int:
    """Bytes of the last cache before memory that fall to one processor; 2 MB where the system does not tell."""
    sizes = [1 << 21]
    for folder in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        with suppress(OSError, ValueError):
            kilobytes = int((folder / "size").read_text().strip().removesuffix("K"))
            sharing = [part.split("-") for part in (folder / "shared_cpu_list").read_text().strip().split(",")]
            count = sum(int(part[-1]) - int(part[0]) + 1 for part in sharing)
            sizes.append((kilobytes << 10) // min(count, os.cpu_count() or 1))
    return sizes[-1]


def block_size(bytes_per_element: int, most: int) -> int:
    """Elements of a block whose operands stay in a processor's share of the cache, a power of two up to `most`.

    Only for work on elements one by one: what depends on how it is cut must be cut alike on every machine.
    """
    elements = min(most, max(_LEAST_BLOCK, _cache_share() // bytes_per_element))
    return 1 << (elements.bit_length() - 1)


def in_pieces(fn: Callable, *lists: list, cut: bool = True) -> list:
    """`[fn(a, b, ...), ...]` over lists of arrays, for a function of elements; on several threads if there is enough to do.

    Long contiguous arrays are handed over as several flat views (not with `cut=False`). One BLAS thread per call either way.
    """
    pieces: list[tuple] = []
    for arrays in zip(*lists, strict=True):
        size = arrays[0].size
        if cut and size >= LARGE and all(type(a) is np.ndarray and a.flags.c_contiguous and a.size == size for a in arrays):
            flat = [a.reshape(-1) for a in arrays]
            pieces += [tuple([a[span] for a in flat]) for span in spans(size, PIECE)]
        else:
            pieces.append(arrays)
    if type(pieces[0][0]) is np.ndarray and sum(piece[0].size for piece in pieces) >= LARGE:
        share = spans(len(pieces), -(-len(pieces) // 16))
        parts = map_blocks(lambda i: [fn(*piece) for piece in pieces[share[i]]], len(share))
        return [result for part in parts for result in part]
    with blas_limit:
        return [fn(*piece) for piece in pieces]


def scratch(size: int, dtype: Any, slot: int = 0) -> np.ndarray:
    """`size` elements of memory that this thread uses again and again; what they hold at first is left open.

    A kernel that needs several pieces at once asks for them by different `slot`s. Valid until the kernel returns.
    """
    buffers: dict[Any, Any] = _local.__dict__
    key = (slot, dtype)
    buffer = buffers.get(key)
    if buffer is None or buffer.size < size:
        buffer = buffers[key] = np.empty(size, dtype)
    return buffer[:size]


# -- threads ----------------------------------------------------------------------------------------------------------


class _Job:
    """One kernel: its function, and the blocks that nobody has begun, as a share for each thread."""

    __slots__ = ("error", "fn", "shares")

    def __init__(self, fn: Callable[[int], Any], n_blocks: int, threads: int) -> None:
        edges = [n_blocks * i // threads for i in range(threads + 1)]
        self.fn, self.shares = fn, [deque(range(a, b)) for a, b in zip(edges, edges[1:])]
        self.error: BaseException | None = None

    def work(self, number: int) -> None:
        """Run blocks until none is left."""
        fn = self.fn
        try:
            while (i := self._next(number)) is not None:
                fn(i)
        except BaseException as error:  # raised again by the caller's thread
            self.error = self.error or error
            for share in self.shares:
                share.clear()

    def _next(self, number: int) -> int | None:
        """A block of this thread's own share, else the last one of another's; None if all are begun."""
        try:
            return self.shares[number].popleft()
        except IndexError:
            for share in self.shares:
                with suppress(IndexError):
                    return share.pop()
        return None


def _unknown() -> int:
    return -1


def _cpu_function() -> Callable[[], int]:
    """A function that says which processor the calling thread is on; -1 where the system does not tell."""
    import ctypes

    function = getattr(ctypes.PyDLL(None), "sched_getcpu", None) if hasattr(os, "sched_setaffinity") else None
    return function or _unknown


class _Flag:
    """Waiting that keeps the processor awake: a spin lock of the C library, used as a signal. Does nothing where there is none.

    A thread that sleeps wakes up 25 microseconds late, or more on a virtual machine whose processor was given back meanwhile.
    The interpreter is not held while spinning.
    """

    __slots__ = ("_lock", "_memory", "_trylock", "_unlock")

    def __init__(self) -> None:
        import ctypes

        library = ctypes.CDLL(None) if os.name == "posix" else None
        names = ("pthread_spin_init", "pthread_spin_lock", "pthread_spin_trylock", "pthread_spin_unlock")
        functions: list[Any] = [getattr(library, name, None) for name in names]
        self._lock: Callable = _unknown
        self._trylock = self._unlock = self._lock
        self._memory = ctypes.c_int(0)
        if all(functions):
            where = ctypes.byref(self._memory)
            functions[0](where, 0)
            self._lock, self._trylock, self._unlock = [partial(function, where) for function in functions[1:]]

    def lower(self) -> None:
        """Make `wait` wait."""
        self._trylock()

    def wait(self) -> None:
        self._lock()

    def hoist(self) -> None:
        """End the waiting."""
        self._unlock()


class _Member(threading.Thread):
    """A thread that sleeps until it is given a job. `begin` and `done` are locks used as signals."""

    def __init__(self, number: int, cpu: Callable[[], int]) -> None:
        super().__init__(name=f"litengine-{number}", daemon=True)  # must not keep the interpreter from exiting
        self.number = number
        self.job: _Job | None = None
        self.cpu, self.last_cpu, self.working_on = cpu, -1, -1
        self.finished = _Flag()
        self.begin, self.done = threading.Lock(), threading.Lock()
        self.begin.acquire()
        self.done.acquire()

    def run(self) -> None:
        backend.hush()  # warnings are silenced per thread
        while True:
            self.begin.acquire()
            job = self.job
            if job is None:
                return
            self.working_on = self.cpu()
            job.work(self.number)
            self.last_cpu = self.cpu()
            self.job = job = None  # the arrays of a finished kernel are not ours to keep
            self.done.release()
            self.finished.hoist()


class _Crew:
    """The threads beside the caller's."""

    def __init__(self, size: int) -> None:
        self.cpu = _cpu_function()
        self.members = [_Member(i, self.cpu) for i in range(1, size + 1)]
        for member in self.members:
            member.start()

    def _spread(self, helpers: list[_Member]) -> None:
        """See to it that none is about to wake on the processor of the caller or of another.

        A busy Linux wakes a thread where it last ran. Once that is the caller's own processor it stays so, and the two
        take turns instead of running side by side. Whoever would is forbidden the processors that are taken.
        """
        taken = {self.cpu()}
        for member in helpers:
            if member.last_cpu in taken and member.last_cpu >= 0:
                free = os.sched_getaffinity(0) - taken
                if free:
                    try:
                        os.sched_setaffinity(member.native_id or 0, free)
                    except OSError:  # not allowed here: then it runs where it runs
                        self.cpu = member.cpu = _unknown
                    member.last_cpu = -1
            taken.add(member.last_cpu)

    def run(self, fn: Callable[[int], Any], n_blocks: int, wanted: int) -> None:
        """Run the blocks on the caller's thread and `wanted` others."""
        job = _Job(fn, n_blocks, wanted + 1)
        helpers = self.members[:wanted]
        self._spread(helpers)
        for member in helpers:
            member.job, member.working_on = job, -1
            member.finished.lower()
            member.begin.release()
        job.work(0)
        for member in helpers:
            if member.begin.acquire(blocking=False):  # it has not even woken up: nothing to wait for
                member.job = None
                member.last_cpu = self.cpu()  # most likely it was to wake up here, where we were busy
            else:
                self._wait(member, job, self.cpu())
        if job.error is not None:
            raise job.error

    @staticmethod
    def _wait(member: _Member, job: _Job, here: int) -> None:
        """Wait for a member even through Ctrl-C: it may still be writing into arrays that the caller would free."""
        spin = -1 != member.working_on != here  # otherwise it could not run while we spin
        while True:
            try:
                if spin:
                    member.finished.wait()
                member.done.acquire()
                return
            except BaseException as error:  # raised when the last member is done
                job.error, spin = job.error or error, False

    def dismiss(self) -> None:
        """End the threads."""
        for member in self.members:
            member.begin.release()
        for member in self.members:
            member.join()


def _assembled() -> _Crew:
    """The crew of the right size. Call only in turn."""
    global _crew
    if _crew is None:
        _crew = _Crew(get_num_threads() - 1)
    return _crew


def _dismiss_if_wrong() -> None:
    """End the threads if their number is no longer the one that is wanted. Call only in turn."""
    global _crew
    if _crew is not None and len(_crew.members) != get_num_threads() - 1:
        leaving, _crew = _crew, None
        leaving.dismiss()


def _at_exit() -> None:
    """End the threads before the interpreter takes NumPy apart."""
    global _crew
    if _turn.acquire(timeout=1):
        try:
            if _crew is not None:
                leaving, _crew = _crew, None
                leaving.dismiss()
        finally:
            _turn.release()


def _after_fork() -> None:
    """In a forked child: its parent's threads do not exist here, and one thread is what a worker process is given."""
    global _count, _crew, _turn, _local
    _count, _crew = 1, None
    _turn, _local = threading.Lock(), threading.local()
    blas_limit.forget()


# -- BLAS -------------------------------------------------------------------------------------------------------------

_OPENBLAS = (("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
             ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
             ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
             ("openblas_set_num_threads", "openblas_get_num_threads"))


class _BlasLimit:
    """`with blas_limit:` one thread per BLAS call inside; the user's number again after the last one has left.

    Entering and leaving costs about a microsecond: the two functions come from the OpenBLAS that NumPy has loaded.
    `known` is False for another BLAS, whose threads are then left as they are.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0
        self._before = 1
        self._functions: tuple[Callable, Callable] | None = None

    @property
    def known(self) -> bool:
        """Whether NumPy's BLAS can be limited."""
        return self._find()[0] is not _nothing

    def _find(self) -> tuple[Callable, Callable]:
        if self._functions is None:
            self._functions = _blas_functions()
        return self._functions

    def __enter__(self) -> None:
        with self._lock:
            self._inside += 1
            if self._inside == 1:
                setter, getter = self._functions or self._find()
                self._before = getter()
                if self._before != 1:
                    setter(1)

    def __exit__(self, *exc: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside and self._before != 1:
                self._find()[0](self._before)

    def forget(self) -> None:
        """In a forked child: whoever was inside is not here."""
        self._lock = threading.Lock()
        if self._inside:
            self._inside = 0
            self._find()[0](self._before)


def _nothing(number: int = 1) -> int:
    return number


def _blas_functions() -> tuple[Callable, Callable]:
    """(set, get) of NumPy's own OpenBLAS, looked up in the library that NumPy loaded it for."""
    import ctypes
    from importlib import import_module

    library = ctypes.PyDLL(import_module("numpy.linalg._umath_linalg").__file__)
    for set_name, get_name in _OPENBLAS:
        setter, getter = getattr(library, set_name, None), getattr(library, get_name, None)
        if setter is not None and getter is not None:
            setter.argtypes, setter.restype = [ctypes.c_int], None
            getter.argtypes, getter.restype = [], ctypes.c_int
            return setter, getter
    return _nothing, _nothing


blas_limit = _BlasLimit()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
atexit.register(_at_exit)
