"""What the progress bar shows: in a terminal, in a file, and how rarely."""

from __future__ import annotations

import copy
import re
import sys
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from callbacks import ProgressBar, TQDMProgressBar
from callbacks.progress.lines import LineBar, format_metrics, format_time


@pytest.fixture
def terminal(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[[], str]:
    """Standard output that says it is a terminal; `terminal()` gives what was written to it."""
    monkeypatch.setattr(type(sys.stdout), "isatty", lambda stream: True, raising=False)
    return lambda: capsys.readouterr().out


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A clock that stands still until a test moves `clock.now`."""
    clock = SimpleNamespace(now=1000.0)
    monkeypatch.setattr("callbacks.progress.tqdm_progress.monotonic", lambda: clock.now)
    monkeypatch.setattr("callbacks.progress.lines.time.monotonic", lambda: clock.now)
    return clock


def loss_on_bar(trainer, clock=None, seconds_per_step: float = 0.0):
    def train(step: int) -> dict[str, float]:
        trainer.progress_bar_metrics["loss"] = 1.0 / (step + 1)
        if clock is not None:
            clock.now += seconds_per_step
        return {}

    return train


# ---------------------------------------------------------------------- lines, where output is a file


def test_a_file_gets_a_line_per_epoch(make_trainer, capsys: pytest.CaptureFixture[str], clock) -> None:
    trainer = make_trainer(TQDMProgressBar())
    trainer.fit(epochs=2, train=loss_on_bar(trainer, clock, 1.0), val=lambda _: {})
    assert capsys.readouterr().out.splitlines() == [
        "Epoch 0: 4/4 [00:04<00:00, 1.00it/s, loss=0.250]",
        "Epoch 1: 4/4 [00:04<00:00, 1.00it/s, loss=0.125]",
    ]


def test_a_long_epoch_gets_a_line_now_and_then(make_trainer, capsys: pytest.CaptureFixture[str], clock) -> None:
    trainer = make_trainer(TQDMProgressBar(), num_training_batches=100)
    trainer.fit(train=loss_on_bar(trainer, clock, 0.5))  # 50 seconds
    counts = [line.split()[2] for line in capsys.readouterr().out.splitlines()]
    assert counts == ["20/100", "40/100", "60/100", "80/100", "100/100", "100/100"] or counts[-1] == "100/100"
    assert len(counts) <= 6


def test_validation_within_fit_is_quiet_in_a_file_and_a_run_of_its_own_is_not(
    make_trainer, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = make_trainer(TQDMProgressBar())
    trainer.call("setup", stage="fit")
    trainer.validate({})
    assert capsys.readouterr().out == ""
    trainer.state.fn = "validate"
    trainer.validate({})
    assert capsys.readouterr().out.startswith("Validation DataLoader 0: 2/2 [")


@pytest.mark.parametrize("stage, word", [("test", "Testing"), ("predict", "Predicting")])
def test_test_and_predict(make_trainer, capsys: pytest.CaptureFixture[str], stage: str, word: str) -> None:
    trainer = make_trainer(TQDMProgressBar(), num_test_batches=[2, 3], num_predict_batches=[2, 3])
    trainer.state.fn = stage
    trainer.call("setup", stage=stage)
    trainer.call(f"on_{stage}_start")
    for loader, batches in enumerate([2, 3]):
        for index in range(batches):
            trainer.call(f"on_{stage}_batch_start", None, index, loader)
            trainer.call(f"on_{stage}_batch_end", None, None, index, loader)
    trainer.call(f"on_{stage}_end")
    assert capsys.readouterr().out.startswith(f"{word} DataLoader 1: 3/3 [")


def test_an_endless_loader_has_no_total(make_trainer, capsys: pytest.CaptureFixture[str]) -> None:
    bar = TQDMProgressBar()
    trainer = make_trainer(bar)
    trainer.call("setup", stage="fit")
    trainer.call("on_train_start")
    trainer.num_training_batches = float("inf")
    trainer.call("on_train_epoch_start")
    trainer.call("on_train_batch_end", None, None, 6)
    trainer.call("on_train_epoch_end")
    assert re.match(r"Epoch 0: 7/\? \[00:00<\?, ", capsys.readouterr().out)


# ---------------------------------------------------------------------- bars, in a terminal


def test_a_terminal_gets_a_bar_that_ends_full(make_trainer, terminal) -> None:
    trainer = make_trainer(TQDMProgressBar())
    trainer.fit(epochs=2, train=loss_on_bar(trainer), val=lambda _: {})
    last = terminal().replace("\n", "\r").split("\r")
    assert any(re.match(r"Epoch 0: 100%\|.*\| 4/4 \[.*loss=0.250\]", part) for part in last)
    assert any(re.match(r"Epoch 1: 100%\|.*\| 4/4 \[.*loss=0.125\]", part) for part in last)
    assert any(part.startswith("Validation DataLoader 0: 100%") for part in "".join(last).split("\x1b[A"))


def test_it_is_drawn_by_time_and_not_by_step(make_trainer, terminal, clock, monkeypatch) -> None:
    bar = TQDMProgressBar(refresh_rate=1)
    trainer = make_trainer(bar, num_training_batches=1000)
    drawn = []
    show = bar._show_train
    monkeypatch.setattr(bar, "_show_train", lambda *args: (drawn.append(bar._train_batches_done), show(*args)))
    trainer.fit(train=loss_on_bar(trainer, clock, 0.001))  # a second in all
    assert len(drawn) <= 1 / bar.SECONDS_BETWEEN_DRAWINGS + 1 and drawn[-1] == 1000


def test_a_step_costs_one_python_call(make_trainer, capsys: pytest.CaptureFixture[str]) -> None:
    bar = TQDMProgressBar()
    trainer = make_trainer(bar)
    trainer.call("setup", stage="fit")
    trainer.call("on_train_start")
    trainer.call("on_train_epoch_start")
    calls = []
    sys.setprofile(lambda frame, event, argument: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        bar.on_train_batch_end(trainer, None, None, None, 0)
    finally:
        sys.setprofile(None)
    assert calls == ["on_train_batch_end"]


def test_a_notebook_gets_tqdms_notebook_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    from tqdm.auto import tqdm

    from callbacks.progress.tqdm_progress import _bar_class

    shell = SimpleNamespace(config={"IPKernelApp": {}})
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=lambda: shell))
    assert _bar_class() is tqdm
    shell.config = {}  # IPython in a terminal, its output sent to a file
    assert _bar_class() is None


def test_leave_keeps_a_bar_for_every_epoch(make_trainer, terminal) -> None:
    make_trainer(TQDMProgressBar(leave=True)).fit(epochs=3)
    lines = [line.split("\r")[-1][:13] for line in terminal().split("\n")]
    assert [line for line in lines if line.startswith("Epoch")] == [f"Epoch {n}: 100%" for n in range(3)]


def test_printing_does_not_break_the_bar(make_trainer, terminal) -> None:
    bar = TQDMProgressBar()
    trainer = make_trainer(bar)
    trainer.fit(train=lambda step: bar.print("step", step) or {})
    assert "step 2\n" in re.sub(r"[\r ]{2,}|\r", "", terminal())


def test_printing_without_a_bar(capsys: pytest.CaptureFixture[str]) -> None:
    TQDMProgressBar().print("a", "b", sep="-")
    assert capsys.readouterr().out == "a-b\n"


def test_an_exception_closes_the_bars(make_trainer, terminal) -> None:
    bar = TQDMProgressBar()
    trainer = make_trainer(bar)
    trainer.call("setup", stage="fit")
    trainer.call("on_train_start")
    trainer.call("on_train_epoch_start")
    trainer.call("on_exception", ValueError())
    assert bar.train_progress_bar.disable and terminal().endswith("\n")


def test_no_monitor_thread(make_trainer, terminal) -> None:
    import threading

    make_trainer(TQDMProgressBar()).fit()
    assert not [t for t in threading.enumerate() if "TMonitor" in type(t).__name__]


# ---------------------------------------------------------------------- settings


@pytest.mark.parametrize("quiet", ["refresh_rate", "disable", "rank"])
def test_showing_nothing(make_trainer, capsys: pytest.CaptureFixture[str], quiet: str) -> None:
    bar = TQDMProgressBar(refresh_rate=0 if quiet == "refresh_rate" else 1)
    if quiet == "disable":
        bar.disable()
    make_trainer(bar, is_global_zero=quiet != "rank").fit(epochs=2, val=lambda _: {})
    assert bar.is_disabled and capsys.readouterr().out == ""
    if quiet == "disable":
        bar.enable()
        assert bar.is_enabled


def test_metrics_can_be_changed(make_trainer, capsys: pytest.CaptureFixture[str]) -> None:
    class NoVersion(TQDMProgressBar):
        def get_metrics(self, trainer, pl_module):
            items = super().get_metrics(trainer, pl_module)
            del items["v_num"]
            return {**items, "extra": "yes"}

    trainer = make_trainer(NoVersion(), loggers=[SimpleNamespace(version=7)])
    trainer.fit()
    assert "v_num" not in (out := capsys.readouterr().out) and "extra=yes" in out


@pytest.mark.parametrize("version, shown", [(7, {"v_num": 7}), ("long-name", {"v_num": "name"}), ("", {})])
def test_version_of_the_first_logger(make_trainer, version: object, shown: dict[str, object]) -> None:
    trainer = make_trainer(loggers=[SimpleNamespace(version=version)], progress_bar_metrics={"loss": 1.0})
    assert ProgressBar().get_metrics(trainer, None) == {**shown, "loss": 1.0}


def test_a_bar_can_be_replaced(make_trainer, capsys: pytest.CaptureFixture[str]) -> None:
    class Mine(TQDMProgressBar):
        def init_train_tqdm(self):
            return LineBar("mine")

        def on_train_epoch_start(self, trainer, pl_module):
            super().on_train_epoch_start(trainer, pl_module)
            self.train_progress_bar.set_description(f"my epoch {trainer.current_epoch}")

    make_trainer(Mine()).fit()
    assert capsys.readouterr().out.startswith("my epoch 0: 4/4")


def test_bars_and_trainer_exist_only_in_a_run() -> None:
    bar = TQDMProgressBar()
    for name in ("train_progress_bar", "val_progress_bar", "test_progress_bar", "predict_progress_bar", "trainer"):
        with pytest.raises(TypeError, match=name):
            getattr(bar, name)


def test_it_can_be_copied_after_a_run(make_trainer, terminal) -> None:
    bar = TQDMProgressBar(process_position=2)
    make_trainer(bar).fit()
    bar._trainer = None
    assert copy.deepcopy(bar).process_position == 2


def test_totals(make_trainer) -> None:
    bar = ProgressBar()
    trainer = make_trainer(bar, num_val_batches=[2, 5], num_sanity_val_batches=[1, 1])
    bar._trainer = trainer
    assert bar.has_dataloader_changed(1) and not bar.has_dataloader_changed(1)
    assert bar.total_val_batches_current_dataloader == 5 and bar.total_val_batches == 7
    trainer.sanity_checking = True
    assert bar.total_val_batches_current_dataloader == 1
    trainer.check_val_every_n_epoch = 2
    assert bar.total_val_batches == 0
    trainer.max_epochs, trainer.max_steps, trainer.global_step = -1, 10, 8
    assert bar.total_train_batches == 2


@pytest.mark.parametrize("method", ["enable", "disable"])
def test_the_base_class_leaves_showing_to_others(method: str) -> None:
    with pytest.raises(NotImplementedError, match=method):
        getattr(ProgressBar(), method)()


@pytest.mark.parametrize(
    "value, text",
    [(3, "3"), ("x", "x"), (0.5, "0.500"), (12.0, "12.00"), (123.0, "123.0"), (1234.0, "1.23e3"), (2e-9, "2e-9"),
     (float("nan"), "nan"), ({"a": 1.0}, "{a=1.000}")],
)  # fmt: skip
def test_numbers_keep_their_width(value: object, text: str) -> None:
    assert format_metrics({"m": value}) == f"m={text}"


def test_times() -> None:
    assert [format_time(s) for s in (0, 59.9, 60, 3600)] == ["00:00", "00:59", "01:00", "1:00:00"]
