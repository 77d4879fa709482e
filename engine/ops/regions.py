"""Copies with a region replaced (`slice_scatter` and relatives), pieces by dimension, and small shape helpers."""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor, check_dim
from .base import composite, expect_tensor
from .indexing import Put, view_at
from .inplace import with_out
from .joining import split
from .rearranging import AsStrided, Diagonal, tensor_split
from .reductions import Sum
from .samples import samples_for
from .shape import as_shape, transpose


def _replaced(input: Tensor, region: Tensor, src: Tensor, what: str) -> Tensor:
    """`input` cloned, with `src` copied over the region that the view `region` of the clone shows."""
    if region._array.shape != src._array.shape:
        raise RuntimeError(f"expected src to have a size equal to the {what} of self. src size = {list(src.shape)}, "
                           f"{what} size = {list(region.shape)}")
    region.copy_(src)  # type: ignore[attr-defined]
    return input


@composite("select_scatter")
def select_scatter(input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """A copy of `input` with `src` in the place of `input.select(dim, index)`.

    >>> torch.select_scatter(torch.zeros(2, 2), torch.ones(2), 0, 1)
    tensor([[0., 0.],
            [1., 1.]])
    """
    copy = input.clone()  # type: ignore[attr-defined]
    return _replaced(copy, copy.select(dim, index), src, "slice")


@composite("slice_scatter")
@with_out
def slice_scatter(input: Tensor, src: Tensor, dim: int = 0, start: int | None = None, end: int | None = None,
                  step: int = 1) -> Tensor:
    """A copy of `input` with `src` in the place of `start:end:step` along `dim`.

    >>> torch.slice_scatter(torch.zeros(4), torch.ones(2), start=1, end=3)
    tensor([0., 1., 1., 0.])
    """
    copy = input.clone()  # type: ignore[attr-defined]
    key = (*(slice(None),) * check_dim(dim, copy._array.ndim), slice(start, end, step))
    return _replaced(copy, view_at(copy, key), src, "slice")


@composite("diagonal_scatter")
def diagonal_scatter(input: Tensor, src: Tensor, offset: int = 0, dim1: int = 0, dim2: int = 1) -> Tensor:
    """A copy of `input` with `src` on a diagonal.

    >>> torch.diagonal_scatter(torch.zeros(2, 2), torch.ones(2))
    tensor([[1., 0.],
            [0., 1.]])
    """
    copy = input.clone()  # type: ignore[attr-defined]
    return _replaced(copy, Diagonal.call(copy, offset, dim1, dim2), src, "diagonal")


@composite("as_strided_scatter")
def as_strided_scatter(input: Tensor, src: Tensor, size: Any, stride: Any, storage_offset: int | None = None) -> Tensor:
    """A row-major copy of `input` with `src` in the place of `as_strided(size, stride, storage_offset)`.

    >>> torch.as_strided_scatter(torch.zeros(4), torch.ones(2), (2,), (2,))
    tensor([1., 0., 1., 0.])
    """
    copy = input.contiguous().clone()  # type: ignore[attr-defined]
    return _replaced(copy, AsStrided.call(copy, size, stride, storage_offset), src, "region")


@samples_for("select_scatter")
def _scatter_samples(make: Any) -> Any:
    yield make("select_scatter", make.uniform((3, 4)), make.uniform((3,)), 1, -1)
    yield make("slice_scatter", make.uniform((3, 4)), make.uniform((3, 2)), 1, 0, 4, 2)
    yield make("diagonal_scatter", make.uniform((3, 4)), make.uniform((3,)), 1)
    # torch 2.13 gives the input the gradient of the region instead of the rest.
    yield make("as_strided_scatter", make.uniform((3, 4)), make.uniform((2, 2)), (2, 2), (4, 1), 1, _oracle=False)


# -- by flat index ----------------------------------------------------------------------------------------------------


@composite("put", inplace=True)
def put(input: Tensor, index: Tensor, source: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` with `source` stored (or added) at flat positions; `index` and `source` have as many elements.

    >>> torch.put(torch.zeros(2, 2), torch.tensor([3]), torch.tensor([5.]))
    tensor([[0., 0.],
            [0., 5.]])
    """
    if index._array.size != source._array.size:
        raise RuntimeError(f"put_(): Expected source and index to have the same number of elements, but got source.numel() "
                           f"= {source._array.size}, index.numel() = {index._array.size}")
    if source._array.dtype != input._array.dtype:
        raise RuntimeError(f"put_(): self and source expected to have the same dtype, but got self.dtype = {input.dtype} "
                           f"and source.dtype = {source.dtype}")
    flat = input.reshape(-1)  # type: ignore[attr-defined]
    changed = Put.apply(flat, source.reshape(-1), index._array.reshape(-1), accumulate)  # type: ignore[attr-defined]
    return as_shape(changed, input._array.shape)


@samples_for("put")
def _put_samples(make: Any) -> Any:
    yield make("put", make.uniform((3, 4)), make.ints((2, 2), 0, 12), make.uniform((2, 2)), True)


# -- pieces -----------------------------------------------------------------------------------------------------------


def _pieces(name: str, dim: int, least: int) -> None:
    def pieces(input: Tensor, indices_or_sections: Any) -> tuple:
        nd = input._array.ndim
        if nd < least:
            raise RuntimeError(f"torch.{name} requires a tensor with at least {least} dimension, but got a tensor with {nd} "
                               "dimensions!")
        along = 0 if nd == 1 else dim
        n = indices_or_sections
        if isinstance(n, int) and (n <= 0 or input._array.shape[along] % n):
            raise RuntimeError(f"torch.{name} attempted to split along dimension {along}, but the size of the dimension "
                               f"{input._array.shape[along]} is not divisible by the split_size {n}!")
        return tensor_split(input, n, along)

    pieces.__doc__ = f"""Views of equal pieces, or of the pieces between indices, along dimension {dim}.

    >>> [p.shape for p in torch.{name}(torch.zeros(2, 2, 2), 2)] == [p.shape for p in torch.zeros(2, 2, 2).chunk(2, {dim})]
    True
    """
    composite(name)(pieces)


_pieces("vsplit", 0, 2)
_pieces("hsplit", 1, 1)
_pieces("dsplit", 2, 3)


@composite("split_with_sizes", "unsafe_split_with_sizes")
def split_with_sizes(input: Tensor, split_sizes: Any, dim: int = 0) -> tuple:
    """`split` by a list of sizes.

    >>> torch.split_with_sizes(torch.arange(3), [1, 2])
    (tensor([0]), tensor([1, 2]))
    """
    return split(input, list(split_sizes), dim)


@samples_for("hsplit")
def _pieces_samples(make: Any) -> Any:
    yield make("hsplit", make.uniform((2, 4)), 2)
    yield make("hsplit", make.uniform((4,)), [1, 3])
    yield make("vsplit", make.uniform((4, 2)), 2)
    yield make("dsplit", make.uniform((2, 2, 4)), [1, 2])
    yield make("split_with_sizes", make.uniform((4, 2)), [1, 3])


# -- shape helpers ----------------------------------------------------------------------------------------------------


@composite("ravel")
def ravel(input: Tensor) -> Tensor:
    """All elements as one dimension; a view where possible.

    >>> torch.ravel(torch.tensor([[1, 2], [3, 4]]))
    tensor([1, 2, 3, 4])
    """
    return as_shape(expect_tensor(input, "ravel"), (input._array.size,))


@composite("adjoint")
def adjoint(input: Tensor) -> Tensor:
    """The last two dimensions exchanged, and conjugated.

    >>> torch.adjoint(torch.tensor([[1, 2j]]))
    tensor([[1.-0.j],
            [0.-2.j]])
    """
    if input.ndim == 1:
        raise RuntimeError("tensor.adjoint() is only supported on matrices or batches of matrices. Got 1-D tensor.")
    turned = transpose(input, -2, -1) if input.ndim else input
    return turned.conj() if input.is_complex() else turned  # type: ignore[attr-defined]


@composite("narrow_copy")
def narrow_copy(input: Tensor, dim: int, start: int, length: int) -> Tensor:
    """`narrow`, copied.

    >>> torch.narrow_copy(torch.arange(4), 0, 1, 2)
    tensor([1, 2])
    """
    return input.narrow(dim, start, length).clone()  # type: ignore[attr-defined]


@composite("sum_to_size", function=False)
def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """Sums over the dimensions along which `size` would be broadcast to this shape. RuntimeError where it would not.

    >>> torch.ones(3, 2).sum_to_size(1, 2)
    tensor([[3., 3.]])
    """
    shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else tuple(size)
    lead = input._array.ndim - len(shape)
    if lead < 0 or any(n not in (1, m) for n, m in zip(shape, input._array.shape[lead:])):
        raise RuntimeError(f"size {{{list(shape)}}} is not expandable to size {{{list(input.shape)}}}.")
    axes = (*range(lead), *[i + lead for i, n in enumerate(shape) if n == 1])
    return as_shape(Sum.apply(input, axes, True, None), shape) if axes else input


@composite("unravel_index", method=False)
def unravel_index(indices: Tensor, shape: Any) -> tuple:
    """Flat positions as one coordinate tensor for each dimension of `shape`.

    >>> torch.unravel_index(torch.tensor([3, 5]), (2, 3))
    (tensor([1, 1]), tensor([0, 2]))
    """
    if indices._array.dtype.kind not in "iu":
        raise ValueError(f"expected 'indices' to be integer dtype, but got {indices.dtype}")
    sizes = (shape,) if isinstance(shape, int) else tuple(shape)
    if min(sizes, default=0) < 0:
        raise ValueError(f"'shape' cannot have negative values, but got {sizes}")
    found, rest = [], indices.to(dtypes.int64)  # type: ignore[attr-defined]
    for n in reversed(sizes):
        found.append(rest % n)
        rest = rest.div(n, rounding_mode="floor")
    return tuple(reversed(found))


__all__ = ["put", "ravel", "slice_scatter"]
