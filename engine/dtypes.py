"""Element types and torch's promotion rules.

A `dtype` wraps a NumPy dtype; `bfloat16` comes from ml_dtypes. Promotion is our own table because NumPy's differs from
torch's: there is no promotion between kinds by size (int64 with float32 gives float32), and Python scalars and 0-d
tensors do not promote within a kind. Source of the rules: torch's documentation, "Tensor Attributes, type promotion".
"""

from __future__ import annotations

import contextlib
from typing import Any

import ml_dtypes
import numpy as np

_WORDS = {"bool": "Bool", "uint8": "Byte", "int8": "Char", "int16": "Short", "int32": "Int", "int64": "Long",
          "uint16": "UInt16", "uint32": "UInt32", "uint64": "UInt64", "float16": "Half", "bfloat16": "BFloat16",
          "float32": "Float", "float64": "Double", "complex64": "ComplexFloat", "complex128": "ComplexDouble"}


class dtype:
    """An element type.

    Attributes: `np` (the NumPy dtype), `itemsize` (bytes), `is_floating_point`, `is_complex`, `is_signed`.

    >>> torch.float32
    torch.float32
    >>> torch.float32.itemsize, torch.int64.is_floating_point
    (4, False)
    """

    __slots__ = ("name", "np", "itemsize", "category", "kind", "is_floating_point", "is_complex", "is_signed",
                 "half", "word")

    def __init__(self, name: str, np_type: Any, category: int) -> None:
        self.name = name
        self.np = np.dtype(np_type)
        self.itemsize = self.np.itemsize
        self.kind = "f" if category == 2 else self.np.kind  # NumPy's letter; bfloat16 counts as floating
        self.category = category  # 0 bool, 1 integer, 2 floating, 3 complex
        self.is_floating_point = category == 2
        self.is_complex = category == 3
        self.is_signed = not (category == 0 or self.np.kind == "u")
        self.word = _WORDS.get(name, name)  # what torch's errors call it
        self.half = category == 2 and self.itemsize == 2

    def __repr__(self) -> str:
        return f"torch.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name

    def __deepcopy__(self, memo: dict) -> dtype:
        return self

    def to_complex(self) -> dtype:
        """The complex type that holds this floating type's values."""
        return complex128 if self is float64 or self is complex128 else complex64

    def to_real(self) -> dtype:
        """The floating type of a complex type's parts."""
        return {complex64: float32, complex128: float64}.get(self, self)


bool_ = dtype("bool", np.bool_, 0)
uint8 = dtype("uint8", np.uint8, 1)
int8 = dtype("int8", np.int8, 1)
int16 = dtype("int16", np.int16, 1)
int32 = dtype("int32", np.int32, 1)
int64 = dtype("int64", np.int64, 1)
uint16 = dtype("uint16", np.uint16, 1)
uint32 = dtype("uint32", np.uint32, 1)
uint64 = dtype("uint64", np.uint64, 1)
float16 = dtype("float16", np.float16, 2)
bfloat16 = dtype("bfloat16", ml_dtypes.bfloat16, 2)
float32 = dtype("float32", np.float32, 2)
float64 = dtype("float64", np.float64, 2)
complex64 = dtype("complex64", np.complex64, 3)
complex128 = dtype("complex128", np.complex128, 3)

# For storage: what is loaded, converted and saved. Arithmetic is done in a wider type.
float8_e4m3fn = dtype("float8_e4m3fn", ml_dtypes.float8_e4m3fn, 2)
float8_e4m3fnuz = dtype("float8_e4m3fnuz", ml_dtypes.float8_e4m3fnuz, 2)
float8_e5m2 = dtype("float8_e5m2", ml_dtypes.float8_e5m2, 2)
float8_e5m2fnuz = dtype("float8_e5m2fnuz", ml_dtypes.float8_e5m2fnuz, 2)
float8_e8m0fnu = dtype("float8_e8m0fnu", ml_dtypes.float8_e8m0fnu, 2)

FLOAT8 = (float8_e4m3fn, float8_e4m3fnuz, float8_e5m2, float8_e5m2fnuz, float8_e8m0fnu)
ALL = (bool_, uint8, int8, int16, int32, int64, uint16, uint32, uint64,
       float16, bfloat16, float32, float64, complex64, complex128)

