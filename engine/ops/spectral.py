"""Discrete Fourier transforms: the three transforms that all others are made of.

Gradients: a transform is linear, so its gradient is its adjoint, which is the transform of the other direction with the
scaling moved to the other side ("backward" <-> "forward"). `engine.fft` has the public functions.
"""

from __future__ import annotations

from typing import Any

from .. import dtypes
from ..tensor import Tensor, check_dim
from ._blocked import by_rows, is_large
from .base import CARDS, Op, expect_tensor, op
from .samples import samples_for


def _in_blocks(transform: Any, x: Any, axes: tuple) -> Any:
    """`transform(x)`, of large arrays in blocks of the first dimension if that is not transformed."""
    return by_rows(transform, (x,)) if is_large(x) and 0 not in axes else transform(x)


OTHER_SIDE = {"backward": "forward", "forward": "backward", "ortho": "ortho"}


@op("_fft_c2c", function=False, method=False, node="FftC2CBackward0")
class ComplexTransform(Op):
    """Complex to complex, over several dimensions; the inverse direction has the positive exponent."""

    @staticmethod
    def forward(xp: Any, x: Any, axes: tuple, norm: str, inverse: bool) -> Any:
        transform = xp.fft.ifftn if inverse else xp.fft.fftn
        return _in_blocks(lambda x: transform(x, axes=axes, norm=norm), x, axes)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        axes, norm, inverse = s.params
        return (xp._fft_c2c(g, axes, OTHER_SIDE[norm], not inverse),)


@op("_fft_r2c", function=False, method=False, node="FftR2CBackward0")
class RealTransform(Op):
    """Real to complex: the non-negative frequencies of the last of `axes`. The gradient is the real part of the full
    inverse transform of what came in, with zeros in the place of the other half."""

    has_aux = True

    @staticmethod
    def forward(xp: Any, x: Any, axes: tuple, norm: str) -> Any:
        return _in_blocks(lambda x: xp.fft.rfftn(x, axes=axes, norm=norm), x, axes), x.shape

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        axes, norm = s.params
        pads = tuple([(0, n - m) for n, m in zip(s.aux, g.shape)])
        return (xp._fft_c2c(xp._pad_constant(g, pads, 0), axes, OTHER_SIDE[norm], True),)


@op("_fft_c2r", function=False, method=False, node="FftC2RBackward0")
class InverseRealTransform(Op):
    """Half of a Hermitian spectrum to `n` real values along the last of `axes`. In the gradient, what stands for two
    mirrored frequencies counts twice."""

    @staticmethod
    def forward(xp: Any, x: Any, axes: tuple, norm: str, n: int) -> Any:
        sizes = [x.shape[d] for d in axes[:-1]] + [n]
        return _in_blocks(lambda x: xp.fft.irfftn(x, s=sizes, axes=axes, norm=norm), x, axes)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        axes, norm, n = s.params
        return (xp._double_mirrored(xp._fft_r2c(g, axes, OTHER_SIDE[norm]), axes[-1], n),)


@op("_double_mirrored", function=False, method=False)
class DoubleMirrored(Op):
    """A half spectrum of `n` values with those frequencies doubled that stand for two."""

    @staticmethod
    def forward(xp: Any, x: Any, axis: int, n: int) -> Any:
        out = x.copy()
        out[(slice(None),) * axis + (slice(1, 1 + n - x.shape[axis]),)] *= 2
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._double_mirrored(g, *s.params),)


# -- from torch's arguments to theirs ---------------------------------------------------------------------------------


def mode_of(norm: str | None) -> str:
    """The scaling mode; RuntimeError for an unknown one."""
    if norm is None:
        return "backward"
    if norm not in OTHER_SIDE:
        raise RuntimeError(f'Invalid normalization mode: "{norm}"')
    return norm


def axes_and_sizes(x: Tensor, s: Any, dim: Any, last: int | None = None) -> tuple[tuple, list]:
    """The transformed axes and the sizes of the signal along them; `last` is the default of the last size."""
    nd = x.ndim
    s = (s,) if isinstance(s, int) else s
    if dim is None:
        count = nd if s is None else len(s)
        if count > nd:
            raise RuntimeError(f"Got shape with {count} values but input tensor only has {nd} dimensions.")
        axes = tuple(range(nd - count, nd))
    else:
        axes = tuple([check_dim(d, nd) for d in ((dim,) if isinstance(dim, int) else dim)])
        if len(set(axes)) != len(axes):
            raise RuntimeError("FFT dims must be unique")
    if s is not None and len(s) != len(axes):
        raise RuntimeError("When given, dim and shape arguments must have the same length")
    sizes = [x.shape[d] for d in axes]
    if last is not None and axes:
        sizes[-1] = last
    for i, n in enumerate(s or ()):
        sizes[i] = sizes[i] if n in (None, -1) else n
    for n in sizes:
        if n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
    return axes, sizes


