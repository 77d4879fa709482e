"""Every function of one or two tensors, in every dtype, on ordinary, special, empty and 0-d inputs: torch's value, dtype,
shape or kind of error; and every `out=` form. What differs on purpose, or because torch itself is not consistent, is listed in
`EXCEPT`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import engine
from engine.ops.base import FUNCTIONS
from engine.ops.samples import all_samples
from tests.engine.ops_harness import array, build, find, flat

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
          "complex128")
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "complex64": 3e-5}
# torch has no kernel for these, or none for half precision: here they are computed.
WIDER = ("not implemented for", "Low precision dtypes not supported", "of float, double, cfloat or cdouble")
FLOATS = ("float16", "bfloat16", "float32", "float64")

# Functions that draw random numbers, give uninitialised memory, or ask about the library itself.
APART = """
    rand randn randint randperm rand_like randn_like randint_like empty empty_like bernoulli dropout normal multinomial
    poisson empty_strided empty_permuted native_dropout alpha_dropout feature_dropout feature_alpha_dropout rrelu binomial
    svd_lowrank pca_lowrank lobpcg broadcast_shapes is_vulkan_available from_dlpack to_dlpack range norm_except_dim
    batch_norm
"""

# Where the answers differ: functions, the dtypes or kinds of call concerned ("" for all), why.
EXCEPT = (
    ("binary_cross_entropy_with_logits hinge_embedding_loss kl_div", "", "torch's `torch.kl_div` does not reduce by default; "
     "`torch.nn.functional.kl_div` does, and here they are one function"),
    ("bucketize searchsorted", "", "the sequence searched is not sorted in most of these calls"),
    ("cholesky_inverse", "complex64 complex128", "the input is no factor: its diagonal is not real"),
    ("complex", "float16", "complex32 is not supported"),
    ("cummax cummin", "number", "torch does not look at `dim` of an empty tensor"),
    ("eye zeros ones kthvalue histc", "one pair number", "True as a size, NaN as a range: torch fails by accident"),
    ("polygamma", "", "torch gives NaN at infinity"),
    ("scalar_tensor celu", "complex64 complex128", "a complex number as a real one: torch fails by accident"),
    ("histogram", "", "int bins of integers; a number on the limit of two bins"),
    ("matrix_exp", "float16 bfloat16", "torch overflows"),
    ("signbit", "bfloat16", "torch's NaN is negative"),
    ("take_along_dim", "", "torch lets a bool index pass if it is empty"),
    ("topk", "uint8", "the index of equal elements depends on the kernel"),
    ("median nanmedian", "dim", "as above"),
)
DIFFER = {name: where.split() for names, where, _ in EXCEPT for name in names.split()}
SKIPPED = {*APART.split()} | {name for name, where in DIFFER.items() if not where}


def inputs(dtype):
    """Arrays of the dtype: ordinary, 0-d, empty, and for floating ones NaN, infinities and signed zeros."""
    numbers = np.random.default_rng(3)
    fraction = 0.25 if dtype[0] in "fbc" and dtype != "bool" else 0
    bases = [numbers.integers(1, 6, (3, 3)) + 2 * fraction, numbers.integers(-3, 4, 5) + fraction, np.array(3.0),
             np.zeros((0, 3)), np.zeros(0)]
    if dtype in FLOATS:
        bases.append(np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.5, -2.0]))
    for base in bases:
        if dtype == "bool":
            base = base.astype(int) % 2
        elif dtype == "uint8":
            base = abs(base)
        elif dtype.startswith("complex"):
            base = base + (1j * base[::-1] if base.ndim else 2j)
        yield base


def run(lib, name, base, dtype, how):
    kind = getattr(lib, dtype)
    x = lib.tensor(base.tolist(), dtype=kind) if np.iscomplexobj(base) else lib.tensor(base.tolist()).to(kind)
    args = {"one": (x,), "dim": (x, -1), "pair": (x, x.clone()), "number": (x, 2)}[how]
    try:
        return flat(getattr(lib, name)(*args))
    except Exception as error:  # the class is what is compared
        return error


def check(got, expected, dtype):
    if isinstance(expected, Exception):
        lenient = isinstance(expected, (TypeError, NotImplementedError)) or any(w in str(expected) for w in WIDER)
        assert lenient or isinstance(got, Exception), f"torch raises {type(expected).__name__}: {expected}"
        return
    assert not isinstance(got, Exception), f"raises {got!r}"
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        if not hasattr(b, "dtype"):
            a, b = [str(v) if "dtype" in type(v).__name__ else v for v in (a, b)]
            assert a == b or a != a
            continue
        assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape), (a.dtype, b.dtype, a.shape, b.shape)
        single = str(b.dtype) in ("torch.float32", "torch.complex64")
        tolerance = TOLERANCE.get(dtype, 1e-6 if single else 1e-9)
        np.testing.assert_allclose(array(a), array(b.resolve_neg()), rtol=tolerance, atol=tolerance)


NAMES = sorted(n for n in FUNCTIONS if n not in SKIPPED and n[0] != "_" and n[-1] != "_")


@pytest.mark.parametrize("name", NAMES)
def test_every_dtype_and_kind_of_input(name):
    torch = pytest.importorskip("torch")
    if not hasattr(torch, name):
        pytest.skip("torch has no such function")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype in DTYPES:
            for base in inputs(dtype):
                for how in ("one", "dim", "pair", "number"):
                    if {dtype, how} & {*DIFFER.get(name, ())}:
                        continue
                    expected = run(torch, name, base, dtype, how)
                    if isinstance(expected, TypeError):
                        continue
                    got = run(engine, name, base, dtype, how)
                    try:
                        check(got, expected, dtype)
                    except AssertionError as error:
                        raise AssertionError(f"{name}({how}) of {dtype} {base.tolist()}: {error}") from None


INPLACE = sorted(n for n in dir(engine.Tensor) if n[-1] == "_" and n[0] != "_" and n[:-1] in NAMES)


@pytest.mark.parametrize("name", INPLACE)
def test_in_place_forms_keep_dtype_and_memory(name):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for dtype in DTYPES:
            for base in inputs(dtype):
                for extra in ((), (2,)):
                    results = []
                    for lib in (torch, engine):
                        kind = getattr(lib, dtype)
                        plain = not np.iscomplexobj(base)
                        x = lib.tensor(base.tolist()).to(kind) if plain else lib.tensor(base.tolist(), dtype=kind)
                        x = x.t() if x.ndim == 2 else x
                        if not hasattr(x, name):
                            pytest.skip("torch has no such method")
                        try:
                            y = getattr(x, name)(*extra)
                            results.append([y])
                            assert y is x
                        except Exception as error:
                            results.append(error)
                    if isinstance(results[0], TypeError):
                        continue
                    check(results[1], results[0], dtype)


def _with_out(lib, sample, size, kind=None):
    """The sample's call with `out=`; outputs of the right size ("fit"), none or another. Returns (result, outs, warnings)."""
    args, kwargs = build(sample.args, lib, "float64", [], False), build(sample.kwargs, lib, "float64", [], False)
    plain = find(lib, sample)(*args, **kwargs)
    many = isinstance(plain, (tuple, list))
    outs = [lib.zeros({"fit": tuple(t.shape), "none": (0,), "other": (7, 2)}[size], dtype=kind or t.dtype)
            for t in (plain if many else [plain])]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        result = find(lib, sample)(*args, out=tuple(outs) if many else outs[0], **kwargs)
    return flat(result), outs, [w for w in caught if "was resized" in str(w.message)]


