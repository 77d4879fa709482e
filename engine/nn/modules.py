"""torch's import paths for layers, such as ``nn.modules.batchnorm._BatchNorm``: other names for the files of `nn`."""

from __future__ import annotations

import sys

from engine.nn import (
    activation,
    batchnorm,
    containers,
    conv,
    distance,
    dropout,
    flatten,
    fold,
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
}

for _name, _module in _PATHS.items():
    globals()[_name] = _module
    sys.modules[f"{__name__}.{_name}"] = _module

__all__ = sorted(_PATHS)
