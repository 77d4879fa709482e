"""Parametrizations, pruning and stateless calls: torch's keys, printed forms and values, and what they are for."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn
from engine.nn.utils import parametrizations, parametrize, prune, stateless


class Symmetric(nn.Module):
    def forward(self, x: Any) -> Any:
        return x.triu() + x.triu(1).transpose(-1, -2)

    def right_inverse(self, x: Any) -> Any:
        return x.triu()


class TestRegistration:
    def test_the_weight_is_computed_and_the_original_trained(self) -> None:
        layer = nn.Linear(3, 3)
        weight = layer.weight
        assert parametrize.register_parametrization(layer, "weight", Symmetric()) is layer
        assert layer.parametrizations.weight.original is weight  # an optimizer made before holds it
        assert type(layer).__name__ == "ParametrizedLinear" and isinstance(layer, nn.Linear)
        layer(engine.ones(1, 3)).sum().backward()
        assert weight.grad.tolist() == [[1, 2, 2], [0, 1, 2], [0, 0, 1]]

    def test_assigning_goes_through_the_inverse(self) -> None:
        layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", Symmetric())
        layer.weight = engine.tensor([[1.0, 2.0], [2.0, 3.0]])
        assert layer.parametrizations.weight.original.tolist() == [[1, 2], [0, 3]]
        assert layer.weight.tolist() == [[1, 2], [2, 3]]

    def test_one_after_the_other_and_away_again(self) -> None:
        layer = nn.Linear(2, 2)
        weight = layer.weight
        parametrize.register_parametrization(layer, "weight", Symmetric())
        parametrize.register_parametrization(layer, "weight", nn.Tanh())
        value = layer.weight.detach()
        parametrize.remove_parametrizations(layer, "weight")
        assert type(layer) is nn.Linear and layer.weight is weight
        assert engine.equal(layer.weight, value) and list(dict(layer.named_parameters())) == ["bias", "weight"]

    def test_buffers_copies_and_caching(self) -> None:
        layer = nn.BatchNorm1d(2)
        parametrize.register_parametrization(layer, "running_mean", nn.Tanh())
        assert "parametrizations.running_mean.original" in dict(layer.named_buffers())
        twin = copy.deepcopy(layer)
        twin.parametrizations.running_mean.original.fill_(1.0)
        assert layer.running_mean.tolist() == [0, 0]
        assert layer.running_mean is not layer.running_mean
        with parametrize.cached():
            assert layer.running_mean is layer.running_mean
        with pytest.raises(RuntimeError, match="only supported through state_dict"):
            pickle.dumps(layer)

    def test_errors(self) -> None:
        with pytest.raises(ValueError, match="does not have a parameter"):
            parametrize.register_parametrization(nn.Linear(2, 2), "wait", Symmetric())
        with pytest.raises(ValueError, match="may not change the shape"):
            parametrize.register_parametrization(nn.Linear(2, 3), "weight", nn.Flatten(0))
        layer = parametrize.register_parametrization(nn.Linear(2, 2), "weight", nn.Tanh())
        with pytest.raises(RuntimeError, match="Tanh does not implement right_inverse"):
            layer.weight = engine.zeros(2, 2)
        with pytest.raises(ValueError, match="does not have a parametrization on bias"):
            parametrize.remove_parametrizations(layer, "bias")
        with pytest.raises(ValueError, match="sequence of tensors"):
            parametrize.remove_parametrizations(parametrizations.weight_norm(nn.Linear(2, 2)), "weight", False)


def test_orthogonal_matrices_stay_orthogonal_while_they_train() -> None:
    for out, options in ((4, {}), (6, {}), (2, {"orthogonal_map": "cayley"}), (6, {"use_trivialization": False})):
        layer = parametrizations.orthogonal(nn.Linear(4, out), **options)
        optimizer = engine.optim.SGD(layer.parameters(), lr=0.1)
        before = layer.weight.detach()
        for _ in range(3):
            optimizer.zero_grad()
            layer(engine.ones(2, 4)).square().sum().backward()
            optimizer.step()
        w = layer.weight.detach()
        gram = w @ w.T if out < 4 else w.T @ w
        assert engine.allclose(gram, engine.eye(len(gram)), atol=1e-5) and not engine.allclose(w, before, atol=1e-3)


def test_weight_norm_reads_state_dicts_of_the_older_form() -> None:
    old, new = nn.utils.weight_norm(nn.Linear(3, 2)), parametrizations.weight_norm(nn.Linear(3, 2))
    new.load_state_dict(old.state_dict())
    x = engine.randn(4, 3)
    assert engine.allclose(old(x), new(x))


class TestPruning:
    def test_mask_original_and_gradient(self) -> None:
        layer = nn.Linear(3, 1)
        with engine.no_grad():
            layer.weight.copy_(engine.tensor([[3.0, -1.0, 2.0]]))
        prune.l1_unstructured(layer, "weight", amount=1)
        assert layer.weight.tolist() == [[3, 0, 2]] and layer.weight_mask.tolist() == [[1, 0, 1]]
        layer(engine.ones(1, 3)).sum().backward()
        assert layer.weight_orig.grad.tolist() == [[1, 0, 1]]
        prune.l1_unstructured(layer, "weight", amount=1)  # of the two that are left
        assert layer.weight.tolist() == [[3, 0, 0]]
        assert prune.is_pruned(layer)
        prune.remove(layer, "weight")
        assert isinstance(layer.weight, nn.Parameter) and layer.weight.tolist() == [[3, 0, 0]]
        assert not prune.is_pruned(layer)

    def test_errors_leave_the_module_as_it_was(self) -> None:
        layer = nn.Linear(3, 1)
        for call, kind, text in (
            (lambda: prune.l1_unstructured(layer, "weight", 9), ValueError, "should be smaller than the number"),
            (lambda: prune.l1_unstructured(layer, "weight", -1), ValueError, "should either be a float in the range"),
            (lambda: prune.l1_unstructured(layer, "weight", "x"), TypeError, "Must be int or float"),
            (lambda: prune.ln_structured(layer, "bias", 1, 1, 0), ValueError, "multidimensional tensors"),
            (lambda: prune.remove(layer, "weight"), ValueError, "has to be pruned before"),
        ):
            with pytest.raises(kind, match=text):
                call()
            assert list(layer.state_dict()) == ["weight", "bias"]


class TestFunctionalCall:
    def test_values_stand_in_and_gradients_reach_them(self) -> None:
        layer = nn.Linear(1, 1)
        weight = engine.tensor([[2.0]], requires_grad=True)
        given = {"weight": weight, "bias": engine.tensor([1.0])}
        own = layer.weight
        out = stateless.functional_call(layer, given, engine.tensor([3.0]))
        out.backward()
        assert out.item() == 7 and weight.grad.item() == 3
        assert layer.weight is own and own.grad is None

    def test_tied_names_and_replaced_buffers(self) -> None:
        class Counting(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a = self.b = nn.Linear(1, 1, bias=False)
                self.register_buffer("calls", engine.zeros(1))

            def forward(self, x: Any) -> Any:
                self.calls = self.calls + 1
                return self.b(self.a(x))

        model = Counting()
        given = {"a.weight": engine.tensor([[3.0]]), "calls": engine.tensor([5.0])}
        assert stateless.functional_call(model, given, engine.ones(1)).item() == 9
        assert given["calls"].item() == 6 and model.calls.item() == 0
        with pytest.raises(ValueError, match="which are tied"):
            stateless.functional_call(model, {**given, "b.weight": engine.zeros(1, 1)}, engine.ones(1))

    def test_the_module_is_restored_after_an_error(self) -> None:
        layer = nn.Linear(2, 1)
        before = layer.weight
        with pytest.raises(RuntimeError):
            stateless.functional_call(layer, {"weight": engine.zeros(1, 5)}, engine.ones(1, 2))
        assert layer.weight is before
        with pytest.raises(RuntimeError, match="Unexpected key.*'foo'"):
            stateless.functional_call(layer, {"foo": engine.zeros(1)}, engine.ones(1, 2), strict=True)


# -- the same script with both libraries ------------------------------------------------------------------------------

SCRIPTS: dict[str, Callable[[Any], Any]] = {
    "orthogonal square": lambda u: u.parametrizations.orthogonal(u.nn.Linear(4, 4)),
    "orthogonal cayley": lambda u: u.parametrizations.orthogonal(u.nn.Linear(3, 5), "weight", "cayley"),
    "orthogonal wide": lambda u: u.parametrizations.orthogonal(u.nn.Linear(5, 3)),
    "householder": lambda u: u.parametrizations.orthogonal(u.nn.Linear(3, 5), use_trivialization=False),
    "weight norm": lambda u: u.parametrizations.weight_norm(u.nn.Conv2d(2, 3, 3)),
    "weight norm whole": lambda u: u.parametrizations.weight_norm(u.nn.Linear(3, 4), dim=None),
    "spectral norm": lambda u: u.parametrizations.spectral_norm(u.nn.ConvTranspose2d(2, 3, 3)),
    "spectral norm of a vector": lambda u: u.parametrizations.spectral_norm(u.nn.Linear(3, 4), "bias"),
    "old weight norm": lambda u: u.weight_norm(u.nn.Conv2d(2, 3, 3)),
    "old spectral norm": lambda u: u.spectral_norm(u.nn.Conv2d(2, 3, 3)),
    "l1": lambda u: u.prune.l1_unstructured(u.nn.Linear(4, 3), "weight", 0.4),
    "random": lambda u: u.prune.random_unstructured(u.nn.Linear(4, 3), "weight", 5),
    "channels": lambda u: u.prune.ln_structured(u.nn.Linear(4, 3), "weight", 1, 2, 0),
    "random channels": lambda u: u.prune.random_structured(u.nn.Linear(4, 3), "weight", 2, 1),
    "twice": lambda u: u.prune.l1_unstructured(u.prune.random_structured(u.nn.Linear(4, 3), "weight", 1, 0), "weight", 0.5),
    "mask": lambda u: u.prune.custom_from_mask(u.nn.Linear(4, 3), "bias", u.lib.tensor([1, 0, 1])),
}


class Utils:
    """nn.utils of one library, with the library itself."""

    def __init__(self, lib: Any) -> None:
        from importlib import import_module

        self.lib, self.nn = lib, lib.nn
        for name in ("parametrizations", "parametrize", "prune"):
            setattr(self, name, import_module(f"{lib.__name__}.nn.utils.{name}"))
        self.weight_norm, self.spectral_norm = lib.nn.utils.weight_norm, lib.nn.utils.spectral_norm


def trained(utils: Utils, script: Callable[[Any], Any]) -> tuple:
    """Printed form, keys, losses and state of a module after three steps."""
    lib = utils.lib
    lib.manual_seed(0)
    module = script(utils)
    x = lib.randn(2, 2, 5, 5) if "Conv" in repr(module) else lib.randn(2, module.in_features)
    optimizer = lib.optim.SGD(module.parameters(), lr=0.05)
    losses = []
    for _ in range(3):
        optimizer.zero_grad()
        loss = (module(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    module.eval()
    losses.append((module(x) ** 2).mean().item())
    return repr(module), list(module.state_dict()), losses, [t.numpy() for t in module.state_dict().values()]


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("name", SCRIPTS)
def test_equal_to_torch(name: str) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = trained(Utils(engine), SCRIPTS[name]), trained(Utils(torch), SCRIPTS[name])
    assert ours[:2] == theirs[:2]
    np.testing.assert_allclose(ours[2], theirs[2], rtol=1e-4)
    for mine, expected in zip(ours[3], theirs[3]):
        np.testing.assert_allclose(mine, expected, rtol=1e-3, atol=1e-5)
