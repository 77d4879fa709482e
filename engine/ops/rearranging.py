"""Elements in other places: views of parts (narrow, diagonal, unfold), and dimensions moved or split.

Copies in another order are in repeating.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import backend
from ..batched import Batched, NoRule, promoted
from ..tensor import Tensor, check_dim
from .base import Op, composite, expect_tensor, op
from .indexing import Slice
from .inplace import with_out
from .joining import split_sizes
from .samples import samples_for
from .shape import Expand, Permute, Reshape, infer_shape

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
@with_out
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
    """A matrix with all elements of `input` on its diagonal.

    >>> torch.diagflat(torch.tensor([1, 2]))
    tensor([[1, 0],
            [0, 2]])
    """
    return diag_embed(input.reshape(-1), offset)  # type: ignore[attr-defined]


@composite("fill_diagonal_", function=False)
def fill_diagonal_(input: Tensor, fill_value: Any, wrap: bool = False) -> Tensor:
    """Fill the main diagonal in place; with `wrap`, that of a tall matrix begins anew below every square block and a row.

    >>> torch.zeros(2, 2).fill_diagonal_(1)
    tensor([[1., 0.],
            [0., 1.]])
    """
    if input._array.ndim < 2:
        raise RuntimeError("dimensions must larger than 1")
    shape = input._array.shape
    if len(shape) > 2 and len(set(shape)) > 1:
        raise RuntimeError("all dimensions of input must be of equal length")
    for start in range(0, shape[0] if wrap and len(shape) == 2 else 1, shape[1] + 1):
        diagonal = Diagonal.call(input, -start)
        for _ in shape[2:]:  # the new dimension is the last
            diagonal = Diagonal.call(diagonal, 0, 0, -1)
        diagonal.fill_(fill_value)  # type: ignore[attr-defined]
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
    """A view of the storage by explicit size, strides and offset (default: the input's own), in elements.

    RuntimeError where it would reach out of the storage. Elements of the input that share memory share the gradient.

    >>> torch.as_strided(torch.arange(6), (2, 2), (2, 1))
    tensor([[0, 1],
            [2, 3]])
    """

    view = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, size: tuple, stride: tuple, offset: int) -> Any:
        if isinstance(x, Batched):
            raise NoRule("vmap: a batch's memory is not that of its samples")
        flat, start = backend.memory_of(x)
        strides = tuple([n * x.itemsize for n in stride])
        out = backend.strided(flat[start + offset :], size, strides)
        return out, (x.shape, tuple([n // x.itemsize for n in x.strides]), start, flat.size)

    @staticmethod
    def batched(level: Any, x: Any, size: tuple, stride: tuple, offset: int) -> Any:
        """Every sample in memory of its own: the backward formula counts places in a sample's memory."""
        parts = [AsStrided.forward(np, np.array(one), size, stride, offset) for one in promoted(x, level).inner]
        if not parts:
            return None
        return Batched(np.stack([out for out, _ in parts]), level), parts[0][1]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        shape, own_stride, start, numel = s.aux
        size, stride, offset = s.params  # the offset from the input's start
        flat = xp._add_at(xp._reshape(g, (-1,)), (numel,), (_positions(size, stride, start + offset).reshape(-1),))
        mine = _positions(shape, own_stride, start)
        aliases = np.bincount(mine.reshape(-1), minlength=numel)
        if aliases.max(initial=0) > 1:
            flat = flat / np.maximum(aliases, 1).astype(g.dtype if isinstance(g.dtype, np.dtype) else g.dtype.np)
        return (xp._gather_index(flat, (mine,)),)

    @staticmethod
    def call(input: Tensor, size: Sequence, stride: Sequence, storage_offset: int | None = None) -> Tensor:
        own = expect_tensor(input, "as_strided")._array
        while isinstance(own, Batched):
            own = np.array(own.inner[0])
        flat, start = backend.memory_of(own)
        size, stride, offset = tuple(size), tuple(stride), start if storage_offset is None else storage_offset
        if len(size) != len(stride):
            raise RuntimeError(f"mismatch in length of strides and shape: sizes {list(size)}, strides {list(stride)}")
        if min(stride, default=0) < 0:
            raise RuntimeError("as_strided: Negative strides are not supported at the moment, got strides: "
                               f"{list(stride)}")
        last = offset + sum((n - 1) * s for n, s in zip(size, stride)) if all(size) else 0
        if last >= max(flat.size, 1) or offset < 0:
            raise RuntimeError(f"setStorage: sizes {list(size)}, strides {list(stride)}, storage offset {offset}, and "
                               f"itemsize {flat.itemsize} requiring a storage size of {(last + 1) * flat.itemsize} are out of "
                               f"bounds for storage of size {flat.nbytes}")
        return AsStrided.apply(input, size, stride, offset - start)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("as_strided", make.uniform((3, 4)), (2, 3), (4, 1), 1)
        yield make("as_strided", make.uniform((6,)), (3, 3), (1, 1))
        yield make("as_strided", make.uniform((3, 4)).t(), (2, 3), (1, 2))
        yield make("as_strided", make.uniform((3, 4)).t(), (2, 2, 2), (4, 0, 1), 3)


def _positions(size: Sequence, stride: Sequence, offset: int) -> np.ndarray:
    """Where in the storage the elements of a view are."""
    where = np.asarray(offset)
    for n, step in zip(size, stride):
        where = where[..., None] + np.arange(n) * step
    return where


@composite("unflatten")
def unflatten(input: Tensor, dim: int, sizes: Sequence) -> Tensor:
    """One dimension as several (one may be -1).

    >>> torch.unflatten(torch.zeros(6), 0, (2, -1)).shape
    torch.Size([2, 3])
    """
    d = check_dim(dim, input._array.ndim)
    shape = input._array.shape
    try:
        inner = infer_shape(tuple(sizes), shape[d])
    except RuntimeError:
        raise RuntimeError(f"unflatten: Provided sizes {list(sizes)} don't multiply up to the size of dim {d} ({shape[d]}) in "
                           "the input tensor") from None
    return Reshape.apply(input, (*shape[:d], *inner, *shape[d + 1 :]))


@composite("movedim", "moveaxis")
def movedim(input: Tensor, source: Any, destination: Any) -> Tensor:
    """A view with dimensions moved to other places, the rest in order.

    >>> torch.movedim(torch.zeros(2, 3, 5), 0, -1).shape
    torch.Size([3, 5, 2])
    """
    nd = input._array.ndim
    if nd == 0:  # its only dimension can be named, and has nowhere to go
        return Permute.apply(input, ())
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
    """`view` with `other`'s shape.

    >>> torch.arange(4).view_as(torch.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return input.view(other.shape)  # type: ignore[attr-defined]


@composite("reshape_as", function=False)
def reshape_as(input: Tensor, other: Tensor) -> Tensor:
    """`reshape` to `other`'s shape.

    >>> torch.arange(4).reshape_as(torch.zeros(2, 2))
    tensor([[0, 1],
            [2, 3]])
    """
    return input.reshape(other.shape)  # type: ignore[attr-defined]


@composite("broadcast_to")
def broadcast_to(input: Tensor, size: Sequence) -> Tensor:
    """`expand` as a function.

    >>> torch.broadcast_to(torch.tensor([1, 2]), (2, 2))
    tensor([[1, 2],
            [1, 2]])
    """
    return Expand.call(input, *size)


@composite("broadcast_tensors", method=False)
def broadcast_tensors(*tensors: Tensor) -> tuple:
    """All tensors expanded to their common shape; one that has it already is returned itself.

    >>> torch.broadcast_tensors(torch.tensor([1, 2]), torch.tensor(3))
    (tensor([1, 2]), tensor([3, 3]))
    """
    many = tensors[0] if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else tensors
    try:
        shape = np.broadcast_shapes(*[t.shape for t in many])
    except ValueError as error:
        raise RuntimeError(f"broadcast_tensors(): {error}") from None
    return tuple([t if t.shape == shape else Expand.call(t, *shape) for t in many])


def _long_list(t: Tensor) -> Any:
    if t.dtype.name != "int64":
        raise RuntimeError(f"tensor_split expected tensor_indices_or_sections to have dtype of long, but got {t.dtype}")
    return t.tolist()  # type: ignore[attr-defined]


@composite("tensor_split")
def tensor_split(input: Tensor, indices_or_sections: Any, dim: int = 0) -> tuple:
    """Views of n nearly equal pieces, or of the pieces between the listed indices.

    >>> [len(p) for p in torch.tensor_split(torch.arange(5), 3)]
    [2, 2, 1]
    """
    d = check_dim(dim, input._array.ndim)
    total = input._array.shape[d]
    if isinstance(indices_or_sections, Tensor) and not indices_or_sections.ndim:
        indices_or_sections = _long_list(indices_or_sections)
    if isinstance(indices_or_sections, int):
        n = indices_or_sections
        if n <= 0:
            raise RuntimeError(f"number of sections must be larger than 0, got {n}")
        return split_sizes(input, tuple([total // n + (i < total % n) for i in range(n)]), d)
    given = _long_list(indices_or_sections) if isinstance(indices_or_sections, Tensor) else list(indices_or_sections)
    edges = [0, *[min(max(i + total if i < 0 else i, 0), total) for i in given], total]
    lead = (slice(None),) * d
    return tuple([Slice.apply(input, (*lead, slice(a, max(a, b)))) for a, b in zip(edges, edges[1:])])


@samples_for("narrow")
def _view_samples(make: Any) -> Any:
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


__all__ = ["AsStrided", "Diagonal", "tensor_split"]
