"""``self.log`` with a metric: per step, per epoch, reset, checkpointed; the numbers of Lightning with torchmetrics."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
import lit
import lit.metrics
from callbacks import MisconfigurationException
from tests.lit.boring import QUIET

ROWS = np.random.default_rng(0).normal(size=(24, 3)).astype(np.float32)
TARGETS = np.arange(24) % 3


def module_of(library: Any, torch: Any, metrics: Any) -> Any:
    class Classifier(library.LightningModule):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(3, 3, bias=False)
            self.layer.weight.data.copy_(torch.eye(3))
            self.train_acc = metrics.Accuracy(task="multiclass", num_classes=3)
            self.val_acc = metrics.Accuracy(task="multiclass", num_classes=3)
            many = {"num_classes": 3}
            self.scores = metrics.MetricCollection(
                [metrics.classification.MulticlassPrecision(**many), metrics.classification.MulticlassRecall(**many)]
                if hasattr(metrics, "classification")
                else [metrics.MulticlassPrecision(**many), metrics.MulticlassRecall(**many)],
                prefix="val_",
            )
            self.seen: list[dict[str, float]] = []

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            x, y = batch
            logits = self.layer(x)
            self.train_acc(logits, y)
            self.log("acc", self.train_acc, on_step=True, on_epoch=True)
            return torch.nn.functional.cross_entropy(logits, y)

        def validation_step(self, batch: Any, batch_idx: int) -> None:
            x, y = batch
            self.val_acc.update(self.layer(x), y)
            self.scores.update(self.layer(x), y)
            self.log("val_acc", self.val_acc)
            self.log_dict(self.scores)

        def on_train_epoch_end(self) -> None:
            metrics_now = self.trainer.callback_metrics
            self.seen.append({name: float(value) for name, value in metrics_now.items()})

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.5)

    return Classifier()


def loader_of(torch: Any, size: int = 5) -> Any:
    data = torch.utils.data.TensorDataset(torch.from_numpy(ROWS), torch.from_numpy(TARGETS))
    return torch.utils.data.DataLoader(data, batch_size=size)  # the last batch is smaller


def test_the_numbers_of_lightning_with_torchmetrics() -> None:
    torch = pytest.importorskip("torch")
    lightning = pytest.importorskip("lightning.pytorch")
    torchmetrics = pytest.importorskip("torchmetrics")
    found = []
    for library, tensors, metrics in ((lit, engine, lit.metrics), (lightning, torch, torchmetrics)):
        module = module_of(library, tensors, metrics)
        trainer = library.Trainer(max_epochs=3, log_every_n_steps=1, **QUIET)
        trainer.fit(module, loader_of(tensors), loader_of(tensors))
        found.append(module.seen)
    ours, theirs = found
    assert [set(epoch) for epoch in ours] == [set(epoch) for epoch in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert one == pytest.approx(other, abs=1e-6)


def test_an_epoch_counts_every_sample_once_and_starts_anew() -> None:
    module = module_of(lit, engine, lit.metrics)
    module.configure_optimizers = lambda: engine.optim.SGD(module.parameters(), lr=0.0)
    lit.Trainer(max_epochs=2, **QUIET).fit(module, loader_of(engine))
    expected = float((ROWS.argmax(1) == TARGETS).mean())
    assert [epoch["acc_epoch"] for epoch in module.seen] == pytest.approx([expected, expected])
    assert not module.train_acc.update_called


def test_a_run_resumed_in_the_middle_of_an_epoch_ends_with_the_same_metrics(tmp_path: Any) -> None:
    whole = module_of(lit, engine, lit.metrics)
    lit.Trainer(max_epochs=1, **QUIET).fit(whole, loader_of(engine))
    first = module_of(lit, engine, lit.metrics)
    stopper = lit.callbacks.LambdaCallback(
        on_train_batch_end=lambda trainer, *args: trainer.global_step == 2 and trainer.save_checkpoint(tmp_path / "half.ckpt")
    )
    lit.Trainer(max_epochs=1, callbacks=[stopper], **QUIET).fit(first, loader_of(engine))
    second = module_of(lit, engine, lit.metrics)
    lit.Trainer(max_epochs=1, **QUIET).fit(second, loader_of(engine), ckpt_path=tmp_path / "half.ckpt")
    assert second.seen == whole.seen


def test_what_cannot_be_logged() -> None:
    class Forgetful(lit.LightningModule):
        def __init__(self, value: Any, keep: bool) -> None:
            super().__init__()
            self.layer, self.value = engine.nn.Linear(3, 3), value if keep else (value,)

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            value = self.value[0] if isinstance(self.value, tuple) else self.value
            value(engine.zeros(2), engine.zeros(2, dtype=engine.int64))
            self.log("value", value)
            return self.layer(batch[0]).sum()

        def configure_optimizers(self) -> Any:
            return engine.optim.SGD(self.parameters(), lr=0.1)

    many = lit.metrics.MetricCollection([lit.metrics.BinaryAccuracy()])
    trainer = lit.Trainer(max_epochs=1, **QUIET)
    with pytest.raises(MisconfigurationException, match="not an attribute"):
        trainer.fit(Forgetful(lit.metrics.BinaryAccuracy(), keep=False), loader_of(engine))
    with pytest.raises(MisconfigurationException, match="log_dict"):
        trainer.fit(Forgetful(many, keep=True), loader_of(engine))
    with pytest.raises(ValueError, match="single number"):
        trainer.fit(Forgetful(lit.metrics.BinaryConfusionMatrix(), keep=True), loader_of(engine))
