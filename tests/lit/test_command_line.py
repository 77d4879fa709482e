"""``python -m lit info`` and ``convert``."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import engine
import lit as pl
from lit.__main__ import main
from lit.tools import convert
from tests.lit.boring import QUIET


class Net(pl.LightningModule):
    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = engine.nn.Linear(width, 1)

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        return self.layer(batch).pow(2).mean()

    def configure_optimizers(self) -> Any:
        return engine.optim.Adam(self.parameters(), lr=0.125)


@pytest.fixture
def checkpoint() -> Path:
    trainer = pl.Trainer(max_epochs=2, **QUIET)
    trainer.fit(Net(), engine.utils.data.DataLoader(engine.ones(4, 3), batch_size=2))
    trainer.save_checkpoint("run.ckpt")
    return Path("run.ckpt")


def test_info(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["info", str(checkpoint)]) == 0
    text = capsys.readouterr().out
    for part in ("lit checkpoint", "after epoch 2, 4 optimizer steps", "training can go on", "lr=0.125", "width: 3",
                 "4 numbers in 2 tensors", "layer.weight  1 x 3  float32"):  # fmt: skip
        assert part in text
    assert main(["info", str(checkpoint), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["tensors"]["layer.bias"] == {"shape": [1], "dtype": "float32"} and found["hyper_parameters"] == {"width": 3}


def test_there_and_back(checkpoint: Path) -> None:
    weights = engine.load(checkpoint)["state_dict"]
    for step in ("lightning.ckpt", "ours.ckpt", "weights.pth", "weights.safetensors", "again.ckpt"):
        source = sorted(Path(".").glob("*.*"), key=lambda path: path.stat().st_mtime_ns)[-1]
        convert(source, Path(step))
        loaded = engine.load(step)
        again = loaded.get("state_dict", loaded)
        assert all(engine.equal(again[name], value) for name, value in weights.items())
    assert Net.load_from_checkpoint("ours.ckpt").hparams.width == 3
    assert engine.load("lightning.ckpt")["optimizer_states"][0]["param_groups"][0]["lr"] == 0.125


def test_lightning_reads_what_we_convert(checkpoint: Path) -> None:
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")

    class Theirs(lightning.LightningModule):  # type: ignore[misc, name-defined]
        def __init__(self, width: int = 1) -> None:
            super().__init__()
            self.save_hyperparameters()
            self.layer = torch.nn.Linear(width, 1)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return self.layer(batch).pow(2).mean()

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=0.5)

    convert(checkpoint, Path("theirs.ckpt"))
    module = Theirs.load_from_checkpoint("theirs.ckpt")
    expected = engine.load(checkpoint)["state_dict"]["layer.weight"].numpy()
    assert (module.layer.weight.detach().numpy() == expected).all()
    trainer = lightning.Trainer(max_epochs=3, **QUIET)
    trainer.fit(Theirs(3), torch.utils.data.DataLoader(torch.ones(4, 3), batch_size=2), ckpt_path="theirs.ckpt")
    assert trainer.optimizers[0].param_groups[0]["lr"] == 0.125
    lightning_file = Path("from_lightning.ckpt")
    trainer.save_checkpoint(lightning_file)
    assert "lit checkpoint" in convert(lightning_file, Path("ours.ckpt"))
    trained = module_weights(trainer.lightning_module)
    assert (Net.load_from_checkpoint("ours.ckpt").layer.weight.detach().numpy() == trained).all()


def module_weights(module: Any) -> Any:
    return module.layer.weight.detach().numpy()


def test_mistakes_end_with_one_line(checkpoint: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("text.ckpt").write_text("hello")
    engine.save({"epoch": 3}, "no_weights.pt")
    cases = [["info", "missing.ckpt"], ["info", "text.ckpt"], ["convert", "run.ckpt", "text.ckpt"],
             ["convert", "run.ckpt", "weights.xyz"], ["convert", "no_weights.pt", "new.safetensors"]]  # fmt: skip
    for arguments in cases:
        assert main(arguments) == 1
        error = capsys.readouterr().err
        assert error.startswith(f"lit {arguments[0]}: ") and error.count("\n") == 1, error
    assert Path("text.ckpt").read_text() == "hello"
    assert main(["convert", "run.ckpt", "text.ckpt", "--force"]) == 0
    with pytest.raises(SystemExit):
        main(["unknown"])


def test_as_a_module(checkpoint: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "lit", "info", str(checkpoint)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "lit checkpoint" in done.stdout, done.stderr
