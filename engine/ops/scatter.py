"""Reading and writing along a dimension by index tensors and masks: gather, scatter, index_*, masked_*, take, nonzero."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..tensor import Tensor, check_dim, wrap
from ._blocked import LINES, select
from .applying import row_major
from .base import FUNCTIONS, Op, composite, op
from .casting import casting, widest
from .conversion import to_dtype
from .indexing import GatherIndex, Put, getitem, put
from .inplace import with_out, write_out
from .pointwise import explain_broadcast
from .samples import samples_for


def _check_index(index: Tensor, function: str) -> Any:
    if not isinstance(index, Tensor):
        raise TypeError(f"{function}(): argument 'index' must be Tensor, not {type(index).__name__}")
    if index._array.dtype.kind not in "iu":
        raise RuntimeError(f"{function}(): Expected dtype int64 for index")
    return index._array


def _check_bounds(index: Any, size: int, dim: int, function: str) -> None:
    if backend.readable(index) and (int(index.min()) < 0 or int(index.max()) >= size):
        bad = int(index.min()) if int(index.min()) < 0 else int(index.max())
        raise RuntimeError(f"index {bad} is out of bounds for dimension {dim} with size {size} ({function})")


def along(xp: Any, index: Any, dim: int) -> tuple:
    """The advanced index that picks `index` along `dim` and runs over its own coordinates elsewhere."""
    key = []
    for i, n in enumerate(index.shape):
        if i == dim:
            key.append(index)
        else:
            key.append(xp.arange(n).reshape([n if j == i else 1 for j in range(index.ndim)]))
    return tuple(key)


def index_key(input: Tensor, dim: int, index: Tensor, function: str) -> tuple[Tensor, int, tuple]:
    """(input with at least one dimension, or flat for a large index; dim; advanced index into it), checked."""
    a = _check_index(index, function)
    d = check_dim(dim, input._array.ndim)
    if input._array.ndim == 0:
        input = input.reshape(1)  # type: ignore[attr-defined]
    a = a.reshape(1) if a.ndim == 0 else a
    if a.ndim != input._array.ndim and a.size:
        raise RuntimeError("Index tensor must have the same number of dimensions as input tensor")
    for i, (n, m) in enumerate(zip(a.shape, input._array.shape)):
        if i != d and n > m:
            raise RuntimeError(f"Size does not match at dimension {i} expected index {list(a.shape)} to be no larger than "
                               f"self {list(input.shape)} apart from dimension {d}")
    _check_bounds(a, input._array.shape[d], d, function)
    if a.size < LINES or type(a) is not np.ndarray:
        return input, d, along(backend.namespace(a), a, d) if a.size else (a,)
    return input.reshape(-1), d, (_flat(a, input._array.shape, d),)  # type: ignore[attr-defined]


def _flat(index: Any, shape: tuple, dim: int) -> Any:
    """Where `along`'s elements are in an array of `shape` made flat: one index is several times as fast as several."""
    steps = [math.prod(shape[i + 1 :]) for i in range(len(shape))]
    flat = np.multiply(index, steps[dim], dtype=np.int64)
    for i, n in enumerate(index.shape):
        if i != dim and n > 1:
            flat += (np.arange(n) * steps[i]).reshape(-1, *[1] * (len(shape) - 1 - i))
    return flat


@composite("gather")
def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False, out: Tensor | None = None) -> Tensor:
    """The elements of `input` at `index` along `dim`; other coordinates are the index's own.

    `index` is an integer tensor with as many dimensions as `input`. RuntimeError when it is out of range.
    `out[i][j] = input[i][index[i][j]]` for dim=1.

    >>> torch.gather(torch.tensor([[1, 2], [3, 4]]), 1, torch.tensor([[0, 0], [1, 0]]))
    tensor([[1, 1],
            [4, 3]])
    """
    shape = index._array.shape if isinstance(index, Tensor) else ()
    source, _, key = index_key(input, dim, index, "gather")
    if index._array.size == 0:
        result = input.new_empty(shape)  # type: ignore[attr-defined]
    else:
        result = GatherIndex.apply(source, key)
        result = result.reshape(shape) if result._array.shape != shape else result  # type: ignore[attr-defined]
    return result if out is None else write_out(out, result)


@samples_for("gather")
def _gather_samples(make: Any) -> Any:
    yield make("gather", make.uniform((3, 4)), 1, make.ints((3, 2), 0, 4))
    yield make("gather", make.uniform((3, 4)).t(), -2, make.ints((2, 3), 0, 4))
    yield make("gather", make.uniform((2, 3, 2)), 0, make.ints((3, 2, 2), 0, 2))


