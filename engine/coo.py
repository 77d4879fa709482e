"""Sparse arrays in coordinate form: what a sparse tensor holds in place of a NumPy array.

`Coo` has an array's shape and dtype and the few operations that training needs; every other use of it says so.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .errors import not_supported


class Coo:
    """`values[k]` at the place `indices[:, k]` of an array of this shape; places named twice add up.

    indices (sparse dimensions, n) int64, values (n, *dense dimensions). Never changed in place. A matrix in a compressed
    layout is kept like this as well, in the order of its rows (`axis` 0, CSR) or columns (1, CSC).
    """

    __slots__ = ("axis", "coalesced", "indices", "shape", "values")
    in_use = False  # whether this process has made one: lets optimizers skip their look for sparse gradients

    def __init__(self, indices: Any, values: Any, shape: tuple, coalesced: bool = False, axis: int | None = None) -> None:
        self.indices, self.values, self.shape, self.axis = indices, values, tuple(shape), axis
        self.coalesced = coalesced or indices.shape[1] < 2
        Coo.in_use = True

    dtype = property(lambda self: self.values.dtype)
    itemsize = property(lambda self: self.values.dtype.itemsize)
    ndim = property(lambda self: len(self.shape))
    nnz = property(lambda self: self.indices.shape[1])
    sparse_dim = property(lambda self: self.indices.shape[0])

    @property
    def size(self) -> int:
        """The number of elements, zeros included."""
        n = 1
        for k in self.shape:
            n *= k
        return n

    def with_values(self, values: Any) -> Coo:
        """Other values at the same places."""
        return Coo(self.indices, values, self.shape, self.coalesced, self.axis)

    def compressed(self, axis: int | None, xp: Any = np) -> Coo:
        """The same matrix in the order of its rows (0) or columns (1); None: in coordinates."""
        if axis == self.axis:
            return self
        x = self.coalesce(xp)
        order = xp.argsort(x.indices[1], kind="stable") if axis == 1 else slice(None)
        return Coo(x.indices[:, order], x.values[order], x.shape, axis != 1, axis)

    def pointers(self, xp: Any = np) -> Any:
        """Where each row (or column) of a compressed matrix begins among the values; one more than there are."""
        along: Any = self.axis
        counts = xp.bincount(self.indices[along], minlength=self.shape[along])
        return xp.concatenate([xp.zeros(1, xp.int64), xp.cumsum(counts)])

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Coo:
        """The values in another dtype."""
        return self.with_values(self.values.astype(dtype))

    def copy(self, order: str = "C") -> Coo:
        """A copy."""
        return Coo(self.indices.copy(), self.values.copy(), self.shape, self.coalesced, self.axis)

    def dense(self, xp: Any = np) -> Any:
        """The ordinary array."""
        out = xp.zeros(self.shape, self.dtype)
        if self.coalesced:
            out[tuple(self.indices)] = self.values
        else:
            xp.add.at(out, tuple(self.indices), self.values)
        return out

    def coalesce(self, xp: Any = np) -> Coo:
        """Each place once, in row-major order."""
        if self.coalesced:
            return self
        sizes = self.shape[: self.sparse_dim]
        flat = xp.ravel_multi_index(tuple(self.indices), sizes)
        places, back = xp.unique(flat, return_inverse=True)
        values = xp.zeros((len(places), *self.values.shape[1:]), self.dtype)
        xp.add.at(values, back.reshape(-1), self.values)
        return Coo(xp.stack(xp.unravel_index(places, sizes)), values, self.shape, True)

    def transpose(self, *axes: Any) -> Coo:
        """The sparse dimensions in another order (reversed without `axes`); dense ones must stay where they are."""
        dims = axes[0] if len(axes) == 1 else axes or tuple(reversed(range(self.ndim)))
        n = self.sparse_dim
        if sorted(dims[:n]) != list(range(n)) or list(dims[n:]) != list(range(n, self.ndim)):
            raise not_supported("transposing a dense with a sparse dimension", "to_dense() first.")
        axis = self.axis if self.axis is None or dims[0] == 0 else 1 - self.axis
        return Coo(self.indices[list(dims[:n])], self.values, tuple([self.shape[d] for d in dims]), False, axis)

    T = property(lambda self: self.transpose())

    def swapaxes(self, axis1: int, axis2: int) -> Coo:
        """Two dimensions exchanged."""
        dims = list(range(self.ndim))
        dims[axis1], dims[axis2] = dims[axis2], dims[axis1]
        return self.transpose(tuple(dims))

    def conj(self) -> Coo:
        """The complex conjugate."""
        return self.with_values(self.values.conj())

    def sum(self, axis: Any = None, **kwargs: Any) -> Any:
        """The sum of all elements; `engine.sparse.sum` is for others."""
        if axis is not None and len(axis) != self.ndim:
            raise not_supported("sum of a sparse tensor over a dimension", "use torch.sparse.sum.")
        return self.values.sum()

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        if method == "reduce" and ufunc is np.add:
            return self.sum(kwargs.get("axis"))
        if method == "__call__" and not kwargs:
            if ufunc is np.matmul:
                return matmul(*inputs)
            if ufunc is np.add and len(inputs) == 2:
                return _sum(*inputs)
            if ufunc is np.subtract and len(inputs) == 2:
                return _sum(inputs[0], -inputs[1])
            if ufunc in (np.negative, np.positive):
                return self.with_values(ufunc(self.values))
            number = [np.ndim(x) == 0 for x in inputs]
            if ufunc is np.multiply and any(number):
                a, b = inputs if isinstance(inputs[0], Coo) else inputs[::-1]
                return a.with_values(a.values * b)
            if ufunc is np.true_divide and number[1]:
                return self.with_values(self.values / inputs[1])
            if ufunc is np.multiply:
                return _product(*inputs)
        raise not_supported(f"{ufunc.__name__} of a sparse tensor", "call to_dense() first.")

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError("can't convert Sparse layout tensor to numpy. Use Tensor.to_dense() first.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise not_supported(f"'{name}' of a sparse tensor", "call to_dense() first.")

    def __add__(self, other: Any) -> Any:
        return np.add(self, other)

    def __radd__(self, other: Any) -> Any:
        return np.add(other, self)

    def __mul__(self, other: Any) -> Any:
        return np.multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return np.multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return np.true_divide(self, other)

    def __sub__(self, other: Any) -> Any:
        return np.subtract(self, other)

    def __neg__(self) -> Any:
        return self.with_values(-self.values)


def matmul(a: Any, b: Any) -> Any:
    """The product of two matrices, or of a matrix and a vector, of which one is sparse: a dense array."""
    if not isinstance(a, Coo):
        return matmul(b.T, a.T).T
    b = b.dense() if isinstance(b, Coo) else b
    if b.ndim == 1:
        return matmul(a, b[:, None])[:, 0]
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[0]:
        raise RuntimeError(f"mat1 and mat2 shapes cannot be multiplied ({'x'.join(map(str, a.shape))} and "
                           f"{'x'.join(map(str, b.shape))})")
    rows, columns = a.indices
    return row_sums(a.values[:, None] * b[columns], rows, a.shape[0])


def row_sums(rows: Any, index: Any, count: int) -> Any:
    """An array of `count` rows, row i the sum of the `rows` whose `index` is i."""
    out = np.zeros_like(rows, shape=(count, *rows.shape[1:]))
    if len(index) == 0:
        return out
    order = np.argsort(index, kind="stable")
    placed = index[order]
    starts = np.flatnonzero(np.concatenate([placed[:1] >= 0, placed[1:] != placed[:-1]]))
    out[placed[starts]] = np.add.reduceat(rows[order], starts, axis=0)
    return out


def _sum(a: Any, b: Any) -> Any:
    if isinstance(a, Coo) and isinstance(b, Coo):
        if a.shape != b.shape or a.sparse_dim != b.sparse_dim:
            raise RuntimeError(f"add: expected sparse tensors of one shape, got {list(a.shape)} and {list(b.shape)}")
        joined = Coo(np.concatenate([a.indices, b.indices], 1), np.concatenate([a.values, b.values]), a.shape)
        if a.axis is not None:
            return joined.compressed(a.axis)
        return joined.coalesce() if a.coalesced and b.coalesced else joined
    if isinstance(a, Coo):
        raise RuntimeError("add(sparse, dense) is not supported. Use add(dense, sparse) instead.")
    if np.ndim(a) == 0:
        raise not_supported("adding a number to a sparse tensor", "call to_dense() first.")
    return a + b.dense()


def _product(a: Any, b: Any) -> Coo:
    """Elementwise, where one is sparse: at its places only. Both sparse: where both have values."""
    if isinstance(a, Coo) and isinstance(b, Coo):
        a, b = a.coalesce(), b.dense()
    sparse, dense = (a, b) if isinstance(a, Coo) else (b, a)
    if dense.shape != sparse.shape:
        raise RuntimeError(f"mul(sparse, dense): expected one shape, got {list(sparse.shape)} and {list(dense.shape)}")
    return sparse.with_values(sparse.values * dense[tuple(sparse.indices)])
