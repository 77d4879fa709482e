"""What all distributions share: shapes, checks, and the methods derived from others."""

from __future__ import annotations

from collections.abc import Sequence
from numbers import Number
from typing import Any

import engine
from engine.size import Size
from engine.tensor import Tensor

__all__ = ["Distribution", "broadcast_all", "check"]


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """Tensors and numbers as tensors of one shape; numbers take the dtype and device of the first tensor.

    Raises: ValueError for anything that is neither a number nor a tensor.
    """
    for value in values:
        if not isinstance(value, (Number, Tensor)):
            raise ValueError("Input arguments must all be instances of Number or torch.Tensor, "
                             f"got {type(value).__name__}.")
    first = next((v for v in values if isinstance(v, Tensor)), None)
    options = {} if first is None else {"dtype": first.dtype, "device": first.device}
    if first is None:
        options = {"dtype": engine.get_default_dtype()}
    return tuple(engine.broadcast_tensors(*(v if isinstance(v, Tensor) else engine.tensor(v, **options) for v in values)))


def check(distribution: Any, name: str, value: Tensor, valid: Tensor, wanted: str) -> None:
    """ValueError unless every element of `valid` is true."""
    if not bool(valid.all()):
        raise ValueError(f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                         f"distribution {type(distribution).__name__} to satisfy the constraint {wanted}, but found invalid "
                         f"values:\n{value}")


class Distribution:
    """Base of all distributions.

    `batch_shape` counts independent distributions, `event_shape` is the shape of one draw; a sample has the shape
    `sample_shape + batch_shape + event_shape`, a log-probability `sample_shape + batch_shape`.

    Args:
        validate_args: check parameters and the values given to `log_prob`; None means yes.
    """

    has_rsample = False

    def __init__(self, batch_shape: Sequence[int] = (), event_shape: Sequence[int] = (),
                 validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        self._validate_args = validate_args is not False

    @property
    def batch_shape(self) -> Size:
        """How many independent distributions there are, as a shape."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError(f"{type(self).__name__} has no mean")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__} has no variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A draw without gradient."""
        with engine.no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A draw through which gradients reach the parameters; where `has_rsample` is true."""
        raise NotImplementedError(f"{type(self).__name__} has no rsample(): use sample()")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability (or density) of `value`."""
        raise NotImplementedError(f"{type(self).__name__} has no log_prob()")

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        raise NotImplementedError(f"{type(self).__name__} has no entropy()")

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    def _check_value(self, value: Tensor, valid: Tensor, wanted: str) -> None:
        if self._validate_args and not bool(valid.all()):
            raise ValueError(f"Expected value argument (Tensor of shape {tuple(value.shape)}) to be within the support "
                             f"({wanted}) of the distribution {self!r}, but found invalid values:\n{value}")

    def _parameters(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor) and name[0] != "_"}

    def __repr__(self) -> str:
        inside = [f"{name}: {value if value.numel() == 1 else value.size()}" for name, value in self._parameters().items()]
        return f"{type(self).__name__}({', '.join(inside)})"
