"""Record the start and the end of every hook, in any library with Lightning's names.

``make(library, torch, ...)`` builds a module, a callback and a datamodule whose hooks all write to one list; the same
program can so be run by ``lit`` and by Lightning itself, and the lists compared.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lit.hooks import HOOKS

# Not hooks, but methods that Lightning's own test records too.
EXTRA_OF_MODULE = ("forward", "zero_grad", "eval", "train", "clip_gradients")
NOT_RECORDED = {"M": {"load_state_dict", "state_dict"}, "C": set(), "D": set()}


@dataclass
class Recorder:
    """``events`` holds ("start" or "end", "C.on_fit_start", plain arguments)."""

    library: Any
    torch: Any
    events: list[tuple[str, str, tuple[Any, ...]]] = field(default_factory=list)

    def starts(self) -> list[str]:
        """Names in the order in which the hooks began."""
        return [name for phase, name, _ in self.events if phase == "start"]

    def ends(self) -> list[str]:
        """Names in the order in which the hooks finished: what Lightning's own test compares."""
        return [name for phase, name, _ in self.events if phase == "end"]

    def recording(self, base: type, letter: str) -> type:
        """A subclass of ``base`` that records every hook its letter receives."""
        names = [hook.name for hook in HOOKS if letter in hook.receivers]
        if letter == "M":
            names += [name for name in EXTRA_OF_MODULE if hasattr(base, name)]
        methods = {name: self._wrapped(base, name, letter) for name in names if hasattr(base, name)}
        return type(f"Recorded{base.__name__}", (base,), methods)

    def _wrapped(self, base: type, name: str, letter: str) -> Any:
        inner = getattr(base, name)
        events = self.events

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            plain = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, (int, str)))
            events.append(("start", f"{letter}.{name}", plain))
            result = inner(self, *args, **kwargs)
            events.append(("end", f"{letter}.{name}", plain))
            return result

        method.__name__ = name
        return method


def boring_module(library: Any, torch: Any) -> type:
    """A module with every step, on 32 numbers."""

    class Boring(library.LightningModule):
        def __init__(self) -> None:
            super().__init__()
            self.layer = torch.nn.Linear(4, 2)

        def forward(self, x: Any) -> Any:
            return self.layer(x)

        def loss(self, batch: Any) -> Any:
            return (self(batch) ** 2).mean()

        def training_step(self, batch: Any, batch_idx: int) -> Any:
            return {"loss": self.loss(batch)}

        def validation_step(self, batch: Any, batch_idx: int) -> Any:
            return {"x": self.loss(batch)}

        def test_step(self, batch: Any, batch_idx: int) -> Any:
            return {"y": self.loss(batch)}

        def configure_optimizers(self) -> Any:
            optimizer = torch.optim.SGD(self.layer.parameters(), lr=0.1)
            scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=1)
            return [optimizer], [scheduler]

        def _loader(self) -> Any:
            return torch.utils.data.DataLoader(torch.ones(64, 4))

        def train_dataloader(self) -> Any:
            return self._loader()

        def val_dataloader(self) -> Any:
            return self._loader()

        def test_dataloader(self) -> Any:
            return self._loader()

        def predict_dataloader(self) -> Any:
            return self._loader()

    return Boring


def boring_datamodule(library: Any, torch: Any) -> type:
    """A datamodule with every loader."""

    class BoringData(library.LightningDataModule):
        def _loader(self) -> Any:
            return torch.utils.data.DataLoader(torch.ones(64, 4))

        def train_dataloader(self) -> Any:
            return self._loader()

        def val_dataloader(self) -> Any:
            return self._loader()

        def test_dataloader(self) -> Any:
            return self._loader()

        def predict_dataloader(self) -> Any:
            return self._loader()

        def state_dict(self) -> dict[str, Any]:
            return {"position": 1}

    return BoringData


QUIET = {
    "logger": False,
    "enable_progress_bar": False,
    "enable_model_summary": False,
    "enable_checkpointing": False,
    "accelerator": "cpu",
}
