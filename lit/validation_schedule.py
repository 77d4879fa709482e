"""When validation runs inside fit: ``Trainer(val_check_interval=..., check_val_every_n_epoch=...)`` in all their meanings."""

from __future__ import annotations

import time
from datetime import timedelta
from math import inf
from typing import TYPE_CHECKING, Any, NamedTuple

from callbacks import MisconfigurationException
from callbacks.durations import SECONDS, TIMES, amount_of, seconds_of
from lit.flags import batch_limit

if TYPE_CHECKING:
    from lit.trainer import Trainer

ARGUMENT = "Trainer(val_check_interval={})"


class Schedule(NamedTuple):
    """The two flags, understood. One of the first three counts, the others are None."""

    interval: int | float | None  # batches (int), or a share of an epoch (float)
    seconds: float | None
    steps: int | None  # optimizer steps
    every_n_epoch: int | None  # None: batches are counted over the whole run


def schedule_of(interval: Any, every_n_epoch: int | None) -> Schedule:
    """What the flags mean.

    Raises:
        MisconfigurationException: a value is not allowed, or the two contradict.

    Example:
        >>> from lit.validation_schedule import schedule_of
        >>> schedule_of("500 steps", 1).steps, schedule_of("10 min", 1).seconds, schedule_of("0.25 epoch", 1).interval
        (500, 600.0, 0.25)
    """
    if every_n_epoch is not None and not (isinstance(every_n_epoch, int) and every_n_epoch >= 1):
        raise MisconfigurationException(
            f"Trainer(check_val_every_n_epoch={every_n_epoch!r}): expected a positive integer or None."
        )
    if isinstance(interval, str):
        return _of_text(interval, every_n_epoch)
    if isinstance(interval, (timedelta, dict)):
        return Schedule(None, seconds_of(ARGUMENT, interval), None, every_n_epoch)
    interval = 1.0 if interval is None else batch_limit("val_check_interval", interval)
    if every_n_epoch is None and isinstance(interval, float):
        raise MisconfigurationException(
            f"Trainer(check_val_every_n_epoch=None, val_check_interval={interval!r}): batches are counted across epochs"
            " here, so val_check_interval must be an integer or a time."
        )
    if interval == 0:
        raise MisconfigurationException(
            f"Trainer(val_check_interval={interval!r}): expected more than 0. HINT: limit_val_batches=0 turns it off."
        )
    return Schedule(interval, None, None, every_n_epoch)


def _of_text(text: str, every_n_epoch: int | None) -> Schedule:
    amount = amount_of(text)
    if amount is None or amount[1] in SECONDS:
        expected = f"{TIMES}; '500 steps' (of the optimizer), '500 batches' or '0.25 epoch'"
        try:
            return Schedule(None, seconds_of(ARGUMENT, text), None, every_n_epoch)
        except MisconfigurationException:
            raise MisconfigurationException(f"{ARGUMENT.format(repr(text))}: expected {expected}.") from None
    number, unit = amount
    if unit != "epoch" and (number < 1 or number != int(number)):
        raise MisconfigurationException(f"{ARGUMENT.format(repr(text))}: expected a positive whole number.")
    if number == 0:
        raise MisconfigurationException(
            f"{ARGUMENT.format(repr(text))}: expected more than 0. HINT: limit_val_batches=0 turns it off."
        )
    if unit == "step":
        return Schedule(None, None, int(number), every_n_epoch)
    if unit == "epoch" and number <= 1:
        return Schedule(number, None, None, every_n_epoch or 1)
    if every_n_epoch not in (1, None):
        raise MisconfigurationException(
            f"Trainer(check_val_every_n_epoch={every_n_epoch}, val_check_interval={text!r}): the second is counted over"
            " the whole run. HINT: leave the first out."
        )
    if unit == "epoch" and number == int(number):
        return Schedule(1.0, None, None, int(number))
    return Schedule(number if unit == "epoch" else int(number), None, None, None)


def batches_between(trainer: Trainer, max_batches: int | float) -> int | float:
    """Training batches from one validation to the next, in epochs of ``max_batches``; inf where these do not count.

    Raises:
        ValueError: an epoch has fewer batches than that.
        MisconfigurationException: a share of a loader without a length is asked for.
    """
    interval = trainer.val_check_interval
    if interval is None:
        return inf
    if isinstance(interval, int):
        within_epoch = trainer.check_val_every_n_epoch is not None
        if interval > max_batches and within_epoch and trainer.enable_validation:
            raise ValueError(
                f"Trainer(val_check_interval={interval}): an epoch has only {max_batches} training batches."
                " HINT: Trainer(check_val_every_n_epoch=None) counts batches across epochs, and"
                " Trainer(limit_val_batches=0) turns validation off."
            )
        return interval
    if max_batches == inf:
        if interval == 1.0:
            return inf
        raise MisconfigurationException(
            f"Trainer(val_check_interval={interval}): a share of a training loader without a length is unknown."
            " HINT: use an integer, a time, or 1.0."
        )
    return max(1, int(max_batches * interval))


def is_due(trainer: Trainer) -> bool:
    """Whether validation comes after the training batch that has just been done."""
    state, every = trainer.state, trainer.fit_loop.data.val_check_batch
    if trainer.val_check_seconds is not None:
        return time.monotonic() - state.last_validation_time >= trainer.val_check_seconds
    if trainer.val_check_steps is not None:  # in manual optimization a batch may take several steps
        return state.global_step // trainer.val_check_steps > state.steps_before_batch // trainer.val_check_steps
    if every == inf or trainer.fit_loop.by_iterator and state.is_last_batch:  # there a step may take several batches
        return state.is_last_batch
    batches = state.total_batches_done if trainer.check_val_every_n_epoch is None else state.batches_done
    return batches % every == 0


def in_words(trainer: Trainer) -> str:
    """When validation runs, for ``Trainer.explain()``."""
    every, interval = trainer.check_val_every_n_epoch, trainer.val_check_interval
    moment = "counted over epochs" if every is None else "in every epoch" if every == 1 else f"in every {every}. epoch"
    if trainer.val_check_seconds is not None:
        when = f"every {trainer.val_check_seconds:g} seconds"
    elif trainer.val_check_steps is not None:
        when = f"every {trainer.val_check_steps} optimizer steps"
    elif isinstance(interval, int):
        when = f"every {interval} batches"
    else:
        when = "at the end" if interval == 1.0 else f"after each {interval:.0%} of the batches"
    return f"validation runs {moment}, {when}"
