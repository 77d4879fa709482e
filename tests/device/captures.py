"""Questions to the machine about captured steps, copies beside the work, and what waits: more facts, as in `facts.py`."""

from __future__ import annotations

import statistics
import tempfile
import time
import warnings
from typing import Any

import engine
import lit
from engine import nn
from engine.cuda.copying import BatchCopies
from tests.device.facts import fact, milliseconds, outcome, sized


class Digits(lit.LightningModule):
    """The digits MLP, with what a training usually logs."""

    def __init__(self, pixels: int, width: int) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(pixels, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU(),
                                 nn.Linear(width, 10))

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        x, y = batch
        loss = nn.functional.cross_entropy(self.net(x), y)
        self.log("loss", loss, prog_bar=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = engine.optim.Adam(self.parameters())
        schedule = engine.optim.lr_scheduler.ExponentialLR(optimizer, 0.999)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class Clock(lit.Callback):
    """Time from batch to batch, and the loss at the end of epochs."""

    def __init__(self) -> None:
        self.times: list[float] = []
        self.losses: list[float] = []

    def on_train_batch_start(self, trainer: Any, module: Any, batch: Any, batch_idx: int) -> None:
        self.times.append(time.perf_counter())

    def on_train_epoch_end(self, trainer: Any, module: Any) -> None:
        self.losses.append(float(trainer.callback_metrics["loss"]))

    def step(self) -> float:
        """Median microseconds of a step in the last epoch."""
        last = self.times[-len(self.times) // len(self.losses) :]
        return round(statistics.median(b - a for a, b in zip(last, last[1:])) * 1e6, 1)


def _fit(compile: bool, **options: Any) -> dict[str, Any]:
    engine.manual_seed(0)
    batches, size, pixels, width = (200, 32, 784, 128) if sized(8192) > 64 else (4, 2, 6, 8)
    x, y = engine.randn(size * batches, pixels), engine.randint(0, 10, (size * batches,))
    loader = engine.utils.data.DataLoader(engine.utils.data.TensorDataset(x, y), batch_size=size, pin_memory=True)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        trainer = lit.Trainer(accelerator="gpu", devices=1, max_epochs=3, compile=compile, detect_sync=True, logger=False,
                              enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
                              default_root_dir=folder, callbacks=[clock], **options)
        trainer.fit(Digits(pixels, width), loader)
    waits = sorted({str(w.message) for w in caught if "synchronizing" in str(w.message)})
    eager = [str(w.message) for w in caught if "W127" in str(w.message)]
    return {"us per step": clock.step(), "losses": clock.losses, "waits in steps": waits, "not captured": eager}


@fact("the Trainer, eager and captured")
def trainers() -> dict:
    """The losses must agree; in the first steps one plan is made, which waits, and with a scaler two more."""
    return {"eager": outcome(lambda: _fit(False)), "captured": outcome(lambda: _fit(True)),
            "16-mixed, clipped, captured": outcome(lambda: _fit(True, precision="16-mixed", gradient_clip_val=1.0)),
            "accumulated, captured": outcome(lambda: _fit(True, accumulate_grad_batches=4))}


@fact("a captured step follows its schedule")
def schedule() -> dict:
    """SGD by hand: the weight moves by the learning rate of the day, and the count goes on in Adam."""
    w = engine.zeros(4, device="cuda", requires_grad=True)
    p = engine.zeros(3, device="cuda", requires_grad=True)
    sgd, adam = engine.optim.SGD([w], lr=1.0), engine.optim.Adam([p], capturable=True)

    def step() -> None:
        w.grad, p.grad = engine.ones_like(w), engine.ones_like(p)
        sgd.step()
        adam.step()

    for _ in range(3):
        step()
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        step()
    moved = []
    for rate in (1.0, 0.5, 0.25):
        sgd.param_groups[0]["lr"] = rate
        before = w[0].item()
        graph.replay()
        moved.append(round(before - w[0].item(), 6))
    return {"moved (expected 1, 0.5, 0.25)": moved, "count (expected 6)": adam.state[p]["step"].item()}


@fact("copies of batches beside the work")
def overlap() -> dict:
    """Milliseconds for a copy, for work, and for both: in one stream they add up, in two the longer one counts."""
    n = sized(8192)
    host, a = engine.randn(n, n).pin_memory(), engine.randn(n, n, device="cuda")
    copies = BatchCopies(engine.device("cuda", 0))

    def work() -> None:
        for _ in range(8):
            a @ a

    def ahead() -> Any:
        copies.begin()
        return copies.put(host)

    def same() -> None:
        host.to("cuda", non_blocking=True)
        work()

    def beside() -> None:
        ahead()
        work()

    found = {name: round(milliseconds(fn, 10), 3) for name, fn in
             (("copy", lambda: host.to("cuda", non_blocking=True)), ("work", work), ("one stream", same), ("two", beside))}
    return {**found, "the same numbers": bool((ahead() == host.to("cuda")).all())}


@fact("what makes the host wait is found")
def waits() -> dict:
    """The array library's class takes our methods, is as before afterwards, and every kind is noticed."""
    x = engine.arange(4.0, device="cuda")
    calls = {"item": lambda: x.sum().item(), "bool": lambda: bool(x.any()), "mask": lambda: x[x > 1], "cpu": lambda: x.cpu(),
             "nonzero": lambda: engine.nonzero(x), "repr": lambda: repr(x), "none": lambda: (x * 2).softmax(0)}
    found = {}
    for name, call in calls.items():
        with engine.cuda.detect_sync() as seen:
            call()
        found[name] = len(seen)
    return {**found, "afterwards": outcome(lambda: x.sum().item())}
