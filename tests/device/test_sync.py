"""What makes the host wait for the device is found, all of it, with the program's line."""

from __future__ import annotations

import inspect
import warnings

import pytest

import engine
import lit
from engine import backend
from tests.device.test_cards import CASES, on_device
from tests.device.test_trainer import Model, data
from tests.fake_cupy.kernels import compiler

FIRST = {name: sample for name, i, sample in reversed(CASES)}


def here():
    return inspect.currentframe().f_back.f_lineno


def test_every_wait_of_every_operator_is_found(device, events):
    """The stand-in counts what makes the host wait; nothing that it counts goes unreported, and nothing else is. (A third
    of the operators: each takes a while.)"""
    if compiler() is None:
        pytest.skip("no g++")
    for name, sample in sorted(FIRST.items())[::3]:
        with engine.cuda.detect_sync() as waits:
            events.clear()
            on_device(sample)
            counted = events["synchronize"] + events["to_host"]
        assert bool(waits) == bool(counted), (name, waits, counted)


def test_lines_are_the_programs(device):
    x = engine.arange(4.0, device=device)
    expected = []
    with engine.cuda.detect_sync() as waits:
        x.sum().item(); expected.append(here())  # noqa: E702
        bool((x > 1).any()); expected.append(here())  # noqa: E702
        x[x > 1]; expected.append(here())  # noqa: E702
        repr(x); expected.append(here())  # noqa: E702
        x.cpu(); expected.append(here())  # noqa: E702
        float(x[0]); expected.append(here())  # noqa: E702
        engine.nonzero(x); expected.append(here())  # noqa: E702
        y = (x * 2).softmax(0)
        y[1] = 3.0
        engine.cuda.synchronize()
    assert sorted({w.line for w in waits}) == expected
    assert {w.file for w in waits} == {__file__}
    with engine.cuda.detect_sync() as later:
        pass
    x.sum().item()
    assert not later


def test_modes(device):
    x = engine.ones(2, device=device)
    before = vars(backend.gpu().ndarray).get("item")
    assert engine.cuda.get_sync_debug_mode() == 0
    engine.cuda.set_sync_debug_mode("warn")
    try:
        with pytest.warns(UserWarning, match="called a synchronizing CUDA operation: .* at engine/") as caught:
            x.sum().item()
        assert caught[0].filename == __file__
        engine.cuda.set_sync_debug_mode("error")
        assert engine.cuda.get_sync_debug_mode() == 2
        with pytest.raises(RuntimeError, match="called a synchronizing CUDA operation"):
            x.sum().item()
        with pytest.raises(RuntimeError, match="invalid value of debug_mode"):
            engine.cuda.set_sync_debug_mode("loud")
    finally:
        engine.cuda.set_sync_debug_mode(0)
    assert x.sum().item() == 2 and vars(backend.gpu().ndarray).get("item") is before
    with pytest.raises(ValueError, match="expected one of"):
        engine.cuda.detect_sync("loud")


class Reading(Model):
    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        if loss.item() > 100:
            raise ValueError
        return loss


@pytest.mark.parametrize(("module", "count"), [(Model, 0), (Reading, 1)])
def test_the_trainer_names_the_lines_of_the_step(device, tmp_path, module, count):
    if compiler() is None:
        pytest.skip("no g++")
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False}
    trainer = lit.Trainer(max_epochs=1, accelerator="gpu", devices=1, detect_sync=True, default_root_dir=tmp_path, **quiet)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        trainer.fit(module(), data())
    found = [w for w in caught if "synchronizing" in str(w.message)]
    assert len(found) == count and all(w.filename == __file__ for w in found)
