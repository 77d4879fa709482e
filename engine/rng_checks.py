"""What `engine.rng` refuses to draw, in torch's words."""

from __future__ import annotations

import numpy as np

from .dtypes import BF16, F16, F32, F64

_LARGEST = {F16: 65504.0, BF16: 3.3895313892515355e38, F32: float(np.finfo(F32).max), F64: float(np.finfo(F64).max)}


def check_uniform(dtype: np.dtype, low: float, high: float) -> None:
    """RuntimeError for bounds of a uniform distribution that are in the wrong order or too large for the dtype."""
    limit = _LARGEST[dtype]
    for name, bound in (("from", low), ("to", high)):
        if not -limit <= bound <= limit:
            raise RuntimeError(f"{name} is out of bounds for {dtype}")
    if low > high:
        raise RuntimeError(f"uniform_ expects to return a [from, to) range, but found from={low} > to={high}")
    if high - low > limit:
        raise RuntimeError(
            f"uniform_ expects to-from <= the largest {dtype}, but found to={high} and from={low} "
            "which result in to-from to exceed the limit"
        )


def check_normal(std: float) -> None:
    """RuntimeError for std < 0."""
    if not std >= 0:
        raise RuntimeError(f"normal expects std >= 0.0, but found std {std}")


def check_multinomial(p: np.ndarray, num_samples: int, replacement: bool) -> None:
    """RuntimeError for weights or counts that `multinomial` cannot draw by."""
    if p.ndim not in (1, 2):
        raise RuntimeError(f"prob_dist must be 1 or 2 dim, got shape {list(p.shape)}")
    if p.dtype not in (F16, BF16, F32, F64):
        raise RuntimeError(f"multinomial only supports floating-point dtypes for input, got: {p.dtype}")
    if num_samples <= 0:
        raise RuntimeError("cannot sample n_sample <= 0 samples")
    if not replacement and num_samples > p.shape[-1]:
        raise RuntimeError("cannot sample n_sample > prob_dist.size(-1) samples without replacement")
    if not ((p >= 0) & (p < np.inf)).all():
        raise RuntimeError("probability tensor contains either `inf`, `nan` or element < 0")
    if not (p > 0).any(-1).all():
        raise RuntimeError("invalid multinomial distribution (sum of probabilities <= 0)")
