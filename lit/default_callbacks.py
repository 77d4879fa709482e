"""The callbacks and loggers that a Trainer brings along when the user passes none."""

from __future__ import annotations

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Any

from callbacks import Callback, MisconfigurationException
from lit.hooks import is_overridden, order_callbacks


def make_callbacks(
    given: Any,
    enable_checkpointing: bool,
    enable_progress_bar: bool,
    enable_model_summary: bool,
    max_time: Any,
) -> list[Callback]:
    """The user's callbacks, followed by the missing defaults, in calling order.

    Raises:
        TypeError: something is not a Callback.
        RuntimeError: two callbacks share the name of their state.
        MisconfigurationException: a callback is passed whose kind is turned off.
    """
    callbacks = [] if given is None else list(given) if isinstance(given, (list, tuple)) else [given]
    for callback in callbacks:
        if not isinstance(callback, Callback):
            raise TypeError(f"Trainer(callbacks=...): expected Callback objects, got {callback!r}.")
    roles = [callback.role for callback in callbacks]
    _refuse_contradiction(roles, "checkpoint", "enable_checkpointing", enable_checkpointing)
    _refuse_contradiction(roles, "progress_bar", "enable_progress_bar", enable_progress_bar)
    if roles.count("progress_bar") > 1:
        raise MisconfigurationException("Trainer(callbacks=...): there is more than one progress bar.")
    if max_time is not None and "timer" not in roles:
        from callbacks import Timer

        callbacks.append(Timer(duration=max_time))
    if enable_progress_bar and "progress_bar" not in roles:
        from callbacks import TQDMProgressBar

        callbacks.append(TQDMProgressBar())
    if enable_model_summary and "model_summary" not in roles:
        from callbacks import ModelSummary

        callbacks.append(ModelSummary())
    if enable_checkpointing and "checkpoint" not in roles:
        from callbacks import ModelCheckpoint

        callbacks.append(ModelCheckpoint())
    _check_state_keys(callbacks)
    return order_callbacks(callbacks)


def _check_state_keys(callbacks: list[Callback]) -> None:
    """Two callbacks with a state must not share the place in the checkpoint where it is kept."""
    stateful = [callback for callback in callbacks if is_overridden("state_dict", callback, Callback)]
    keys = [callback.state_key for callback in stateful]
    for callback, key in zip(stateful, keys, strict=True):
        if keys.count(key) > 1:
            raise RuntimeError(
                f"Trainer(callbacks=...): several {type(callback).__name__} would keep their state under the same name"
                f" {key!r}. HINT: override the property `state_key` so that it tells them apart."
            )


def _refuse_contradiction(roles: list[str | None], role: str, flag: str, enabled: bool) -> None:
    if role in roles and not enabled:
        raise MisconfigurationException(
            f"Trainer({flag}=False) contradicts the {role.replace('_', ' ')} callback in `callbacks`."
            " HINT: remove one of them."
        )


def attach_module_callbacks(callbacks: list[Callback], from_module: Any) -> list[Callback]:
    """What ``configure_callbacks`` returned, in place of callbacks of the same type, in calling order.

    Raises:
        TypeError: it returned something else than callbacks.
    """
    added = list(from_module) if isinstance(from_module, (list, tuple)) else [from_module]
    for callback in added:
        if not isinstance(callback, Callback):
            raise TypeError(f"`configure_callbacks` returned {callback!r}; expected Callback objects.")
    types = {type(callback) for callback in added}
    together = [*(callback for callback in callbacks if type(callback) not in types), *added]
    _check_state_keys(together)
    return order_callbacks(together)


def make_loggers(logger: Any, root_dir: str, fast_dev_run: bool) -> list[Any]:
    """The list of loggers that the flag asks for; a silent one during ``fast_dev_run``.

    Raises:
        TypeError: something is not a logger.
    """
    from loggers import CSVLogger, DummyLogger, Logger, TensorBoardLogger

    if not logger:
        return []
    if logger is True:
        if fast_dev_run:
            return [DummyLogger()]
        # find_spec, not import: a program that logs nothing must not wait for tensorboardX.
        return [(TensorBoardLogger if find_spec("tensorboardX") else CSVLogger)(save_dir=root_dir)]
    loggers = list(logger) if isinstance(logger, Iterable) else [logger]
    for item in loggers:
        if not isinstance(item, Logger):
            raise TypeError(f"Trainer(logger={logger!r}): expected True, False, a Logger or a list of them.")
    return [DummyLogger()] if fast_dev_run and loggers else loggers
