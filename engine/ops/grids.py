"""Stacking by direction and making grids: hstack, vstack, meshgrid, block_diag, cartesian_prod, and complex parts."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..tensor import Tensor, wrap
from . import creation
from .base import Op, composite, op
from .creation import finish
from .inplace import write_out
from .joining import Cat, same_dtype, stack
from .samples import samples_for
from .shape import Expand, Reshape


def _many(tensors: Any) -> list:
    return list(tensors[0]) if len(tensors) == 1 and isinstance(tensors[0], (tuple, list)) else list(tensors)


def _at_least(n: int) -> Any:
    def shape_of(t: Tensor) -> tuple:
        s = t._array.shape
        if n == 3 and len(s) == 2:
            return (*s, 1)
        if n == 3 and len(s) == 1:
            return (1, *s, 1)
        return (1,) * (n - len(s)) + s

    def at_least(*tensors: Any) -> Any:
        out = [t if t.ndim >= n else Reshape.apply(t, shape_of(t)) for t in _many(tensors)]
        return out[0] if len(tensors) == 1 and isinstance(tensors[0], Tensor) else tuple(out)

    at_least.__doc__ = f"Views with at least {n} dimension{'s' if n > 1 else ''}; one tensor, or a tuple for several."
    return composite(f"atleast_{n}d", method=False)(at_least)


atleast_1d, atleast_2d, atleast_3d = _at_least(1), _at_least(2), _at_least(3)


@composite("hstack", method=False)
def hstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the columns (along the only dimension for vectors).

    >>> torch.hstack((torch.tensor([1]), torch.tensor([2])))
    tensor([1, 2])
    """
    parts = atleast_1d(list(same_dtype(tensors, "hstack")))
    return Cat.call(parts, 0 if parts[0]._array.ndim == 1 else 1, out=out)


@composite("vstack", "row_stack", method=False)
def vstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the rows; vectors become rows.

    >>> torch.vstack((torch.tensor([1]), torch.tensor([2])))
    tensor([[1],
            [2]])
    """
    return Cat.call(atleast_2d(list(same_dtype(tensors, "vstack"))), 0, out=out)


@composite("dstack", method=False)
def dstack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the third dimension.

    >>> torch.dstack([torch.tensor([1, 2]), torch.tensor([3, 4])]).shape
    torch.Size([1, 2, 2])
    """
    return Cat.call(atleast_3d(list(same_dtype(tensors, "dstack"))), 2, out=out)


@composite("column_stack", method=False)
def column_stack(tensors: Sequence[Tensor], *, out: Tensor | None = None) -> Tensor:
    """Joined along the columns; vectors become columns.

    >>> torch.column_stack([torch.tensor([1, 2]), torch.tensor([3, 4])])
    tensor([[1, 3],
            [2, 4]])
    """
    parts = [Reshape.apply(t, (t._array.size, 1)) if t._array.ndim <= 1 else t for t in same_dtype(tensors, "column_stack")]
    return Cat.call(parts, 1, out=out)


@composite("meshgrid", method=False)
def meshgrid(*tensors: Any, indexing: str | None = None) -> tuple:
    """The coordinate grids of vectors: `indexing` "ij" (rows first, the default) or "xy".

    >>> torch.meshgrid(torch.tensor([1, 2]), torch.tensor([3, 4]), indexing="ij")[0]
    tensor([[1, 1],
            [2, 2]])
    """
    axes = _many(tensors)
    if indexing not in (None, "ij", "xy"):
        raise RuntimeError(f"torch.meshgrid: indexing must be one of \"xy\" or \"ij\", but received: {indexing}")
    if any(t._array.ndim > 1 for t in axes):
        raise RuntimeError("torch.meshgrid: Expected 0D or 1D tensor in the tensor list")
    swap = indexing == "xy" and len(axes) >= 2
    axes = [axes[1], axes[0], *axes[2:]] if swap else axes
    sizes = [t._array.size for t in axes]
    grids = [Expand.apply(Reshape.apply(t, tuple([n if i == j else 1 for j in range(len(axes))])), tuple(sizes))
             for i, (t, n) in enumerate(zip(axes, sizes))]
    if swap:
        grids[0], grids[1] = grids[1], grids[0]
    return tuple(grids)


@composite("block_diag", method=False)
def block_diag(*tensors: Tensor) -> Tensor:
    """Matrices along the diagonal of one matrix, zeros elsewhere.

    >>> torch.block_diag(torch.tensor([[1]]), torch.tensor([[2]]))
    tensor([[1, 0],
            [0, 2]])
    """
    parts = [t.reshape(1, -1) if t._array.ndim < 2 else t for t in same_dtype(tensors, "block_diag")]  # type: ignore[attr-defined]
    width = sum(t._array.shape[1] for t in parts)
    rows, at = [], 0
    for t in parts:
        n, m = t._array.shape
        rows.append(Cat.apply([t.new_zeros(n, at), t, t.new_zeros(n, width - at - m)], 1))
        at += m
    return Cat.apply(rows, 0)


