"""Elements in other places: views of parts (narrow, diagonal, unfold) and rearranged copies (flip, roll, repeat, tril)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend, devices, dtypes
from ..tensor import Tensor, check_dim, wrap
from .base import Op, composite, op
from .creation import finish
from .indexing import GatherIndex, Slice
from .joining import split_sizes
from .samples import samples_for
from .shape import Expand, Permute, Reshape, dims_of, infer_shape

# -- views of parts ---------------------------------------------------------------------------------------------------


@composite("narrow")
def narrow(input: Tensor, dim: int, start: Any, length: int) -> Tensor:
    """A view of `length` elements from `start` along `dim`.

    >>> torch.narrow(torch.arange(5), 0, 1, 3)
    tensor([1, 2, 3])
    """
    d = check_dim(dim, input._array.ndim)
    n = input._array.shape[d]
    first = int(start)
    if first < -n or first > n:
        raise IndexError(f"start out of range (expected to be in range of [{-n}, {n}], but got {first})")
    first = first + n if first < 0 else first
    if length < 0 or first + length > n:
        raise RuntimeError(f"start ({first}) + length ({length}) exceeds dimension size ({n}).")
    return Slice.apply(input, (*(slice(None),) * d, slice(first, first + length)))


@composite("select")
def select(input: Tensor, dim: int, index: int) -> Tensor:
    """A view of one slice along `dim`, without that dimension.

    >>> torch.select(torch.tensor([[1, 2], [3, 4]]), 1, 0)
    tensor([1, 3])
    """
    d = check_dim(dim, input._array.ndim)
    n = input._array.shape[d]
    if not -n <= index < n:
        raise IndexError(f"select(): index {index} out of range for tensor of size {list(input.shape)} at dimension {d}")
    return Slice.apply(input, (*(slice(None),) * d, int(index)))


@op("diagonal")
class Diagonal(Op):
    """A view of the diagonal of two dimensions, as the last dimension; `offset` above (> 0) or below (< 0).

    >>> torch.diagonal(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 4])
    """

    view = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, offset: int, dim1: int, dim2: int) -> Any:
        out = x.diagonal(offset, dim1, dim2)
        if xp is np:
            out.flags.writeable = x.flags.writeable
        return out, x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._place_region(g, s.aux, ((Diagonal, s.params),)),)

    @staticmethod
    def call(input: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
        i, j = check_dim(dim1, input._array.ndim), check_dim(dim2, input._array.ndim)
        if i == j:
            raise RuntimeError(f"diagonal dimensions cannot be identical {dim1}, {dim2}")
        return Diagonal.apply(input, offset, i, j)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("diagonal", make.uniform((3, 4)), 1)
        yield make("diagonal", make.uniform((2, 3, 4)).t(), -1, 0, -1)


@composite("diag")
def diag(input: Tensor, diagonal: int = 0) -> Tensor:
    """The diagonal of a matrix, or the matrix with a vector on its diagonal.

    >>> torch.diag(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    if input._array.ndim == 1:
        return diag_embed(input, diagonal)
    if input._array.ndim != 2:
        raise RuntimeError("diag(): Supports 1D or 2D tensors. Got " + f"{input._array.ndim}D")
    return Diagonal.call(input, diagonal).clone()  # type: ignore[attr-defined]


@composite("diag_embed")
def diag_embed(input: Tensor, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The last dimension on the diagonal of new matrices in dimensions `dim1`, `dim2`.

    >>> torch.diag_embed(torch.tensor([1, 2])).shape
    torch.Size([2, 2])
    """
    n = input._array.shape[-1] + abs(offset)
    nd = input._array.ndim + 1
    i, j = check_dim(dim1, nd), check_dim(dim2, nd)
    shape = list(input._array.shape[:-1])
    for at in sorted((i, j)):
        shape.insert(at, n)
    out = input.new_zeros(shape)  # type: ignore[attr-defined]
    Diagonal.call(out, offset, i, j).copy_(input)  # type: ignore[attr-defined]
    return out


@composite("diagflat")
def diagflat(input: Tensor, offset: int = 0) -> Tensor:
    """A matrix with all elements of `input` on its diagonal."""
    return diag_embed(input.reshape(-1), offset)  # type: ignore[attr-defined]


@composite("fill_diagonal_", function=False)
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Fill the main diagonal in place."""
    if input._array.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    if wrap:
        raise NotImplementedError("fill_diagonal_(wrap=True) is not supported. HINT: fill the blocks one by one.")
    Diagonal.call(input).fill_(fill_value)  # type: ignore[attr-defined]
    return input


@op("unfold", function=False)
class Unfold(Op):
    """A view of all windows of `size` along `dimension`, `step` apart; the window is the last dimension.

    >>> torch.arange(4).unfold(0, 2, 1)
    tensor([[0, 1],
            [1, 2],
            [2, 3]])
    """

    view = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, dim: int, size: int, step: int) -> Any:
        count = (x.shape[dim] - size) // step + 1
        shape = (*x.shape[:dim], count, *x.shape[dim + 1 :], size)
        strides = (*x.strides[:dim], x.strides[dim] * step, *x.strides[dim + 1 :], x.strides[dim])
        return xp.lib.stride_tricks.as_strided(x, shape, strides), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._add_windows(g, s.aux, s.params),)

    @staticmethod
    def call(input: Tensor, dimension: int, size: int, step: int) -> Tensor:
        d = check_dim(dimension, input._array.ndim)
        if step <= 0:
            raise RuntimeError(f"step is {step} but must be > 0")
        if size > input._array.shape[d]:
            raise RuntimeError(f"maximum size for tensor at dimension {d} is {input._array.shape[d]} but size is {size}")
        return Unfold.apply(input, d, size, step)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("unfold", make.uniform((7,)), 0, 3, 2, _module="Tensor")
        yield make("unfold", make.uniform((2, 5)), -1, 2, 1, _module="Tensor")


