"""A tensor's shape, and checking dimensions against it."""

from __future__ import annotations

from typing import Any


class Size(tuple):
    """A tensor's shape: a tuple that prints as torch's and counts elements.

    >>> torch.zeros(2, 3).shape
    torch.Size([2, 3])
    >>> torch.zeros(2, 3).shape.numel()
    6
    """

    __slots__ = ()

    def __repr__(self) -> str:
        return f"torch.Size({list(self)})"

    def numel(self) -> int:
        """The product of the sizes."""
        n = 1
        for size in self:
            n *= size
        return n

    def __getitem__(self, index: Any) -> Any:
        item = tuple.__getitem__(self, index)
        return Size(item) if isinstance(index, slice) else item

    def __add__(self, other: tuple) -> Size:  # type: ignore[override]
        return Size(tuple.__add__(self, tuple(other)))

    def __reduce__(self) -> tuple:
        return Size, (tuple(self),)


def check_dim(dim: int, ndim: int) -> int:
    """`dim` counted from the front; IndexError outside of [-ndim, ndim-1] (0-d counts as one dimension)."""
    n = ndim or 1
    if not -n <= dim < n:
        raise IndexError(f"Dimension out of range (expected to be in range of [{-n}, {n - 1}], but got {dim})")
    return dim + n if dim < 0 else dim
