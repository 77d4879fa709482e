"""The pool of threads: equal results for any number of them, and good manners in forks, threads, errors and at the exit."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

import engine as torch
from engine import pool
from engine.ops._blocked import product

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def two_threads():
    before = pool.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def ours():
    return [t for t in threading.enumerate() if t.name.startswith("litengine-")]


def blas_threads():
    return pool._blas_functions()[1]()


def python(program, **environment):
    """Run a program in a fresh interpreter; its output."""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60,
                          env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# -- what is computed -------------------------------------------------------------------------------------------------


def test_every_block_is_run_once_and_results_keep_their_order():
    counts = [0] * 50

    def work(i):
        counts[i] += 1
        return i * i

    assert pool.map_blocks(work, 50) == [i * i for i in range(50)]
    assert counts == [1] * 50
    pool.parallel_for(work, 0)


@pytest.mark.parametrize("total, longest", [(10, 3), (3, 10), (12, 4), (1, 1), (0, 5)])
def test_spans_cover_everything_once(total, longest):
    spans = pool.spans(total, longest)
    assert [i for s in spans for i in range(s.start, s.stop)] == list(range(total))
    assert all(s.stop - s.start <= longest for s in spans)


def step(threads):
    """Everything that runs in blocks, forward and backward, with some number of threads."""
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    x = torch.randn(700, 300, requires_grad=True)
    w, b = torch.randn(400, 300, requires_grad=True), torch.randn(400, requires_grad=True)
    scale = torch.randn(400, requires_grad=True)
    y = torch.nn.functional.linear(x, w, b)
    y = torch.nn.functional.gelu(torch.nn.functional.layer_norm(y, (400,), scale, b))
    y = (y * y).tanh() + torch.softmax(y, -1)
    q = y.reshape(7, 4, 100, 100)
    seen = torch.nn.functional.scaled_dot_product_attention(q, q + 1, q * 2, is_causal=True)
    loss = torch.nn.functional.cross_entropy((q @ seen.transpose(-1, -2)).reshape(2800, 100), torch.arange(2800) % 100)
    loss.backward()
    optimizer = torch.optim.Adam([x, w, b, scale])
    optimizer.step()
    return [loss.detach().numpy(), *(t.grad.numpy() for t in (x, w, b, scale)), *(t.detach().numpy() for t in (x, w, b))]


def test_blocks_fit_the_cache(monkeypatch):
    assert pool._cache_share() >= 1 << 14  # whatever the system says, it is a cache
    sizes = []
    for share in (1 << 16, 1 << 21, 5 << 20, 1 << 30):
        monkeypatch.setattr(pool, "_cache_share", lambda share=share: share)
        sizes.append(pool.block_size(24, 1 << 18))
    assert sizes == [1 << 15, 1 << 16, 1 << 17, 1 << 18]


def test_results_do_not_depend_on_the_number_of_threads():
    one, two, three = step(1), step(2), step(3)
    for a, b, c in zip(one, two, three, strict=True):
        assert a.tobytes() == b.tobytes() == c.tobytes()


@pytest.mark.parametrize("m, k, n", [(700, 300, 200), (200, 300, 900), (1, 4096, 2048), (2048, 4096, 1)])
def test_products_in_blocks_equal_plain_ones(m, k, n):
    rng = np.random.default_rng(0)
    a, b = rng.random((m, k)), rng.random((n, k)).T
    np.testing.assert_allclose(product(a, b), np.matmul(a, b), rtol=1e-12)
    np.testing.assert_allclose(product(np.asfortranarray(a), np.ascontiguousarray(b)), np.matmul(a, b), rtol=1e-12)


# -- threads ----------------------------------------------------------------------------------------------------------


def test_the_work_is_shared_between_two_threads():
    both = threading.Barrier(2, timeout=20)
    names = pool.map_blocks(lambda i: (both.wait(), threading.current_thread().name)[1], 2)
    assert len(set(names)) == 2


def test_threads_come_with_the_first_kernel_and_go_with_a_count_of_one():
    torch.set_num_threads(1)
    assert not ours()
    torch.set_num_threads(3)
    assert not ours()
    pool.parallel_for(lambda i: None, 4)
    assert len(ours()) == 2
    torch.set_num_threads(1)
    assert not ours()


def test_small_arrays_start_no_thread():
    torch.set_num_threads(1)
    torch.set_num_threads(2)
    x = torch.randn(32, 64, requires_grad=True)
    torch.nn.functional.cross_entropy(torch.nn.functional.linear(x, torch.randn(10, 64)), torch.arange(32) % 10).backward()
    assert not ours()


def test_a_kernel_inside_a_kernel_runs_where_it_is():
    def outer(i):
        here = threading.current_thread()
        return pool.map_blocks(lambda j: threading.current_thread() is here, 3)

    assert pool.map_blocks(outer, 4) == [[True] * 3] * 4


def test_user_threads_can_call_at_the_same_time():
    a = torch.randn(500, 500)
    expected = (a @ a).numpy().copy()
    wrong = []

    def user():
        for _ in range(5):
            wrong.extend([1] * (not np.array_equal((a @ a).numpy(), expected)))

    users = [threading.Thread(target=user) for _ in range(4)]
    for t in users:
        t.start()
    for t in users:
        t.join(timeout=60)
    assert not wrong and not any(t.is_alive() for t in users)


def test_the_first_error_is_raised_and_the_rest_is_not_begun():
    begun = []

    def work(i):
        begun.append(i)
        if i == 2:
            raise KeyError("block two")
        time.sleep(0.001)

    with pytest.raises(KeyError, match="block two"):
        pool.parallel_for(work, 1000)
    assert len(begun) < 1000
    assert pool.map_blocks(lambda i: i, 3) == [0, 1, 2]


def test_warnings_are_silent_on_every_thread():
    with np.errstate(all="raise"):
        assert bool(torch.isinf(torch.ones(1 << 19) / torch.zeros(1 << 19)).all())


def test_a_kernel_may_change_the_number_of_threads():
    pool.parallel_for(lambda i: torch.set_num_threads(1), 4)
    assert torch.get_num_threads() == 1
    assert not ours()


@pytest.mark.parametrize("bad, kind", [(0, RuntimeError), (-1, RuntimeError), (1.0, TypeError), (True, TypeError)])
def test_counts_that_make_no_sense(bad, kind):
    with pytest.raises(kind, match="set_num_threads"):
        torch.set_num_threads(bad)
    assert torch.get_num_threads() == 2


# -- BLAS -------------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not pool.blas_limit.known, reason="NumPy's BLAS is not OpenBLAS")
def test_blas_has_one_thread_inside_and_its_own_number_after():
    setter, getter = pool._blas_functions()
    before = getter()
    setter(2)
    try:
        assert pool.map_blocks(lambda i: blas_threads(), 4) == [1] * 4
        assert blas_threads() == 2
        with pytest.raises(ValueError):
            pool.parallel_for(lambda i: int("no number"), 4)
        assert blas_threads() == 2
        with pool.blas_limit, pool.blas_limit:
            assert blas_threads() == 1
        assert blas_threads() == 2
    finally:
        setter(before)


# -- processes --------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
def test_a_forked_child_has_one_thread_and_computes():
    program = """
