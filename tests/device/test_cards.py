"""Registry-driven: every operator x sample on the device against the same call on the CPU."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import engine
from engine.ops.samples import Array, Sample, all_samples
from tests.engine.ops_harness import array, call, flat

CASES = list(all_samples())
IDS = [f"{name}-{i}" for name, i, _ in CASES]
TOLERANCE = {"float64": 1e-9, "float32": 2e-5, "bfloat16": 2e-2, "float16": 4e-3}


def on_device(sample, dtype="float64", grad=False):
    """As `call`, with the tensors on the device."""
    return call(sample, engine, dtype, grad, device="cuda")


def close(ours, theirs, dtype, moved=True):
    """Outputs on the device equal those on the CPU in value, dtype, shape and, where inputs were `moved`, in place."""
    assert len(ours) == len(theirs)
    for a, b in zip(ours, theirs):
        if isinstance(b, engine.Tensor):
            assert a.is_cuda == moved, f"a result of shape {tuple(b.shape)} came back on the CPU"
            assert (a.dtype, tuple(a.shape)) == (b.dtype, tuple(b.shape))
        np.testing.assert_allclose(array(a), array(b), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_value_equals_the_cpus(sample, request):
    real = request.config.getoption("--device") == "cuda"
    for dtype in ("float64", "float32", "float16", "bfloat16") if real else ("float64", "bfloat16"):
        compare(sample, dtype)


@pytest.mark.parametrize("sample", [c[2] for c in CASES], ids=IDS)
def test_gradient_equals_the_cpus(sample):
    compare(sample, "gradient")


def compare(sample, kind):
    """A sample's values in a dtype, or its first and second "gradient"s in float64, on the device and on the CPU."""
    with engine.backends.cudnn.flags(enabled=True, allow_tf32=False):
        _compare(sample, kind)


def _compare(sample, kind):
    if kind == "gradient":
        _compare_gradients(sample)
        return
    # bfloat16 is rounded at every step of a factorisation, so the order of steps shows
    if "16" in kind and (not sample.half or (kind == "bfloat16" and sample.name.startswith("lu_"))):
        return
    try:
        expected, _ = call(sample, engine, kind)
    except (RuntimeError, ValueError, NotImplementedError):
        assert "16" in kind
        return
    ours, _ = on_device(sample, kind)
    close(ours, expected, kind, moved=bool(arrays_of(sample)))


def _compare_gradients(sample):
    outs, leaves = call(sample, engine, grad=True)
    if not sample.grad or not leaves or not any(isinstance(o, engine.Tensor) and o.requires_grad for o in outs):
        return
    ours, our_leaves = on_device(sample, grad=True)
    first = gradients(outs, leaves, sample.gradgrad)
    mine = gradients(ours, our_leaves, sample.gradgrad)
    close([g for g in mine if g is not None], [g for g in first if g is not None], "float64")
    if sample.gradgrad and any(g is not None and g.requires_grad for g in first):
        close(*[[g for g in gradients([g for g in given if g is not None], roots, False) if g is not None]
                for given, roots in ((mine, our_leaves), (first, leaves))], "float64")


def arrays_of(value):
    """The drawn inputs in a sample: without any there is nothing on the device."""
    if isinstance(value, Array):
        return [value]
    if isinstance(value, Sample):
        value = [value.args, value.kwargs]
    many = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    return [found for v in many for found in arrays_of(v)]


def gradients(outs, leaves, create_graph):
    """The gradients of a weighted sum of all outputs."""
    total = None
    for i, o in enumerate(flat(list(outs))):
        if isinstance(o, engine.Tensor) and o.requires_grad:
            part = (o * (0.7 + 0.1 * i)).sum()
            part = engine.real(part) if part.is_complex() else part
            total = part if total is None else total + part
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return engine.autograd.grad(total, leaves, create_graph=create_graph, allow_unused=True)
