"""The names that LearningRateMonitor gives, and when it logs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from callbacks import LearningRateMonitor, MisconfigurationException


class Log:
    """A logger that keeps what it is given."""

    def __init__(self) -> None:
        self.lines: list[tuple[int, dict[str, float]]] = []

    def log_metrics(self, metrics: dict[str, float], step: int) -> None:
        self.lines.append((step, metrics))


class Adam:
    def __init__(self, *groups: dict[str, object]) -> None:
        self.defaults = {"betas": (0.9, 0.999)}
        base = {"lr": 0.1, "weight_decay": 0.01, **self.defaults}
        self.param_groups = [{**base, **group} for group in groups or ({},)]


class SGD(Adam):
    def __init__(self, *groups: dict[str, object]) -> None:
        super().__init__(*groups)
        self.defaults = {"momentum": 0.8}
        for group in self.param_groups:
            del group["betas"]
            group["momentum"] = 0.8


class Plain(SGD):
    def __init__(self) -> None:
        super().__init__()
        self.defaults = {}
        del self.param_groups[0]["momentum"]


def scheduled(optimizer: Adam, interval: str = "epoch", name: str | None = None) -> SimpleNamespace:
    return SimpleNamespace(scheduler=SimpleNamespace(optimizer=optimizer), interval=interval, name=name)


def logged(make_trainer, monitor: LearningRateMonitor, **attributes) -> list[tuple[int, dict[str, float]]]:
    log = Log()
    make_trainer(monitor, loggers=[log], **attributes).fit(epochs=2)
    return log.lines


@pytest.mark.parametrize(
    "attributes, names",
    [
        ({"optimizers": [Adam()]}, ["lr-Adam"]),
        ({"optimizers": [Adam(), SGD(), Adam()]}, ["lr-Adam", "lr-SGD", "lr-Adam-1"]),
        ({"optimizers": [Adam({}, {})]}, ["lr-Adam/pg1", "lr-Adam/pg2"]),
        ({"optimizers": [Adam({"name": "head"}, {})]}, ["lr-Adam/head", "lr-Adam/pg2"]),
        ({"optimizers": [Adam({"name": "all"})]}, ["lr-Adam/all"]),
        ({"lr_scheduler_configs": [scheduled(Adam(), name="warm")]}, ["warm"]),
        ({"lr_scheduler_configs": [scheduled(Adam())], "optimizers": [SGD()]}, ["lr-Adam", "lr-SGD"]),
    ],
)
def test_names(make_trainer, attributes: dict[str, list[object]], names: list[str]) -> None:
    monitor = LearningRateMonitor("epoch")
    lines = logged(make_trainer, monitor, **attributes)
    assert list(lines[0][1]) == names
    assert monitor.lrs == {name: [0.1, 0.1] for name in names}


def test_an_optimizer_with_a_scheduler_is_logged_once(make_trainer) -> None:
    optimizer = Adam()
    lines = logged(
        make_trainer, LearningRateMonitor("epoch"), optimizers=[optimizer], lr_scheduler_configs=[scheduled(optimizer)]
    )
    assert lines == [(0, {"lr-Adam": 0.1}), (4, {"lr-Adam": 0.1})]


@pytest.mark.parametrize(
    "interval, own, steps",
    [
        ("epoch", "step", [0, 4]),
        ("step", "epoch", [1, 3, 5, 7]),  # log_every_n_steps = 2
        (None, "epoch", [0, 4]),
        (None, "step", [1, 3, 5, 7]),
    ],
)
def test_when_it_logs(make_trainer, interval: str | None, own: str, steps: list[int]) -> None:
    monitor = LearningRateMonitor(interval)
    lines = logged(make_trainer, monitor, lr_scheduler_configs=[scheduled(Adam(), own)])
    assert [step for step, _ in lines] == steps


def test_momentum_and_weight_decay(make_trainer) -> None:
    monitor = LearningRateMonitor("epoch", log_momentum=True, log_weight_decay=True)
    lines = logged(make_trainer, monitor, optimizers=[Adam(), SGD()])
    assert lines[0][1] == {
        "lr-Adam": 0.1,
        "lr-Adam-momentum": 0.9,
        "lr-Adam-weight_decay": 0.01,
        "lr-SGD": 0.1,
        "lr-SGD-momentum": 0.8,
        "lr-SGD-weight_decay": 0.01,
    }
    assert monitor.last_momentum_values == {"lr-Adam-momentum": 0.9, "lr-SGD-momentum": 0.8}


def test_without_momentum_zero_is_logged_and_said(make_trainer) -> None:
    with pytest.warns(RuntimeWarning, match="Plain has no momentum"):
        lines = logged(make_trainer, LearningRateMonitor("epoch", log_momentum=True), optimizers=[Plain()])
    assert lines[0][1]["lr-Plain-momentum"] == 0.0


def test_other_callbacks_see_the_rates(make_trainer) -> None:
    trainer = make_trainer(LearningRateMonitor("epoch"), loggers=[Log()], optimizers=[Adam()])
    trainer.fit()
    assert float(trainer.callback_metrics["lr-Adam"]) == 0.1


def test_errors(make_trainer) -> None:
    with pytest.raises(MisconfigurationException, match="'step', 'epoch' or None"):
        LearningRateMonitor("batch")
    with pytest.raises(MisconfigurationException, match="no logger"):
        make_trainer(LearningRateMonitor()).fit()
    with pytest.raises(MisconfigurationException, match="same name: \\['a'\\]"):
        logged(make_trainer, LearningRateMonitor(), optimizers=[Adam({"name": "a"}, {"name": "a"})])
