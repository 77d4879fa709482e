"""What ModelCheckpoint keeps, how files are named, and that nothing good is lost."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from callbacks import MisconfigurationException, ModelCheckpoint

LOSSES = [0.5, 0.3, 0.4, 0.2, 0.6]


def losses(epoch: int) -> dict[str, float]:
    return {"val_loss": LOSSES[epoch]}


def test_without_monitor_the_latest_is_kept(make_trainer, files) -> None:
    checkpoint = ModelCheckpoint()
    make_trainer(checkpoint).fit(epochs=3)
    assert files() == ["epoch=2-step=12.ckpt"]
    assert Path(checkpoint.best_model_path).name == "epoch=2-step=12.ckpt"


def test_save_top_k_minus_one_keeps_all(make_trainer, files) -> None:
    make_trainer(ModelCheckpoint(save_top_k=-1)).fit(epochs=3)
    assert files() == ["epoch=0-step=4.ckpt", "epoch=1-step=8.ckpt", "epoch=2-step=12.ckpt"]


@pytest.mark.parametrize("mode, kept, best", [("min", [1, 3], 3), ("max", [0, 4], 4)])
def test_the_best_k_are_kept(make_trainer, files, mode: str, kept: list[int], best: int) -> None:
    checkpoint = ModelCheckpoint(monitor="val_loss", mode=mode, save_top_k=2, filename="{epoch}")
    make_trainer(checkpoint).fit(epochs=5, val=losses)
    assert files() == [f"epoch={epoch}.ckpt" for epoch in kept]
    assert Path(checkpoint.best_model_path).name == f"epoch={best}.ckpt"
    assert float(checkpoint.best_model_score) == LOSSES[best]
    worst = max if mode == "min" else min
    assert float(checkpoint.kth_value) == worst(LOSSES[epoch] for epoch in kept)
    assert {Path(path).name for path in checkpoint.best_k_models} == set(files())


def test_nan_counts_as_the_worst(make_trainer, files) -> None:
    values = [float("nan"), 0.5, 0.4]
    checkpoint = ModelCheckpoint(monitor="val_loss", save_top_k=2, filename="{epoch}")
    make_trainer(checkpoint).fit(epochs=3, val=lambda epoch: {"val_loss": values[epoch]})
    assert files() == ["epoch=1.ckpt", "epoch=2.ckpt"]


def test_scores_may_be_tensors(make_trainer, files) -> None:
    import engine

    checkpoint = ModelCheckpoint(monitor="val_loss", filename="{epoch}-{val_loss:.2f}")
    make_trainer(checkpoint).fit(epochs=2, val=lambda epoch: {"val_loss": engine.tensor(LOSSES[epoch])})
    assert files() == ["epoch=1-val_loss=0.30.ckpt"]
    assert checkpoint.best_model_score.item() == engine.tensor(0.3).item()


# ---------------------------------------------------------------------- the last file


def test_save_last_is_a_complete_file_of_the_latest_save(make_trainer, files, tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(monitor="val_loss", save_last=True, filename="{epoch}")
    make_trainer(checkpoint).fit(epochs=4, val=losses)
    assert files() == ["epoch=3.ckpt", "last.ckpt"]
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert not last.is_symlink() and json.loads(last.read_text()) == {"step": 16}
    assert checkpoint.last_model_path == str(last)


def test_save_last_link_points_to_the_newest_file(make_trainer, tmp_path: Path) -> None:
    make_trainer(ModelCheckpoint(save_last="link")).fit(epochs=2)
    last = tmp_path / "checkpoints" / "last.ckpt"
    assert last.is_symlink() and os.readlink(last) == "epoch=1-step=8.ckpt"


def test_save_last_link_never_dangles(make_trainer, tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(save_last="link")
    seen = []
    remove = checkpoint._remove_checkpoint

    def watched(trainer, filepath: str) -> None:
        remove(trainer, filepath)
        seen.append((tmp_path / "checkpoints" / "last.ckpt").exists())

    checkpoint._remove_checkpoint = watched
    make_trainer(checkpoint).fit(epochs=3)
    assert seen == [True, True]


def test_only_the_last(make_trainer, files) -> None:
    trainer = make_trainer(ModelCheckpoint(save_top_k=0, save_last=True))
    trainer.fit(epochs=3)
    assert files() == ["last.ckpt"]
    assert [step for _, step, _ in trainer.saved] == [4, 8, 12]


def test_name_of_the_last_file_can_be_a_template(make_trainer, files) -> None:
    checkpoint = ModelCheckpoint(save_last=True, filename="best")
    checkpoint.CHECKPOINT_NAME_LAST = "{epoch}-last"
    make_trainer(checkpoint).fit(epochs=2)
    assert files() == ["best.ckpt", "epoch=1-last.ckpt"]


# ---------------------------------------------------------------------- names and folders


def test_names(tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path, filename="{epoch:02d}-{val/acc:.2f}")
    assert checkpoint.format_checkpoint_name({"epoch": 3, "val/acc": 0.987}) == str(
        tmp_path / "epoch=03-val/acc=0.99.ckpt"
    )
    plain = ModelCheckpoint(filename="e{epoch}-acc{val/acc:.1f}", auto_insert_metric_name=False)
    assert plain.format_checkpoint_name({"epoch": 3, "val/acc": 0.987}) == "e3-acc1.0.ckpt"
    assert plain.format_checkpoint_name({"epoch": 3}, filename="{missing:d}", prefix="a", ver=2) == "a-0-v2.ckpt"


def test_a_format_that_does_not_fit_says_which() -> None:
    with pytest.raises(ValueError, match=r"cannot write val_loss = 0.5 as 'd'"):
        ModelCheckpoint(filename="{val_loss:d}").format_checkpoint_name({"val_loss": 0.5})


def test_a_file_of_the_same_name_is_not_overwritten(make_trainer, files) -> None:
    make_trainer(ModelCheckpoint(filename="model", save_top_k=-1)).fit(epochs=3)
    assert files() == ["model-v1.ckpt", "model-v2.ckpt", "model.ckpt"]


def test_without_version_counter_it_is(make_trainer, files) -> None:
    make_trainer(ModelCheckpoint(filename="model", save_top_k=-1, enable_version_counter=False)).fit(epochs=3)
    assert files() == ["model.ckpt"]


def test_files_go_beside_the_first_logger(make_trainer, tmp_path: Path) -> None:
    from loggers import CSVLogger

    checkpoint = ModelCheckpoint()
    make_trainer(checkpoint, loggers=[CSVLogger(tmp_path, name="run", version=3)]).fit()
    assert checkpoint.dirpath == str(tmp_path / "run" / "version_3" / "checkpoints")


def test_files_of_others_and_the_one_resumed_from_stay(make_trainer, files, tmp_path: Path) -> None:
    checkpoint = ModelCheckpoint(dirpath=tmp_path / "checkpoints")
    trainer = make_trainer(checkpoint)
    trainer.fit()
    start = checkpoint.best_model_path
    trainer.ckpt_path = start
    with pytest.warns(UserWarning, match="not empty"):
        trainer.fit()
    assert Path(start).exists() and len(files()) == 2
    stranger = tmp_path / "other.ckpt"
    stranger.write_text("{}")
    checkpoint.best_model_path = str(stranger)
    with pytest.warns(UserWarning, match="not empty"):
        trainer.fit()
    assert stranger.exists()


# ---------------------------------------------------------------------- failures and state


def test_a_failed_save_leaves_files_and_records_as_they_were(make_trainer, files) -> None:
    checkpoint = ModelCheckpoint(monitor="val_loss", save_last=True, filename="{epoch}")
    trainer = make_trainer(checkpoint)
    trainer.fit(epochs=1, val=losses)
    records = checkpoint.state_dict()
    trainer.disk_full = True
    with pytest.raises(OSError, match="no space left"), pytest.warns(UserWarning, match="not empty"):
        trainer.fit(epochs=1, val=lambda _: {"val_loss": 0.1})
    assert checkpoint.state_dict() == records
    assert files() == ["epoch=0.ckpt", "last.ckpt"]


def test_the_old_file_goes_after_the_new_one_is_there(make_trainer, tmp_path: Path) -> None:
    trainer = make_trainer(ModelCheckpoint(save_last=True))
    present = []
    save = trainer.save_checkpoint

    def watched(filepath: str, weights_only: bool = False) -> None:
        present.append(len(list(tmp_path.rglob("*.ckpt"))))
        save(filepath, weights_only)

    trainer.save_checkpoint = watched
    trainer.fit(epochs=2)
    assert present == [0, 1, 2, 3]  # at the last save: both old files and the new best one


def test_state_survives_a_checkpoint(make_trainer, tmp_path: Path) -> None:
    def new() -> ModelCheckpoint:
        return ModelCheckpoint(monitor="val_loss", save_top_k=2, dirpath=tmp_path / "checkpoints", save_last=True)

    first, second = new(), new()
    make_trainer(first).fit(epochs=3, val=losses)
    assert first.state_key == second.state_key
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    assert second.state_dict() == first.state_dict()
    assert second.check_monitor_top_k(None, 0.35) and not second.check_monitor_top_k(None, 0.45)


def test_state_of_another_folder_gives_the_best_path_only(make_trainer, tmp_path: Path) -> None:
    first = ModelCheckpoint(monitor="val_loss")
    make_trainer(first).fit(epochs=2, val=losses)
    second = ModelCheckpoint(monitor="val_loss", dirpath=tmp_path / "elsewhere")
    with pytest.warns(UserWarning, match="dirpath"):
        second.load_state_dict(first.state_dict())
    assert second.best_model_path == first.best_model_path and second.best_k_models == {}


def test_loggers_hear_of_every_save(make_trainer) -> None:
    class Listener:
        reads_checkpoints = True

        name, version, save_dir = "", "", None

        def __init__(self) -> None:
            self.heard: list[str] = []

        def after_save_checkpoint(self, checkpoint_callback: ModelCheckpoint) -> None:
            self.heard.append(Path(checkpoint_callback.best_model_path).name)

    listener = Listener()
    make_trainer(ModelCheckpoint(), loggers=[listener]).fit(epochs=2)
    assert listener.heard == ["epoch=0-step=4.ckpt", "epoch=1-step=8.ckpt"]


def test_verbose_says_what_it_does(make_trainer) -> None:
    trainer = make_trainer(ModelCheckpoint(monitor="val_loss", verbose=True))
    trainer.fit(epochs=3, val=losses)
    assert ["reached" in line for line in trainer.printed] == [True, True, False]
    assert "val_loss = 0.40000 is not among the best 1" in trainer.printed[2]


@pytest.mark.parametrize(
    "arguments, text",
    [
        ({"mode": "smallest"}, "expected 'min' or 'max'"),
        ({"save_top_k": -2}, "save_top_k=-2"),
        ({"save_top_k": 3}, "no metric"),
        ({"save_last": "copy"}, "'link'"),
        ({"every_n_epochs": -1}, "every_n_epochs=-1"),
        ({"every_n_epochs": 1, "every_n_train_steps": 5}, "mutually exclusive"),
    ],
)
def test_impossible_settings_are_refused(arguments: dict[str, object], text: str) -> None:
    with pytest.raises(MisconfigurationException, match=text):
        ModelCheckpoint(**arguments)