_FROM_NP: dict[Any, dtype] = {d.np: d for d in (*ALL, *FLOAT8)}
_FROM_NP.update({np.dtype(np.longlong): int64, np.dtype(np.ulonglong): uint64})

# Singletons that the hot path compares by identity.
F32 = float32.np
F64 = float64.np
BF16 = bfloat16.np
F16 = float16.np
HALVES = (BF16, F16)
UNKNOWN_TO_NUMPY = frozenset({BF16, *(d.np for d in FLOAT8)})

_SIGNED = (int8, int16, int32, int64)
_UNSIGNED = (uint8, uint16, uint32, uint64)
_FLOATS = (float32, float64)


def from_numpy_dtype(np_dtype: Any) -> dtype:
    """The engine dtype of a NumPy dtype (any byte order).

    Raises TypeError for types without a counterpart (strings, objects, ...).
    """
    found = _FROM_NP.get(np_dtype)
    if found is None:
        found = _FROM_NP.get(np.dtype(np_dtype).newbyteorder("="))
    if found is None:
        known = ", ".join(str(d.np) for d in ALL)
        raise TypeError(f"can't convert np.ndarray of type {np.dtype(np_dtype)}. The only supported types are: {known}.")
    return found


def _promote(a: dtype, b: dtype) -> dtype:
    if a is b:
        return a
    if a in FLOAT8 or b in FLOAT8:
        raise RuntimeError(f"Promotion for Float8 Types is not supported, attempted to promote {a} and {b}")
    if a.category > b.category:
        a, b = b, a
    if a.category != b.category:
        if b.is_complex and a.is_floating_point:
            return complex128 if a is float64 or b is complex128 else complex64
        return b
    if b.is_complex:
        return complex128
    if b.is_floating_point:
        return float64 if float64 in (a, b) else float32  # float16 with bfloat16 meet in float32
    if a.is_signed == b.is_signed:
        return a if a.itemsize > b.itemsize else b
    signed, unsigned = (a, b) if a.is_signed else (b, a)
    wide = [d for d in _SIGNED if d.itemsize > unsigned.itemsize]
    if not wide:
        raise RuntimeError(f"Promotion for uint16, uint32, uint64 types is not supported, attempted to promote {a} and {b}")
    return signed if signed.itemsize > unsigned.itemsize else wide[0]


_TABLE: dict[tuple[dtype, dtype], dtype] = {}
for _a in ALL:
    for _b in ALL:
        with contextlib.suppress(RuntimeError):  # pairs that torch refuses too
            _TABLE[_a, _b] = _promote(_a, _b)


def cast(array: Any, np_dtype: Any) -> Any:
    """A raw array of another dtype. As in torch, what float8_e4m3fn cannot hold becomes its largest number."""
    if np_dtype is float8_e4m3fn.np and array.dtype.kind in "fV":
        array = np.clip(array.astype(np.float32), -448, 448)
    return array.astype(np_dtype)


def promote_types(type1: dtype, type2: dtype) -> dtype:
    """The smallest dtype that torch's rules give for a pair of equal-priority operands.

    >>> torch.promote_types(torch.int64, torch.float16)
    torch.float16
    """
    try:
        return _TABLE[type1, type2]
    except KeyError:
        return _promote(type1, type2)


def can_cast(from_: dtype, to: dtype) -> bool:
    """Whether torch lets a result of `from_` be stored in `to`: never downwards in kind (complex > float > int > bool).

    >>> torch.can_cast(torch.float64, torch.float32), torch.can_cast(torch.float32, torch.int64)
    (True, False)
    """
    return from_.category <= to.category and not (from_.category == 1 and to.category == 0)


_default = float32


def get_default_dtype() -> dtype:
    """The dtype of new floating tensors; `torch.float32` unless `set_default_dtype` changed it."""
    return _default


def set_default_dtype(d: dtype, /) -> None:
    """Set the dtype of new floating tensors (`float16`, `bfloat16`, `float32` or `float64`).

    Raises TypeError for anything that is not a floating dtype.
    """
    global _default
    if not isinstance(d, dtype) or not d.is_floating_point:
        raise TypeError(f"set_default_dtype(): only floating-point types are supported as the default type, got {d!r}")
    _default = d


