"""Schedules that the scheduler tests run, here and on the oracle: each a function (optimizer, module) -> scheduler."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SCHEDULES: dict[str, Callable[[Any, Any], Any]] = {
    "LambdaLR": lambda o, m: m.LambdaLR(o, lambda epoch: 0.95**epoch),
    "MultiplicativeLR": lambda o, m: m.MultiplicativeLR(o, [lambda epoch: 0.95, lambda epoch: 0.9]),
    "StepLR": lambda o, m: m.StepLR(o, 3, 0.1),
    "MultiStepLR": lambda o, m: m.MultiStepLR(o, [2, 5, 5, 9], 0.3),
    "ConstantLR": lambda o, m: m.ConstantLR(o, 0.4, 4),
    "LinearLR": lambda o, m: m.LinearLR(o, 0.2, 0.9, 7),
    "ExponentialLR": lambda o, m: m.ExponentialLR(o, 0.93),
    "PolynomialLR": lambda o, m: m.PolynomialLR(o, 8, 2.0),
    "CosineAnnealingLR": lambda o, m: m.CosineAnnealingLR(o, 5, 0.001),
    "CosineAnnealingWarmRestarts": lambda o, m: m.CosineAnnealingWarmRestarts(o, 3, 2, 0.001),
    "CosineAnnealingWarmRestarts-equal": lambda o, m: m.CosineAnnealingWarmRestarts(o, 3),
    "CyclicLR": lambda o, m: m.CyclicLR(o, 0.01, 0.1, 4, 3),
    "CyclicLR-triangular2": lambda o, m: m.CyclicLR(o, [0.01, 0.02], [0.1, 0.2], 4, mode="triangular2"),
    "CyclicLR-exp_range": lambda o, m: m.CyclicLR(o, 0.01, 0.1, 4, 3, mode="exp_range", gamma=0.99),
    "CyclicLR-own": lambda o, m: m.CyclicLR(
        o, 0.01, 0.1, 4, scale_fn=lambda x: 1 / (x + 1), scale_mode="iterations", cycle_momentum=False
    ),
    "OneCycleLR": lambda o, m: m.OneCycleLR(o, 0.5, total_steps=30),
    "OneCycleLR-three": lambda o, m: m.OneCycleLR(
        o, [0.5, 0.2], epochs=6, steps_per_epoch=5, three_phase=True, anneal_strategy="linear", pct_start=0.4
    ),
    "SequentialLR": lambda o, m: m.SequentialLR(
        o, [m.LinearLR(o, 0.1, total_iters=4), m.CosineAnnealingLR(o, 10), m.ExponentialLR(o, 0.9)], [4, 12]
    ),
    "SequentialLR-at-once": lambda o, m: m.SequentialLR(o, [m.LinearLR(o, 0.1), m.ExponentialLR(o, 0.9)], [0]),
    "ChainedScheduler": lambda o, m: m.ChainedScheduler([m.LinearLR(o, 0.1, total_iters=4), m.ExponentialLR(o, 0.9)]),
    "SequentialLR-of-chains": lambda o, m: m.SequentialLR(
        o, [m.ChainedScheduler([m.LinearLR(o, 0.1), m.ExponentialLR(o, 0.9)]), m.StepLR(o, 2)], [5]
    ),
}

PLATEAUS: dict[str, dict[str, Any]] = {
    "patience": {"patience": 2},
    "max-abs-cooldown": {"mode": "max", "threshold_mode": "abs", "patience": 1, "cooldown": 2},
    "min_lr": {"patience": 0, "min_lr": [0.01, 0.02], "factor": 0.5},
}
