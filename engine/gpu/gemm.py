"""Matrix products on a GPU: cuBLASLt with our own plans where nvmath-python is installed, otherwise CuPy's.

CuPy's `matmul` turns batched float16 into float32, fails on batched bfloat16, and can't be captured in a graph; cuBLASLt called
directly has none of that. A plan (descriptors, layouts and the chosen algorithm) is made once per shape, layout and type.
"""

from __future__ import annotations

import dataclasses
import functools
import importlib
import importlib.util
from types import SimpleNamespace
from typing import Any

import numpy as np

from .. import backend
from . import capture
from .card import Kernel
from .reductions import total

WORKSPACE = 32 << 20  # bytes, what NVIDIA recommends for Hopper
_DATA = {"float32": 0, "float64": 1, "float16": 2, "bfloat16": 14}  # cudaDataType


# What programs may choose, as `torch.backends.cuda.matmul`. The last two are kept: sums of half precision are always float32.
switches = SimpleNamespace(allow_tf32=False, allow_fp16_reduced_precision_reduction=True,
                           allow_bf16_reduced_precision_reduction=True)


@dataclasses.dataclass(frozen=True)
class Operand:
    """A matrix, or a batch of them, as cuBLASLt sees it: column by column, so a row-major matrix is its transpose."""

    rows: int
    cols: int
    ld: int
    transposed: bool
    batch_stride: int


@dataclasses.dataclass(frozen=True)
class Key:
    """All that a plan depends on."""

    m: int
    n: int
    k: int
    batch: int
    dtype: str
    a: Operand
    b: Operand
    bias: bool
    tf32: bool
    aligned: bool


