"""configure_optimizers in every form, schedulers, and manual optimization with several optimizers."""

from __future__ import annotations

from typing import Any

import pytest

import engine as torch
import lit as pl
from engine import nn
from engine.optim import SGD, Adam
from engine.optim.lr_scheduler import OneCycleLR, ReduceLROnPlateau, StepLR
from lit.optimizers import LightningOptimizer, configure
from tests.lit.models import Net, loader, quiet_trainer

pytestmark = pytest.mark.filterwarnings("ignore:.*no validation loader")

MODEL = Net()
OPT, OPT2 = SGD(MODEL.parameters(), lr=0.1), Adam(MODEL.parameters(), lr=0.1)
STEP, STEP2, PLATEAU = StepLR(OPT, 1), StepLR(OPT2, 1), ReduceLROnPlateau(OPT)


def manual_module() -> Net:
    model = Net()
    model.automatic_optimization = False
    return model


@pytest.mark.parametrize(
    ("returned", "optimizers", "schedulers"),
    [
        (OPT, [OPT], []),
        ([OPT], [OPT], []),
        ((OPT,), [OPT], []),
        (([OPT], [STEP]), [OPT], [STEP]),
        (([OPT], STEP), [OPT], [STEP]),
        (([OPT], [{"scheduler": STEP, "interval": "step"}]), [OPT], [STEP]),
        ({"optimizer": OPT}, [OPT], []),
        ({"optimizer": OPT, "lr_scheduler": STEP}, [OPT], [STEP]),
        ({"optimizer": OPT, "lr_scheduler": {"scheduler": STEP, "name": "mine"}}, [OPT], [STEP]),
        ({"optimizer": OPT, "lr_scheduler": PLATEAU, "monitor": "x"}, [OPT], [PLATEAU]),
        ([{"optimizer": OPT, "lr_scheduler": PLATEAU, "monitor": "x"}], [OPT], [PLATEAU]),
        ([{"optimizer": OPT, "lr_scheduler": STEP}], [OPT], [STEP]),
    ],
)
def test_forms(returned: Any, optimizers: list[Any], schedulers: list[Any]) -> None:
    found, configs = configure(MODEL, returned)
    assert found == optimizers
    assert [config.scheduler for config in configs] == schedulers


def test_several_optimizers_in_manual_optimization() -> None:
    for returned in ([OPT, OPT2], (OPT, OPT2), ([OPT, OPT2], [STEP, STEP2])):
        assert configure(manual_module(), returned)[0] == [OPT, OPT2]
    dicts = [{"optimizer": OPT, "lr_scheduler": STEP}, {"optimizer": OPT2}]
    assert [c.scheduler for c in configure(manual_module(), dicts)[1]] == [STEP]


def test_scheduler_dict_is_understood() -> None:
    config = {"scheduler": PLATEAU, "interval": "step", "frequency": 3, "monitor": "x", "strict": False, "name": "lr"}
    [found] = configure(MODEL, {"optimizer": OPT, "lr_scheduler": config})[1]
    assert (found.interval, found.frequency, found.monitor, found.strict, found.name) == ("step", 3, "x", False, "lr")
    assert found.reduce_on_plateau
    assert config["scheduler"] is PLATEAU and len(config) == 6  # the user's dict is as it was