@composite("cartesian_prod", method=False)
def cartesian_prod(*tensors: Tensor) -> Tensor:
    """All combinations of one element from each vector, a row each.

    >>> torch.cartesian_prod(torch.tensor([1, 2]), torch.tensor([3]))
    tensor([[1, 3],
            [2, 3]])
    """
    for t in tensors:
        if t.ndim != 1:
            raise RuntimeError(f"Expect a 1D vector, but got shape {list(t.shape)}")
    if len(tensors) == 1:
        return tensors[0]
    return stack([g.reshape(-1) for g in meshgrid(*tensors, indexing="ij")], 1)


@composite("combinations", method=False)
def combinations(input: Tensor, r: int = 2, with_replacement: bool = False) -> Tensor:
    """All combinations of `r` elements of a vector, a row each.

    >>> torch.combinations(torch.tensor([1, 2, 3]))
    tensor([[1, 2],
            [1, 3],
            [2, 3]])
    """
    pick = itertools.combinations_with_replacement if with_replacement else itertools.combinations
    rows = list(pick(range(input._array.size), r))
    index = np.array(rows, np.int64).reshape(len(rows), r)
    return input[wrap(index)]  # type: ignore[index]


@composite("logspace", method=False)
def logspace(start: float, end: float, steps: int, base: float = 10.0, *, out: Tensor | None = None, dtype: Any = None,
             layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """`steps` numbers from base**start to base**end, evenly spaced in their exponents.

    >>> torch.logspace(0, 2, 3)
    tensor([  1.,  10., 100.])
    """
    exponents = creation.linspace(start, end, steps, dtype=dtypes.float64, device=device)._array
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    return finish((base**exponents).astype(d.np), requires_grad, out)


@composite("range", method=False)
def range_(start: Any = 0, end: Any = None, step: Any = 1, *, out: Tensor | None = None, dtype: Any = None,
           layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """The deprecated `arange` that includes `end`; always floating unless `dtype` says otherwise.

    >>> torch.range(0, 2)
    tensor([0., 1., 2.])
    """
    if end is None:
        start, end = 0, start
    count = int((end - start) / step + 1)
    d = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    xp = devices.module_for(devices.as_device(device))
    return finish((start + xp.arange(count) * step).astype(d.np), requires_grad, out)


@composite("vander", method=False)
def vander(x: Tensor, N: int | None = None, increasing: bool = False) -> Tensor:
    """The Vandermonde matrix of a vector: its powers as columns, decreasing unless `increasing`.

    >>> torch.vander(torch.tensor([2, 3]))
    tensor([[2, 1],
            [3, 1]])
    """
    if x.ndim != 1:
        raise RuntimeError("x must be a one-dimensional tensor.")
    if x._array.dtype.kind in "iub":
        x = x.to(dtypes.int64)  # type: ignore[attr-defined]
    n = x._array.size if N is None else N
    if n < 0:
        raise RuntimeError("N must be non-negative.")
    powers = range(n) if increasing else range(n - 1, -1, -1)
    return stack([x**p for p in powers], 1) if n else x.new_empty(x._array.size, 0)  # type: ignore[operator, attr-defined]


# -- complex numbers and their parts ----------------------------------------------------------------------------------


def _expect_parts(a: Tensor, b: Tensor) -> None:
    """RuntimeError unless both are of one of the dtypes that complex numbers are made of."""
    if not (a.is_floating_point() and b.is_floating_point()) or dtypes.bfloat16 in (a.dtype, b.dtype):
        raise RuntimeError("Expected both inputs to be Half, Float or Double tensors but got "
                           f"{a.dtype.word} and {b.dtype.word}")
    if a.dtype is not b.dtype:
        raise RuntimeError(f"Expected object of scalar type {a.dtype.word} but got scalar type {b.dtype.word} for second "
                           "argument")
    if a.dtype is dtypes.float16:
        raise NotImplementedError("complex32 is not supported. HINT: use float32 parts")


@op("complex", method=False)
class Complex(Op):
    """A complex tensor of a real and an imaginary part of one floating dtype.

    >>> torch.complex(torch.tensor([1.]), torch.tensor([2.]))
    tensor([1.+2.j])
    """

    n = 2

    @staticmethod
    def forward(xp: Any, real: Any, imag: Any) -> Any:
        shape = np.broadcast_shapes(real.shape, imag.shape)  # not real + imag * 1j: inf * 1j has a real part
        parts = xp.stack([xp.broadcast_to(real, shape), xp.broadcast_to(imag, shape)], -1)
        return parts.view(np.complex64 if real.dtype == np.float32 else np.complex128)[..., 0]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return xp.real(g), xp.imag(g)

    @staticmethod
    def call(real: Tensor, imag: Tensor, *, out: Tensor | None = None) -> Tensor:
        _expect_parts(real, imag)
        result = Complex.apply(real, imag)
        return result if out is None else write_out(out, result)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("complex", make.uniform((3,)), make.uniform((3,)), _half=False)


@composite("polar", method=False)
def polar(abs: Tensor, angle: Tensor, *, out: Tensor | None = None) -> Tensor:
    """A complex tensor of absolute values and angles (radians).

    >>> torch.polar(torch.tensor([2.]), torch.tensor([0.]))
    tensor([2.+0.j])
    """
    _expect_parts(abs, angle)
    return Complex.call(abs * angle.cos(), abs * angle.sin(), out=out)  # type: ignore[attr-defined, operator]


@op("view_as_real")
class ViewAsReal(Op):
    """A view of a complex tensor as pairs of real numbers in a new last dimension.

    >>> torch.view_as_real(torch.tensor([1+2j]))
    tensor([[1., 2.]])
    """

    view = True
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        parts = np.float32 if x.dtype == np.complex64 else np.float64
        return x[..., None].view(parts)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.view_as_complex(g),)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        if input._array.dtype.kind != "c":
            raise RuntimeError("view_as_real is only supported for complex tensors")
        return ViewAsReal.apply(input)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("view_as_real", make.complex((3,)), _half=False)


@op("view_as_complex")
class ViewAsComplex(Op):
    """A view of real pairs (last dimension of size 2) as complex numbers.

    >>> torch.view_as_complex(torch.tensor([[1., 2.]]))
    tensor([1.+2.j])
    """

    view = "maybe"
    moves = True

    @staticmethod
    def forward(xp: Any, x: Any) -> Any:
        whole = np.complex64 if x.dtype == np.float32 else np.complex128
        x = x if x.strides[-1] == x.itemsize else xp.ascontiguousarray(x)
        return x.view(whole)[..., 0]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp.view_as_real(g),)

    @staticmethod
    def call(input: Tensor) -> Tensor:
        if input._array.ndim == 0 or input._array.shape[-1] != 2:
            raise RuntimeError("Tensor must have a last dimension of size 2")
        return ViewAsComplex.apply(input)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("view_as_complex", make.uniform((3, 2)), _half=False)


