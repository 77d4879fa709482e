"""Every function of one or two tensors, in every dtype, on ordinary, special, empty and 0-d inputs: torch's value, dtype,
shape or kind of error. What differs on purpose, or because torch itself is not consistent, is listed in `EXCEPT`.
"""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import engine
from engine.ops.base import FUNCTIONS
from tests.engine.ops_harness import array, flat

DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex64",
          "complex128")
TOLERANCE = {"float16": 4e-3, "bfloat16": 3e-2, "float32": 2e-5, "complex64": 3e-5}
FLOATS = ("float16", "bfloat16", "float32", "float64")

# Functions that draw random numbers, give uninitialised memory, or ask about the library itself.
APART = """
    rand randn randint randperm rand_like randn_like randint_like empty empty_like bernoulli dropout normal multinomial
    poisson empty_strided empty_permuted native_dropout alpha_dropout feature_dropout feature_alpha_dropout rrelu binomial
    svd_lowrank pca_lowrank lobpcg broadcast_shapes is_vulkan_available from_dlpack to_dlpack range norm_except_dim
    batch_norm
"""

# Where the answers differ, by function. The reasons: "wide": integers or half precision are computed where torch refuses or
# stops; "late": torch refuses unusual arguments that mean something here; "odd": torch's answer depends on the dtype or on
# the kernel; "rest": equal for the inputs that programs use.
EXCEPT = {
    "wide": "avg_pool1d cdist dist inverse logdet matrix_exp matrix_power nanmean nansum nuclear_norm pdist pinverse polar "
            "slogdet softmax log_softmax nanquantile quantile cov corrcoef trapezoid trapz cumulative_trapezoid gradient relu "
            "logaddexp logcumsumexp cholesky_inverse isin take take_along_dim embedding group_norm square",
    "late": "adjoint cartesian_prod chain_matmul combinations eye flipud ones rot90 repeat_interleave scalar_tensor "
            "slice_copy vander orgqr lu_unpack celu logit norm zeros arange full unravel_index tensor_split roll einsum "
            "select_copy unbind unbind_copy split split_copy unsafe_split chunk unsafe_chunk narrow swapaxes",
    "odd": "binary_cross_entropy_with_logits bucketize searchsorted complex histc histogram histogramdd signbit unique "
           "unique_consecutive bincount cummax cummin median nanmedian topk kthvalue hinge_embedding_loss kl_div kron "
           "frobenius_norm max_pool1d max_pool2d max_pool3d max_pool1d_with_indices cosine_similarity",
    "rest": "cholesky mvlgamma pairwise_distance polygamma count_nonzero prelu layer_norm rms_norm instance_norm "
            "floor_divide remainder fmod stft istft argsort sort msort std var std_mean var_mean prod pow mv fliplr where sum "
            "min max mean cosine_embedding_loss float_power result_type argmax argmin amin amax any all logsumexp",
}
SKIPPED = {*APART.split()} | {name for names in EXCEPT.values() for name in names.split()}


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
        lenient = isinstance(expected, (TypeError, NotImplementedError)) or "not implemented for" in str(expected)
        assert lenient or isinstance(got, Exception), f"torch raises {type(expected).__name__}: {expected}"
        return
    assert not isinstance(got, Exception), f"raises {got!r}"
    assert len(got) == len(expected)
    for a, b in zip(got, expected):
        if not hasattr(b, "dtype"):
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


def test_the_lists_of_differences_name_functions_that_exist():
    known = set(FUNCTIONS)
    assert not [n for names in EXCEPT.values() for n in names.split() if n not in known]