@pytest.mark.parametrize(
    ("returned", "error", "words"),
    [
        (5, pl.MisconfigurationException, "expected one of"),
        ([], pl.MisconfigurationException, "expected one of"),
        ([OPT, 3], pl.MisconfigurationException, "expected one of"),
        ([OPT, OPT2], RuntimeError, "automatic_optimization = False"),
        ({"optim": OPT}, pl.MisconfigurationException, "'optimizer'"),
        ({"optimizer": OPT, "lr_scheduler": PLATEAU}, pl.MisconfigurationException, "metric to monitor"),
        (([OPT], [{"interval": "step"}]), pl.MisconfigurationException, "'scheduler'"),
        (([OPT], [{"scheduler": STEP, "interval": "batch"}]), pl.MisconfigurationException, "'batch'"),
        (([OPT], [{"scheduler": STEP, "frequency": 0}]), pl.MisconfigurationException, "'frequency'"),
        (([OPT], [STEP2]), pl.MisconfigurationException, "did not return"),
        (([OPT], [object()]), TypeError, "state_dict"),
    ],
)
def test_refused(returned: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as refused:
        configure(MODEL, returned)
    assert words in str(refused.value)


@pytest.mark.parametrize(
    ("returned", "words"),
    [
        ({"optimizer": OPT, "scheduler": STEP}, r"unknown keys \['scheduler'\]"),
        (([OPT], [{"scheduler": STEP, "when": "now"}]), r"unknown keys \['when'\]"),
        (([OPT], [OneCycleLR(OPT, 0.1, total_steps=5)]), "OneCycleLR is stepped once per epoch"),
    ],
)
def test_warned(returned: Any, words: str) -> None:
    with pytest.warns(RuntimeWarning, match=words):
        configure(MODEL, returned)


def test_own_scheduler_needs_its_hook() -> None:
    class Own:
        optimizer = OPT

        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, state: dict[str, Any]) -> None: ...

    with pytest.raises(pl.MisconfigurationException, match="lr_scheduler_step"):
        configure(MODEL, ([OPT], [Own()]))

    class Steps(Net):
        def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None: ...

    assert configure(Steps(), ([OPT], [Own()]))[1]


def test_no_optimizer() -> None:
    class Without(Net):
        def configure_optimizers(self) -> None:
            return None

    model = Without()
    before = model.layer.weight.tolist()
    with pytest.warns(UserWarning, match="updates nothing"):
        quiet_trainer().fit(model, loader())
    assert model.layer.weight.tolist() == before


class WithScheduler(Net):
    """A scheduler made by ``make(optimizer)``; ``rates`` keeps the learning rate at every batch."""

    def __init__(self, make: Any, **config: Any) -> None:
        super().__init__(lr=1e-3)
        self.make, self.config = make, config
        self.rates: list[float] = []

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        self.rates.append(round(self.trainer.optimizers[0].param_groups[0]["lr"], 9))
        return super().training_step(batch, batch_idx)

    def configure_optimizers(self) -> Any:
        optimizer = SGD(self.parameters(), lr=1.0e-3)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": self.make(optimizer), **self.config}}


@pytest.mark.parametrize(
    ("config", "flags", "factors"),
    [
        ({"interval": "epoch"}, {}, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]),
        ({"interval": "step"}, {}, [1, 0.1, 0.01, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7]),
        ({"interval": "step", "frequency": 2}, {}, [1, 1, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3]),
        ({"interval": "epoch", "frequency": 2}, {}, [1] * 8),
        ({"interval": "step"}, {"accumulate_grad_batches": 2}, [1, 1, 0.1, 0.1, 0.01, 0.01, 1e-3, 1e-3]),
    ],
    ids=str,
)
def test_when_schedulers_step(config: dict[str, Any], flags: dict[str, Any], factors: list[float]) -> None:
    model = WithScheduler(lambda optimizer: StepLR(optimizer, 1, 0.1), **config)
    quiet_trainer(max_epochs=2, **flags).fit(model, loader())
    assert model.rates == pytest.approx([1e-3 * factor for factor in factors], abs=1e-9)


def test_plateau_scheduler_sees_its_metric() -> None:
    def never_better(optimizer: Any) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=1e9, threshold_mode="abs")

    model = WithScheduler(never_better, monitor="val_loss")
    quiet_trainer(max_epochs=3).fit(model, loader(), loader())
    assert model.rates == pytest.approx([1e-3] * 8 + [1e-4] * 4)


def test_unknown_metric_is_reported_with_the_known_ones() -> None:
    def plateau(optimizer: Any) -> ReduceLROnPlateau:
        return ReduceLROnPlateau(optimizer)

    with pytest.raises(pl.MisconfigurationException, match=r"monitors 'val_acc'.*'train_loss'.*HINT"):
        quiet_trainer().fit(WithScheduler(plateau, monitor="val_acc"), loader())
    with pytest.warns(RuntimeWarning, match="not stepped this time"):
        quiet_trainer().fit(WithScheduler(plateau, monitor="val_acc", strict=False), loader())