@op("_add_windows", function=False, method=False)
class AddWindows(Op):
    """Windows added back to where they were taken: the adjoint of `unfold`."""

    @staticmethod
    def forward(xp: Any, g: Any, shape: tuple, params: tuple) -> Any:
        dim, size, step = params
        out = xp.zeros(shape, g.dtype)
        lead = (slice(None),) * dim
        for i in range(size):
            stop = i + (g.shape[dim] - 1) * step + 1
            out[(*lead, slice(i, stop, step))] += g[..., i]
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.unfold(g, *s.params[1]),)


@op("as_strided")
class AsStrided(Op):
    """A view by explicit size, strides and offset, in elements of the storage.

    >>> torch.as_strided(torch.arange(6), (2, 2), (2, 1))
    tensor([[0, 1],
            [2, 3]])
    """

    view = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, size: tuple, stride: tuple, offset: int) -> Any:
        flat = x.reshape(-1)[offset:]
        strides = tuple([n * x.itemsize for n in stride])
        return xp.lib.stride_tricks.as_strided(flat, size, strides), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        size, stride, offset = s.params
        where = np.asarray(offset)
        for n, step in zip(size, stride):
            where = where[..., None] + np.arange(n) * step
        numel = int(np.prod(s.aux))
        return (xp._reshape(xp._add_at(xp._reshape(g, (-1,)), (numel,), (where.reshape(-1),)), s.aux),)

    @staticmethod
    def call(input: Tensor, size: Sequence, stride: Sequence, storage_offset: int | None = None) -> Tensor:
        if not input._array.flags.c_contiguous:
            raise NotImplementedError("as_strided() is supported on contiguous tensors. HINT: call .contiguous() first.")
        size, stride, offset = tuple(size), tuple(stride), storage_offset or 0
        last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else 0
        if last >= max(input._array.size, 1) or offset < 0:
            raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset} are out of "
                               f"bounds for storage of {input._array.size} elements")
        return AsStrided.apply(input, size, stride, offset)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("as_strided", make.uniform((3, 4)), (2, 3), (4, 1), 1)
        yield make("as_strided", make.uniform((6,)), (3, 3), (1, 1))


