"""What every metric can do: states, caching, saving, moving, merging."""

from __future__ import annotations

import copy
import subprocess
import sys
import warnings
from typing import Any

import pytest

import engine
from engine import nn
from lit import metrics
from lit.metric_state import load_progress, save_progress


class Mean(metrics.Metric):
    """A user's metric, written as for torchmetrics, with states that are changed in place."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.add_state("total", engine.tensor(0.0), dist_reduce_fx="sum")
        self.add_state("count", engine.tensor(0), dist_reduce_fx="sum")
        self.add_state("seen", [], dist_reduce_fx="cat")
        self.computed = 0

    def update(self, values: engine.Tensor) -> None:
        self.total += values.sum()
        self.count += values.numel()
        self.seen.append(values)

    def compute(self) -> engine.Tensor:
        self.computed += 1
        return self.total / self.count


class MergedMean(Mean):
    full_state_update = False


@pytest.mark.parametrize("kind", [Mean, MergedMean])
def test_a_call_gives_the_value_of_the_batch_and_gathers_it(kind: type) -> None:
    metric = kind()
    assert metric(engine.tensor([1.0, 3.0])).item() == 2
    assert metric(engine.tensor([6.0])).item() == 6
    assert metric.compute().item() == pytest.approx(10 / 3)
    assert metric.update_count == 2 and len(metric.seen) == 2


def test_reset_forgets_and_defaults_stay_what_they_were() -> None:
    metric = Mean()
    metric.update(engine.tensor([5.0]))
    metric.reset()
    assert (metric.total.item(), metric.count.item(), metric.seen, metric.update_called) == (0, 0, [], False)
    metric.update(engine.tensor([7.0]))
    metric.reset()
    assert metric.total.item() == 0


def test_compute_is_cached_until_the_next_update() -> None:
    metric = Mean()
    metric.update(engine.tensor([1.0]))
    metric.compute(), metric.compute()
    assert metric.computed == 1
    metric.update(engine.tensor([2.0]))
    assert metric.compute().item() == 1.5 and metric.computed == 2
    uncached = Mean(compute_with_cache=False)
    uncached.update(engine.tensor([1.0]))
    uncached.compute(), uncached.compute()
    assert uncached.computed == 2


def test_compute_before_update_warns() -> None:
    with pytest.warns(UserWarning, match="before any update"):
        Mean().compute()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Mean()(engine.tensor([1.0]))


def test_a_failing_batch_leaves_the_states_as_they_were() -> None:
    metric = metrics.MulticlassAccuracy(num_classes=3, average="micro")
    metric.update(engine.tensor([0, 1]), engine.tensor([0, 2]))
    with pytest.raises(RuntimeError):
        metric(engine.tensor([0]), engine.tensor([7]))
    assert metric.compute().item() == 0.5 and metric.update_count == 1


def test_an_update_may_call_its_parents_update() -> None:
    class Louder(Mean):
        def update(self, values: engine.Tensor) -> None:
            super().update(values * 10)

        def compute(self) -> engine.Tensor:
            return super().compute() + 1

    metric = Louder()
    metric.update(engine.tensor([1.0]))
    assert metric.update_count == 1 and metric.compute().item() == 11
    assert metric(engine.tensor([2.0])).item() == 21 and metric.compute().item() == 16


def test_states_are_saved_if_persistent() -> None:
    metric = Mean()
    metric.update(engine.tensor([1.0, 2.0]))
    assert metric.state_dict() == {}
    metric.persistent(True)
    state = metric.state_dict()
    metric.update(engine.tensor([10.0]))
    assert set(state) == {"total", "count", "seen"} and state["total"].item() == 3
    other = nn.ModuleDict({"mean": Mean()})
    other["mean"].persistent(True)
    other.load_state_dict({f"mean.{name}": value for name, value in state.items()})
    assert other["mean"].compute().item() == 1.5


def test_progress_holds_everything_for_an_exact_resume() -> None:
    module = nn.ModuleDict({"auroc": metrics.BinaryAUROC(), "pair": metrics.MetricCollection(
        [metrics.BinaryPrecision(), metrics.BinaryRecall()]), "idle": metrics.MeanMetric()})  # fmt: skip
    first, second = ((engine.rand(9), engine.randint(0, 2, (9,))) for _ in range(2))
    for name in ("auroc", "pair"):
        module[name].update(*first)
    progress = save_progress(module)
    assert set(progress) == {"auroc", "pair.BinaryPrecision", "pair.BinaryRecall"}
    resumed = copy.deepcopy(module)
    for metric in resumed.values():
        metric.reset()
    load_progress(resumed, progress)
    for name in ("auroc", "pair"):
        module[name].update(*second)
        resumed[name].update(*second)
    assert module["auroc"].compute().item() == resumed["auroc"].compute().item()
    assert module["pair"].compute() == resumed["pair"].compute()
    with pytest.raises(KeyError, match="states"):
        metrics.MeanMetric().load_progress(progress["auroc"])


def test_half_precision_modules_do_not_round_states() -> None:
    metric = metrics.MeanMetric()
    metric.update(engine.ones(3000))
    nn.ModuleDict({"mean": metric}).to(engine.bfloat16)
    metric.update(0.0)
    assert metric.mean_value.dtype == engine.float64 and metric.compute().item() == pytest.approx(3000 / 3001)


def test_copies_share_nothing() -> None:
    metric = Mean()
    metric.update(engine.tensor([1.0]))
    other = metric.clone()
    other.update(engine.tensor([3.0]))
    assert metric.compute().item() == 1 and other.compute().item() == 2


def test_gradients_flow_through_functions_and_calls_and_stop_at_states() -> None:
    preds = engine.tensor([1.0, 2.0], requires_grad=True)
    metrics.functional.mean_squared_error(preds, engine.zeros(2)).backward()
    assert preds.grad.tolist() == [1, 2]
    metric = metrics.MeanSquaredError()
    assert metric(preds, engine.zeros(2)).requires_grad
    assert not metric.compute().requires_grad and not metric.sum_error.requires_grad


def test_add_state_checks() -> None:
    with pytest.raises(ValueError, match="state variable"):
        Mean().add_state("x", [1])
    with pytest.raises(ValueError, match="dist_reduce_fx"):
        Mean().add_state("x", engine.tensor(0), dist_reduce_fx="median")
    with pytest.raises(ValueError, match="`oops`"):
        Mean(oops=1)


def test_nan_strategies() -> None:
    with pytest.warns(UserWarning, match="NaN"):
        metrics.MeanMetric().update(float("nan"))
    with pytest.raises(RuntimeError, match="nan"):
        metrics.MeanMetric("error").update(float("nan"))


def test_lit_does_not_load_metrics_by_itself() -> None:
    program = "import sys, lit; before = 'lit.metrics' in sys.modules; lit.metrics.MeanMetric; print(before)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "False", done.stderr
