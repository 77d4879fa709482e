"""The training state in Lightning's own checkpoints: read as ours, and ours written as Lightning reads it.

Lightning counts, per loop, what is ready, started, processed and completed; we say where in an epoch a run is (``Point``).
A file of Lightning's holds no random streams, no place of a loader, no accumulated gradients and no half-reduced metrics:
a run that goes on from one reads its loader again up to its place, with the random streams of the process.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import engine
from lit.rng import collect_rng_states
from lit.state import Point

Content = dict[str, Any]
FOREIGN = "written_by_lightning"
SCORES = ("best_score", "best_model_score", "current_score", "kth_value", "best_k_models")
LOOPS = ("validate_loop", "test_loop", "predict_loop")


def is_lightnings(checkpoint: Mapping[str, Any]) -> bool:
    """Whether the state of the loop is of Lightning's kind."""
    return "epoch_progress" in checkpoint.get("loops", {}).get("fit_loop", {})


def from_lightning(checkpoint: Content) -> Content:
    """The checkpoint with its loop's state as our version 1 had it (lit/migration.py fills in the rest).

    Example:
        >>> from lit.lightning_files import from_lightning
        >>> counts = {"ready": 3, "started": 3, "processed": 3, "completed": 2}
        >>> loop = {"epoch_progress": {"current": {"ready": 2, "processed": 1}}, "epoch_loop.state_dict": {},
        ...         "epoch_loop.batch_progress": {"current": counts, "total": {"processed": 7}, "is_last_batch": False}}
        >>> ours = from_lightning({"global_step": 7, "loops": {"fit_loop": loop}})["loops"]["fit_loop"]["progress"]
        >>> ours["current_epoch"], ours["batches_done"], str(ours["point"])
        (1, 3, 'batch_end')
    """
    loop = checkpoint["loops"]["fit_loop"]
    epochs, batches = loop["epoch_progress"]["current"], loop["epoch_loop.batch_progress"]
    now = batches["current"]
    if epochs["ready"] == epochs["processed"]:  # the batches of that epoch are done, and so are its hooks
        epoch, done, point = epochs["ready"], 0, Point.EPOCH_START
    else:
        epoch, done = max(epochs["ready"] - 1, 0), now["processed"]
        if now["ready"] > now["processed"]:
            point = Point.BETWEEN_BATCHES if done else Point.EPOCH_START
        else:
            point = Point.BATCH_END if now["completed"] < now["processed"] else Point.VALIDATED
    progress = {
        "current_epoch": epoch,
        "global_step": checkpoint["global_step"],
        "batches_that_stepped": loop["epoch_loop.state_dict"].get("_batches_that_stepped", checkpoint["global_step"]),
        "batches_done": done,
        "total_batches_done": batches["total"]["processed"],
        "epoch_cut_short": False,
        "point": str(point),
    }
    loops = {"fit_loop": {"progress": progress, "metrics": {"train": []}}}
    return {**checkpoint, "loops": loops, "rng_states": collect_rng_states(), FOREIGN: True}


def loops_for_lightning(checkpoint: Mapping[str, Any]) -> Content:
    """What Lightning keeps under "loops", from what a checkpoint of ours says."""
    progress = checkpoint.get("loops", {}).get("fit_loop", {}).get("progress", {})
    epoch, steps = progress.get("current_epoch", checkpoint["epoch"]), checkpoint["global_step"]
    point = progress.get("point", str(Point.EPOCH_START))
    at_end, between = point == Point.EPOCH_END, point == Point.EPOCH_START
    done, total = progress.get("batches_done", 0), progress.get("total_batches_done", steps)
    ended = between and epoch > 0
    counts = {"total": _counts(total), "current": _counts(done), "is_last_batch": at_end or ended}
    if point == Point.BATCH_END:
        counts["total"]["completed"] -= 1
        counts["current"]["completed"] -= 1
    epochs = {**_counts(epoch), **({} if between else {"ready": epoch + 1, "started": epoch + 1})}
    if at_end:
        epochs["processed"] = epoch + 1
    optimizer = {"step": _twice(steps, "ready", "completed"), "zero_grad": _twice(steps, "ready", "started", "completed")}
    nothing = {"total": _counts(0), "current": _counts(0), "is_last_batch": False}
    fit = {
        "state_dict": {},
        "epoch_loop.state_dict": {"_batches_that_stepped": progress.get("batches_that_stepped", steps)},
        "epoch_loop.batch_progress": counts,
        "epoch_loop.scheduler_progress": _twice(0, "ready", "completed"),
        "epoch_loop.automatic_optimization.state_dict": {},
        "epoch_loop.automatic_optimization.optim_progress": {"optimizer": optimizer},
        "epoch_loop.manual_optimization.state_dict": {},
        "epoch_loop.manual_optimization.optim_step_progress": _twice(steps, "ready", "completed"),
        "epoch_loop.val_loop.state_dict": {},
        "epoch_loop.val_loop.batch_progress": nothing,
        "epoch_progress": {"total": dict(epochs), "current": epochs},
    }
    return {"fit_loop": fit, **{name: {"state_dict": {}, "batch_progress": nothing} for name in LOOPS}}


def callbacks_for_lightning(states: Mapping[str, Any]) -> Content:
    """The states of callbacks, with the scores of EarlyStopping and ModelCheckpoint as tensors."""

    def scores(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {name: scores(item) for name, item in value.items()}
        return engine.tensor(value) if isinstance(value, float) else value

    return {
        key: {name: scores(value) if name in SCORES else value for name, value in state.items()}
        for key, state in states.items()
    }


def _counts(number: int) -> dict[str, int]:
    return dict.fromkeys(("ready", "started", "processed", "completed"), number)


def _twice(number: int, *names: str) -> dict[str, dict[str, int]]:
    return {when: dict.fromkeys(names, number) for when in ("total", "current")}
