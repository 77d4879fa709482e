"""The Logger interface and DummyLogger."""

from __future__ import annotations

import copy

import pytest

from loggers import CSVLogger, DummyLogger, Logger, MLFlowLogger, TensorBoardLogger, WandbLogger


def test_a_logger_must_say_who_it_is_and_take_metrics() -> None:
    with pytest.raises(TypeError, match="abstract"):
        Logger()


def test_all_else_is_optional() -> None:
    class Mine(Logger):
        name, version = "mine", 1

        def __init__(self) -> None:
            self.saved = 0

        def log_metrics(self, metrics, step=None) -> None: ...

        def log_hyperparams(self, params, *args, **kwargs) -> None: ...

        def save(self) -> None:
            self.saved += 1

    logger = Mine()
    assert (logger.save_dir, logger.root_dir, logger.log_dir, logger.group_separator) == (None, None, None, "/")
    assert logger.experiment is None
    logger.log_graph(None)
    logger.after_save_checkpoint(None)
    logger.finalize("success")
    assert logger.saved == 1


def test_dummy_logger_takes_everything() -> None:
    logger = DummyLogger()
    logger.log_metrics({"a": 1.0}, 0)
    logger.log_hyperparams({"a": 1}, metrics={"b": 2})
    logger.experiment.add_image("cat", None)
    logger.experiment[0].watch()
    logger.log_image(key="x", images=[])
    logger.finalize("success")
    assert (logger.name, logger.version, logger.save_dir) == ("", "", None)
    assert isinstance(copy.deepcopy(logger), DummyLogger)


def test_arguments_are_lightnings() -> None:
    import inspect

    pytest.importorskip("torch")
    theirs = pytest.importorskip("lightning.pytorch.loggers")
    for ours in (CSVLogger, TensorBoardLogger, MLFlowLogger, WandbLogger):
        names = list(inspect.signature(ours).parameters)
        assert names == list(inspect.signature(getattr(theirs, ours.__name__)).parameters)
