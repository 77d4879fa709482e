"""The base classes, LambdaCallback, and what callbacks tell the dispatcher about themselves."""

from __future__ import annotations

import inspect

import pytest

import callbacks
from callbacks import Callback, Checkpoint, LambdaCallback, ModelCheckpoint
from callbacks.lambda_function import HOOK_NAMES


def test_hooks_and_their_arguments_are_lightnings() -> None:
    pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")

    def hooks(cls: type) -> dict[str, list[str]]:
        return {
            name: list(inspect.signature(member).parameters)
            for name, member in vars(cls).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    assert hooks(Callback) == hooks(lightning.Callback)


@pytest.mark.parametrize(
    "name", ["ModelCheckpoint", "EarlyStopping", "TQDMProgressBar", "LearningRateMonitor", "Timer"]
)
def test_arguments_are_lightnings(name: str) -> None:
    pytest.importorskip("torch")
    theirs = pytest.importorskip("lightning.pytorch.callbacks")

    def arguments(cls: type) -> list[tuple[str, object]]:
        return [(p.name, getattr(p.default, "value", p.default)) for p in inspect.signature(cls).parameters.values()]

    assert arguments(getattr(callbacks, name)) == arguments(getattr(theirs, name))


def test_every_hook_does_nothing() -> None:
    callback = Callback()
    for name in HOOK_NAMES:
        hook = getattr(callback, name)
        required = [p for p in inspect.signature(hook).parameters.values() if p.default is p.empty]
        assert hook(*[None] * len(required)) is None
    assert callback.state_dict() == {} and callback.load_state_dict({}) is None


def test_what_callbacks_are() -> None:
    def traits(cls: type[Callback]) -> tuple[bool, bool, str | None]:
        return cls.monitoring, cls.runs_last, cls.role

    assert traits(Callback) == (False, False, None)
    assert traits(Checkpoint) == traits(ModelCheckpoint) == (True, True, "checkpoint")
    assert traits(callbacks.EarlyStopping) == (True, False, "early_stopping")
    assert callbacks.TQDMProgressBar.role == "progress_bar"
    assert callbacks.ModelSummary.role == "model_summary"
    assert callbacks.Timer.role == "timer"


def test_state_keys_tell_instances_apart() -> None:
    class Mine(Callback):
        pass

    assert Mine().state_key.endswith("Mine")
    assert ModelCheckpoint().state_key != ModelCheckpoint(every_n_epochs=2).state_key


def test_lambda_callback_runs_functions() -> None:
    heard = []
    callback = LambdaCallback(on_train_start=lambda *args: heard.append(args), setup=None)
    callback.on_train_start("trainer", "module")
    callback.setup("trainer", "module", "fit")
    assert heard == [("trainer", "module")]


def test_lambda_callback_refuses_what_is_no_hook() -> None:
    with pytest.raises(TypeError, match="no hook 'on_train_strat'.*Did you mean 'on_train_start'"):
        LambdaCallback(on_train_strat=print)
    with pytest.raises(TypeError, match="expected a function"):
        LambdaCallback(on_train_start=3)


def test_lambda_callback_knows_all_hooks_of_lightning() -> None:
    pytest.importorskip("torch")
    theirs = pytest.importorskip("lightning.pytorch.callbacks")
    assert set(inspect.signature(theirs.LambdaCallback).parameters) <= set(HOOK_NAMES)