@composite("take_along_dim")
def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None, *, out: Tensor | None = None) -> Tensor:
    """As `gather` with input and indices broadcast against each other; without `dim` both are flattened.

    >>> torch.take_along_dim(torch.tensor([[3, 1]]), torch.tensor([[1]]), 1)
    tensor([[1]])
    """
    if indices.dtype not in (dtypes.int32, dtypes.int64):
        raise RuntimeError(f"gather(): Expected dtype int32/int64 for index (take_along_dim() got {indices.dtype})")
    if dim is None:
        return gather(input.reshape(-1), 0, indices.reshape(-1), out=out)  # type: ignore[attr-defined]
    d = check_dim(dim, input._array.ndim)
    shape = np.broadcast_shapes(*[tuple(1 if i == d else n for i, n in enumerate(x.shape)) for x in (input, indices)])
    wide = [n if i != d else None for i, n in enumerate(shape)]
    a = input.expand([input.shape[d] if n is None else n for n in wide])  # type: ignore[attr-defined]
    b = indices.expand([indices.shape[d] if n is None else n for n in wide])  # type: ignore[attr-defined]
    result = gather(a, d, b % input.shape[d])  # unlike gather, torch counts any index around the dimension
    return result if out is None else write_out(out, result)


@samples_for("take_along_dim")
def _take_along_samples(make: Any) -> Any:
    yield make("take_along_dim", make.uniform((3, 4)), make.ints((3, 2), 0, 4), 1)
    yield make("take_along_dim", make.uniform((3, 4)), make.ints((1, 4), 0, 3), dim=0)
    yield make("take_along_dim", make.uniform((3, 4)), make.ints((5,), 0, 12))


