"""How far predicted numbers are from true ones. Sums are kept in float64; results are float32."""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor
from lit.metrics.base import Metric, together
from lit.metrics.inputs import check_number, check_option, check_same_shape

MULTIOUTPUT = ("raw_values", "uniform_average", "variance_weighted")
SMALLEST_DIVISOR = 1.17e-06  # of a percentage error, as in torchmetrics


def _paired(preds: Tensor, target: Tensor, num_outputs: int) -> tuple[Tensor, Tensor]:
    check_same_shape(preds, target)
    if num_outputs == 1:
        return preds.reshape(-1, 1).double(), target.reshape(-1, 1).double()
    if preds.ndim != 2 or preds.shape[1] != num_outputs:
        raise ValueError(
            f"Expected `preds` of shape (N, {num_outputs}) for num_outputs={num_outputs}, got {tuple(preds.shape)}."
        )
    return preds.double(), target.double()


class _MeanError(Metric):
    """The mean of an error that is computed element by element."""

    full_state_update = False
    is_differentiable = True
    higher_is_better = False
    sum_error: Tensor
    total: Tensor

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number("num_outputs", num_outputs, least=1)
        self.num_outputs = num_outputs
        self.add_state("sum_error", engine.zeros(num_outputs, dtype=engine.float64), dist_reduce_fx="sum")
        self.add_state("total", engine.tensor(0), dist_reduce_fx="sum")

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        raise NotImplementedError

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch: two tensors of one shape, (N, ...) or (N, num_outputs)."""
        preds, target = _paired(preds, target, self.num_outputs)
        self.sum_error = self.sum_error + self._error(preds, target).sum(0)
        self.total = self.total + preds.shape[0]

    def compute(self) -> Tensor:
        """The mean: 0-d, or (num_outputs,)."""
        return _squeezed(self.sum_error / self.total)


def _squeezed(values: Tensor) -> Tensor:
    values = values.float()
    return values[0] if len(values) == 1 else values


class MeanAbsoluteError(_MeanError):
    """The mean of |preds - target|.

    Args:
        num_outputs: for (N, num_outputs) inputs: a mean per output.

    Example:
        >>> from lit.metrics import MeanAbsoluteError
        >>> MeanAbsoluteError()(torch.tensor([2.0, 0.0]), torch.tensor([1.0, 0.5]))
        tensor(0.7500)
    """

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return (preds - target).abs()


class MeanSquaredError(_MeanError):
    """The mean of (preds - target)^2.

    Args:
        squared: False takes the square root (RMSE).
        num_outputs: for (N, num_outputs) inputs: a mean per output.

    Example:
        >>> from lit.metrics import MeanSquaredError
        >>> MeanSquaredError(squared=False)(torch.tensor([3.0, 4.0]), torch.tensor([0.0, 0.0]))
        tensor(3.5355)
    """

    def __init__(self, squared: bool = True, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(num_outputs, **kwargs)
        if not isinstance(squared, bool):
            raise ValueError(f"Expected argument `squared` to be a boolean but got {squared}")
        self.squared = squared

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return (preds - target) ** 2

    def compute(self) -> Tensor:
        """The mean, or its root."""
        mean = self.sum_error / self.total
        return _squeezed(mean if self.squared else mean.sqrt())


class MeanAbsolutePercentageError(_MeanError):
    """The mean of |preds - target| / |target|, as a share and not times 100.

    Example:
        >>> from lit.metrics import MeanAbsolutePercentageError
        >>> MeanAbsolutePercentageError()(torch.tensor([0.9, 15.0]), torch.tensor([1.0, 10.0]))
        tensor(0.3000)
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(1, **kwargs)

    def _error(self, preds: Tensor, target: Tensor) -> Tensor:
        return (preds - target).abs() / target.abs().clamp(min=SMALLEST_DIVISOR)


