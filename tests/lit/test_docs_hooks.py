"""docs/hooks.md is what its generator writes, and the hook table is complete."""

from __future__ import annotations

import importlib.util
import inspect
from pathlib import Path
from types import ModuleType

import lit as pl
from lit.data_hooks import DataHooks
from lit.hooks import HOOKS, HOOKS_BY_NAME
from lit.model_hooks import ModelHooks

ROOT = Path(__file__).resolve().parents[2]


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_hooks", ROOT / "docs" / "generate_hooks.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_docs_are_fresh() -> None:
    written = (ROOT / "docs" / "hooks.md").read_text()
    assert written == generator().render(), "run: python docs/generate_hooks.py"


def own_methods(cls: type) -> set[str]:
    return {name for name, value in vars(cls).items() if inspect.isfunction(value) and not name.startswith("_")}


def test_every_hook_of_the_classes_is_in_the_table() -> None:
    of_module = own_methods(ModelHooks) | own_methods(DataHooks)
    assert of_module == {hook.name for hook in HOOKS if "M" in hook.receivers}
    assert own_methods(pl.Callback) == {hook.name for hook in HOOKS if "C" in hook.receivers}
    of_data = own_methods(DataHooks) | {"state_dict", "load_state_dict", "on_exception"}
    assert of_data == {hook.name for hook in HOOKS if "D" in hook.receivers}


def test_names_are_unique() -> None:
    assert len(HOOKS_BY_NAME) == len(HOOKS)


def test_arguments_are_those_of_the_methods() -> None:
    """What the table shows is what the classes take."""
    for hook in HOOKS:
        if "C" in hook.receivers and hook.name not in ("state_dict", "load_state_dict"):
            parameters = list(inspect.signature(getattr(pl.Callback, hook.name)).parameters)[1:]
            shown = [argument.split("=")[0].strip() for argument in hook.arguments.split(",") if argument.strip()]
            assert parameters == ["trainer", "pl_module", *shown], hook.name
