"""`GradScaler`: multiplies the loss so that small gradients survive half precision (Micikevicius et al. 2018)."""

from __future__ import annotations

import warnings
from typing import Any

from engine import backend, cuda
from engine.tensor import Tensor

__all__ = ["GradScaler"]

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Scales losses, unscales gradients, skips steps whose gradients overflowed, and adapts the scale.

    Args:
        device: "cuda" or "cpu". With "cuda" and no GPU it warns and is disabled, as in torch.
        init_scale: the first scale.
        growth_factor: multiplies the scale after `growth_interval` steps without overflow. Greater than 1.
        backoff_factor: multiplies the scale after a step with overflow. Less than 1.
        growth_interval: see `growth_factor`.
        enabled: False makes `scale` return its argument, `step` call the optimizer, and the rest do nothing.

    Raises: AssertionError: a factor out of its range.

    >>> w = torch.tensor([1.0], requires_grad=True)
    >>> optimizer, scaler = torch.optim.SGD([w], lr=0.1), torch.amp.GradScaler("cpu")
    >>> scaler.scale(w * 2).backward()
    >>> _ = scaler.step(optimizer); scaler.update()
    >>> w
    tensor([0.8000], requires_grad=True)
    """

    def __init__(self, device: str = "cuda", init_scale: float = 2.0**16, growth_factor: float = 2.0,
                 backoff_factor: float = 0.5, growth_interval: int = 2000, enabled: bool = True) -> None:
        self._enabled = enabled
        if enabled and device == "cuda" and not cuda.is_available():
            warnings.warn("GradScaler('cuda'): CUDA is not available, so the scaler is disabled", stacklevel=2)
            self._enabled = False
        assert growth_factor > 1.0, "The growth factor must be > 1.0."
        assert backoff_factor < 1.0, "The backoff factor must be < 1.0."
        self._scale = float(init_scale)
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._growth_tracker = 0
        self._stages: dict[int, str] = {}  # by id of the optimizer: what was done since the last update
        self._overflows: dict[int, bool] = {}

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The current scale; 1 when disabled."""
        return self._scale if self._enabled else 1.0

    def scale(self, outputs: Any) -> Any:
        """A tensor, or a list or tuple of tensors, multiplied by the scale."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            return outputs * self._scale
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(one) for one in outputs])
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place; for clipping before `step`.

        RuntimeError if they have been unscaled already since the last `update`.
        """
        if not self._enabled:
            return
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if stage == _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        overflow = False
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    array = parameter.grad._array
                    array *= array.dtype.type(1.0 / self._scale)
                    parameter.grad._bump("unscale_")
                    overflow = overflow or not bool(backend.namespace(array).isfinite(array).all())
        self._stages[id(optimizer)], self._overflows[id(optimizer)] = _UNSCALED, overflow

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(*args, **kwargs)`, unless a gradient holds Inf or NaN; unscales first if that was not done.

        Returns what the optimizer returned, None if the step was skipped. RuntimeError for a second call without
        `update`, or for a closure.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if stage == _READY:
            self.unscale_(optimizer)
        self._stages[id(optimizer)] = _STEPPED
        return None if self._overflows[id(optimizer)] else optimizer.step(*args, **kwargs)

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale, or set it to `new_scale`; begins the next round."""
        if not self._enabled:
            return
        if new_scale is not None:
            self._scale = float(new_scale)
        else:
            assert self._overflows, "No inf checks were recorded prior to update."
            if any(self._overflows.values()):
                self._scale *= self._backoff_factor
                self._growth_tracker = 0
            else:
                self._growth_tracker += 1
                if self._growth_tracker == self._growth_interval:
                    self._scale *= self._growth_factor
                    self._growth_tracker = 0
        self._stages.clear()
        self._overflows.clear()

    def state_dict(self) -> dict[str, Any]:
        """The scale, the factors and the counter; empty when disabled."""
        if not self._enabled:
            return {}
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave. RuntimeError for an empty one, unless disabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance "
                               "of GradScaler.")
        self._scale = state_dict["scale"]
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
