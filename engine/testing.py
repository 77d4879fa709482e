"""Comparing results in tests: `engine.testing.assert_close`."""

from __future__ import annotations

from typing import Any

import numpy as np

from . import backend
from .dtypes import bfloat16, float16, float32, float64
from .tensor import Tensor

__all__ = ["assert_close"]

# (rtol, atol) where none are given: torch's table.
_TOLERANCES = {float16: (1e-3, 1e-5), bfloat16: (1.6e-2, 1e-5), float32: (1.3e-6, 1e-5), float64: (1e-7, 1e-7)}


def assert_close(actual: Any, expected: Any, *, allow_subclasses: bool = True, rtol: float | None = None,
                 atol: float | None = None, equal_nan: bool = False, check_device: bool = True, check_dtype: bool = True,
                 check_layout: bool = True, check_stride: bool = False, msg: Any = None) -> None:
    """Raise AssertionError unless the two agree: `|actual - expected| <= atol + rtol * |expected|`.

    Tensors, numbers, and (nested) sequences and mappings of them. Without rtol and atol the dtype decides.

    >>> torch.testing.assert_close(torch.tensor([1.0]), torch.tensor([1.0 + 1e-8]))
    """
    if (rtol is None) != (atol is None):
        raise ValueError("rtol and atol must both be specified or both be unspecified.")
    _compare(actual, expected, rtol, atol, equal_nan, (check_dtype, check_device, check_stride), msg, "")


def _fail(msg: Any, text: str) -> None:
    raise AssertionError(msg(text) if callable(msg) else msg or text)


def _compare(a: Any, b: Any, rtol: Any, atol: Any, equal_nan: bool, checks: tuple, msg: Any, where: str) -> None:
    if isinstance(b, dict) and isinstance(a, dict):
        if a.keys() != b.keys():
            _fail(msg, f"The keys of the mappings do not match: {sorted(a)} and {sorted(b)}{where}")
        for key in b:
            _compare(a[key], b[key], rtol, atol, equal_nan, checks, msg, f"{where} [{key!r}]")
        return
    if isinstance(b, (list, tuple)) and isinstance(a, (list, tuple)):
        if len(a) != len(b):
            _fail(msg, f"The length of the sequences mismatch: {len(a)} != {len(b)}{where}")
        for i, (x, y) in enumerate(zip(a, b)):
            _compare(x, y, rtol, atol, equal_nan, checks, msg, f"{where} [{i}]")
        return
    _compare_values(a, b, rtol, atol, equal_nan, checks, msg, where)


def _compare_values(a: Any, b: Any, rtol: Any, atol: Any, equal_nan: bool, checks: tuple, msg: Any, where: str) -> None:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        if a.shape != b.shape:
            _fail(msg, f"The values for attribute 'shape' do not match: {a.shape} != {b.shape}{where}.")
        if checks[0] and a.dtype != b.dtype:
            _fail(msg, f"The values for attribute 'dtype' do not match: {a.dtype} != {b.dtype}{where}.")
        if checks[1] and a.device != b.device:
            _fail(msg, f"The values for attribute 'device' do not match: {a.device} != {b.device}{where}.")
        if checks[2] and a.stride() != b.stride():
            _fail(msg, f"The values for attribute 'stride()' do not match: {a.stride()} != {b.stride()}{where}.")
        kinds = [_TOLERANCES.get(t.dtype.to_real(), (0.0, 0.0)) for t in (a, b)]
        default = max(kinds)
    else:
        default = (1.3e-6, 1e-5) if isinstance(b, float) or isinstance(a, float) else (0.0, 0.0)
    x, y = [_array(v) for v in (a, b)]
    r, t = default if rtol is None else (rtol, atol)
    close = np.isclose(x, y, r, t, equal_nan)
    if not close.all():
        gap = np.abs(x.astype(np.complex128) - y)
        kind = "Scalars" if not np.ndim(close) else "Tensor-likes"
        _fail(msg, f"{kind} are not close{where}!\n\nMismatched elements: {int((~close).sum())} / {close.size}\n"
                   f"Greatest absolute difference: {np.nanmax(gap) if gap.size else 0} (up to {t} allowed)\n"
                   f"Greatest relative difference: {np.nanmax(gap / np.maximum(np.abs(y), 1e-300))} (up to {r} allowed)")


def _array(value: Any) -> np.ndarray:
    if isinstance(value, Tensor):
        array = backend.to_numpy(value._array)
        return array.astype(np.float32) if value.dtype in (bfloat16, float16) else array
    return np.asarray(value)