def resized(x: Tensor, axes: tuple, sizes: list) -> Tensor:
    """`x` cut or padded with zeros at the end of the axes."""
    if all(x.shape[d] == n for d, n in zip(axes, sizes)):
        return x
    pads = [(0, 0)] * x.ndim
    for d, n in zip(axes, sizes):
        pads[d] = (0, n - x.shape[d])
    return CARDS["_pad_constant"].apply(x, tuple(pads), 0)


def floating(name: str, x: Tensor, real: bool = False) -> Tensor:
    """`x` with integers in the default dtype. RuntimeError for complex input of a `real` transform."""
    expect_tensor(x, name)
    if real and x.is_complex():  # type: ignore[attr-defined]
        raise RuntimeError(f"{name} expects a real input tensor, but got {x.dtype.word}")
    return x.to(dtypes.get_default_dtype()) if x._array.dtype.kind in "iub" else x  # type: ignore[attr-defined]


def _as_complex(x: Tensor) -> Tensor:
    if x.is_complex():  # type: ignore[attr-defined]
        return x
    return x.to(dtypes.complex128 if x.dtype is dtypes.float64 else dtypes.complex64)  # type: ignore[attr-defined]


def complex_transform(name: str, x: Tensor, s: Any, dim: Any, norm: str | None, inverse: bool) -> Tensor:
    """fft, fft2, fftn and their inverses."""
    x = floating(name, x)
    mode = mode_of(norm)
    axes, sizes = axes_and_sizes(x, s, dim)
    return ComplexTransform.apply(_as_complex(resized(x, axes, sizes)), axes, mode, inverse) if axes else _as_complex(x)


def real_transform(name: str, x: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    """rfft, rfft2, rfftn."""
    x = floating(name, x, real=True)
    mode = mode_of(norm)
    axes, sizes = axes_and_sizes(x, s, dim)
    if not axes:
        raise RuntimeError(f"{name} must transform at least one axis")
    return RealTransform.apply(resized(x, axes, sizes), axes, mode)


def inverse_real_transform(name: str, x: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    """irfft, irfft2, irfftn."""
    x = _as_complex(floating(name, x))
    mode = mode_of(norm)
    last = x.ndim - 1 if dim is None else dim if isinstance(dim, int) else dim[-1] if len(dim) else None
    if last is None or not x.ndim:
        raise RuntimeError(f"{name} must transform at least one axis")
    axes, sizes = axes_and_sizes(x, s, dim, 2 * (x.shape[check_dim(last, x.ndim)] - 1))
    n = sizes[-1]
    return InverseRealTransform.apply(resized(x, axes, [*sizes[:-1], n // 2 + 1]), axes, mode, n)


@samples_for("_fft")
def _samples(make: Any) -> Any:
    where = {"_module": "fft", "_half": False}
    for norm in (None, "ortho", "forward"):
        for name in ("fft", "ifft"):
            yield make(name, make.complex((3, 4)), norm=norm, **where)
            yield make(name, make.uniform((3, 4)), 5, 0, norm, **where)
            yield make(name, make.uniform((4,)), 3, **where)
        for name in ("rfft", "ihfft"):
            yield make(name, make.uniform((3, 4)), norm=norm, **where)
            yield make(name, make.uniform((3, 5)), 4, 0, norm, **where)
            yield make(name, make.uniform((5, 3)).t(), **where)
        for name in ("irfft", "hfft"):
            yield make(name, make.complex((3, 4)), norm=norm, **where)
            yield make(name, make.complex((3, 4)), 5, 0, norm, **where)
            yield make(name, make.complex((4,)), 7, **where)
        for name in ("fft2", "ifft2", "fftn", "ifftn", "irfft2", "irfftn", "hfft2", "hfftn"):
            yield make(name, make.complex((2, 3, 4)), norm=norm, **where)
            yield make(name, make.complex((2, 3, 4)), (4, 3), (-1, 0), norm, **where)
        for name in ("rfft2", "rfftn", "ihfft2", "ihfftn"):
            yield make(name, make.uniform((2, 3, 4)), norm=norm, **where)
            yield make(name, make.uniform((2, 3, 4)), (4, 3), (-1, 0), norm, **where)
    yield make("fftshift", make.uniform((3, 4)), _module="fft")
    yield make("ifftshift", make.uniform((3, 5)), 1, _module="fft")
    yield make("fft", make.ints((4,), -3, 3), **where)
