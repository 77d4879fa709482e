"""RichProgressBar and RichModelSummary, drawn into a console that keeps what it is given."""

from __future__ import annotations

import copy
import io
from collections.abc import Iterator
from importlib import util
from typing import Any

import pytest

import engine
import lit as pl
from tests.lit.models import Net, loader, quiet_trainer

rich = pytest.importorskip("rich")


class Logging(Net):
    def __init__(self) -> None:
        super().__init__()
        self.example_input_array = engine.ones(5, 4)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        loss = self.loss(batch)
        self.log("loss", loss, prog_bar=True)
        if batch_idx == 0:
            self.print("a line [with brackets]")
        return loss

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self(batch[0])


@pytest.fixture
def console() -> Iterator[io.StringIO]:
    """What rich writes, as on a terminal of 150 columns."""
    out = io.StringIO()
    rich.reconfigure(file=out, force_terminal=True, width=150, color_system=None)
    yield out
    rich.reconfigure()


def trainer(*callbacks: Any, **flags: Any) -> pl.Trainer:
    return quiet_trainer(callbacks=list(callbacks), enable_progress_bar=True, enable_model_summary=True, **flags)


def test_the_bars_of_a_fit(console: io.StringIO) -> None:
    bar = pl.callbacks.RichProgressBar(leave=True)
    run = trainer(bar, pl.callbacks.ModelSummary(max_depth=0), max_epochs=2)
    run.fit(Logging(), loader(), loader())
    text = console.getvalue()
    for words in ("Sanity Checking", "Epoch 0/1", "Epoch 1/1", "Validation", "4/4", "it/s", "a line [with brackets]"):
        assert words in text, words
    assert "loss: 0." in text or "loss: 1." in text or "loss: 2." in text
    assert run.progress_bar_callback is bar and bar.progress is None


def test_test_and_predict_and_loaders_without_length(console: io.StringIO) -> None:
    run = trainer(pl.callbacks.RichProgressBar(), pl.callbacks.ModelSummary(max_depth=0), limit_train_batches=3)
    run.test(Logging(), loader(), verbose=False)
    run.predict(Logging(), loader())
    run.fit(Logging(), (batch for batch in loader()))
    assert all(words in console.getvalue() for words in ("Testing", "Predicting", "4/4"))


def test_columns_metrics_and_theme_can_be_changed(console: io.StringIO) -> None:
    class Bar(pl.callbacks.RichProgressBar):
        def configure_columns(self, trainer: Any) -> list[Any]:
            return ["{task.description} so far {task.completed}"]

        def get_metrics(self, trainer: Any, pl_module: Any) -> dict[str, Any]:
            return {"answer": 0.5, "name": "x", "count": 3}

    theme = pl.callbacks.progress.RichProgressBarTheme(description="green", metrics_text_delimiter=" | ", metrics_format=".1e")
    trainer(Bar(theme=theme), pl.callbacks.ModelSummary(max_depth=0)).fit(Logging(), loader(), loader())
    assert "Epoch 0/0  so far 4" in console.getvalue()
    assert "answer: 5.0e-01 | name: x | count: 3" in console.getvalue()


def test_a_quiet_bar_and_a_copy(console: io.StringIO) -> None:
    bar = copy.deepcopy(pl.callbacks.RichProgressBar(refresh_rate=0))
    trainer(bar, pl.callbacks.ModelSummary(max_depth=0)).fit(Logging(), loader(), loader())
    assert console.getvalue() == "" and bar.is_disabled
    with pytest.raises(TypeError, match="not been shown"):
        _ = bar.train_progress_bar


def test_an_error_ends_the_drawing(console: io.StringIO) -> None:
    class Broken(Logging):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            raise ArithmeticError

    bar = pl.callbacks.RichProgressBar()
    with pytest.raises(ArithmeticError):
        trainer(bar, pl.callbacks.ModelSummary(max_depth=0)).fit(Broken(), loader(), loader())
    assert bar.progress is None


def test_the_summary(console: io.StringIO) -> None:
    summary = pl.callbacks.RichModelSummary(max_depth=-1, header_style="bold")
    quiet_trainer(callbacks=summary, enable_model_summary=True).fit(Logging(), loader(), loader())
    text = console.getvalue()
    assert "│ 0 │ layer │ Linear  │      5 │ train │    40 │   [5, 4] │    [5, 1] │" in text
    assert "Total FLOPs: 40" in text and "Non-trainable params: 0" in text


@pytest.mark.parametrize("kind", ["RichProgressBar", "RichModelSummary"])
def test_without_the_package_the_error_names_the_extra(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    find_spec = util.find_spec
    monkeypatch.setattr("callbacks.rich_package.find_spec", lambda name: None if name == "rich" else find_spec(name))
    with pytest.raises(ModuleNotFoundError, match=rf"{kind}.*litengine\[rich\]"):
        getattr(pl.callbacks, kind)()
