"""The main scores against scikit-learn, which has nothing in common with torchmetrics."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from lit import metrics

sk = pytest.importorskip("sklearn.metrics")
CLASSES = 4


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(3)


def value(metric: metrics.Metric, preds: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The metric of the data in two batches of different size."""
    for part in (slice(0, 30), slice(30, None)):
        metric.update(engine.from_numpy(preds[part]), engine.from_numpy(target[part]))
    return np.asarray(metric.compute())


@pytest.mark.parametrize("average", ["micro", "macro", "weighted", None])
def test_scores_of_classes(rng: np.random.Generator, average: str | None) -> None:
    preds, target = rng.integers(0, CLASSES, 50), rng.integers(0, CLASSES, 50)
    pairs = {
        metrics.Precision: sk.precision_score, metrics.Recall: sk.recall_score, metrics.F1Score: sk.f1_score,
        metrics.JaccardIndex: sk.jaccard_score,
    }  # fmt: skip
    for ours, theirs in pairs.items():
        got = value(ours(task="multiclass", num_classes=CLASSES, average=average), preds, target)
        np.testing.assert_allclose(got, theirs(target, preds, average=average), rtol=1e-6)
    got = value(metrics.FBetaScore(task="multiclass", beta=2.0, num_classes=CLASSES, average=average), preds, target)
    np.testing.assert_allclose(got, sk.fbeta_score(target, preds, beta=2, average=average), rtol=1e-6)


def test_tables(rng: np.random.Generator) -> None:
    preds, target = rng.integers(0, CLASSES, 50), rng.integers(0, CLASSES, 50)
    many = {"task": "multiclass", "num_classes": CLASSES}
    assert value(metrics.Accuracy(**many), preds, target) == pytest.approx(sk.accuracy_score(target, preds))
    balanced = value(metrics.Accuracy(**many, average="macro"), preds, target)
    assert balanced == pytest.approx(sk.balanced_accuracy_score(target, preds))
    np.testing.assert_array_equal(value(metrics.ConfusionMatrix(**many), preds, target), sk.confusion_matrix(target, preds))
    for weights in (None, "linear", "quadratic"):
        kappa = value(metrics.CohenKappa(**many, weights=weights), preds, target)
        assert kappa == pytest.approx(sk.cohen_kappa_score(target, preds, weights=weights), rel=1e-5)
    coefficient = value(metrics.MatthewsCorrCoef(**many), preds, target)
    assert coefficient == pytest.approx(sk.matthews_corrcoef(target, preds), rel=1e-5)


@pytest.mark.parametrize("answers", [([0, 0], [0, 0]), ([1, 1], [0, 1]), ([0, 0], [1, 1]), ([1, 0], [1, 1])])
def test_matthews_is_0_where_it_is_undefined(answers: tuple[list[int], list[int]]) -> None:
    preds, target = map(np.array, answers)
    got = float(metrics.MatthewsCorrCoef(task="binary")(engine.from_numpy(preds), engine.from_numpy(target)))
    assert got == pytest.approx(sk.matthews_corrcoef(target, preds))


def test_areas(rng: np.random.Generator) -> None:
    target = rng.integers(0, 2, 60)
    scores = np.round(rng.random(60), 1).astype(np.float32)  # with ties
    assert value(metrics.AUROC(task="binary"), scores, target) == pytest.approx(sk.roc_auc_score(target, scores))
    partial = value(metrics.AUROC(task="binary", max_fpr=0.3), scores, target)
    assert partial == pytest.approx(sk.roc_auc_score(target, scores, max_fpr=0.3), rel=1e-5)
    average = value(metrics.AveragePrecision(task="binary"), scores, target)
    assert average == pytest.approx(sk.average_precision_score(target, scores), rel=1e-5)
    fpr, tpr, _ = metrics.ROC(task="binary")(engine.from_numpy(scores), engine.from_numpy(target))
    expected = sk.roc_curve(target, scores, drop_intermediate=False)
    np.testing.assert_allclose(fpr, expected[0], rtol=1e-6)
    np.testing.assert_allclose(tpr, expected[1], rtol=1e-6)


def test_areas_of_classes(rng: np.random.Generator) -> None:
    target = rng.integers(0, CLASSES, 60)
    logits = rng.normal(size=(60, CLASSES)).astype(np.float32)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    for average in ("macro", "weighted"):
        area = value(metrics.AUROC(task="multiclass", num_classes=CLASSES, average=average), logits, target)
        assert area == pytest.approx(sk.roc_auc_score(target, shares, multi_class="ovr", average=average), rel=1e-5)


def test_many_thresholds_come_close_to_all_of_them(rng: np.random.Generator) -> None:
    target = rng.integers(0, 2, 3000)
    scores = np.clip(rng.normal(target * 0.3 + 0.4, 0.2), 0, 1).astype(np.float32)
    area = value(metrics.AUROC(task="binary", thresholds=500), scores, target)
    assert area == pytest.approx(sk.roc_auc_score(target, scores), abs=2e-3)


def test_numbers(rng: np.random.Generator) -> None:
    preds, target = rng.normal(size=(2, 50)) + 1000  # a large offset: sums of squares lose digits in float32
    assert value(metrics.MeanSquaredError(), preds, target) == pytest.approx(sk.mean_squared_error(target, preds))
    root = value(metrics.MeanSquaredError(squared=False), preds, target)
    assert root == pytest.approx(sk.root_mean_squared_error(target, preds))
    assert value(metrics.MeanAbsoluteError(), preds, target) == pytest.approx(sk.mean_absolute_error(target, preds))
    assert value(metrics.R2Score(), preds, target) == pytest.approx(sk.r2_score(target, preds), rel=1e-5)
    explained = value(metrics.ExplainedVariance(), preds, target)
    assert explained == pytest.approx(sk.explained_variance_score(target, preds), rel=1e-5)
    share = value(metrics.MeanAbsolutePercentageError(), preds, target)
    assert share == pytest.approx(sk.mean_absolute_percentage_error(target, preds), rel=1e-5)
    assert value(metrics.PearsonCorrCoef(), preds, target) == pytest.approx(np.corrcoef(preds, target)[0, 1], rel=1e-5)


@pytest.mark.parametrize(("preds", "expected"), [([3.0, 3.0, 3.0], 1.0), ([3.0, 3.0, 4.0], 0.0)])
def test_r2_of_constant_targets(preds: list[float], expected: float) -> None:
    target = engine.tensor([3.0, 3.0, 3.0])
    assert float(metrics.R2Score()(engine.tensor(preds), target)) == sk.r2_score(target.numpy(), preds) == expected
