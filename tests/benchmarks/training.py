"""The digits network, 64-128-10 with Adam on batches of 32: by hand, and through a Trainer with its defaults."""

from __future__ import annotations

import contextlib
import io
import logging
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from tests.benchmarks.timing import Row, in_turns, scaled, seconds_per_call

IMAGES, BATCH = 1797, 32
STEPS_PER_EPOCH = -(-IMAGES // BATCH)


def data(torch: ModuleType, times: int = 1) -> Any:
    """A loader over numbers of the digits' shape, `times` as many. What they are does not change what a step costs."""
    random = np.random.default_rng(0)
    images = torch.from_numpy(random.random((IMAGES * times, 64), dtype=np.float32))
    labels = torch.from_numpy(random.integers(0, 10, IMAGES * times))
    dataset = torch.utils.data.TensorDataset(images, labels)
    return torch.utils.data.DataLoader(dataset, batch_size=BATCH, shuffle=True)


def network(torch: ModuleType) -> Any:
    return torch.nn.Sequential(torch.nn.Linear(64, 128), torch.nn.ReLU(), torch.nn.Linear(128, 10))


def hand_written(torch: ModuleType, loader: Any) -> Callable[[], None]:
    """One pass over `loader` as anyone would write it."""
    model = network(torch)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    cross_entropy = torch.nn.functional.cross_entropy

    def epoch() -> None:
        for images, labels in loader:
            optimizer.zero_grad()
            cross_entropy(model(images), labels).backward()
            optimizer.step()

    return epoch


def through_trainer(torch: ModuleType, lit: ModuleType) -> Callable[..., None]:
    """A function that trains for so many epochs with the Trainer's defaults: bar, logger and checkpoints."""

    class Digits(lit.LightningModule):  # type: ignore[name-defined, misc]
        def __init__(self) -> None:
            super().__init__()
            self.layers = network(torch)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            images, labels = batch
            loss = torch.nn.functional.cross_entropy(self.layers(images), labels)
            self.log("train_loss", loss, prog_bar=True)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.Adam(self.parameters(), lr=1e-3)

    def fit(epochs: int, times: int = 1) -> None:
        with on_a_terminal(), tempfile.TemporaryDirectory() as folder:
            trainer = lit.Trainer(max_epochs=epochs, accelerator="cpu", default_root_dir=folder)
            trainer.fit(Digits(), data(torch, times))

    return fit


class Terminal(io.StringIO):
    """Swallows what is written and says that it is a terminal, so that progress bars behave as users see them."""

    def isatty(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextlib.contextmanager
def on_a_terminal() -> Iterator[None]:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    with warnings.catch_warnings(), contextlib.redirect_stdout(Terminal()), contextlib.redirect_stderr(Terminal()):
        warnings.simplefilter("ignore")
        yield


def seconds_per_step(fit: Callable[..., None], epochs: int) -> Callable[[], float]:
    """What a step costs: a long run less a short one, so that starting up does not count."""

    def measure() -> float:
        times = []
        for count in (1, 1 + epochs):
            start = time.perf_counter()
            fit(count)
            times.append(time.perf_counter() - start)
        return (times[1] - times[0]) / (epochs * STEPS_PER_EPOCH)

    return measure


def calls(work: Callable[[], object]) -> int:
    """How many Python functions `work` calls (in this thread)."""
    count = 0

    def profile(frame: Any, event: str, argument: Any) -> None:
        nonlocal count
        count += event == "call"

    before = sys.getprofile()
    sys.setprofile(profile)
    try:
        work()
    finally:
        sys.setprofile(before)
    return count


def calls_per_step(run: Callable[[int], object]) -> float:
    """The calls of `run(3)` less those of `run(1)`, per step: what starts and ends an epoch does not count."""
    run(1)
    return (calls(lambda: run(3)) - calls(lambda: run(1))) / (2 * STEPS_PER_EPOCH)


def trainer_beside_loop(torch: ModuleType, lit: ModuleType, epochs: int, rounds: int) -> Row:
    """The Trainer's step over that of a loop by hand over the same DataLoader, on one engine."""
    fit, loader = through_trainer(torch, lit), data(torch)
    epoch = hand_written(torch, loader)

    def by_hand() -> float:
        start = time.perf_counter()
        for _ in range(epochs):
            epoch()
        return (time.perf_counter() - start) / (epochs * STEPS_PER_EPOCH)

    found = in_turns({"ours": seconds_per_step(fit, epochs), "theirs": by_hand}, rounds)
    measure = "digits MLP step, Trainer defaults, beside a loop by hand over the same DataLoader on this engine"
    return Row(measure, "us", scaled(found, 1e6), {"ours": 1.2})


def measure(libraries: dict[str, tuple[ModuleType, ModuleType]], least: float, rounds: int, epochs: int) -> list[Row]:
    """`libraries`: "ours" and, where installed, "theirs", each as (tensor library, trainer library)."""
    steps = {name: hand_written(torch, list(data(torch))) for name, (torch, _) in libraries.items()}
    by_hand = in_turns({name: seconds_per_call(work, least) for name, work in steps.items()}, rounds)
    fits = {name: through_trainer(torch, lit) for name, (torch, lit) in libraries.items()}
    trained = in_turns({name: seconds_per_step(fit, epochs) for name, fit in fits.items()}, rounds)
    loop_calls = {name: calls_per_step(lambda times, torch=torch: hand_written(torch, data(torch, times))())
                  for name, (torch, _) in libraries.items()}
    trainer_calls = {name: calls_per_step(lambda times, fit=fit: fit(1, times)) for name, fit in fits.items()}
    added = {name: [trainer_calls[name] - loop_calls[name]] for name in libraries}
    return [
        Row("digits MLP step, hand-written loop", "us", scaled(by_hand, 1e6 / STEPS_PER_EPOCH), {"ours": 0.7}),
        Row("digits MLP step, Trainer defaults, one self.log", "us", scaled(trained, 1e6), {"ours": 0.25}),
        trainer_beside_loop(*libraries["ours"], epochs, rounds),
        Row("Python calls per step, hand-written loop with DataLoader", "calls", {k: [v] for k, v in loop_calls.items()}),
        Row("Python calls per step, Trainer defaults, one self.log", "calls", {k: [v] for k, v in trainer_calls.items()}),
        Row("Python calls per step added by the Trainer", "calls", added, limit="60 calls"),
    ]
