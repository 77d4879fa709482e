"""Back-propagation through time on a real series: how far is the next line of a program indented?

    python examples/rnn.py

The series is the standard library's source text, line by line: how deep each line is indented, how long it is, and
what it ends with. An LSTM reads it from the first line to the last in many parallel streams and forecasts the
indentation of the line that follows. The series is longer than memory allows to go back, so gradients flow through 32
lines at a time while the state is carried on (truncated back-propagation through time, Williams and Peng 1990). The
result is compared with the two forecasts that need no learning.
"""

from __future__ import annotations

import argparse
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine as torch
import lit as pl
from engine import nn
from engine.nn import functional as F
from engine.utils.data import DataLoader, Dataset
from lit.callbacks import ModelCheckpoint
from lit.loggers import CSVLogger

DEPTHS = 8  # deeper lines count as 7 deep
FEATURES = DEPTHS + 5


def describe(line: str) -> list[float]:
    """One line as numbers: depth (one of eight), length, and what it begins or ends with."""
    text = line.strip()
    depth = min((len(line) - len(line.lstrip(" "))) // 4, DEPTHS - 1)
    opens, continues = text.endswith(":"), text.endswith(("(", "[", "{", ","))
    leaves, closes = text.startswith(("return", "raise", "break", "continue", "pass")), text[0] in ")]}"
    return [*(float(depth == d) for d in range(DEPTHS)), len(text) / 80, opens, continues, leaves, closes]


def source_series(lines: int) -> torch.Tensor:
    """The first `lines` lines that are not blank, as float32 [lines, 13]."""
    series: list[list[float]] = []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        text = path.read_text(encoding="utf-8", errors="replace")
        series += [describe(line) for line in text.splitlines() if line.strip()]
        if len(series) >= lines:
            break
    return torch.tensor(series[:lines], dtype=torch.float32)


class Streams(Dataset):
    """The series as `count` parallel streams, in pieces of `length` lines: features [count, length, 13], and the depth
    of the line after each, int64 [count, length]."""

    def __init__(self, series: torch.Tensor, count: int, length: int) -> None:
        steps = (len(series) - 1) // count
        self.features = series[: steps * count].view(count, steps, FEATURES)
        self.depths = series[1 : steps * count + 1, :DEPTHS].argmax(dim=1).view(count, steps)
        self.length = length

    def __len__(self) -> int:
        return self.features.shape[1] // self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        piece = slice(index * self.length, (index + 1) * self.length)
        return self.features[:, piece], self.depths[:, piece]


class Forecaster(pl.LightningModule):
    """Logits [N, T, 8] for the depth of the next line, from lines [N, T, 13] and the state before them."""

    def __init__(self, width: int = 64, learning_rate: float = 3e-3) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.lstm = nn.LSTM(FEATURES, width, batch_first=True)
        self.head = nn.Linear(width, DEPTHS)
        self.state: Any = None

    def forward(self, lines: torch.Tensor, state: Any = None) -> tuple[torch.Tensor, Any]:
        hidden, state = self.lstm(lines, state)
        return self.head(hidden), state

    def on_train_epoch_start(self) -> None:
        self.state = None

    def on_validation_epoch_start(self) -> None:
        self.val_state: Any = None

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        lines, depths = batch
        logits, state = self(lines, self.state)
        self.state = tuple(part.detach() for part in state)  # here the gradient's way back ends
        loss = F.cross_entropy(logits.reshape(-1, DEPTHS), depths.reshape(-1))
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        lines, depths = batch
        logits, self.val_state = self(lines, self.val_state)
        right = (logits.argmax(dim=-1) == depths).float().mean()
        self.log_dict({"val_loss": F.cross_entropy(logits.reshape(-1, DEPTHS), depths.reshape(-1)), "val_acc": right},
                      prog_bar=True)  # fmt: skip

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=self.hparams.learning_rate)


def simple_forecasts(data: Streams) -> tuple[float, float]:
    """How often the next depth is the present one, and the same with one more after a colon."""
    pieces = [data[i] for i in range(len(data))]
    lines, depths = torch.cat([p[0] for p in pieces], dim=1), torch.cat([p[1] for p in pieces], dim=1)
    present = lines[..., :DEPTHS].argmax(dim=-1)
    deeper = present + (lines[..., DEPTHS + 1] > 0).to(torch.int64)
    return (present == depths).float().mean().item(), (deeper == depths).float().mean().item()


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Forecast the indentation of source lines with an LSTM.")
    parser.add_argument("--max-steps", type=int, default=800, help="optimizer steps (default: 800)")
    parser.add_argument("--lines", type=int, default=60000, help="length of the series (default: 60000)")
    parser.add_argument("--streams", type=int, default=32, help="parallel streams (default: 32)")
    parser.add_argument("--length", type=int, default=32, help="lines the gradient goes back (default: 32)")
    parser.add_argument("--width", type=int, default=64, help="size of the LSTM's state (default: 64)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="of Adam (default: 0.003)")
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--out", default=".", help="where logs and checkpoints go (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="of the weights (default: 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> float:
    """Train, compare, and return the validation accuracy in 0..1."""
    args = parse(argv)
    pl.seed_everything(args.seed)
    series = source_series(args.lines)
    cut = int(0.8 * len(series))
    train, val = (Streams(part, args.streams, args.length) for part in (series[:cut], series[cut:]))
    model = Forecaster(args.width, args.learning_rate)
    trainer = pl.Trainer(
        max_steps=args.max_steps,
        max_epochs=-1,
        accelerator=args.accelerator,
        gradient_clip_val=1.0,
        callbacks=[ModelCheckpoint(monitor="val_acc", mode="max")],
        logger=CSVLogger(args.out, name="rnn"),
        log_every_n_steps=10,
    )
    # batch_size=None: the dataset's pieces are batches already, and their order is the series.
    val_loader = DataLoader(val, batch_size=None)
    trainer.fit(model, DataLoader(train, batch_size=None), val_loader)
    accuracy = trainer.validate(model, val_loader, verbose=False)[0]["val_acc"]
    same, colon = simple_forecasts(val)
    print(f"next indentation right: LSTM {accuracy:.1%}, one more after a colon {colon:.1%}, as before {same:.1%}")
    return accuracy


if __name__ == "__main__":
    main()
