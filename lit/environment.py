"""Where a run takes place: what a report needs later to say under which circumstances numbers came about."""

from __future__ import annotations

import os
import platform
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import engine


def describe_environment(device: Any, precision: Any) -> dict[str, Any]:
    """Versions, machine, device and precision; nothing that names a person or a host.

    Example:
        >>> from lit.environment import describe_environment
        >>> describe_environment("cpu", "32-true")["device"]
        'cpu'
    """
    return {
        "started": round(time.time(), 3),
        "litengine": engine.version.litengine,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "platform": f"{platform.system()} {platform.machine()}",
        "cpus": os.cpu_count(),
        "device": str(device),
        "precision": str(precision),
        "program": os.path.basename(sys.argv[0]) if sys.argv else "",
        "commit": commit_of(Path.cwd()),
    }


def commit_of(folder: Path) -> str:
    """The Git commit that is checked out at or above ``folder``, read from Git's own files; "" if there is none."""
    for parent in (folder, *folder.parents):
        git = parent / ".git"
        if git.is_dir():
            try:
                head = (git / "HEAD").read_text(encoding="utf-8").strip()
                name = head.removeprefix("ref: ")
                return (git / name).read_text(encoding="utf-8").strip() if name != head else head
            except OSError:  # a branch without a commit, or one that is packed away
                return ""
    return ""
