"""ASGD: stochastic gradient descent whose iterates are averaged (Polyak and Juditsky, SIAM J. Control Optim. 30, 1992)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from engine.optim._each import EachOptimizer, scalar, zeros_like
from engine.optim._flat import check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["ASGD"]


class ASGD(EachOptimizer):
    """ASGD: w = (1 - lambd eta) w - eta g; from step t0 on, "ax" is the running mean of w, before that w itself.

    eta = lr / (1 + lambd lr t)^alpha falls with the steps t.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        lambd: decay.
        alpha: power of the fall of eta.
        t0: where averaging starts.
        weight_decay: adds weight_decay * w to the gradient.
        maximize: go up the gradient.
        foreach, capturable: choose between implementations in torch; accepted, the numbers are the same.
        differentiable: must be False.

    State per parameter: "step", "eta" and "mu" (the weight of w in the mean; float32, 0-d), "ax".

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.ASGD([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.8000, -1.6000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        lambd: float = 1e-4,
        alpha: float = 0.75,
        t0: float = 1e6,
        weight_decay: float = 0,
        foreach: bool | None = None,
        maximize: bool = False,
        differentiable: bool = False,
        capturable: bool = False,
    ) -> None:
        check_switches(type(self).__name__, differentiable)
        check_not_negative("learning rate", lr)
        check_not_negative("weight_decay value", weight_decay)
        defaults = {
            "lr": lr,
            "lambd": lambd,
            "alpha": alpha,
            "t0": t0,
            "weight_decay": weight_decay,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "capturable": capturable,
        }
        super().__init__(params, defaults)

    def _initial_state(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        return {"step": scalar(0), "eta": scalar(number(group["lr"])), "mu": scalar(1), "ax": zeros_like(p)}

    def _update(self, xp: Any, w: Any, g: Any, state: dict[str, Any], group: dict[str, Any]) -> None:
        eta, mu, mean = state["eta"].item(), state["mu"].item(), state["ax"]
        lr, lambd, count = number(group["lr"]), group["lambd"], state["step"].item()
        w *= 1 - lambd * eta
        w -= g * eta
        if mu == 1:
            mean[...] = w
        else:
            mean += (w - mean) * mu
        state["eta"][...] = lr / (1 + lambd * lr * count) ** group["alpha"]
        state["mu"][...] = 1 / max(1, count - group["t0"])
