"""Adagrad: steps divided by the root of the sum of all squared gradients (Duchi et al., JMLR 12, 2011)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from engine.errors import not_supported
from engine.optim._blocks import compiled_as
from engine.optim._flat import FlatOptimizer, check_not_negative, check_switches, number
from engine.tensor import Tensor

__all__ = ["Adagrad"]


@compiled_as("adagrad")
def _adagrad(xp: Any, g: Any, s: Any, t: Any, state: tuple, c: tuple) -> None:
    total = state[0]
    minus_rate, eps = c
    xp.multiply(g, g, s)
    xp.add(total, s, total)
    xp.sqrt(total, t)
    xp.add(t, eps, t)
    xp.multiply(g, minus_rate, s)
    xp.divide(s, t, s)


class Adagrad(FlatOptimizer):
    """Adagrad: a = a + g^2; w = w - lr / (1 + (t-1) lr_decay) * g / (sqrt(a) + eps), t counting steps from 1.

    Args:
        params: parameters, (name, parameter) pairs, or dicts of groups (see Optimizer).
        lr: learning rate; a number or a Tensor of one element.
        lr_decay: how fast the rate falls.
        weight_decay: adds weight_decay * w to the gradient.
        initial_accumulator_value: a at the start.
        eps: keeps the denominator from zero.
        maximize: go up the gradient.
        foreach, fused: choose between implementations in torch; accepted, the numbers are the same.
        differentiable: must be False.

    State per parameter, from the start: "step" (float32, 0-d), "sum" (a).

    Raises:
        ValueError: a hyperparameter out of range.
        NotImplementedError: `differentiable=True`.

    >>> w = torch.tensor([1.0, -2.0], requires_grad=True)
    >>> optimizer = torch.optim.Adagrad([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimizer.step()
    >>> w
    tensor([ 0.9000, -1.9000], requires_grad=True)
    """

    def __init__(
        self,
        params: Iterable,
        lr: float | Tensor = 1e-2,
        lr_decay: float = 0,
        weight_decay: float = 0,
        initial_accumulator_value: float = 0,
        eps: float = 1e-10,
        foreach: bool | None = None,
        *,
        maximize: bool = False,
        differentiable: bool = False,
        fused: bool | None = None,
    ) -> None:
        check_switches(type(self).__name__, differentiable, foreach, fused)
        check_not_negative("learning rate", lr)
        check_not_negative("lr_decay value", lr_decay)
        check_not_negative("weight_decay value", weight_decay)
        check_not_negative("initial_accumulator_value value", initial_accumulator_value)
        check_not_negative("epsilon value", eps)
        defaults = {
            "lr": lr,
            "lr_decay": lr_decay,
            "eps": eps,
            "weight_decay": weight_decay,
            "initial_accumulator_value": initial_accumulator_value,
            "foreach": foreach,
            "maximize": maximize,
            "differentiable": differentiable,
            "fused": fused,
        }
        super().__init__(params, defaults)
        for group in self.param_groups:
            self._house(group["params"], group["params"], self._quantities(group))

    def _quantities(self, group: dict[str, Any]) -> dict[str, float]:
        return {"sum": number(self.defaults["initial_accumulator_value"])}

    def _recipe(self, group: dict[str, Any], count: float, fresh: bool) -> tuple[Callable, float, float, tuple]:
        rate = number(group["lr"]) / (1 + (count - 1) * group["lr_decay"])
        return _adagrad, number(group["weight_decay"]), 1.0, (-rate, group["eps"])

    def share_memory(self) -> None:
        """Not supported: processes of one machine share no optimizer state here.

        Raises:
            NotImplementedError: always.
        """
        raise not_supported("Adagrad.share_memory()", "train in one process, or keep one optimizer per process.")
