"""Our CUDA kernels: compiled by nvcc where it is there, and their arithmetic, on the stand-in by emulated threads."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest

from engine import backend
from engine.dtypes import BF16
from engine.gpu import kernels
from tests.fake_cupy.kernels import compiler

DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BF16]
TOLERANCE = {"float32": 2e-6, "float64": 1e-12, "float16": 2e-3, "bfloat16": 1.6e-2}
SHAPES = [(3, 5), (7, 33), (2, 1100), (1, 1), (5, 1024), (1, 9000)]


@pytest.fixture(autouse=True)
def a_compiler(request, device):
    """Without a GPU a C++ compiler is needed."""
    if request.config.getoption("--device") == "fake-cuda" and compiler() is None:
        pytest.skip("no g++")


def on_device(a):
    return backend.gpu().asarray(a)


def drawn(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(dtype)


def check(ours, expected, dtype):
    np.testing.assert_allclose(backend.to_numpy(ours).astype(np.float64), expected, rtol=TOLERANCE[dtype.name],
                               atol=TOLERANCE[dtype.name])


def softmax(x, log=False):
    z = x - x.max(1, keepdims=True)
    return z - np.log(np.exp(z).sum(1, keepdims=True)) if log else np.exp(z) / np.exp(z).sum(1, keepdims=True)


@pytest.mark.skipif(shutil.which("nvcc") is None, reason="no nvcc")
@pytest.mark.parametrize("architecture", ["sm_80", "sm_90"])
def test_nvcc_compiles_the_source(architecture, tmp_path):
    path = tmp_path / "kernels.cu"
    path.write_text(kernels.source())
    done = subprocess.run(["nvcc", "-std=c++17", f"-arch={architecture}", "-Werror", "all-warnings", "-ptx", "-o",
                           str(tmp_path / "kernels.ptx"), str(path)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("log", [False, True])
def test_softmax_and_its_gradient(shape, dtype, log):
    x, g, end = drawn(shape, dtype), drawn(shape, dtype, 1), kernels.suffix(dtype)
    name = "log_softmax" if log else "softmax"
    out, dx = on_device(np.zeros_like(x)), on_device(np.zeros_like(x))
    sizes = np.int64(shape[0]), np.int32(shape[1])
    kernels.over_rows(f"{name}_{end}", *shape, on_device(x), out, *sizes)
    expected = softmax(x.astype(np.float64), log)
    check(out, expected, dtype)
    kernels.over_rows(f"{name}_backward_{end}", *shape, on_device(g), out, dx, *sizes)
    g, y = g.astype(np.float64), backend.to_numpy(out).astype(np.float64)
    check(dx, g - np.exp(y) * g.sum(1, keepdims=True) if log else (g - (g * y).sum(1, keepdims=True)) * y,
          dtype if dtype != np.float32 else np.dtype(np.float16))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_layer_norm_and_its_gradients(shape, dtype):
    rows, cols = shape
    wide, end = kernels.wide(dtype), kernels.suffix(dtype)
    x, g, w, b = drawn(shape, dtype), drawn(shape, dtype, 1), drawn((cols,), dtype, 2), drawn((cols,), dtype, 3)
    out, dx = on_device(np.zeros_like(x)), on_device(np.zeros_like(x))
    mean, rstd = on_device(np.zeros(rows, wide)), on_device(np.zeros(rows, wide))
    sizes = np.int64(rows), np.int32(cols)
    gx, gg, gw, gb = (on_device(a) for a in (x, g, w, b))
    kernels.over_rows(f"layer_norm_{end}", *shape, gx, gw, gb, out, mean, rstd, *sizes, np.float64(1e-5))
    x, g, w, b = (a.astype(np.float64) for a in (x, g, w, b))
    m, r = x.mean(1, keepdims=True), 1 / np.sqrt(x.var(1, keepdims=True) + 1e-5)
    z = (x - m) * r
    check(out, z * w + b, dtype)
    kernels.over_rows(f"layer_norm_backward_{end}", *shape, gg, gx, gw, mean, rstd, dx, *sizes)
    h = g * w
    loose = np.dtype(np.float16) if dtype == np.float32 else dtype
    check(dx, r * (h - h.mean(1, keepdims=True) - z * (h * z).mean(1, keepdims=True)), loose)
    dw, db = on_device(np.zeros(cols, wide)), on_device(np.zeros(cols, wide))
    kernels.launch(f"layer_norm_columns_{end}", (-(-cols // 32), 2), (32, 8), gg, gx, mean, rstd, dw, db, *sizes)
    check(dw, (g * z).sum(0), loose)
    check(db, g.sum(0), loose)


def test_philox_gives_the_published_words():
    # Random123's known answers for philox4x32-10: counter and key all zero
    out, state = on_device(np.zeros(2, np.int64)), on_device(np.zeros(2, np.uint64))
    kernels.over_elements("integers", 1, out, np.int64(2), np.int64(0), np.uint64(0), state, np.uint64(0))
    words = backend.to_numpy(out).view(np.uint64)
    assert [hex(w) for w in words] == ["0x6627e8d5e169c58d", "0xbc57ac4c9b00dbd8"]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_random_numbers_have_their_moments(dtype):
    n, end = 20_001, kernels.suffix(dtype)
    state = on_device(np.array([7, 3], np.uint64))
    for name, parameters, mean, std in (("uniform", (2.0, 4.0), 4.0, 4 / 12**0.5), ("normal", (1.0, 3.0), 1.0, 3.0)):
        out = on_device(np.zeros(n, dtype))
        numbers = [np.float64(p) for p in parameters]
        kernels.over_elements(f"{name}_{end}", n, out, np.int64(n), *numbers, state, np.uint64(0), per_thread=4)
        values = backend.to_numpy(out).astype(np.float64)
        assert values.mean() == pytest.approx(mean, abs=0.06)
        assert values.std() == pytest.approx(std, rel=0.03)
        assert len(np.unique(values)) > (100 if dtype.itemsize == 2 else 19_900)
        again = on_device(np.zeros(n, dtype))
        kernels.over_elements(f"{name}_{end}", n, again, np.int64(n), *numbers, state, np.uint64(1), per_thread=4)
        assert abs(np.corrcoef(values, backend.to_numpy(again).astype(np.float64))[0, 1]) < 0.03


def test_half_types_round_to_the_nearest_even():
    values = np.array([1.0, 1.00390625, 1.01171875, 65519.0, 1e-8, -0.0, np.inf, np.nan, 3.3895313892515355e38], np.float32)
    for dtype in (np.dtype(np.float16), BF16):
        x = on_device(values.astype(dtype))
        out = on_device(np.zeros(len(values), dtype))
        kernels.over_elements(f"relu_{kernels.suffix(dtype)}", len(values), x, out, np.int64(len(values)))
        with np.errstate(all="ignore"):
            np.testing.assert_array_equal(backend.to_numpy(out).astype(np.float32),
                                          np.maximum(values.astype(dtype).astype(np.float32), 0))
