"""``lit report``: run folders as one HTML page, or as curves in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from lit.report.page import make_page
from lit.report.runs import Run, find_runs
from lit.report.terminal import draw_runs
from loggers.files import replace_file

__all__ = ["Run", "draw_in_terminal", "find_runs", "make_page", "write_report"]


def write_report(folders: Sequence[Path], output: Path | None = None, title: str | None = None) -> Path:
    """Write one self-contained HTML page about all runs in ``folders``; returns its path.

    Args:
        folders: run folders, or folders that hold run folders at any depth.
        output: the page; None: ``report.html`` in the first folder.
        title: the page's title; None: the folder's name.

    Raises:
        FileNotFoundError: a folder does not exist, or holds no run.
        OSError: the page cannot be written; an older one is then as it was.

    Example:
        >>> from lit.report import write_report
        >>> logger = pl.loggers.CSVLogger(".", "digits")
        >>> logger.log_metrics({"loss": 0.5}, step=0)
        >>> logger.save()
        >>> print(write_report([Path("digits")]))
        digits/report.html
    """
    runs = find_runs(folders)
    path = output or Path(folders[0], "report.html")
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, make_page(runs, title or Path(folders[0]).resolve().name))
    return path


def draw_in_terminal(folders: Sequence[Path], width: int | None = None) -> str:
    """The curves of all runs in ``folders`` as text.

    Args:
        folders: as for ``write_report``.
        width: characters per line; None: as many as the terminal has.

    Raises:
        FileNotFoundError: a folder does not exist, or holds no run.
    """
    return draw_runs(find_runs(folders), width)
