"""Putting tensors together and taking them apart: cat, stack, split, chunk, unbind."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce
from itertools import accumulate
from typing import Any

from .. import dtypes
from ..autograd.modes import state
from ..copying import axes_in_memory, copy_to
from ..memory import empty
from ..pool import parallel_for
from ..tensor import Tensor, check_dim
from ._blocked import is_large, row_blocks
from .applying import row_major
from .base import Op, composite, op
from .casting import casting, widest
from .conversion import to_dtype
from .indexing import view_at
from .inplace import write_out
from .samples import samples_for


def same_dtype(tensors: Sequence, function: str, empty: type[Exception] = RuntimeError) -> list:
    """A list of tensors brought to their common dtype. TypeError for what is no tensor, `empty` for none."""
    if isinstance(tensors, Tensor):
        raise TypeError(f"{function}(): argument 'tensors' (position 1) must be tuple of Tensors, not Tensor")
    out = list(tensors)
    if not out:
        raise empty(f"{function}(): expected a non-empty list of Tensors")
    first = None
    mixed = False
    for i, t in enumerate(out):
        if not isinstance(t, Tensor):
            raise TypeError(f"expected Tensor as element {i} in argument 0, but got {type(t).__name__}")
        if first is None:
            first = t._array.dtype
        elif t._array.dtype is not first:
            mixed = True
    if mixed:
        d = reduce(dtypes.promote_types, [t.dtype for t in out])  # 0-d tensors count like all others
        out = [to_dtype(t, d) for t in out]
    return out


def _joined(xp: Any, arrays: Sequence, dim: int) -> Any:
    """Arrays side by side along a dimension, row-major; large ones are copied in blocks."""
    first = arrays[0]
    around = [(*a.shape[:dim], *a.shape[dim + 1 :]) for a in arrays] if is_large(first) else []
    if not around or around.count(around[0]) < len(arrays) or any(a.dtype is not first.dtype for a in arrays):
        return row_major(xp, xp.concatenate(arrays, dim))
    sizes = [a.shape[dim] for a in arrays]
    out = empty((*first.shape[:dim], sum(sizes), *first.shape[dim + 1 :]), first.dtype)
    lead, ends = (slice(None),) * dim, list(accumulate(sizes))
    copy_to(*[(out[(*lead, slice(end - size, end))], a) for a, size, end in zip(arrays, sizes, ends)])
    return out


@op("cat", "concat", "concatenate", method=False)
class Cat(Op):
    """Tensors joined along an existing dimension; their other sizes must agree. Legacy empty 1-D tensors are skipped.

    >>> torch.cat([torch.tensor([1, 2]), torch.tensor([3])])
    tensor([1, 2, 3])
    """

    n = -1
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, arrays: Sequence, dim: int) -> Any:
        return _joined(xp, arrays, dim), [a.shape[dim] for a in arrays]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> list:
        dim, at, grads = s.params[0], 0, []
        before = (slice(None),) * dim
        for need, size in zip(s.needs, s.aux):
            grads.append(xp._slice(g, (*before, slice(at, at + size))) if need else None)
            at += size
        return grads

    @staticmethod
    def call(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None, axis: int | None = None) -> Tensor:
        if casting.on and out is None:
            tensors = widest(tensors)
        parts = same_dtype(tensors, "torch.cat", ValueError)
        odd = [i for i, t in enumerate(parts) if t._array.ndim < 2 and not (t._array.ndim and t._array.size)]
        if odd:  # scalars, and legacy empty vectors
            scalar = [i for i in odd if not parts[i]._array.ndim]
            if scalar:
                raise RuntimeError(f"zero-dimensional tensor (at position {scalar[0]}) cannot be concatenated")
            parts = [t for t in parts if t._array.ndim != 1 or t._array.size] or parts[:1]
        d = check_dim(dim if axis is None else axis, parts[0]._array.ndim)
        result = Cat.apply(parts, d)
        return result if out is None else write_out(out, result)

    @classmethod
    def explain(cls, error: Exception, tensors: Sequence, params: Sequence) -> Exception:
        dim = params[0]
        first = tensors[0].shape
        for i, t in enumerate(tensors):
            if len(t.shape) != len(first):
                return RuntimeError(f"Tensors must have same number of dimensions: got {len(first)} and {len(t.shape)}")
            for d, (a, b) in enumerate(zip(first, t.shape)):
                if d != dim and a != b:
                    return RuntimeError(f"Sizes of tensors must match except in dimension {dim}. Expected size {a} but got "
                                        f"size {b} for tensor number {i} in the list.")
        return super().explain(error, tensors, params)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("cat", [make.uniform((2, 3)), make.uniform((1, 3))])
        yield make("cat", [make.uniform((2, 3)), make.uniform((2, 1)), make.uniform((2, 2))], -1)
        yield make("cat", [make.uniform((2,)), make.ints((3,), 0, 5)])
        yield make("cat", (make.uniform((3, 2)).t(), make.uniform((0, 3))), dim=0)


@op("_stack", function=False, method=False, node="StackBackward0")
class Stack(Op):
    """Arrays of one shape and dtype joined along a new dimension."""

    n = -1
    moves = True

    @staticmethod
    def forward(xp: Any, arrays: Sequence, dim: int, order: tuple | None = None) -> Any:
        """`order`: the result's dimensions from the outermost in memory to the innermost (None: as they are)."""
        key = (*(slice(None),) * dim, None)
        if order is None:
            return _joined(xp, [a[key] for a in arrays], dim)
        shape = (*arrays[0].shape[:dim], len(arrays), *arrays[0].shape[dim:])
        out = xp.empty([shape[d] for d in order], arrays[0].dtype).transpose([order.index(d) for d in range(len(order))])
        outer = next((d for d in order if d != dim), dim)
        blocks = row_blocks(shape[outer], out.size // shape[outer]) if is_large(out) and outer != dim else [slice(None)]
        at = (slice(None),) * (outer - (outer > dim))  # where the parts have that dimension

        def copy(i: int) -> None:
            for j, part in enumerate(arrays):
                block = (*at, blocks[i]) if part.ndim else ()
                out[(*key[:-1], j, ...)][block] = part[block]  # the ellipsis keeps an array where the part has no dimension

        parallel_for(copy, len(blocks))
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> list:
        lead = (slice(None),) * s.params[0]
        return [xp._slice(g, (*lead, i)) if need else None for i, need in enumerate(s.needs)]


@composite("stack", method=False)
def stack(tensors: Sequence[Tensor], dim: int = 0, *, out: Tensor | None = None) -> Tensor:
    """Tensors of one shape joined along a new dimension.

    >>> torch.stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 2],
            [3, 4]])
    """
    if casting.on and out is None:
        tensors = widest(tensors)
    parts = same_dtype(tensors, "stack")
    shape = parts[0]._array.shape
    for i, t in enumerate(parts):
        if t._array.shape != shape:
            raise RuntimeError(f"stack expects each tensor to be equal size, but got {list(shape)} at entry 0 and "
                               f"{list(t.shape)} at entry {i}")
    result = Stack.apply(parts, check_dim(dim, len(shape) + 1))
    return result if out is None else write_out(out, result)


@samples_for("stack")
def _stack_samples(make: Any) -> Any:
    yield make("stack", [make.uniform((2, 3)), make.uniform((2, 3))], 1)
    yield make("stack", [make.uniform(()), make.uniform(())])
    yield make("stack", [make.uniform((2,)), make.ints((2,), 0, 5)], dim=-1)


@op("unbind")
class Unbind(Op):
    """The slices along a dimension, as a tuple of views.

    >>> torch.unbind(torch.tensor([[1, 2], [3, 4]]))
    (tensor([1, 2]), tensor([3, 4]))
    """

    outputs = 0
    shares = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, dim: int) -> Any:
        lead = (slice(None),) * dim
        # the order is kept so that the gradient lies in memory as x does
        return [x[(*lead, i, ...)] for i in range(x.shape[dim])], axes_in_memory(x)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        first = next(x for x in g if x is not None)
        parts = [xp._zeros_of(first, first.shape) if x is None else x for x in g]
        return (xp._stack(parts, s.params[0], s.aux),)

    @staticmethod
    def call(input: Tensor, dim: int = 0) -> tuple:
        if not input._array.ndim:
            raise RuntimeError("Dimension specified as 0 but tensor has no dimensions")
        d = check_dim(dim, input._array.ndim)
        lead = (slice(None),) * d
        if not (input.requires_grad and state.grad):
            return tuple([view_at(input, (*lead, i)) for i in range(input._array.shape[d])])
        return Unbind.apply(input, d)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("unbind", make.uniform((3, 2)))
        yield make("unbind", make.uniform((2, 3, 2)), -1)


