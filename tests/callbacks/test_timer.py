"""What Timer measures, and when it ends training. The clock is ours: a second passes at every look at it."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from callbacks import MisconfigurationException, Timer


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds = itertools.count(100.0)
    monkeypatch.setattr("callbacks.timer.time.monotonic", lambda: next(seconds))


@pytest.mark.parametrize(
    "duration",
    ["00:00:01:30", "90 s", "1.5min", timedelta(seconds=90), {"minutes": 1, "seconds": 30}],
    ids=["clock", "seconds", "minutes", "timedelta", "dict"],
)
def test_forms_of_duration(duration: object) -> None:
    assert Timer(duration).time_remaining() == 90.0


@pytest.mark.parametrize("duration", ["90", "1:30", "90 steps", "3 weeks", 90])
def test_other_forms_are_refused(duration: object) -> None:
    with pytest.raises(MisconfigurationException, match="DD:HH:MM:SS"):
        Timer(duration)


def test_interval_is_checked() -> None:
    with pytest.raises(MisconfigurationException, match="'step' or 'epoch'"):
        Timer(interval="batch")


def test_every_stage_is_measured(make_trainer) -> None:
    timer = Timer()
    trainer = make_trainer(timer)
    assert timer.start_time("validate") is None and timer.time_elapsed("validate") == 0.0
    trainer.fit(val=lambda _: {})
    assert timer.end_time("train") - timer.start_time("train") == timer.time_elapsed("train") == 3.0
    assert timer.time_elapsed("validate") == 1.0
    for stage in ("test", "predict", "sanity_check"):
        trainer.call(f"on_{stage}_start")
        trainer.call(f"on_{stage}_end")
        assert timer.time_elapsed(stage) == 1.0
    assert timer.time_remaining() is None


def test_unknown_stage() -> None:
    with pytest.raises(ValueError, match="'fit'"):
        Timer().time_elapsed("fit")


def test_it_stops_after_a_step(make_trainer) -> None:
    trainer = make_trainer(Timer(timedelta(seconds=2)))
    trainer.fit(epochs=5)
    assert trainer.should_stop and trainer.current_epoch == 0
    assert trainer.printed[0].startswith("Time limit reached") and len(trainer.printed) == 1


def test_it_stops_after_an_epoch(make_trainer) -> None:
    trainer = make_trainer(Timer(timedelta(seconds=2), interval="epoch", verbose=False))
    trainer.fit(epochs=5)
    assert trainer.should_stop and trainer.current_epoch == 1 and trainer.printed == []


def test_time_of_the_run_before_counts(make_trainer) -> None:
    first = Timer(timedelta(hours=1))
    make_trainer(first).fit()
    second = Timer(timedelta(hours=1))
    second.load_state_dict(first.state_dict())
    assert second.time_elapsed() == first.time_elapsed() > 0
    used_up = Timer(timedelta(seconds=1))
    used_up.load_state_dict({"time_elapsed": {"train": 5.0}})
    trainer = make_trainer(used_up)
    trainer.call("on_fit_start")
    assert trainer.should_stop
