"""Products by cuBLASLt's plans: on the stand-in with a host form of the library that reads the same descriptors."""

from __future__ import annotations

import numpy as np
import pytest

from engine import backend
from engine.dtypes import BF16
from engine.gpu import gemm
from tests.fake_cupy import cublaslt

DTYPES = [np.dtype(np.float32), np.dtype(np.float64), np.dtype(np.float16), BF16]


@pytest.fixture(autouse=True)
def library(request):
    """The host form of cuBLASLt on the stand-in; on a GPU the real one, if it is there."""
    if request.config.getoption("--device") == "cuda":
        if gemm.library() is None:
            pytest.skip("no nvmath-python")
        yield
        return
    gemm._plans.clear()
    with cublaslt.installed(gemm):
        yield


def drawn(shape, dtype, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32).astype(dtype)


LAYOUTS = {
    "rows": ((5, 3), (3, 4), None, None), "first transposed": ((3, 5), (3, 4), (1, 0), None),
    "second transposed": ((5, 3), (4, 3), None, (1, 0)), "both transposed": ((3, 5), (4, 3), (1, 0), (1, 0)),
    "batch": ((2, 5, 3), (2, 3, 4), None, None), "batch, transposed": ((2, 3, 5), (2, 4, 3), (0, 2, 1), (0, 2, 1)),
    "batch and matrix": ((2, 5, 3), (3, 4), None, None), "two batch dimensions": ((2, 3, 5, 6), (2, 3, 6, 4), None, None),
    "heads": ((2, 5, 3, 6), (2, 3, 6, 5), (0, 2, 1, 3), None), "broadcast": ((1, 5, 3), (4, 3, 2), None, None),
    "vectors": ((1, 3), (3, 1), None, None), "one column": ((5, 1), (1, 4), None, None),
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_products_in_every_layout(layout, dtype, device):
    shape_a, shape_b, axes_a, axes_b = LAYOUTS[layout]
    gpu = backend.require_cuda()
    a, b = drawn(shape_a, dtype), drawn(shape_b, dtype, 1)
    on_a, on_b = gpu.asarray(a), gpu.asarray(b)
    a, on_a = (a, on_a) if axes_a is None else (a.transpose(axes_a), on_a.transpose(axes_a))
    b, on_b = (b, on_b) if axes_b is None else (b.transpose(axes_b), on_b.transpose(axes_b))
    expected = a.astype(np.float64) @ b.astype(np.float64)
    tolerance = {"float32": 1e-5, "float64": 1e-12, "float16": 1e-2, "bfloat16": 6e-2}[dtype.name]
    ours = gemm.matmul(on_a, on_b)
    assert ours.dtype == dtype
    np.testing.assert_allclose(backend.to_numpy(ours).astype(np.float64), expected, rtol=tolerance, atol=tolerance)
    bias = drawn((expected.shape[-1],), dtype, 2)
    ours = backend.to_numpy(gemm.matmul(on_a, on_b, gpu.asarray(bias))).astype(np.float64)
    np.testing.assert_allclose(ours, expected + bias.astype(np.float64), rtol=tolerance, atol=tolerance)


def test_slices_are_used_where_they_lie(device, events):
    gpu = backend.require_cuda()
    whole = drawn((6, 8), np.float32)
    a = gpu.asarray(whole)[1:5, 2:6]
    events.clear()
    ours = gemm.matmul(a, a.T)
    assert events["lt matmul"] == 1 and events["to_host"] == 0
    np.testing.assert_allclose(backend.to_numpy(ours), whole[1:5, 2:6] @ whole[1:5, 2:6].T, rtol=1e-5)


def test_a_plan_is_made_once_per_kind(device, events):
    gpu = backend.require_cuda()
    for size in (3, 3, 4, 3):
        gemm.matmul(gpu.zeros((size, 5), np.float32), gpu.zeros((5, 2), np.float32))
    assert events["plan"] == 2 and events["lt matmul"] == 4


def test_tf32_is_part_of_the_key(device):
    gpu = backend.require_cuda()
    a = gpu.zeros((4, 4), np.float32)
    plain = gemm.key_of(a, a, None)[0]
    gemm.switches.allow_tf32 = True
    try:
        assert gemm.key_of(a, a, None)[0] != plain and gemm.key_of(a, a, None)[0].tf32
    finally:
        gemm.switches.allow_tf32 = False


def test_without_the_library_cupy_serves(device, monkeypatch):
    monkeypatch.setattr(gemm, "library", lambda: None)
    gpu = backend.require_cuda()
    a, b = drawn((2, 3, 4), BF16), drawn((2, 4, 5), BF16, 1)
    ours = gemm.matmul(gpu.asarray(a), gpu.asarray(b))
    assert ours.dtype == BF16
    expected = a.astype(np.float32) @ b.astype(np.float32)
    np.testing.assert_allclose(backend.to_numpy(ours).astype(np.float32), expected, rtol=2e-2, atol=2e-2)
