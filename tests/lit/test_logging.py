"""self.log: defaults, keys, reductions, where values go, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest

import engine as torch
import lit as pl
from lit.hooks import EPOCH_ONLY, HOOKS, PER_EPOCH
from lit.results import Results, read_back
from tests.lit.models import MemoryLogger, Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader", "ignore:An epoch has")


def logging_module(hook: str, *args: Any, **kwargs: Any) -> pl.LightningModule:
    """A module that calls ``self.log(*args, **kwargs)`` in ``hook``, and does its usual work."""

    def method(self: Any, *hook_args: Any, **hook_kwargs: Any) -> Any:
        self.log(*args, **kwargs)
        return getattr(Net, hook)(self, *hook_args, **hook_kwargs)

    return type("Logs", (Net,), {hook: method})()


def run(hook: str, model: pl.LightningModule, **flags: Any) -> tuple[pl.Trainer, MemoryLogger]:
    logger = MemoryLogger()
    trainer = quiet_trainer(logger=logger, log_every_n_steps=1, num_sanity_val_steps=0, **flags)
    if "test" in hook:
        trainer.test(model, loader(), verbose=False)
    elif "predict" in hook:
        trainer.predict(model, [batch[0] for batch in loader()])
    else:
        trainer.fit(model, loader(), loader())
    return trainer, logger


ALLOWED = [hook for hook in HOOKS if hook.log is not None]
FIT_HOOKS_REFUSED = [
    *["prepare_data", "setup", "configure_model", "configure_optimizers", "on_fit_start", "on_train_end"],
    *["on_validation_end", "on_fit_end", "teardown", "lr_scheduler_step", "on_test_end", "on_predict_start"],
    *["predict_step", "on_predict_batch_end", "train_dataloader", "on_after_batch_transfer", "optimizer_zero_grad"],
]


@pytest.mark.parametrize("hook", ALLOWED, ids=lambda hook: hook.name)
def test_default_levels(hook: Any) -> None:
    _, logger = run(hook.name, logging_module(hook.name, "x", 2.0))
    logged = logger.values("x")
    # Step values come once per batch, reductions once at the end.
    assert len(logged) == (1 if hook.log in (PER_EPOCH, EPOCH_ONLY) else 4)
    assert {value for _, value in logged} == {2.0}


@pytest.mark.parametrize("hook", [hook for hook in ALLOWED if hook.log is EPOCH_ONLY], ids=lambda hook: hook.name)
def test_forced_levels(hook: Any) -> None:
    for argument in ({"on_step": True}, {"on_epoch": False}):
        with pytest.raises(pl.MisconfigurationException, match=f"`{hook.name}`, which only allows"):
            run(hook.name, logging_module(hook.name, "x", 2.0, **argument))


@pytest.mark.parametrize("hook", FIT_HOOKS_REFUSED)
def test_refused_hooks(hook: str) -> None:
    class Logs(Net):
        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.parameters(), lr=0.1)
            return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]

        def train_dataloader(self) -> Any:
            return loader()

    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.log("x", 1.0)
        return getattr(Logs, hook)(self, *args, **kwargs)

    model = type("Refused", (Logs,), {hook: method})()
    trainer = quiet_trainer()
    with pytest.raises(pl.MisconfigurationException, match="nothing can be logged"):
        if "test" in hook:
            trainer.test(model, loader(), verbose=False)
        elif "predict" in hook:
            trainer.predict(model, [batch[0] for batch in loader()])
        else:
            trainer.fit(model, None, loader())


def test_callbacks_log_through_the_module() -> None:
    class Logs(pl.Callback):
        def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            pl_module.log("from_callback", 3.0)

    trainer = quiet_trainer(callbacks=Logs())
    trainer.fit(Net(), loader())
    assert trainer.callback_metrics["from_callback"].item() == 3.0


def test_keys_of_step_and_epoch() -> None:
    class Logs(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("x", float(batch_idx), on_step=True, on_epoch=True, prog_bar=True)
            return self.loss(batch)

    trainer, logger = run("training_step", Logs())
    assert logger.values("x_step") == [(0, 0.0), (1, 1.0), (2, 2.0), (3, 3.0)]
    assert logger.values("x_epoch") == [(3, 1.5)]
    assert {name: value.item() for name, value in trainer.callback_metrics.items() if name[0] == "x"} == {
        "x": 1.5,
        "x_step": 3.0,
        "x_epoch": 1.5,
    }
    assert {k: v.item() for k, v in trainer.logged_metrics.items() if k[0] == "x"} == {"x_step": 3.0, "x_epoch": 1.5}
    assert trainer.progress_bar_metrics == {"x_step": 3.0, "x_epoch": 1.5}
    assert type(trainer.progress_bar_metrics["x_step"]) is float


def test_same_metrics_as_lightning() -> None:
    """Steps, names and values that the loggers get, over two epochs with validation and accumulation."""
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    import logging

    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)

    def steps(library: Any, torch: Any, logger: Any) -> list[Any]:
        class Logs(library.LightningModule):  # type: ignore[misc,name-defined]
            def __init__(self) -> None:
                super().__init__()
                self.weight = torch.nn.Parameter(torch.ones(1))

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                self.log("a", float(batch_idx))
                self.log("b", float(batch_idx), on_epoch=True)
                self.log_dict(
                    {"c": 1.0 * batch_idx, "d": 2.0 * batch_idx}, on_step=False, on_epoch=True, reduce_fx="max"
                )
                return (self.weight * batch).mean()

            def on_train_epoch_end(self) -> None:
                self.log("e", float(self.current_epoch))

            def validation_step(self, batch: Any, batch_idx: int) -> None:
                self.log("v", float(batch_idx) + self.global_step)
                self.log("w", float(batch_idx), on_step=True)

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.1)

        batches = [torch.ones(2), torch.ones(2), torch.ones(3), torch.ones(1), torch.ones(2)]
        data, val = (torch.utils.data.DataLoader(rows, batch_size=None) for rows in (batches, batches[:2]))
        trainer = library.Trainer(
            max_epochs=2, logger=logger, log_every_n_steps=2, accumulate_grad_batches=2, val_check_interval=3,
            enable_progress_bar=False, enable_model_summary=False, enable_checkpointing=False, accelerator="cpu",
        )  # fmt: skip
        trainer.fit(Logs(), data, val)
        rounded = [(step, {name: round(v, 5) for name, v in values.items()}) for step, values in logger.metrics]
        return [(step, dict(sorted(values.items()))) for step, values in rounded]

    class TheirLogger(lightning.loggers.Logger):  # type: ignore[misc,name-defined]
        name, version = "memory", 0

        def __init__(self) -> None:
            super().__init__()
            self.metrics: list[Any] = []

        def log_hyperparams(self, *args: Any, **kwargs: Any) -> None: ...

        def log_metrics(self, metrics: Any, step: Any) -> None:
            self.metrics.append((step, dict(metrics)))

    assert steps(pl, torch, MemoryLogger()) == steps(lightning, oracle, TheirLogger())


@pytest.mark.parametrize(
    ("reduce_fx", "expected"),
    [("mean", 1.5), ("avg", 1.5), (torch.mean, 1.5), ("sum", 6.0), (sum, 6.0), ("min", 0.0), (min, 0.0), (max, 3.0)],
)
def test_reductions(reduce_fx: Any, expected: float) -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", torch.tensor(float(batch_idx)), reduce_fx=reduce_fx)

    assert quiet_trainer().test(Logs(), loader(), verbose=False) == [{"x": expected}]


def test_given_batch_size_weights_the_mean() -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", float(batch_idx), batch_size=batch_idx + 1)

    assert quiet_trainer().test(Logs(), loader(), verbose=False) == [{"x": (0 * 1 + 1 * 2 + 2 * 3 + 3 * 4) / 10}]


def test_nan_is_not_lost_by_max() -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", float("nan") if batch_idx == 1 else 1.0, reduce_fx="max")

    [metrics] = quiet_trainer().test(Logs(), loader(), verbose=False)
    assert metrics["x"] != metrics["x"]


def test_integers_stay_integers() -> None:
    big = 2**53 + 1

    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("step", big, on_step=True, on_epoch=False)
            self.log("max", torch.tensor(big), reduce_fx="max")
            self.log("sum", 67128463, reduce_fx="sum")

    trainer = quiet_trainer()
    [metrics] = trainer.test(Logs(), loader(), verbose=False)
    assert (metrics["max"], metrics["sum"]) == (big, 4 * 67128463)
    assert type(metrics["max"]) is int
    assert trainer.callback_metrics["max"].dtype == torch.int64


def test_means_in_double_precision() -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", 1e8 if batch_idx == 0 else 1.0, batch_size=1)

    [metrics] = quiet_trainer().test(Logs(), loader(), verbose=False)
    assert metrics["x"] == (1e8 + 3) / 4  # float32 would lose the 3


def test_log_every_n_steps() -> None:
    logger = MemoryLogger()
    quiet_trainer(logger=logger, log_every_n_steps=3, max_epochs=2).fit(Net(), loader())
    assert [step for step, _ in logger.values("train_loss")] == [2, 5]
    assert all("epoch" in metrics for _, metrics in logger.metrics)


def test_loggers_are_saved_by_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("lit.reporting.time.monotonic", lambda: now[0])

    class Clock(pl.Callback):
        def on_train_batch_end(self, *args: Any) -> None:
            now[0] += 0.4

    logger = MemoryLogger()
    trainer = quiet_trainer(logger=logger, log_every_n_steps=1, callbacks=Clock(), enable_autolog_hparams=False)
    trainer.fit(Net(), loader())
    assert len(logger.metrics) == 4
    assert logger.saves == 2  # at 0.4 s and at 1.6 s


def test_log_every_zero_steps_logs_no_step_values() -> None:
    logger = MemoryLogger()
    quiet_trainer(logger=logger, log_every_n_steps=0).fit(Net(), loader(), loader())
    assert not logger.values("train_loss") and logger.values("val_loss")


def test_logger_false_keeps_a_value_from_the_loggers() -> None:
    trainer, logger = run("training_step", logging_module("training_step", "x", 1.0, logger=False))
    assert not logger.values("x")
    assert "x" in trainer.callback_metrics and "x" not in trainer.logged_metrics


def test_a_metric_called_step_is_the_x_axis() -> None:
    _, logger = run("on_train_epoch_end", logging_module("on_train_epoch_end", "step", 100.0))
    assert 100 in [step for step, _ in logger.metrics]


def test_nothing_is_logged_in_the_sanity_check() -> None:
    logger = MemoryLogger()
    trainer = quiet_trainer(logger=logger, limit_train_batches=0)
    trainer.fit(Net(), loader(), loader())
    assert logger.metrics == [] and trainer.callback_metrics == {}


def test_numbers_of_a_device_are_read_together(monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []

    def counted(tensors: list[Any]) -> Any:
        calls.append(len(tensors))
        return read_back(tensors)

    monkeypatch.setattr("lit.results.read_back", counted)
    store = Results(training=True)
    store.read_at_once = False  # as on a GPU
    logger, on_epoch = (None, True)
    values = []
    for index in range(5):
        value = torch.tensor(float(index))
        values.append(value)
        store.log("training_step", "a", value, (False, logger, None, on_epoch, "mean", True), batch_size=1)
        store.log("training_step", "b", value, (False, logger, None, on_epoch, "max", True))
        value.fill_(-100.0)  # what was logged is a copy
    assert calls == []
    for_callbacks, _, _ = store.metrics(on_step=False)
    assert calls == [10]
    assert (for_callbacks["a"], for_callbacks["b"]) == (2.0, 4.0)
    store.metrics(on_step=True)
    assert calls == [10, 2]


@pytest.mark.parametrize(
    ("args", "kwargs", "error", "words"),
    [
        (("x", torch.ones(2)), {}, ValueError, "shape (2,)"),
        (("x", "text"), {}, ValueError, "type str"),
        (("x", {"a": 1.0}), {}, ValueError, "log_dict"),
        (("x", 1j), {}, ValueError, "complex"),
        (("x", 1.0), {"batch_size": 0, "on_epoch": True}, ValueError, "batch_size=0"),
        (("x", 1.0), {"reduce_fx": "median"}, pl.MisconfigurationException, "median"),
        (("x", 1.0), {"on_step": False, "on_epoch": False}, pl.MisconfigurationException, "nothing"),
        (("x/dataloader_idx_0", 1.0), {}, pl.MisconfigurationException, "dataloader_idx"),
        (("x", 1.0), {"enable_graph": True}, NotImplementedError, "enable_graph"),
    ],
    ids=str,
)
def test_refused_values(args: Any, kwargs: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        run("training_step", logging_module("training_step", *args, **kwargs))
    assert words in str(refused.value)


def test_other_arguments_in_the_same_hook() -> None:
    class Logs(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log("x", 1.0, prog_bar=batch_idx == 1)
            return self.loss(batch)

    with pytest.raises(pl.MisconfigurationException, match="different arguments"):
        quiet_trainer().fit(Logs(), loader())


def test_same_arguments_in_other_words() -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", float(batch_idx), reduce_fx=["mean", torch.mean, "avg", "mean"][batch_idx], on_epoch=True)

    assert quiet_trainer().test(Logs(), loader(), verbose=False) == [{"x": 1.5}]


def test_unfinished_epoch_survives_a_checkpoint() -> None:
    store, again = Results(training=True), Results(training=True)
    arguments = (True, None, True, True, torch.mean, True)
    for value in (1.0, 2.0, 6.0):
        store.log("training_step", "x", value, arguments, batch_size=2)
    again.load_state_dict(store.state_dict({}), {})
    assert again.metrics(on_step=True) == store.metrics(on_step=True)
    again.log("training_step", "x", 11.0, arguments, batch_size=2)
    assert again.metrics(on_step=False)[2] == {"x_epoch": 5.0}


def test_log_dict_needs_a_dict() -> None:
    class Logs(Net):
        def training_step(self, batch: Any, batch_idx: int) -> Any:
            self.log_dict([("x", 1.0)])  # type: ignore[arg-type]

    with pytest.raises(TypeError, match="log_dict"):
        quiet_trainer().fit(Logs(), loader())


def test_without_a_trainer_it_only_warns() -> None:
    with pytest.warns(UserWarning, match="not attached"):
        Net().log("x", 1.0)


def test_ambiguous_batch_size_warns_once() -> None:
    class Logs(Net):
        def test_step(self, batch: Any, batch_idx: int) -> None:
            self.log("x", 1.0)

    with pytest.warns(UserWarning, match="other sizes") as caught:
        quiet_trainer().test(Logs(), [(torch.ones(2), torch.ones(3))] * 3, verbose=False)
    assert len([w for w in caught if "other sizes" in str(w.message)]) == 1


def test_the_warning_about_few_batches() -> None:
    with pytest.warns(UserWarning, match="fewer than.*log_every_n_steps=50") as caught:
        quiet_trainer(logger=MemoryLogger()).fit(Net(), loader())
    assert {warning.filename for warning in caught} == {__file__}
