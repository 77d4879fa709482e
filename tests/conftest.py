"""What every test gets: global state put back afterwards, and a failure when it leaves a thread or a process behind."""

from __future__ import annotations

import gc
import os
import random
import sys
import threading
import time
from collections.abc import Iterator

import numpy as np
import pytest

# PyTorch's OpenMP threads, where it is the oracle, wait by spinning: on busy cores that makes a test a hundred times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# Long-lived threads that belong to the software and not to one test, by the start of their name.
POOL_THREAD_PREFIXES = ("engine", "pytest_timeout")
SECONDS_TO_FINISH = 5.0


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--device`: what the tests in tests/device run on."""
    parser.addoption("--device", choices=("fake-cuda", "cuda"), default="fake-cuda",
                     help="a stand-in for CuPy on NumPy, which needs no GPU (default), or a real GPU")


def _leftovers(threads_before: set[threading.Thread]) -> list[str]:
    """Names of non-daemon threads and child processes that were not there before."""
    found = [
        f"thread {t.name}"
        for t in threading.enumerate()
        if t not in threads_before and not t.daemon and not t.name.startswith(POOL_THREAD_PREFIXES)
    ]
    multiprocessing = sys.modules.get("multiprocessing")
    if multiprocessing is not None:
        found += [f"process {child.name}" for child in multiprocessing.active_children()]
    return found


@pytest.fixture(autouse=True)
def leaves_nothing_behind() -> Iterator[None]:
    """Fail the test that leaves a thread or a process running."""
    before = set(threading.enumerate())
    yield
    if not _leftovers(before):
        return
    # Worker processes may hang on an iterator that is garbage, or be in the middle of their exit.
    gc.collect()
    deadline = time.monotonic() + SECONDS_TO_FINISH
    while (left := _leftovers(before)) and time.monotonic() < deadline:
        time.sleep(0.05)
    if left:
        pytest.fail(f"the test left behind: {', '.join(left)}")


@pytest.fixture(autouse=True)
def global_state_is_restored() -> Iterator[None]:
    """Put back the random streams, grad mode and default dtype that a test may have changed."""
    python_state, numpy_state = random.getstate(), np.random.get_state()
    # The structure tests run without the engine, and must not pay for importing it.
    engine = sys.modules.get("engine")
    if engine is not None:
        rng, grad, dtype = engine.get_rng_state(), engine.is_grad_enabled(), engine.get_default_dtype()
    yield
    random.setstate(python_state)
    np.random.set_state(numpy_state)
    if engine is not None:
        engine.set_rng_state(rng)
        engine.set_grad_enabled(grad)
        engine.set_default_dtype(dtype)