def test_schedulers_belong_to_the_user_in_manual_optimization() -> None:
    class Manual(WithScheduler):
        def __init__(self) -> None:
            super().__init__(lambda optimizer: StepLR(optimizer, 1, 0.1))
            self.automatic_optimization = False

        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.rates.append(self.optimizers().param_groups[0]["lr"])
            if batch_idx == 1:
                self.lr_schedulers().step()

    model = Manual()
    trainer = quiet_trainer()
    trainer.fit(model, loader())
    assert model.rates == pytest.approx([1e-3, 1e-3, 1e-4, 1e-4])
    assert trainer.global_step == 0  # no optimizer stepped


class Adversarial(pl.LightningModule):
    """Two optimizers, stepped in turn."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.generator, self.critic = nn.Linear(2, 2), nn.Linear(2, 1)

    def training_step(self, batch: Any, batch_idx: int) -> None:
        first, second = self.optimizers()
        assert isinstance(first, LightningOptimizer)
        with self.toggled_optimizer(first):
            assert [p.requires_grad for p in self.critic.parameters()] == [False, False]
            loss = self.critic(self.generator(batch)).mean()
            self.manual_backward(loss)
            assert self.critic.weight.grad is None
        first.step()
        first.zero_grad()
        with second.toggle_model():
            assert not self.generator.weight.requires_grad
            second.step(lambda: self.manual_backward(self.critic(batch).mean()))
            second.zero_grad()
        assert all(p.requires_grad for p in self.parameters())

    def configure_optimizers(self) -> Any:
        return SGD(self.generator.parameters(), lr=0.1), SGD(self.critic.parameters(), lr=0.1)


def test_several_optimizers() -> None:
    model, trainer = Adversarial(), quiet_trainer()
    before = [p.tolist() for p in model.parameters()]
    trainer.fit(model, [torch.ones(3, 2)] * 2)
    assert trainer.global_step == 4  # of both together
    assert all(p.tolist() != old for p, old in zip(model.parameters(), before, strict=True))
    assert model.optimizers(use_pl_optimizer=False) == trainer.optimizers


def test_manual_backward_needs_manual_optimization() -> None:
    class Wrong(Net):
        def training_step(self, batch: Any, batch_idx: int) -> None:
            self.manual_backward(self.loss(batch))

    with pytest.raises(pl.MisconfigurationException, match="manual_backward.*automatic_optimization"):
        quiet_trainer().fit(Wrong(), loader())


@pytest.mark.parametrize("flags", [{"gradient_clip_val": 1.0}, {"accumulate_grad_batches": 2}], ids=str)
def test_flags_that_manual_optimization_cannot_honour(flags: dict[str, Any]) -> None:
    with pytest.raises(pl.MisconfigurationException, match="manual optimization"):
        quiet_trainer(**flags).fit(manual_module(), loader())


def test_own_optimizer_step_with_closure() -> None:
    class Every(Net):
        closures = 0

        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            def counted() -> Any:
                self.closures += 1
                return optimizer_closure()

            optimizer.step(closure=counted)

    model = Every()
    quiet_trainer().fit(model, loader())
    assert model.closures == 4


def test_closure_must_be_callable() -> None:
    class Wrong(Net):
        def optimizer_step(self, epoch: int, batch_idx: int, optimizer: Any, optimizer_closure: Any = None) -> None:
            optimizer.step(closure=3)

    with pytest.raises(pl.MisconfigurationException, match="closure=3"):
        quiet_trainer().fit(Wrong(), loader())


def test_clip_gradients_with_other_values_than_the_flags() -> None:
    class Wrong(Net):
        def configure_gradient_clipping(self, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            self.clip_gradients(optimizer, gradient_clip_val=2.0)

    with pytest.raises(pl.MisconfigurationException, match="differs from Trainer"):
        quiet_trainer(gradient_clip_val=1.0).fit(Wrong(), loader())
