"""Values of orthogonal polynomials p_n(x) by their recurrences (Abramowitz and Stegun, 22.7), one degree per element."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

# name: (p_1(x), (x, k, p_k, p_{k-1}) -> p_{k+1}); p_0 is 1.
RECURRENCES: dict[str, tuple[Callable, Callable]] = {
    "chebyshev_polynomial_t": (lambda x: x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_u": (lambda x: 2 * x, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_v": (lambda x: 2 * x - 1, lambda x, k, p, q: 2 * x * p - q),
    "chebyshev_polynomial_w": (lambda x: 2 * x + 1, lambda x, k, p, q: 2 * x * p - q),
    "hermite_polynomial_h": (lambda x: 2 * x, lambda x, k, p, q: 2 * (x * p - k * q)),
    "hermite_polynomial_he": (lambda x: x, lambda x, k, p, q: x * p - k * q),
    "laguerre_polynomial_l": (lambda x: 1 - x, lambda x, k, p, q: ((2 * k + 1 - x) * p - k * q) / (k + 1)),
    "legendre_polynomial_p": (lambda x: x, lambda x, k, p, q: ((2 * k + 1) * x * p - k * q) / (k + 1)),
}
SHIFTED = {"shifted_" + name: name for name in RECURRENCES if name.startswith("chebyshev")}


def polynomial(name: str, x: Any, n: Any) -> Any:
    """p_n(x) for arrays that broadcast; 0 for negative n. The degree's fraction is cut off, as in torch."""
    if name in SHIFTED:
        return polynomial(SHIFTED[name], 2 * x - 1, n)
    first, step = RECURRENCES[name]
    x, n = np.broadcast_arrays(x, np.trunc(n))
    value = np.where(n < 0, 0, np.ones_like(x))
    before, here = np.ones_like(x), first(x).astype(x.dtype)
    for k in range(1, int(n.max() if n.size else 0) + 1):
        value = np.where(n == k, here, value)
        before, here = here, step(x, k, here, before).astype(x.dtype)
    return value.astype(x.dtype)
