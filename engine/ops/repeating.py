"""Copies in another order or repeated: flip, rot90, roll, repeat, tile, repeat_interleave, tril, triu."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, devices, dtypes
from ..copying import copy_to, empty_as
from ..memory import empty
from ..pool import LARGE
from ..tensor import Tensor, check_dim, wrap
from .applying import row_major
from .base import Op, composite, op
from .creation import finish
from .inplace import write_out
from .padding import TakeAxes
from .samples import samples_for
from .shape import dims_of


@op("flip")
class Flip(Op):
    """A copy with the order reversed along the given dimensions.

    >>> torch.flip(torch.tensor([1, 2, 3]), [0])
    tensor([3, 2, 1])
    """

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, dims: tuple) -> Any:
        out = empty_as(x)
        copy_to((out, x[tuple([slice(None, None, -1) if i in dims else slice(None) for i in range(x.ndim)])]))
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.flip(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, *dims: Any) -> Tensor:
        return Flip.apply(input, tuple([check_dim(d, input._array.ndim) for d in dims_of(dims)]))

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("flip", make.uniform((3, 4)), (0, -1))
        yield make("flip", make.uniform((3, 4)).t(), [1])


@composite("fliplr")
def fliplr(input: Tensor) -> Tensor:
    """Columns in reversed order.

    >>> torch.fliplr(torch.tensor([[1, 2]]))
    tensor([[2, 1]])
    """
    return Flip.call(input, 1)


@composite("flipud")
def flipud(input: Tensor) -> Tensor:
    """Rows in reversed order.

    >>> torch.flipud(torch.tensor([[1], [2]]))
    tensor([[2],
            [1]])
    """
    if not input.ndim:
        raise RuntimeError("Input must be >= 1-d.")
    return Flip.call(input, 0)


@composite("rot90")
def rot90(input: Tensor, k: int = 1, dims: Sequence = (0, 1)) -> Tensor:
    """Rotated k times by 90 degrees in the plane of two dimensions.

    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    i, j = [check_dim(d, input._array.ndim) for d in dims]
    if i == j:
        raise RuntimeError(f"expected rotation dims to be different, but got dim0 = {dims[0]} and dim1 = {dims[1]}")
    k %= 4
    if k == 2:
        return Flip.call(input, i, j)
    if k == 1:
        return Flip.call(input, j).transpose(i, j)  # type: ignore[attr-defined]
    if k == 3:
        return Flip.call(input.transpose(i, j), j)  # type: ignore[attr-defined]
    return input.clone()  # type: ignore[attr-defined]


@op("roll")
class Roll(Op):
    """A copy shifted cyclically along dimensions; without `dims` the flattened tensor is shifted.

    >>> torch.roll(torch.tensor([1, 2, 3]), 1)
    tensor([3, 1, 2])
    """

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, shifts: tuple, dims: tuple | None) -> Any:
        return row_major(xp, xp.roll(x, shifts if dims is not None else shifts[0], dims))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        shifts, dims = s.params
        return (xp.roll(g, tuple([-n for n in shifts]), dims),)

    @staticmethod
    def call(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
        many = (shifts,) if isinstance(shifts, int) else (shifts.item(),) if isinstance(shifts, Tensor) else tuple(shifts)
        axes = None if dims is None or dims == () else (dims,) if isinstance(dims, int) else tuple(dims)
        if axes is not None and len(axes) != len(many):
            raise RuntimeError(f"shifts and dimensions must align. shifts: {len(many)}, dims:{len(axes)}")
        if axes is not None:
            axes = tuple([check_dim(d, input._array.ndim) for d in axes])
        return Roll.apply(input, many, axes)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("roll", make.uniform((3, 4)), 2)
        yield make("roll", make.uniform((3, 4)), (1, -2), (0, -1))


@op("repeat", function=False)
class Repeat(Op):
    """The tensor repeated along each dimension (new leading ones allowed), copied.

    >>> torch.tensor([1, 2]).repeat(2, 2)
    tensor([[1, 2, 1, 2],
            [1, 2, 1, 2]])
    """

    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, counts: tuple) -> Any:
        if xp is not np or x.size < LARGE:
            return xp.tile(x, counts), x.shape
        shape, split = Repeat.places(x.shape, counts)
        out = empty(tuple([a * b for a, b in zip(counts, shape)]), x.dtype)
        whole, part = out.reshape(split), x.reshape([1 if i % 2 == 0 else n for i, n in enumerate(split)])
        part = np.broadcast_to(part, split)
        copy_to((whole[0], part[0]) if counts[0] == 1 else (whole, part))
        return out, x.shape

    @staticmethod
    def places(shape: Any, counts: tuple) -> tuple:
        """(the input's shape with as many dimensions as there are counts, count and size of every dimension in turn)."""
        shape = (1,) * (len(counts) - len(shape)) + tuple(shape)
        return shape, tuple([n for pair in zip(counts, shape) for n in pair])

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        split = Repeat.places(s.aux, s.params[0])[1]
        folded = xp.sum(xp._reshape(g, split), tuple(range(0, len(split), 2)), False, None)
        return (xp._reshape(folded, s.aux),)

    @staticmethod
    def call(input: Tensor, *repeats: Any) -> Tensor:
        counts = dims_of(repeats)
        if len(counts) < input._array.ndim:
            raise RuntimeError("Number of dimensions of repeat dims can not be smaller than number of dimensions of tensor")
        if any(n < 0 for n in counts):
            raise RuntimeError(f"Trying to create tensor with negative dimension: repeats {list(counts)}")
        return Repeat.apply(input, counts)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("repeat", make.uniform((2, 3)), 2, 1, 2)
        yield make("repeat", make.uniform((3,)), (2,))
        yield make("repeat", make.uniform(()), 3)


