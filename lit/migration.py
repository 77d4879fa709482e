"""Checkpoints of earlier versions, brought up to the present one."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine.serialization import CheckpointError
from lit.lightning_files import from_lightning, is_lightnings

VERSION = 3
Checkpoint = dict[str, Any]


def migrated(checkpoint: Checkpoint, path: Any) -> Checkpoint:
    """``checkpoint`` as this version writes it; of one of Lightning's own, what has a counterpart here.

    Raises:
        engine.serialization.CheckpointError: it is of a later version.

    Example:
        >>> from lit.migration import VERSION, migrated
        >>> old = {"loops": {"fit_loop": {"progress": {"batches_done": 3}, "metrics": {"train": []}}}}
        >>> migrated(old, "old.ckpt")["loops"]["version"] == VERSION
        True
    """
    if is_lightnings(checkpoint):
        checkpoint = from_lightning(checkpoint)
    loops = checkpoint.get("loops", {})
    if "progress" not in loops.get("fit_loop", {}):  # by other software
        return checkpoint
    version = loops.get("version", 1)
    if version > VERSION:
        raise CheckpointError(
            f"cannot load {path}: its training state is of version {version}, and this litengine reads up to {VERSION}."
            " HINT: pip install --upgrade litengine"
        )
    for step in STEPS[version - 1 :]:
        checkpoint = step(checkpoint)
    return checkpoint


def _from_1(checkpoint: Checkpoint) -> Checkpoint:
    """Version 1 was written at optimizer steps only, and loaders were read again up to their place."""
    fit = dict(checkpoint["loops"]["fit_loop"])
    fit["progress"] = {"should_stop": False, **fit["progress"]}
    entries = [{**entry, "fresh": True} for entry in fit["metrics"]["train"]]
    fit["metrics"] = {
        "callback_metrics": {}, "logged_metrics": {}, "bar_metrics": {}, "evaluation": [],
        **fit["metrics"], "train": entries,
    }  # fmt: skip
    passes = [{"loader": None, "batches": fit["progress"]["batches_done"]}]
    added: dict[str, Any] = {
        "loggers": [],
        "rng_at_epoch_start": None,
        "train_data": {"passes": passes, "streams": None, "loaded_in_epoch": -1},
        "validation": {"loaders": None, "loaded_in_epoch": -1, "steps": [], "walk": None},
        "gradients": {},
        "window": {"size": 1, "weight": 0.0, "weighted": False},
        "module_flags": None,
        "batch": None,
        "seconds_since_validation": 0.0,
    }
    return {**checkpoint, "loops": {"version": 2, "fit_loop": {**added, **fit}}}


def _from_2(checkpoint: Checkpoint) -> Checkpoint:
    """Version 2 did not say how many steps had been taken when the batch began."""
    fit = checkpoint["loops"]["fit_loop"]
    progress = {"steps_before_batch": fit["progress"].get("global_step", 0), **fit["progress"]}
    return {**checkpoint, "loops": {"version": 3, "fit_loop": {**fit, "progress": progress}}}


STEPS: tuple[Callable[[Checkpoint], Checkpoint], ...] = (_from_1, _from_2)  # the first brings version 1 to 2, and so on
