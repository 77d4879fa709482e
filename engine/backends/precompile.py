"""`python -m engine.backends.precompile`: compile the kernels of the extra `fast` ahead, so that no first step waits for them.

Compiled code is kept on disk (engine/fast/README.md says where), so once is enough: when an image for containers is built, or
after an installation. Without arguments all kinds are compiled, each in a process of its own, as many at a time as there are
threads; with names of kinds only those.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import engine as torch
from engine import nn
from engine.fast import is_available, is_enabled

__all__ = ["KINDS", "main"]

F = nn.functional


def _train(module: Any, *shape: int) -> None:
    """Forward and backward on random numbers, with the input's gradient."""
    out = module(torch.randn(*shape, requires_grad=True))
    (out[0] if isinstance(out, tuple) else out).square().sum().backward()


def convolutions() -> None:
    """3 x 3 (Winograd's tiles), 4 x 4 with a stride, and all others (panels), on large images and on small ones."""
    for size in (32, 8):
        _train(nn.Conv2d(16, 32, 3, padding=1), 32, 16, size, size)
        _train(nn.Conv2d(16, 32, 4, 2, 1), 32, 16, size, size)
        _train(nn.Conv2d(16, 32, 5, 2, 2), 32, 16, size, size)


def depthwise() -> None:
    """One channel each: 3 x 3 that keep the size, and others."""
    _train(nn.Conv2d(64, 64, 3, padding=1, groups=64), 8, 64, 32, 32)
    _train(nn.Conv2d(64, 64, 5, padding=2, groups=64), 8, 64, 32, 32)


def images() -> None:
    """Batch and group norm, max pooling."""
    for training in (True, False):
        _train(nn.Sequential(nn.BatchNorm2d(32), nn.ReLU()).train(training), 16, 32, 32, 32)
    _train(nn.GroupNorm(4, 32), 16, 32, 32, 32)
    _train(nn.BatchNorm1d(256), 512, 256)
    _train(nn.MaxPool2d(2), 16, 32, 32, 32)
    _train(nn.MaxPool2d(3, 2, 1), 16, 32, 32, 32)


def activations() -> None:
    """Everything of elements, and dropout."""
    for module in (nn.ReLU(), nn.LeakyReLU(), nn.GELU(), nn.GELU("tanh"), nn.SiLU(), nn.Sigmoid(), nn.Tanh(), nn.ELU(),
                   nn.Mish(), nn.Softplus(), nn.LogSigmoid(), nn.ReLU6(), nn.Hardswish(), nn.Hardsigmoid(),
                   nn.Dropout(0.1)):  # fmt: skip
        _train(module, 512, 512)
    x = torch.randn(512, 512, requires_grad=True)
    chosen = torch.where(x > 0, x, -x) + torch.where(x > 0, x, 1.0) + x.masked_fill(x > 1, 0.0)
    (chosen + x.abs().clamp(0.1, 1)).sum().backward()


def rows() -> None:
    """Softmax and the norms, losses and sums along rows; softmax and its losses along other dimensions."""
    for module in (nn.Softmax(-1), nn.LogSoftmax(-1), nn.LayerNorm(512), nn.RMSNorm(512), nn.GLU()):
        _train(module, 512, 512)
    logits, target = torch.randn(512, 512, requires_grad=True), torch.rand(512, 512)
    F.cross_entropy(logits, torch.arange(512)).backward()
    (logits.softmax(0) + logits.log_softmax(0) + logits.cumsum(0)).sum().backward()
    F.cross_entropy(logits.reshape(1, 16, -1), torch.arange(512 * 32).reshape(1, -1) % 16).backward()
    for loss in (F.mse_loss, F.l1_loss, F.smooth_l1_loss, F.huber_loss, F.binary_cross_entropy_with_logits):
        loss(logits, target).backward()
    logits.cumsum(-1).sum().backward()
    nn.Embedding(1024, 512)(torch.arange(1024)).square().sum().backward()


