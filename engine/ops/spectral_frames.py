"""Short-time Fourier transforms (stft, istft) and the window functions that go with them."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from .. import devices, dtypes
from ..tensor import Tensor
from .base import CARDS, FUNCTIONAL, composite, expect_tensor
from .creation import finish
from .samples import samples_for
from .spectral import complex_transform, inverse_real_transform, real_transform


def _frame_options(name: str, n_fft: int, hop_length: int | None, win_length: int | None, window: Tensor | None,
                   like: Tensor) -> tuple[int, Tensor]:
    """(hop, window of n_fft elements): defaults filled in, the window centred in zeros."""
    hop = n_fft // 4 if hop_length is None else hop_length
    width = n_fft if win_length is None else win_length
    if hop <= 0:
        raise RuntimeError(f"{name}: expected hop_length > 0, but got hop_length={hop}")
    if not 0 < width <= n_fft:
        raise RuntimeError(f"{name}: expected 0 < win_length <= n_fft, but got win_length={width}")
    if window is None:
        real = like.real if like.is_complex() else like  # type: ignore[attr-defined]
        window = real.new_ones(width)
    elif tuple(window.shape) != (width,):
        raise RuntimeError(f"{name}: expected a 1D window tensor of size equal to win_length={width}, but got window with size "
                           f"{list(window.shape)}")
    left = (n_fft - width) // 2
    if width < n_fft:
        window = CARDS["_pad_constant"].apply(window, ((left, n_fft - width - left),), 0)
    return hop, window  # type: ignore[return-value]


@composite("stft")
def stft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None, window: Tensor | None = None,
         center: bool = True, pad_mode: str = "reflect", normalized: bool = False, onesided: bool | None = None,
         return_complex: bool | None = None, align_to_window: bool | None = None) -> Tensor:
    """The transforms of overlapping windows of a signal (L) or signals (B, L), as (B?, frequencies, frames).

    Frames of `n_fft` samples start every `hop_length` (n_fft // 4); with `center` the signal is padded so that frame t is
    centred at t * hop_length. `window` (win_length; ones by default) is centred in the frame. `onesided` keeps the
    frequencies 0 to n_fft // 2 (default for real signals). `return_complex=False` gives pairs of real numbers.

    RuntimeError for sizes that do not fit, and if `return_complex` is not given for real input.

    >>> torch.stft(torch.ones(8), 4, return_complex=True).shape
    torch.Size([3, 9])
    """
    expect_tensor(input, "stft")
    if center and align_to_window is not None:
        raise RuntimeError("stft align_to_window should only be set when center = false")
    if align_to_window:
        raise NotImplementedError("stft(align_to_window=True) is not supported by litengine. HINT: pad the signal by "
                                  "(n_fft - win_length) // 2 at its start.")
    complex_input = input.is_complex() or (window is not None and window.is_complex())  # type: ignore[attr-defined]
    if return_complex is None:
        if not complex_input:
            raise RuntimeError("stft requires the return_complex parameter be given for real inputs, and will further require "
                               "that return_complex=True in a future PyTorch release.")
        return_complex = True
    if input.ndim not in (1, 2):
        raise RuntimeError(f"stft: expected a 1D or 2D tensor, but got {input.ndim}D")
    x = input if input.ndim == 2 else input.unsqueeze(0)  # type: ignore[attr-defined]
    hop, window = _frame_options("stft", n_fft, hop_length, win_length, window, input)
    if center:
        x = FUNCTIONAL["pad"](x.unsqueeze(1), (n_fft // 2, n_fft // 2), pad_mode).squeeze(1)
    if not 0 < n_fft <= x.shape[1]:
        raise RuntimeError(f"stft: expected 0 < n_fft <= {x.shape[1]}, but got n_fft={n_fft}")
    frames = x.unfold(-1, n_fft, hop) * window
    norm = "ortho" if normalized else "backward"
    one = not complex_input if onesided is None else onesided
    if one and complex_input:
        raise RuntimeError("Cannot have onesided output if window or input is complex")
    if one:
        spectrum = real_transform("stft", frames, None, -1, norm)
    else:
        spectrum = complex_transform("stft", frames, None, -1, norm, False)
    result = spectrum.swapaxes(-1, -2)  # type: ignore[attr-defined]
    result = result if input.ndim == 2 else result.squeeze(0)
    return result if return_complex else CARDS["view_as_real"].call(result)


def _overlap_add(frames: Tensor, hop: int) -> Tensor:
    """(B, T, n) frames added up where they lie, as (B, (T - 1) * hop + n)."""
    batch, count, n = frames.shape
    index = np.arange(count)[:, None] * hop + np.arange(n)
    return CARDS["_add_at"].apply(frames.movedim(0, -1), ((count - 1) * hop + n, batch), (index,)).t()  # type: ignore[attr-defined]


@composite("istft")
def istft(input: Tensor, n_fft: int, hop_length: int | None = None, win_length: int | None = None,
          window: Tensor | None = None, center: bool = True, normalized: bool = False, onesided: bool | None = None,
          length: int | None = None, return_complex: bool = False) -> Tensor:
    """The signal of which `input` (B?, frequencies, frames; complex) is the `stft` with the same options.

    Frames are transformed back, windowed, added where they overlap and divided by the sum of the squared windows
    (Griffin and Lim, IEEE Trans. ASSP 32, 1984). `length` cuts the signal, or pads it with zeros.

    RuntimeError if some sample is covered by no window.

    >>> signal = torch.tensor([1., 2., 3., 4., 5., 6., 7., 8.])
    >>> torch.istft(torch.stft(signal, 4, return_complex=True), 4).round()
    tensor([1., 2., 3., 4., 5., 6., 7., 8.])
    """
    if not expect_tensor(input, "istft").is_complex():  # type: ignore[attr-defined]
        raise RuntimeError("istft requires a complex-valued input tensor matching the output from stft with "
                           "return_complex=True.")
    if input.ndim not in (2, 3):
        raise RuntimeError(f"istft: expected a tensor with 2 or 3 dimensions, but got {input.ndim}")
    x = input if input.ndim == 3 else input.unsqueeze(0)  # type: ignore[attr-defined]
    one = x.shape[1] != n_fft if onesided is None else onesided
    wanted = n_fft // 2 + 1 if one else n_fft
    if x.shape[1] != wanted:
        raise RuntimeError(f"istft: expected the frequency dimension (3rd to the last) of the input tensor to match n_fft "
                           f"{'/ 2 + 1 ' if one else ''}when onesided={one}, but got {x.shape[1]}")
    hop, window = _frame_options("istft", n_fft, hop_length, win_length, window, input)
    norm = "ortho" if normalized else "backward"
    spectra = x.swapaxes(-1, -2)
    if return_complex:
        if one:
            raise RuntimeError("Cannot have onesided output if window or input is complex")
        frames = complex_transform("istft", spectra, None, -1, norm, True)
    else:  # a real signal is known from half of its frequencies
        frames = inverse_real_transform("istft", spectra[..., : n_fft // 2 + 1], (n_fft,), -1, norm)
    signal = _overlap_add(frames * window, hop)  # type: ignore[operator]
    cover = _overlap_add((window * window).expand(1, x.shape[2], n_fft), hop)  # type: ignore[operator]
    result = _cut(signal, cover, n_fft // 2 if center else 0, n_fft // 2 if center else 0, length)
    return (result if input.ndim == 3 else result.squeeze(0)).contiguous()  # type: ignore[attr-defined]


def _cut(signal: Tensor, cover: Tensor, start: int, tail: int, length: int | None) -> Tensor:
    """The signal without its padding, divided by how much window covered each sample."""
    have = signal.shape[1]
    end = min(start + length, have) if length is not None else have - tail
    signal, cover = signal[:, start:end], cover[:, start:end]
    least = float(cover._array.min()) if cover._array.size else 1.0
    if least < 1e-11:
        raise RuntimeError(f"window overlap add min: {least} (istft(): some samples are covered by no window)")
    result = signal / cover  # type: ignore[operator]
    if length is not None and start + length > have:
        warnings.warn("The length of signal is shorter than the length parameter. Result is being padded with zeros in the "
                      "tail. Please check your center and hop_length settings.", stacklevel=3)
        result = CARDS["_pad_constant"].apply(result, ((0, 0), (0, start + length - have)), 0)
    return result


# -- windows ----------------------------------------------------------------------------------------------------------


def _window(length: int, periodic: bool, shape: Callable, options: tuple) -> Tensor:
    """`shape(k, last)` for k = 0 ... last; a periodic window is one longer, without its last value."""
    dtype, device, requires_grad = options
    if length < 0:
        raise RuntimeError(f"window_length must be non-negative, got window_length={length}")
    if length < 2:
        values = np.ones(length)
    else:
        count = length + bool(periodic)
        values = np.asarray(shape(np.arange(count, dtype=np.float64), count - 1))[:length]
    kind = dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)
    if kind.category < 2:
        raise RuntimeError(f"a window function expects floating point dtypes, got: {kind}")
    array = values.astype(kind.np)
    return finish(array if device is None else devices.place(array, devices.as_device(device)), requires_grad)


def _cosines(alpha: float, beta: float) -> Callable:
    return lambda k, last: alpha - beta * np.cos(2 * math.pi * k / last)


@composite("hann_window", method=False)
def hann_window(window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
                pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """1/2 - 1/2 cos(2 pi k / N), N the length (one less if not `periodic`).

    >>> torch.hann_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window(window_length, periodic, _cosines(0.5, 0.5), (dtype, device, requires_grad))


@composite("hamming_window", method=False)
def hamming_window(window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *, dtype: Any = None,
                   layout: Any = None, device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """alpha - beta cos(2 pi k / N).

    >>> torch.hamming_window(4)
    tensor([0.0800, 0.5400, 1.0000, 0.5400])
    """
    return _window(window_length, periodic, _cosines(alpha, beta), (dtype, device, requires_grad))


@composite("blackman_window", method=False)
def blackman_window(window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
                    pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """0.42 - 0.5 cos(2 pi k / N) + 0.08 cos(4 pi k / N).

    >>> torch.blackman_window(5, periodic=False)[1:]
    tensor([0.3400, 1.0000, 0.3400, 0.0000])
    """
    def shape(k: Any, last: int) -> Any:
        turn = 2 * math.pi * k / last
        return np.maximum(0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2 * turn), 0)

    return _window(window_length, periodic, shape, (dtype, device, requires_grad))


@composite("bartlett_window", method=False)
def bartlett_window(window_length: int, periodic: bool = True, *, dtype: Any = None, layout: Any = None, device: Any = None,
                    pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """A triangle: 1 - |2 k / N - 1|.

    >>> torch.bartlett_window(4)
    tensor([0.0000, 0.5000, 1.0000, 0.5000])
    """
    return _window(window_length, periodic, lambda k, last: 1 - abs(2 * k / last - 1), (dtype, device, requires_grad))


@composite("kaiser_window", method=False)
def kaiser_window(window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: Any = None, layout: Any = None,
                  device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """I0(beta sqrt(1 - (2 k / N - 1)^2)) / I0(beta), I0 the modified Bessel function.

    >>> torch.kaiser_window(3, periodic=False, beta=0.0)
    tensor([1., 1., 1.])
    """
    def shape(k: Any, last: int) -> Any:
        return np.i0(beta * np.sqrt(np.maximum(1 - (2 * k / last - 1) ** 2, 0))) / np.i0(beta)

    return _window(window_length, periodic, shape, (dtype, device, requires_grad))


@samples_for("stft")
def _samples(make: Any) -> Any:
    window = make.uniform((6,), 0.5, 1)
    some = {"return_complex": True, "_half": False}
    yield make("stft", make.uniform((2, 20)), 6, **some)
    yield make("stft", make.uniform((20,)), 6, 2, 6, window, **some)
    yield make("stft", make.uniform((20,)), 8, 3, 6, window, center=False, normalized=True, **some)
    yield make("stft", make.uniform((20,)), 6, pad_mode="constant", onesided=False, **some)
    yield make("stft", make.uniform((20,)), 6, return_complex=False, _half=False)
    yield make("stft", make.complex((20,)), 6, _half=False)
    for options in ({}, {"normalized": True}, {"length": 17}):
        yield make("istft", make.complex((2, 4, 9)), 6, 2, 6, window, _half=False, **options)
    yield make("istft", make.complex((6, 9)), 6, 2, onesided=False, return_complex=True, _half=False)
    yield make("istft", make.complex((6, 9)), 6, 2, onesided=False, _half=False)
    for name in ("hann", "hamming", "blackman", "bartlett", "kaiser"):
        for length in (0, 1, 2, 7):
            for periodic in (True, False):
                yield make(name + "_window", length, periodic, dtype=dtypes.float64, _half=False)
    yield make("kaiser_window", 9, True, 3.0, dtype=dtypes.float64, _half=False)


__all__ = ["istft", "stft"]
