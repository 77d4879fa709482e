"""Tensors print as torch prints them."""

from __future__ import annotations

import numpy as np
import pytest

import engine


def _cases():
    rng = np.random.default_rng(0)
    yield from (np.float32(3.0), np.float32(-2.5), np.int64(7), np.bool_(True), np.float32("nan"), np.float32("inf"),
                np.complex64(1 - 2j), np.float64(1.5), np.int32(3), np.float32(1e-9), np.float32(1e20), np.float32(0))
    yield from (np.zeros(0, np.float32), np.zeros((2, 0), np.float32), np.zeros((0,), np.int64), np.zeros((0, 3), bool),
                np.zeros((0, 3), np.float64))
    yield from (np.arange(30), np.arange(200), np.arange(24).reshape(2, 3, 4), np.arange(-5, 5, dtype=np.int8),
                np.array([True, False]), np.arange(5, dtype=np.uint8))
    yield from (rng.normal(size=s).astype(np.float32) for s in ((3,), (20,), (3, 4), (2, 3, 4), (2, 2, 2, 2), (40, 50),
                                                               (1001,), (3, 400), (10, 10, 11), (5, 30)))
    for values in ([1e-5, 1.0], [1e5, 1.0], [1.5, 1e4], [1.0, 1000.0], [1.0, 1001.0], [np.nan, 1.5], [np.inf, -np.inf, 1.0],
                   [0.0, np.inf], [1e8, 2e8], [1.1e8, 2e8], [0.0], [-0.0, 0.0], [1e-4, 0.5], [9.9e-5, 0.05], [0.1, 0.2, -0.3],
                   [123456.0], [1234567.5], [np.nan], [1e-45, 1.0], [999.9999, 1.0], [-1.0, 10.0, 100.0]):
        yield np.array(values, np.float32)
        yield np.array(values, np.float64)
    yield from (np.array([1 + 2j, -3.5j], np.complex64), np.array([1e-6 + 2j, 3j]), np.full((3,), np.nan + 1j),
                rng.normal(size=30) + 1j * rng.normal(size=30), np.array([float("inf") - 1j]))


CASES = list(_cases())


@pytest.mark.parametrize("profile", ["default", "short", "full"])
def test_repr_equals_torch(profile):
    torch = pytest.importorskip("torch")
    engine.set_printoptions(profile=profile)
    torch.set_printoptions(profile=profile)
    try:
        for case in CASES:
            assert repr(engine.tensor(case)) == repr(torch.tensor(case))
    finally:
        engine.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


@pytest.mark.parametrize("options", [{"sci_mode": True}, {"sci_mode": False}, {"precision": 7}, {"linewidth": 40},
                                     {"threshold": 5, "edgeitems": 1}])
def test_options_equal_torch(options):
    torch = pytest.importorskip("torch")
    engine.set_printoptions(**options)
    torch.set_printoptions(**options)
    try:
        for case in CASES:
            assert repr(engine.tensor(case)) == repr(torch.tensor(case))
    finally:
        engine.set_printoptions(profile="default")
        torch.set_printoptions(profile="default")


def test_half_precision_equals_torch():
    torch = pytest.importorskip("torch")
    for name in ("bfloat16", "float16"):
        values = [0.1, 2.5, -300.0]
        ours, theirs = [lib.tensor(values, dtype=getattr(lib, name)) for lib in (engine, torch)]
        assert repr(ours) == repr(theirs)


def test_history_is_shown_and_wraps_at_the_line_width():
    x = engine.tensor([1.5, 2.0], requires_grad=True)
    assert repr(x) == "tensor([1.5000, 2.0000], requires_grad=True)"
    assert repr(x + 1) == "tensor([2.5000, 3.0000], grad_fn=<AddBackward0>)"
    assert repr(x.detach()) == "tensor([1.5000, 2.0000])"
    long = engine.arange(8, dtype=engine.float64).requires_grad_()
    assert repr(long) == ("tensor([0., 1., 2., 3., 4., 5., 6., 7.], dtype=torch.float64,\n"
                          "       requires_grad=True)")


def test_default_dtype_decides_what_is_said():
    engine.set_default_dtype(engine.float64)
    try:
        assert repr(engine.tensor([1.0])) == "tensor([1.])"
        assert repr(engine.tensor([1.0], dtype=engine.float32)) == "tensor([1.], dtype=torch.float32)"
    finally:
        engine.set_default_dtype(engine.float32)


def test_parameter_says_what_it_is():
    from engine import nn

    assert repr(nn.Parameter(engine.tensor([1.0]))) == "Parameter containing:\ntensor([1.], requires_grad=True)"


def test_unknown_profile_is_refused():
    with pytest.raises(ValueError, match="'default', 'short', 'full'"):
        engine.set_printoptions(profile="tiny")
