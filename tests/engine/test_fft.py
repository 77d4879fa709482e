"""engine.fft, stft, windows: identities, dtypes, errors beside torch's."""

from __future__ import annotations

import numpy as np
import pytest

import engine

RNG = np.random.default_rng(0)
SIGNAL = RNG.normal(size=(2, 12))
PAIRS = [("fft", "ifft"), ("fft2", "ifft2"), ("fftn", "ifftn")]
REAL_PAIRS = [("rfft", "irfft"), ("rfft2", "irfft2"), ("rfftn", "irfftn"), ("ihfft", "hfft"), ("ihfft2", "hfft2"),
              ("ihfftn", "hfftn")]


@pytest.mark.parametrize("norm", [None, "backward", "ortho", "forward"])
@pytest.mark.parametrize(("there", "back"), PAIRS + REAL_PAIRS)
def test_transforms_undo_each_other(there, back, norm):
    x = engine.tensor(SIGNAL)
    y = getattr(engine.fft, back)(getattr(engine.fft, there)(x, norm=norm), norm=norm)
    np.testing.assert_allclose((y.real if y.is_complex() else y).numpy(), SIGNAL, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("n", [11, 12])
def test_lengths_odd_and_even(n):
    x = engine.tensor(SIGNAL[:, :n])
    np.testing.assert_allclose(engine.fft.irfft(engine.fft.rfft(x), n=n).numpy(), SIGNAL[:, :n], rtol=1e-10)
    np.testing.assert_allclose(engine.fft.rfft(x).numpy(), np.fft.rfft(SIGNAL[:, :n]), rtol=1e-10)


def test_dtypes():
    assert engine.fft.fft(engine.ones(4)).dtype is engine.complex64
    assert engine.fft.fft(engine.ones(4, dtype=engine.float64)).dtype is engine.complex128
    assert engine.fft.fft(engine.ones(4, dtype=engine.int64)).dtype is engine.complex64
    assert engine.fft.irfft(engine.ones(3)).dtype is engine.float32
    assert engine.fft.rfft(engine.ones(3, dtype=engine.float64)).dtype is engine.complex128
    assert engine.fft.fftfreq(5).dtype is engine.float32


def test_energy_is_kept_and_so_is_its_gradient():
    x = engine.tensor(SIGNAL, requires_grad=True)
    (engine.fft.fft(x, norm="ortho").abs() ** 2).sum().backward()  # Parseval: the sum of squares of x
    np.testing.assert_allclose(x.grad.numpy(), 2 * SIGNAL, rtol=1e-9)


ERRORS = {
    "n": lambda lib: lib.fft.fft(lib.ones(4), n=0),
    "norm": lambda lib: lib.fft.fft(lib.ones(4), norm="all"),
    "complex": lambda lib: lib.fft.rfft(lib.ones(4, dtype=lib.complex64)),
    "dims": lambda lib: lib.fft.fft2(lib.ones(4, 4), dim=(0, 0)),
    "range": lambda lib: lib.fft.fft(lib.ones(4), dim=2),
    "lengths": lambda lib: lib.fft.fftn(lib.ones(4, 4), s=(2,), dim=(0, 1)),
    "many": lambda lib: lib.fft.fftn(lib.ones(4), s=(2, 2)),
    "stft complex": lambda lib: lib.stft(lib.ones(16), 4),
    "stft long": lambda lib: lib.stft(lib.ones(16), 32, center=False, return_complex=True),
    "stft window": lambda lib: lib.stft(lib.ones(16), 4, window=lib.ones(3), return_complex=True),
    "istft real": lambda lib: lib.istft(lib.ones(3, 9), 4),
    "istft sizes": lambda lib: lib.istft(lib.ones(4, 9, dtype=lib.complex64), 4, onesided=True),
    "istft cover": lambda lib: lib.istft(lib.ones(3, 9, dtype=lib.complex64), 4, window=lib.zeros(4)),
}


@pytest.mark.parametrize("name", ERRORS)
@pytest.mark.filterwarnings("ignore")
def test_misuse_raises_what_torch_raises(name):
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, IndexError)) as theirs:
        ERRORS[name](torch)
    with pytest.raises(theirs.type) as ours:
        ERRORS[name](engine)
    assert set(str(theirs.value).split()) & set(str(ours.value).split())


@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
@pytest.mark.parametrize("n", [1, 4, 5])
def test_frequencies(name, n):
    np.testing.assert_allclose(getattr(engine.fft, name)(n, 0.5).numpy(), getattr(np.fft, name)(n, 0.5), rtol=1e-6)


def test_shifts_undo_each_other():
    x = engine.arange(15).reshape(3, 5)
    assert engine.equal(engine.fft.ifftshift(engine.fft.fftshift(x)), x)
    assert engine.fft.fftshift(x[0]).tolist() == np.fft.fftshift(np.arange(5)).tolist()


@pytest.mark.parametrize("options", [{}, {"normalized": True}, {"hop_length": 2}, {"win_length": 6, "hop_length": 2}], ids=str)
def test_istft_undoes_stft(options):
    x = engine.tensor(RNG.normal(size=(2, 40)))
    window = engine.hann_window(options.get("win_length", 8), dtype=engine.float64)
    there = engine.stft(x, 8, window=window, return_complex=True, **options)
    back = engine.istft(there, 8, window=window, length=40, **options)
    np.testing.assert_allclose(back.numpy(), x.numpy(), rtol=1e-9, atol=1e-10)


def test_istft_pads_what_is_missing_and_says_so():
    there = engine.stft(engine.ones(16), 4, return_complex=True)
    with pytest.warns(UserWarning, match="shorter than the length"):
        assert engine.istft(there, 4, length=25)[-1] == 0


@pytest.mark.parametrize("name", ["hann", "hamming", "blackman", "bartlett", "kaiser"])
def test_windows_in_float32_and_their_errors(name):
    torch = pytest.importorskip("torch")
    make = getattr(engine, name + "_window")
    np.testing.assert_allclose(make(9).numpy(), getattr(torch, name + "_window")(9).numpy(), atol=1e-6)
    with pytest.raises(RuntimeError):
        make(-1)
    with pytest.raises(RuntimeError, match="floating point"):
        make(4, dtype=engine.int64)
