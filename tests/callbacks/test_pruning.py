"""ModelPruning prunes what Lightning's prunes, and a run that goes on from a checkpoint prunes on as before."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest

import engine
import lit as pl
from callbacks import ModelPruning
from engine import nn
from engine.nn.utils import prune
from tests.lit.models import Net, loader, quiet_trainer


class Deep(Net):
    def __init__(self, lr: float = 0.1) -> None:
        super().__init__(lr)
        self.layer = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 1))

    def configure_optimizers(self) -> Any:
        return engine.optim.AdamW(self.parameters(), lr=self.hparams.lr, weight_decay=0.1)


def zeros(model: Deep) -> list[int]:
    return [int((layer.weight == 0).sum()) for layer in (model.layer[0], model.layer[2])]


WEIGHTS = {"parameter_names": ["weight"]}


@pytest.mark.parametrize(
    ("options", "found"),
    [
        ({"pruning_fn": "l1_unstructured", "amount": 0.5, "parameter_names": ["weight"]}, 15),
        ({"pruning_fn": "l1_unstructured", "amount": 10, "parameter_names": ["weight"]}, 10),
        ({"pruning_fn": "random_unstructured", "amount": lambda epoch: 0.5, "parameter_names": ["weight"]}, 15),
        ({"pruning_fn": prune.L1Unstructured, "amount": 0.5, "parameter_names": ["weight"]}, 15),
        ({"pruning_fn": "l1_unstructured", "amount": 0.5, "apply_pruning": lambda epoch: epoch > 0}, 0),
        ({"pruning_fn": "l1_unstructured", "amount": 0.5, "prune_on_train_epoch_end": False, **WEIGHTS}, 15),
    ],
    ids=["share", "number", "random", "class", "not yet", "validation"],
)
def test_how_much_is_pruned(options: dict[str, Any], found: int) -> None:
    model = Deep()
    quiet_trainer(callbacks=ModelPruning(**options)).fit(model, loader(), loader())
    assert sum(zeros(model)) == found
    assert {name for name, _ in model.named_parameters()} == {f"layer.{i}.{n}" for i in (0, 2) for n in ("bias", "weight")}


def test_structured_pruning_and_masks_that_stay() -> None:
    model = Deep()
    pruning = ModelPruning(
        "ln_structured", [(model.layer[0], "weight")], use_global_unstructured=False, amount=2, pruning_dim=0, pruning_norm=1,
        make_pruning_permanent=False, use_lottery_ticket_hypothesis=False,
    )  # fmt: skip
    quiet_trainer(callbacks=pruning).fit(model, loader(), loader())
    assert prune.is_pruned(model.layer[0]) and not prune.is_pruned(model.layer[2])
    assert int((model.layer[0].weight.abs().sum(1) == 0).sum()) == 2


def test_the_lottery_ticket_goes_back_to_where_it_was(capsys: pytest.CaptureFixture[str]) -> None:
    model = Deep()
    before = model.layer[0].weight.detach().clone()
    pruning = ModelPruning("l1_unstructured", amount=0.25, parameter_names=["weight"], verbose=2)
    quiet_trainer(callbacks=pruning).fit(model, loader(), loader())
    kept = model.layer[0].weight != 0
    assert engine.equal(model.layer[0].weight[kept], before[kept])
    out = capsys.readouterr().out
    assert "L1Unstructured: pruned 0/30 (0.00%) -> 8/30 (26.67%)" in out and "Linear.weight with amount=0.25: 0 ->" in out
    again = Deep()
    again.load_state_dict({**again.state_dict(), "layer.0.weight": before})
    resampled = ModelPruning("l1_unstructured", amount=0.25, parameter_names=["weight"], resample_parameters=True)
    quiet_trainer(callbacks=resampled).fit(again, loader(), loader())
    assert not engine.equal(again.layer[0].weight[kept], before[kept])


@pytest.mark.parametrize("lottery", [False, lambda epoch: epoch == 1], ids=["plain", "lottery"])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_resumed_run_prunes_on(lottery: Any, epoch: int, tmp_path: Path) -> None:
    def run(folder: Path, ckpt_path: Path | None = None) -> Deep:
        engine.manual_seed(ckpt_path is None)
        model = Deep()
        pruning = ModelPruning("l1_unstructured", amount=0.3, use_lottery_ticket_hypothesis=lottery)
        saving = pl.callbacks.ModelCheckpoint(folder, filename="{step}", save_top_k=-1, every_n_train_steps=2)
        trainer = quiet_trainer(callbacks=[pruning, saving], max_epochs=4, enable_checkpointing=True)
        trainer.fit(model, loader(shuffle=True), loader(), ckpt_path=ckpt_path)
        return model

    whole = run(tmp_path / "whole")
    resumed = run(tmp_path / "resumed", tmp_path / "whole" / f"step={4 * epoch + 2}.ckpt")
    assert sum(zeros(whole)) > 10
    for one, other in zip(whole.parameters(), resumed.parameters()):
        assert engine.equal(one, other)
    files = [path.name for path in (tmp_path / "resumed").iterdir()]
    for name in files:
        first, second = (engine.load(tmp_path / run / name)["state_dict"] for run in ("whole", "resumed"))
        assert list(first) == list(Deep().state_dict()) or set(first) == set(Deep().state_dict())
        assert all(engine.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"pruning_fn": "l3"}, "expected one of"),
        ({"pruning_fn": prune.L1Unstructured(0.1)}, "not an instance"),
        ({"pruning_fn": prune.L1Unstructured, "use_global_unstructured": False}, "use_global_unstructured=True"),
        ({"pruning_fn": "ln_structured", "pruning_dim": 0, "pruning_norm": 1}, "only 'unstructured'"),
        ({"pruning_fn": "random_structured", "use_global_unstructured": False}, "pruning_dim"),
        ({"pruning_fn": "ln_structured", "use_global_unstructured": False, "pruning_dim": 0}, "pruning_norm"),
        ({"pruning_fn": "l1_unstructured", "parameter_names": ["scale"]}, "parameter_names"),
        ({"pruning_fn": "l1_unstructured", "amount": "half"}, "amount"),
        ({"pruning_fn": "l1_unstructured", "verbose": 3}, "verbose"),
    ],
)
def test_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(pl.MisconfigurationException, match=words):
        ModelPruning(**options)


def test_parameters_must_be_in_the_model() -> None:
    model = Deep()
    wrong: list[Any]
    for wrong, words in (
        ([(nn.Linear(1, 1), "weight")], "not in the model"),
        ([(model.layer[0], "scale")], "not in the model"),
        (["weight"], "expected pairs"),
    ):
        with pytest.raises(pl.MisconfigurationException, match=words):
            quiet_trainer(callbacks=ModelPruning("l1_unstructured", wrong)).fit(model, loader(), loader())


def test_the_same_weights_as_lightning() -> None:
    oracle = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    from lightning.pytorch.callbacks import ModelPruning as Theirs

    def run(torch: Any, pl: Any, kind: Any) -> list[list[Any]]:
        class Model(pl.LightningModule):
            def __init__(self) -> None:
                super().__init__()
                self.layer = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.Tanh(), torch.nn.Linear(6, 1))

            def training_step(self, batch: Any, batch_idx: int) -> Any:
                return (self.layer(batch) ** 2).mean()

            def configure_optimizers(self) -> Any:
                return torch.optim.SGD(self.parameters(), lr=0.05)

        pl.seed_everything(3)
        flags = {"accelerator": "cpu", "logger": False, "enable_progress_bar": False, "enable_model_summary": False}
        model, pruning = Model(), kind("l1_unstructured", amount=0.3, use_lottery_ticket_hypothesis=lambda epoch: epoch == 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            trainer = pl.Trainer(max_epochs=3, enable_checkpointing=False, callbacks=[pruning], **flags)
            trainer.fit(model, torch.utils.data.DataLoader(torch.randn(12, 4), batch_size=3))
        return [parameter.detach().tolist() for _, parameter in sorted(model.named_parameters())]

    for ours, theirs in zip(run(engine, pl, ModelPruning), run(oracle, lightning, Theirs)):
        assert engine.allclose(engine.tensor(ours), engine.tensor(theirs), atol=1e-6)
