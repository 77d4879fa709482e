"""A small GPT that learns to write Python, from the source text that every Python brings along.

    python examples/gpt_source.py

Reads the standard library's own files, cuts them into windows of 64 characters, trains a decoder-only transformer to
predict the next character, and writes some text of its own at the end. The defaults take a few minutes on two CPU
cores; more layers, steps and text (`--help`) write better.
"""

from __future__ import annotations

import argparse
import math
import sysconfig
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import engine as torch
import lit as pl
from engine import nn
from engine.nn import functional as F
from engine.utils.data import DataLoader, Dataset
from lit.callbacks import LearningRateMonitor, ModelCheckpoint
from lit.loggers import CSVLogger

CHARACTERS = 128  # ASCII: files with other characters are left out


def source_text(megabytes: float) -> str:
    """The top-level modules of the standard library, one after the other, up to that size."""
    limit, pieces = int(megabytes * 1e6), []
    for path in sorted(Path(sysconfig.get_path("stdlib")).glob("*.py")):
        data = path.read_bytes()
        if data.isascii():
            pieces.append(data.decode("ascii"))
            limit -= len(data)
        if limit <= 0:
            break
    return "".join(pieces)


class Windows(Dataset):
    """Windows of `length` characters and, shifted by one, the characters that follow: two int64 tensors [length]."""

    def __init__(self, text: str, length: int) -> None:
        self.tokens = torch.tensor(list(text.encode("ascii")), dtype=torch.int64)
        self.length = length

    def __len__(self) -> int:
        return (len(self.tokens) - 1) // self.length

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        start = index * self.length
        piece = self.tokens[start : start + self.length + 1]
        return piece[:-1], piece[1:]


class Block(nn.Module):
    """Attention to what came before, then a two-layer network, each beside a residual path: [N, T, C] to [N, T, C]."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n, t, c = x.shape
        qkv = self.qkv(self.norm1(x)).view(n, t, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(qkv[0], qkv[1], qkv[2], is_causal=True)
        x = x + self.out(attended.transpose(1, 2).reshape(n, t, c))
        return x + self.mlp(self.norm2(x))


class GPT(pl.LightningModule):
    """Logits [N, T, 128] for the next character from character codes [N, T]."""

    def __init__(self, length: int, width: int, heads: int, layers: int, learning_rate: float, steps: int) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.tokens, self.positions = nn.Embedding(CHARACTERS, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, CHARACTERS, bias=False)
        self.apply(self.initialise)

    @staticmethod
    def initialise(module: nn.Module) -> None:
        """Small normal weights, as GPT-2 starts (Radford et al. 2019, section 2.3)."""
        if isinstance(module, (nn.Linear, nn.Embedding)):
            nn.init.normal_(module.weight, std=0.02)
        if isinstance(module, nn.Linear) and module.bias is not None:
            nn.init.zeros_(module.bias)

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        places = torch.arange(codes.shape[1], device=codes.device)
        return self.head(self.norm(self.blocks(self.tokens(codes) + self.positions(places))))

    def loss(self, batch: Any) -> torch.Tensor:
        codes, following = batch
        return F.cross_entropy(self(codes).view(-1, CHARACTERS), following.reshape(-1))

    def training_step(self, batch: Any, batch_idx: int) -> torch.Tensor:
        loss = self.loss(batch)
        self.log("train_loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        loss = self.loss(batch)
        self.log("val_loss", loss, prog_bar=True)
        self.log("val_bits_per_character", loss / math.log(2.0))

    def configure_optimizers(self) -> dict[str, Any]:
        optimizer = torch.optim.AdamW(self.parameters(), lr=self.hparams.learning_rate, weight_decay=0.1)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, max_lr=self.hparams.learning_rate, total_steps=self.hparams.steps + 1, pct_start=0.1
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    @torch.no_grad()
    def write(self, prompt: str, count: int, temperature: float, generator: torch.Generator) -> str:
        """`prompt` and `count` more characters, each drawn from what the model expects next."""
        self.eval()
        codes = list(prompt.encode("ascii"))
        for _ in range(count):
            window = torch.tensor([codes[-self.hparams.length :]], device=self.device)
            chances = F.softmax(self(window)[0, -1] / temperature, dim=-1).cpu()
            codes.append(int(torch.multinomial(chances, 1, generator=generator)))
        return bytes(codes).decode("ascii")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Train a small GPT on the standard library's source text.")
    parser.add_argument("--max-steps", type=int, default=1500, help="optimizer steps (default: 1500)")
    parser.add_argument("--megabytes", type=float, default=2.0, help="how much text to read (default: 2)")
    parser.add_argument("--length", type=int, default=64, help="characters the model looks back at (default: 64)")
    parser.add_argument("--width", type=int, default=96, help="size of the vectors (default: 96)")
    parser.add_argument("--heads", type=int, default=4, help="attention heads per layer (default: 4)")
    parser.add_argument("--layers", type=int, default=3, help="transformer blocks (default: 3)")
    parser.add_argument("--batch-size", type=int, default=32, help="windows per step (default: 32)")
    parser.add_argument("--learning-rate", type=float, default=3e-3, help="highest of the schedule (default: 0.003)")
    parser.add_argument("--prompt", default="def ", help="how the written text begins (default: 'def ')")
    parser.add_argument("--characters", type=int, default=400, help="how much to write at the end (default: 400)")
    parser.add_argument("--temperature", type=float, default=0.8, help="lower is more careful (default: 0.8)")
    parser.add_argument("--accelerator", default="auto", help="cpu, cuda or auto (default: auto)")
    parser.add_argument("--out", default=".", help="where logs and checkpoints go (default: here)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, shuffling and writing (default: 0)")
    return parser.parse_args(argv)


def main(argv: Sequence[str] | None = None) -> str:
    """Train, write, and return what was written."""
    args = parse(argv)
    pl.seed_everything(args.seed)
    text = source_text(args.megabytes)
    cut = int(0.95 * len(text))
    train = DataLoader(Windows(text[:cut], args.length), batch_size=args.batch_size, shuffle=True, drop_last=True)
    val = DataLoader(Windows(text[cut:], args.length), batch_size=args.batch_size)
    model = GPT(args.length, args.width, args.heads, args.layers, args.learning_rate, args.max_steps)
    trainer = pl.Trainer(
        max_steps=args.max_steps,
        max_epochs=-1,
        accelerator=args.accelerator,
        gradient_clip_val=1.0,
        val_check_interval=min(250, len(train)),
        limit_val_batches=20,
        callbacks=[LearningRateMonitor("step"), ModelCheckpoint(monitor="val_loss")],
        logger=CSVLogger(args.out, name="gpt_source"),
    )
    trainer.fit(model, train, val)
    written = model.write(args.prompt, args.characters, args.temperature, torch.Generator().manual_seed(args.seed))
    print(f"--- after {trainer.global_step} steps the model writes:\n{written}")
    return written


if __name__ == "__main__":
    main()
