"""Checkpoint files: where they go, how they are named, and which may be removed."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from callbacks.durations import seconds_of
from callbacks.exceptions import MisconfigurationException
from callbacks.monitor import as_number

if TYPE_CHECKING:
    from lit import Trainer

# {name} or {name:format}
_FIELD = re.compile(r"\{([^{}:]*)(?::([^{}]*))?\}")


def fill_template(template: str, metrics: Mapping[str, Any], insert_names: bool = True, equals: str = "=") -> str:
    """``template`` with every ``{name}`` or ``{name:format}`` replaced by the metric; 0 stands for one never logged.

    Args:
        template: text such as ``"{epoch:02d}-{val/acc:.2f}"``; any name that can be logged may stand in the braces.
        metrics: numbers or 0-d tensors.
        insert_names: whether to write ``name=value`` in place of ``value``.
        equals: what stands between name and value.

    Raises:
        ValueError: the format does not fit the value.

    Example:
        >>> from callbacks.checkpoint_files import fill_template
        >>> fill_template("{epoch:02d}-{val/acc:.2f}", {"epoch": 3, "val/acc": 0.9876})
        'epoch=03-val/acc=0.99'
        >>> fill_template("acc{val/acc:.2f}", {"val/acc": 0.9876}, insert_names=False)
        'acc0.99'
    """

    def fill(field: re.Match[str]) -> str:
        name, spec = field[1], field[2] or ""
        value = as_number(metrics.get(name, 0))
        try:
            text = format(value, spec)
        except ValueError as error:
            raise ValueError(f"filename={template!r}: cannot write {name} = {value!r} as {spec!r}: {error}") from error
        return f"{name}{equals}{text}" if insert_names else text

    return _FIELD.sub(fill, template)


def check_settings(
    mode: str, save_last: Any, save_top_k: int, monitor: str | None, every_n_train_steps: int, every_n_epochs: int,
    train_time_interval: Any,
) -> None:  # fmt: skip
    """Refuse what ModelCheckpoint cannot do.

    Raises:
        MisconfigurationException: naming the argument and what is allowed.
    """
    if mode not in ("min", "max"):
        raise MisconfigurationException(f"ModelCheckpoint(mode={mode!r}): expected 'min' or 'max'.")
    if save_top_k < -1:
        raise MisconfigurationException(f"ModelCheckpoint(save_top_k={save_top_k}): expected -1 or more.")
    if save_last not in (True, False, None, "link"):
        raise MisconfigurationException(
            f"ModelCheckpoint(save_last={save_last!r}): expected True, False, None or 'link'."
        )
    triggers = {
        "every_n_train_steps": every_n_train_steps,
        "every_n_epochs": every_n_epochs,
        "train_time_interval": train_time_interval,
    }
    for name in ("every_n_train_steps", "every_n_epochs"):
        if triggers[name] < 0:
            raise MisconfigurationException(f"ModelCheckpoint({name}={triggers[name]}): expected 0 or more.")
    given = {name: value for name, value in triggers.items() if value not in (0, None)}
    if len(given) > 1:
        call = ", ".join(f"{name}={value!r}" for name, value in given.items())
        raise MisconfigurationException(
            f"ModelCheckpoint({call}): these are mutually exclusive. HINT: add one ModelCheckpoint for each."
        )
    if monitor is None and save_top_k not in (-1, 0, 1):
        raise MisconfigurationException(
            f"ModelCheckpoint(save_top_k={save_top_k}, monitor=None): there is no metric to find the best by;"
            " without `monitor`, `save_top_k` is -1 (keep all), 0 (none) or 1 (the latest)."
        )


def interval_of(given: Any) -> timedelta | None:
    """``train_time_interval`` as a timedelta."""
    return None if given is None else timedelta(seconds=seconds_of("ModelCheckpoint(train_time_interval={})", given))


@contextlib.contextmanager
def restored_on_failure(obj: Any, names: Iterable[str]) -> Iterator[None]:
    """Put the attributes ``names`` back, with the contents they had, if the block ends with an exception."""
    before = {name: copy.copy(getattr(obj, name)) for name in names}
    try:
        yield
    except BaseException:
        vars(obj).update(before)
        raise


def default_folder(trainer: Trainer) -> str:
    """Where checkpoints go unless the user says where: beside the first logger's files, or in the root folder."""
    if not trainer.loggers:
        return os.path.join(trainer.default_root_dir, "checkpoints")
    logger = trainer.loggers[0]
    version = logger.version if isinstance(logger.version, str) else f"version_{logger.version}"
    return os.path.join(logger.save_dir or trainer.default_root_dir, str(logger.name or ""), version, "checkpoints")


def may_remove(path: str, folder: str, resumed_from: str | os.PathLike[str] | None) -> bool:
    """Whether ``path`` is in ``folder``, and not the file that this run started from.

    Example:
        >>> from callbacks.checkpoint_files import may_remove
        >>> may_remove("run/a.ckpt", "run", None), may_remove("elsewhere/a.ckpt", "run", None)
        (True, False)
        >>> may_remove("run/a.ckpt", "run", resumed_from="run/a.ckpt")
        False
    """
    file = os.path.abspath(path)
    if resumed_from is not None and file == os.path.abspath(resumed_from):
        return False
    return file.startswith(os.path.join(os.path.abspath(folder), ""))


def is_later(path: str, start: str | os.PathLike[str] | None, started: float) -> bool:
    """Whether a run that was interrupted wrote ``path`` after the checkpoint ``start``, of the time ``started``.

    Times of files are coarse, so one as old as the checkpoint counts, unless it is the checkpoint itself.
    """
    is_start = start is not None and os.path.abspath(path) == os.path.abspath(start) and not os.path.islink(path)
    return not is_start and os.lstat(path).st_mtime >= started


def link_or_copy(target: str, path: str) -> None:
    """Make ``path`` a relative symbolic link to ``target``, or a copy of it where links are not allowed."""
    temporary = f"{path}.part"  # one name: what a killed run left is written over
    with contextlib.suppress(FileNotFoundError):
        os.unlink(temporary)
    try:
        os.symlink(os.path.relpath(target, os.path.dirname(path)), temporary)
    except OSError:  # Windows without the privilege, or a filesystem without links
        shutil.copy(target, temporary)
    os.replace(temporary, path)
