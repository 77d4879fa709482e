"""`engine.hub`: nothing is downloaded. Each name says what to do instead."""

from __future__ import annotations

from typing import Any, NoReturn

from .errors import not_supported

__all__ = ["load", "load_state_dict_from_url"]


def load(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: other people's code is not downloaded and run."""
    raise not_supported("torch.hub.load", "define the module here and load its weights from a safetensors file: "
                        "model.load_state_dict(torch.load(path)).")


def load_state_dict_from_url(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: files are not downloaded."""
    raise not_supported("torch.hub.load_state_dict_from_url", "download a safetensors file and read it with "
                        "torch.load(path).")
