"""What programs use of Lightning 2.6 is here, under the same import path, with the same arguments and defaults."""

from __future__ import annotations

import importlib
import inspect
from pathlib import Path
from typing import Any

import pytest

TABLE = Path(__file__).with_name("data") / "lightning_surface.txt"
COMPATIBILITY = Path(__file__).parents[2] / "docs" / "compatibility.md"

# Arguments that differ on purpose, with words of docs/compatibility.md that say so; None: only the notation differs.
DIFFERENT = {
    "Trainer.predict": "predict(stream=True)",
    "LightningModule.to_onnx": "to_onnx",
    "LightningModule.to_torchscript": "to_torchscript",
    "LightningDataModule.__init__": None,  # takes no arguments here; there it takes and ignores any
    "callbacks.LambdaCallback.__init__": None,  # **hooks, checked by name
    "callbacks.WeightAveraging.__init__": None,  # avg_fn, multi_avg_fn and avg_params by name instead of **kwargs
    "callbacks.EMAWeightAveraging.__init__": None,
    "callbacks.StochasticWeightAveraging.__init__": None,  # device="cpu" instead of device("cpu")
    "callbacks.Timer.__init__": None,  # texts instead of enums
    "callbacks.Timer.start_time": None,
    "callbacks.Timer.end_time": None,
    "callbacks.Timer.time_elapsed": None,
    "callbacks.Timer.time_remaining": None,
    "callbacks.RichProgressBar.__init__": None,  # a theme is equal by value, and prints its class
    "callbacks.BackboneFinetuning.__init__": None,  # a function of that name
    "callbacks.ModelCheckpoint.file_exists": None,  # the trainer may be left out
    "utilities.rank_zero.rank_zero_warn": None,  # stacklevel=2: one frame less
    "utilities.rank_zero.rank_zero_info": None,
    "utilities.combined_loader.CombinedLoader.__init__": None,
    "cli.LightningCLI.__init__": None,  # classes of the other library as defaults
    "cli.SaveConfigCallback.__init__": None,
    "cli.LightningArgumentParser.add_optimizer_args": None,
    "cli.LightningArgumentParser.add_lr_scheduler_args": None,
}

OURS_TOO = {"Trainer.__init__": ("compile", "detect_sync")}  # arguments that Lightning does not have


def rows() -> list[tuple[str, str]]:
    """(owner, member): the member is "__init__" for a class alone."""
    found = []
    for line in TABLE.read_text().splitlines():
        if line.startswith("#"):
            continue
        owner, _, members = line.partition(":")
        found += [(owner.strip(), member) for member in members.split() or ["__init__"]]
    return found


def resolve(package: str, path: str) -> Any:
    """The object at ``path`` below ``package``: the longest part of it that is a module is imported."""
    parts = path.split(".")
    for end in range(len(parts), -1, -1):
        try:
            found: Any = importlib.import_module(".".join([package, *parts[:end]]))
        except ModuleNotFoundError:
            continue
        for part in parts[end:]:
            found = getattr(found, part)
        return found
    raise AssertionError(path)


def arguments(function: Any) -> list[tuple[str, Any, str]] | None:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return None
    return [
        (p.name, p.kind, p.default.__name__ if callable(p.default) else repr(p.default))
        for p in parameters if p.name not in ("self", "cls")
    ]  # fmt: skip


@pytest.mark.parametrize(("owner", "member"), rows(), ids=".".join)
def test_name_is_there(owner: str, member: str) -> None:
    found = resolve("lit.pytorch", owner)
    assert found is resolve("lit", owner)
    if member not in ("root_device", "is_global_zero", "model_size", "total_flops", "total_parameters", "trainable_parameters"):
        assert hasattr(found, member)


@pytest.mark.parametrize("owner", sorted({owner for owner, _ in rows()}))
def test_arguments_are_lightnings(owner: str) -> None:
    pytest.importorskip("lightning.pytorch")
    ours, theirs = resolve("lit", owner), resolve("lightning.pytorch", owner)
    differing = []
    for name in [member for other, member in rows() if other == owner]:
        reference = inspect.getattr_static(theirs, name, None)
        if not inspect.isfunction(getattr(reference, "__func__", reference)) or f"{owner}.{name}" in DIFFERENT:
            continue
        expected, found = arguments(getattr(theirs, name)), arguments(getattr(ours, name))
        found = [a for a in found or () if a[0] not in OURS_TOO.get(f"{owner}.{name}", ())]
        if expected is not None and expected != found:
            differing.append((name, found, expected))
    assert differing == []


def test_what_differs_is_written_down() -> None:
    page = COMPATIBILITY.read_text(encoding="utf-8")
    names = {f"{owner}.{member}" for owner, member in rows()}
    assert [words for words in DIFFERENT.values() if words is not None and words not in page] == []
    assert set(DIFFERENT) - names - {"LightningDataModule.__init__"} == set()


@pytest.mark.parametrize("name", ["DDPStrategy", "FSDPStrategy", "DeepSpeedStrategy", "ModelParallelStrategy"])
def test_strategies_of_several_devices_say_what_to_do(name: str) -> None:
    kind = resolve("lit.pytorch.strategies", name)
    with pytest.raises(NotImplementedError, match=f"{name}.*one device"):
        kind(find_unused_parameters=True)
    with pytest.raises(AttributeError, match="Did you mean"):
        resolve("lit.strategies", f"{name}s")


def test_the_summary_has_lightnings_numbers() -> None:
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")

    def summary(torch: Any, pl: Any, kind: Any) -> Any:
        class Model(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.net = torch.nn.Sequential(torch.nn.Linear(6, 8), torch.nn.BatchNorm1d(8))
                self.conv = torch.nn.Conv1d(1, 2, 3)
                self.scale = torch.nn.Parameter(torch.ones(3))
                self.net[0].weight.requires_grad_(False)
                self.example_input_array = torch.zeros(5, 6)

            def forward(self, x: Any) -> Any:
                return self.conv(self.net(x).unsqueeze(1)) * self.scale[0]

        return kind(Model(), max_depth=-1)

    import lit as pl

    ours = summary(__import__("engine"), pl, resolve("lit", "utilities.model_summary.ModelSummary"))
    theirs = summary(oracle, lightning, resolve("lightning.pytorch", "utilities.model_summary.ModelSummary"))
    for name in ("layer_names", "layer_types", "param_nums", "in_sizes", "out_sizes", "training_modes", "total_training_modes",
                 "total_parameters", "trainable_parameters", "total_layer_params", "total_flops"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.model_size == pytest.approx(theirs.model_size)
    assert ours.flop_counts == {name: sum(counts.values()) for name, counts in theirs.flop_counts.items()}
