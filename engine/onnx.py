"""`engine.onnx`: models are not exported to ONNX."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["export", "is_in_onnx_export"]


def export(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: ONNX files are not written."""
    raise not_supported("torch.onnx.export", "save the weights with torch.save(model.state_dict(), path), a safetensors "
                        "file, load them in PyTorch and export there.")


def is_in_onnx_export() -> bool:
    """Always False."""
    return False
