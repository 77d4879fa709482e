"""SparseAdam: Adam for gradients that name the rows in use; the others, and their moments, stay as they are."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from engine import backend
from engine.autograd.modes import recording
from engine.coo import Coo
from engine.optim._each import zeros_like
from engine.optim._flat import number
from engine.optim.optimizer import Optimizer
from engine.tensor import Tensor

__all__ = ["SparseAdam"]


class SparseAdam(Optimizer):
    """Adam (Kingma and Ba 2014) on the elements that a sparse gradient names, as from `nn.Embedding(..., sparse=True)`.

    Args:
        params: parameters or groups of them; dense tensors.
        lr: learning rate.
        betas: parts of the first and second moment that are kept at each step.
        eps: added to the denominator.
        maximize: go up the gradient.

    State per parameter: "step" (int), "exp_avg" and "exp_avg_sq", of the parameter's shape.

    Raises:
        ValueError: a hyperparameter out of range; sparse or complex parameters.
        RuntimeError: in `step`, for a gradient that is not sparse.

    >>> table = torch.nn.Embedding(3, 1, sparse=True, _weight=torch.zeros(3, 1))
    >>> optimizer = torch.optim.SparseAdam(table.parameters(), lr=0.1)
    >>> table(torch.tensor([1])).sum().backward()
    >>> optimizer.step()
    >>> table.weight.tolist()[0], round(table.weight.tolist()[1][0], 4)
    ([0.0], -0.1)
    """

    def __init__(self, params: Iterable, lr: float | Tensor = 1e-3, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, maximize: bool = False) -> None:
        if not number(lr) > 0.0:
            raise ValueError(f"Invalid learning rate: {lr}")
        if not eps > 0.0:
            raise ValueError(f"Invalid epsilon value: {eps}")
        for i, beta in enumerate(betas):
            if not 0.0 <= beta < 1.0:
                raise ValueError(f"Invalid beta parameter at index {i}: {beta}")
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "maximize": maximize})
        places = [[(i, k), p] for i, group in enumerate(self.param_groups) for k, p in enumerate(group["params"])]
        sparse = [list(place) for place, p in places if p.is_sparse]
        if sparse:
            raise ValueError(f"Sparse params at indices {sparse}: SparseAdam requires dense parameter tensors")
        complexes = [list(place) for place, p in places if p.is_complex()]
        if complexes:
            raise ValueError(f"Complex params at indices {complexes}: SparseAdam does not support complex parameters")

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Update what the gradients name. `closure` computes the loss anew; its result is returned."""
        loss = None
        if closure is not None:
            loss = recording(closure)
        for group in self.param_groups:
            for p in group["params"]:
                if p._grad is not None:
                    self._step_parameter(p, p._grad._array, group)
        return loss

    def _step_parameter(self, p: Tensor, grad: Any, group: dict[str, Any]) -> None:
        if type(grad) is not Coo:
            raise RuntimeError("SparseAdam does not support dense gradients, please consider Adam instead")
        state = self.state[p]
        if not state:
            state.update(step=0, exp_avg=zeros_like(p), exp_avg_sq=zeros_like(p))
        state["step"] += 1
        rows = grad.coalesce(backend.namespace(p._array))
        if not rows.nnz:
            return
        place = tuple(rows.indices)
        g = -rows.values if group["maximize"] else rows.values
        first, second = group["betas"]
        mean, square = state["exp_avg"]._array, state["exp_avg_sq"]._array
        mean[place] += (g - mean[place]) * (1 - first)
        square[place] += (g * g - square[place]) * (1 - second)
        corrections = 1 - first ** state["step"], 1 - second ** state["step"]
        size = number(group["lr"]) * corrections[1] ** 0.5 / corrections[0]
        p._array[place] -= (size * mean[place] / (np.sqrt(square[place]) + group["eps"])).astype(p._array.dtype)
        p._bump("SparseAdam.step")
