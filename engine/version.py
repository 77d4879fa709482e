"""`engine.version`: the torch version that this surface follows, and litengine's own.

`engine.__version__` begins with torch's number because programs compare it to choose between torch's old and new names;
litengine's own number follows as the local part and stands alone in `engine.version.litengine`.

>>> torch.__version__ >= "1.9", torch.__version__ >= (2, 14), torch.__version__.endswith(torch.version.litengine)
(True, False, True)
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["TorchVersion", "__version__", "cuda", "debug", "git_version", "hip", "litengine"]


def _release(version: Any) -> tuple[int, ...]:
    """The numbers of "2.13.0+cpu" or of (2, 13), without trailing zeros, so that 2.13 equals 2.13.0."""
    parts = re.split(r"[.+\-]", version) if isinstance(version, str) else list(version)
    numbers: list[int] = []
    for part in parts:
        digits = re.match(r"\d+", str(part))
        if digits is None:
            break
        numbers.append(int(digits[0]))
        if digits[0] != str(part):  # "0a1", "0rc2": what follows is no release number
            break
    while numbers and numbers[-1] == 0:
        numbers.pop()
    return tuple(numbers)


class TorchVersion(str):
    """A version string that compares by its release numbers, with strings and with tuples of numbers.

    >>> TorchVersion("2.13.0+cpu") > "2.9", TorchVersion("2.13.0") == (2, 13)
    (True, True)
    """

    __slots__ = ()

    def __lt__(self, other: Any) -> bool:
        return _release(self) < _release(other)

    def __le__(self, other: Any) -> bool:
        return _release(self) <= _release(other)

    def __gt__(self, other: Any) -> bool:
        return _release(self) > _release(other)

    def __ge__(self, other: Any) -> bool:
        return _release(self) >= _release(other)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, str) and "+" in other:
            return str.__eq__(self, other)
        return isinstance(other, (str, tuple, list)) and _release(self) == _release(other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = str.__hash__


litengine = "0.1.0"
__version__ = TorchVersion(f"2.13.0+litengine.{litengine}")
debug = False
cuda: str | None = None  # nothing is compiled against a CUDA version; CuPy finds the one that is installed
hip: str | None = None
git_version: str | None = None
