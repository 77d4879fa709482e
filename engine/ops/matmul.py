"""Matrix products: matmul, linear, mm, bmm, mv, dot, outer, the add-to-a-product family, bilinear and distances."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..autograd.graph import next_seq
from ..autograd.modes import state
from ..gpu import gemm
from ..tensor import Tensor
from . import _blocked
from ._blocked import column_sums, product, products
from .applying import annotate, row_major
from .base import F32, F64, Op, expect_tensor, op
from .casting import casting, lower
from .inplace import write_out

_new = object.__new__
_add = np.add
_MANY_ROWS = 256  # matrices with fewer are worth copying, if need be, to be multiplied as one


def _times(xp: Any, a: Any, b: Any, bias: Any = None) -> Any:
    """The product, plus a row; a single matrix on the right of a batch is multiplied in one piece."""
    if xp is not np:
        out = xp.matmul(a, b)
        return out if bias is None else xp.add(out, bias, out=out)
    if b.ndim == 2 and a.ndim > 2 and a.size and (a.flags.c_contiguous or a.shape[-2] < _MANY_ROWS):
        return product(a.reshape(-1, a.shape[-1]), b, bias).reshape(*a.shape[:-1], b.shape[1])
    return product(a, b, bias)


def _matrix(x: Any) -> Any:
    """A batch of matrices as one, the rows of each below those of the one before; arrays and Tensors alike."""
    if x.ndim == 2:
        return x
    whole = row_major(np, x) if type(x) is np.ndarray else x
    return whole.reshape(_product(x.shape[:-1]), x.shape[-1])


def _both(times: Any, first: tuple | None, second: tuple | None) -> Any:
    """The products of two pairs of matrices, None for None: those of arrays side by side."""
    if first is not None and second is not None and times is product:
        return products(first, second)
    return [None if pair is None else times(*pair) for pair in (first, second)]


def _matrix_grads(times: Any, g: Any, a: Any, b: Any, needs: tuple, shared: bool) -> tuple:
    """Gradients of `a @ b` for operands of two or more dimensions; arrays and Tensors alike.

    `shared`: one matrix `b` for a whole batch; its gradient is one product and not a sum of many.
    """
    da = times(g, b.swapaxes(-1, -2)) if needs[0] else None
    if not needs[1]:
        return da, None
    if shared and a.shape[-1] and g.shape[-1]:
        return da, times(a.reshape(-1, a.shape[-1]).T, g.reshape(-1, g.shape[-1]))
    return da, times(a.swapaxes(-1, -2), g)


@op("matmul")
class Matmul(Op):
    """The matrix product: dot product of vectors, matrix-vector, matrix-matrix, and batches of those that broadcast.

    Shapes: (k)@(k), (n,k)@(k), (k)@(k,m), (n,k)@(k,m), (...,n,k)@(...,k,m). Integers times floats are
    promoted, as by `*` (torch refuses them). RuntimeError where sizes do not fit and for two floating dtypes.

    >>> torch.matmul(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1., 1.]))
    tensor([3., 7.])
    """

    n, promote = 2, True
    keep = {0: (1,), 1: (0,)}
    has_aux = True  # the numbers of dimensions
    gpu = gemm.Product()

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        return _times(xp, a, b), (a.ndim, b.ndim)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (a, b), needs, (nd_a, nd_b) = s.inputs, s.needs, s.aux
        if g.dtype.kind == "c":
            a, b = (None if x is None else xp.conj(x) for x in (a, b))
        times = product if type(g) is np.ndarray else xp.matmul
        if nd_a == 2 and nd_b == 2:
            return tuple(_both(times, (g, b.T) if needs[0] else None, (a.T, g) if needs[1] else None))
        if nd_a > 1 and nd_b > 1:
            return _matrix_grads(times, g, a, b, needs, nd_b == 2)
        if nd_a == 1 and nd_b == 1:
            return (g * b if needs[0] else None), (g * a if needs[1] else None)
        if nd_b == 1:  # (..., n, k) @ (k)
            column = g.reshape(*g.shape, 1)
            db = (a * column).reshape(-1, a.shape[-1]).sum(axis=0) if needs[1] else None
            return (column * b if needs[0] else None), db
        row = g.reshape(*g.shape[:-1], 1, g.shape[-1])  # (k) @ (..., k, m)
        da = (b * row).sum(axis=-1) if needs[0] else None
        return da, (a.reshape(-1, 1) * row if needs[1] else None)

    @staticmethod
    def call(input: Tensor, other: Tensor, *, out: Tensor | None = None) -> Tensor:
        if casting.on and out is None:
            input, other = lower(input, other)
        result = multiply(expect_tensor(input, "matmul"), expect_tensor(other, "matmul", "other", 2))
        return result if out is None else write_out(out, result)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return _mismatch(tuple(tensors[0].shape), tuple(tensors[1].shape))

    @staticmethod
    def samples(make: Any) -> Any:
        for left, right in (((4,), (4,)), ((3, 4), (4,)), ((4,), (4, 3)), ((3, 4), (4, 5)), ((2, 3, 4), (4, 5)),
                            ((2, 3, 4), (2, 4, 5)), ((3, 4), (2, 4, 5)), ((5, 1, 3, 4), (2, 4, 3)), ((2, 3, 4), (4,)),
                            ((4,), (2, 4, 3)), ((0, 4), (4, 3)), ((3, 0), (0, 2)), ((2, 0, 4), (4, 3))):
            yield make("matmul", make.uniform(left), make.uniform(right))
        yield make("matmul", make.uniform((4, 3)).t(), make.uniform((5, 4)).t())
        yield make("matmul", make.ints((3, 4), -5, 5), make.ints((4, 2), -5, 5))
        yield make("matmul", make.ints((3, 4), -5, 5), make.uniform((4, 2)), _oracle=False)


def _mismatch(a: tuple, b: tuple) -> Exception:
    """torch's sentence for operands of `matmul` that do not fit."""
    if not a or not b:
        return RuntimeError(f"both arguments to matmul need to be at least 1D, but they are {len(a)}D and {len(b)}D")
    if len(a) == len(b) == 1:
        return RuntimeError(f"inconsistent tensor size, expected tensor [{a[0]}] and src [{b[0]}] to have the same number of "
                            f"elements, but got {a[0]} and {b[0]} elements respectively")
    if len(b) == 1:
        rows = _product(a[:-1])
        return RuntimeError(f"size mismatch, got input ({rows}), mat ({rows}x{a[-1]}), vec ({b[0]})")
    if len(b) == 2:
        return RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({_product(a[:-1])}x{a[-1]} and {b[0]}x{b[1]})")
    if a[-1] == b[-2]:
        return _no_broadcast(a[:-2], b[:-2])
    lead = _product(a[:-2]) if len(a) > 2 else _product(b[:-2])
    return RuntimeError(f"Expected size for first two dimensions of batch2 tensor to be: [{lead}, {a[-1]}] but "
                        f"got: [{lead if len(a) < 3 else _product(b[:-2])}, {b[-2]}].")


