"""torch.signal.windows: every window in both forms beside torch, and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.signal import windows

OPTIONS = {
    "exponential": [{}, {"tau": 3.0}, {"center": 2.0, "sym": False}],
    "gaussian": [{}, {"std": 2.5}],
    "kaiser": [{}, {"beta": 3.0}],
    "general_cosine": [{"a": [0.46, 0.23, 0.31]}],
    "general_hamming": [{}, {"alpha": 0.6}],
}


@pytest.mark.parametrize("length", [0, 1, 2, 7, 64])
@pytest.mark.parametrize("name", windows.__all__)
def test_windows_as_torch(name: str, length: int) -> None:
    torch = pytest.importorskip("torch")
    for options in OPTIONS.get(name, [{}]):
        for sym in (True, False):
            given = {"sym": sym, **options}
            for dtype, tolerance in (("float32", 2e-6), ("float64", 1e-12)):
                ours = getattr(windows, name)(length, dtype=getattr(engine, dtype), **given)
                theirs = getattr(torch.signal.windows, name)(length, dtype=getattr(torch, dtype), **given)
                if length == 1 and "center" in options:
                    continue  # one number: torch's is below 1 there, here it is the window's peak
                np.testing.assert_allclose(np.asarray(ours), theirs.numpy(), rtol=tolerance, atol=tolerance)
    assert getattr(windows, name)(3, requires_grad=True, **OPTIONS.get(name, [{}])[0]).requires_grad


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: windows.hann(-1), "non-negative"),
        (lambda: windows.hann(3, dtype=engine.int64), "float32 or float64"),
        (lambda: windows.exponential(3, tau=0), "Tau"),
        (lambda: windows.exponential(3, center=1.0), "Center"),
        (lambda: windows.gaussian(3, std=-1.0), "Standard deviation"),
        (lambda: windows.kaiser(3, beta=-1.0), "beta"),
        (lambda: windows.general_cosine(3, a=[]), "empty"),
    ],
)
def test_bad_input(call, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        call()
