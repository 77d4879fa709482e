"""Views: the same elements under another shape. reshape, view, transpose, permute, expand, squeeze, unsqueeze, ..."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..copying import row_major_copy
from ..dtypes import dtype as dtype_type
from ..pool import LARGE
from ..tensor import Tensor, check_dim
from .base import Op, composite, expect_tensor, op


def dims_of(args: tuple) -> tuple:
    """Integers given separately or as one sequence, as a tuple of ints."""
    if len(args) == 1 and not isinstance(args[0], int) and not isinstance(args[0], Tensor):
        args = tuple(args[0])
    return tuple([n if type(n) is int else n.__index__() for n in args])


def infer_shape(shape: tuple, numel: int) -> tuple:
    """Fill in the one -1 of a shape. RuntimeError with torch's sentence if it does not fit."""
    known, hole = 1, -1
    for i, n in enumerate(shape):
        if n == -1:
            if hole >= 0:
                raise RuntimeError("only one dimension can be inferred")
            hole = i
        elif n < 0:
            raise RuntimeError(f"invalid shape dimension {n} at index {i}")
        else:
            known *= n
    if hole >= 0:
        if known == 0:
            raise RuntimeError(f"cannot reshape tensor of {numel} elements into shape {list(shape)} because the unspecified "
                               "dimension size -1 can be any value and is ambiguous")
        if numel % known == 0:
            return (*shape[:hole], numel // known, *shape[hole + 1 :])
    elif known == numel:
        return shape
    raise RuntimeError(f"shape '{list(shape)}' is invalid for input of size {numel}")


def _reshaped(x: Any, shape: tuple) -> Any:
    """`x.reshape(shape)` of a large array that is not contiguous."""
    try:
        return x.reshape(shape, copy=False)
    except ValueError:  # a copy is needed, or the shape is wrong
        return row_major_copy(x).reshape(shape)


@op("_reshape", function=False, method=False, node="ViewBackward0")
class Reshape(Op):
    """The elements in row-major order under another shape of the same count; a view where strides allow it."""

    view = "maybe"
    moves = True
    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple) -> Any:
        if xp is np and x.size >= LARGE and not x.flags.c_contiguous:
            out = _reshaped(x, shape)
        else:
            out = x.reshape(shape)
        if out.shape != shape:
            infer_shape(dims_of((shape,)), x.size)  # NumPy takes any negative size for -1
        return out, x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._reshape(g, s.aux),)

    @classmethod
    def explain(cls, error: Exception, tensors: Any, params: Any) -> Exception:
        try:
            infer_shape(dims_of(params), tensors[0]._array.size)
        except (RuntimeError, TypeError) as explained:
            return explained
        return super().explain(error, tensors, params)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("reshape", make.uniform((3, 4), -1, 1), (2, 6))
        yield make("reshape", make.uniform((3, 4), -1, 1).t(), (-1,))
        yield make("reshape", make.uniform((), -1, 1), (1, 1))
        yield make("reshape", make.uniform((0, 3), -1, 1), (3, 0))


def as_shape(x: Tensor, shape: tuple) -> Tensor:
    """`x` under a full shape of as many elements."""
    return Reshape.apply(x, shape)


def reordered(x: Tensor, dims: tuple) -> Tensor:
    """`x` with its dimensions in a checked order."""
    return Permute.apply(x, dims)


@composite("reshape")
def reshape(input: Tensor, *shape: Any) -> Tensor:
    """The same elements under another shape; one size may be -1. A view where possible, else a copy.

    >>> torch.arange(4).reshape(2, -1)
    tensor([[0, 1],
            [2, 3]])
    """
    expect_tensor(input, "reshape")
    return Reshape.apply(input, shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape)


@composite("view", function=False)
def view(input: Tensor, *shape: Any, dtype: Any = None) -> Tensor:
    """As `reshape`, but RuntimeError where a view is impossible. `view(dtype)` reinterprets the bytes.

    >>> torch.arange(4).view(2, 2)
    tensor([[0, 1],
            [2, 3]])
    """
    if len(shape) == 1 and isinstance(shape[0], str):
        raise TypeError("view(): expected sizes or a torch.dtype, got str")
    if dtype is not None or (len(shape) == 1 and isinstance(shape[0], dtype_type)):
        return BitView.apply(input, (dtype or shape[0]).np)
    sizes = shape[0] if len(shape) == 1 and not isinstance(shape[0], int) else shape
    a = input._array
    if not a.flags.c_contiguous:
        try:
            a.view().shape = infer_shape(dims_of(sizes), a.size)
        except AttributeError:
            raise RuntimeError("view size is not compatible with input tensor's size and stride (at least one dimension "
                               "spans across two contiguous subspaces). Use .reshape(...) instead.") from None
    return Reshape.apply(input, sizes)