def _no_broadcast(a: tuple, b: tuple) -> Exception:
    at = next(i for i in range(1, min(len(a), len(b)) + 1) if a[-i] != b[-i] and 1 not in (a[-i], b[-i]))
    return RuntimeError(f"The size of tensor a ({a[-at]}) must match the size of tensor b ({b[-at]}) at non-singleton "
                        f"dimension {max(len(a), len(b)) - at}")


def _product(sizes: tuple) -> int:
    n = 1
    for size in sizes:
        n *= size
    return n


def _two_floats(x: Any, y: Any) -> bool:
    """Whether two arrays have different floating or complex dtypes: a mistake. An integer one is promoted instead."""
    return x.dtype != y.dtype and x.dtype.kind not in "iub" and y.dtype.kind not in "iub"


def multiply(a: Tensor, b: Tensor) -> Tensor:
    """`Matmul.apply`, refusing what promotion would hide (two floating dtypes) or NumPy explain badly (numbers)."""
    x, y = a._array, b._array
    if x.dtype is not y.dtype and _two_floats(x, y):
        raise RuntimeError(f"matmul(): expected m1 and m2 to have the same dtype, but got: {a.dtype} != {b.dtype}")
    if not (x.ndim and y.ndim):
        raise _mismatch(x.shape, y.shape)
    return Matmul.apply(a, b)


def _at(self: Tensor, other: Any) -> Any:
    if casting.on:
        self, other = lower(self, other)
    return multiply(self, other) if isinstance(other, Tensor) else NotImplemented


def _imatmul(self: Tensor, other: Any) -> Any:
    return self.copy_(multiply(self, other))  # type: ignore[attr-defined]


Tensor.__matmul__ = _at  # type: ignore[attr-defined]
Tensor.__rmatmul__ = lambda self, other: _at(other, self) if isinstance(other, Tensor) else NotImplemented  # type: ignore[attr-defined]
Tensor.__imatmul__ = _imatmul  # type: ignore[attr-defined]


# -- linear -----------------------------------------------------------------------------------------------------------


