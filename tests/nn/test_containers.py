"""Sequential, ModuleList, ModuleDict, ParameterList, ParameterDict as Python containers."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import pytest

import engine
from engine import nn


def kinds(modules: Any) -> list[str]:
    return [type(module).__name__ for module in modules]


class TestSequential:
    def test_calls_in_order(self) -> None:
        model = nn.Sequential(nn.ReLU(), nn.Flatten())
        assert model(engine.tensor([[[-1.0, 2.0]]])).tolist() == [[0.0, 2.0]]

    def test_named_and_sliced(self) -> None:
        model = nn.Sequential(OrderedDict(a=nn.ReLU(), b=nn.Tanh(), c=nn.Sigmoid()))
        assert model.b is model[1] and model[-1] is model.c
        assert kinds(model[1:]) == ["Tanh", "Sigmoid"] and list(model[1:]._modules) == ["b", "c"]
        with pytest.raises(IndexError, match="index 3 is out of range"):
            model[3]

    def test_editing_renumbers(self) -> None:
        model = nn.Sequential(nn.ReLU(), nn.Tanh())
        model.append(nn.Sigmoid()).insert(1, nn.GELU())
        assert kinds(model) == ["ReLU", "GELU", "Tanh", "Sigmoid"]
        model[0] = nn.SiLU()
        del model[1]
        assert kinds(model) == ["SiLU", "Tanh", "Sigmoid"] and list(model._modules) == ["0", "1", "2"]
        assert type(model.pop(-1)) is nn.Sigmoid and len(model) == 2
        del model[:]
        assert len(model) == 0
        with pytest.raises(IndexError):
            model.insert(3, nn.ReLU())
        with pytest.raises(AssertionError):
            model.insert(0, "relu")

    def test_arithmetic(self) -> None:
        model = nn.Sequential(nn.ReLU(), nn.Tanh())
        assert kinds(model + nn.Sequential(nn.GELU())) == ["ReLU", "Tanh", "GELU"]
        assert kinds(2 * model) == ["ReLU", "Tanh"] * 2 and len(model) == 2
        model += nn.Sequential(nn.GELU())
        model *= 2
        assert kinds(model) == ["ReLU", "Tanh", "GELU"] * 2
        with pytest.raises(ValueError, match="only objects of Sequential class"):
            model + [nn.ReLU()]
        with pytest.raises(ValueError, match="Non-positive"):
            model * 0
        with pytest.raises(TypeError, match="unsupported operand"):
            model * 1.5

    def test_only_modules(self) -> None:
        with pytest.raises(TypeError, match="is not a Module subclass"):
            nn.Sequential(nn.ReLU(), "tanh")


class TestModuleList:
    def test_as_a_list(self) -> None:
        modules = nn.ModuleList([nn.ReLU(), nn.Tanh()])
        modules.extend([nn.GELU()]).append(nn.SiLU())
        modules += [nn.Sigmoid()]
        assert kinds(modules) == ["ReLU", "Tanh", "GELU", "SiLU", "Sigmoid"]
        assert kinds(modules[1:3]) == ["Tanh", "GELU"] and isinstance(modules[1:3], nn.ModuleList)
        assert kinds(modules + [nn.Mish()])[-1] == "Mish" and len(modules) == 5
        modules.insert(0, nn.Softsign())
        assert type(modules[0]) is nn.Softsign and len(modules) == 6
        assert type(modules.pop(0)) is nn.Softsign
        del modules[1:4]
        assert kinds(modules) == ["ReLU", "Sigmoid"] and list(modules._modules) == ["0", "1"]

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match="extend should be called with an iterable, but got int"):
            nn.ModuleList().extend(3)
        with pytest.raises(IndexError, match="index 0 is out of range"):
            nn.ModuleList()[0]
        with pytest.raises(NotImplementedError):
            nn.ModuleList()(1)


class TestModuleDict:
    def test_as_a_dict(self) -> None:
        modules = nn.ModuleDict({"relu": nn.ReLU()})
        modules["tanh"] = nn.Tanh()
        modules.update([("relu", nn.GELU())])
        assert list(modules) == list(modules.keys()) == ["relu", "tanh"] and len(modules) == 2
        assert kinds(modules.values()) == ["GELU", "Tanh"] and modules.tanh is modules["tanh"]
        assert "relu" in modules and "gelu" not in modules
        assert dict(modules.items())["tanh"] is modules.pop("tanh")
        del modules["relu"]
        modules["x"] = nn.ReLU()
        modules.clear()
        assert len(modules) == 0
        with pytest.raises(KeyError):
            modules["relu"]

    def test_errors(self) -> None:
        with pytest.raises(TypeError, match="iterable of key/value pairs, but got int"):
            nn.ModuleDict(3)
        with pytest.raises(ValueError, match="element #0 has length 3; 2 is required"):
            nn.ModuleDict([("a", nn.ReLU(), 3)])
        with pytest.raises(KeyError, match="already exists"):
            nn.ModuleDict({"values": nn.ReLU()})


class TestParameterContainers:
    def test_list(self) -> None:
        values = nn.ParameterList([engine.zeros(1), "text"])
        values.append(engine.ones(2))
        values += [nn.Parameter(engine.ones(3))]
        assert [isinstance(value, nn.Parameter) for value in values] == [True, False, True, True]
        assert [name for name, _ in values.named_parameters()] == ["0", "2", "3"]
        values[0] = engine.ones(5)
        assert values[0].shape == (5,) and values[-1] is values[3] and len(values[1:]) == 3
        with pytest.raises(IndexError):
            values[4]
        with pytest.raises(TypeError, match="iterable"):
            values.extend(engine.ones(2))
        with pytest.raises(RuntimeError, match="should not be called"):
            values(1)

    def test_dict(self) -> None:
        values = nn.ParameterDict({"b": engine.zeros(1), "a": 3})
        assert list(values) == ["a", "b"]  # a plain dict is taken in sorted order, as torch does
        values["c"] = engine.ones(2)
        assert [name for name, _ in values.named_parameters()] == ["b", "c"]
        assert values.get("x") is None and values.setdefault("d", 7) == 7 and "d" in values
        assert values.popitem() == ("d", 7) and values.pop("a") == 3 and list(reversed(values)) == ["c", "b"]
        joined = values | nn.ParameterDict({"e": engine.ones(1)})
        assert list(joined) == ["b", "c", "e"] and len(values) == 2
        assert list(values.copy().keys()) == ["b", "c"] and len(list(values.items())) == 2
        assert list(values.fromkeys(["x"], 1).values()) == [1]
        values.clear()
        assert len(values) == 0
        with pytest.raises(KeyError):
            values["b"]
        with pytest.raises(TypeError, match="expected a string as key, got 3"):
            values[3] = 1
        with pytest.raises(KeyError, match="already exists"):
            values["items"] = 1
