"""AveragedWeights: the average of a module's weights over time, in one flat array per dtype."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import engine

if TYPE_CHECKING:
    from engine import Tensor
    from engine.nn import Module

AverageFunction = Callable[["Tensor", "Tensor", int], "Tensor"]


class AveragedWeights:
    """An average of parameters (and buffers of floating point), updated as a whole.

    All weights of one dtype lie behind each other in one array, so an update is one operation over it, however many
    layers there are. The arrays are made at the first update, which copies.

    Args:
        device: where the average is kept; None for the device of the weights.
        use_buffers: whether buffers are averaged too.
        avg_fn: ``avg_fn(averaged, current, num_averaged)`` gives the new average (it may change ``averaged``); None
            is the mean of all.

    Attributes:
        count: number of updates.

    Example:
        >>> from callbacks.averaged_weights import AveragedWeights
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> average = AveragedWeights()
        >>> for value in (1.0, 2.0, 6.0):
        ...     _ = nn.init.constant_(layer.weight, value)
        ...     average.update(layer)
        >>> average.copy_to(layer)
        >>> layer.weight.tolist(), average.count
        ([[3.0, 3.0]], 3)
    """

    def __init__(self, device: Any = None, use_buffers: bool = True, avg_fn: AverageFunction | None = None) -> None:
        self.count = 0
        self._device = device
        self._use_buffers = use_buffers
        self._avg_fn = avg_fn or _mean
        self._flat: dict[Any, Tensor] = {}  # by dtype
        self._names: list[str] = []
        self._other_names: dict[str, str] = {}  # of a weight that two modules share

    def _weights(self, module: Module) -> Iterator[tuple[str, Tensor]]:
        yield from module.named_parameters()
        if self._use_buffers:
            yield from ((name, buffer) for name, buffer in module.named_buffers() if buffer.is_floating_point())

    def _note_names(self, module: Module) -> None:
        self._names = [name for name, _ in self._weights(module)]
        first = {id(weight): name for name, weight in self._weights(module)}
        shared = module.named_parameters(remove_duplicate=False)
        self._other_names = {name: first[id(weight)] for name, weight in shared if name != first[id(weight)]}

    def _flattened(self, weights: list[Tensor]) -> dict[Any, Tensor]:
        rows: dict[Any, list[Tensor]] = {}
        for weight in weights:
            rows.setdefault(weight.dtype, []).append(weight.detach().reshape(-1))
        return {dtype: engine.cat(parts).to(self._device or parts[0].device) for dtype, parts in rows.items()}

    def _views(self, weights: list[Tensor]) -> Iterator[Tensor]:
        """For each weight, its place in the average, in the weight's shape."""
        offsets = dict.fromkeys(self._flat, 0)
        for weight in weights:
            start = offsets[weight.dtype]
            offsets[weight.dtype] = end = start + weight.numel()
            yield self._flat[weight.dtype][start:end].reshape(weight.shape)

    def update(self, module: Module) -> None:
        """Take the present weights into the average."""
        with engine.no_grad():
            current = self._flattened([weight for _, weight in self._weights(module)])
            if self.count == 0:
                self._flat = current
                self._note_names(module)
            else:
                for dtype, values in current.items():
                    self._flat[dtype] = self._avg_fn(self._flat[dtype], values, self.count)
        self.count += 1

    def copy_to(self, module: Module) -> None:
        """Set the module's weights to the average."""
        with engine.no_grad():
            weights = [weight for _, weight in self._weights(module)]
            for weight, average in zip(weights, self._views(weights), strict=True):
                weight.copy_(average)

    def exchange(self, module: Module) -> None:
        """The module gets the average, and the average's place keeps the module's weights."""
        with engine.no_grad():
            weights = [weight for _, weight in self._weights(module)]
            kept = self._flattened(weights)
            self.copy_to(module)
            self._flat = kept

    def merged_into(self, state_dict: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """``state_dict`` with the averages in place of the weights of the same name.

        Raises:
            KeyError: the module had other weights at the last ``update``.
        """
        merged = dict(state_dict)
        merged.update(zip(self._names, self._views([state_dict[name] for name in self._names]), strict=True))
        merged.update({name: merged[first] for name, first in self._other_names.items()})
        return merged

    def load(self, module: Module, state_dict: Mapping[str, Tensor], count: int) -> None:
        """Take back an average that ``merged_into`` wrote."""
        self._note_names(module)
        self._flat = self._flattened([state_dict[name] for name in self._names])
        self.count = count


def _mean(average: Tensor, current: Tensor, count: int) -> Tensor:
    return average.lerp_(current, 1 / (count + 1))