@composite("tile")
def tile(input: Tensor, *dims: Any) -> Tensor:
    """`repeat` that fills missing leading counts with 1.

    >>> torch.tile(torch.tensor([1, 2]), (2,))
    tensor([1, 2, 1, 2])
    """
    counts = dims_of(dims)
    return Repeat.call(input, (1,) * (input._array.ndim - len(counts)) + counts)


@composite("repeat_interleave")
def repeat_interleave(input: Tensor, repeats: Any = None, dim: int | None = None, *, output_size: int | None = None) -> Tensor:
    """Each element (or slice along `dim`) repeated in place: by one count, or by a tensor of counts.

    >>> torch.repeat_interleave(torch.tensor([1, 2]), 2)
    tensor([1, 1, 2, 2])
    """
    xp = backend.namespace(input._array)
    if repeats is None:
        if input.ndim != 1:
            raise RuntimeError("repeat_interleave only accept 1D vector as repeat")
        if input._array.dtype.name not in ("int32", "int64"):
            raise RuntimeError("repeats has to be Long or Int tensor")
        return wrap(xp.repeat(xp.arange(input._array.size, dtype=input._array.dtype), input._array))
    if dim is None:
        input, dim = input.reshape(-1), 0  # type: ignore[attr-defined]
    d = check_dim(dim, input._array.ndim)
    n = input._array.shape[d]
    counts = repeats._array if isinstance(repeats, Tensor) else repeats
    if isinstance(counts, (list, tuple)):
        counts = np.asarray(counts)
    if np.ndim(counts) and counts.size not in (1, n):
        raise RuntimeError("repeats must have the same size as input along dim, but got repeats.size(0) = "
                           f"{counts.size} and input.size({d}) = {n}")
    if (np.asarray(backend.to_numpy(counts) if backend.is_array(counts) else counts) < 0).any():
        raise RuntimeError("repeats can not be negative")
    where = xp.repeat(xp.arange(n), counts)
    return TakeAxes.apply(input, ((d, where, n),))


class _Triangle(Op):
    """Base of tril and triu: a copy with one side of the diagonal of the last two dimensions zeroed."""

    moves = True

    @classmethod
    def _check(cls, input: Tensor, diagonal: int, out: Tensor | None) -> Tensor:
        if input._array.ndim < 2:
            raise RuntimeError(f"{cls.name}: input tensor must have at least 2 dimensions")
        result = cls.apply(input, diagonal)
        return result if out is None else write_out(out, result)

    @classmethod
    def samples(cls, make: Any) -> Any:
        yield make(cls.name, make.uniform((3, 4)))
        yield make(cls.name, make.uniform((2, 3, 3)), -1)
        yield make(cls.name, make.uniform((3, 4)).t(), diagonal=1)


@op("tril", inplace=True)
class Tril(_Triangle):
    """The lower triangle of matrices, zeros above diagonal `diagonal`.

    >>> torch.tril(torch.ones(2, 2))
    tensor([[1., 0.],
            [1., 1.]])
    """

    @staticmethod
    def forward(xp: Any, x: Any, diagonal: int) -> Any:
        return row_major(xp, xp.tril(x, diagonal))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.tril(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        return Tril._check(input, diagonal, out)


@op("triu", inplace=True)
class Triu(_Triangle):
    """The upper triangle of matrices, zeros below diagonal `diagonal`.

    >>> torch.triu(torch.ones(2, 2))
    tensor([[1., 1.],
            [0., 1.]])
    """

    @staticmethod
    def forward(xp: Any, x: Any, diagonal: int) -> Any:
        return row_major(xp, xp.triu(x, diagonal))

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.triu(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        return Triu._check(input, diagonal, out)


def _triangle_indices(pick: Any, row: int, col: int, offset: int, dtype: Any, device: Any) -> Tensor:
    if row < 0 or col < 0:
        raise RuntimeError(f"{'row' if row < 0 else 'col'} must be non-negative, got {row if row < 0 else col}")
    found = np.stack(pick(row, offset, col)).astype(dtypes.int64.np if dtype is None else dtypes.as_dtype(dtype).np)
    return finish(devices.place(found, devices.as_device(device)), False)


@composite("tril_indices", method=False)
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The indices of the lower triangle of a row x col matrix, as two rows.

    >>> torch.tril_indices(2, 2)
    tensor([[0, 1, 1],
            [0, 0, 1]])
    """
    return _triangle_indices(np.tril_indices, row, col, offset, dtype, device)


@composite("triu_indices", method=False)
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The indices of the upper triangle of a row x col matrix, as two rows.

    >>> torch.triu_indices(2, 2)
    tensor([[0, 0, 1],
            [0, 1, 1]])
    """
    return _triangle_indices(np.triu_indices, row, col, offset, dtype, device)


@samples_for("tile")
def _copy_samples(make: Any) -> Any:
    yield make("tile", make.uniform((2, 3)), (2,))
    yield make("repeat_interleave", make.uniform((2, 3)), 2)
    yield make("repeat_interleave", make.uniform((2, 3)), 2, dim=1)
    yield make("repeat_interleave", make.uniform((3, 2)), make.ints((3,), 0, 3), 0)
    yield make("rot90", make.uniform((2, 3)), 3)
    yield make("rot90", make.uniform((2, 3)), 1)
    yield make("fliplr", make.uniform((2, 3)))
    yield make("tril_indices", 3, 4, 1, _grad=False)
    yield make("triu_indices", 3, 4, -1, _grad=False)


__all__ = ["Flip", "Repeat", "Roll"]