@op("_bit_view", function=False, method=False)
class BitView(Op):
    """The bytes read as another dtype."""

    view = True
    moves = True
    differentiable = False

    @staticmethod
    def forward(xp: Any, x: Any, np_dtype: Any) -> Any:
        ratio = np_dtype.itemsize // x.dtype.itemsize
        if ratio > 1 and x.ndim and x.shape[-1] % ratio:
            raise ValueError(f"self.size(-1) must be divisible by {ratio} to view {x.dtype} as {np_dtype} (different element "
                             f"sizes), but got {x.shape[-1]}")
        return x.view(np_dtype)


@op("permute")
class Permute(Op):
    """A view with the dimensions in another order.

    >>> torch.permute(torch.zeros(2, 3, 5), (2, 0, 1)).shape
    torch.Size([5, 2, 3])
    """

    view = True
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, dims: tuple) -> Any:
        return x.transpose(dims)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        dims = s.params[0]
        back = [0] * len(dims)
        for i, d in enumerate(dims):
            back[d] = i
        return (xp.permute(g, tuple(back)),)

    @staticmethod
    def call(input: Tensor, *dims: Any) -> Tensor:
        nd = input._array.ndim
        order = dims_of(dims)
        if len(order) != nd:
            raise RuntimeError(f"permute(): number of dimensions in the tensor input does not match the length of "
                               f"the desired ordering of dimensions i.e. input.dim() = {nd} is not equal to len(dims) = "
                               f"{len(order)}")
        order = tuple([check_dim(d, nd) for d in order])
        if len(set(order)) != nd:
            raise RuntimeError("permute(): duplicate dims are not allowed.")
        return reordered(input, order)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("permute", make.uniform((2, 3, 4), -1, 1), (2, 0, 1))
        yield make("permute", make.uniform((2, 3, 4), -1, 1), (-1, 0, 1))


@composite("transpose", "swapaxes", "swapdims")
def transpose(input: Tensor, dim0: int, dim1: int) -> Tensor:
    """A view with two dimensions exchanged.

    >>> torch.transpose(torch.zeros(2, 3), 0, 1).shape
    torch.Size([3, 2])
    """
    nd = expect_tensor(input, "transpose")._array.ndim
    i, j = check_dim(dim0, nd), check_dim(dim1, nd)
    if nd == 2:
        return Permute.apply(input, (0, 1) if i == j else (1, 0))
    order = list(range(nd))
    if nd:
        order[i], order[j] = order[j], order[i]
    return Permute.apply(input, tuple(order))


@composite("t")
def t(input: Tensor) -> Tensor:
    """The transpose of a matrix; vectors and scalars unchanged. RuntimeError for more dimensions.

    >>> torch.t(torch.tensor([[1, 2]]))
    tensor([[1],
            [2]])
    """
    if input._array.ndim > 2:
        raise RuntimeError(f"t() expects a tensor with <= 2 dimensions, but self is {input._array.ndim}D")
    return reordered(input, tuple(range(input._array.ndim))[::-1])


def repeated(xp: Any, x: Any, shape: tuple) -> Any:
    """`broadcast_to`: a read-only view. NumPy's own spends longer on its checks than most small operators take."""
    lead = len(shape) - x.ndim
    if xp is np and shape[lead:] == x.shape and shape[:lead] == (1,) * lead:
        return x[(None,) * lead + (...,)]  # nothing is repeated: it may be written to
    if xp is not np or not x.flags.c_contiguous or not x.size or x.dtype.kind not in "fiubc":
        return xp.broadcast_to(x, shape)
    if shape[lead:] == x.shape:
        out = np.ndarray(shape, x.dtype, x, 0, (0,) * lead + x.strides)
        out.flags.writeable = False
        return out
    strides = [0] * lead
    for n, old, stride in zip(shape[lead:], x.shape, x.strides):
        strides.append(stride if n == old else 0)
    out = np.ndarray(shape, x.dtype, x, 0, strides)
    out.flags.writeable = False
    return out


