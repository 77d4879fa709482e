"""Small helpers under the names Lightning users import from ``lightning.pytorch.utilities``."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from callbacks import MisconfigurationException
from engine import Tensor, nn
from lit.combined_loader import CombinedLoader
from lit.rng import isolate_rng
from lit.transfer import move_data_to_device

__all__ = [
    "CombinedLoader",
    "MisconfigurationException",
    "grad_norm",
    "isolate_rng",
    "move_data_to_device",
    "rank_zero_info",
    "rank_zero_only",
    "rank_zero_warn",
]

Function = TypeVar("Function", bound=Callable[..., Any])


def rank_zero_only(function: Function) -> Function:
    """Run ``function`` in the first process only; there is one, so it always runs.

    Example:
        >>> from lit.utilities import rank_zero_only
        >>> @rank_zero_only
        ... def greet():
        ...     return "hello"
        >>> greet(), rank_zero_only.rank
        ('hello', 0)
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper  # type: ignore[return-value]


rank_zero_only.rank = 0  # type: ignore[attr-defined]


def rank_zero_warn(message: str, category: type[Warning] = UserWarning, stacklevel: int = 2) -> None:
    """Warn once per process group; there is one process."""
    warnings.warn(message, category, stacklevel=stacklevel + 1)


def rank_zero_info(*args: Any) -> None:
    """Print once per process group; there is one process."""
    print(*args)


def grad_norm(module: nn.Module, norm_type: float | int | str, group_separator: str = "/") -> dict[str, Tensor]:
    """The norm of each parameter's gradient, and of all together.

    Args:
        module: the module whose gradients are measured (parameters without one are left out).
        norm_type: the p of the p-norm, or "inf".
        group_separator: joins the words of the keys.

    Returns:
        ``grad_<p>_norm/<parameter>`` and ``grad_<p>_norm_total``, 0-d tensors.

    Raises:
        ValueError: ``norm_type`` is not positive.

    Example:
        >>> from lit.utilities import grad_norm
        >>> layer = nn.Linear(2, 1, bias=False)
        >>> layer.weight.grad = torch.tensor([[3.0, 4.0]])
        >>> grad_norm(layer, 2)
        {'grad_2.0_norm/weight': tensor(5.), 'grad_2.0_norm_total': tensor(5.)}
    """
    import engine

    p = float(norm_type)
    if p <= 0:
        raise ValueError(f"grad_norm(norm_type={norm_type!r}): expected a positive number or 'inf'.")
    norms = {
        f"grad_{p}_norm{group_separator}{name}": parameter.grad.detach().norm(p)
        for name, parameter in module.named_parameters()
        if parameter.grad is not None
    }
    if norms:
        norms[f"grad_{p}_norm_total"] = engine.stack(list(norms.values())).norm(p)
    return norms
