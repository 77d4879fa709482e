"""Whole models, as users train and run them: one step, beside torch with as many threads; and cost against size."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np

from tests.benchmarks import models, starting
from tests.benchmarks.contestants import Work, takes
from tests.benchmarks.timing import Row, in_turns, scaled


@dataclass(frozen=True)
class Case:
    """One row: what is done, and the most that its time may be of torch's, with `fast` and with NumPy only."""

    name: str
    fast: float
    numpy: float
    make: Callable[[ModuleType], Work]
    memory: bool = True  # peak memory is compared as well (tests/benchmarks/memory.py)

    @property
    def goals(self) -> dict[str, float]:
        return {"fast": self.fast, "numpy": self.numpy}


def numbers(torch: ModuleType, *shape: int) -> Any:
    """Random floats in [0, 1), the same for both libraries."""
    return torch.from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32))


def classes(torch: ModuleType, high: int, *shape: int) -> Any:
    return torch.from_numpy(np.random.default_rng(1).integers(0, high, shape))


def step(torch: ModuleType, model: Any, loss: Callable[[], Any], optimizer: str = "Adam", **options: Any) -> Work:
    """One training step of `model` on the loss."""
    update = getattr(torch.optim, optimizer)(model.parameters(), lr=1e-3, **options)

    def work() -> None:
        update.zero_grad()
        loss().backward()
        update.step()

    return work


def classifying(torch: ModuleType, model: Any, shape: tuple, optimizer: str = "Adam", **options: Any) -> Work:
    """A training step on inputs of `shape` in ten classes."""
    x, y = numbers(torch, *shape), classes(torch, 10, shape[0])
    return step(torch, model, lambda: torch.nn.functional.cross_entropy(model(x), y), optimizer, **options)


def segmenting(torch: ModuleType, model: Any, shape: tuple) -> Work:
    x, y = numbers(torch, *shape), (numbers(torch, *shape) > 0.5).float()
    return step(torch, model, lambda: torch.nn.functional.binary_cross_entropy_with_logits(model(x), y))


def predicting_tokens(torch: ModuleType, batch: int, length: int, *sizes: int, causal: bool) -> Work:
    """A training step of a transformer of (layers, width, heads, vocabulary)."""
    model, vocabulary = models.transformer(torch, *sizes, length, causal), sizes[-1]
    tokens, targets = classes(torch, vocabulary, batch, length), classes(torch, vocabulary, batch * length)

    def loss() -> Any:
        return torch.nn.functional.cross_entropy(model(tokens).reshape(-1, vocabulary), targets)

    return step(torch, model, loss, "AdamW")


def autoencoding(torch: ModuleType) -> Work:
    model, x = models.vae(torch), numbers(torch, 128, 784)
    return step(torch, model, lambda: model(x))


def adversaries(torch: ModuleType) -> Work:
    """One step of both networks of a DCGAN."""
    generator, discriminator = models.dcgan(torch)
    updates = [torch.optim.Adam(net.parameters(), lr=2e-4, betas=(0.5, 0.999)) for net in (generator, discriminator)]
    real, real_label, fake_label = numbers(torch, 64, 3, 32, 32), torch.ones(64, 1), torch.zeros(64, 1)
    loss = torch.nn.functional.binary_cross_entropy_with_logits

    def work() -> None:
        made = generator(torch.randn(64, 100, 1, 1))
        updates[1].zero_grad()
        (loss(discriminator(real), real_label) + loss(discriminator(made.detach()), fake_label)).backward()
        updates[1].step()
        updates[0].zero_grad()
        loss(discriminator(made), real_label).backward()
        updates[0].step()

    return work


def adam_step(torch: ModuleType, beside: str = "default") -> Work:
    """Adam alone, on 10 million parameters in 160 tensors; torch's default form or its fused one."""
    options = {"fused": True} if beside == "fused" and torch.__name__ == "torch" else {}
    parameters = [torch.nn.Parameter(numbers(torch, 250, 250)) for _ in range(160)]
    for p in parameters:
        p.grad = numbers(torch, 250, 250)
    return torch.optim.Adam(parameters, **options).step


def inference(torch: ModuleType, model: Any, *shape: int) -> Work:
    model.eval()
    x = numbers(torch, *shape)

    def work() -> None:
        with torch.no_grad():
            model(x)

    return work


def generating(torch: ModuleType) -> Work:
    """32 tokens of a GPT, one by one, with the keys and values of earlier ones kept."""
    model = models.transformer(torch, 6, 384, 6, 4096, 256, True)
    model.eval()
    token = classes(torch, 4096, 1, 1)

    def work() -> None:
        caches: list[list] = [[] for _ in range(6)]
        with torch.no_grad():
            following = token
            for at in range(32):
                following = model(following, caches, at)[:, -1:].argmax(-1)

    return work


class Standardised:
    """Images of an array with a transform for each sample."""

    def __init__(self, torch: ModuleType) -> None:
        self.images = numbers(torch, 2048, 3, 32, 32)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, i: int) -> Any:
        image = self.images[i]
        return (image - image.mean()) / (image.std() + 1e-5)


def loading(torch: ModuleType, workers: int) -> Work:
    """An epoch over an array in memory; with workers, over samples with a transform."""
    data = torch.utils.data
    dataset = Standardised(torch) if workers else data.TensorDataset(numbers(torch, 8192, 64), classes(torch, 10, 8192))
    loader = data.DataLoader(dataset, batch_size=64, shuffle=True, num_workers=workers, persistent_workers=workers > 0)

    def work() -> None:
        for _ in loader:
            pass

    return work


def operator_on_16(torch: ModuleType, backward: bool) -> Work:
    """A single pointwise operator on 16 floats."""
    a, b = numbers(torch, 16).requires_grad_(), numbers(torch, 16)
    gradient = torch.ones(16)
    return (lambda: (a * b).backward(gradient)) if backward else (lambda: a * b)


