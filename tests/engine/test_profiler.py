"""torch.profiler, FLOP counts and timers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import engine
from engine import nn, profiler
from engine.ops.base import CARDS
from engine.utils import benchmark
from engine.utils.flop_counter import FlopCounterMode


def step() -> None:
    nn.Linear(3, 2)(engine.ones(4, 3)).sum().backward()


def test_a_profile_has_operators_scopes_and_a_table() -> None:
    with profiler.profile(activities=[profiler.ProfilerActivity.CPU], record_shapes=True) as prof:
        with profiler.record_function("whole"):
            step()
    by_name = {row.key: row for row in prof.key_averages()}
    assert by_name["linear"].count == 1 and by_name["AddmmBackward0"].count == 1
    whole = by_name["whole"]
    assert whole.cpu_time_total > by_name["linear"].cpu_time_total and whole.self_cpu_time_total < whole.cpu_time_total
    text = prof.key_averages(group_by_input_shape=True).table(sort_by="self_cpu_time_total", row_limit=5)
    assert "Self CPU time total" in text and "4x3 2x3 2" in prof.key_averages(group_by_input_shape=True).table()
    with pytest.raises(ValueError, match="sort_by"):
        prof.key_averages().table(sort_by="weight")


def test_nothing_is_measured_outside() -> None:
    prof = profiler.profile()
    step()
    with profiler.record_function("outside"):
        pass
    assert not prof.key_averages()


def test_a_schedule_is_torchs() -> None:
    theirs: Any = pytest.importorskip("torch").profiler
    for options in ({"wait": 1, "warmup": 1, "active": 3, "repeat": 2}, {"wait": 2, "warmup": 0, "active": 1},
                    {"wait": 2, "warmup": 1, "active": 2, "skip_first": 3, "skip_first_wait": 1}):  # fmt: skip
        ours, reference = profiler.schedule(**options), theirs.schedule(**options)
        assert [ours(i).name for i in range(20)] == [reference(i).name for i in range(20)]


def test_traces_are_written_when_the_schedule_says_so(tmp_path: Path) -> None:
    handler = profiler.tensorboard_trace_handler(str(tmp_path), "me", use_gzip=True)
    with profiler.profile(schedule=profiler.schedule(wait=1, warmup=0, active=2, repeat=1), on_trace_ready=handler) as prof:
        for _ in range(5):
            step()
            prof.step()
    (path,) = tmp_path.iterdir()
    assert path.name.startswith("me.") and path.name.endswith(".pt.trace.json.gz")
    names = [event["name"] for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]]
    assert names.count("linear") == 2 and "ProfilerStep#1" in names and "ProfilerStep#2" in names


def test_what_is_not_recorded_is_said() -> None:
    with pytest.warns(UserWarning, match="with_stack"):
        profiler.profile(with_stack=True)


MODELS: dict[str, Any] = {
    "linear": lambda m: (m.nn.Sequential(m.nn.Linear(4, 5), m.nn.ReLU(), m.nn.Linear(5, 2)), m.ones(2, 3, 4)),
    "convolution": lambda m: (m.nn.Sequential(m.nn.Conv2d(3, 6, 3, stride=2, padding=1), m.nn.ConvTranspose2d(6, 4, 3)),
                              m.ones(2, 3, 8, 8)),
    "transformer": lambda m: (m.nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), m.ones(2, 5, 8)),
    "cell": lambda m: (m.nn.GRUCell(4, 5), m.ones(2, 4)),
}  # fmt: skip


@pytest.mark.parametrize("name", MODELS)
def test_flops_are_torchs(name: str) -> None:
    theirs: Any = pytest.importorskip("torch")
    from torch.utils.flop_counter import FlopCounterMode as Theirs

    found = []
    for library, mode in ((engine, FlopCounterMode), (theirs, Theirs)):
        model, x = MODELS[name](library)
        with mode(display=False) as counter:
            model(x).sum().backward()
        found.append({module: sum(counts.values()) for module, counts in counter.get_flop_counts().items()})
    assert found[0] == found[1]


def test_flops_of_a_second_derivative_and_of_recurrent_layers() -> None:
    x = engine.ones(2, 3, requires_grad=True)
    with FlopCounterMode(display=False) as counter:
        (g,) = engine.autograd.grad((x @ engine.ones(3, 5, requires_grad=True)).pow(2).sum(), x, create_graph=True)
        g.sum().backward()
    assert counter.get_total_flops() == 60 * (1 + 1 + 2 + 2)  # forward, to x alone, and both operands of either product
    with FlopCounterMode(display=False) as counter, engine.no_grad():
        nn.LSTM(4, 5)(engine.ones(3, 2, 4))
    assert counter.get_flop_counts()["LSTM"] == {"lstm": 2 * 6 * (4 + 5) * 20}


def test_counting_leaves_nothing_behind(capsys: pytest.CaptureFixture[str]) -> None:
    def places() -> list[Any]:
        return [CARDS["matmul"].apply, vars(CARDS["matmul"].Node).get("run"), engine.ops.readings.apply]

    before = places()
    with pytest.raises(RuntimeError), FlopCounterMode():
        engine.ones(2, 3) @ engine.ones(2, 3)
    assert places() == before and "Global" in capsys.readouterr().out


def test_a_timer_measures() -> None:
    timer = benchmark.Timer("f(x)", globals={"f": engine.exp, "x": engine.ones(3)}, label="exp", description="ours")
    found = timer.blocked_autorange(min_run_time=0.002)
    assert found.median > 0 and found.iqr >= 0 and "exp" in repr(found)
    assert "ours" in str(benchmark.Compare([found, timer.timeit(10)]))
    with pytest.raises(NotImplementedError):
        benchmark.Timer(language="c++")


def test_named_like_torchs() -> None:
    theirs: ModuleType = pytest.importorskip("torch").profiler
    assert all(hasattr(theirs, name) for name in profiler.__all__)
