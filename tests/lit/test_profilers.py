"""Profilers: totals that add up, one report per run, and no cost when off."""

from __future__ import annotations

import cProfile
import pstats
import time
from pathlib import Path
from typing import Any

import pytest

import lit as pl
from lit.profilers import AdvancedProfiler, PassThroughProfiler, Profiler, SimpleProfiler
from tests.lit.models import Net, loader, quiet_trainer


class Kept(SimpleProfiler):
    """Keeps the reports instead of printing them."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.reports: list[str] = []

    def describe(self, print_text: Any = print) -> None:
        self.reports.append(self.summary())


def test_every_second_of_a_fit_belongs_to_one_action() -> None:
    profiler = Kept()
    trainer = quiet_trainer(profiler=profiler, max_epochs=2, gradient_clip_val=1.0)
    trainer.fit(Net(), loader(), loader())
    own = sum(record.own for record in profiler.records.values())
    assert own == pytest.approx(profiler.records["fit"].total, rel=1e-9)
    assert not profiler.current_actions
    calls = profiler.calls
    assert calls["[LightningModule]Net.training_step"] == 8 == calls["[LightningModule]Net.optimizer_step"]
    assert calls["[LightningModule]Net.validation_step"] == 2 + 8
    assert calls["[LightningModule]Net.backward"] == calls["run_training_batch"] == 8
    assert calls["[LightningModule]Net.configure_gradient_clipping"] == 8
    assert calls["run_training_epoch"] == 2
    assert calls["train_dataloader_next"] == 8


def test_the_time_of_an_action_is_its_own_and_what_runs_inside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])
    profiler = SimpleProfiler()
    with profiler.profile("outer"):
        now[0] = 1.0
        with profiler.profile("inner"):
            now[0] = 4.0
        now[0] = 6.0
    outer, inner = profiler.records["outer"], profiler.records["inner"]
    assert (outer.total, outer.own, inner.total, inner.own) == (6.0, 3.0, 3.0, 3.0)
    rows = {line.split()[0]: line.split()[1:] for line in profiler.summary().splitlines()[2:]}
    assert rows["outer"] == ["6.00000", "1", "6.0000", "100.00", "3.0000", "50.00"]
    assert rows["sum"] == ["6.0000", "100.00"]


def test_each_run_has_its_own_report(tmp_path: Path) -> None:
    trainer = quiet_trainer(profiler=SimpleProfiler(tmp_path, "time"))
    trainer.fit(Net(), loader())
    trainer.validate(Net(), loader(), verbose=False)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fit-time.txt", "validate-time.txt"]
    text = (tmp_path / "validate-time.txt").read_text()
    assert "validation_step" in text and "training_step" not in text


def test_a_run_that_fails_is_reported_too() -> None:
    class Fails(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise RuntimeError("broken")

    profiler = Kept()
    trainer = quiet_trainer(profiler=profiler)
    with pytest.raises(RuntimeError, match="broken"):
        trainer.fit(Fails(), loader())
    assert "training_step" in profiler.reports[0] and not profiler.current_actions
    trainer.fit(Net(), loader())
    assert len(profiler.reports) == 2


def test_names_and_objects() -> None:
    assert isinstance(quiet_trainer().profiler, PassThroughProfiler)
    assert isinstance(quiet_trainer(profiler="simple").profiler, SimpleProfiler)
    assert isinstance(quiet_trainer(profiler="Advanced").profiler, AdvancedProfiler)
    own = Kept()
    assert quiet_trainer(profiler=own).profiler is own


@pytest.mark.parametrize("profiler", [SimpleProfiler(), AdvancedProfiler()])
def test_wrong_starts_and_stops(profiler: Profiler) -> None:
    with pytest.raises(ValueError, match="never started"):
        profiler.stop("a")
    with profiler.profile("a"), pytest.raises(ValueError, match="already started"):
        profiler.start("a")


def test_the_advanced_profiler_counts_every_call_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    profiler = AdvancedProfiler(tmp_path, line_count_restriction=5, dump_stats=True)
    quiet_trainer(profiler=profiler).fit(Net(), loader())
    printed = capsys.readouterr().out
    assert "Profile of [LightningModule]Net.training_step" in printed
    path = tmp_path / "fit-[LightningModule]Net.training_step.prof"
    found: Any = pstats.Stats(str(path))
    calls = {name: counts[0] for (_, _, name), counts in found.stats.items()}
    assert calls["training_step"] == calls["mse_loss"] == 4
    assert "backward" not in calls
    with cProfile.Profile():  # none is left running
        pass


def test_off_means_that_nothing_is_wrapped() -> None:
    trainer = quiet_trainer()
    model = Net()
    trainer.fit(model, loader())
    assert trainer.fit_loop.call_step == model.training_step
    assert trainer.fit_loop.train_batch == trainer.fit_loop._train_batch


def test_users_measure_their_own_actions() -> None:
    class Measures(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            with self.trainer.profiler.profile("loss"):
                return super().training_step(batch, batch_idx)

    profiler = Kept(extended=False)
    quiet_trainer(profiler=profiler).fit(Measures(), loader())
    assert profiler.calls["loss"] == 4
    assert "calls" not in profiler.reports[0]
    quiet_trainer().fit(Measures(), loader())
    assert pl.profilers.SimpleProfiler is SimpleProfiler
