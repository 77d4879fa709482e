"""The package ``rich``, which an extra of this software brings."""

from __future__ import annotations

from importlib.util import find_spec


def require_rich(who: str) -> None:
    """Raise ModuleNotFoundError, with what to do, if ``rich`` is not installed."""
    if find_spec("rich") is None:
        raise ModuleNotFoundError(f"{who} needs the package `rich`. HINT: pip install 'litengine[rich]'.")
