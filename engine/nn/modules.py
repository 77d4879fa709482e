"""torch's import paths for layers, such as ``nn.modules.batchnorm._BatchNorm``: other names for the files of `nn`."""

from __future__ import annotations

import sys
from typing import Any

import engine
from engine.nn import (
    _sizes,
    activation,
    batchnorm,
    containers,
    conv,
    distance,
    dropout,
    flatten,
    fold,
    lazy,
    linear,
    loss,
    module,
    normalization,
    padding,
    pooling,
    rnn,
    sparse,
    transformer,
    upsampling,
)

_PATHS = {
    "activation": activation,
    "batchnorm": batchnorm,
    "container": containers,
    "conv": conv,
    "distance": distance,
    "dropout": dropout,
    "flatten": flatten,
    "fold": fold,
    "lazy": lazy,
    "instancenorm": batchnorm,
    "linear": linear,
    "loss": loss,
    "module": module,
    "normalization": normalization,
    "padding": padding,
    "pixelshuffle": upsampling,
    "pooling": pooling,
    "rnn": rnn,
    "sparse": sparse,
    "transformer": transformer,
    "upsampling": upsampling,
    "utils": _sizes,
}

__path__: list[str] = []
for _name, _module in _PATHS.items():
    globals()[_name] = _module
    sys.modules[f"{__name__}.{_name}"] = _module

__all__ = sorted(_PATHS)


def __getattr__(name: str) -> Any:
    return getattr(engine.nn, name)  # the layers themselves, as in `nn.modules.Linear`
