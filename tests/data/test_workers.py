"""DataLoader with worker processes: the same batches, honest failures, and nothing left behind."""

from __future__ import annotations

import gc
import multiprocessing
import os
import pickle
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine
from engine.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset, get_worker_info

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="worker processes share memory by file descriptors")

SHM = Path("/dev/shm")


def held() -> tuple[set[str], int, list[int]]:
    """Named shared memory, open file descriptors, and child processes."""
    names = set(os.listdir(SHM)) if SHM.is_dir() else set()
    descriptors = len(os.listdir("/proc/self/fd")) if Path("/proc/self/fd").is_dir() else 0
    return names, descriptors, [child.pid for child in multiprocessing.active_children()]


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    list(DataLoader(range(1), num_workers=1))  # imports, and what Python opens for good
    resource_tracker.ensure_running()
    before = held()
    yield
    gc.collect()
    assert held() == before


class Images(Dataset):
    """Large enough for shared memory; some have wrong strides or an odd dtype."""

    def __init__(self, n: int = 6) -> None:
        self.n = n

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {
            "image": engine.full((40, 50), float(i)),
            "turned": engine.arange(6000).reshape(60, 100).t() + i,
            "half": engine.full((3000,), i, dtype=engine.bfloat16),
            "array": np.full((2000,), i, np.int16),
            "name": f"number {i}",
        }


def as_plain(batch: dict) -> dict:
    return {key: (np.asarray(v.float()).tolist() if hasattr(v, "float") else list(v)) for key, v in batch.items()}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_batches_are_those_of_one_process(workers: int) -> None:
    expected = [as_plain(batch) for batch in DataLoader(Images(), batch_size=2)]
    loader = DataLoader(Images(), batch_size=2, num_workers=workers)
    for _ in range(2):
        batches = list(loader)
        assert [as_plain(batch) for batch in batches] == expected
    assert batches[0]["half"].dtype is engine.bfloat16
    batches[0]["image"] += 1  # what arrives can be written to


def test_arrays_outlive_their_workers_and_the_loader() -> None:
    first = next(iter(DataLoader(Images(), num_workers=1)))["image"]
    assert first.sum().item() == 0 and first.shape == (1, 40, 50)