def of_scalar(value: Any) -> dtype:
    """The dtype a Python (or NumPy) scalar stands for in promotion."""
    if isinstance(value, (bool, np.bool_)):
        return bool_
    if isinstance(value, (int, np.integer)):
        return int64
    if isinstance(value, (float, np.floating)):
        return _default
    if isinstance(value, (complex, np.complexfloating)):
        return _default.to_complex()
    raise TypeError(f"expected a number, got {type(value).__name__}")


def _over(high: dtype | None, low: dtype | None) -> dtype | None:
    """Combine a higher-priority group's dtype with a lower one's: the lower counts only if its kind is higher."""
    if high is None or low is None:
        return high or low
    if low.category <= high.category:
        return high
    if high.is_floating_point and low.is_complex:
        return high.to_complex()
    return low if high.category < 2 and low.category >= 2 else promote_types(high, low)


def result_dtype(operands: tuple | list) -> dtype:
    """The common dtype of arrays (anything with `.dtype` and `.ndim`) and Python scalars, by torch's three priorities.

    Arrays with dimensions come first, then 0-d arrays, then scalars.
    """
    dims = zero = scalar = None
    for x in operands:
        kind = getattr(x, "dtype", None)
        if kind is None:
            d = of_scalar(x)
            scalar = d if scalar is None else promote_types(scalar, d)
            continue
        d = kind if type(kind) is dtype else _FROM_NP.get(kind) or from_numpy_dtype(kind)
        if x.ndim:
            dims = d if dims is None else promote_types(dims, d)
        else:
            zero = d if zero is None else promote_types(zero, d)
    found = _over(_over(dims, zero), scalar)
    assert found is not None
    return found


def as_dtype(value: Any) -> dtype:
    """Accept an engine dtype, `float`/`int`/`bool`/`complex`, or a NumPy dtype; TypeError for anything else."""
    if type(value) is dtype:
        return value
    builtin = {float: _default, int: int64, bool: bool_, complex: _default.to_complex()}
    if value in builtin:
        return builtin[value]
    if isinstance(value, (np.dtype, type)):
        try:
            return from_numpy_dtype(np.dtype(value))
        except TypeError:
            pass
    raise TypeError(f"dtype must be torch.dtype, not {type(value).__name__} {value!r}")


class finfo:
    """Limits of a floating dtype: `bits, eps, max, min, tiny, smallest_normal, resolution, dtype`.

    >>> torch.finfo(torch.float32).eps
    1.1920928955078125e-07
    """

    eps: float
    max: float
    min: float
    tiny: float
    smallest_normal: float
    resolution: float

    def __init__(self, type: dtype | None = None) -> None:
        d = _default if type is None else type
        if not (d.is_floating_point or d.is_complex):
            raise TypeError(f"torch.finfo() requires a floating point input type. Use torch.iinfo to handle '{d}'")
        info = ml_dtypes.finfo(d.to_real().np)
        self.dtype = d.to_real().name
        self.bits = d.to_real().itemsize * 8
        for key in ("eps", "max", "min", "tiny", "smallest_normal"):
            setattr(self, key, float(getattr(info, key)))
        self.resolution = float(f"1e-{info.precision}") if self.bits > 8 else 1.0  # torch counts no digit there

    def __repr__(self) -> str:
        return (f"finfo(resolution={self.resolution:g}, min={self.min:g}, max={self.max:g}, eps={self.eps:g}, "
                f"smallest_normal={self.smallest_normal:g}, tiny={self.tiny:g}, dtype={self.dtype})")


class iinfo:
    """Limits of an integer dtype: `bits, max, min, dtype`.

    >>> torch.iinfo(torch.int16).max
    32767
    """

    def __init__(self, type: dtype) -> None:
        if type.category != 1:
            raise TypeError(f"torch.iinfo() requires an integer input type. Use torch.finfo to handle '{type}'")
        info = np.iinfo(type.np)
        self.dtype, self.bits, self.max, self.min = type.name, info.bits, int(info.max), int(info.min)

    def __repr__(self) -> str:
        return f"iinfo(min={self.min}, max={self.max}, dtype={self.dtype})"


INF, NAN, PI, E = float("inf"), float("nan"), 3.141592653589793, 2.718281828459045
