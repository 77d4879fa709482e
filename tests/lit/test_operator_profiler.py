"""OperatorProfiler: operators with shapes, times that add up, a Chrome trace, and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import engine
from engine import nn
from engine.autograd.graph import Node
from lit.profilers import OperatorProfiler
from tests.lit.models import Net, loader, quiet_trainer


def functions() -> list[Any]:
    return [engine.add, engine.Tensor.sum, engine.Tensor.__mul__, nn.functional.linear, Node.__dict__["run"]]


def test_operators_forward_and_backward_with_shapes() -> None:
    profiler = OperatorProfiler()
    layer = nn.Linear(3, 2)
    with profiler.watch():
        for _ in range(2):
            (layer(engine.ones(4, 3)) * 2.0).sum().backward()
    totals = profiler.totals
    assert totals["linear", "4x3 2x3 2"].calls == 2 and totals["sum", "4x2"].calls == 2
    assert totals["MulBackward0", "4x2"].calls == 2
    assert {kind for _, kind, *_ in profiler.recording.events} == {"forward", "backward"}


def test_time_inside_other_operators_is_counted_once() -> None:
    profiler = OperatorProfiler(record_shapes=False)
    times = iter([(5, 6), (2, 4), (6, 7), (1, 9), (10, 12)])  # two inside the fourth, one of them with one inside
    for start, end in [(2, 4), (5, 6), (6, 7), (1, 9), (10, 12)]:
        profiler.recording.note("op", False, start, end, [])
    total = profiler.totals["op", ""]
    assert total.total == sum(end - start for start, end in times) and total.own == (9 - 1) + (12 - 10)


def test_nothing_is_left_behind_even_after_a_failure() -> None:
    before = functions()
    with pytest.raises(RuntimeError), OperatorProfiler().watch():
        assert all(now is not old for now, old in zip(functions(), before, strict=True))
        engine.ones(2, 3) @ engine.ones(2, 3)
    assert all(now is old for now, old in zip(functions(), before, strict=True))


def test_gradients_are_the_same_while_watched() -> None:
    x = engine.tensor([0.5, -1.0], requires_grad=True)

    def gradient() -> list[float]:
        (y,) = engine.autograd.grad((x.tanh() * x).sum(), x, create_graph=True)
        (z,) = engine.autograd.grad(y.sum(), x)
        return z.tolist()

    expected = gradient()
    with OperatorProfiler().watch():
        assert gradient() == expected


def test_a_run_writes_table_and_trace(tmp_path: Path) -> None:
    profiler = OperatorProfiler(tmp_path, "ops", row_limit=3, max_events=20)
    quiet_trainer(profiler=profiler, max_epochs=1).fit(Net(), loader())
    table = (tmp_path / "fit-ops.txt").read_text()
    assert "Operators of fit" in table and "more" in table and len(table.splitlines()) == 7
    trace = json.loads((tmp_path / "fit-ops.json").read_text())
    events = trace["traceEvents"]
    assert all(event["ph"] == "X" and event["dur"] >= 0 and event["ts"] >= 0 for event in events)
    assert any(event["cat"] == "action" and event["name"] == "run_training_epoch" for event in events)
    assert sum(event["cat"] != "action" for event in events) == 20
    assert any(event.get("args", {}).get("shapes") for event in events)


def test_by_name_and_with_a_mistake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = quiet_trainer(profiler="pytorch", default_root_dir=tmp_path)
    assert type(trainer.profiler) is OperatorProfiler
    with pytest.raises(ValueError, match="sort_by"):
        OperatorProfiler(sort_by="memory")