OUT = {(s.module, s.name): s for _, _, s in all_samples() if s.oracle and "out" not in s.kwargs}
# Functions of nn.functional whose `out` is not documented; and two whose result is a resized tensor in torch, unwarned.
NO_OUT = {"softshrink", "hardshrink", "gelu", "softplus", "logsigmoid", "avg_pool2d", "avg_pool3d", "linear"}
UNWARNED = {"logspace", "addbmm", "nonzero", "range", "linspace"}


@pytest.mark.parametrize("sample", OUT.values(), ids=[".".join(k).strip(".") for k in OUT])
def test_out_is_filled_resized_with_a_warning_and_returned(sample):
    torch = pytest.importorskip("torch")
    for size in ("fit", "none", "other"):
        try:
            expected, _, warned = _with_out(torch, sample, size)
        except Exception:
            pytest.skip("torch has no such form")
        if sample.name in NO_OUT:
            pytest.skip("not documented")
        got, outs, ours = _with_out(engine, sample, size)
        assert all(a is b for a, b in zip(got, outs)) and len(got) == len(expected)
        check(got, expected, "float64")
        assert sample.name in UNWARNED or bool(ours) == bool(warned), size


@pytest.mark.parametrize("call", [
    lambda lib: lib.add(lib.ones(2), 1, out=lib.zeros(2, dtype=lib.int64)),
    lambda lib: lib.add(lib.ones(2, requires_grad=True), 1, out=lib.zeros(2)),
    lambda lib: lib.add(lib.ones(2), 1, out=lib.zeros(2, requires_grad=True)),
    lambda lib: lib.add(lib.ones(3), 1, out=lib.zeros(1).expand(3)),
    lambda lib: lib.zeros(1).expand(3).add_(1),
    lambda lib: lib.zeros(3).add_(lib.ones(2, 3)),
    lambda lib: lib.zeros(3, dtype=lib.int64).add_(1.5),
    lambda lib: lib.zeros(3, dtype=lib.bool).add_(1),
    lambda lib: lib.zeros(3).mul_(1j),
    lambda lib: lib.zeros(3, dtype=lib.int64).div_(2),
])
def test_outputs_that_do_not_fit_are_refused(call):
    torch = pytest.importorskip("torch")
    with pytest.raises(Exception) as expected:
        call(torch)
    with pytest.raises(type(expected.value)):
        call(engine)


