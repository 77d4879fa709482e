"""When ModelCheckpoint saves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from callbacks import MisconfigurationException, ModelCheckpoint


def steps(trainer) -> list[int]:
    return [step for _, step, _ in trainer.saved]


def val_loss(validation: int) -> dict[str, float]:
    return {"val_loss": 1.0 / (validation + 1)}


def test_every_epoch_by_default(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint())
    trainer.fit(epochs=3)
    assert steps(trainer) == [4, 8, 12]


def test_every_n_epochs(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(every_n_epochs=2))
    trainer.fit(epochs=5)
    assert steps(trainer) == [8, 16]


def test_every_n_train_steps_and_not_at_epoch_ends(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(every_n_train_steps=3, save_top_k=-1))
    trainer.fit(epochs=2)
    assert steps(trainer) == [3, 6]


def test_a_step_of_several_batches_saves_once(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(every_n_train_steps=1, save_top_k=-1))
    trainer.fit(epochs=2, accumulate=3)
    assert steps(trainer) == [1, 2, 3, 4]


def test_a_step_of_several_batches_is_judged_by_the_first_of_them(make_trainer) -> None:
    losses = iter([0.9, 0.5, 0.9, 0.6, 0.3, 0.4])  # the optimizer steps after the second, fourth and sixth
    trainer = make_trainer(
        ModelCheckpoint(monitor="loss", every_n_train_steps=1, filename="{loss}"), num_training_batches=6
    )
    trainer.fit(train=lambda step: {"loss": next(losses)}, accumulate=2)
    assert [name for name, _, _ in trainer.saved] == ["loss=0.5.ckpt", "loss=0.4.ckpt"]


def test_save_last_follows_the_saves_of_epochs(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", save_last=True))
    trainer.fit(epochs=3, val=lambda validation: {"val_loss": [0.5, 0.6, 0.4][validation]})
    assert [step for name, step, _ in trainer.saved if name == "last.ckpt"] == [4, 12]


def test_time_interval(make_trainer, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter(range(0, 1000, 10))  # ten seconds pass between two looks at it
    monkeypatch.setattr("callbacks.model_checkpoint.time.monotonic", lambda: next(clock))
    trainer = make_trainer(ModelCheckpoint(train_time_interval=timedelta(seconds=30)))
    trainer.fit(epochs=2)
    assert steps(trainer) == [3, 6]


def test_a_time_interval_of_zero_saves_at_every_step(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(train_time_interval=timedelta(0)))
    trainer.fit()
    assert steps(trainer) == [1, 2, 3, 4]


def test_after_the_training_epoch_when_validation_runs_once(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="train_loss"))
    epochs_at_save = []
    trainer.call = wrap_call(trainer, epochs_at_save)
    trainer.fit(epochs=2, train=lambda step: {"train_loss": -step}, val=val_loss)
    assert epochs_at_save == ["on_train_epoch_end", "on_train_epoch_end"]


@pytest.mark.parametrize(
    "settings", [{"val_check_interval": 0.5}, {"val_check_interval": 2}, {"check_val_every_n_epoch": 2}]
)
def test_after_validation_otherwise(make_trainer, settings: dict[str, float]) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss"), **settings)
    hooks = []
    trainer.call = wrap_call(trainer, hooks)
    trainer.fit(epochs=2, val=val_loss)
    assert hooks and set(hooks) == {"on_validation_end"}


@pytest.mark.parametrize("at_train_end, hook", [(True, "on_train_epoch_end"), (False, "on_validation_end")])
def test_the_user_may_choose(make_trainer, at_train_end: bool, hook: str) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", save_on_train_epoch_end=at_train_end))
    hooks = []
    trainer.call = wrap_call(trainer, hooks)
    trainer.fit(epochs=2, val=val_loss)
    assert hooks == [hook, hook]


def wrap_call(trainer, hooks: list[str]):
    """`trainer.call` that notes during which hook something was saved."""
    call = trainer.call

    def noted(hook: str, *args, **kwargs) -> None:
        before = len(trainer.saved)
        call(hook, *args, **kwargs)
        hooks.extend([hook] * (len(trainer.saved) - before))

    return noted


def test_a_step_save_waits_for_a_metric_that_only_validation_brings(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", every_n_train_steps=3), val_check_interval=4)
    trainer.fit(epochs=1, val=val_loss)
    assert steps(trainer) == [4]


def test_a_step_save_waits_for_the_validation_that_follows_at_once(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", every_n_train_steps=2, filename="{val_loss:.2f}"))
    trainer.fit(epochs=2, val=lambda validation: {"val_loss": [0.5, 0.25][validation]})
    # Step 6 repeats 0.5, which is no better; step 8 waits for 0.25 and does not judge by 0.5.
    assert [(name, step) for name, step, _ in trainer.saved] == [("val_loss=0.50.ckpt", 4), ("val_loss=0.25.ckpt", 8)]


def test_what_waits_for_a_validation_that_never_comes_is_saved_at_the_end(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="late", every_n_train_steps=2))
    trainer.fit(train=lambda step: {"late": 1.0} if step == 3 else {})
    assert steps(trainer) == [4]


@pytest.mark.parametrize("attribute", [{"fast_dev_run": 1}, {"sanity_checking": True}])
def test_never_in_fast_dev_run_and_sanity_check(make_trainer, attribute: dict[str, object]) -> None:
    trainer = make_trainer(ModelCheckpoint(save_last=True, save_on_train_epoch_end=True), **attribute)
    trainer.fit(val=val_loss)
    assert trainer.saved == []


@pytest.mark.parametrize("fn", ["validate", "test"])
def test_never_outside_fit(make_trainer, fn: str) -> None:
    trainer = make_trainer(ModelCheckpoint(save_on_train_epoch_end=False), global_step=7)
    trainer.state.fn = fn
    trainer.validate({"val_loss": 1.0})
    assert trainer.saved == []


def test_never_twice_at_one_step(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(save_on_train_epoch_end=False, save_top_k=-1), global_step=7)
    trainer.call("setup", stage="fit")
    trainer.validate({})
    trainer.validate({})
    assert steps(trainer) == [7]


def test_save_last_is_written_at_the_end_if_nothing_else_was(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(every_n_train_steps=100, save_last=True))
    trainer.fit()
    assert [name for name, _, _ in trainer.saved] == ["last.ckpt"]


def test_weights_only_is_passed_on(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(save_weights_only=True))
    trainer.fit()
    assert trainer.saved == [("epoch=0-step=4.ckpt", 4, True)]


@pytest.mark.parametrize("asked, saved", [(True, [3]), (False, [])])
def test_on_exception(make_trainer, asked: bool, saved: list[int]) -> None:
    trainer = make_trainer(ModelCheckpoint(save_on_exception=asked), global_step=3)
    trainer.call("setup", stage="fit")
    trainer.call("on_exception", KeyboardInterrupt())
    assert steps(trainer) == saved


def test_a_metric_that_validation_did_not_bring_is_an_error_that_names_what_there_is(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_los"))
    with pytest.raises(MisconfigurationException, match="'val_los'.*'val_loss'.*Did you mean 'val_loss'"):
        trainer.fit(val=val_loss)


def test_before_the_first_validation_it_is_a_warning_once(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", save_on_train_epoch_end=True), check_val_every_n_epoch=3)
    with pytest.warns(UserWarning, match="no metric 'val_loss'") as caught:
        trainer.fit(epochs=3, val=val_loss)
    assert len(caught) == 1 and steps(trainer) == [12]
