"""Accuracy, precision, recall, F-scores and specificity, for the three tasks.

Each score is one formula over the counts (a mixin) and three classes that say where the counts come from.
"""

from __future__ import annotations

from typing import Any

import engine
from engine import Tensor
from lit.metrics.inputs import safe_divide
from lit.metrics.stat_scores import BinaryStatScores, MulticlassStatScores, MultilabelStatScores, _Counts


class _Score(_Counts):
    """A quotient of counts, averaged over classes or labels."""

    higher_is_better = True
    average: Any
    top_k: int = 1

    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        raise NotImplementedError

    def _one_of_many(self) -> bool:
        return isinstance(self, MulticlassStatScores)

    def compute(self) -> Tensor:
        """The score: 0-d, or (C,) without averaging; with a leading (N,) if samplewise."""
        tp, fp, tn, fn = self._counted()
        if self.average == "micro" and tp.ndim > (self.multidim_average == "samplewise"):
            tp, fp, tn, fn = (count.sum(-1) for count in (tp, fp, tn, fn))
        numerator, denominator = self._quotient(tp, fp, tn, fn)
        score = safe_divide(numerator, denominator, self.zero_division)
        if self.average in ("binary", "micro", "none", None):
            return score
        if self.average == "weighted":
            weights = (tp + fn).float()
        else:
            weights = engine.ones_like(score)
            if self._one_of_many():  # a class that is neither in the data nor predicted has no score
                seen = tp + fn if self.top_k > 1 and self._weighs_targets_only else tp + fp + fn
                weights = engine.where(seen == 0, engine.zeros_like(score), weights)
        return safe_divide(weights * score, weights.sum(-1, keepdim=True)).sum(-1)

    _weighs_targets_only = True  # whether top_k > 1 leaves classes out that are predicted but not in the data


class _AccuracyFormula(_Score):
    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        return (tp, tp + fn) if self._one_of_many() else (tp + tn, tp + fp + tn + fn)


class _PrecisionFormula(_Score):
    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        return tp, tp + fp


class _RecallFormula(_Score):
    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        return tp, tp + fn


class _SpecificityFormula(_Score):
    _weighs_targets_only = False

    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        return tn, tn + fp


class _FBetaFormula(_Score):
    _weighs_targets_only = False
    beta: float = 1.0

    def _quotient(self, tp: Tensor, fp: Tensor, tn: Tensor, fn: Tensor) -> tuple[Tensor, Tensor]:
        square = self.beta**2
        return (1 + square) * tp, (1 + square) * tp + square * fn + fp


class BinaryAccuracy(_AccuracyFormula, BinaryStatScores):
    """The share of right answers to a yes/no question; arguments as ``BinaryStatScores``.

    Example:
        >>> from lit.metrics import BinaryAccuracy
        >>> BinaryAccuracy()(torch.tensor([0.1, 0.9, 0.8, 0.3]), torch.tensor([0, 1, 0, 1]))
        tensor(0.5000)
    """


class MulticlassAccuracy(_AccuracyFormula, MulticlassStatScores):
    """The share of right choices (of each class, then averaged); arguments as ``MulticlassStatScores``.

    Example:
        >>> from lit.metrics import MulticlassAccuracy
        >>> MulticlassAccuracy(num_classes=3)(torch.tensor([0, 2, 1, 1]), torch.tensor([0, 2, 0, 1]))
        tensor(0.8333)
    """


class MultilabelAccuracy(_AccuracyFormula, MultilabelStatScores):
    """The share of right answers to each of several questions; arguments as ``MultilabelStatScores``."""


class BinaryPrecision(_PrecisionFormula, BinaryStatScores):
    """tp / (tp + fp): how many of the yes answers are right; arguments as ``BinaryStatScores``."""


class MulticlassPrecision(_PrecisionFormula, MulticlassStatScores):
    """tp / (tp + fp) of each class: how many of the choices of it are right; arguments as ``MulticlassStatScores``."""


