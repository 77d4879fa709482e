"""`engine.export`: programs are not exported as graphs."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["Dim", "ExportedProgram", "export", "load", "save"]


def export(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: programs are not exported as graphs."""
    raise not_supported("torch.export", "torch.save(model, path) keeps the model, torch.save(model.state_dict(), path) its "
                        "weights; PyTorch can export from those.")


load = save = export


class ExportedProgram:
    """NotImplementedError: programs are not exported as graphs."""

    def __new__(cls, *args: Any, **kwargs: Any) -> NoReturn:
        export()


class Dim(ExportedProgram):
    """NotImplementedError: programs are not exported as graphs."""