class _Moments(Metric):
    """Sums of targets and errors and of their squares, per output of (N,) or (N, outputs) inputs."""

    full_state_update = False
    is_differentiable = True
    higher_is_better = True
    update_key = ()
    multioutput: str
    sum_target: Tensor
    sum_target_squared: Tensor
    sum_error: Tensor
    sum_error_squared: Tensor
    total: Tensor

    def _start(self) -> None:
        for name in ("sum_target", "sum_target_squared", "sum_error", "sum_error_squared"):
            self.add_state(name, engine.zeros(1, dtype=engine.float64), dist_reduce_fx="sum")
        self.add_state("total", engine.tensor(0), dist_reduce_fx="sum")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch of shape (N,) or (N, outputs)."""
        check_same_shape(preds, target)
        if preds.ndim > 2:
            raise ValueError(
                f"Expected both prediction and target to be 1D or 2D tensors, but received tensors with dimension"
                f" {tuple(preds.shape)}"
            )
        preds, target = (x.double().reshape(x.shape[0], -1) for x in (preds, target))
        error = target - preds
        self.sum_target = self.sum_target + target.sum(0)
        self.sum_target_squared = self.sum_target_squared + (target**2).sum(0)
        self.sum_error = self.sum_error + error.sum(0)
        self.sum_error_squared = self.sum_error_squared + (error**2).sum(0)
        self.total = self.total + preds.shape[0]

    def _spread(self) -> Tensor:
        """The sum of squared distances of the targets from their mean."""
        return (self.sum_target_squared - self.sum_target**2 / self.total).clamp(min=0)

    def _reduced(self, unexplained: Tensor) -> Tensor:
        """1 - unexplained / spread; 1 where both are 0, and 0 where only the spread is."""
        spread = self._spread()
        # Sums of squares leave rounding behind where all targets are equal.
        flat = spread <= 1e-12 * self.sum_target_squared
        exact = unexplained <= 1e-12 * self.sum_target_squared
        score = 1 - unexplained / engine.where(flat, engine.ones_like(spread), spread)
        score = engine.where(flat, exact.double(), score)
        if self.multioutput == "raw_values":
            return score.float()
        if self.multioutput == "variance_weighted":
            return ((spread / spread.sum()) * score).sum().float()
        return score.mean().float()


class R2Score(_Moments):
    """The share of the targets' variance that the predictions explain: 1 - residual / total sum of squares.

    Args:
        adjusted: the number of regressors to adjust for (0: none).
        multioutput: "uniform_average", "raw_values" or "variance_weighted": how several outputs become one number.

    Example:
        >>> from lit.metrics import R2Score
        >>> R2Score()(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
        tensor(0.9486)
    """

    def __init__(self, adjusted: int = 0, multioutput: str = "uniform_average", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_option("multioutput", multioutput, MULTIOUTPUT)
        if not isinstance(adjusted, int) or adjusted < 0:
            raise ValueError("`adjusted` parameter should be an integer larger or equal to 0.")
        self.adjusted, self.multioutput = adjusted, multioutput
        self._start()

    def compute(self) -> Tensor:
        """The score: 0-d, or (outputs,) with "raw_values".

        Raises:
            ValueError: there are fewer than two samples.
        """
        total = int(self.total)
        if total < 2:
            raise ValueError("Needs at least two samples to calculate r2 score.")
        score = self._reduced(self.sum_error_squared)
        if self.adjusted == 0 or self.adjusted >= total - 1:
            return score
        return 1 - (1 - score) * (total - 1) / (total - self.adjusted - 1)


class ExplainedVariance(_Moments):
    """1 - variance of the errors / variance of the targets: ``R2Score`` without regard to a constant offset.

    Args:
        multioutput: as in ``R2Score``.

    Example:
        >>> from lit.metrics import ExplainedVariance
        >>> ExplainedVariance()(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
        tensor(0.9572)
    """

    def __init__(self, multioutput: str = "uniform_average", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_option("multioutput", multioutput, MULTIOUTPUT)
        self.multioutput = multioutput
        self._start()

    def compute(self) -> Tensor:
        """The share: 0-d, or (outputs,) with "raw_values"."""
        return self._reduced(self.sum_error_squared - self.sum_error**2 / self.total)


class PearsonCorrCoef(Metric):
    """The linear correlation of predictions and targets.

    Args:
        num_outputs: for (N, num_outputs) inputs: a coefficient per output.

    Example:
        >>> from lit.metrics import PearsonCorrCoef
        >>> PearsonCorrCoef()(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 7.0]))
        tensor(0.9849)
    """

    full_state_update = True  # two parts are merged by more than a sum
    is_differentiable = True
    mean_x: Tensor
    mean_y: Tensor
    var_x: Tensor
    var_y: Tensor
    corr_xy: Tensor
    n_total: Tensor

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number("num_outputs", num_outputs, least=1)
        self.num_outputs = num_outputs
        for name in ("mean_x", "mean_y", "var_x", "var_y", "corr_xy"):
            self.add_state(name, engine.zeros(num_outputs, dtype=engine.float64))
        self.add_state("n_total", engine.tensor(0))

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch: (N,) or (N, num_outputs). Merged as in Chan, Golub and LeVeque, 1979."""
        x, y = _paired(preds, target, self.num_outputs)
        count, before = x.shape[0], self.n_total
        if count == 0:
            return
        mean_x, mean_y = x.mean(0), y.mean(0)
        dx, dy = mean_x - self.mean_x, mean_y - self.mean_y
        weight = before * count / (before + count)
        self.var_x = self.var_x + ((x - mean_x) ** 2).sum(0) + weight * dx**2
        self.var_y = self.var_y + ((y - mean_y) ** 2).sum(0) + weight * dy**2
        self.corr_xy = self.corr_xy + ((x - mean_x) * (y - mean_y)).sum(0) + weight * dx * dy
        self.mean_x = self.mean_x + dx * count / (before + count)
        self.mean_y = self.mean_y + dy * count / (before + count)
        self.n_total = before + count

    def compute(self) -> Tensor:
        """The coefficient: 0-d, or (num_outputs,); NaN where one of the two is constant."""
        return _squeezed((self.corr_xy / (self.var_x * self.var_y).sqrt()).clamp(-1, 1))