class MultilabelPrecision(_PrecisionFormula, MultilabelStatScores):
    """tp / (tp + fp) of each label; arguments as ``MultilabelStatScores``."""


class BinaryRecall(_RecallFormula, BinaryStatScores):
    """tp / (tp + fn): how many of the true cases are found; arguments as ``BinaryStatScores``."""


class MulticlassRecall(_RecallFormula, MulticlassStatScores):
    """tp / (tp + fn) of each class: how many of its cases are found; arguments as ``MulticlassStatScores``."""


class MultilabelRecall(_RecallFormula, MultilabelStatScores):
    """tp / (tp + fn) of each label; arguments as ``MultilabelStatScores``."""


class BinarySpecificity(_SpecificityFormula, BinaryStatScores):
    """tn / (tn + fp): how many of the false cases are recognised; arguments as ``BinaryStatScores``."""


class MulticlassSpecificity(_SpecificityFormula, MulticlassStatScores):
    """tn / (tn + fp) of each class; arguments as ``MulticlassStatScores``."""


class MultilabelSpecificity(_SpecificityFormula, MultilabelStatScores):
    """tn / (tn + fp) of each label; arguments as ``MultilabelStatScores``."""


class BinaryF1Score(_FBetaFormula, BinaryStatScores):
    """The harmonic mean of precision and recall; arguments as ``BinaryStatScores``."""


class MulticlassF1Score(_FBetaFormula, MulticlassStatScores):
    """The harmonic mean of precision and recall of each class; arguments as ``MulticlassStatScores``."""


class MultilabelF1Score(_FBetaFormula, MultilabelStatScores):
    """The harmonic mean of precision and recall of each label; arguments as ``MultilabelStatScores``."""


class BinaryFBetaScore(_FBetaFormula, BinaryStatScores):
    """The F-score, which weighs recall ``beta`` times as much as precision; the rest as ``BinaryStatScores``.

    Raises:
        ValueError: ``beta`` is not a positive float.
    """

    def __init__(
        self, beta: float, threshold: float = 0.5, multidim_average: str = "global", ignore_index: int | None = None,
        validate_args: bool = True, zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(threshold, multidim_average, ignore_index, validate_args, zero_division, **kwargs)
        self.beta = _checked_beta(beta)


class MulticlassFBetaScore(_FBetaFormula, MulticlassStatScores):
    """The F-score, which weighs recall ``beta`` times as much as precision; the rest as ``MulticlassStatScores``.

    Raises:
        ValueError: ``beta`` is not a positive float.
    """

    def __init__(
        self, beta: float, num_classes: int, top_k: int = 1, average: str | None = "macro",
        multidim_average: str = "global", ignore_index: int | None = None, validate_args: bool = True,
        zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            num_classes, top_k, average, multidim_average, ignore_index, validate_args, zero_division, **kwargs
        )
        self.beta = _checked_beta(beta)


class MultilabelFBetaScore(_FBetaFormula, MultilabelStatScores):
    """The F-score, which weighs recall ``beta`` times as much as precision; the rest as ``MultilabelStatScores``.

    Raises:
        ValueError: ``beta`` is not a positive float.
    """

    def __init__(
        self, beta: float, num_labels: int, threshold: float = 0.5, average: str | None = "macro",
        multidim_average: str = "global", ignore_index: int | None = None, validate_args: bool = True,
        zero_division: float = 0, **kwargs: Any,
    ) -> None:  # fmt: skip
        super().__init__(
            num_labels, threshold, average, multidim_average, ignore_index, validate_args, zero_division, **kwargs
        )
        self.beta = _checked_beta(beta)


def _checked_beta(beta: float) -> float:
    if not (isinstance(beta, float) and beta > 0):
        raise ValueError(f"Expected argument `beta` to be a float larger than 0, but got {beta}.")
    return beta
