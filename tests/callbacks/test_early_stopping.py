"""When EarlyStopping ends training, and what it says."""

from __future__ import annotations

import json
import math

import pytest

from callbacks import EarlyStopping, EarlyStoppingReason, MisconfigurationException


def val(values: list[float]):
    return lambda validation: {"val_loss": values[validation]}


def stopped_after(make_trainer, stopping: EarlyStopping, values: list[float], **attributes) -> int | None:
    """Number of epochs after which training was stopped; None if it was not."""
    trainer = make_trainer(stopping, **attributes)
    trainer.fit(epochs=len(values), val=val(values))
    return trainer.current_epoch + 1 if trainer.should_stop else None


@pytest.mark.parametrize(
    "arguments, values, epochs",
    [
        ({"patience": 2}, [1.0, 0.5, 0.6, 0.7, 0.4], 4),
        ({"patience": 1}, [1.0, 0.5, 0.6, 0.4], 3),
        ({"patience": 2}, [1.0, 0.5, 0.6, 0.4, 0.3], None),
        ({"patience": 2, "min_delta": 0.1}, [1.0, 0.95, 0.92, 0.5], 3),
        ({"patience": 2, "min_delta": 0.25}, [1.0, 0.75, 0.5, 0.25], None),
        ({"patience": 2, "mode": "max"}, [0.1, 0.5, 0.4, 0.5, 0.9], 4),
        ({"patience": 2, "mode": "max", "min_delta": 0.2}, [0.1, 0.2, 0.3, 0.9], 3),
        ({"stopping_threshold": 0.3}, [1.0, 0.5, 0.2, 0.1], 3),
        ({"stopping_threshold": 0.9, "mode": "max"}, [0.5, 0.95, 0.99], 2),
        ({"divergence_threshold": 2.0}, [1.0, 1.5, 2.5, 0.1], 3),
        ({"divergence_threshold": 0.2, "mode": "max"}, [0.5, 0.1, 0.9], 2),
        ({"patience": 9}, [1.0, math.nan, 0.1], 2),
        ({"patience": 9}, [1.0, math.inf, 0.1], 2),
        ({"patience": 2, "check_finite": False}, [1.0, math.nan, 0.1], None),
        ({"patience": 2, "check_finite": False}, [1.0, math.nan, math.nan, 0.1], 3),
    ],
)
def test_when_it_stops(make_trainer, arguments: dict[str, object], values: list[float], epochs: int | None) -> None:
    assert stopped_after(make_trainer, EarlyStopping("val_loss", **arguments), values) == epochs


@pytest.mark.parametrize(
    "arguments, values, reason, text",
    [
        ({"patience": 1}, [1.0, 1.0], "PATIENCE_EXHAUSTED", "not improved in the last 1 checks"),
        ({}, [math.nan], "NON_FINITE_METRIC", "val_loss = nan is not finite"),
        ({"stopping_threshold": 2.0}, [1.0], "STOPPING_THRESHOLD", "stopping threshold 2"),
        ({"divergence_threshold": 2.0}, [3.0], "DIVERGENCE_THRESHOLD", "divergence threshold 2"),
    ],
)
def test_the_reason_is_told(make_trainer, arguments, values: list[float], reason: str, text: str) -> None:
    stopping = EarlyStopping("val_loss", verbose=True, **arguments)
    trainer = make_trainer(stopping)
    trainer.fit(epochs=len(values), val=val(values))
    assert stopping.stopping_reason is EarlyStoppingReason[reason]
    assert text in stopping.stopping_reason_message
    assert trainer.printed[-1] == stopping.stopping_reason_message
    assert stopping.stopped_epoch == len(values) - 1


def test_quiet_unless_verbose(make_trainer) -> None:
    trainer = make_trainer(EarlyStopping("val_loss"))
    trainer.fit(epochs=2, val=val([1.0, math.nan]))
    assert trainer.should_stop and trainer.printed == []