class SpearmanCorrCoef(Metric):
    """The correlation of the ranks of predictions and targets; equal values share their mean rank.

    All values are kept.

    Args:
        num_outputs: for (N, num_outputs) inputs: a coefficient per output.

    Example:
        >>> from lit.metrics import SpearmanCorrCoef
        >>> SpearmanCorrCoef()(torch.tensor([2.5, 0.0, 2.0, 8.0]), torch.tensor([3.0, -0.5, 2.0, 1.0]))
        tensor(0.4000)
    """

    full_state_update = False
    preds: list[Tensor]
    target: list[Tensor]

    def __init__(self, num_outputs: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_number("num_outputs", num_outputs, least=1)
        self.num_outputs = num_outputs
        self.add_state("preds", [], dist_reduce_fx="cat")
        self.add_state("target", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch: (N,) or (N, num_outputs)."""
        preds, target = _paired(preds, target, self.num_outputs)
        self.preds.append(preds)
        self.target.append(target)

    def compute(self) -> Tensor:
        """The coefficient: 0-d, or (num_outputs,)."""
        x, y = _ranks(together(self.preds)), _ranks(together(self.target))
        x, y = x - x.mean(0), y - y.mean(0)
        return _squeezed((x * y).sum(0) / ((x**2).sum(0) * (y**2).sum(0)).sqrt())


def _ranks(values: Tensor) -> Tensor:
    """Ranks from 1 within each column, in float64."""
    columns = []
    for column in values.T:
        _, inverse, counts = engine.unique(column, return_inverse=True, return_counts=True)
        last = counts.cumsum(0).double()
        columns.append((last - (counts.double() - 1) / 2)[inverse])
    return engine.stack(columns, dim=1)


class CosineSimilarity(Metric):
    """The cosine of the angle between the rows of predictions and targets.

    Args:
        reduction: "sum" (over rows), "mean", "none" or None.

    Example:
        >>> from lit.metrics import CosineSimilarity
        >>> CosineSimilarity(reduction="mean")(torch.tensor([[3.0, 4.0]]), torch.tensor([[4.0, 3.0]]))
        tensor(0.9600)
    """

    full_state_update = False
    is_differentiable = True
    higher_is_better = True

    def __init__(self, reduction: str | None = "sum", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        check_option("reduction", reduction, ("sum", "mean", "none", None))
        self.reduction = reduction
        self.add_state("similarity", [], dist_reduce_fx="cat")

    def update(self, preds: Tensor, target: Tensor) -> None:
        """Take one batch of shape (N, d)."""
        check_same_shape(preds, target)
        if preds.ndim != 2:
            raise ValueError(
                f"Expected input to cosine similarity to be 2D tensors of shape `[N,D]`, but got {tuple(preds.shape)}"
            )
        x, y = preds.double(), target.double()
        self.similarity.append((x * y).sum(-1) / (x.norm(dim=-1) * y.norm(dim=-1)))

    def compute(self) -> Tensor:
        """The similarity: 0-d, or (N,) without reduction."""
        rows = together(self.similarity)
        reduced = {"sum": rows.sum, "mean": rows.mean}.get(str(self.reduction))
        return (reduced() if reduced else rows).float()
