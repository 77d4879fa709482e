"""What all distributions share: shapes, checks, expansion, and the methods derived from others."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import engine
from engine.size import Size
from engine.tensor import Tensor

from . import constraints
from .utils import lazy_property

__all__ = ["Distribution", "ExponentialFamily"]


class Distribution:
    """Base of all distributions.

    `batch_shape` counts independent distributions, `event_shape` is the shape of one draw; a sample has the shape
    `sample_shape + batch_shape + event_shape`, a log-probability `sample_shape + batch_shape`.

    A subclass names its parameters and where they may lie in `arg_constraints`, and where its values lie in `support`.

    Args:
        validate_args: check parameters and the values given to `log_prob`; None means the default, which is yes.
    """

    has_rsample = False
    has_enumerate_support = False
    _validate_args = __debug__
    arg_constraints: Any
    support: Any

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check their input from now on. ValueError for anything but a bool."""
        if value not in (True, False):
            raise ValueError(f"set_default_validate_args(): expected a bool, got {value!r}")
        Distribution._validate_args = value

    def __init__(self, batch_shape: Sequence[int] = Size(), event_shape: Sequence[int] = Size(),  # noqa: B008
                 validate_args: bool | None = None) -> None:
        self._batch_shape, self._event_shape = Size(batch_shape), Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._check_parameters()

    def _check_parameters(self) -> None:
        if not hasattr(type(self), "arg_constraints"):
            warnings.warn(f"{type(self)} does not define `arg_constraints`. Please set `arg_constraints = {{}}` or initialize "
                          "the distribution with `validate_args=False` to turn off validation.", stacklevel=3)
            return
        for name, constraint in self.arg_constraints.items():
            computed = name not in self.__dict__ and isinstance(getattr(type(self), name, None), lazy_property)
            if constraints.is_dependent(constraint) or computed:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all()):
                raise ValueError(f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                                 f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
                                 f"values:\n{value}")

    # -- shapes -------------------------------------------------------------------------------------------------------

    @property
    def batch_shape(self) -> Size:
        """How many independent distributions there are, as a shape."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    def expand(self, batch_shape: Sequence[int], _instance: Any = None) -> Any:
        """The same distribution with its batch dimensions expanded to `batch_shape`, without copying.

        >>> torch.distributions.Normal(0.0, 1.0).expand((2, 3)).batch_shape
        torch.Size([2, 3])
        """
        new = self._get_checked_instance(type(self), _instance)
        shape = Size(batch_shape)
        for name, value in self.__dict__.items():
            if name in self.arg_constraints and isinstance(value, Tensor):
                events = self.arg_constraints[name].event_dim
                setattr(new, name, value.expand((*shape, *value.shape[value.dim() - events :])))
            elif isinstance(value, Tensor) and value.shape == self._batch_shape and name[0] != "_":
                setattr(new, name, value.expand(shape))  # a parameter under another name, as Chi2's concentration
            elif not isinstance(getattr(type(self), name, None), lazy_property) and name not in new.__dict__:
                setattr(new, name, value)
        new._batch_shape = shape
        return new

    def _get_checked_instance(self, cls: type, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ is not cls.__init__:  # type: ignore[misc]
            raise NotImplementedError(f"Subclass {type(self).__name__} of {cls.__name__} that defines a custom __init__ "
                                      "method must also define a custom .expand() method.")
        return object.__new__(type(self)) if _instance is None else _instance

    def _extended_shape(self, sample_shape: Sequence[int] = ()) -> Size:
        return Size((*sample_shape, *self._batch_shape, *self._event_shape))

    # -- what a subclass defines --------------------------------------------------------------------------------------

    def _missing(self, what: str) -> NotImplementedError:
        return NotImplementedError(f"{type(self).__name__} has no {what}")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise self._missing("mean")

    @property
    def mode(self) -> Tensor:
        """The most probable value."""
        raise NotImplementedError(f"{type(self)} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise self._missing("variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A draw without gradient."""
        with engine.no_grad():
            return self.rsample(sample_shape)

    def sample_n(self, n: int) -> Tensor:
        """`sample((n,))`, as it was once spelled."""
        warnings.warn("`sample_n(n)` will be deprecated. Use `sample((n,))` instead.", FutureWarning, stacklevel=2)
        return self.sample((n,))

    def rsample(self, sample_shape: Sequence[int] = ()) -> Tensor:
        """A draw through which gradients reach the parameters; where `has_rsample` is true."""
        raise self._missing("rsample(): use sample()")

    def log_prob(self, value: Tensor) -> Tensor:
        """The logarithm of the probability (or density) of `value`."""
        raise self._missing("log_prob()")

    def cdf(self, value: Tensor) -> Tensor:
        """The probability of a draw of at most `value`."""
        raise self._missing("cdf()")

    def icdf(self, value: Tensor) -> Tensor:
        """The value below which a draw lies with probability `value`."""
        raise self._missing("icdf()")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution, along a new first dimension; over the batch too if `expand`."""
        raise self._missing("enumerate_support()")

    def _enumerated(self, values: Tensor, expand: bool) -> Tensor:
        values = values.reshape((-1, *(1,) * len(self._batch_shape), *self._event_shape))
        return values.expand((-1, *self._batch_shape, *self._event_shape)) if expand else values

    def entropy(self) -> Tensor:
        """The entropy in nats."""
        raise self._missing("entropy()")

    def perplexity(self) -> Tensor:
        """exp of the entropy."""
        return self.entropy().exp()

    # -- checks and printing ------------------------------------------------------------------------------------------

    def _validate_sample(self, value: Tensor) -> None:
        """ValueError unless `value` is a tensor of a fitting shape within the support; nothing without validation."""
        if not self._validate_args:
            return
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        shape, events = value.size(), len(self._event_shape)
        if shape[len(shape) - events :] != self._event_shape:
            raise ValueError(f"The right-most size of value must match event_shape: {shape} vs {self._event_shape}.")
        wanted = Size((*self._batch_shape, *self._event_shape))
        if any(i != 1 and j != 1 and i != j for i, j in zip(reversed(shape), reversed(wanted))):
            raise ValueError(f"Value is not broadcastable with batch_shape+event_shape: {shape} vs {wanted}.")
        if not hasattr(self, "support"):
            warnings.warn(f"{type(self)} does not define `support` to enable sample validation. Please initialize the "
                          "distribution with `validate_args=False` to turn off validation.", stacklevel=3)
            return
        support = self.support
        if not bool(support.check(value).all()):
            raise ValueError(f"Expected value argument ({type(value).__name__} of shape {tuple(shape)}) to be within the "
                             f"support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}")

    def __repr__(self) -> str:
        parameters = [name for name in getattr(self, "arg_constraints", ()) if name in self.__dict__]
        values = [(name, self.__dict__[name]) for name in parameters]
        inside = [f"{name}: {value if value.numel() == 1 else value.size()}" for name, value in values]
        return f"{type(self).__name__}({', '.join(inside)})"


class ExponentialFamily(Distribution):
    """A distribution with density exp(<statistic, natural parameters> - log normalizer + carrier).

    A subclass gives `_natural_params` and `_log_normalizer`, from which follow its entropy and divergence (Nielsen and
    Nock 2010).
    """

    @property
    def _mean_carrier_measure(self) -> Any:
        raise self._missing("_mean_carrier_measure, from which its entropy would follow")

    @property
    def _natural_params(self) -> tuple[Tensor, ...]:
        raise self._missing("_natural_params")

    def _log_normalizer(self, *natural_params: Tensor) -> Tensor:
        raise self._missing("_log_normalizer()")

    def entropy(self) -> Tensor:
        natural = [p.detach().requires_grad_() for p in self._natural_params]
        with engine.enable_grad():
            normalizer = self._log_normalizer(*natural)
            gradients = engine.autograd.grad(normalizer.sum(), natural, create_graph=True)
        result = normalizer - self._mean_carrier_measure
        for parameter, gradient in zip(natural, gradients):
            product = parameter * gradient
            result = result - product.reshape((*self._batch_shape, -1)).sum(-1)
        return result