def test_best_score_is_a_tensor(make_trainer) -> None:
    stopping = EarlyStopping("val_loss")
    assert stopping.best_score.item() == math.inf
    make_trainer(stopping).fit(epochs=2, val=val([0.75, 0.5]))
    assert stopping.best_score.item() == 0.5


@pytest.mark.parametrize("settings, hook", [({}, "train"), ({"val_check_interval": 2}, "validation")])
def test_where_it_checks(make_trainer, settings: dict[str, float], hook: str) -> None:
    stopping = EarlyStopping("val_loss", patience=1)
    # Two validations per epoch that get worse: stopped in epoch 0 if it checks after each of them.
    trainer = make_trainer(stopping, **settings)
    trainer.fit(epochs=1, val=val([1.0, 2.0]))
    assert trainer.should_stop is (hook == "validation")


def test_the_user_may_choose_where(make_trainer) -> None:
    stopping = EarlyStopping("val_loss", patience=1, check_on_train_epoch_end=True)
    trainer = make_trainer(stopping, val_check_interval=2)
    trainer.fit(epochs=1, val=val([1.0, 2.0]))
    assert not trainer.should_stop and stopping.best_score.item() == 2.0


@pytest.mark.parametrize("attribute", [{"fast_dev_run": 1}, {"sanity_checking": True}])
def test_not_in_fast_dev_run_and_sanity_check(make_trainer, attribute: dict[str, object]) -> None:
    assert stopped_after(make_trainer, EarlyStopping("val_loss"), [math.nan], **attribute) is None


def test_not_outside_fit(make_trainer) -> None:
    trainer = make_trainer(EarlyStopping("val_loss", check_on_train_epoch_end=False))
    trainer.state.fn = "validate"
    trainer.call("setup", stage="validate")
    trainer.validate({"val_loss": math.nan})
    assert not trainer.should_stop


def test_it_never_takes_back_a_stop(make_trainer) -> None:
    trainer = make_trainer(EarlyStopping("val_loss"), should_stop=True)
    trainer.fit(val=val([1.0]))
    assert trainer.should_stop


def test_a_missing_metric_is_an_error_that_names_what_there_is(make_trainer) -> None:
    with pytest.raises(RuntimeError, match="'val_los'.*'val_loss'.*Did you mean 'val_loss'"):
        make_trainer(EarlyStopping("val_los")).fit(val=val([1.0]))


def test_a_run_that_ends_before_the_first_validation_is_no_error(make_trainer) -> None:
    trainer = make_trainer(EarlyStopping("val_loss", check_on_train_epoch_end=True), check_val_every_n_epoch=2)
    trainer.fit(epochs=1, val=val([1.0]))
    assert not trainer.should_stop
    with pytest.raises(RuntimeError, match="'val_loss'"):
        make_trainer(EarlyStopping("val_loss")).fit()  # no validation: it will never come


def test_without_strict_it_is_left_out(make_trainer) -> None:
    trainer = make_trainer(EarlyStopping("val_los", strict=False))
    trainer.fit(val=val([1.0]))
    assert not trainer.should_stop
    with pytest.warns(RuntimeWarning, match="val_los"):
        make_trainer(EarlyStopping("val_los", strict=False, verbose=True)).fit(val=val([1.0]))


def test_state_survives_a_checkpoint(make_trainer) -> None:
    first, second = (EarlyStopping("val_loss", patience=3) for _ in range(2))
    make_trainer(first).fit(epochs=3, val=val([0.5, 0.6, 0.7]))
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert (second.wait_count, second.best_score.item()) == (2, 0.5)
    assert stopped_after(make_trainer, second, [0.55, 0.4]) == 1


def test_mode_is_checked() -> None:
    with pytest.raises(MisconfigurationException, match="expected 'min' or 'max'"):
        EarlyStopping("val_loss", mode="lowest")