import os, sys, threading, warnings
warnings.simplefilter("ignore")
import engine as torch
torch.set_num_threads(2)
a = torch.ones(600, 600)
torch.exp(a @ a * 0)
from engine import pool
def child():
    again = torch.exp(a @ a * 0)
    names = [t.name for t in threading.enumerate() if t.name.startswith("litengine")]
    print(torch.get_num_threads(), len(names), float(again.sum()), flush=True)
def fork(i):
    if i == 0:
        if os.fork() == 0:
            child()
            os._exit(0)
        os.wait()
fork(0)                      # between kernels
pool.parallel_for(fork, 4)   # in the middle of one
print(torch.get_num_threads(), float((a @ a).sum()))
"""
    assert python(program) == ["1", "0", "360000.0"] * 2 + ["2", "216000000.0"]


def test_the_interpreter_exits_at_once_with_threads_waiting():
    program = """
import sys, threading
import engine as torch
torch.set_num_threads(4)
torch.exp(torch.ones(1 << 20))
print(threading.active_count())
"""
    assert python(program) == ["4"]


@pytest.mark.parametrize("environment, expected", [
    ({"LITENGINE_NUM_THREADS": "3", "OMP_NUM_THREADS": "2"}, 3),
    ({"LITENGINE_NUM_THREADS": "", "OMP_NUM_THREADS": "2,1"}, 2),
    ({"LITENGINE_NUM_THREADS": "many", "OMP_NUM_THREADS": "0"}, None),
])
def test_the_number_of_threads_comes_from_the_environment_or_the_processors(environment, expected):
    program = "import engine, threading; print(engine.get_num_threads(), threading.active_count())"
    expected = expected or len(os.sched_getaffinity(0))
    assert python(program, **environment) == [str(expected), "1"]


def test_scratch_is_reused_and_belongs_to_one_thread():
    mine = pool.scratch(1000, np.float32)
    assert pool.scratch(500, np.float32).base is mine.base
    assert not np.shares_memory(pool.scratch(500, np.float32, slot=1), mine)
    other = []
    thread = threading.Thread(target=lambda: other.append(pool.scratch(1000, np.float32)))
    thread.start()
    thread.join()
    assert not np.shares_memory(other[0], mine)


def test_numpys_own_settings_are_left_alone():
    """Kernels run with settings of their own: silent, and with a smaller buffer for ufuncs."""
    before = np.geterr(), np.getbufsize()
    x = torch.ones(300, 300, requires_grad=True)
    (x.exp() * x).sum().backward()
    assert (np.geterr(), np.getbufsize()) == before
