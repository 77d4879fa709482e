"""The extra `fast`: compiled kernels for large arrays, their absence, their switch, and how near they are to NumPy's form."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import engine as torch
from engine import fast

ROOT = Path(__file__).resolve().parents[2]
LARGE_PROGRAM = """
import sys, engine as torch
x = torch.randn(512, 256)
print("numba" in sys.modules, float(torch.softmax(x, 1).sum().round()), "numba" in sys.modules)
"""
needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def start(program, **environment):
    return subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, env={**os.environ, **environment}, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def python(program, **environment):
    """Run a program in a fresh interpreter; its output."""
    out, errors = start(program, **environment).communicate(timeout=120)
    assert not errors
    return out.split()


# -- when numba is imported -------------------------------------------------------------------------------------------


def test_small_arrays_never_import_numba():
    program = """
import sys, engine as torch
model = torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.LayerNorm(128), torch.nn.GELU(),
                            torch.nn.Dropout(0.5), torch.nn.Linear(128, 10), torch.nn.Softmax(-1))
optimizer = torch.optim.Adam(model.parameters())
for _ in range(2):
    torch.nn.functional.cross_entropy(model(torch.randn(32, 64)), torch.arange(32) % 10).backward()
    optimizer.step()
print([name for name in ("numba", "llvmlite") if name in sys.modules])
"""
    assert python(program) == ["[]"]


@needs_numba
def test_the_first_large_array_imports_it_and_the_environment_forbids_it():
    assert python(LARGE_PROGRAM) == ["False", "512.0", "True"]
    assert python(LARGE_PROGRAM, LITENGINE_FAST="0") == ["False", "512.0", "False"]


def test_without_numba_everything_works():
    hidden = "import importlib.util; importlib.util.find_spec = lambda *a: None\n"
    assert python(hidden + LARGE_PROGRAM)[1] == "512.0"


def test_a_numba_that_cannot_be_imported_is_a_warning():
    broken = "import sys, warnings; warnings.simplefilter('error'); sys.modules['numba'] = None\n"
    program = broken + """
import importlib.util
importlib.util.find_spec = lambda *a: True
from engine import fast
try:
    fast.kernels("rows")
except UserWarning as warning:
    print(str(warning).split(",")[0].replace(" ", "_"))
"""
    assert python(program) == ["numba_is_installed_but_cannot_be_imported"]


def test_the_switch():
    assert fast.is_enabled()
    with torch.backends.fast.flags(enabled=False):
        assert not torch.backends.fast.is_enabled()
        assert fast.kernels("rows") is None
        with torch.backends.fast.flags():
            assert fast.is_enabled()
        assert not fast.is_enabled()
    assert (fast.kernels("rows") is not None) == torch.backends.fast.is_available()


# -- the cache on disk ------------------------------------------------------------------------------------------------


@needs_numba
def test_processes_that_compile_at_the_same_time(tmp_path):
    running = [start(LARGE_PROGRAM, NUMBA_CACHE_DIR=str(tmp_path)) for _ in range(2)]
    for process in running:
        out, errors = process.communicate(timeout=120)
        assert (out.split(), errors) == (["False", "512.0", "True"], "")
    assert list(tmp_path.rglob("*softmax*.nbc"))


@needs_numba
def test_no_folder_to_keep_compiled_code_in(monkeypatch):
    from engine.fast import jit

    def njit(cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function: no locator available")
        return numba.njit(**options)

    numba = jit.numba
    monkeypatch.setattr(jit, "numba", SimpleNamespace(njit=njit))
    assert jit.kernel(lambda x: x + 1)(2) == 3


# -- what is computed -------------------------------------------------------------------------------------------------


def test_what_kernels_take():
    x = np.zeros((4, 6), np.float32)
    assert fast.fits(x, x[1:])
    frozen = x.copy()
    frozen.flags.writeable = False
    for other in (x.T, x[:, 1:], x.astype(np.float64), frozen, x.reshape(-1).view(np.int8)[1:-3].view(np.float32)):
        assert not fast.fits(x, other)


@needs_numba
def test_softmax_keeps_infinities_and_nan():
    x = torch.zeros(300, 300)
    x[0, 5] = -float("inf")
    x[1, :] = -float("inf")
    x[2, 7] = float("nan")
    x[3, 0] = float("inf")
    x[4, 0] = 1e30
    y = torch.softmax(x, -1)
    with torch.backends.fast.flags(enabled=False):
        expected = torch.softmax(x, -1)
    np.testing.assert_allclose(y.numpy(), expected.numpy(), rtol=2e-6)
