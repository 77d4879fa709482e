"""NAdam: Adam with Nesterov momentum on a schedule (Dozat, "Incorporating Nesterov momentum into Adam", 2016)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from engine import fast
from engine.optim._each import EachOptimizer, scalar, zeros_like
from engine.optim._flat import check_not_negative, check_switches, number
from engine.optim.adam import check_plain_betas
from engine.pool import in_pieces, scratch
from engine.tensor import Tensor

__all__ = ["NAdam"]

_COMPILED = 1 << 15  # elements from which a compiled kernel serves


class NAdam(EachOptimizer):
    """NAdam: with m and v as in Adam and mu_t = b1 (1 - 0.96^(t * momentum_decay) / 2),
    w = w - lr * ((1 - mu_t) / (1 - mu_1 ... mu_t) g + mu_t+1 / (1 - mu_1 ... mu_t+1) m) / (sqrt(v / (1 - b2^t)) + eps).

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        betas: b1 and b2, in [0, 1).
        eps: keeps the denominator from zero.
        weight_decay: adds weight_decay * w to the gradient; with `decoupled_weight_decay`, shrinks w by
            lr * weight_decay instead.
        momentum_decay: how fast mu_t grows to b1.
        maximize: go up the gradient.
        foreach, capturable: choose between implementations in torch; accepted, the numbers are the same.
        differentiable: must be False.

    State per parameter: "step" and "mu_product" (mu_1 ... mu_t; float32, 0-d), "exp_avg" (m), "exp_avg_sq" (v).

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.NAdam([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8944, -1.8944], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 2e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0,
        momentum_decay: float = 4e-3,
        decoupled_weight_decay: bool = False,
        *,
        foreach: bool | None = None,
        maximize: bool = False,
        capturable: bool = False,
        differentiable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        check_not_negative("epsilon value", eps)
        check_plain_betas(betas)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("momentum_decay value", momentum_decay)
        defaults = {
            "lr": lr,
            "betas": betas,
            "eps": eps,
            "weight_decay": weight_decay,
            "momentum_decay": momentum_decay,
            "decoupled_weight_decay": decoupled_weight_decay,
            "maximize": maximize,
            "foreach": foreach,
            "capturable": capturable,
            "differentiable": differentiable,
        }
        super().__init__(params, defaults)

    def _initial_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"step": scalar(0), "mu_product": scalar(1), "exp_avg": zeros_like(p), "exp_avg_sq": zeros_like(p)}

    def _update(self, xp: Any, w: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        lr, (beta1, beta2), decay = number(group["lr"]), group["betas"], group["momentum_decay"]
        count = state["step"].item()
        mu = beta1 * (1 - 0.5 * 0.96 ** (count * decay))
        mu_next = beta1 * (1 - 0.5 * 0.96 ** ((count + 1) * decay))
        state["mu_product"][...] *= mu
        product = state["mu_product"].item()
        step, step_next = -lr * (1 - mu) / (1 - product), -lr * mu_next / (1 - product * mu_next)
        values = (1 - beta1, beta2, 1 - beta2, 1 - beta2**count, group["eps"], step, step_next)
        arrays = ([w], [g], [state["exp_avg"]], [state["exp_avg_sq"]])
        in_pieces(lambda w, g, m, v: _update_piece(xp, w, g, m, v, values), *arrays)


def _update_piece(xp: Any, w: Any, g: Any, m: Any, v: Any, values: tuple) -> None:
    new_part, beta2, new_part_sq, correction, eps, step, step_next = values
    kernels = fast.kernels("optimizers") if w.size >= _COMPILED and fast.fits(w, g, m, v) else None
    if kernels is not None:
        kernels.nadam(*(a.reshape(-1) for a in (w, g, m, v)), np.array(values, w.dtype))
        return
    s, t = (scratch(w.size, w.dtype, k).reshape(w.shape) if xp is np else xp.empty_like(w) for k in range(2))
    xp.subtract(g, m, out=s)
    s *= new_part
    m += s
    v *= beta2
    xp.multiply(g, g, out=s)
    s *= new_part_sq
    v += s
    xp.divide(v, correction, out=t)
    xp.sqrt(t, out=t)
    t += eps
    for moving, factor in ((g, step), (m, step_next)):
        xp.divide(moving, t, out=s)
        s *= factor
        w += s
