"""MetricCollection and MetricTracker."""

from __future__ import annotations

from typing import Any

import pytest

import engine
from lit import metrics


@pytest.fixture
def batches() -> list[tuple[engine.Tensor, engine.Tensor]]:
    return [(engine.rand(12), engine.randint(0, 2, (12,))) for _ in range(3)]


def three(**kwargs: Any) -> metrics.MetricCollection:
    return metrics.MetricCollection(
        [metrics.BinaryPrecision(), metrics.BinaryRecall(), metrics.BinaryAUROC(), metrics.BinaryROC()], **kwargs
    )


def numbers(values: dict[str, Any]) -> dict[str, float]:
    return {name: value.item() for name, value in values.items() if isinstance(value, engine.Tensor)}


def test_groups_share_an_update_and_give_the_same_numbers(batches: Any) -> None:
    shared, alone = three(), three(compute_groups=False)
    assert shared.compute_groups == {0: ["BinaryPrecision", "BinaryRecall"], 1: ["BinaryAUROC", "BinaryROC"]}
    assert len(alone.compute_groups) == 4
    for number, batch in enumerate(batches):
        if number == 1:  # calls and updates may be mixed
            assert numbers(shared(*batch)) == numbers(alone(*batch))
        else:
            shared.update(*batch)
            alone.update(*batch)
        assert numbers(shared.compute()) == numbers(alone.compute())
    assert shared["BinaryROC"].update_count == 3
    shared.reset()
    assert not any(metric.update_called for metric in shared.values())


def test_different_thresholds_do_not_share() -> None:
    pair = metrics.MetricCollection({"a": metrics.BinaryPrecision(0.3), "b": metrics.BinaryPrecision(0.6)})
    assert len(pair.compute_groups) == 2


def test_names() -> None:
    collection = metrics.MetricCollection({"b": metrics.MeanMetric(), "a": metrics.SumMetric()}, prefix="val_", postfix="!")
    collection.update(2.0)
    assert numbers(collection.compute()) == {"val_a!": 2, "val_b!": 2}
    assert collection.keys(keep_base=True) == ["a", "b"] and list(collection) == ["val_a!", "val_b!"]
    assert collection["a"] is collection["val_a!"] and "b" in collection and len(collection) == 2
    assert collection.clone(prefix="test_").keys() == ["test_a!", "test_b!"]
    nested = metrics.MetricCollection({"x": collection, "y": metrics.MaxMetric()})
    assert nested.keys() == ["x_val_a!", "x_val_b!", "y"]


def test_each_metric_gets_the_keyword_arguments_it_has() -> None:
    collection = metrics.MetricCollection([metrics.MeanMetric(), metrics.SumMetric()])
    collection.update(value=3.0, weight=2.0)
    assert numbers(collection.compute()) == {"MeanMetric": 3, "SumMetric": 3}


@pytest.mark.parametrize("bad", [[metrics.MeanMetric(), metrics.MeanMetric()], ["mean"], 3, {"a": 1}], ids=str)
def test_mistakes(bad: Any) -> None:
    with pytest.raises(ValueError):
        metrics.MetricCollection(bad)


def test_tracker_of_a_collection() -> None:
    tracker = metrics.MetricTracker(metrics.MetricCollection([metrics.MaxMetric(), metrics.MinMetric()]))
    with pytest.raises(ValueError, match="increment"):
        tracker.update(1.0)
    for value in (2.0, 1.0, 3.0):
        tracker.increment()
        tracker.update(value)
    assert tracker.maximize == [True, False] and tracker.n_steps == 3
    assert tracker.best_metric(return_step=True) == ({"MaxMetric": 3, "MinMetric": 1}, {"MaxMetric": 2, "MinMetric": 1})
    assert tracker.compute_all()["MaxMetric"].tolist() == [2, 1, 3]


def test_tracker_needs_to_know_what_is_better() -> None:
    with pytest.raises(AttributeError, match="maximize"):
        metrics.MetricTracker(metrics.MeanMetric())
    with pytest.raises(TypeError):
        metrics.MetricTracker("accuracy")
    with pytest.raises(ValueError):
        metrics.MetricTracker(metrics.MeanMetric(), maximize=[True])
