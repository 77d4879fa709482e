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
from engine.ops import _blocked, attention
from engine.ops import pointwise as pointwise_rows
from engine.ops.samples import all_samples
from tests.engine.ops_harness import array, call

ROOT = Path(__file__).resolve().parents[2]
LARGE_PROGRAM = """
import sys, engine as torch
x = torch.ones(512, 256)
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


COMPILED = ("softmax", "cross_entropy", "layer_norm", "rms_norm", "gelu", "silu", "sigmoid", "tanh", "relu", "soft",
            "attention", "linear", "dropout", "embedding", "loss", "index", "scatter", "gather", "cum", "elu", "hard", "mish",
            "glu", "logits", "abs", "where", "masked_fill", "clamp", "var", "std", "sum", "mean")
CASES = [(f"{name}-{i}", sample) for name, i, sample in all_samples() if any(part in name for part in COMPILED)]
LEAST = 2  # elements of what counts as large here


def results(sample, enabled):
    """Outputs and gradients of a sample in float32."""
    torch.manual_seed(0)
    with torch.backends.fast.flags(enabled):
        outs, leaves = call(sample, torch, "float32", grad=True)
        total = sum((o * o).sum() for o in outs if getattr(o, "requires_grad", False) and not o.is_complex())
        if isinstance(total, torch.Tensor):
            total.backward()
    return [array(o) for o in outs], [None if leaf.grad is None else array(leaf.grad) for leaf in leaves]


@needs_numba
@pytest.mark.parametrize("sample", [sample for _, sample in CASES], ids=[name for name, _ in CASES])
def test_kernels_give_what_numpy_gives(sample, monkeypatch):
    for module in (_blocked, pointwise_rows):
        monkeypatch.setattr(module, "LARGE", LEAST)
    for name in ("COMPILED", "LINES"):
        monkeypatch.setattr(_blocked, name, LEAST)
    monkeypatch.setattr(attention, "LARGE", LEAST)
    expected, expected_grads = results(sample, enabled=False)
    got, grads = results(sample, enabled=True)
    for a, b in zip([*got, *grads], [*expected, *expected_grads], strict=True):
        assert (a is None) == (b is None)
        if a is not None:
            assert (a.dtype, a.shape) == (b.dtype, b.shape)
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


@needs_numba
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "log_sigmoid", "softplus", "sigmoid", "tanh", "relu", "mish",
                                  "elu", "selu", "celu", "leaky_relu", "hardtanh", "relu6", "hardswish", "hardsigmoid", "abs"])
def test_activations_everywhere(name):
    """Large and small numbers, infinities and NaN, through forward and backward."""
    special = torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e-38, 30.0, -30.0, 88.7, -88.7, 104.0, -104.0, 1e30, -1e30,
                            float("inf"), -float("inf"), float("nan")])
    x = torch.cat([special, torch.linspace(-12, 12, 1 << 17)])
    apply = {"gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
             "log_sigmoid": torch.nn.functional.logsigmoid, "abs": torch.abs}.get(name) or getattr(torch.nn.functional, name)
    found = []
    for enabled in (True, False):
        leaf = x.clone().requires_grad_()
        with torch.backends.fast.flags(enabled):
            y = apply(leaf)
            y.backward(torch.ones_like(y))
        found.append((y.detach().numpy(), leaf.grad.numpy()))
    for a, b in zip(*found):
        np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)


@needs_numba
def test_every_kernel_is_compiled_once():
    """One signature each: another one would make users wait for the compiler again."""
    for room in ("rows", "panels", "heads", "elements", "losses", "attention", "random"):
        for name, kernel in vars(fast.kernels(room)).items():
            if hasattr(kernel, "signatures") and kernel.__module__.endswith(room):
                assert len(kernel.signatures) <= 1, (name, kernel.signatures)


@needs_numba
def test_exponentials_of_what_is_below_zero():
    """What softmax and attention use: right to the last digits near zero, and as right as their argument below it."""
    import numba

    from engine.fast.functions import exp_down

    @numba.njit
    def run(x, out):
        for i in range(len(x)):
            out[i] = exp_down(x[i])

    parts = np.linspace(-1e-6, 4, 100_001), np.linspace(4, 200, 100_001), [np.inf, 3e38, np.nan]
    x = -np.concatenate(parts).astype(np.float32)
    found = np.empty_like(x)
    run(x, found)
    exact = np.exp(x.astype(np.float64))
    inside = exact > 2e-38
    error = abs(found - exact)[inside] / exact[inside]
    assert (error < 2e-7 + 1e-7 * abs(x[inside])).all()
    assert (found[:-1][~inside[:-1]] < 2.4e-38).all()
    assert found[-3] == found[-2] == 0
    assert np.isnan(found[-1])
