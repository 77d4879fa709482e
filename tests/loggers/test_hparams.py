"""Hyper-parameters as dicts, flat, and as YAML."""

from __future__ import annotations

import math
from argparse import Namespace
from dataclasses import dataclass

import numpy as np
import pytest

from loggers.hparams import flatten, to_dict, to_simple, to_yaml


@dataclass
class Settings:
    lr: float = 0.1
    sizes: tuple[int, ...] = (1, 2)


def test_to_dict() -> None:
    assert to_dict(None) == {}
    assert to_dict({"a": 1}) == to_dict(Namespace(a=1)) == {"a": 1}
    assert to_dict(Settings()) == {"lr": 0.1, "sizes": (1, 2)}
    with pytest.raises(TypeError, match="expected a dict"):
        to_dict(3)


def test_flatten() -> None:
    nested = {"a": {"b": {"c": 1}}, 5: {"d": 2}, "list": [{"x": 1}, {"y": 2}], "plain": [1, 2], "s": Settings()}
    assert flatten(nested) == {
        "a/b/c": 1,
        "5/d": 2,
        "list/0/x": 1,
        "list/1/y": 2,
        "plain": [1, 2],
        "s/lr": 0.1,
        "s/sizes": (1, 2),
    }


def test_to_simple() -> None:
    values = [True, 1, 0.5, "x", np.float32(0.5), np.int64(3), np.bool_(True), None, [1], Settings]
    simple = [to_simple(value) for value in values]
    assert simple[:7] == [True, 1, 0.5, "x", 0.5, 3, True] and simple[7:9] == ["None", "[1]"]
    assert all(type(value) in (bool, int, float, str) for value in simple)


TRICKY = {
    "text": [
        "",
        " ",
        "yes",
        "No",
        "null",
        "~",
        "1",
        "1e3",
        "a: b",
        "- x",
        "#x",
        "é",
        "🙂",
        "a\nb",
        'a"b',
        "'",
        "x y",
        "{",
    ],
    "numbers": [0, -3, 10**30, 0.1, 1e-05, 1e22, -2.5e-300, math.inf, -math.inf],
    "flags": [True, False, None],
    "nested": {"empty": {}, "none": [], "deep": [[1, [2]], {"a": [{"b": 1, "c": [3]}]}], "dicts": [{"a": 1, "b": 2}]},
    "odd keys": {1: "int", "yes": "word", "a b": "space", "": "empty"},
}


def test_yaml_is_read_back_as_it_was() -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(to_yaml(TRICKY)) == TRICKY
    assert math.isnan(yaml.safe_load(to_yaml({"x": math.nan}))["x"])
    assert yaml.safe_load(to_yaml({})) == {}


def test_yaml_of_what_yaml_has_no_form_for() -> None:
    yaml = pytest.importorskip("yaml")
    values = {
        "tuple": (1, 2),
        "numpy": np.float64(0.5),
        "class": Settings,
        "dataclass": Settings(),
        "text": np.str_("a"),
    }
    assert yaml.safe_load(to_yaml(values)) == {
        "tuple": [1, 2],
        "numpy": 0.5,
        "class": str(Settings),
        "dataclass": {"lr": 0.1, "sizes": [1, 2]},
        "text": "a",
    }


def test_yaml_text() -> None:
    text = to_yaml({"lr": 1e-05, "flag": "no", "name": "resnet-18", "optim": {"betas": [0.9, 0.99]}})
    assert text == 'lr: 1.0e-05\nflag: "no"\nname: resnet-18\noptim:\n  betas:\n  - 0.9\n  - 0.99\n'