@op("expand", function=False)
class Expand(Op):
    """A view in which dimensions of size 1 are repeated without copying; -1 keeps a size.

    >>> torch.tensor([[1], [2]]).expand(2, 3)
    tensor([[1, 1, 1],
            [2, 2, 2]])
    """

    view = True
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any, shape: tuple) -> Any:
        return repeated(xp, x, shape)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (g,)  # the driver sums over the repeated dimensions

    @staticmethod
    def call(input: Tensor, *size: Any, implicit: bool = False) -> Tensor:
        wanted, have = dims_of(size), input._array.shape
        lead = len(wanted) - len(have)
        if lead >= 0 and wanted[lead:] == have and (not lead or min(wanted[:lead]) >= 0):
            return Expand.apply(input, wanted)
        if lead < 0:
            raise RuntimeError(f"expand({{{list(have)}}}, size={list(wanted)}): the number of sizes provided "
                               f"({len(wanted)}) must be greater or equal to the number of dimensions in the tensor "
                               f"({len(have)})")
        out = []
        for i, n in enumerate(wanted):
            old = have[i - lead] if i >= lead else None
            if n == -1:
                if old is None:
                    raise RuntimeError(f"The expanded size of the tensor ({n}) isn't allowed in a leading, non-existing "
                                       f"dimension {i}")
                n = old
            elif old not in (None, 1, n):
                raise RuntimeError(f"The expanded size of the tensor ({n}) must match the existing size ({old}) at "
                                   f"non-singleton dimension {i}.  Target sizes: {list(wanted)}.  Tensor sizes: {list(have)}")
            out.append(n)
        return Expand.apply(input, tuple(out))

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("expand", make.uniform((3, 1), -1, 1), (2, -1, 4))
        yield make("expand", make.uniform((), -1, 1), (2, 2))


@composite("expand_as", function=False)
def expand_as(input: Tensor, other: Tensor) -> Tensor:
    """`expand` to `other`'s shape.

    >>> torch.tensor([[1], [2]]).expand_as(torch.zeros(2, 3)).shape
    torch.Size([2, 3])
    """
    return Expand.call(input, *other.shape)


@composite("unsqueeze")
def unsqueeze(input: Tensor, dim: int) -> Tensor:
    """A view with a dimension of size 1 inserted at `dim`.

    >>> torch.unsqueeze(torch.tensor([1, 2]), 1)
    tensor([[1],
            [2]])
    """
    shape = list(expect_tensor(input, "unsqueeze")._array.shape)
    shape.insert(check_dim(dim, len(shape) + 1), 1)
    return as_shape(input, tuple(shape))


@composite("squeeze")
def squeeze(input: Tensor, dim: Any = None) -> Tensor:
    """A view without dimensions of size 1: all, or those of `dim` (an int or several) that have size 1.

    >>> torch.squeeze(torch.zeros(1, 2, 1)).shape
    torch.Size([2])
    """
    shape = expect_tensor(input, "squeeze")._array.shape
    if dim is None:
        keep = [n for n in shape if n != 1]
    elif type(dim) is int:
        d = check_dim(dim, len(shape))
        keep = [*shape[:d], *shape[d + 1 :]] if shape and shape[d] == 1 else shape  # type: ignore[assignment]
    else:
        drop = {check_dim(d, len(shape)) for d in (dim if isinstance(dim, (tuple, list)) else (dim,))}
        keep = [n for i, n in enumerate(shape) if i not in drop or n != 1]
    return as_shape(input, tuple(keep))


@composite("flatten")
def flatten(input: Tensor, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """The dimensions from `start_dim` to `end_dim` as one.

    >>> torch.flatten(torch.zeros(2, 3, 4), 1).shape
    torch.Size([2, 12])
    """
    expect_tensor(input, "flatten")
    shape = input._array.shape
    i, j = check_dim(start_dim, len(shape)), check_dim(end_dim, len(shape))
    if i > j:
        raise RuntimeError("flatten() has invalid args: start_dim cannot come after end_dim")
    if not shape:
        return Reshape.apply(input, (1,))
    if i == j:
        return input
    n = 1
    for size in shape[i : j + 1]:
        n *= size
    return as_shape(input, (*shape[:i], n, *shape[j + 1 :]))


def _matrix_transpose(self: Tensor) -> Tensor:
    if self._array.ndim == 1:
        raise RuntimeError("tensor.mT is only supported on matrices or batches of matrices. Got 1-D tensor.")
    if self._array.ndim == 0:
        return reordered(self, ())
    return transpose(self, -2, -1)


def _reversed_dims(self: Tensor) -> Tensor:
    return reordered(self, tuple(range(self._array.ndim))[::-1])


Tensor.T = property(_reversed_dims, doc="A view with all dimensions reversed.")  # type: ignore[attr-defined]
Tensor.mT = property(_matrix_transpose, doc="A view with the last two dimensions exchanged.")  # type: ignore[attr-defined]
__all__ = ["Expand", "Permute", "Reshape", "as_shape", "dims_of", "infer_shape", "reordered"]
