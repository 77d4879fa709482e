"""swa_utils: averaged models, update_bn and SWALR beside torch, and what they promise without it."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest

import engine
from engine.optim import swa_utils

VALUES = np.random.default_rng(0).normal(size=(5, 3, 2)).astype(np.float32)
FUNCTIONS = {
    "default": lambda utils: {},
    "swa_avg": lambda utils: {"avg_fn": utils.get_swa_avg_fn()},
    "ema_avg": lambda utils: {"avg_fn": utils.get_ema_avg_fn(0.9)},
    "swa_multi": lambda utils: {"multi_avg_fn": utils.get_swa_multi_avg_fn()},
    "ema_multi": lambda utils: {"multi_avg_fn": utils.get_ema_multi_avg_fn(0.9)},
}


def model_of(lib):
    return lib.nn.Sequential(lib.nn.Linear(2, 3, bias=False), lib.nn.BatchNorm1d(3))


def averaged_over(lib, options, use_buffers):
    model = model_of(lib)
    averaged = lib.optim.swa_utils.AveragedModel(model, use_buffers=use_buffers, **options)
    for values in VALUES:
        with lib.no_grad():
            model[0].weight.copy_(lib.tensor(values))
        model(lib.tensor(VALUES[0]))
        averaged.update_parameters(model)
    return averaged


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_averages_are_torchs(name, use_buffers):
    torch = pytest.importorskip("torch")
    if name == "swa_multi" and use_buffers:
        pytest.skip("torch refuses to average integer buffers this way")
    ours = averaged_over(engine, FUNCTIONS[name](swa_utils), use_buffers).state_dict()
    theirs = averaged_over(torch, FUNCTIONS[name](torch.optim.swa_utils), use_buffers).state_dict()
    assert list(ours) == list(theirs)
    for key, value in theirs.items():
        assert str(ours[key].dtype) == str(value.dtype)
        np.testing.assert_allclose(ours[key].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_equal_weights_are_the_mean_and_the_model_is_left_alone():
    averaged = averaged_over(engine, {}, False)
    np.testing.assert_allclose(averaged.module[0].weight.detach().numpy(), VALUES.mean(0), rtol=1e-5, atol=1e-6)
    assert averaged.n_averaged.item() == len(VALUES)
    assert averaged.module[0].weight.requires_grad


def test_an_averaged_model_is_saved_and_loaded():
    averaged = averaged_over(engine, {}, False)
    fresh = swa_utils.AveragedModel(model_of(engine))
    fresh.load_state_dict(averaged.state_dict())
    assert fresh.n_averaged.item() == 5
    assert engine.equal(fresh.module[0].weight, averaged.module[0].weight)


def test_bad_arguments():
    with pytest.raises(AssertionError, match="Only one of avg_fn and multi_avg_fn"):
        swa_utils.AveragedModel(model_of(engine), avg_fn=max, multi_avg_fn=max)
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value 1.5"):
            make(1.5)
    optimizer = engine.optim.SGD([engine.zeros(1, requires_grad=True)], lr=1.0)
    with pytest.raises(ValueError, match="anneal_strategy must be one of 'cos' or 'linear'"):
        swa_utils.SWALR(optimizer, 0.1, anneal_strategy="steps")
    with pytest.raises(ValueError, match="anneal_epochs must be equal or greater than 0"):
        swa_utils.SWALR(optimizer, 0.1, anneal_epochs=-1)


def test_update_bn_is_torchs_and_restores_what_it_changed():
    torch = pytest.importorskip("torch")
    stats = []
    for lib in (engine, torch):
        model = model_of(lib).eval()
        with lib.no_grad():
            model[0].weight.copy_(lib.tensor(VALUES[1]))
        lib.optim.swa_utils.update_bn([(lib.tensor(v), "label") for v in VALUES], model)
        assert model[1].momentum == 0.1 and not model.training
        stats.append((model[1].running_mean.numpy(), model[1].running_var.numpy(), model[1].num_batches_tracked.item()))
    for mine, other in zip(*stats, strict=True):
        np.testing.assert_allclose(mine, other, rtol=1e-5)


@pytest.mark.parametrize("epochs", [0, 1, 5])
@pytest.mark.parametrize("strategy", ["cos", "linear"])
def test_swalr_is_torchs(strategy, epochs):
    torch = pytest.importorskip("torch")
    rates = []
    for lib in (engine, torch):
        groups = [{"params": [lib.zeros(1, requires_grad=True)], "lr": lr} for lr in (1.0, 0.1)]
        optimizer = lib.optim.SGD(groups)
        scheduler = lib.optim.swa_utils.SWALR(optimizer, [0.05, 0.2], anneal_epochs=epochs, anneal_strategy=strategy)
        rates.append([scheduler.get_last_lr()])
        for step in range(8):
            optimizer.step()
            scheduler.step()
            rates[-1].append(scheduler.get_last_lr())
            if step == 3 and epochs:
                state = scheduler.state_dict()
                scheduler = lib.optim.swa_utils.SWALR(optimizer, [0.05, 0.2])
                scheduler.load_state_dict(state)
                for group, lr in zip(optimizer.param_groups, rates[-1][-1], strict=True):
                    group["lr"] = lr
    np.testing.assert_allclose(*rates, rtol=1e-12)


@pytest.mark.parametrize("name", ["AveragedModel", "SWALR", "update_bn", "get_ema_multi_avg_fn", "get_swa_avg_fn"])
def test_argument_names_are_torchs(name):
    torch = pytest.importorskip("torch")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours = inspect.signature(getattr(swa_utils, name)).parameters
        theirs = inspect.signature(getattr(torch.optim.swa_utils, name)).parameters
    assert [(p.name, p.default) for p in ours.values()] == [(p.name, p.default) for p in theirs.values()]


def test_compiled_averages_equal_numpys_to_the_last_bit() -> None:
    pytest.importorskip("numba")

    def averages(compiled: bool) -> list:
        engine.manual_seed(0)
        model = engine.nn.Linear(700, 500)
        averaged = engine.optim.swa_utils.AveragedModel(model, multi_avg_fn=engine.optim.swa_utils.get_ema_multi_avg_fn(0.9))
        with engine.backends.fast.flags(enabled=compiled), engine.no_grad():
            for _ in range(3):
                for p in model.parameters():
                    p += engine.randn(p.shape)
                averaged.update_parameters(model)
        return [p.detach().numpy().tobytes() for p in averaged.module.parameters()]

    assert averages(True) == averages(False)
