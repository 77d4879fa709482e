"""Turning off single warnings. Every warning of lit, callbacks and loggers begins with its code, as in ``[W109] ...``."""

from __future__ import annotations

import os
import re
import warnings

CODE = re.compile(r"W\d{3}")
VARIABLE = "LITENGINE_SILENCE"


def silence(*codes: str) -> None:
    """Do not show the warnings with these codes any more; ``docs/warnings.md`` lists them.

    The environment variable ``LITENGINE_SILENCE`` ("W109,W118", or "all") does the same for programs that one does not
    want to change. They are ordinary Python warnings: ``warnings.filterwarnings("error", r"\\[W109\\]")`` works as well.

    Args:
        *codes: codes such as "W109", or "all".

    Raises:
        ValueError: something is not a code.

    Example:
        >>> pl.silence("W104")
        >>> module = pl.LightningModule()
        >>> module.log("loss", 1.0)  # warns otherwise: no Trainer is attached
    """
    for code in codes:
        if code != "all" and not CODE.fullmatch(code):
            raise ValueError(f"silence({code!r}): expected a code such as 'W109', or 'all'.")
        pattern = CODE.pattern if code == "all" else code
        warnings.filterwarnings("ignore", message=rf"\[{pattern}\]")


def silence_from_environment() -> None:
    """Apply ``LITENGINE_SILENCE``."""
    found = os.environ.get(VARIABLE, "")
    silence(*(code for code in found.replace(",", " ").split()))