@composite("index_select")
def index_select(input: Tensor, dim: int, index: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The slices of `input` at the positions in `index` (1-D) along `dim`, copied.

    >>> torch.index_select(torch.tensor([[1, 2], [3, 4]]), 0, torch.tensor([1, 1]))
    tensor([[3, 4],
            [3, 4]])
    """
    a = _check_index(index, "index_select")
    if a.ndim > 1:
        raise IndexError("index_select(): Index is supposed to be a vector")
    d = check_dim(dim, input._array.ndim)
    if input._array.ndim == 0:
        return input.clone()  # type: ignore[attr-defined]
    if backend.readable(a) and (int(a.min()) < 0 or int(a.max()) >= input._array.shape[d]):
        raise IndexError(f"index out of range in self: index_select over dimension {d} of size {input._array.shape[d]}")
    result = GatherIndex.apply(input, ((slice(None),) * d) + (a.reshape(-1),))
    return result if out is None else write_out(out, result)


@samples_for("index_select")
def _index_select_samples(make: Any) -> Any:
    yield make("index_select", make.uniform((3, 4)), 1, make.ints((5,), 0, 4))
    yield make("index_select", make.uniform((3, 4)).t(), -2, make.ints((2,), 0, 4))


@composite("take")
@with_out
def take(input: Tensor, index: Tensor) -> Tensor:
    """The elements at `index` of the flattened input.

    >>> torch.take(torch.tensor([[3, 4], [5, 6]]), torch.tensor([0, 3]))
    tensor([3, 6])
    """
    if index.dtype is not dtypes.int64:
        raise RuntimeError(f"take(): Expected a long tensor for index, but got {index.dtype}")
    return getitem(input.reshape(-1), index)  # type: ignore[attr-defined]


@samples_for("take")
def _take_samples(make: Any) -> Any:
    yield make("take", make.uniform((3, 4)), make.ints((2, 2), 0, 12))


# -- writing ----------------------------------------------------------------------------------------------------------


def source_part(input: Tensor, src: Any, index: Tensor) -> Tensor:
    """The part of `src` that the index covers, or a number as a tensor."""
    if not isinstance(src, Tensor):
        return wrap(backend.namespace(input._array).asarray(src).astype(input._array.dtype))
    if src._array.dtype != input._array.dtype:
        raise RuntimeError("scatter(): Expected self.dtype to be equal to src.dtype")
    if src._array.ndim and src._array.shape != index._array.shape:
        src = getitem(src, tuple(slice(0, n) for n in index._array.shape))
    return src


def _scatter(input: Tensor, dim: int, index: Tensor, src: Any, accumulate: bool) -> Tensor:
    shape = input._array.shape
    whole, _, key = index_key(input, dim, index, "scatter")
    if not index._array.size:
        return input.clone()  # type: ignore[attr-defined]
    value = source_part(input, src, index)
    result = Put.apply(whole, value, key, accumulate)
    return result if result._array.shape == shape else result.reshape(shape)  # type: ignore[attr-defined]


@composite("scatter", inplace=True)
@with_out
def scatter(input: Tensor, dim: int, index: Tensor, src: Any = None, *, value: Any = None, reduce: str | None = None) -> Tensor:
    """A copy of `input` with `src` (a tensor of at least `index`'s shape, or a number) stored at `index` along `dim`.

    `reduce` may be "add" or "multiply". Where an index repeats, one of the values wins.

    >>> torch.scatter(torch.zeros(1, 3), 1, torch.tensor([[2]]), 5.)
    tensor([[0., 0., 5.]])
    """
    src = value if src is None else src
    if reduce == "add":
        return _scatter(input, dim, index, src, True)
    if reduce == "multiply":
        src = src if isinstance(src, Tensor) else Tensor.new_full(input, index.shape, src)  # type: ignore[attr-defined]
        return FUNCTIONS["scatter_reduce"](input, dim, index, src, "prod")
    if reduce is not None:
        raise RuntimeError("reduce argument must be either add or multiply.")
    return _scatter(input, dim, index, src, False)


@samples_for("scatter")
def _scatter_samples(make: Any) -> Any:
    order = make.rng.permuted(np.tile(np.arange(4), (3, 1)), axis=1)[:, :2]
    index = type(make.ints((1,), 0, 1))(order, grad=False)
    yield make("scatter", make.uniform((3, 4)), 1, index, make.uniform((3, 2)))
    yield make("scatter", make.uniform((3, 4)), 1, index, 2.5)
    yield make("scatter_add", make.uniform((3, 4)), 0, make.ints((2, 4), 0, 3), make.uniform((2, 4)))
    yield make("scatter_add", make.uniform((3, 4)), -1, make.ints((3, 6), 0, 4), make.uniform((3, 6)))


@composite("scatter_add", inplace=True)
@with_out
def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of `input` to which `src` is added at `index` along `dim`; repeated indices add up.

    >>> torch.scatter_add(torch.zeros(3), 0, torch.tensor([0, 0]), torch.tensor([1., 2.]))
    tensor([3., 0., 0.])
    """
    return _scatter(input, dim, index, src, True)


def _rows(input: Tensor, dim: int, index: Tensor, function: str) -> tuple:
    a = _check_index(index, function).reshape(-1)
    d = check_dim(dim, input._array.ndim)
    if backend.readable(a) and (int(a.min()) < -input._array.shape[d] or int(a.max()) >= input._array.shape[d]):
        raise IndexError(f"index out of range in self: {function} over dimension {d} of size {input._array.shape[d]}")
    return (*(slice(None),) * d, a)


def _check_source(input: Tensor, dim: int, index: Tensor, source: Tensor, function: str) -> None:
    """RuntimeError unless `source` has a slice for every index, of the shape that `input`'s slices along `dim` have."""
    d = check_dim(dim, input.ndim)
    given, wanted = (source.shape[d] if source.ndim > d else 1), index.numel()
    if given != wanted:
        raise RuntimeError(f"{function}(): Number of indices ({wanted}) should be equal to source.size(dim): ({given}), "
                           f"for dim: {d}")
    if source.ndim and (*source.shape[:d], *source.shape[d + 1 :]) != (*input.shape[:d], *input.shape[d + 1 :]):
        raise RuntimeError(f"{function}(): source tensor shape must match self tensor shape, excluding the specified "
                           f"dimension. Got self.shape = {list(input.shape)} source.shape = {list(source.shape)}")


@composite("index_add", inplace=True)
@with_out
def index_add(input: Tensor, dim: int, index: Tensor, source: Tensor, *, alpha: Any = 1) -> Tensor:
    """A copy of `input` to whose slices at `index` along `dim` those of `alpha * source` are added.

    >>> torch.index_add(torch.zeros(2), 0, torch.tensor([1, 1]), torch.tensor([1., 2.]))
    tensor([0., 3.])
    """
    _check_source(input, dim, index, source, "index_add")
    value = source if alpha == 1 else source * alpha  # type: ignore[operator]
    return Put.apply(input, to_dtype(value, input.dtype), _rows(input, dim, index, "index_add"), True)


@composite("index_copy", inplace=True)
@with_out
def index_copy(input: Tensor, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """A copy of `input` whose slices at `index` along `dim` are those of `source`.

    >>> torch.index_copy(torch.zeros(2), 0, torch.tensor([1]), torch.tensor([5.]))
    tensor([0., 5.])
    """
    if casting.on:
        input, source = widest((input, source))
    if source._array.dtype != input._array.dtype:
        raise RuntimeError("index_copy_(): self and source expected to have the same dtype, but got (self) "
                           f"{input.dtype} and (source) {source.dtype}")
    _check_source(input, dim, index, source, "index_copy")
    return Put.apply(input, source, _rows(input, dim, index, "index_copy"), False)


@composite("index_fill", inplace=True)
def index_fill(input: Tensor, dim: int, index: Tensor, value: Any) -> Tensor:
    """A copy of `input` with the slices at `index` along `dim` filled with one value.

    >>> torch.index_fill(torch.zeros(2), 0, torch.tensor([1]), 5.)
    tensor([0., 5.])
    """
    if not isinstance(value, Tensor):
        value = wrap(backend.namespace(input._array).asarray(value).astype(input._array.dtype))
    return Put.apply(input, to_dtype(value, input.dtype), _rows(input, dim, index, "index_fill"), False)


@samples_for("index_add")
def _index_samples(make: Any) -> Any:
    yield make("index_add", make.uniform((3, 4)), 1, make.ints((5,), 0, 4), make.uniform((3, 5)), alpha=2)
    yield make("index_copy", make.uniform((3, 4)), 0, type(make.ints((1,), 0, 1))(np.array([2, 0]), grad=False),
               make.uniform((2, 4)))
    yield make("index_fill", make.uniform((3, 4)), 1, make.ints((2,), 0, 4), 2.5)


@composite("index", function=False)
def index(input: Tensor, indices: tuple) -> Tensor:
    """`input[indices]` with index tensors; None takes a whole dimension.

    >>> torch.arange(4).reshape(2, 2).index([None, torch.tensor([1])])
    tensor([[1],
            [3]])
    """
    return getitem(input, tuple(slice(None) if i is None else i for i in indices))


@composite("index_put", inplace=False)
def index_put(input: Tensor, indices: tuple, values: Tensor, accumulate: bool = False) -> Tensor:
    """A copy of `input` with `values` stored (or added) at the advanced index `indices`.

    >>> torch.index_put(torch.zeros(2), (torch.tensor([1]),), torch.tensor([5.]))
    tensor([0., 5.])
    """
    key = tuple(slice(None) if i is None else i._array for i in indices)
    return Put.apply(input, values, key, accumulate)


@composite("index_put_", function=False)
def index_put_(input: Tensor, indices: tuple, values: Tensor, accumulate: bool = False) -> Tensor:
    """`index_put` in place.

    >>> torch.zeros(2).index_put_((torch.tensor([1]),), torch.tensor([5.]))
    tensor([0., 5.])
    """
    return put(input, tuple(slice(None) if i is None else i._array for i in indices), values, accumulate)


@samples_for("index_put")
def _index_put_samples(make: Any) -> Any:
    yield make("index_put", make.uniform((3, 4)), (make.ints((5,), 0, 3), make.ints((5,), 0, 4)), make.uniform((5,)), True)


# -- masks ------------------------------------------------------------------------------------------------------------


@op("masked_fill", inplace=True)
class MaskedFill(Op):
    """A copy with `value` (a number or 0-d tensor) wherever the boolean `mask` (broadcast) is True.

    >>> torch.masked_fill(torch.tensor([1., 2.]), torch.tensor([True, False]), 0)
    tensor([0., 2.])
    """

    n = 2
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, value: Any, mask: Any) -> Any:
        value = value.astype(x.dtype)
        return row_major(xp, select(mask, value, x) if xp is np else xp.where(mask, value, x)), mask

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        mask = s.aux
        return (xp._zero_where(g, mask) if s.needs[0] else None), (xp._zero_where(g, ~mask) if s.needs[1] else None)

    @staticmethod
    def call(input: Tensor, mask: Tensor, value: Any) -> Tensor:
        if mask._array.dtype.kind != "b":
            raise RuntimeError("masked_fill_ only supports boolean masks, but got mask with dtype "
                               f"{mask.dtype}")
        if not isinstance(value, Tensor):
            if input._array.dtype.kind in "iub" and isinstance(value, float) and value != int(value):
                raise RuntimeError(f"value cannot be converted to type {input.dtype} without overflow")
            value = np.asarray(value)
            value = wrap(backend.scalar_on_device(value, False) if input.is_cuda
                         else backend.namespace(input._array).asarray(value))
        elif value._array.ndim:
            raise RuntimeError("masked_fill_ only supports a 0-dimensional value tensor, but got tensor with "
                               f"{value._array.ndim} dimension(s).")
        return MaskedFill.apply(input, value, mask._array)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        return explain_broadcast((wrap(params[0]), tensors[0]))

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("masked_fill", make.uniform((3, 4)), make.bools((3, 4)), 1.5)
        yield make("masked_fill", make.uniform((3, 4)).t(), make.bools((3,)), make.uniform(()))
        yield make("masked_fill", make.uniform((3, 1)), make.bools((4,)), -1)


@composite("masked_select")
def masked_select(input: Tensor, mask: Tensor, *, out: Tensor | None = None) -> Tensor:
    """The elements where `mask` (broadcast with the input) is True, as a 1-D tensor.

    >>> torch.masked_select(torch.tensor([1, 2, 3]), torch.tensor([True, False, True]))
    tensor([1, 3])
    """
    if mask._array.dtype.kind != "b":
        raise RuntimeError("masked_select: expected BoolTensor for mask")
    shape = np.broadcast_shapes(input.shape, mask.shape)
    wide = input.expand(shape)  # type: ignore[attr-defined]
    result = GatherIndex.apply(wide, backend.namespace(mask._array).broadcast_to(mask._array, shape))
    return result if out is None else write_out(out, result)


@composite("masked_scatter", inplace=True)
def masked_scatter(input: Tensor, mask: Tensor, source: Tensor) -> Tensor:
    """A copy with the places where `mask` is True filled, in order, from `source`'s elements.

    >>> torch.masked_scatter(torch.zeros(3), torch.tensor([True, False, True]), torch.tensor([1., 2.]))
    tensor([1., 0., 2.])
    """
    shape = np.broadcast_shapes(input.shape, mask.shape)
    where, input = backend.namespace(mask._array).broadcast_to(mask._array, shape), input.expand(shape)  # type: ignore[attr-defined]
    count = int(where.sum())
    if source._array.size < count:
        raise RuntimeError(f"masked_scatter: expected self.numel() <= source.numel(), got {count} places for "
                           f"{source._array.size} elements")
    values = getitem(source.reshape(-1), slice(0, count))  # type: ignore[attr-defined]
    return Put.apply(input, values, where, False)


@samples_for("masked_select")
def _mask_samples(make: Any) -> Any:
    yield make("masked_select", make.uniform((3, 4)), make.bools((3, 4)))
    yield make("masked_select", make.uniform((3, 1)), make.bools((4,)))
    yield make("masked_scatter", make.uniform((3, 4)), make.bools((3, 4)), make.uniform((12,)))


@composite("nonzero")
def nonzero(input: Tensor, *, out: Tensor | None = None, as_tuple: bool = False) -> Any:
    """The indices of non-zero elements: a matrix with a row each, or with `as_tuple` one index tensor a dimension.

    >>> torch.nonzero(torch.tensor([0, 3, 4]))
    tensor([[1],
            [2]])
    """
    xp = backend.namespace(input._array)
    array = input._array.reshape(1) if as_tuple and not input._array.ndim else input._array
    if not array.ndim:
        return wrap(xp.zeros((int(bool(array)), 0), xp.int64))
    found = array.nonzero()
    if as_tuple:
        return tuple([wrap(i) for i in found])
    result = wrap(xp.stack(found, 0).astype(xp.int64).T)  # in memory dimension by dimension, as torch's
    return result if out is None else write_out(out, result)


@composite("argwhere")
def argwhere(input: Tensor) -> Tensor:
    """The indices of non-zero elements, a row each.

    >>> torch.argwhere(torch.tensor([0, 3]))
    tensor([[1]])
    """
    return nonzero(input)


@samples_for("nonzero")
def _nonzero_samples(make: Any) -> Any:
    yield make("nonzero", make.bools((3, 4)), _grad=False)
    yield make("nonzero", make.bools((3, 4)), as_tuple=True, _grad=False)
    yield make("argwhere", make.ints((3, 2), 0, 2), _grad=False)


__all__ = ["gather", "index_select", "scatter", "take"]
