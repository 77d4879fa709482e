"""Functions that torch has at its top level with another order of arguments than in `nn.functional`, and in-place dropout."""

from __future__ import annotations

from typing import Any

from ..tensor import Tensor
from . import conversion, scatter, storage
from .base import FUNCTIONAL, FUNCTIONS, composite, install
from .dropout import feature_dropout as drop_channels
from .inplace import inplace_form
from .samples import samples_for

# Methods that torch has as functions too: those of the class itself, and those of three files.
for _method in (Tensor.detach, Tensor.detach_, Tensor.get_device, Tensor.is_signed, Tensor.as_strided_,  # type: ignore[attr-defined]
                conversion.zero_, scatter.index_put_, storage.resize_as_):
    FUNCTIONS[_method.__name__] = _method
install(inplace_form(FUNCTIONS["conj_physical"], "conj_physical"), "conj_physical_")


@composite("embedding", method=False)
def embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False,
              sparse: bool = False) -> Tensor:
    """Rows of `weight` (n, d) at `indices` (any shape): `nn.functional.embedding` with the table first; -1: no padding.

    >>> torch.embedding(torch.tensor([[1., 2.], [3., 4.]]), torch.tensor([1]))
    tensor([[3., 4.]])
    """
    padding = None if padding_idx == -1 else padding_idx
    return FUNCTIONAL["embedding"](indices, weight, padding, None, 2.0, scale_grad_by_freq, sparse)


@composite("batch_norm", method=False)
def batch_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
               running_var: Tensor | None, training: bool, momentum: float, eps: float, cudnn_enabled: bool) -> Tensor:
    """`nn.functional.batch_norm` with the weights before the running statistics; `cudnn_enabled` has no effect.

    >>> torch.batch_norm(torch.tensor([[1.], [3.]]), None, None, None, None, True, 0.1, 0.0, False)
    tensor([[-1.],
            [ 1.]])
    """
    return FUNCTIONAL["batch_norm"](input, running_mean, running_var, weight, bias, training, momentum, eps)


@composite("instance_norm", method=False)
def instance_norm(input: Tensor, weight: Tensor | None, bias: Tensor | None, running_mean: Tensor | None,
                  running_var: Tensor | None, use_input_stats: bool, momentum: float, eps: float,
                  cudnn_enabled: bool) -> Tensor:
    """`nn.functional.instance_norm` with the weights before the running statistics; `cudnn_enabled` has no effect.

    >>> torch.instance_norm(torch.tensor([[[1., 3.]]]), None, None, None, None, True, 0.1, 0.0, False)
    tensor([[[-1.,  1.]]])
    """
    return FUNCTIONAL["instance_norm"](input, running_mean, running_var, weight, bias, use_input_stats, momentum, eps)


@composite("kl_div", method=False)
def kl_div(input: Tensor, target: Tensor, reduction: int = 1, *, log_target: bool = False) -> Tensor:
    """`nn.functional.kl_div` with the reduction as a number: 0 none, 1 mean, 2 sum.

    >>> torch.kl_div(torch.zeros(2), torch.ones(2), 2)
    tensor(0.)
    """
    if reduction not in (0, 1, 2):
        raise ValueError(f"kl_div(): expected a reduction of 0, 1 or 2, got {reduction}")
    each = FUNCTIONAL["kl_div"](input, target, reduction="none", log_target=log_target)
    return each if reduction == 0 else each.mean() if reduction == 1 else each.sum()


@composite("adaptive_max_pool1d", method=False)
def adaptive_max_pool1d(input: Tensor, output_size: Any) -> tuple[Tensor, Tensor]:
    """(maxima, int64 indices) of `output_size` windows that cover (N, C, L) or (C, L).

    >>> torch.adaptive_max_pool1d(torch.tensor([[1., 3., 2., 0.]]), 2)
    (tensor([[3., 2.]]), tensor([[1, 2]]))
    """
    return FUNCTIONAL["adaptive_max_pool1d"](input, output_size, return_indices=True)


@composite("feature_dropout", method=False)
def feature_dropout(input: Tensor, p: float, train: bool) -> Tensor:
    """Zero whole channels of (N, C, ...) with probability `p` and scale the others by 1 / (1 - p).

    >>> torch.feature_dropout(torch.ones(1, 2, 2), 0.0, True)
    tensor([[[1., 1.],
             [1., 1.]]])
    """
    return drop_channels("feature_dropout", input, p, train, False, True)


@composite("feature_dropout_", method=False)
def feature_dropout_(input: Tensor, p: float, train: bool) -> Tensor:
    """In-place form of `feature_dropout`."""
    return drop_channels("feature_dropout", input, p, train, True, True)


def _in_place(name: str) -> None:
    def form(input: Tensor, p: float, train: bool) -> Tensor:
        return FUNCTIONAL[name](input, p, train, True)

    form.__doc__ = f"In-place form of `{name}`: changes and returns the tensor."
    composite(name + "_", method=False)(form)


for _name in ("dropout", "alpha_dropout", "feature_alpha_dropout"):
    _in_place(_name)


@samples_for("top_level")
def _samples(make: Any) -> Any:
    c = (3,)
    yield make("embedding", make.uniform((4, 2)), make.ints((3,), 0, 4))
    yield make("embedding", make.uniform((4, 2)), make.ints((2, 3), 0, 4), 1, _grad=False)
    yield make("batch_norm", make.uniform((4, 3)), make.uniform(c), make.uniform(c), None, None, True, 0.1, 1e-2, False)
    yield make("instance_norm", make.uniform((2, 3, 4)), make.uniform(c), make.uniform(c), None, None, True, 0.1, 1e-2, False)
    for reduction in (0, 1, 2):
        yield make("kl_div", make.uniform((2, 3)), make.uniform((2, 3), 0.1, 1.0), reduction)
    yield make("kl_div", make.uniform((2, 3)), make.uniform((2, 3)), 1, log_target=True)
    yield make("adaptive_max_pool1d", make.distinct((2, 3, 7)), 3)
