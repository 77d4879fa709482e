"""Window functions (Harris 1978), float vectors of length M.

All take `sym`: True gives a symmetric window, for filter design; False one period of a periodic window, which is the
symmetric window of length M + 1 without its last number, for spectral analysis.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import engine
from engine.tensor import Tensor

__all__ = ["bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming", "hamming", "hann",
           "kaiser", "nuttall"]  # fmt: skip


def _window(name: str, M: int, sym: bool, formula: Callable[[Tensor, int], Tensor], dtype: Any, layout: Any, device: Any,
            requires_grad: bool) -> Tensor:
    """`formula(n, N)` at n = 0 ... M - 1, where N + 1 numbers make one symmetric window."""
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout not in (None, engine.strided):
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    dtype = engine.get_default_dtype() if dtype is None else dtype
    if dtype not in (engine.float32, engine.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {dtype}")
    if M < 2:
        steps = engine.ones(M, dtype=engine.float64)
    else:
        steps = formula(engine.arange(M, dtype=engine.float64), M - 1 if sym else M)
    return steps.to(device=device, dtype=dtype).requires_grad_(requires_grad)


def general_cosine(M: int, *, a: Iterable, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
                   requires_grad: bool = False) -> Tensor:
    """The alternating sum of cosines with coefficients `a`: sum over i of (-1)**i a[i] cos(2 pi i n / N).

    Raises: ValueError: a negative length, no coefficients, a dtype other than float32 and float64.

    >>> torch.signal.windows.general_cosine(3, a=[0.5, 0.5])
    tensor([0., 1., 0.])
    """
    if not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    coefficients = list(a)
    if not coefficients:
        raise ValueError("Coefficients cannot be empty")

    def formula(n: Tensor, last: int) -> Tensor:
        angle = n * (2 * math.pi / last)
        return sum((-1) ** i * float(c) * engine.cos(i * angle) for i, c in enumerate(coefficients))  # type: ignore[return-value]

    return _window("general_cosine", M, sym, formula, dtype, layout, device, requires_grad)


def general_hamming(M: int, *, alpha: float = 0.54, sym: bool = True, dtype: Any = None, layout: Any = None,
                    device: Any = None, requires_grad: bool = False) -> Tensor:
    """alpha - (1 - alpha) cos(2 pi n / N).

    >>> torch.signal.windows.general_hamming(3, alpha=0.5)
    tensor([0., 1., 0.])
    """
    return general_cosine(M, a=[alpha, 1.0 - alpha], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)


def hamming(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
            requires_grad: bool = False) -> Tensor:
    """0.54 - 0.46 cos(2 pi n / N).

    >>> torch.signal.windows.hamming(3)
    tensor([0.0800, 1.0000, 0.0800])
    """
    return general_hamming(M, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def hann(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
         requires_grad: bool = False) -> Tensor:
    """(1 - cos(2 pi n / N)) / 2.

    >>> torch.signal.windows.hann(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return general_hamming(M, alpha=0.5, sym=sym, dtype=dtype, layout=layout, device=device, requires_grad=requires_grad)


def blackman(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """0.42 - 0.5 cos(2 pi n / N) + 0.08 cos(4 pi n / N).

    >>> torch.signal.windows.blackman(5)[1:4]
    tensor([0.3400, 1.0000, 0.3400])
    """
    return general_cosine(M, a=[0.42, 0.5, 0.08], sym=sym, dtype=dtype, layout=layout, device=device,
                          requires_grad=requires_grad)


def nuttall(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
            requires_grad: bool = False) -> Tensor:
    """The four-term Blackman-Harris window with Nuttall's coefficients (1981).

    >>> torch.signal.windows.nuttall(3)[1]
    tensor(1.)
    """
    return general_cosine(M, a=[0.3635819, 0.4891775, 0.1365995, 0.0106411], sym=sym, dtype=dtype, layout=layout,
                          device=device, requires_grad=requires_grad)


def bartlett(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """A triangle: 1 - |2 n / N - 1|.

    >>> torch.signal.windows.bartlett(5)
    tensor([0.0000, 0.5000, 1.0000, 0.5000, 0.0000])
    """
    return _window("bartlett", M, sym, lambda n, last: 1 - (2 * n / last - 1).abs(), dtype, layout, device, requires_grad)


def cosine(M: int, *, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """sin(pi (n + 1/2) / (N + 1)).

    >>> torch.signal.windows.cosine(3)
    tensor([0.5000, 1.0000, 0.5000])
    """
    return _window("cosine", M, sym, lambda n, last: engine.sin((n + 0.5) * (math.pi / (last + 1))), dtype, layout, device,
                   requires_grad)


def exponential(M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: Any = None,
                layout: Any = None, device: Any = None, requires_grad: bool = False) -> Tensor:
    """exp(-|n - center| / tau), the center in the middle by default.

    Raises: ValueError: tau is not positive; a center for a symmetric window.

    >>> torch.signal.windows.exponential(3)
    tensor([0.3679, 1.0000, 0.3679])
    """
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")

    def formula(n: Tensor, last: int) -> Tensor:
        return engine.exp(-(n - (last / 2 if center is None else center)).abs() / tau)

    return _window("exponential", M, sym, formula, dtype, layout, device, requires_grad)


def gaussian(M: int, *, std: float = 1.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
             requires_grad: bool = False) -> Tensor:
    """exp(-((n - N / 2) / std)**2 / 2). ValueError where std is not positive.

    >>> torch.signal.windows.gaussian(3)
    tensor([0.6065, 1.0000, 0.6065])
    """
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")

    def formula(n: Tensor, last: int) -> Tensor:
        return engine.exp(-(((n - last / 2) / std) ** 2) / 2)

    return _window("gaussian", M, sym, formula, dtype, layout, device, requires_grad)


def kaiser(M: int, *, beta: float = 12.0, sym: bool = True, dtype: Any = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - (2 n / N - 1)**2)) / I0(beta) (Kaiser 1974). ValueError for a negative beta.

    >>> torch.signal.windows.kaiser(3, beta=0.0)
    tensor([1., 1., 1.])
    """
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")

    def formula(n: Tensor, last: int) -> Tensor:
        inside = (1 - (2 * n / last - 1) ** 2).clamp(min=0)
        return engine.i0(beta * inside.sqrt()) / engine.i0(engine.tensor(beta, dtype=engine.float64))

    return _window("kaiser", M, sym, formula, dtype, layout, device, requires_grad)
