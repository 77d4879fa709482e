"""Every metric gives torchmetrics' numbers: over several batches, as a module and as a function."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import engine
from lit import metrics

torch = pytest.importorskip("torch")
torchmetrics = pytest.importorskip("torchmetrics")

CLASSES, LABELS, BATCHES, SIZE = 4, 3, 3, 20


def draw(kind: str, seed: int = 0) -> list[tuple[np.ndarray, np.ndarray]]:
    """Batches of (preds, target) of one kind of input."""
    rng = np.random.default_rng(seed)
    make = {
        "binary": lambda: (rng.random(SIZE).astype(np.float32), rng.integers(0, 2, SIZE)),
        "binary logits": lambda: (rng.normal(size=SIZE).astype(np.float32) * 3, rng.integers(0, 2, SIZE)),
        "binary labels": lambda: (rng.integers(0, 2, SIZE), rng.integers(0, 2, SIZE)),
        "binary images": lambda: (rng.random((SIZE, 5)).astype(np.float32), rng.integers(0, 2, (SIZE, 5))),
        "binary ignored": lambda: (rng.random(SIZE).astype(np.float32), rng.integers(-1, 2, SIZE)),
        "scores": lambda: (rng.normal(size=(SIZE, CLASSES)).astype(np.float32), rng.integers(0, CLASSES, SIZE)),
        "classes": lambda: (rng.integers(0, CLASSES, SIZE), rng.integers(0, CLASSES, SIZE)),
        "few classes": lambda: (rng.integers(0, 2, SIZE), rng.integers(0, 3, SIZE)),
        "images": lambda: (rng.normal(size=(SIZE, CLASSES, 6)).astype(np.float32), rng.integers(0, CLASSES, (SIZE, 6))),
        "ignored": lambda: (rng.normal(size=(SIZE, CLASSES)).astype(np.float32), rng.integers(-1, CLASSES, SIZE)),
        "labels": lambda: (rng.random((SIZE, LABELS)).astype(np.float32), rng.integers(0, 2, (SIZE, LABELS))),
        "labels ignored": lambda: (rng.random((SIZE, LABELS)).astype(np.float32), rng.integers(-1, 2, (SIZE, LABELS))),
        "labels images": lambda: (rng.random((SIZE, LABELS, 4)).astype(np.float32), rng.integers(0, 2, (SIZE, LABELS, 4))),
        "numbers": lambda: (rng.normal(size=SIZE).astype(np.float32), rng.normal(size=SIZE).astype(np.float32)),
        "outputs": lambda: tuple(rng.normal(size=(2, SIZE, 2)).astype(np.float32)),
        "ties": lambda: (rng.integers(0, 5, SIZE).astype(np.float32), rng.integers(0, 5, SIZE).astype(np.float32)),
        "tokens": lambda: (rng.normal(size=(2, 7, 9)).astype(np.float32), rng.integers(0, 9, (2, 7))),
    }[kind]
    return [make() for _ in range(BATCHES)]


def cases() -> list[tuple[str, dict[str, Any], str]]:
    """(class, arguments, kind of input)"""
    found: list[tuple[str, dict[str, Any], str]] = []
    counts = [("StatScores", {}), ("Accuracy", {}), ("Precision", {}), ("Recall", {}), ("Specificity", {}),
              ("F1Score", {}), ("FBetaScore", {"beta": 2.0})]  # fmt: skip
    for name, first in counts:
        for kind in ("binary", "binary logits", "binary labels", "binary images"):
            found.append((f"Binary{name}", {**first, "threshold": 0.4}, kind))
        found.append((f"Binary{name}", {**first, "ignore_index": -1}, "binary ignored"))
        found.append((f"Binary{name}", {**first, "multidim_average": "samplewise"}, "binary images"))
        for average in ("micro", "macro", "weighted", None):
            many = {**first, "num_classes": CLASSES, "average": average}
            found += [(f"Multiclass{name}", many, kind) for kind in ("scores", "classes", "few classes", "images")]
            found.append((f"Multiclass{name}", {**many, "ignore_index": -1}, "ignored"))
            found.append((f"Multiclass{name}", {**many, "top_k": 2}, "scores"))
            found.append((f"Multiclass{name}", {**many, "multidim_average": "samplewise"}, "images"))
            several = {**first, "num_labels": LABELS, "average": average}
            found += [(f"Multilabel{name}", several, kind) for kind in ("labels", "labels images")]
            found.append((f"Multilabel{name}", {**several, "ignore_index": -1}, "labels ignored"))
            if name != "StatScores" or average != "weighted":  # torchmetrics weighs over samples there
                found.append((f"Multilabel{name}", {**several, "multidim_average": "samplewise"}, "labels images"))
    for normalize in (None, "true", "pred", "all"):
        found.append(("BinaryConfusionMatrix", {"normalize": normalize}, "binary"))
        found.append(("MulticlassConfusionMatrix", {"num_classes": CLASSES, "normalize": normalize}, "scores"))
        found.append(("MultilabelConfusionMatrix", {"num_labels": LABELS, "normalize": normalize}, "labels"))
    for name in ("ConfusionMatrix", "MatthewsCorrCoef", "JaccardIndex", "CohenKappa"):
        found.append((f"Binary{name}", {"ignore_index": -1}, "binary ignored"))
        found.append((f"Multiclass{name}", {"num_classes": CLASSES, "ignore_index": -1}, "ignored"))
        found.append((f"Multiclass{name}", {"num_classes": CLASSES}, "images"))
        if name != "CohenKappa":
            found.append((f"Multilabel{name}", {"num_labels": LABELS, "ignore_index": -1}, "labels ignored"))
    for weights in (None, "linear", "quadratic"):
        found.append(("BinaryCohenKappa", {"weights": weights}, "binary"))
        found.append(("MulticlassCohenKappa", {"num_classes": CLASSES, "weights": weights}, "scores"))
    for average in ("micro", "macro", "weighted", None):
        found.append(("MulticlassJaccardIndex", {"num_classes": CLASSES, "average": average}, "few classes"))
        found.append(("MulticlassJaccardIndex", {"num_classes": CLASSES, "average": average, "ignore_index": 1}, "scores"))
        found.append(("MultilabelJaccardIndex", {"num_labels": LABELS, "average": average}, "labels"))
    for thresholds in (None, 7, [0.1, 0.5, 0.9]):
        at = {"thresholds": thresholds}
        for name in ("PrecisionRecallCurve", "ROC", "AUROC", "AveragePrecision"):
            found.append((f"Binary{name}", at, "binary"))
            found.append((f"Binary{name}", {**at, "ignore_index": -1}, "binary ignored"))
            found.append((f"Multiclass{name}", {**at, "num_classes": CLASSES}, "scores"))
            found.append((f"Multiclass{name}", {**at, "num_classes": CLASSES, "ignore_index": -1}, "ignored"))
            found.append((f"Multilabel{name}", {**at, "num_labels": LABELS}, "labels"))
            found.append((f"Multilabel{name}", {**at, "num_labels": LABELS, "ignore_index": -1}, "labels ignored"))
        for name in ("PrecisionRecallCurve", "ROC"):
            for average in ("micro", "macro"):
                if average == "micro" and thresholds is not None:
                    continue  # torchmetrics fails there
                found.append((f"Multiclass{name}", {**at, "num_classes": CLASSES, "average": average}, "images"))
        for name in ("AUROC", "AveragePrecision"):
            for average in ("weighted", None):
                found.append((f"Multiclass{name}", {**at, "num_classes": CLASSES, "average": average}, "scores"))
                found.append((f"Multilabel{name}", {**at, "num_labels": LABELS, "average": average}, "labels"))
            found.append((f"Multilabel{name}", {**at, "num_labels": LABELS, "average": "micro"}, "labels"))
        found.append(("BinaryAUROC", {**at, "max_fpr": 0.4}, "binary"))
    found += [
        ("MeanAbsoluteError", {}, "numbers"), ("MeanAbsoluteError", {"num_outputs": 2}, "outputs"),
        ("MeanSquaredError", {}, "numbers"), ("MeanSquaredError", {"squared": False}, "numbers"),
        ("MeanSquaredError", {"num_outputs": 2}, "outputs"), ("MeanAbsolutePercentageError", {}, "numbers"),
        ("R2Score", {}, "numbers"), ("R2Score", {"adjusted": 3}, "numbers"),
        ("PearsonCorrCoef", {}, "numbers"), ("PearsonCorrCoef", {"num_outputs": 2}, "outputs"),
        ("SpearmanCorrCoef", {}, "numbers"), ("SpearmanCorrCoef", {}, "ties"),
        ("SpearmanCorrCoef", {"num_outputs": 2}, "outputs"), ("Perplexity", {}, "tokens"),
        ("Perplexity", {"ignore_index": 4}, "tokens"), ("ExplainedVariance", {}, "numbers"),
    ]  # fmt: skip
    found += [("CosineSimilarity", {"reduction": how}, "outputs") for how in ("sum", "mean", "none")]
    for how in ("raw_values", "uniform_average", "variance_weighted"):
        found += [(name, {"multioutput": how}, "outputs") for name in ("R2Score", "ExplainedVariance")]
    return found


def theirs_of(name: str) -> Any:
    for module in (torchmetrics, torchmetrics.classification, torchmetrics.text):
        if hasattr(module, name):
            return getattr(module, name)
    raise AttributeError(name)


def as_numpy(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [as_numpy(item) for item in value]
    return np.asarray(value.numpy())


def assert_same(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    if isinstance(theirs, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_same(one, other, tolerance)
        return
    assert ours.shape == theirs.shape
    np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("name", "arguments", "kind"), cases(), ids=str)
def test_the_value_of_a_batch_and_of_all_batches(name: str, arguments: dict[str, Any], kind: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = getattr(metrics, name)(**arguments), theirs_of(name)(**arguments)
        for number, (preds, target) in enumerate(draw(kind)):
            ours_in, theirs_in = ([f(preds), f(target)] for f in (engine.from_numpy, torch.from_numpy))
            if number == 1:
                ours.update(*ours_in)
                theirs.update(*theirs_in)
            else:
                # A macro curve interpolates between equal x values, where the last digit of a float32 decides.
                loose = 0.02 if arguments.get("average") == "macro" and "num_classes" in arguments else 2e-5
                assert_same(as_numpy(ours(*ours_in)), as_numpy(theirs(*theirs_in)), loose)
        assert_same(as_numpy(ours.compute()), as_numpy(theirs.compute()))


FUNCTIONS = [
    ("accuracy", {"task": "multiclass", "num_classes": CLASSES}, "scores"),
    ("accuracy", {"task": "multiclass", "num_classes": CLASSES, "average": "macro", "top_k": 2}, "scores"),
    ("precision", {"task": "binary"}, "binary"), ("recall", {"task": "multilabel", "num_labels": LABELS}, "labels"),
    ("f1_score", {"task": "multiclass", "num_classes": CLASSES, "average": None}, "scores"),
    ("fbeta_score", {"task": "binary", "beta": 0.5}, "binary"), ("specificity", {"task": "binary"}, "binary"),
    ("stat_scores", {"task": "binary"}, "binary"), ("confusion_matrix", {"task": "binary"}, "binary"),
    ("cohen_kappa", {"task": "binary"}, "binary"), ("matthews_corrcoef", {"task": "binary"}, "binary"),
    ("jaccard_index", {"task": "multiclass", "num_classes": CLASSES}, "scores"),
    ("auroc", {"task": "multiclass", "num_classes": CLASSES}, "scores"), ("auroc", {"task": "binary"}, "binary"),
    ("average_precision", {"task": "multilabel", "num_labels": LABELS}, "labels"),
    ("roc", {"task": "binary"}, "binary"), ("roc", {"task": "multiclass", "num_classes": CLASSES}, "scores"),
    ("precision_recall_curve", {"task": "multilabel", "num_labels": LABELS, "thresholds": 5}, "labels"),
    ("mean_squared_error", {"squared": False}, "numbers"), ("mean_absolute_error", {}, "numbers"),
    ("mean_absolute_percentage_error", {}, "numbers"), ("r2_score", {}, "numbers"),
    ("explained_variance", {}, "numbers"), ("pearson_corrcoef", {}, "numbers"), ("spearman_corrcoef", {}, "numbers"),
    ("cosine_similarity", {"reduction": "mean"}, "outputs"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments", "kind"), FUNCTIONS, ids=str)
def test_functions(name: str, arguments: dict[str, Any], kind: str) -> None:
    preds, target = draw(kind)[0]
    ours = getattr(metrics.functional, name)(engine.from_numpy(preds), engine.from_numpy(target), **arguments)
    theirs = getattr(torchmetrics.functional, name)(torch.from_numpy(preds), torch.from_numpy(target), **arguments)
    assert_same(as_numpy(ours), as_numpy(theirs))


def test_functions_take_arguments_in_torchmetrics_order() -> None:
    preds, target = draw("scores")[0]
    given = (CLASSES, "macro", 2)
    ours = metrics.functional.multiclass_recall(engine.from_numpy(preds), engine.from_numpy(target), *given)
    theirs = torchmetrics.functional.classification.multiclass_recall(
        torch.from_numpy(preds), torch.from_numpy(target), *given
    )
    assert_same(as_numpy(ours), as_numpy(theirs))


@pytest.mark.parametrize("name", ["MeanMetric", "SumMetric", "MaxMetric", "MinMetric", "CatMetric"])
@pytest.mark.parametrize("nan_strategy", ["ignore", 2.0, "disable"])
def test_aggregates(name: str, nan_strategy: Any) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours, theirs = getattr(metrics, name)(nan_strategy), getattr(torchmetrics, name)(nan_strategy)
        batches = [1.5, [2.0, -3.0, 4.5], float("nan") if nan_strategy != "disable" else 7.0]
        for value in batches:
            ours.update(value if isinstance(value, float) else engine.tensor(value))
            theirs.update(value if isinstance(value, float) else torch.tensor(value))
        assert_same(as_numpy(ours.compute()), as_numpy(theirs.compute()))


MISTAKES = [
    ("BinaryAccuracy", {"threshold": 2}), ("MulticlassAccuracy", {"num_classes": 1}),
    ("MulticlassAccuracy", {"num_classes": 3, "top_k": 4}), ("MulticlassAccuracy", {"num_classes": 3, "average": "mean"}),
    ("MultilabelAccuracy", {"num_labels": 1}), ("BinaryFBetaScore", {"beta": -1.0}),
    ("BinaryConfusionMatrix", {"normalize": "rows"}), ("BinaryCohenKappa", {"weights": "cubic"}),
    ("BinaryROC", {"thresholds": "many"}), ("BinaryAccuracy", {"multidim_average": "local"}),
    ("BinaryAccuracy", {"ignore_index": "no"}), ("R2Score", {"adjusted": -1}), ("R2Score", {"multioutput": "sum"}),
    ("MeanSquaredError", {"squared": "yes"}), ("MeanMetric", {"nan_strategy": "crash"}),
    ("Accuracy", {"task": "ternary"}), ("Accuracy", {"task": "multiclass"}), ("MeanMetric", {"unknown": 1}),
    ("MulticlassPrecision", {"num_classes": 3, "zero_division": 0.5}),
]  # fmt: skip


@pytest.mark.parametrize(("name", "arguments"), MISTAKES, ids=str)
def test_mistakes_raise_the_same_class(name: str, arguments: dict[str, Any]) -> None:
    for source in (theirs_of, lambda name: getattr(metrics, name)):
        with pytest.raises(ValueError):
            source(name)(**arguments)


@pytest.mark.parametrize(
    ("name", "arguments", "preds", "target", "error"),
    [
        ("BinaryAccuracy", {}, [0.1, 0.2], [0, 1, 1], RuntimeError),
        ("BinaryAccuracy", {}, [0.1, 0.2], [0, 2], RuntimeError),
        ("MulticlassAccuracy", {"num_classes": 3}, [[0.1, 0.9]], [0], ValueError),
        ("MulticlassAccuracy", {"num_classes": 2}, [0, 1, 2], [0, 1, 2], RuntimeError),
        ("MultilabelAccuracy", {"num_labels": 3}, [[0.1, 0.9]], [[0, 1]], ValueError),
        ("BinaryROC", {}, [0, 1], [0, 1], ValueError),
        ("MeanSquaredError", {}, [0.5], [0.5, 0.2], RuntimeError),
    ],
    ids=str,
)
def test_bad_inputs_raise_the_same_class(name: str, arguments: Any, preds: Any, target: Any, error: type) -> None:
    for library, source in ((torch, theirs_of(name)), (engine, getattr(metrics, name))):
        with pytest.raises(error):
            source(**arguments).update(library.tensor(preds), library.tensor(target))