@pytest.mark.parametrize("call", [
    lambda lib, x: lib.fft.fftn(x, 2), lambda lib, x: lib.fft.ihfftn(x, 3, 0), lambda lib, x: lib.fft.fft(x, -1),
    lambda lib, x: lib.special.i0e(x / 0), lambda lib, x: lib.special.i1e(-x / 0), lambda lib, x: lib.special.xlog1py(x > 2, 2),
    lambda lib, x: lib.special.xlog1py(2, x > 2), lambda lib, x: lib.linalg.vander(x.to(lib.uint8)),
    lambda lib, x: lib.linalg.vander(x > 2), lambda lib, x: lib.linalg.matrix_power(x.int()[:2, :2], 3),
    lambda lib, x: lib.linalg.matrix_power(x.int()[:2, :2], -1), lambda lib, x: lib.nn.functional.hardtanh(x > 2),
    lambda lib, x: lib.nn.functional.l1_loss(x.long(), x.long()),
    lambda lib, x: lib.polygamma(2, lib.tensor([float("-inf"), -0.5, 0.0])), lambda lib, x: lib.float_power(x, 2),
    lambda lib, x: x.half().float_power_(2), lambda lib, x: lib.unravel_index(lib.tensor([7, -1]), (2, 3)),
    lambda lib, x: lib.unique(lib.tensor([float("nan"), 2.0, -1.0]).bfloat16()), lambda lib, x: lib.where(lib.tensor(True)),
    lambda lib, x: lib.logcumsumexp(x + 1j, 0), lambda lib, x: lib.logaddexp(x + 1j, x - 2j),
    lambda lib, x: lib.complex(x / 0, x), lambda lib, x: lib.nn.functional.celu(-x, -1.0),
])
def test_values_that_were_once_wrong(call):
    torch = pytest.importorskip("torch")
    outcomes = []
    for lib in (torch, engine):
        try:
            outcomes.append(flat(call(lib, lib.arange(1.0, 7.0).reshape(2, 3))))
        except Exception as error:
            outcomes.append(error)
    check(outcomes[1], outcomes[0], "float32")


def test_out_may_be_an_input():
    torch = pytest.importorskip("torch")
    for lib in (torch, engine):
        x = lib.arange(6.0).reshape(2, 3)
        assert lib.add(x, x, out=x) is x and x.tolist() == [[0, 2, 4], [6, 8, 10]]
        assert lib.cumsum(x, 1, out=x).tolist() == [[0, 2, 6], [6, 14, 24]]


def test_the_lists_of_differences_name_functions_that_exist():
    known = set(FUNCTIONS)
    assert not [name for name in DIFFER if name not in known]
