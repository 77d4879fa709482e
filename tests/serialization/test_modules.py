"""Whole modules: the way of `torch.save(model, path)` and `torch.load(path)`."""

from __future__ import annotations

import io
import json
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest

import engine as torch
from engine import nn
from engine.serialization import CheckpointError, SaveError, load, read_metadata, save
from tests.serialization.tampering import rewrite_structure


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.BatchNorm1d(8), nn.Dropout(0.5))
        self.head = nn.Linear(8, 2)
        self.register_buffer("calls", torch.tensor(0), persistent=False)
        self.options = {"scale": 0.5, "sizes": (4, 8)}

    def forward(self, x: Any) -> Any:
        return self.head(self.body(x)) * self.options["scale"]


class Parent(nn.Module):
    """Knows its child, which knows it."""

    def __init__(self) -> None:
        super().__init__()
        self.child = nn.Linear(1, 1)
        self.child.owner = [self]


class Unwritable(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(1, 1)])
        self.layers[0].act = lambda x: x


class Forgetful(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))
        self.file = sys.stdout

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "file": None}


def through_file(obj: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    save(obj, buffer)
    buffer.seek(0)
    return load(buffer, **options)


def test_a_whole_model_comes_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = Net().eval()
    torch.save(model, tmp_path / "model.pth")
    again = torch.load(tmp_path / "model.pth")
    x = torch.randn(3, 4)
    assert type(again) is Net and not again.training and again.options == model.options
    assert torch.equal(again(x), model(x))
    assert list(again.state_dict()) == list(model.state_dict())
    assert [type(p) for p in again.parameters()] == [nn.Parameter] * 6
    assert repr(again) == repr(model)


def test_a_loaded_model_trains_on() -> None:
    model = through_file(Net())
    model(torch.ones(4, 4)).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    assert model.calls.item() == 0 and "calls" not in model.state_dict()


def test_the_weights_have_their_state_dict_names_in_the_file(tmp_path: Path) -> None:
    save(Net(), tmp_path / "model")
    assert set(Net().state_dict()) <= set(read_metadata(tmp_path / "model")["tensors"])


def test_a_shared_module_is_one_module_again() -> None:
    layer = nn.Linear(2, 2)
    again = through_file(nn.Sequential(layer, nn.ReLU(), layer))
    assert again[0] is again[2]


def test_modules_that_know_each_other() -> None:
    again = through_file(Parent())
    assert again.child.owner[0] is again


def test_a_class_decides_what_it_keeps() -> None:
    assert through_file(Forgetful()).file is None


def test_hooks_that_are_gone_do_not_hinder() -> None:
    model = nn.Linear(1, 1)
    model.register_forward_hook(lambda *args: None).remove()
    assert through_file(model).in_features == 1


def test_a_function_inside_is_refused_by_its_place() -> None:
    with pytest.raises(SaveError, match=r"`layers\.0\.act` is the function .*<lambda>"):
        through_file(Unwritable())


def test_a_hook_is_refused_by_its_place() -> None:
    model = nn.Sequential(nn.Linear(1, 1))
    model[0].register_forward_hook(print)
    with pytest.raises(SaveError, match=r"`0\.forward_hooks\.0` is the function print"):
        through_file(model)


def test_activations_are_written_by_name() -> None:
    model = nn.Linear(1, 1)
    model.act, model.gate, model.kind = nn.functional.relu, torch.tanh, nn.GELU
    again = through_file(model)
    assert again.act is nn.functional.relu and again.gate is torch.tanh and again.kind is nn.GELU


def test_weights_only_refuses_whole_modules() -> None:
    with pytest.raises(CheckpointError, match="weights_only=True admits none"):
        through_file({"model": nn.Linear(1, 1)}, weights_only=True)
    assert through_file({"w": torch.ones(1)}, weights_only=True)["w"].item() == 1.0


def test_a_local_class_is_refused_when_saving() -> None:
    class Local(nn.Module):
        pass

    with pytest.raises(SaveError, match="cannot be found by that name"):
        through_file(Local())


def rename_class(path: Path, name: str) -> None:
    rewrite_structure(path, lambda text: text.replace("engine.nn:Linear", json.dumps(name)[1:-1]))


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("os:system", "which is not defined"),
        ("os:_Environ", "is not an nn.Module"),
        ("builtins:eval", "which is not defined"),
        ("subprocess:Popen", "is not an nn.Module"),
        ("no_such_module:Net", "'no_such_module' is not imported"),
        ("engine.nn:NoSuchLayer", "which is not defined"),
        ("engine.nn:Linear.forward", "which is not defined"),
        ("", "is not imported"),
        ("builtins:dict", "is not an nn.Module"),
        ("lazily_loading:anything", "which is not defined"),
    ],
)
def test_no_other_class_is_rebuilt(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import subprocess  # noqa: F401  (so that its name can be found)

    class Lazy(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            raise AssertionError("code was run")

    monkeypatch.setitem(sys.modules, "lazily_loading", Lazy("lazily_loading"))
    path = tmp_path / "model"
    save(nn.Linear(1, 1), path)
    rename_class(path, name)
    with pytest.raises(CheckpointError, match=re.escape(text)):
        load(path)


def test_the_class_must_be_imported_not_importable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "marker_module.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    path = tmp_path / "model"
    save(nn.Linear(1, 1), path)
    rename_class(path, "marker_module:Net")
    with pytest.raises(CheckpointError, match="HINT: import it first"):
        load(path)
    assert "marker_module" not in sys.modules


def test_loading_runs_no_constructor(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save(Net(), tmp_path / "model")

    def never(*args: Any, **kwargs: Any) -> None:
        raise AssertionError("code was run")

    for name in ("__init__", "__new__", "__setstate__", "__setattr__"):
        monkeypatch.setattr(Net, name, never, raising=False)
    assert type(load(tmp_path / "model")) is Net