@op("_split", function=False, method=False, node="SplitBackward0")
class Split(Op):
    """Consecutive pieces of given sizes along a dimension, as views."""

    outputs = 0
    shares = True
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, sizes: tuple, dim: int) -> Any:
        lead, at, parts = (slice(None),) * dim, 0, []
        for n in sizes:
            parts.append(x[(*lead, slice(at, at + n))])
            at += n
        return parts, x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        sizes, dim = s.params
        first = next(x for x in g if x is not None)
        whole = []
        for part, n in zip(g, sizes):
            if part is None:
                shape = (*s.aux[:dim], n, *s.aux[dim + 1 :])
                part = xp._zeros_of(first, shape)
            whole.append(part)
        return (xp.cat(whole, dim),)


@op("_zeros_of", function=False, method=False)
class ZerosOf(Op):
    """Zeros of a shape, in the dtype and place of another array."""

    moves = True

    @staticmethod
    def forward(xp: Any, like: Any, shape: tuple) -> Any:
        return xp.zeros(shape, like.dtype)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (None,)


def split_sizes(input: Tensor, sizes: tuple, dim: int) -> tuple:
    """The pieces of `split_with_sizes`: views, recorded by one node if a gradient is needed."""
    if input.requires_grad and state.grad:
        return Split.apply(input, sizes, dim)
    lead, at, parts = (slice(None),) * dim, 0, []
    for n in sizes:
        parts.append(view_at(input, (*lead, slice(at, at + n))))
        at += n
    return tuple(parts)