def attention() -> None:
    """Attention, with a mask and without."""
    q, k, v = (torch.randn(8, 4, 256, 64, requires_grad=True) for _ in range(3))
    for options in ({}, {"is_causal": True}, {"attn_mask": torch.zeros(256, 256)}):
        F.scaled_dot_product_attention(q, k, v, **options).sum().backward()
    block = nn.TransformerEncoderLayer(256, 4, 512, batch_first=True)
    _train(block, 16, 128, 256)


def recurrent() -> None:
    """LSTM, GRU and RNN."""
    for kind in (nn.LSTM, nn.GRU, nn.RNN):
        _train(kind(64, 128, 2, batch_first=True), 32, 64, 64)


def optimizers() -> None:
    """Every built-in optimizer that has a kernel, clipping and averaging."""
    optim, parameter = torch.optim, nn.Parameter(torch.randn(512, 512))
    parameter.grad = torch.randn(512, 512)
    for made in (optim.SGD([parameter], 0.1), optim.SGD([parameter], 0.1, momentum=0.9), optim.Adam([parameter]),
                 optim.SGD([parameter], 0.1, momentum=0.9, nesterov=True), optim.AdamW([parameter], amsgrad=True),
                 optim.RMSprop([parameter]), optim.RMSprop([parameter], momentum=0.9), optim.Adagrad([parameter]),
                 optim.RMSprop([parameter], centered=True), optim.RMSprop([parameter], centered=True, momentum=0.9),
                 optim.Adadelta([parameter]), optim.Adamax([parameter]), optim.NAdam([parameter])):  # fmt: skip
        made.step()
        made.step()  # some begin their momentum in the first
    nn.utils.clip_grad_norm_([parameter], 1.0)
    layer = nn.Linear(512, 512)
    average = optim.swa_utils.AveragedModel(layer)
    average.update_parameters(layer)
    average.update_parameters(layer)
    scaler = torch.amp.GradScaler("cpu")
    scaler.scale(layer(torch.randn(2, 512)).sum()).backward()
    scaler.unscale_(optim.SGD(layer.parameters(), 0.1))


def random() -> None:
    """Uniform and normal numbers, masks and permutations."""
    torch.rand(1 << 18), torch.randn(1 << 18), torch.randint(10, (1 << 18,)), torch.randperm(1 << 18)
    torch.rand(1 << 18, dtype=torch.float64).uniform_(1, 2)
    torch.bernoulli(torch.rand(1 << 18))


KINDS: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (convolutions, depthwise, images, activations, rows, attention, recurrent, optimizers, random)
}


def _separately(kind: str) -> str:
    """Compile a kind in a new process; what that says."""
    done = subprocess.run([sys.executable, "-m", __spec__.name, kind], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{kind}: {done.stderr.strip()}")
    return done.stdout.strip()


def main(argv: Sequence[str] | None = None) -> None:
    """Compile, and say how long each kind took."""
    parser = argparse.ArgumentParser(prog="python -m engine.backends.precompile", description=__doc__)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=f"of {', '.join(KINDS)} (default: all)")
    parser.add_argument("--jobs", type=int, default=torch.get_num_threads(), help="processes at a time (default: threads)")
    args = parser.parse_args(argv)
    if unknown := [kind for kind in args.kinds if kind not in KINDS]:
        parser.error(f"there is no kind {unknown[0]!r}, only {', '.join(KINDS)}")
    if not (is_available() and is_enabled()):
        parser.error("there is nothing to compile without numba (pip install 'litengine[fast]') or with LITENGINE_FAST=0")
    if len(args.kinds) == 1:
        start = time.perf_counter()
        KINDS[args.kinds[0]]()
        print(f"{args.kinds[0]}: {time.perf_counter() - start:.1f} s")
        return
    with ThreadPoolExecutor(args.jobs) as pool:
        for line in pool.map(_separately, args.kinds or KINDS):
            print(line, flush=True)


if __name__ == "__main__":
    main()
