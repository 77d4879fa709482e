"""Convolutions: what the samples of the cards cannot say."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.nn import functional as F
from engine.ops import _windows, _winograd_plain


def t(*shape, seed=0, dtype=engine.float32):
    return engine.tensor(np.random.default_rng(seed).normal(size=shape)).to(dtype)


@pytest.mark.parametrize(
    ("x", "w", "options", "facts"),
    [
        (
            (1, 2, 8, 8),
            (4, 3, 3, 3),
            {},
            ["weight of size [4, 3, 3, 3]", "expected input[1, 2, 8, 8]", "3 channels", "got 2"],
        ),
        ((1, 3, 2, 2), (4, 3, 3, 3), {}, ["(2 x 2)", "(3 x 3)", "greater than actual input size"]),
        ((1, 4, 8, 8), (4, 2, 3, 3), {"groups": 3}, ["groups=3", "[4, 2, 3, 3]"]),
        ((8, 8), (4, 3, 3, 3), {}, ["3D (unbatched) or 4D (batched)", "conv2d", "[8, 8]"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"stride": 0}, ["non-positive stride"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"padding": -1}, ["negative padding"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"dilation": 0}, ["dilation"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"stride": (1, 2, 3)}, ["stride", "[1, 2, 3]"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"padding": "same", "stride": 2}, ["strided convolutions"]),
        ((1, 3, 8, 8), (4, 3, 3, 3), {"padding": "full"}, ["'full'", "'valid'", "'same'"]),
        ((1, 3, 8, 8), (4, 3, 3), {}, ["4-dimensional weight", "[4, 3, 3]"]),
    ],
)
def test_bad_arguments_name_the_facts(x, w, options, facts):
    with pytest.raises(RuntimeError) as error:
        F.conv2d(t(*x), t(*w), **options)
    for fact in facts:
        assert fact in str(error.value)


def test_bad_bias_and_dtypes_are_named():
    with pytest.raises(RuntimeError, match="expected bias to be 1-dimensional with 4 elements"):
        F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3), t(5))
    with pytest.raises(RuntimeError, match="float32.*weight type.*float64"):
        F.conv2d(t(1, 3, 8, 8), t(4, 3, 3, 3, dtype=engine.float64))
    with pytest.raises(TypeError, match="must be Tensor, not list"):
        F.conv2d([1.0], t(4, 3, 3, 3))


def test_transposed_convolution_rejects_what_does_not_fit():
    with pytest.raises(RuntimeError, match="output padding must be smaller than either stride or dilation"):
        F.conv_transpose2d(t(1, 3, 4, 4), t(3, 2, 3, 3), output_padding=1)
    with pytest.raises(RuntimeError, match="to have 3 channels, but got 2 channels"):
        F.conv_transpose1d(t(1, 2, 4), t(3, 2, 3))
    with pytest.raises(RuntimeError, match="Output size is too small"):
        F.conv_transpose1d(t(1, 3, 1), t(3, 2, 1), padding=1)


@pytest.mark.parametrize("block", [1, 60, 400])
@pytest.mark.parametrize("groups", [1, 2])
def test_blocked_computation_equals_the_whole(monkeypatch, block, groups):
    """Small blocks (single rows, single images, several images) give the numbers of one block."""
    from engine.ops import convolution

    x, w, b = t(3, 4, 6, 5, seed=1), t(6, 4 // groups, 3, 2, seed=2), t(6, seed=3)

    def run():
        leaves = [v.clone().requires_grad_() for v in (x, w, b)]
        y = F.conv2d(*leaves, stride=(2, 1), padding=1, groups=groups)
        (y * y).sum().backward()
        return [y.detach(), *[v.grad for v in leaves]]

    whole = run()
    monkeypatch.setattr(_windows, "BLOCK", block)
    convolution.conv_plan.cache_clear()
    try:
        blocked = run()
    finally:
        convolution.conv_plan.cache_clear()
    for a, c in zip(whole, blocked):
        np.testing.assert_allclose(a.numpy(), c.numpy(), rtol=1e-5, atol=1e-5)


def test_lists_are_accepted_where_ints_are():
    x, w = t(1, 2, 5, 5), t(3, 2, 3, 3)
    a = F.conv2d(x, w, None, [2, 1], [1, 0], [1, 1], 1)
    b = F.conv2d(x, w, stride=(2, 1), padding=(1, 0))
    np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_output_is_contiguous_so_that_view_works():
    y = F.conv2d(t(4, 3, 6, 6), t(5, 3, 3, 3), padding=1)
    assert y.is_contiguous()
    assert y.view(4, -1).shape == (4, 180)


def test_only_what_is_asked_for_gets_a_gradient():
    x, w = t(2, 3, 5, 5), t(4, 3, 3, 3).requires_grad_()
    F.conv2d(x, w).sum().backward()
    assert x.grad is None
    assert w.grad.shape == w.shape


def test_changed_input_is_noticed_in_backward():
    x, w = t(2, 3, 5, 5).requires_grad_(), t(4, 3, 3, 3).requires_grad_()
    h = x * 2
    y = F.conv2d(h, w)
    h.mul_(3)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


def test_half_precision_keeps_its_dtype():
    for dtype in (engine.float16, engine.bfloat16):
        y = F.conv2d(t(1, 2, 4, 4, dtype=dtype), t(3, 2, 3, 3, dtype=dtype))
        assert y.dtype is dtype


def test_known_numbers():
    x = engine.arange(16.0).reshape(1, 1, 4, 4)
    w = engine.tensor([[[[0.0, 1.0], [2.0, 3.0]]]])
    np.testing.assert_array_equal(F.conv2d(x, w, stride=2).numpy(), [[[[24.0, 36.0], [72.0, 84.0]]]])


def gradients_of(x, w, b, library, **options):
    """A convolution and the gradients of all that went in, as NumPy arrays."""
    leaves = [None if v is None else library.tensor(v, requires_grad=True) for v in (x, w, b)]
    y = library.nn.functional.conv2d(*leaves, **options)
    g = np.random.default_rng(9).normal(size=tuple(y.shape)).astype(x.dtype)
    y.backward(library.tensor(g))
    return [y.detach().numpy(), *[v.grad.numpy() for v in leaves if v is not None]]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(
    ("n", "c", "o", "h", "w", "options"),
    [
        (3, 9, 10, 45, 34, {"padding": 1}),
        (2, 8, 16, 60, 61, {}),
        (1, 16, 8, 64, 63, {"padding": 2}),
        (33, 24, 20, 5, 7, {"padding": 1}),
        (64, 32, 64, 4, 4, {"padding": (0, 1)}),
        (9, 16, 20, 16, 15, {"padding": 1, "stride": 2}),
        (4, 17, 33, 33, 38, {"stride": 2}),
        (40, 33, 16, 4, 5, {"padding": 1, "stride": 2}),
        (2, 16, 70, 31, 34, {"padding": (2, 1), "stride": 2}),
    ],
)
def test_winograd_is_as_accurate_as_the_definition(monkeypatch, n, c, o, h, w, options, bias):
    """Compiled and in NumPy beside float64: no farther from it than rounding of a sum of so many products takes one."""
    random, k = np.random.default_rng(0), 4 if "stride" in options else 3
    arrays = [random.normal(size=(n, c, h, w)), random.normal(size=(o, c, k, k)), random.normal(size=o) if bias else None]
    exact = gradients_of(*arrays, engine, **options)
    single = [None if a is None else a.astype(np.float32) for a in arrays]
    found = [gradients_of(*single, engine, **options)]
    with engine.backends.fast.flags(enabled=False):
        monkeypatch.setattr(_winograd_plain, "LEAST_WORK", 10**12)
        plain = gradients_of(*single, engine, **options)
        monkeypatch.setattr(_winograd_plain, "LEAST_WORK", 1)
        monkeypatch.setattr(_winograd_plain, "FEWEST_PAIRS", 1)
        for largest in (1 << 14, 1 << 20):  # some rows of an image at a time, some images at a time
            monkeypatch.setattr(_winograd_plain, "LARGEST", largest)
            _winograd_plain.blocks_of.cache_clear()
            found.append(gradients_of(*single, engine, **options))
    _winograd_plain.blocks_of.cache_clear()
    for got in found:
        for a, b, e in zip(got, plain, exact, strict=True):
            assert a.dtype == np.float32 and a.shape == e.shape
            assert np.sqrt(np.square(a - e).mean()) < 3 * np.sqrt(np.square(b - e).mean()) + 1e-7 * e.std()


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch):
    monkeypatch.setattr(_winograd_plain, "LEAST_WORK", 1)
    shapes = [(5, 12, 40, 40), (16, 12, 3, 3), (9, 16, 20, 20), (24, 16, 4, 4), (9, 56, 20, 20), (52, 56, 3, 3)]
    x, w, a, b, *many = (np.random.default_rng(i).normal(size=s).astype(np.float32) for i, s in enumerate(shapes))
    before = engine.get_num_threads()
    try:
        results = []
        for threads in (1, 2, 3):
            engine.set_num_threads(threads)
            results.append([gradients_of(x, w, None, engine, padding=1), gradients_of(x, w, None, engine, stride=2),
                            gradients_of(x[:1], w, None, engine, padding=1, dilation=2),
                            gradients_of(a, b, None, engine, padding=1, stride=2),
                            gradients_of(*many, None, engine, padding=1)])  # fmt: skip
            with engine.backends.fast.flags(enabled=False):
                results[-1].append(gradients_of(*many, None, engine, padding=1))
    finally:
        engine.set_num_threads(before)
    for other in results[1:]:
        for ours, first in zip(sum(other, []), sum(results[0], []), strict=True):
            np.testing.assert_array_equal(ours, first)


@pytest.mark.parametrize("fast", [True, False])
@pytest.mark.parametrize(
    ("x", "o", "k", "options"),
    [
        ((4, 32, 29, 30), 32, (3, 3), {"padding": 1}),
        ((40, 128, 4, 4), 128, (3, 3), {"padding": 1}),
        ((40, 64, 4, 5), 128, (3, 3), {"padding": 1, "stride": 2}),
        ((3, 16, 28, 46), 16, (3, 3), {"padding": 1, "stride": 2}),
        ((4, 32, 29, 23), 32, (3, 3), {"padding": 1, "stride": 2}),
        ((4, 32, 29, 30), 64, (3, 2), {"padding": 1, "stride": (2, 1)}),
        ((2, 48, 40, 33), 48, (5, 3), {"padding": (4, 0), "dilation": (2, 3)}),
        ((2, 48, 40, 33), 48, (3, 3), {"padding": 4, "stride": 3}),
        ((3, 5, 6, 7), 5, (1, 1), {"padding": 2, "stride": 2}),
        ((9, 40, 17, 16), 40, (3, 3), {"padding": 1}),
        ((8, 48, 15, 14), 96, (3, 3), {"padding": 1, "stride": 2}),
        ((33, 130, 8, 5), 130, (5, 3), {"padding": (2, 1), "dilation": (1, 2)}),
        ((20, 80, 9, 12), 80, (2, 3), {"padding": (2, 0), "stride": (3, 1)}),
        ((64, 100, 4, 4), 100, (3, 3), {"padding": 3}),
    ],
)
def test_depthwise_equals_the_definition(x, o, k, options, fast):
    random = np.random.default_rng(0)
    c = x[1]
    arrays = [random.normal(size=x), random.normal(size=(o, 1, *k)), random.normal(size=o)]
    full = np.zeros((o, c, *k))
    full[np.arange(o), np.arange(o) // (o // c)] = arrays[1][:, 0]
    exact = gradients_of(arrays[0], full, arrays[2], engine, **options)
    exact[2] = exact[2][np.arange(o), np.arange(o) // (o // c)][:, None]
    with engine.backends.fast.flags(enabled=fast):
        for dtype, bound in ((np.float32, 2e-5), (np.float64, 1e-12)):
            got = gradients_of(*[a.astype(dtype) for a in arrays], engine, groups=c, **options)
            for a, e in zip(got, exact, strict=True):
                assert a.dtype == dtype and a.shape == e.shape
                assert np.abs(a - e).max() <= bound * np.abs(e).max()


@pytest.mark.parametrize("shape", [(3, 64, 31, 33), (40, 64, 7, 8), (64, 128, 4, 4)])
@pytest.mark.parametrize("stride", [1, 2])
def test_kernels_of_one_element_are_products(shape, stride):
    random = np.random.default_rng(0)
    arrays = [random.normal(size=shape), random.normal(size=(80, shape[1], 1, 1)), random.normal(size=80)]
    x, w, b = arrays
    y, gx, gw, gb = gradients_of(*arrays, engine, stride=stride)
    g = np.random.default_rng(9).normal(size=y.shape)
    seen = x[:, :, ::stride, ::stride]
    np.testing.assert_allclose(y, np.einsum("nchw,oc->nohw", seen, w[:, :, 0, 0]) + b[:, None, None], atol=1e-10)
    np.testing.assert_allclose(gw[:, :, 0, 0], np.einsum("nohw,nchw->oc", g, seen), atol=1e-10)
    np.testing.assert_allclose(gx[:, :, ::stride, ::stride], np.einsum("nohw,oc->nchw", g, w[:, :, 0, 0]), atol=1e-10)
    np.testing.assert_allclose(gb, g.sum(axis=(0, 2, 3)), atol=1e-10)
    assert np.count_nonzero(gx) == seen.size


@pytest.mark.parametrize(
    ("name", "x", "w", "options"),
    [
        ("conv2d", (2, 6, 9, 40), (8, 3, 3, 3), {"groups": 2, "padding": 1}),
        ("conv2d", (5, 4, 9, 45), (6, 4, 3, 5), {"stride": 2, "dilation": (1, 2), "padding": (2, 1)}),
        ("conv2d", (1, 12, 40, 40), (3, 12, 1, 1), {"padding": 1}),
        ("conv2d", (0, 4, 9, 9), (4, 1, 3, 3), {"groups": 4}),
        ("conv1d", (3, 8, 300), (8, 1, 7), {"groups": 8, "padding": "same"}),
        ("conv1d", (3, 4, 90), (8, 4, 7), {"padding": "same"}),
        ("conv3d", (2, 3, 5, 6, 20), (4, 3, 3, 3, 3), {"padding": 1}),
        ("conv3d", (2, 4, 5, 6, 20), (4, 1, 3, 3, 3), {"padding": 1, "groups": 4, "stride": 2}),
        ("conv_transpose2d", (3, 6, 10, 20), (6, 4, 4, 4), {"stride": 2, "padding": 1}),
        ("conv_transpose2d", (3, 6, 10, 20), (6, 1, 3, 3), {"groups": 6, "dilation": 2, "output_padding": 1}),
        ("conv_transpose2d", (2, 16, 30, 30), (16, 12, 3, 3), {"padding": 1}),
        ("conv_transpose2d", (2, 16, 30, 30), (16, 12, 1, 1), {}),
    ],
)
def test_gradients_equal_torch_where_rows_are_long(name, x, w, options):
    torch = pytest.importorskip("torch")
    random = np.random.default_rng(0)
    arrays = [random.normal(size=x), random.normal(size=w)]
    results = []
    for library in (engine, torch):
        leaves = [library.tensor(a, requires_grad=True) for a in arrays]
        y = getattr(library.nn.functional, name)(*leaves, **options)
        y.backward(library.tensor(np.random.default_rng(1).normal(size=tuple(y.shape))))
        results.append([v.detach().numpy() for v in (y, *[leaf.grad for leaf in leaves])])
    for ours, theirs in zip(*results, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-10)


def both_ways(name, arrays, options):
    """A convolution, its first derivatives, and the derivatives of a sum of squares of those, as NumPy arrays."""
    leaves = [None if a is None else engine.tensor(a, requires_grad=True) for a in arrays]
    wanted = [leaf for leaf in leaves if leaf is not None]
    y = getattr(F, name)(*leaves, **options)
    g = engine.tensor(np.random.default_rng(1).normal(size=tuple(y.shape)).astype(arrays[0].dtype), requires_grad=True)
    first = engine.autograd.grad(y, wanted, g, create_graph=True)
    second = engine.autograd.grad(sum((v * v).sum() for v in first[:2]), [*wanted[:2], g])
    return [v.detach().numpy() for v in (y, *first, *second)]


@pytest.mark.skipif(not engine.backends.fast.is_available(), reason="numba is not installed")
@pytest.mark.parametrize(
    ("name", "x", "w", "options"),
    [
        ("conv1d", (3, 1, 130), (5, 1, 9), {"stride": 2, "padding": 4}),
        ("conv1d", (1, 6, 300), (8, 3, 5), {"groups": 2, "dilation": 3}),
        ("conv2d", (9, 3, 9, 7), (4, 3, 3, 3), {"padding": 1}),
        ("conv2d", (3, 2, 33, 35), (5, 2, 5, 5), {"padding": 2, "stride": (2, 3)}),
        ("conv2d", (17, 9, 8, 8), (70, 9, 4, 4), {"padding": 1, "stride": 2}),
        ("conv2d", (8, 30, 4, 4), (9, 30, 4, 4), {}),
        ("conv2d", (2, 12, 20, 20), (6, 4, 3, 2), {"groups": 3, "dilation": (1, 2), "padding": (0, 1)}),
        ("conv2d", (10, 5, 6, 6), (3, 5, 1, 1), {"stride": 3, "padding": 1}),
        ("conv2d", (2, 70, 5, 40), (3, 70, 2, 3), {"dilation": 2, "stride": 2, "padding": 3}),
        ("conv3d", (2, 3, 5, 6, 20), (4, 3, 3, 3, 3), {"padding": 1}),
        ("conv3d", (9, 2, 5, 6, 7), (3, 2, 2, 3, 2), {"stride": (2, 1, 3), "dilation": (1, 2, 1)}),
        ("conv_transpose1d", (2, 4, 40), (4, 3, 4), {"stride": 3, "padding": 2, "output_padding": 1}),
        ("conv_transpose2d", (10, 6, 5, 5), (6, 4, 4, 4), {"stride": 2, "padding": 1}),
        ("conv_transpose2d", (3, 6, 18, 17), (6, 4, 2, 2), {"stride": 2}),
        ("conv_transpose2d", (3, 6, 10, 20), (6, 2, 3, 3), {"groups": 2, "dilation": 2, "stride": 3, "output_padding": 2}),
        ("conv_transpose3d", (2, 2, 4, 3, 5), (2, 3, 3, 2, 2), {"stride": (1, 2, 2)}),
    ],
)
def test_compiled_panels_equal_the_definition(monkeypatch, name, x, w, options):
    """All geometries, small ones too, by the kernels for large arrays; second derivatives by the same."""
    from engine.ops import _patches

    random = np.random.default_rng(0)
    outputs = w[0] if "transpose" not in name else w[1] * options.get("groups", 1)
    arrays = [random.normal(size=x), random.normal(size=w), random.normal(size=outputs)]
    for given in (arrays, [*arrays[:2], None]):
        exact = both_ways(name, given, options)
        with monkeypatch.context() as patched:
            patched.setattr(_patches, "LARGE_PRODUCT", 0)
            got = both_ways(name, [None if a is None else a.astype(np.float32) for a in given], options)
        for a, e in zip(got, exact, strict=True):
            assert a.dtype == np.float32 and a.shape == e.shape
            assert np.abs(a - e).max() <= 1e-5 * max(1, np.abs(e).max())


def test_large_half_precision_falls_back_to_float32():
    random = np.random.default_rng(0)
    x, w = random.normal(size=(4, 16, 40, 40)), random.normal(size=(16, 16, 3, 3))
    for options, kernel in (({"padding": 1}, w), ({"groups": 16}, w[:, :1])):
        exact = gradients_of(x, kernel, None, engine, **options)
        leaves = [engine.tensor(a).bfloat16().requires_grad_() for a in (x, kernel)]
        y = F.conv2d(*leaves, **options)
        y.backward(engine.tensor(np.random.default_rng(9).normal(size=tuple(y.shape))).bfloat16())
        for got, e in zip((y, *[v.grad for v in leaves]), exact, strict=True):
            assert got.dtype is engine.bfloat16
            assert np.abs(got.detach().float().numpy() - e).max() < 0.02 * np.abs(e).max()