@composite("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Sequence) -> Tensor:
    """One dimension as several (one may be -1).

    >>> torch.unflatten(torch.zeros(6), 0, (2, -1)).shape
    torch.Size([2, 3])
    """
    d = check_dim(dim, input._array.ndim)
    shape = input._array.shape
    return Reshape.apply(input, (*shape[:d], *infer_shape(tuple(sizes), shape[d]), *shape[d + 1 :]))


@composite("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with dimensions moved to other places, the rest in order.

    >>> torch.movedim(torch.zeros(2, 3, 5), 0, -1).shape
    torch.Size([3, 5, 2])
    """
    nd = input._array.ndim
    a = [check_dim(d, nd) for d in ((source,) if isinstance(source, int) else source)]
    b = [check_dim(d, nd) for d in ((destination,) if isinstance(destination, int) else destination)]
    if len(a) != len(b):
        raise RuntimeError(f"movedim: Invalid source or destination dims: source ({a}) and destination ({b}) must have the "
                           "same number of elements")
    if len(set(a)) != len(a) or len(set(b)) != len(b):
        raise RuntimeError("movedim: repeated dim in source or destination")
    order = [d for d in range(nd) if d not in a]
    for to, from_ in sorted(zip(b, a)):
        order.insert(to, from_)
    return Permute.apply(input, tuple(order))


@composite("view_as", function=False)
def view_as(input: Tensor, other: Tensor) -> Tensor:
    """`view` with `other`'s shape."""
    return input.view(other.shape)  # type: ignore[attr-defined]


@composite("reshape_as", function=False)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to `other`'s shape."""
    return input.reshape(other.shape)  # type: ignore[attr-defined]


@composite("broadcast_to")
def broadcast_to(input: Tensor, size: Sequence) -> Tensor:
    """`expand` as a function."""
    return Expand.call(input, *size)


@composite("broadcast_tensors", method=False)
def broadcast_tensors(*tensors: Tensor) -> tuple:
    """All tensors expanded to their common shape."""
    many = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    try:
        shape = np.broadcast_shapes(*[t.shape for t in many])
    except ValueError as error:
        raise RuntimeError(f"broadcast_tensors(): {error}") from None
    return tuple([Expand.call(t, *shape) for t in many])


@composite("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views of n nearly equal pieces, or of the pieces between the listed indices.

    >>> [len(p) for p in torch.tensor_split(torch.arange(5), 3)]
    [2, 2, 1]
    """
    d = check_dim(dim, input._array.ndim)
    total = input._array.shape[d]
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {n}")
        return split_sizes(input, tuple([total // n + (i < total % n) for i in range(n)]), d)
    given = indices_or_sections.tolist() if isinstance(indices_or_sections, Tensor) else list(indices_or_sections)
    edges = [0, *[min(max(i + total if i < 0 else i, 0), total) for i in given], total]
    lead = (slice(None),) * d
    return tuple([Slice.apply(input, (*lead, slice(a, max(a, b)))) for a, b in zip(edges, edges[1:])])


# -- rearranged copies ------------------------------------------------------------------------------------------------


@op("flip")
class Flip(Op):
    """A copy with the order reversed along the given dimensions.

    >>> torch.flip(torch.tensor([1, 2, 3]), [0])
    tensor([3, 2, 1])
    """

    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, dims: tuple) -> Any:
        return x[tuple([slice(None, None, -1) if i in dims else slice(None) for i in range(x.ndim)])].copy()

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
    """Columns in reversed order."""
    return Flip.call(input, 1)


@composite("flipud")
def flipud(input: Tensor) -> Tensor:
    """Rows in reversed order."""
    return Flip.call(input, 0)


@composite("rot90")
def rot90(input: Tensor, k: int = 1, dims: Sequence = (0, 1)) -> Tensor:
    """Rotated k times by 90 degrees in the plane of two dimensions.

    >>> torch.rot90(torch.tensor([[1, 2], [3, 4]]))
    tensor([[2, 4],
            [1, 3]])
    """
    i, j = dims
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
        return xp.roll(x, shifts if dims is not None else shifts[0], dims)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        shifts, dims = s.params
        return (xp.roll(g, tuple([-n for n in shifts]), dims),)

    @staticmethod
    def call(input: Tensor, shifts: Any, dims: Any = None) -> Tensor:
        many = (shifts,) if isinstance(shifts, int) else tuple(shifts)
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
        return xp.tile(x, counts), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        counts = s.params[0]
        shape = (1,) * (len(counts) - len(s.aux)) + tuple(s.aux)
        split = tuple([n for pair in zip(counts, shape) for n in pair])
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
        return wrap(xp.repeat(xp.arange(input._array.size), input._array))
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
    return GatherIndex.apply(input, (*(slice(None),) * d, where))


class _Triangle(Op):
    """Base of tril and triu: a copy with one side of the diagonal of the last two dimensions zeroed."""

    moves = True

    @classmethod
    def _check(cls, input: Tensor, diagonal: int) -> Tensor:
        if input._array.ndim < 2:
            raise RuntimeError(f"{cls.name}: input tensor must have at least 2 dimensions")
        return cls.apply(input, diagonal)

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
        return xp.tril(x, diagonal)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.tril(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        return Tril._check(input, diagonal)


@op("triu", inplace=True)
class Triu(_Triangle):
    """The upper triangle of matrices, zeros below diagonal `diagonal`.

    >>> torch.triu(torch.ones(2, 2))
    tensor([[1., 1.],
            [0., 1.]])
    """

    @staticmethod
    def forward(xp: Any, x: Any, diagonal: int) -> Any:
        return xp.triu(x, diagonal)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.triu(g, s.params[0]),)

    @staticmethod
    def call(input: Tensor, diagonal: int = 0, *, out: Tensor | None = None) -> Tensor:
        return Triu._check(input, diagonal)


def _triangle_indices(pick: Any, row: int, col: int, offset: int, dtype: Any, device: Any) -> Tensor:
    found = np.stack(pick(row, offset, col)).astype(dtypes.int64.np if dtype is None else dtypes.as_dtype(dtype).np)
    return finish(devices.place(found, devices.as_device(device)), False)


@composite("tril_indices", method=False)
def tril_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The indices of the lower triangle of a row x col matrix, as two rows."""
    return _triangle_indices(np.tril_indices, row, col, offset, dtype, device)


@composite("triu_indices", method=False)
def triu_indices(row: int, col: int, offset: int = 0, *, dtype: Any = None, device: Any = None, layout: Any = None) -> Tensor:
    """The indices of the upper triangle of a row x col matrix, as two rows."""
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
    yield make("diag", make.uniform((3,)), 1)
    yield make("diag", make.uniform((3, 4)), -1)
    yield make("diag_embed", make.uniform((2, 3)), 1, 0, 2)
    yield make("narrow", make.uniform((5, 2)), 0, 1, 3)
    yield make("select", make.uniform((5, 2)), -1, 1)
    yield make("movedim", make.uniform((2, 3, 4)), (0, 1), (-1, 0))
    yield make("unflatten", make.uniform((2, 6)), 1, (2, -1))
    yield make("tensor_split", make.uniform((7, 2)), 3)
    yield make("tensor_split", make.uniform((7, 2)), (1, 4))
    yield make("broadcast_to", make.uniform((3, 1)), (2, 3, 4))
    yield make("tril_indices", 3, 4, 1, _grad=False)
    yield make("triu_indices", 3, 4, -1, _grad=False)


__all__ = ["Flip", "Repeat", "Roll"]