def test_where_the_system_has_no_anonymous_memory_files(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create", raising=False)
    batches = list(DataLoader(Images(), num_workers=1))
    assert [as_plain(batch) for batch in batches] == [as_plain(batch) for batch in DataLoader(Images())]


def test_more_batches_than_descriptors_can_be_kept() -> None:
    from engine.utils.data import sharedmem

    n = sharedmem._MAX_LIVE_BLOCKS + 20
    kept = list(DataLoader(TensorDataset(engine.arange(n * 1000).reshape(n, 1000)), num_workers=1))
    assert [batch[0][0, 0].item() for batch in kept] == [1000 * i for i in range(n)]
    assert len(sharedmem._live_blocks) <= sharedmem._MAX_LIVE_BLOCKS


def test_long_lists_and_many_orders_ahead_do_not_block() -> None:
    words = ["x" * 50] * 20_000
    loader = DataLoader(
        words, batch_size=10_000, num_workers=2, prefetch_factor=100, sampler=list(range(20_000)) * 20, collate_fn=len
    )
    assert list(loader) == [10_000] * 40
    lists = DataLoader(words, batch_size=10_000, num_workers=2, collate_fn=list)
    assert [len(batch) for batch in lists] == [10_000] * 2


class Seeds(Dataset):
    def __init__(self, library: Any) -> None:
        self.library = library

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> tuple:
        info = self.library.utils.data.get_worker_info()
        draw = (random.random(), float(np.random.rand()), float(self.library.rand(1)))
        return info.id, info.num_workers, info.seed, info.dataset is self, self.library.initial_seed(), *draw


def test_workers_are_seeded_as_torch_seeds_them() -> None:
    torch = pytest.importorskip("torch")
    results = []
    for library in (engine, torch):
        library.manual_seed(6)
        loader = library.utils.data.DataLoader(Seeds(library), batch_size=None, num_workers=2, collate_fn=tuple)
        results.append(list(loader))
    assert results[0] == results[1]
    assert get_worker_info() is None


class Share(IterableDataset):
    """0 .. n-1, each worker every num_workers-th of them."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __iter__(self) -> Iterator[int]:
        info: Any = get_worker_info()
        return iter(range(info.id, self.n, info.num_workers))


@pytest.mark.parametrize("n", [0, 1, 2, 7, 12])
def test_streams_end_one_by_one(n: int) -> None:
    loader = DataLoader(Share(n), batch_size=2, num_workers=3)
    got = [i for batch in loader for i in batch.tolist()]
    assert sorted(got) == list(range(n))
    if n == 12:
        assert got == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]  # the workers in turn
    persistent = DataLoader(Share(n), batch_size=2, num_workers=3, persistent_workers=True)
    assert [[i for batch in persistent for i in batch.tolist()] for _ in range(2)] == [got, got]


class Pid(Dataset):
    def __len__(self) -> int:
        return 8

    def __getitem__(self, i: int) -> int:
        return os.getpid()


def test_persistent_workers_stay_and_others_do_not() -> None:
    kept = DataLoader(Pid(), batch_size=None, num_workers=2, persistent_workers=True)
    first = set(kept)
    next(iter(kept))  # an epoch that is broken off
    assert set(kept) == first and len(first) == 2
    fresh = DataLoader(Pid(), batch_size=None, num_workers=1)
    assert set(fresh) != set(fresh)


class FirstWaits(Dataset):
    """Sample 0 is ready only when the other worker is at its third sample, 5: it gets there when 1 and 3 were taken."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __len__(self) -> int:
        return 6

    def __getitem__(self, i: int) -> int:
        if i == 5:
            self.mark.touch()
        while i == 0 and not self.mark.exists():
            time.sleep(0.005)
        return i


def test_out_of_order_gives_what_is_there(tmp_path: Path) -> None:
    got = list(DataLoader(FirstWaits(tmp_path / "a"), batch_size=None, num_workers=2, in_order=False))
    assert sorted(got) == list(range(6)) and got[0] == 1
    (tmp_path / "b").touch()
    assert list(DataLoader(FirstWaits(tmp_path / "b"), batch_size=None, num_workers=2)) == list(range(6))


class OwnArguments(Exception):
    def __init__(self, a: int, b: int) -> None:
        super().__init__(f"own {a} {b}")


class Bad(Dataset):
    def __init__(self, error: Any) -> None:
        self.error = error

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        if i == 1:
            raise self.error
        return i


@pytest.mark.parametrize(
    ("error", "kind"),
    [(ValueError("bad sample"), ValueError), (KeyError("bad sample"), KeyError), (OwnArguments(1, 2), RuntimeError)],
)
def test_an_exception_arrives_with_its_class_and_traceback(error: Exception, kind: type) -> None:
    batches = iter(DataLoader(Bad(error), batch_size=None, num_workers=2))
    assert next(batches) == 0
    with pytest.raises(kind, match="Caught .* in DataLoader worker process 1") as caught:
        next(batches)
    text = str(caught.value)
    assert "Original Traceback (most recent call last)" in text and "in __getitem__" in text
    assert f"{type(error).__name__}: " in text and "\\n" not in text
    assert list(batches) == [2, 3]  # the workers go on


def test_an_exception_of_a_local_class_arrives_as_runtime_error() -> None:
    class Local(ValueError):
        pass

    with pytest.raises(RuntimeError, match="Caught Local"):
        list(DataLoader(Bad(Local("x")), num_workers=1))


def test_failures_before_and_after_the_dataset() -> None:
    def fail(worker: int) -> None:
        raise OSError(f"no disk in worker {worker}")

    with pytest.raises(OSError, match="no disk in worker 0"):
        list(DataLoader(range(3), num_workers=2, worker_init_fn=fail))
    with pytest.raises((pickle.PicklingError, AttributeError), match="Can't (pickle|get) local object"):
        list(DataLoader(range(3), num_workers=1, collate_fn=lambda batch: lambda: batch))
    with pytest.raises(RuntimeError, match="graph behind it.*detach"):
        weight = engine.ones(3, requires_grad=True)
        list(DataLoader(range(3), num_workers=1, collate_fn=lambda batch: weight * 2))


def test_worker_init_fn_may_change_the_worker() -> None:
    def choose(worker: int) -> None:
        info: Any = get_worker_info()
        info.dataset.error = ValueError(f"from worker {info.id}")

    with pytest.raises(ValueError, match="from worker 1"):
        list(DataLoader(Bad(None), batch_size=None, num_workers=2, worker_init_fn=choose))


class Deadly(Dataset):
    def __init__(self, how: str) -> None:
        self.how = how

    def __len__(self) -> int:
        return 4

    def __getitem__(self, i: int) -> int:
        if i == 2:
            if self.how == "exit":
                os._exit(7)
            os.kill(os.getpid(), getattr(signal, self.how))
            time.sleep(60)
        return i


@pytest.mark.parametrize(
    ("how", "text"),
    [("SIGKILL", "killed by signal: SIGKILL"), ("SIGTERM", "killed by signal: SIGTERM"), ("exit", "exit code 7")],
)
def test_a_dead_worker_is_reported_with_its_pid_and_signal(how: str, text: str) -> None:
    batches = iter(DataLoader(Deadly(how), batch_size=None, num_workers=2))
    pids = [process.pid for process in batches._processes]
    assert [next(batches), next(batches)] == [0, 1]
    with pytest.raises(RuntimeError, match=text) as caught:
        next(batches)
    assert f"pid {pids[0]}" in str(caught.value)
    with pytest.raises(StopIteration):
        next(batches)


def test_a_persistent_pool_is_made_anew_after_a_death() -> None:
    loader = DataLoader(Deadly("SIGKILL"), batch_size=None, num_workers=1, persistent_workers=True)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="SIGKILL"):
            list(loader)


