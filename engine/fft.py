"""engine.fft: discrete Fourier transforms with torch.fft's names and signatures.

The forward transform is X[k] = sum_j x[j] exp(-2 pi i j k / n). `norm` says where the factor 1/n goes: "backward" (the
default; to the inverse), "forward", or "ortho" (1/sqrt(n) to both). `n` and `s` are the sizes of the signal, which is
cut or padded with zeros to fit. float32 gives complex64, float64 complex128, integers are taken as the default dtype.
All transforms can be differentiated any number of times.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.ops import spectral
from engine.ops.base import FUNCTIONS
from engine.ops.casting import in_float32
from engine.ops.creation import filled, finish
from engine.ops.inplace import write_out
from engine.tensor import Tensor

__all__ = [
    "fft", "fft2", "fftfreq", "fftn", "fftshift", "hfft", "hfft2", "hfftn", "ifft", "ifft2", "ifftn", "ifftshift", "ihfft",
    "ihfft2", "ihfftn", "irfft", "irfft2", "irfftn", "rfft", "rfft2", "rfftfreq", "rfftn",
]  # fmt: skip

_real, _to_real = spectral.real_transform, spectral.inverse_real_transform


def _complex(name: str, x: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    return spectral.complex_transform(name, x, s, dim, norm, inverse=name.startswith("i"))


def _hermitian(name: str, x: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    """Real output: the inverse real transform of the conjugate, scaled like a forward one."""
    other = spectral.OTHER_SIDE[spectral.mode_of(norm)]
    return spectral.inverse_real_transform(name, spectral.floating(name, x).conj(), s, dim, other)  # type: ignore[attr-defined]


def _inverse_hermitian(name: str, x: Tensor, s: Any, dim: Any, norm: str | None) -> Tensor:
    """Half a spectrum: the conjugate of the real transform, scaled like an inverse one."""
    other = spectral.OTHER_SIDE[spectral.mode_of(norm)]
    return spectral.real_transform(name, x, s, dim, other).conj()  # type: ignore[attr-defined]


def _public(name: str, transform: Callable, what: str, example: str) -> Callable:
    """The public function of a transform, with the signature that its name asks for: one, two or n dimensions."""
    doc = f"{what}\n\n    RuntimeError for sizes below 1, repeated dims and unknown `norm`.\n\n    {example}\n    "

    def done(result: Tensor, out: Tensor | None) -> Tensor:
        return result if out is None else write_out(out, result)

    def one(input: Tensor, n: int | None = None, dim: int = -1, norm: str | None = None, *,
            out: Tensor | None = None) -> Tensor:
        if n is not None and n < 1:
            raise RuntimeError(f"Invalid number of data points ({n}) specified")
        return done(transform(name, input, None if n is None else (n,), (dim,), norm), out)

    def two(input: Tensor, s: Any = None, dim: Any = (-2, -1), norm: str | None = None, *,
            out: Tensor | None = None) -> Tensor:
        return done(transform(name, input, s, dim, norm), out)

    def several(input: Tensor, s: Any = None, dim: Any = None, norm: str | None = None, *,
                out: Tensor | None = None) -> Tensor:
        return done(transform(name, input, s, dim, norm), out)

    fn = two if name.endswith("2") else several if name.endswith("n") else one
    fn.__name__ = fn.__qualname__ = name
    fn.__doc__ = doc
    return in_float32(fn)


fft = _public("fft", _complex, "The transform along `dim`.", """>>> torch.fft.fft(torch.tensor([1., 2., 3., 4.]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j, -2.-2.j])""")
ifft = _public("ifft", _complex, "The inverse of `fft`.", """>>> torch.fft.ifft(torch.tensor([2., 0.]))
    tensor([1.+0.j, 1.+0.j])""")
rfft = _public("rfft", _real, "The frequencies 0 to n // 2 of a real signal along `dim`.",
               """>>> torch.fft.rfft(torch.tensor([1., 2., 3., 4.]))
    tensor([10.+0.j, -2.+2.j, -2.+0.j])""")
irfft = _public("irfft", _to_real,
                "The inverse of `rfft`: `n` real values, by default 2 * (size - 1).",
                """>>> torch.fft.irfft(torch.tensor([10.+0.j, -2.+2.j, -2.+0.j]))
    tensor([1., 2., 3., 4.])""")
hfft = _public("hfft", _hermitian, "The real transform of a Hermitian signal, of which one half is given.",
               """>>> torch.fft.hfft(torch.tensor([1.+0.j, 1.+0.j]))
    tensor([2., 0.])""")
ihfft = _public("ihfft", _inverse_hermitian, "The inverse of `hfft`: half of a Hermitian signal.",
                """>>> torch.fft.ihfft(torch.tensor([2., 0.])).real
    tensor([1., 1.])""")
fft2 = _public("fft2", _complex, "The transform over two dimensions.", """>>> torch.fft.fft2(torch.ones(2, 2))[0, 0]
    tensor(4.+0.j)""")
ifft2 = _public("ifft2", _complex, "The inverse of `fft2`.", """>>> torch.fft.ifft2(torch.ones(2, 2))[0, 0]
    tensor(1.+0.j)""")
rfft2 = _public("rfft2", _real, "The transform of a real signal over two dimensions; half of the last one.",
                """>>> torch.fft.rfft2(torch.ones(2, 4)).shape
    torch.Size([2, 3])""")
irfft2 = _public("irfft2", _to_real, "The inverse of `rfft2`.", """>>> torch.fft.irfft2(torch.ones(2, 3)).shape
    torch.Size([2, 4])""")
hfft2 = _public("hfft2", _hermitian, "`hfft` over two dimensions; the last one is Hermitian.",
                """>>> torch.fft.hfft2(torch.ones(2, 3)).shape
    torch.Size([2, 4])""")
ihfft2 = _public("ihfft2", _inverse_hermitian, "The inverse of `hfft2`.", """>>> torch.fft.ihfft2(torch.ones(2, 4)).shape
    torch.Size([2, 3])""")
fftn = _public("fftn", _complex, "The transform over `dim`, all dimensions by default.",
               """>>> torch.fft.fftn(torch.ones(2, 2, 2)).sum()
    tensor(8.+0.j)""")
ifftn = _public("ifftn", _complex, "The inverse of `fftn`.", """>>> torch.fft.ifftn(torch.ones(2, 2, 2)).sum()
    tensor(1.+0.j)""")
rfftn = _public("rfftn", _real, "The transform of a real signal over `dim`; half of the last one.",
                """>>> torch.fft.rfftn(torch.ones(2, 2, 4)).shape
    torch.Size([2, 2, 3])""")
irfftn = _public("irfftn", _to_real, "The inverse of `rfftn`.", """>>> torch.fft.irfftn(torch.ones(2, 2, 3)).shape
    torch.Size([2, 2, 4])""")
hfftn = _public("hfftn", _hermitian, "`hfft` over `dim`; the last one is Hermitian.",
                """>>> torch.fft.hfftn(torch.ones(2, 2, 3)).shape
    torch.Size([2, 2, 4])""")
ihfftn = _public("ihfftn", _inverse_hermitian, "The inverse of `hfftn`.", """>>> torch.fft.ihfftn(torch.ones(2, 2, 4)).shape
    torch.Size([2, 2, 3])""")


def _frequencies(numbers: Any, n: int, d: float, options: dict) -> Tensor:
    out, requires_grad = options.pop("out"), options.pop("requires_grad")
    array = filled((len(numbers),), 0, options["dtype"], options["device"])
    for i, k in enumerate(numbers):
        array[i] = k / (n * d)
    return finish(array, requires_grad, out)


def fftfreq(n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
            requires_grad: bool = False) -> Tensor:
    """The frequencies of `fft`'s output for samples `d` apart: [0, 1, ..., -2, -1] / (n d).

    >>> torch.fft.fftfreq(4)
    tensor([ 0.0000,  0.2500, -0.5000, -0.2500])
    """
    numbers = [*range((n + 1) // 2), *range(-(n // 2), 0)]
    return _frequencies(numbers, n, d, {"out": out, "dtype": dtype, "device": device, "requires_grad": requires_grad})


def rfftfreq(n: int, d: float = 1.0, *, out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """The frequencies of `rfft`'s output for samples `d` apart: [0, 1, ..., n // 2] / (n d).

    >>> torch.fft.rfftfreq(4)
    tensor([0.0000, 0.2500, 0.5000])
    """
    numbers = range(n // 2 + 1)
    return _frequencies(numbers, n, d, {"out": out, "dtype": dtype, "device": device, "requires_grad": requires_grad})


def _rolled(input: Tensor, dim: Any, shift: Callable[[int], int]) -> Tensor:
    dims = list(range(input.ndim)) if dim is None else [dim] if isinstance(dim, int) else list(dim)
    return FUNCTIONS["roll"](input, [shift(input.shape[d]) for d in dims], dims)


def fftshift(input: Tensor, dim: Any = None) -> Tensor:
    """Frequency 0 moved to the middle of `dim` (all dimensions by default).

    >>> torch.fft.fftshift(torch.tensor([0, 1, -2, -1]))
    tensor([-2, -1,  0,  1])
    """
    return _rolled(input, dim, lambda n: n // 2)


def ifftshift(input: Tensor, dim: Any = None) -> Tensor:
    """The inverse of `fftshift`.

    >>> torch.fft.ifftshift(torch.tensor([-2, -1, 0, 1]))
    tensor([ 0,  1, -2, -1])
    """
    return _rolled(input, dim, lambda n: (n + 1) // 2)
