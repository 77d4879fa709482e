"""Norms of gradients."""

from __future__ import annotations

import engine
from engine import Tensor, nn


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