def operand(x: Any) -> Operand | None:
    """The layout of an array (batch?, rows, columns); None if neither rows nor columns lie in one piece."""
    item, (rows, cols) = x.itemsize, x.shape[-2:]
    by_row, by_col = (s // item for s in x.strides[-2:])
    step = x.strides[0] // item if x.ndim == 3 and x.shape[0] > 1 else 0
    if (by_col == 1 or cols == 1) and (rows == 1 or by_row >= max(cols, 1)):
        return Operand(cols, rows, by_row if rows > 1 else max(cols, 1), False, step)
    if (by_row == 1 or rows == 1) and by_col >= max(rows, 1):
        return Operand(rows, cols, by_col, True, step)
    return None


def _ready(x: Any) -> tuple[Any, Operand]:
    found = operand(x)
    if found is None:
        x = backend.gpu().ascontiguousarray(x)
        found = operand(x)
    assert found is not None
    return x, found


def key_of(a: Any, b: Any, bias: Any) -> tuple[Key, Any, Any]:
    """The key of `a @ b` for arrays of two or three dimensions, and the operands, copied where their layout asks for it."""
    (a, left), (b, right) = _ready(a), _ready(b)
    batch = max(x.shape[0] if x.ndim == 3 else 1 for x in (a, b))
    aligned = all(p % 16 == 0 for x in (a, b) for p in (x.data.ptr, x.itemsize * (operand(x) or left).ld))
    return Key(a.shape[-2], b.shape[-1], a.shape[-1], batch, a.dtype.name, left, right, bias is not None,
               switches.allow_tf32 and a.dtype.name == "float32", aligned), a, b


# -- cuBLASLt ---------------------------------------------------------------------------------------------------------


@functools.cache
def library() -> Any:
    """nvmath's binding of cuBLASLt, or None."""
    if importlib.util.find_spec("nvmath") is None:
        return None
    try:
        return importlib.import_module("nvmath.bindings.cublasLt")
    except Exception:  # a CUDA library that does not load: CuPy's products serve as well
        return None


class Plan:
    """Descriptors, layouts and algorithm of one kind of product."""

    def __init__(self, lt: Any, handle: int, key: Key) -> None:
        self.key, self.lt, self.handle = key, lt, handle
        wide = key.dtype == "float64"
        compute = 70 if wide else 77 if key.tf32 else 68  # COMPUTE_64F, COMPUTE_32F_FAST_TF32, COMPUTE_32F
        scale = np.float64 if wide else np.float32
        self.held = np.array([1, 0], scale), np.zeros(1, np.uint64)  # the factors of product and output; the bias's address
        self.one = self.held[0].ctypes.data
        self.zero, self.bias = self.one + self.held[0].itemsize, self.held[1].ctypes.data
        self.desc = lt.matmul_desc_create(compute, _DATA["float64" if wide else "float32"])
        attribute, data = lt.MatmulDescAttribute, _DATA[key.dtype]
        for name, of in (("TRANSA", key.b), ("TRANSB", key.a)):
            self._set(lt.matmul_desc_set_attribute, self.desc, getattr(attribute, name), np.int32(of.transposed))
        if key.bias:
            self._set(lt.matmul_desc_set_attribute, self.desc, attribute.EPILOGUE, np.int32(lt.Epilogue.BIAS))
        out = Operand(key.n, key.m, key.n, False, key.m * key.n)
        self.layouts = [self._layout(data, part) for part in (key.b, key.a, out)]
        self.chosen = self._choose()
        self.algorithm = self.chosen.ctypes.data

    @staticmethod
    def _set(setter: Any, thing: int, attribute: int, value: Any) -> None:
        held = np.array([value])
        setter(thing, int(attribute), held.ctypes.data, held.nbytes)

    def _layout(self, data: int, part: Operand) -> int:
        lt = self.lt
        made = lt.matrix_layout_create(data, part.rows, part.cols, part.ld)
        if self.key.batch > 1:
            attribute = lt.MatrixLayoutAttribute
            self._set(lt.matrix_layout_set_attribute, made, attribute.BATCH_COUNT, np.int32(self.key.batch))
            self._set(lt.matrix_layout_set_attribute, made, attribute.STRIDED_BATCH_OFFSET, np.int64(part.batch_stride))
        return made

    def _choose(self) -> np.ndarray:
        """The heuristics' first answer. RuntimeError if there is none."""
        lt = self.lt
        preference = lt.matmul_preference_create()
        self._set(lt.matmul_preference_set_attribute, preference, lt.MatmulPreferenceAttribute.MAX_WORKSPACE_BYTES,
                  np.uint64(WORKSPACE))
        if not self.key.aligned:
            for name in ("A", "B"):
                attribute = getattr(lt.MatmulPreferenceAttribute, f"MIN_ALIGNMENT_{name}_BYTES")
                self._set(lt.matmul_preference_set_attribute, preference, attribute,
                          np.uint32(np.dtype("f2").itemsize if "16" in self.key.dtype else 4))
        results, count = np.zeros(1, lt.matmul_heuristic_result_dtype), np.zeros(1, np.int32)
        b, a, out = self.layouts
        lt.matmul_algo_get_heuristic(self.handle, self.desc, b, a, out, out, preference, 1, results.ctypes.data,
                                     count.ctypes.data)
        lt.matmul_preference_destroy(preference)
        if not count[0]:
            raise RuntimeError(f"cuBLASLt has no algorithm for {self.key}")
        return results

    def run(self, a: Any, b: Any, bias: Any, out: Any) -> None:
        """Put the product into the current stream."""
        lt, stream = self.lt, backend.gpu().cuda.get_current_stream().ptr
        if bias is not None:
            self.held[1][0] = bias.data.ptr
            lt.matmul_desc_set_attribute(self.desc, int(lt.MatmulDescAttribute.BIAS_POINTER), self.bias, 8)
        in_b, in_a, in_out = self.layouts
        work = _workspace(backend.gpu(), backend.cuda_index(out), stream)
        lt.matmul(self.handle, self.desc, self.one, b.data.ptr, in_b, a.data.ptr, in_a, self.zero, out.data.ptr, in_out,
                  out.data.ptr, in_out, self.algorithm, work.data.ptr, WORKSPACE, stream)


@functools.cache
def _workspace(gpu: Any, device: int, stream: int) -> Any:
    return gpu.empty(WORKSPACE, np.uint8)


@functools.cache
def _handle(lt: Any, device: int) -> int:
    return lt.create()


_plans: dict[tuple, Plan | None] = {}


def _plan(lt: Any, key: Key, device: int) -> Plan | None:
    """The plan for a key, made when it is first needed; None for what cuBLASLt does not do."""
    at = (lt, device, key)
    if at not in _plans:
        capture.refuse("The first matrix product of these shapes", "run the step three times before it is captured.")
        try:
            _plans[at] = Plan(lt, _handle(lt, device), key)
        except Exception:  # an unsupported layout: CuPy has a form for it
            _plans[at] = None
    return _plans[at]


# -- products ---------------------------------------------------------------------------------------------------------


def _flat_batch(x: Any, lead: tuple) -> Any:
    """(…, rows, columns) broadcast to the batch `lead`, with one batch dimension or none."""
    if x.ndim == 2:
        return x
    if x.shape[:-2] != lead:
        x = backend.gpu().broadcast_to(x, (*lead, *x.shape[-2:]))
    return x.reshape(-1, *x.shape[-2:])


_known: dict[tuple, tuple[Plan, tuple]] = {}  # by what is seen at a glance: the plan, and the output's shape


def matmul(a: Any, b: Any, bias: Any = None) -> Any:
    """`a @ b` (+ `bias`, a row) of floating arrays of one type with two or more dimensions each."""
    gpu = backend.gpu()
    device = gpu.cuda.Device().id if backend.several_devices else 0
    at = (library(), device, a.dtype, a.shape, a.strides, b.shape, b.strides, bias is None, switches.allow_tf32,
          (a.data.ptr | b.data.ptr) & 15)
    found = _known.get(at)
    if found is not None:
        known, shape = found
        out = gpu.empty(shape, a.dtype)
        known.run(a, b, bias, out)
        return out
    if b.ndim == 2 and a.ndim > 2 and a.flags.c_contiguous:
        return matmul(a.reshape(-1, a.shape[-1]), b, bias).reshape(*a.shape[:-1], b.shape[1])
    lead = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*lead, a.shape[-2], b.shape[-1])
    if a.shape[-1] != b.shape[-2]:
        raise ValueError(f"matmul: sizes {a.shape} and {b.shape} do not fit")
    lt = library() if a.dtype.name in _DATA and a.size and b.size else None
    if lt is not None:
        key, left, right = key_of(_flat_batch(a, lead), _flat_batch(b, lead), bias)
        plan = _plan(lt, key, device)
        if plan is not None:
            if left.data.ptr == a.data.ptr and right.data.ptr == b.data.ptr:  # nothing was copied
                _known[at] = plan, shape
            out = gpu.empty(shape, a.dtype)
            plan.run(left, right, bias, out)
            return out
    return _by_cupy(gpu, a, b, bias)


