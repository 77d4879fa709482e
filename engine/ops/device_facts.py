"""Questions about devices and formats that do not exist here: every answer is False, so that portable programs go on."""

from __future__ import annotations

from typing import Any, NoReturn

from ..tensor import Tensor
from .base import composite

for _name in ("is_ipu", "is_maia", "is_mkldnn", "is_mps", "is_mtia", "is_nested", "is_vulkan", "is_xla",
              "is_xpu"):
    setattr(Tensor, _name, property(lambda self: False, doc="Always False: there are no such tensors here."))


@composite("is_distributed")
def is_distributed(input: Tensor) -> bool:
    """Always False.

    >>> torch.ones(1).is_distributed()
    False
    """
    return False


@composite("is_vulkan_available", method=False)
def is_vulkan_available() -> bool:
    """Always False.

    >>> torch.is_vulkan_available()
    False
    """
    return False


@composite("record_stream", function=False)
def record_stream(input: Tensor, stream: Any) -> None:
    """Nothing to note: CuPy's pool orders the reuse of memory by itself, and the CPU has no streams."""


@composite("as_subclass", function=False)
def as_subclass(input: Tensor, cls: type) -> Tensor:
    """The tensor as an instance of a subclass of `Tensor`: same memory, same history.

    >>> class Tagged(torch.Tensor):
    ...     pass
    >>> type(torch.ones(1).as_subclass(Tagged)).__name__
    'Tagged'
    """
    made = input.view_as(input)  # type: ignore[attr-defined]
    made.__class__ = cls
    return made


def _removed(name: str, instead: str) -> None:
    def refuse(*args: Any, **kwargs: Any) -> NoReturn:
        raise RuntimeError(f"This function was deprecated since version 1.9 and is now removed (torch.{name}). "
                           f"HINT: use {instead}.")

    refuse.__doc__ = f"RuntimeError, as in torch: removed there in favour of `{instead}`."
    composite(name)(refuse)


_removed("eig", "torch.linalg.eig")
_removed("lstsq", "torch.linalg.lstsq")
_removed("matrix_rank", "torch.linalg.matrix_rank")
_removed("solve", "torch.linalg.solve")
_removed("symeig", "torch.linalg.eigh")