class Stuck(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> int:
        time.sleep(600)
        return i


def test_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.utils.data import pool

    monkeypatch.setattr(pool, "_SECONDS_TO_LEAVE", 0.2)
    with pytest.raises(RuntimeError, match="DataLoader timed out after 0.3 seconds"):
        list(DataLoader(Stuck(), num_workers=1, timeout=0.3))


class Interrupting(Dataset):
    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int) -> int:
        os.kill(os.getppid(), signal.SIGINT)
        time.sleep(600)
        return i


def test_keyboard_interrupt_ends_the_workers(monkeypatch: pytest.MonkeyPatch) -> None:
    from engine.utils.data import pool

    monkeypatch.setattr(pool, "_SECONDS_TO_LEAVE", 0.2)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored in what a shell has put into the background
    try:
        batches = iter(DataLoader(Interrupting(), num_workers=1))
        with pytest.raises(KeyboardInterrupt):
            next(batches)
    finally:
        signal.signal(signal.SIGINT, before)
    assert not batches.alive


def test_break_in_the_middle_ends_the_workers() -> None:
    for batch in DataLoader(Images(20), num_workers=2):
        assert batch["name"] == ["number 0"]
        break


def test_loaders_within_loaders() -> None:
    outer = DataLoader(range(3), batch_size=None, num_workers=1, persistent_workers=True)
    for _ in range(2):
        assert [(i, list(DataLoader(range(2), batch_size=None, num_workers=1))) for i in outer] == [
            (i, [0, 1]) for i in range(3)
        ]


def test_spawn() -> None:
    loader = DataLoader(range(3), batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert [batch.tolist() for batch in loader] == [[0, 1], [2]]


UNFINISHED = """
from engine.utils.data import DataLoader
batches = iter(DataLoader(range(100), num_workers=2))
next(batches)
"""

ORPHANS = """
import os, signal, sys, time
from engine.utils.data import DataLoader
batches = iter(DataLoader(range(100), num_workers=2))
next(batches)
print(*[process.pid for process in batches._processes], flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_program_that_ends_in_the_middle_ends_quietly() -> None:
    root = Path(engine.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", UNFINISHED], cwd=root, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="reads /proc")
def test_workers_end_when_their_parent_is_killed() -> None:
    root = Path(engine.__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", ORPHANS], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == -signal.SIGKILL, done.stderr
    pids = [int(pid) for pid in done.stdout.split()]
    deadline = time.monotonic() + 20
    while any(alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert len(pids) == 2 and not any(alive(pid) for pid in pids)