def _by_cupy(gpu: Any, a: Any, b: Any, bias: Any) -> Any:
    """CuPy's product: in two dimensions as it is; batches of half precision in float32."""
    half = a.dtype.itemsize == 2 and max(a.ndim, b.ndim) > 2
    out = gpu.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype) if half else gpu.matmul(a, b)
    return out if bias is None else gpu.add(out, bias, out=out)


class Product(Kernel):
    """`matmul` of matrices and batches of them, in their own element type."""

    def forward(self, a: Any, b: Any) -> Any:
        if min(a.ndim, b.ndim) < 2 or a.dtype != b.dtype or a.dtype.name not in _DATA:
            return NotImplemented
        return matmul(a, b), (a.ndim, b.ndim)

    def backward(self, node: Any, g: Any) -> Any:
        (a, b), needs, (nd_a, nd_b) = node.raw_inputs, node.needs, node.aux
        if min(nd_a, nd_b) < 2 or g.dtype.name not in _DATA:
            return NotImplemented
        da = matmul(g, b.swapaxes(-1, -2)) if needs[0] else None
        if not needs[1]:
            return da, None
        if nd_b == 2 and nd_a > 2 and a.shape[-1] and g.shape[-1]:  # one matrix for a whole batch: one product
            return da, matmul(a.reshape(-1, a.shape[-1]).T, g.reshape(-1, g.shape[-1]))
        return da, matmul(a.swapaxes(-1, -2), g)


def _column_sums(rows: Any) -> Any:
    made = total(rows, 0, False)
    return rows.sum(axis=0) if made is NotImplemented else made


class LinearProduct(Kernel):
    """`linear`: the bias is added by the product's epilogue."""

    def forward(self, x: Any, w: Any, b: Any) -> Any:
        if w.ndim != 2 or x.ndim < 2 or x.dtype != w.dtype or x.dtype.name not in _DATA:
            return NotImplemented
        if b is not None and (b.dtype != x.dtype or b.shape != w.shape[:1]):
            return NotImplemented
        return matmul(x, w.T, b)

    def backward(self, node: Any, g: Any) -> Any:
        (x, w, _), needs = node.raw_inputs, node.needs
        if g.ndim < 2 or g.dtype.name not in _DATA or any(t is not None and t.ndim < 2 for t in (x, w)):
            return NotImplemented
        rows = g.reshape(-1, g.shape[-1]) if g.size else g.reshape(0, g.shape[-1])
        dx = matmul(rows, w).reshape(*g.shape[:-1], w.shape[1]) if needs[0] else None
        dw = matmul(rows.T, x.reshape(-1, x.shape[-1])) if needs[1] else None
        return dx, dw, _column_sums(rows) if needs[2] else None
