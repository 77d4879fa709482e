"""`engine.utils.tensorboard.SummaryWriter`: tensorboardX's writer, taking our tensors."""

from __future__ import annotations

import functools
import importlib
import sys
from typing import Any, NoReturn

from engine.errors import not_supported
from engine.tensor import Tensor

__all__ = ["SummaryWriter"]


def _tensorboardx() -> Any:
    """tensorboardX, kept from importing PyTorch: where that is installed, it costs two seconds and is not needed."""
    hide = "torch" not in sys.modules
    if hide:
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        return importlib.import_module("tensorboardX")
    finally:
        if hide:
            del sys.modules["torch"]


_Writer: Any = _tensorboardx().SummaryWriter


def _plain(value: Any) -> Any:
    """Tensors as NumPy arrays, also inside lists, tuples and dicts."""
    if isinstance(value, Tensor):
        return value.detach().cpu().numpy()
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_plain(item) for item in value)
    return value


class SummaryWriter(_Writer):
    """Writes event files for TensorBoard: `add_scalar`, `add_histogram`, `add_image`, ... with tensorboardX's arguments.

    Tensors are accepted wherever arrays or numbers are.

    >>> writer = torch.utils.tensorboard.SummaryWriter("runs/first")
    >>> writer.add_scalar("loss", torch.tensor(0.5), 0)
    >>> writer.close()
    """

    def add_graph(self, model: Any, input_to_model: Any = None, verbose: bool = False, **kwargs: Any) -> NoReturn:
        """NotImplementedError: the graph of modules is drawn by `lit.loggers.TensorBoardLogger`."""
        raise not_supported("SummaryWriter.add_graph", "lit.loggers.TensorBoardLogger(...).experiment.add_graph(model, inputs)")


def _accept_tensors(name: str) -> None:
    original = getattr(_Writer, name)

    @functools.wraps(original)
    def method(self: SummaryWriter, *args: Any, **kwargs: Any) -> Any:
        return original(self, *map(_plain, args), **_plain(kwargs))

    setattr(SummaryWriter, name, method)


for _name in ("add_scalar", "add_scalars", "add_histogram", "add_image", "add_images", "add_image_with_boxes",
              "add_video", "add_audio", "add_embedding", "add_mesh", "add_pr_curve", "add_hparams"):
    _accept_tensors(_name)
