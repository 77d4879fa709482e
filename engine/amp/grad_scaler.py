"""`GradScaler`: multiplies the loss so that small gradients survive half precision (Micikevicius et al. 2018)."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np

from engine import backend, cuda, fast
from engine.dtypes import float16, float32
from engine.gpu import steps
from engine.pool import LARGE, in_pieces
from engine.tensor import Tensor, wrap

__all__ = ["GradScaler"]

_READY, _UNSCALED, _STEPPED = "ready", "unscaled", "stepped"


class GradScaler:
    """Scales losses, unscales gradients, skips steps whose gradients overflowed, and adapts the scale.

    On a GPU the scale, its counter and whether a gradient overflowed stay in device memory. `step` and `update` do not wait
    with an optimizer that takes `found_inf` (Adam, AdamW, SGD, RMSprop, Adagrad, Adadelta, Adamax, Rprop) after its first two
    steps; with another one, `step` waits. `get_scale` and `state_dict` wait.

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
        if self._enabled:
            assert growth_factor > 1.0, "The growth factor must be > 1.0."
            assert backoff_factor < 1.0, "The backoff factor must be < 1.0."
        self._device, self._scale = device, float(init_scale)
        self._growth_factor, self._backoff_factor, self._growth_interval = growth_factor, backoff_factor, growth_interval
        self._growth_tracker = 0
        self._used = False  # whether `scale` was ever called
        self._stages: dict[int, str] = {}  # by id of the optimizer: what was done since the last update
        self._overflows: dict[int, Any] = {}  # bools, on a GPU float32 arrays of the device
        self._live: tuple[Any, Any] | None = None  # scale and counter on the device, once a loss of a GPU was scaled

    def is_enabled(self) -> bool:
        """Whether the scaler does anything."""
        return self._enabled

    def get_scale(self) -> float:
        """The current scale; 1 when disabled."""
        self._read()
        return self._scale if self._enabled else 1.0

    def _read(self) -> None:
        """Bring the host's scale and counter up to date; waits for the device."""
        if self._live is not None:
            scale, tracker = self._live
            self._scale, self._growth_tracker = float(scale.item()), int(tracker.item())

    def _write(self) -> None:
        """Bring the device's up to date, in place: captured graphs use them."""
        if self._live is not None:
            for array, value in zip(self._live, (self._scale, self._growth_tracker), strict=True):
                array.fill(value)

    def _go_live(self, array: Any) -> Any:
        """The scale on the device of `array`."""
        if self._live is None:
            with backend.beside(array):
                self._live = tuple(backend.gpu().zeros((), kind) for kind in (np.float32, np.int32))  # type: ignore[assignment]
                self._write()
        return self._live[0]  # type: ignore[index]

    def get_growth_factor(self) -> float:
        """What the scale is multiplied by after enough steps without overflow."""
        return self._growth_factor

    def set_growth_factor(self, new_factor: float) -> None:
        """Set the growth factor."""
        self._growth_factor = new_factor

    def get_backoff_factor(self) -> float:
        """What the scale is multiplied by after an overflow."""
        return self._backoff_factor

    def set_backoff_factor(self, new_factor: float) -> None:
        """Set the backoff factor."""
        self._backoff_factor = new_factor

    def get_growth_interval(self) -> int:
        """How many steps without overflow make the scale grow."""
        return self._growth_interval

    def set_growth_interval(self, new_interval: int) -> None:
        """Set the growth interval."""
        self._growth_interval = new_interval

    def _get_growth_tracker(self) -> int:
        self._read()
        return self._growth_tracker if self._enabled else 0

    def scale(self, outputs: Any) -> Any:
        """A tensor, or an iterable of tensors (nested as well), multiplied by the scale. ValueError for anything else."""
        if not self._enabled:
            return outputs
        if isinstance(outputs, Tensor):
            self._used = True
            if backend.is_on_device(outputs._array):
                return outputs * wrap(self._go_live(outputs._array))  # type: ignore[operator]
            return outputs * outputs.new_full((), self._scale, dtype=float32)  # type: ignore[attr-defined, operator]
        if isinstance(outputs, (list, tuple)):
            return type(outputs)([self.scale(one) for one in outputs])
        if isinstance(outputs, Iterable):
            return map(self.scale, outputs)
        raise ValueError("outputs must be a Tensor or an iterable of Tensors")

    def _check_used(self, what: str) -> None:
        if not self._used:
            raise AssertionError(f"Attempted {what} but _scale is None.  This may indicate your script did not use "
                                 "scaler.scale(loss or outputs) earlier in the iteration.")

    def unscale_(self, optimizer: Any) -> None:
        """Divide the gradients of the optimizer's parameters by the scale, in place; for clipping before `step`.

        RuntimeError if they have been unscaled already since the last `update`; ValueError for float16 gradients, which
        belong to parameters that should be float32.
        """
        if not self._enabled:
            return
        self._check_used("unscale_")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _UNSCALED:
            raise RuntimeError("unscale_() has already been called on this optimizer since the last update().")
        if stage == _STEPPED:
            raise RuntimeError("unscale_() is being called after step().")
        grads = list(_gradients(optimizer))
        if any(grad.dtype is float16 for grad in grads):
            raise ValueError("Attempting to unscale FP16 gradients.")
        arrays = [grad._array for grad in grads]
        if grads and backend.is_on_device(arrays[0]):
            self._overflows[id(optimizer)] = steps.unscale(arrays, self._go_live(arrays[0]))
        elif grads:
            self._overflows[id(optimizer)] = _unscale(arrays, 1.0 / self._scale)
        for grad in grads:
            grad._bump("unscale_")
        self._stages[id(optimizer)] = _UNSCALED

    def step(self, optimizer: Any, *args: Any, **kwargs: Any) -> Any:
        """`optimizer.step(*args, **kwargs)`, unless a gradient holds Inf or NaN; unscales first if that was not done.

        Returns what the optimizer returned, None if the step was skipped. RuntimeError for a second call without
        `update`, or for a closure; AssertionError if no parameter has a gradient.
        """
        if not self._enabled:
            return optimizer.step(*args, **kwargs)
        if "closure" in kwargs:
            raise RuntimeError("Closure use is not currently supported if GradScaler is enabled.")
        self._check_used("step")
        stage = self._stages.get(id(optimizer), _READY)
        if stage == _STEPPED:
            raise RuntimeError("step() has already been called since the last update().")
        if stage == _READY:
            self.unscale_(optimizer)
        assert id(optimizer) in self._overflows, "No inf checks were recorded for this optimizer."
        self._stages[id(optimizer)] = _STEPPED
        found = self._overflows[id(optimizer)]
        if isinstance(found, bool) or not getattr(optimizer, "_step_supports_amp_scaling", False):
            return None if bool(found) else optimizer.step(*args, **kwargs)
        optimizer.grad_scale, optimizer.found_inf = None, found
        try:
            return optimizer.step(*args, **kwargs)
        finally:
            del optimizer.grad_scale, optimizer.found_inf

    def update(self, new_scale: float | Tensor | None = None) -> None:
        """Adapt the scale, or set it to `new_scale` (a float, or a tensor of one element without a gradient)."""
        if not self._enabled:
            return
        self._check_used("update")
        if new_scale is not None:
            if isinstance(new_scale, Tensor):
                assert new_scale.device.type == self._device and new_scale.numel() == 1 and not new_scale.requires_grad, (
                    "new_scale should be a float or a 1-element tensor on the scaler's device with requires_grad=False.")
            self._read()
            self._scale = float(new_scale)
            self._write()
        else:
            assert self._overflows, "No inf checks were recorded prior to update."
            self._adapt(list(self._overflows.values()))
        self._stages.clear()
        self._overflows.clear()

    def _adapt(self, overflows: list) -> None:
        if self._live is not None and not isinstance(overflows[0], bool):
            found = overflows[0]
            for other in overflows[1:]:
                backend.gpu().maximum(found, other, out=found)
            steps.adapt_scale(*self._live, found, self._growth_factor, self._backoff_factor, self._growth_interval)
            return
        if any(overflows):
            self._scale *= self._backoff_factor
            self._growth_tracker = 0
            return
        self._growth_tracker += 1
        if self._growth_tracker == self._growth_interval:
            grown = self._scale * self._growth_factor
            self._scale = grown if grown <= _LARGEST else self._scale  # the scale is a float32 in torch: never infinite
            self._growth_tracker = 0

    def state_dict(self) -> dict[str, Any]:
        """The scale, the factors and the counter; empty when disabled."""
        if not self._enabled:
            return {}
        self._read()
        return {"scale": self._scale, "growth_factor": self._growth_factor, "backoff_factor": self._backoff_factor,
                "growth_interval": self._growth_interval, "_growth_tracker": self._growth_tracker}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what `state_dict` gave. RuntimeError for an empty one, unless disabled."""
        if not self._enabled:
            return
        if not state_dict:
            raise RuntimeError("The source state dict is empty, possibly because it was saved from a disabled instance "
                               "of GradScaler.")
        self._scale = float(state_dict["scale"])
        self._growth_factor, self._backoff_factor = state_dict["growth_factor"], state_dict["backoff_factor"]
        self._growth_interval = state_dict["growth_interval"]
        self._growth_tracker = state_dict["_growth_tracker"]
        self._write()

    def __getstate__(self) -> dict[str, Any]:
        assert not self._stages, ("A GradScaler instance may only be pickled at the beginning of an iteration, or at the end "
                                  "after scaler.update().")
        self._read()
        return {**self.__dict__, "_live": None}


_LARGEST = 3.4028234663852886e38  # of float32


def _unscale(arrays: list, factor: float) -> bool:
    """Multiply gradients in place; whether any of them holds Inf or NaN."""

    def scale(array: Any) -> bool:
        kernels = fast.kernels("optimizers") if array.size >= LARGE and array.ndim == 1 and fast.fits(array) else None
        if kernels is not None:
            return kernels.unscale(array, np.float32(factor))
        finite = backend.namespace(array).isfinite(array).all()
        array *= array.dtype.type(factor)
        return bool(finite)

    return not all(in_pieces(scale, arrays))


def _gradients(optimizer: Any) -> Iterator[Tensor]:
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.grad is not None:
                yield parameter.grad
