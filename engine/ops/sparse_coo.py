"""Operators on sparse tensors: to and from dense, products with dense matrices, sums. The array is `engine.coo.Coo`."""

from __future__ import annotations

from typing import Any

from ..coo import Coo
from ..errors import not_supported
from ..tensor import Tensor, wrap
from ._scatter import scatter_rows
from .base import Op, composite, expect_tensor, op


def is_sparse(t: Any) -> bool:
    """Whether `t` is a sparse tensor."""
    return isinstance(t, Tensor) and type(t._array) is Coo


def _looked_up(g: Any, indices: Any) -> Any:
    """The elements of a gradient, sparse or dense, at sparse places."""
    if type(g) is Coo:
        if g.indices is indices:
            return g.values
        g = g.dense()
    return g[tuple(indices)]


class _FirstOrder(Op):
    """A card without second derivatives."""

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> Any:
        raise NotImplementedError(f"second derivatives through sparse tensors ({cls.name}) are not supported. HINT: use dense "
                                  "tensors.")


@op("_sparse_coo", function=False, method=False, node="SparseCooTensorWithDimsAndTensorsBackward0")
class Build(_FirstOrder):
    """A sparse tensor of its values; `indices` (sparse dimensions, n)."""

    moves = True

    @staticmethod
    def forward(xp: Any, values: Any, indices: Any, shape: tuple, coalesced: bool, axis: int | None = None) -> Any:
        return Coo(indices, values, shape, coalesced, axis)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (_looked_up(g, s.params[0]),)


@op("_sparse_values", function=False, method=False, node="ValuesBackward0")
class Values(_FirstOrder):
    """The values of a sparse tensor."""

    moves = True
    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x.values

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (s.inputs[0].with_values(g),)


@op("_sparse_to_dense", function=False, method=False, node="ToDenseBackward0")
class ToDense(_FirstOrder):
    """The ordinary tensor."""

    moves = True
    keep = (0,)

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x.dense(xp)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (_masked(g, s.inputs[0]),)


def _masked(g: Any, x: Coo) -> Coo:
    places = x.coalesce()
    return places.with_values(_looked_up(g, places.indices))


@op("_sparse_coalesce", function=False, method=False, node="CoalesceBackward0")
class Coalesce(_FirstOrder):
    """Each place once, in order."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        return x.coalesce(xp)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)


@op("_sparse_from_dense", function=False, method=False, node="ToSparseBackward0")
class FromDense(_FirstOrder):
    """The elements that are not zero, with their places in the first `sparse_dim` dimensions."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, sparse_dim: int) -> Any:
        hit = (x != 0).any(tuple(range(sparse_dim, x.ndim))) if sparse_dim < x.ndim else x != 0
        places = xp.nonzero(hit)
        return Coo(xp.stack(places).astype(xp.int64), x[places], x.shape, True)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g.dense() if type(g) is Coo else g,)


@op("_sparse_mm", function=False, method=False, node="SparseAddmmBackward0")
class SparseMm(_FirstOrder):
    """A sparse (n, m) times a dense (m, p): rows of the dense one, weighted and summed."""

    n = 2
    keep = (0, 1)

    @staticmethod
    def forward(xp: Any, a: Any, b: Any) -> Any:
        rows, columns = a.indices
        return scatter_rows(xp, a.values[:, None] * b[columns], rows, a.shape[0])

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        a, b = s.inputs
        rows, columns = a.indices
        da = a.with_values((g[rows] * xp.np.conj(b[columns])).sum(-1)) if s.needs[0] else None
        db = scatter_rows(xp.np, xp.np.conj(a.values)[:, None] * g[rows], columns, a.shape[1]) if s.needs[1] else None
        return da, db


def matmul(a: Tensor, b: Tensor) -> Tensor:
    """The product of two matrices (or a matrix and a vector) of which at least one is sparse; RuntimeError if not 2-D."""
    if is_sparse(a) and is_sparse(b):
        return to_layout(from_dense(SparseMm.apply(a, to_dense(b))), a._array.axis)
    if not is_sparse(a):  # (a b) = (b^T a^T)^T
        return matmul(b.t(), a.t()).t() if a.ndim > 1 else matmul(b.t(), a)  # type: ignore[attr-defined]
    if b.ndim == 1:
        return matmul(a, b.unsqueeze(1)).squeeze(1)  # type: ignore[attr-defined]
    if a.ndim != 2 or b.ndim != 2:
        raise RuntimeError(f"sparse matrix product: expected matrices, got {a.ndim}-D and {b.ndim}-D tensors")
    if a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mm: Argument #3 (dense): Expected dim 0 size {a.shape[1]}, got {b.shape[0]}")
    return SparseMm.apply(a, b)


# -- methods ----------------------------------------------------------------------------------------------------------


@op("_sparse_layout", function=False, method=False, node="ToSparseBackward0")
class Layout(_FirstOrder):
    """A sparse matrix in the order of its rows (axis 0) or columns (1), or by coordinates (None)."""

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, axis: int | None) -> Any:
        return x.compressed(axis, xp)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)


def to_layout(input: Tensor, axis: int | None) -> Tensor:
    """A sparse tensor in another layout; itself where it has it. RuntimeError for what is no matrix."""
    if input._array.axis == axis:
        return input
    if input.ndim != 2:
        raise RuntimeError(f"compressed sparse layouts are for matrices here, got {input.ndim} dimensions")
    return Layout.apply(input, axis)


def _need_sparse(t: Tensor, what: str) -> Coo:
    if not is_sparse(t):
        raise RuntimeError(f"{what} expected sparse coordinate tensor layout but got Strided")
    return t._array