@composite("split", "unsafe_split", method=False)
def split(tensor: Tensor, split_size_or_sections: Any, dim: int = 0) -> tuple:
    """Views of consecutive pieces: of one size (the last may be smaller), or of the listed sizes.

    >>> torch.split(torch.arange(5), 2)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    d = check_dim(dim, tensor._array.ndim)
    total = tensor._array.shape[d]
    if isinstance(split_size_or_sections, int):
        n = split_size_or_sections
        if n < 0 or (n == 0 and total):
            raise RuntimeError(f"split expects split_size be non-negative, but got split_size={n}")
        sizes = tuple([min(n, total - i) for i in range(0, total, n)]) if total else (0,)
    else:
        sizes = tuple([int(n) for n in split_size_or_sections])
        if sum(sizes) != total or any(n < 0 for n in sizes):
            raise RuntimeError(f"split_with_sizes expects split_sizes to sum exactly to {total} (input tensor's size at "
                               f"dimension {dim}), but got split_sizes={list(sizes)}")
    return split_sizes(tensor, sizes, d)


@composite("split", "unsafe_split", function=False)
def split_method(input: Tensor, split_size: Any, dim: int = 0) -> tuple:
    """`torch.split` of this tensor.

    >>> torch.arange(3).split(split_size=2)
    (tensor([0, 1]), tensor([2]))
    """
    return split(input, split_size, dim)


@samples_for("split")
def _split_samples(make: Any) -> Any:
    yield make("split", make.uniform((5, 2)), 2)
    yield make("split", make.uniform((2, 5)), [1, 3, 1], dim=-1)


@composite("chunk", "unsafe_chunk")
def chunk(input: Tensor, chunks: int, dim: int = 0) -> tuple:
    """Views of at most `chunks` pieces of equal size (the last may be smaller).

    >>> torch.chunk(torch.arange(5), 3)
    (tensor([0, 1]), tensor([2, 3]), tensor([4]))
    """
    if chunks <= 0:
        raise RuntimeError(f"chunk expects `chunks` to be greater than 0, got: {chunks}")
    d = check_dim(dim, input._array.ndim)
    total = input._array.shape[d]
    if total == 0:
        return split_sizes(input, (0,) * chunks, d)
    return split(input, -(-total // chunks), d)


@samples_for("chunk")
def _chunk_samples(make: Any) -> Any:
    yield make("chunk", make.uniform((5, 2)), 3)
    yield make("chunk", make.uniform((2, 6)), 2, -1)


__all__ = ["Cat", "chunk", "same_dtype", "split", "stack"]