CASES = (
    Case("MLP 64-128-10, batch 32, Adam", 0.5, 0.5, lambda t: classifying(t, models.mlp(t, 64, 128, 10), (32, 64))),
    Case("MLP 784-1024-1024-10, batch 256, Adam", 0.9, 0.9,
         lambda t: classifying(t, models.mlp(t, 784, 1024, 1024, 10), (256, 784))),
    Case("CNN of the seed document, batch 64, Adam", 0.8, 1.0,
         lambda t: classifying(t, models.small_cnn(t), (64, 3, 32, 32))),
    Case("ResNet-18 for 32x32, batch 32, SGD momentum", 1.0, 1.1,
         lambda t: classifying(t, models.resnet18(t), (32, 3, 32, 32), "SGD", momentum=0.9)),
    Case("MobileNet-like for 32x32, batch 32, Adam", 1.0, 1.3,
         lambda t: classifying(t, models.mobilenet(t), (32, 3, 32, 32))),
    Case("U-Net 1x128x128, batch 4, Adam", 1.0, 1.2, lambda t: segmenting(t, models.unet(t), (4, 1, 128, 128))),
    Case("GPT 6 layers, width 384, context 256, batch 8, AdamW", 0.95, 1.1,
         lambda t: predicting_tokens(t, 8, 256, 6, 384, 6, 4096, causal=True)),
    Case("BERT-like, 4 layers, width 256, length 128, batch 16, AdamW", 0.95, 1.1,
         lambda t: predicting_tokens(t, 16, 128, 4, 256, 4, 4096, causal=False)),
    Case("LSTM 2x128, length 64, batch 32, Adam", 0.6, 0.7,
         lambda t: classifying(t, models.recurrent(t, "LSTM"), (32, 64, 64))),
    Case("GRU 2x128, length 64, batch 32, Adam", 0.6, 0.7,
         lambda t: classifying(t, models.recurrent(t, "GRU"), (32, 64, 64))),
    Case("VAE 784-400-20, batch 128, Adam", 0.9, 1.1, autoencoding),
    Case("DCGAN 3x32x32, batch 64, Adam", 0.9, 1.1, adversaries),
    Case("Adam, 10 million parameters in 160 tensors", 0.3, 0.4, adam_step),
    Case("Adam as above, torch's fused", 1.0, 1.5, lambda t: adam_step(t, "fused")),
    Case("inference: MLP 64-128-10, one sample", 0.5, 0.5, lambda t: inference(t, models.mlp(t, 64, 128, 10), 1, 64)),
    Case("inference: ResNet-18, one image", 1.0, 1.1, lambda t: inference(t, models.resnet18(t), 1, 3, 32, 32)),
    Case("inference: GPT, 32 tokens with a KV cache", 0.8, 1.0, generating),
    Case("DataLoader over an array in memory, 8192 samples", 0.3, 0.3, lambda t: loading(t, 0), memory=False),
    Case("DataLoader, two workers, a transform per sample, 2048 samples", 0.8, 0.8, lambda t: loading(t, 2), memory=False),
    Case("one pointwise operator, 16 floats, forward", 1.0, 1.0, lambda t: operator_on_16(t, False), memory=False),
    Case("one pointwise operator, 16 floats, forward and backward", 1.2, 1.2, lambda t: operator_on_16(t, True),
         memory=False),
    Case("process start to first training step (digits MLP)", 0.12, 0.12, starting.first_step, memory=False),
)  # fmt: skip


# -- cost against size ------------------------------------------------------------------------------------------------


def both_ways(torch: ModuleType, operator: Callable[..., Any], *tensors: Any) -> Work:
    """An operator on tensors that require gradients, forward and backward."""
    gradient = torch.ones_like(operator(*[t.requires_grad_() for t in tensors]))

    def work() -> None:
        operator(*tensors).backward(gradient)
        for t in tensors:
            t.grad = None

    return work


def sized(torch: ModuleType, operator: str, n: int) -> Work:
    functional = torch.nn.functional
    if operator == "matmul":
        return both_ways(torch, torch.matmul, numbers(torch, n, n), numbers(torch, n, n))
    if operator == "conv2d 3x3":
        return both_ways(torch, lambda x, w: functional.conv2d(x, w, padding=1),
                         numbers(torch, 16, n, 16, 16), numbers(torch, n, n, 3, 3))
    if operator == "attention":
        attend = functional.scaled_dot_product_attention
        return both_ways(torch, attend, *[numbers(torch, 2, 4, n, 32) for _ in range(3)])
    return both_ways(torch, lambda x: torch.softmax(x, -1), numbers(torch, n, 512))


SIZES = {"matmul": (16, 32, 128, 512, 1024), "conv2d 3x3": (4, 16, 64, 128), "attention": (16, 32, 128, 512),
         "softmax": (16, 128, 256, 4096)}  # fmt: skip
SIZED_CASES = tuple(Case(f"{operator}, size {n}, both ways", 1.3, 1.6, lambda t, operator=operator, n=n: sized(t, operator, n),
                         memory=False) for operator, sizes in SIZES.items() for n in sizes)  # type: ignore[misc]


def measure(cases: list[Case], torch: ModuleType | None, least: float, rounds: int) -> list[Row]:
    """The time of one call of each case's work, in milliseconds."""
    rows = []
    for case in cases:
        found = in_turns(takes(case.make, torch, least), rounds)
        rows.append(Row(case.name, "ms", scaled(found, 1e3), case.goals))
        print(case.name, {name: rows[-1].ratio(name) for name in found}, file=sys.stderr, flush=True)  # it takes many minutes
    return rows
