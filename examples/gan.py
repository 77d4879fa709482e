"""A generative adversarial network, trained by hand: two networks, two optimizers, one training step.

    python examples/gan.py

The data are points of eight small clouds on a circle. The generator turns noise into points, the discriminator tells
its points from real ones, and each learns from the other (Goodfellow et al. 2014). With `automatic_optimization` off,
`training_step` calls the optimizers itself. At the end the points are counted and drawn as text.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from typing import Any

import engine as torch
import lit as pl
from engine import nn
from engine.nn import functional as F
from engine.utils.data import DataLoader, TensorDataset
from lit.loggers import CSVLogger

CLOUDS, RADIUS, SPREAD = 8, 2.0, 0.1


def centres() -> torch.Tensor:
    """The middles of the clouds [8, 2]."""
    angles = torch.arange(CLOUDS) * (2 * math.pi / CLOUDS)
    return RADIUS * torch.stack([torch.cos(angles), torch.sin(angles)], dim=1)


def real_points(count: int) -> torch.Tensor:
    """Points of the clouds [count, 2], equally many of each."""
    return centres().repeat(count // CLOUDS, 1) + SPREAD * torch.randn(count // CLOUDS * CLOUDS, 2)


def network(inputs: int, outputs: int, width: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


class GAN(pl.LightningModule):
    """Generator [N, noise] to points [N, 2], and discriminator [N, 2] to logits [N, 1]."""

    def __init__(self, noise: int = 16, width: int = 128, learning_rate: float = 5e-4) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.automatic_optimization = False
        self.generator = network(noise, 2, width)
        self.discriminator = network(2, 1, width)

    def forward(self, count: int) -> torch.Tensor:
        """`count` points from fresh noise."""
        return self.generator(torch.randn(count, self.hparams.noise, device=self.device))

    def training_step(self, batch: Any, batch_idx: int) -> None:
        (real,) = batch
        optimizer_g, optimizer_d = self.optimizers()
        ones, zeros = torch.ones(len(real), 1, device=self.device), torch.zeros(len(real), 1, device=self.device)

        self.toggle_optimizer(optimizer_d)
        fake = self(len(real)).detach()
        loss_d = F.binary_cross_entropy_with_logits(self.discriminator(real), ones)
        loss_d = loss_d + F.binary_cross_entropy_with_logits(self.discriminator(fake), zeros)
        optimizer_d.zero_grad()
        self.manual_backward(loss_d)
        optimizer_d.step()
        self.untoggle_optimizer(optimizer_d)

        self.toggle_optimizer(optimizer_g)
        loss_g = F.binary_cross_entropy_with_logits(self.discriminator(self(len(real))), ones)
        optimizer_g.zero_grad()
        self.manual_backward(loss_g)
        optimizer_g.step()
        self.untoggle_optimizer(optimizer_g)

        self.log_dict({"loss_g": loss_g, "loss_d": loss_d}, prog_bar=True)

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        rate = self.hparams.learning_rate
        return [
            torch.optim.Adam(self.generator.parameters(), lr=rate, betas=(0.5, 0.999)),
            torch.optim.Adam(self.discriminator.parameters(), lr=rate, betas=(0.5, 0.999)),
        ]


@torch.no_grad()
def quality(points: torch.Tensor) -> tuple[float, int]:
    """The share of points within four spreads of a cloud's middle, and how many clouds hold at least 2 % of them."""
    distances = torch.cdist(points, centres())
    nearest, which = distances.min(dim=1)
    good = nearest < 4 * SPREAD
    counts = torch.bincount(which[good], minlength=CLOUDS)
    return good.float().mean().item(), int((counts >= 0.02 * len(points)).sum())


def drawing(points: torch.Tensor, rows: int = 21, columns: int = 45) -> str:
    """The points as a text: the more of them in a place, the darker its character."""
    canvas = [[0] * columns for _ in range(rows)]
    reach = 1.35 * RADIUS
    for x, y in points.tolist():
        column, row = int((x / reach + 1) / 2 * columns), int((1 - y / reach) / 2 * rows)
        if 0 <= row < rows and 0 <= column < columns:
            canvas[row][column] += 1
    most = max(max(line) for line in canvas) or 1
    return "\n".join("".join(" .:+*#@"[math.ceil(6 * count / most)] for count in line) for line in canvas)


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a GAN on eight clouds of points.")
    parser.add_argument("--max-steps", type=int, default=6000, help="optimizer steps, both counted (default: 6000)")
    parser.add_argument("--batch-size", type=int, default=256, help="points per step (default: 256)")
    parser.add_argument("--learning-rate", type=float, default=5e-4, help="of both Adams (default: 0.0005)")
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--out", default=".", help="where logs and checkpoints go (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, noise and data (default: 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> tuple[float, int]:
    """Train, draw, and return (share of good points, clouds found)."""
    args = parse(argv)
    pl.seed_everything(args.seed)
    data = DataLoader(TensorDataset(real_points(8192)), batch_size=args.batch_size, shuffle=True, drop_last=True)
    model = GAN(learning_rate=args.learning_rate)
    trainer = pl.Trainer(
        max_steps=args.max_steps,
        max_epochs=-1,
        accelerator=args.accelerator,
        logger=CSVLogger(args.out, name="gan"),
    )
    trainer.fit(model, data)
    with torch.no_grad():
        points = model(2000).cpu()
    share, found = quality(points)
    print(drawing(points))
    print(f"{share:.0%} of the generated points lie in a cloud; {found} of {CLOUDS} clouds found")
    return share, found


if __name__ == "__main__":
    main()
