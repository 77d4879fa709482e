"""Short runs that try something out: a second Trainer runs the module, and everything is as before afterwards."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import engine
from engine.utils.data.streams import Streams

if TYPE_CHECKING:
    from lit import LightningDataModule, LightningModule, Trainer


@contextmanager
def trial(
    outer: Trainer, module: LightningModule, datamodule: LightningDataModule | None, loaders: Any, **flags: Any
) -> Iterator[Trainer]:
    """A Trainer with the device, precision and gradient settings of ``outer``, without loggers, bar and checkpoints.

    Weights, buffers, train/eval modes, the random streams and the generators of ``loaders`` are put back at the end,
    whatever happens. What the module's own hooks do elsewhere (lists they append to, files) is theirs.

    Args:
        outer: the Trainer that will train.
        module, datamodule, loaders: what is going to run; ``loaders`` may be None, or anything that ``fit`` takes.
        **flags: of the Trainer, beside or instead of these.
    """
    cuda = outer.root_device.type == "cuda"
    tensors = [*module.parameters(), *module.buffers()]
    values = [tensor.detach().clone() for tensor in tensors]
    gradients = [parameter.grad for parameter in module.parameters()]
    modes = [(inner, inner.training) for inner in module.modules()]
    generators = [(generator, generator.get_state()) for generator in _generators(loaders)]
    streams = Streams()
    trainer_of_data = None if datamodule is None else datamodule.trainer
    with tempfile.TemporaryDirectory() as folder:  # of a search nothing shall be left, even when a signal ends it
        try:
            yield type(outer)(**{
                "accelerator": "gpu" if cuda else "cpu",
                "devices": outer.device_ids if cuda else 1,
                "precision": outer.precision,
                "accumulate_grad_batches": outer.accumulate_grad_batches,
                "gradient_clip_val": outer.gradient_clip_val,
                "gradient_clip_algorithm": outer.gradient_clip_algorithm,
                "inference_mode": outer.inference_mode,
                "overfit_batches": outer.overfit_batches,
                "barebones": True,
                "default_root_dir": folder,
                **flags,
            })  # fmt: skip
        finally:
            with engine.no_grad():
                for tensor, value in zip(tensors, values, strict=True):
                    tensor.copy_(value)
            for parameter, gradient in zip(module.parameters(), gradients, strict=True):
                parameter.grad = gradient
            for inner, training in modes:
                inner.training = training
            for generator, state in generators:
                generator.set_state(state)
            streams.restore()
            module.trainer = outer
            if datamodule is not None:
                datamodule.trainer = trainer_of_data


def _generators(loaders: Any) -> Iterator[Any]:
    """The generators that loaders and their samplers draw from."""
    if isinstance(loaders, Mapping):
        loaders = list(loaders.values())
    loaders = getattr(loaders, "flattened", loaders)
    if isinstance(loaders, (list, tuple)):
        for loader in loaders:
            yield from _generators(loader)
        return
    for owner in (loaders, getattr(loaders, "sampler", None)):
        generator = getattr(owner, "generator", None)
        if isinstance(generator, engine.Generator):
            yield generator


def holders_of(module: LightningModule, datamodule: LightningDataModule | None, name: str) -> list[Any]:
    """Everything that has an attribute, or a hyper-parameter, of this name: objects and dicts; the last one counts."""
    holders: list[Any] = []
    for owner in (module, datamodule):
        if owner is not None:
            holders += [owner] if hasattr(owner, name) else []
            holders += [owner.hparams] if name in owner.hparams else []
    return holders


def set_in(holders: list[Any], name: str, value: Any) -> None:
    """Set the value everywhere."""
    for holder in holders:
        if isinstance(holder, dict):
            holder[name] = value
        else:
            setattr(holder, name, value)
