"""TensorBoardLogger, read back with TensorBoard's own reader."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import engine
from loggers import TensorBoardLogger


def read(folder: str | Path):
    """What TensorBoard finds in `folder`."""
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    events = accumulator.EventAccumulator(str(folder), size_guidance=dict.fromkeys(["scalars", "tensors", "images"], 0))
    return events.Reload()


def scalars(folder: str | Path, tag: str) -> list[tuple[int, float]]:
    return [(event.step, event.value) for event in read(folder).Scalars(tag)]


def test_scalars(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name="run", version=2)
    logger.log_metrics({"loss": 0.5, "acc": 0.25}, step=3)
    logger.log_metrics({"loss": 0.125}, step=7)
    logger.finalize("success")
    folder = tmp_path / "run" / "version_2"
    assert logger.log_dir == str(folder)
    assert scalars(folder, "loss") == [(3, 0.5), (7, 0.125)] and scalars(folder, "acc") == [(3, 0.25)]


def test_what_is_saved_can_be_read_while_the_run_goes_on(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    for step in range(5):
        logger.log_metrics({"loss": float(step)}, step)
    logger.finalize("success")
    logger.log_metrics({"loss": 9.0}, 9)  # for example by `trainer.test` after `fit`
    logger.finalize("success")
    assert [step for step, _ in scalars(logger.log_dir, "loss")] == [0, 1, 2, 3, 4, 9]


def test_prefix_sub_dir_and_versions(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, name=None, prefix="a", sub_dir="train")
    logger.log_metrics({"loss": 1.0}, 0)
    logger.finalize("success")
    assert logger.log_dir == str(tmp_path / "version_0" / "train") and logger.sub_dir == "train"
    assert scalars(logger.log_dir, "a-loss") == [(0, 1.0)]
    assert TensorBoardLogger(tmp_path, name="").version == 1
    assert TensorBoardLogger(tmp_path, version="mine").log_dir == str(tmp_path / "lightning_logs" / "mine")


def test_a_dict_draws_several_lines(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"loss": {"train": 1.0, "val": 2.0}}, 0)
    logger.finalize("success")
    assert scalars(Path(logger.log_dir, "loss", "val"), "loss") == [(0, 2.0)]


def test_what_is_no_number_is_refused(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    with pytest.raises(ValueError, match="'loss': 'high'.*expected a number"):
        logger.log_metrics({"loss": "high"}, 0)
    logger.finalize("failed")


def hparams_page(folder: str | Path) -> tuple[dict[str, object], list[str]]:
    """The hyper-parameters and metric names that TensorBoard's HPARAMS page finds."""
    metadata = pytest.importorskip("tensorboard.plugins.hparams.metadata")
    contents = read(folder).summary_metadata
    parse = {tag: contents[tag].plugin_data.content for tag in contents}
    start = metadata.parse_session_start_info_plugin_data(parse[metadata.SESSION_START_INFO_TAG])
    experiment = metadata.parse_experiment_plugin_data(parse[metadata.EXPERIMENT_TAG])
    values = {name: getattr(value, value.WhichOneof("kind")) for name, value in start.hparams.items()}
    return values, [info.name.tag for info in experiment.metric_infos]


@pytest.mark.parametrize(
    "metrics, names", [(None, ["hp_metric"]), ({"val_acc": 0.5}, ["val_acc"]), (0.5, ["hp_metric"])]
)
def test_hparams_page(tmp_path: Path, metrics: object, names: list[str]) -> None:
    logger = TensorBoardLogger(tmp_path)
    params = {
        "lr": 0.1,
        "net": {"depth": 3},
        "name": "x",
        "flag": True,
        "sizes": [1, 2],
        "none": None,
        "np": np.int64(4),
    }
    logger.log_hyperparams(params, metrics)
    logger.finalize("success")
    values, metric_names = hparams_page(logger.log_dir)
    assert values == {
        "lr": 0.1, "net/depth": 3.0, "name": "x", "flag": True, "sizes": "[1, 2]", "none": "None", "np": 4.0,
    }  # fmt: skip
    assert metric_names == names
    assert scalars(logger.log_dir, names[0]) == [(0, -1.0 if metrics is None else 0.5)]
    assert Path(logger.log_dir, "hparams.yaml").read_text().startswith("lr: 0.1\nnet:\n  depth: 3\n")


def test_without_a_default_metric_only_the_file_is_written(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path, default_hp_metric=False)
    logger.log_hyperparams({"lr": 0.1})
    logger.finalize("success")
    assert [path.name for path in Path(logger.log_dir).iterdir()] == ["hparams.yaml"]


def test_the_experiment_takes_arrays_of_any_kind(tmp_path: Path) -> None:
    class Ours:
        def __array__(self, dtype=None, copy=None):
            return np.arange(12, dtype=np.float32).reshape(3, 2, 2) / 12

    logger = TensorBoardLogger(tmp_path)
    logger.experiment.add_histogram("weights", Ours(), 1)
    logger.experiment.add_image("cat", img_tensor=Ours(), global_step=1)
    logger.experiment.add_text("note", "hello", 1)
    logger.experiment.add_scalar("loss", engine.tensor(0.5, requires_grad=True), 1)
    logger.experiment.add_scalars("both", {"a": engine.tensor(1.0), "b": 2.0}, 1)
    logger.experiment.add_graph(engine.nn.Linear(2, 3), engine.ones(1, 2))
    logger.finalize("success")
    tags = read(logger.log_dir).Tags()
    assert tags["histograms"] == ["weights"] and tags["images"] == ["cat"] and tags["graph"]
    assert read(logger.log_dir).Scalars("loss")[0].value == 0.5


def test_nothing_is_written_before_something_is_logged(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger.save()
    logger.finalize("success")
    assert logger.name == "lightning_logs" and list(tmp_path.iterdir()) == []


def test_it_can_be_copied_while_it_writes(tmp_path: Path) -> None:
    logger = TensorBoardLogger(tmp_path)
    logger.log_metrics({"loss": 1.0}, 0)
    assert copy.deepcopy(logger).log_dir == logger.log_dir
    logger.finalize("success")


def test_torch_is_not_loaded(tmp_path: Path) -> None:
    program = (
        "import sys; from loggers import TensorBoardLogger; assert 'tensorboardX' not in sys.modules;"
        f"logger = TensorBoardLogger({str(tmp_path)!r});"
        "logger.log_hyperparams({'a': 1}); logger.finalize('success');"
        "assert 'tensorboardX' in sys.modules and 'torch' not in sys.modules"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
