"""``Trainer(precision=...)``: the dtype of weights and batches, what surrounds the steps, and the scaling of losses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import engine
from callbacks import MisconfigurationException
from engine.errors import not_supported
from engine.optim import LBFGS, Optimizer

ALIASES = {"32": "32-true", "64": "64-true", "16": "16-mixed", "bf16": "bf16-mixed"}
WEIGHTS = {
    "32-true": None, "64-true": engine.float64, "16-true": engine.float16, "bf16-true": engine.bfloat16,
}  # fmt: skip
PRODUCTS = {"16-mixed": engine.float16, "bf16-mixed": engine.bfloat16}
ALLOWED = (*WEIGHTS, *PRODUCTS)


def choose_precision(precision: Any) -> str:
    """One of ``ALLOWED``; None means "32-true", and "16" or 16 means "16-mixed".

    Raises:
        NotImplementedError: a precision that Lightning knows and we do not have.
        ValueError: anything else.

    Example:
        >>> from lit.precision import choose_precision
        >>> [choose_precision(given) for given in (None, 16, "bf16", "64")]
        ['32-true', '16-mixed', 'bf16-mixed', '64-true']
    """
    chosen = "32-true" if precision is None else ALIASES.get(str(precision), precision)
    if chosen in ALLOWED:
        return str(chosen)
    if str(precision).startswith("transformer-engine"):
        raise not_supported(f"Trainer(precision={precision!r})", "use precision 'bf16-mixed'.")
    raise ValueError(f"Trainer(precision={precision!r}): expected one of {', '.join(map(repr, ALLOWED))}.")


@contextmanager
def default_dtype(dtype: engine.dtype) -> Iterator[None]:
    """New floating tensors have ``dtype`` inside the block."""
    before = engine.get_default_dtype()
    engine.set_default_dtype(dtype)
    try:
        yield
    finally:
        engine.set_default_dtype(before)


class Precision:
    """What a precision changes in a run; with "32-true" nothing.

    Args:
        name: one of ``ALLOWED``.
        device_type: "cpu" or "cuda".

    Attributes:
        dtype: of weights and of floats in batches; None leaves them as they are.
        scaler: the GradScaler of "16-mixed", else None.

    Example:
        >>> from lit.precision import Precision
        >>> step = Precision("bf16-mixed", "cpu").around(lambda x: x @ x)
        >>> step(torch.ones(2, 2)).dtype
        torch.bfloat16
    """

    CHECKPOINT_KEY = "MixedPrecision"  # where Lightning keeps the state of its scaler

    def __init__(self, name: str, device_type: str) -> None:
        self.precision = name
        self.device = device_type
        self.dtype = WEIGHTS.get(name)
        self.scaler = engine.amp.GradScaler(device_type) if name == "16-mixed" else None

    def around(self, step: Callable[..., Any]) -> Callable[..., Any]:
        """``step`` as the loops call it: under autocast, or with the default dtype of the weights."""
        if self.precision in PRODUCTS:
            return engine.autocast(self.device, PRODUCTS[self.precision], cache_enabled=False)(step)
        return step if self.dtype is None else default_dtype(self.dtype)(step)

    def init_context(self) -> AbstractContextManager[None]:
        """Layers built inside have the dtype of the weights from the start."""
        return nullcontext() if self.dtype is None else default_dtype(self.dtype)

    def state_dict(self) -> dict[str, Any]:
        """The scaler's state; empty where there is none."""
        return {} if self.scaler is None else self.scaler.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take back what ``state_dict`` returned."""
        if self.scaler is not None and state:
            self.scaler.load_state_dict(state)


def step_scaled(
    scaler: engine.amp.GradScaler,
    optimizer: Optimizer,
    closure: Callable[[], Any] | None,
    before_update: Callable[[Optimizer], None],
    **kwargs: Any,
) -> Any:
    """``optimizer.step`` for gradients of a scaled loss: unscaled before ``before_update``, skipped if they overflowed.

    Raises:
        MisconfigurationException: the optimizer is LBFGS, which calls the closure several times in a step.
    """
    if isinstance(optimizer, LBFGS):
        raise MisconfigurationException(
            "Trainer(precision='16-mixed') and LBFGS are not compatible. HINT: use 'bf16-mixed', or another optimizer."
        )
    result = None if closure is None else closure()
    has_gradients = any(parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"])
    if has_gradients:  # there are none after a training_step that returned None
        scaler.unscale_(optimizer)
    before_update(optimizer)
    if not has_gradients:
        return result
    result = scaler.step(optimizer, **kwargs)
    scaler.update()
    return result
