"""The pool under strain: forks, exits and changes of the count while kernels run, and many user threads at once."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import engine as torch
from engine import pool

ROOT = Path(__file__).resolve().parents[2]
BUSY = """
import os, sys, threading, time
import engine as torch
torch.set_num_threads(3)
a, b = torch.ones(400, 400), torch.ones(1 << 20)
ready, over = threading.Event(), False
def work():
    while not over:
        (a @ a).sum(); b.exp(); torch.softmax(a, 1)
        ready.set()
thread = threading.Thread(target=work, daemon=True)
thread.start()
ready.wait()
"""


@pytest.fixture(autouse=True)
def put_threads_back():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def python(program):
    """Run a program in a fresh interpreter; (exit status, output, errors)."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout.split(), done.stderr


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_forks_while_another_thread_runs_kernels():
    program = BUSY + """
import warnings
warnings.simplefilter("ignore")
for _ in range(20):
    child = os.fork()
    if child == 0:
        good = float((a @ a).sum()) == 400.0 ** 3 and torch.get_num_threads() == 1
        torch.set_num_threads(2)  # a child may have threads of its own
        good = good and float((a @ a).sum()) == 400.0 ** 3 and float(b.sum()) == 1 << 20
        os._exit(0 if good else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
over = True
thread.join()
print("done")
"""
    assert python(program) == (0, ["done"], "")


@pytest.mark.parametrize("last", ["", "raise SystemExit(3)", "raise KeyboardInterrupt"])
def test_exit_while_a_daemon_thread_runs_kernels(last):
    status, _, errors = python(BUSY + last)
    assert status in {"": (0,), "raise SystemExit(3)": (3,)}.get(last, (130, -2, 1))
    assert "Fatal" not in errors and ("Traceback" in errors) == (last == "raise KeyboardInterrupt")


def test_eight_user_threads_get_the_results_of_one():
    x = np.random.default_rng(0).random((8, 300, 400)).astype(np.float32)

    def work(i):
        w = torch.tensor(x[i], requires_grad=True)
        (torch.softmax(w @ w.t(), -1).exp() * 2).sum().backward()
        return w.grad.numpy()

    torch.set_num_threads(1)
    expected = [work(i) for i in range(8)]
    torch.set_num_threads(2)
    found, errors = {}, []

    def user(i):
        try:
            for _ in range(3):
                found[i] = work(i)
        except BaseException as error:  # shown by the assertion
            errors.append(error)

    users = [threading.Thread(target=user, args=(i,)) for i in range(8)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(60)
    assert not errors
    for i in range(8):
        np.testing.assert_array_equal(found[i], expected[i])


def test_the_number_of_threads_changes_while_kernels_run():
    x = torch.ones(500, 500)
    expected = (x @ x).numpy()
    over = threading.Event()
    wrong = []

    def work():
        while not over.is_set():
            if not np.array_equal((x @ x).numpy(), expected):
                wrong.append(1)

    users = [threading.Thread(target=work) for _ in range(2)]
    for thread in users:
        thread.start()
    for i in range(100):
        torch.set_num_threads(1 + i % 4)
        x @ x
    over.set()
    for thread in users:
        thread.join(60)
    assert not wrong
    torch.set_num_threads(1)
    pool.parallel_for(lambda i: None, 4)
    assert not [t for t in threading.enumerate() if t.name.startswith("litengine-")]


def test_an_error_in_one_user_thread_is_not_seen_in_another():
    torch.set_num_threads(3)
    caught = []

    def user(i):
        def work(j):
            if i and j == 2:
                raise ValueError(i)

        for _ in range(50):
            try:
                pool.parallel_for(work, 6)
                caught.append((i, None))
            except ValueError as error:
                caught.append((i, error.args[0]))

    users = [threading.Thread(target=user, args=(i,)) for i in range(3)]
    for thread in users:
        thread.start()
    for thread in users:
        thread.join(60)
    assert set(caught) == {(0, None), (1, 1), (2, 2)}


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_no_thread_waits_for_the_processor_of_the_caller():
    allowed = os.sched_getaffinity(0)
    if len(allowed) < 2:
        pytest.skip("one processor")
    torch.set_num_threads(2)
    pool.parallel_for(lambda i: None, 2)
    crew = pool._crew
    (member,) = crew.members
    busy = min(allowed)
    crew.cpu = lambda: busy
    try:
        member.last_cpu = busy
        crew._spread([member])
        assert os.sched_getaffinity(member.native_id) == allowed - {busy}
        assert os.sched_getaffinity(0) == allowed
    finally:
        torch.set_num_threads(1)  # ends the thread that we have narrowed


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system has no affinity")
def test_the_count_follows_the_affinity_of_the_process():
    program = """
import os
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for name in ("OMP_NUM_THREADS", "LITENGINE_NUM_THREADS"):
    os.environ.pop(name, None)
import engine as torch
a = torch.ones(400, 400)
print(torch.get_num_threads(), float((a @ a).sum()))
torch.set_num_threads(4)  # more threads than processors: still right
print(float((a @ a).sum()))
"""
    assert python(program) == (0, ["1", "64000000.0", "64000000.0"], "")