@op("linear", function=False, method=False, functional=True, node="AddmmBackward0")
class Linear(Op):
    """`input @ weight.T + bias` as one node.

    Shapes: input (*, in), weight (out, in) or (in), bias (out) or None; output (*, out). RuntimeError if they do not fit.
    The gradient of `weight` is a new row-major array.

    >>> torch.nn.functional.linear(torch.tensor([[1., 2.]]), torch.tensor([[3., 4.]]), torch.tensor([0.5]))
    tensor([[11.5000]])
    """

    n, promote = 3, True
    keep = {0: (1,), 1: (0,)}
    gpu = gemm.LinearProduct()

    @staticmethod
    def forward(xp: Any, x: Any, w: Any, b: Any) -> Any:
        return _times(xp, x, w.T, b)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        (x, w, _), (need_x, need_w, need_b) = s.inputs, s.needs
        if g.dtype.kind == "c":
            x, w = (None if t is None else xp.conj(t) for t in (x, w))
        rows = _matrix(g)
        times = product if type(g) is np.ndarray else xp.matmul
        db = column_sums(rows) if need_b else None
        flat = _matrix(x) if need_w else x
        dx, dw = _both(times, (rows, w) if need_x else None, (rows.T, flat) if need_w else None)
        if need_x and g.ndim != 2:  # a batch of matrices in one product: fewer and larger ones
            dx = dx.reshape(*g.shape[:-1], w.shape[-1])
        return dx, dw, db

    @staticmethod
    def call(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        if casting.on:
            input, weight, bias = lower(input, weight, bias)
        if isinstance(input, Tensor) and isinstance(weight, Tensor):
            x, w = input._array, weight._array
            d = x.dtype
            if (d is F32 or d is F64) and w.dtype is d and x.ndim == 2 == w.ndim and type(x) is np.ndarray:
                if bias is None:
                    return _plain_linear(input, weight, None, x, w, None)
                b = bias._array
                if b.dtype is d and b.shape == w.shape[:1]:
                    return _plain_linear(input, weight, bias, x, w, b)
        return _any_linear(input, weight, bias)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        x, w = tensors[0].shape, tensors[1].shape
        if not x:
            return RuntimeError("both arguments to linear need to be at least 1D, but they are 0D and 2D")
        return RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({_product(x[:-1])}x{x[-1]} and {w[1]}x{w[0]})")

    @staticmethod
    def samples(make: Any) -> Any:
        for x, w, b in (((4, 3), (2, 3), (2,)), ((3,), (2, 3), (2,)), ((2, 4, 3), (2, 3), (2,)), ((4, 3), (3,), None),
                        ((0, 3), (2, 3), (2,)), ((2, 0), (3, 0), (3,)), ((2, 3, 4, 3), (2, 3), None), ((4, 3), (2, 3), (1,)),
                        ((4, 3), (2, 3), (4, 2))):
            yield make("linear", make.uniform(x), make.uniform(w), None if b is None else make.uniform(b))
        yield make("linear", make.uniform((3, 4)).t(), make.uniform((3, 2)).t(), bias=make.uniform((2,)))
        yield make("linear", make.complex((2, 3)), make.complex((4, 3)), make.complex((4,)), _half=False)


def _plain_linear(input: Tensor, weight: Tensor, bias: Tensor | None, x: Any, w: Any, b: Any) -> Tensor:
    """The everyday case of `linear`: matrices of one floating dtype."""
    if input._view is not None:
        input._sync()
    if weight._view is not None:
        weight._sync()
    if bias is not None and bias._view is not None:
        bias._sync()
    try:
        if x.size * w.shape[0] > _blocked.QUIET:
            y = product(x, w.T, b)
        else:
            y = x.dot(w.T)
            if b is not None:
                _add(y, b, y)
    except ValueError as error:
        raise Linear.explain(error, (input, weight), ()) from None
    out = _new(Tensor)
    out._array = y
    out._grad = out._vc = out._view = None
    if state.grad:
        edges = (input._node if input._requires_grad else None, weight._node if weight._requires_grad else None,
                 bias._node if bias is not None and bias._requires_grad else None)
        if edges != _NO_EDGES:
            _record_linear(out, edges, input, weight)
            return out
    out._requires_grad, out._node = False, None
    return out


def _record_linear(out: Tensor, edges: tuple, input: Tensor, weight: Tensor) -> None:
    """Give `linear`'s output its node."""
    node = _new(Linear.Node)
    node.edges = edges
    keep_x, keep_w = (input if edges[1] is not None else None), (weight if edges[0] is not None else None)
    node.tensors = (keep_x, keep_w, None)
    count_x = 0 if keep_x is None or keep_x._vc is None else keep_x._vc.count
    count_w = 0 if keep_w is None or keep_w._vc is None else keep_w._vc.count
    node.versions = (count_x, count_w, 0) if count_x or count_w else None
    node.out = node.aux = None
    node.params = ()
    node.shape, node.dtype = out._array.shape, out._array.dtype
    node.seq = next_seq()
    if state.watched:
        annotate(node)
    out._requires_grad, out._node = True, node


_NO_EDGES = (None, None, None)


def _any_linear(input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`linear` of vectors, batches, mixed dtypes, one-row weights and biases of odd shapes."""
    x = expect_tensor(input, "linear")._array
    w = expect_tensor(weight, "linear", "weight", 2)._array
    for other in (weight, bias):
        if other is not None and _two_floats(x, other._array):
            raise RuntimeError(f"linear(): mat1 and mat2 must have the same dtype, but got {input.dtype} and {other.dtype}")
    if w.ndim == 2 and (bias is None or bias._array.shape == w.shape[:1]):
        return Linear.apply(input, weight, bias)
    if w.ndim == 1 and bias is not None:
        raise RuntimeError("mat2 must be a matrix, got 1-D tensor")
    product = multiply(input, weight.t() if w.ndim == 2 else weight)  # type: ignore[attr-defined]
    if bias is None:
        return product
    return product + bias.expand(product.shape)  # type: ignore[attr-defined]
