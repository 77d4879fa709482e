"""Gradients where a formula meets zeros, ties and infinities: torch's, which leave the weights of a training whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine

INF, NAN = float("inf"), float("nan")
CASES: dict[str, tuple[Callable[..., Any], list, list | None]] = {  # function of (library, x), x, the gradient that arrives
    "norm of order 3": (lambda lib, x: lib.linalg.vector_norm(x, 3), [0.0, 0.0], None),
    "norm of order 0.5": (lambda lib, x: lib.norm(x, 0.5), [0.0, 1.0, 2.0], None),
    "lp_pool1d": (lambda lib, x: lib.nn.functional.lp_pool1d(x[None, None], 2.0, 2), [0.0, 0.0, 3.0, 4.0], None),
    "atan2 at the origin": (lambda lib, x: lib.atan2(x, x * 0), [0.0, 1.0], None),
    "median of ties": (lambda lib, x: x.median(), [1.0, 2.0, 2.0, 1.0], None),
    "sinc of tiny numbers": (lambda lib, x: lib.sinc(x), [1e-30, 0.0, 0.5], None),
    "xlog1py": (lambda lib, x: lib.special.xlog1py(x, x + 1), [0.0, 2.0], None),
    "xlogy where nothing arrives": (lambda lib, x: lib.xlogy(x, x).clamp(min=0), [-1.0, 2.0], None),
    "quotient by tiny numbers": (lambda lib, x: x.detach() * 1e-5 / x, [1e-25, 2.0], None),
    **{name: (lambda lib, x, name=name: getattr(lib, name)(x), [1.5, 2.5], [INF, NAN]) for name in ("floor", "round", "trunc")},
    "sign": (lambda lib, x: lib.sign(x) + x, [1.5, 2.5], [INF, 1.0]),
    "filled": (lambda lib, x: (x * 1).fill_(3) + x, [1.5, 2.5], [INF, 1.0]),
}


@pytest.mark.parametrize("name", CASES)
def test_the_gradient_is_torchs(name: str) -> None:
    torch = pytest.importorskip("torch")
    function, numbers, arriving = CASES[name]
    found = []
    for library in (engine, torch):
        x = library.tensor(numbers, requires_grad=True)
        y = function(library, x)
        y.backward(library.ones_like(y) if arriving is None else library.tensor(arriving))
        found.append((x.grad + 0).numpy())
    ours, theirs = found
    np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["i0e", "i1e"])
def test_scaled_bessel_functions_of_large_numbers(name: str) -> None:
    torch = pytest.importorskip("torch")
    for dtype in ("float32", "float64"):
        x = np.array([-1e30, -500, -81, -79, 0, 79, 81, 100, 700, 1e30], dtype)
        ours = getattr(engine.special, name)(engine.tensor(x)).numpy()
        theirs = getattr(torch.special, name)(torch.tensor(x)).numpy()
        np.testing.assert_allclose(ours, theirs, rtol=1e-5 if dtype == "float32" else 1e-12)