def to_dense(input: Tensor, dtype: Any = None, *, masked_grad: bool | None = None) -> Tensor:
    """The ordinary tensor of a sparse one; an ordinary one itself."""
    out = ToDense.apply(input) if is_sparse(input) else input
    return out if dtype is None else out.to(dtype)  # type: ignore[attr-defined]


def from_dense(input: Tensor, sparse_dim: int | None = None) -> Tensor:
    """The sparse tensor of an ordinary one, with its first `sparse_dim` dimensions (default: all) sparse."""
    if is_sparse(input):
        return input
    if sparse_dim is not None and not 0 < sparse_dim <= input.ndim:
        raise RuntimeError(f"sparse_dim argument must be in [1, {input.ndim}] but got {sparse_dim}")
    return FromDense.apply(input, input.ndim if sparse_dim is None else sparse_dim)


composite("to_dense", function=False)(to_dense)


@composite("to_sparse", "to_sparse_coo", function=False)
def to_sparse(input: Tensor, sparseDims: int | None = None, *, layout: Any = None, blocksize: Any = None,
              dense_dim: Any = None) -> Tensor:
    """The sparse tensor of an ordinary one, by coordinates or, a matrix, in the layout sparse_csr or sparse_csc.

    NotImplementedError for layouts in blocks.

    >>> torch.eye(2).to_sparse()
    tensor(indices=tensor([[0, 1],
                           [0, 1]]),
           values=tensor([1., 1.]),
           size=(2, 2), nnz=2, layout=torch.sparse_coo)
    """
    axes = {"torch.sparse_coo": None, "torch.sparse_csr": 0, "torch.sparse_csc": 1, "None": None}
    if str(layout) not in axes:
        raise not_supported(f"to_sparse(layout={layout})", "use torch.sparse_csr or torch.sparse_coo.")
    return to_layout(from_dense(input, sparseDims), axes[str(layout)])


@composite("coalesce", function=False)
def coalesce(input: Tensor) -> Tensor:
    """A sparse tensor with each place once, in order, the values of places named twice added up."""
    return input if _need_sparse(input, "coalesce").coalesced else Coalesce.apply(input)


@composite("is_coalesced", function=False)
def is_coalesced(input: Tensor) -> bool:
    """Whether a sparse tensor names each place once, in order."""
    return _need_sparse(input, "is_coalesced").coalesced


@composite("_indices", function=False)
def _indices(input: Tensor) -> Tensor:
    """The places of the values (sparse dimensions, n), coalesced or not."""
    return wrap(_need_sparse(input, "_indices").indices)


@composite("_values", function=False)
def _values(input: Tensor) -> Tensor:
    """The values (n, *), coalesced or not."""
    _need_sparse(input, "_values")
    return Values.apply(input)


@composite("indices", function=False)
def indices(input: Tensor) -> Tensor:
    """The places of the values of a coalesced sparse tensor: (sparse dimensions, n)."""
    return _indices(_coalesced(input, "indices"))


@composite("values", function=False)
def values(input: Tensor) -> Tensor:
    """The values of a coalesced sparse tensor: (n, *dense dimensions)."""
    return _values(_coalesced(input, "values"))


def _coalesced(input: Tensor, what: str) -> Tensor:
    x = _need_sparse(input, what)
    if x.axis is not None and what == "values":
        return input
    if x.axis is not None:
        raise RuntimeError(f"{what} expected sparse coordinate tensor layout but got Sparse{'Csc' if x.axis else 'Csr'}")
    if not x.coalesced:
        raise RuntimeError(f"Cannot get {what} on an uncoalesced tensor, please call .coalesce() first")
    return input


@composite("_nnz", function=False)
def _nnz(input: Tensor) -> int:
    """How many values a sparse tensor holds."""
    return _need_sparse(input, "_nnz").nnz


@composite("sparse_dim", function=False)
def sparse_dim(input: Tensor) -> int:
    """The number of sparse dimensions; 0 for ordinary tensors."""
    return input._array.sparse_dim if is_sparse(input) else 0


@composite("dense_dim", function=False)
def dense_dim(input: Tensor) -> int:
    """The number of dense dimensions."""
    return input.ndim - sparse_dim(input)


@composite("sparse_mask", function=False)
def sparse_mask(input: Tensor, mask: Tensor) -> Tensor:
    """The elements of an ordinary tensor at the places of the sparse tensor `mask`."""
    places = _need_sparse(mask, "sparse_mask").coalesce()
    if input._array.shape != places.shape:
        raise RuntimeError(f"sparse_mask(): operands have incompatible sizes; self has size {list(input.shape)} but mask has "
                           f"size {list(mask.shape)}")
    picked = input[tuple(wrap(i) for i in places.indices)]  # type: ignore[index]
    return Build.apply(picked, places.indices, places.shape, True)


def total(input: Tensor, dim: Any = None) -> Tensor:
    """The sum of a sparse tensor: a number without `dim`; otherwise what is left, sparse unless no sparse dimension is."""
    x = _need_sparse(expect_tensor(input, "sparse.sum"), "sparse.sum")
    if dim is None:
        return Values.apply(input).sum()  # type: ignore[attr-defined]
    dims = {d % x.ndim for d in ((dim,) if isinstance(dim, int) else dim)}
    kept = [d for d in range(x.sparse_dim) if d not in dims]
    data = Values.apply(input)
    inner = tuple(d - x.sparse_dim + 1 for d in dims if d >= x.sparse_dim)
    data = data.sum(inner) if inner else data
    if not kept:
        return data.sum(0)
    shape = tuple([n for d, n in enumerate(x.shape) if d not in dims])
    return coalesce(Build.apply(data, x.indices[kept], shape, False))