def _conjugate_transpose(self: Tensor) -> Tensor:
    if self._array.ndim not in (0, 2):
        raise RuntimeError("tensor.H is only supported on matrices (2-D tensors). Got "
                           f"{self._array.ndim}-D tensor.")
    return self.t().conj()  # type: ignore[attr-defined]


def _adjoint(self: Tensor) -> Tensor:
    return self.mT.conj()  # type: ignore[attr-defined]


Tensor.H = property(_conjugate_transpose, doc="The conjugate transpose of a matrix.")  # type: ignore[attr-defined]
Tensor.mH = property(_adjoint, doc="The conjugate transpose of the last two dimensions.")  # type: ignore[attr-defined]


@samples_for("meshgrid")
def _grid_samples(make: Any) -> Any:
    yield make("meshgrid", make.uniform((2,)), make.uniform((3,)), indexing="ij")
    yield make("meshgrid", make.uniform((2,)), make.uniform((3,)), indexing="xy")
    yield make("hstack", [make.uniform((2, 2)), make.uniform((2, 1))])
    yield make("vstack", [make.uniform((2,)), make.uniform((3, 2))])
    yield make("dstack", [make.uniform((2,)), make.uniform((2,))])
    yield make("column_stack", [make.uniform((2,)), make.uniform((2, 3))])
    yield make("atleast_3d", make.uniform((2,)))
    yield make("block_diag", make.uniform((2, 1)), make.uniform((1, 3)))
    yield make("cartesian_prod", make.uniform((2,)), make.uniform((3,)))
    yield make("combinations", make.uniform((4,)), 2)
    yield make("logspace", 0.0, 2.0, 5, _grad=False)
    yield make("vander", make.uniform((3,)), 4, True, _grad=False)
    yield make("vander", make.uniform((3,)), 4, True, _oracle=False)  # torch's own gradient of vander fails


__all__ = ["hstack", "meshgrid", "vstack"]
