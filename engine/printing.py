"""How tensors print: torch's layout, number by number.

All shown numbers share one format: integers with a point, fixed point, or scientific when the magnitudes lie too far
apart. Tensors with more than `threshold` elements show `edgeitems` at both ends of every dimension.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from . import backend, dtypes, layouts


@dataclasses.dataclass
class PrintOptions:
    """The settings of `set_printoptions`."""

    precision: int = 4
    threshold: float = 1000
    edgeitems: int = 3
    linewidth: int = 80
    sci_mode: bool | None = None


OPTIONS = PrintOptions()
_PROFILES = {"default": PrintOptions(), "short": PrintOptions(precision=2, edgeitems=2),
             "full": PrintOptions(threshold=math.inf)}
_RANGE = 1000.0  # scientific when the largest magnitude is more than this many times the smallest,
_LARGEST, _SMALLEST = 1e8, 1e-4  # or outside of these


def set_printoptions(precision: int | None = None, threshold: float | None = None, edgeitems: int | None = None,
                     linewidth: int | None = None, profile: str | None = None, sci_mode: bool | None = None) -> None:
    """Set how tensors print: digits after the point, elements before summarising, items shown at each end, characters per
    line, scientific notation on (True), off (False) or by need (None).

    `profile` sets the first four at once: "default", "short" or "full".

    >>> torch.set_printoptions(precision=2)
    >>> torch.tensor([1.12345])
    tensor([1.12])
    >>> torch.set_printoptions(profile="default")
    """
    if profile is not None:
        if profile not in _PROFILES:
            raise ValueError(f"set_printoptions(): expected profile to be one of {list(_PROFILES)}, got {profile!r}")
        for field in ("precision", "threshold", "edgeitems", "linewidth"):
            setattr(OPTIONS, field, getattr(_PROFILES[profile], field))
    for field, value in (("precision", precision), ("threshold", threshold), ("edgeitems", edgeitems),
                         ("linewidth", linewidth)):
        if value is not None:
            setattr(OPTIONS, field, value)
    OPTIONS.sci_mode = sci_mode


class _Real:
    """The common format of real numbers: `width` characters each."""

    def __init__(self, values: np.ndarray) -> None:
        self.floating = values.dtype.kind == "f"
        self.integral, self.width = True, 1
        self.scientific: bool | None = False
        if not self.floating:
            self.width = max([1, *[len(str(v)) for v in values.ravel().tolist()]])
            return
        shown = values[np.isfinite(values) & (values != 0)].astype(np.float64)
        if shown.size:
            self._choose(shown)

    def _choose(self, shown: np.ndarray) -> None:
        size = np.abs(shown)
        low, high = float(size.min()), float(size.max())
        self.integral = bool((shown == np.ceil(shown)).all())
        self.scientific = OPTIONS.sci_mode
        if self.scientific is None:
            self.scientific = high / low > _RANGE or high > _LARGEST or (not self.integral and low < _SMALLEST)
        self.width = max([1, *[len(self._digits(v)) for v in shown.tolist()]])

    def _digits(self, value: float) -> str:
        if self.scientific:
            return f"{value:.{OPTIONS.precision}e}"
        if self.integral:
            return f"{value:.0f}" + ("." if math.isfinite(value) else "")
        return f"{value:.{OPTIONS.precision}f}"

    def __call__(self, value: Any) -> str:
        return (self._digits(value) if self.floating else str(value)).rjust(self.width)


class _Complex:
    """The common format of complex numbers: one format for the real parts, one for the imaginary ones."""

    def __init__(self, values: np.ndarray) -> None:
        self.real, self.imag = _Real(values.real), _Real(values.imag)
        self.width = self.real.width + self.imag.width + 1

    def __call__(self, value: complex) -> str:
        imag = self.imag(value.imag).lstrip() + "j"
        return self.real(value.real) + (imag if imag[0] in "+-" else "+" + imag)


def _edges(a: np.ndarray) -> np.ndarray:
    """Only the elements that a summary shows."""
    n = OPTIONS.edgeitems
    for axis, size in enumerate(a.shape):
        if size > 2 * n:
            a = np.take(a, [*range(n), *range(size - n, size)], axis=axis)
    return a


def _body(a: np.ndarray, indent: int, summarize: bool, form: Any) -> str:
    """The nested brackets of an array."""
    if a.ndim == 0:
        return form(a.item())
    n = OPTIONS.edgeitems
    cut = summarize and a.shape[0] > 2 * n
    shown = [*range(n), None, *range(a.shape[0] - n, a.shape[0])] if cut else range(a.shape[0])
    if a.ndim == 1:
        words = [" ..." if i is None else form(a[i].item()) for i in shown]
        per_line = max(1, (OPTIONS.linewidth - indent) // (form.width + 2))
        lines = [", ".join(words[i : i + per_line]) for i in range(0, len(words), per_line)]
        return "[" + (",\n" + " " * (indent + 1)).join(lines) + "]"
    parts = ["..." if i is None else _body(a[i], indent + 1, summarize, form) for i in shown]
    return "[" + ("," + "\n" * (a.ndim - 1) + " " * (indent + 1)).join(parts) + "]"


def array_text(array: Any, indent: int = 0) -> str:
    """The numbers of a raw array, without the word `tensor` and what follows the numbers."""
    a = backend.to_numpy(array)
    if not a.size:
        return "[]"
    if a.dtype.itemsize <= 2 and a.dtype.kind in "fV":
        a = a.astype(np.float32)
    summarize = a.size > OPTIONS.threshold
    form = (_Complex if a.dtype.kind == "c" else _Real)(_edges(a) if summarize else a)
    return _body(a, indent, summarize, form)


def _notes(t: Any) -> list[str]:
    """What is said after the numbers: device, size, dtype, history."""
    default = dtypes.get_default_dtype()
    notes = []
    if t.is_cuda or t.is_meta:
        notes.append(f"device='{t.device}'")
    if t.is_meta or not t.numel():
        if t.is_meta or t.ndim != 1:
            notes.append(f"size={tuple(t.shape)}")
        plain: tuple = (default,)
    else:
        plain = (default, dtypes.int64, dtypes.bool_, default.to_complex())
    if t.dtype not in plain:
        notes.append(f"dtype={t.dtype}")
    if t.grad_fn is not None:
        notes.append(f"grad_fn=<{t.grad_fn.name()}>")
    elif t.requires_grad:
        notes.append("requires_grad=True")
    return notes


def _sparse_repr(t: Any) -> str:
    """The text of a sparse tensor: its indices and values, and what it is."""
    x, history = t._array, [note for note in _notes(t) if "=" in note and note.startswith(("grad_fn", "requires_grad"))]
    lines = []
    parts = [("indices", x.indices)]
    if x.axis is not None:
        names = ("crow_indices", "col_indices") if x.axis == 0 else ("ccol_indices", "row_indices")
        parts = list(zip(names, (x.pointers(), x.indices[1 - x.axis])))
    for name, array in (*parts, ("values", x.values)):
        note = f", size={array.shape}" if not array.size else ""
        lines.append(f"{name}=tensor({array_text(array, len(f'tensor({name}=tensor('))}{note})")
    default = dtypes.get_default_dtype()
    plain = (default, dtypes.int64, dtypes.bool_, default.to_complex())
    dtype = [] if t.dtype in plain else [f"dtype={t.dtype}"]
    facts = [f"size={tuple(t.shape)}", f"nnz={x.nnz}", *dtype, f"layout={t.layout}"]
    last = ", ".join(facts)
    for note in history:
        last += ", " + note if note.startswith("requires_grad") else ",\n       " + note
    if x.axis is not None:  # torch lets these go on in the line of the values, as far as that goes
        lines[-1], last = _continued(lines[-1], last.split(", ")), ""
    return "tensor(" + ",\n       ".join([*lines, *([last] if last else [])]) + ")"


def _continued(line: str, notes: list[str]) -> str:
    """A line with notes appended, broken where it would be longer than a line may be."""
    width = len(line) + 9  # torch counts its indent, and two more
    for note in notes:
        if width + len(note) + 2 > OPTIONS.linewidth:
            line, width = f"{line},\n       {note}", 7 + len(note)
        else:
            line, width = f"{line}, {note}", width + len(note) + 2
    return line


def tensor_repr(t: Any) -> str:
    """The text of a tensor, as torch prints it."""
    if t.layout != layouts.strided:
        return _sparse_repr(t)
    text = "tensor(" + ("..." if t.is_meta else array_text(t._array, len("tensor(")))
    column = len(text) - text.rfind("\n") + 1
    for note in _notes(t):
        if column + len(note) + 2 > OPTIONS.linewidth:
            text += ",\n" + " " * len("tensor(") + note
            column = len("tensor(") + len(note)
        else:
            text += ", " + note
            column += len(note) + 2
    return text + ")"
