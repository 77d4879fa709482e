"""Checking the Trainer's flags, and the spellings of older releases."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable
from typing import Any

import engine
from callbacks import MisconfigurationException
from engine.errors import did_you_mean, not_supported

OLD_IN_WORDS = {
    "auto_lr_find": "call lit.tuner.Tuner(trainer).lr_find(model) before fit",
    "auto_scale_batch_size": "call lit.tuner.Tuner(trainer).scale_batch_size(model) before fit",
    "auto_select_gpus": "use Trainer(devices=1)",
    "amp_backend": "leave it out",
    "amp_level": "leave it out",
    "multiple_trainloader_mode": "return a CombinedLoader(loaders, mode) from train_dataloader",
    "tpu_cores": "use Trainer(accelerator='cpu') or 'gpu'",
    "track_grad_norm": "log the norm in on_before_optimizer_step",
    "truncated_bptt_steps": "cut the sequence in training_step, with manual optimization",
    "weights_save_path": "use ModelCheckpoint(dirpath=...)",
}


def accepts_old_spellings(init: Callable[..., None]) -> Callable[..., None]:
    """Let ``Trainer.__init__`` take the flags of older releases, with a DeprecationWarning, and name unknown ones."""
    known = [name for name in inspect.signature(init).parameters if name != "self"]

    @functools.wraps(init)
    def wrapper(self: Any, **flags: Any) -> None:
        for name in [name for name in flags if name not in known]:
            _translate(name, flags.pop(name), flags, known)
        resume = flags.pop("_resume_from_checkpoint", None)
        self.flags_given = dict(flags)
        init(self, **flags)
        self._resume_from_checkpoint = resume

    return wrapper


def _translate(name: str, value: Any, flags: dict[str, Any], known: list[str]) -> None:
    if name in OLD_IN_WORDS:
        raise TypeError(f"Trainer({name}={value!r}) does not exist any more. HINT: {OLD_IN_WORDS[name]}.")
    instead: dict[str, Any]
    if name == "gpus":
        instead = {} if value in (None, 0, "0", []) else _instead_of_gpus(value)
    elif name == "num_processes":
        instead = {"devices": value}
    elif name == "checkpoint_callback":
        is_flag = value is None or isinstance(value, bool)
        instead = {"enable_checkpointing": bool(value)} if is_flag else {"callbacks": _appended(flags, value)}
    elif name == "progress_bar_refresh_rate":
        instead = {} if value is None else {"enable_progress_bar": value != 0}
    elif name == "weights_summary":
        instead = {"enable_model_summary": value is not None}
    elif name == "terminate_on_nan":
        instead = {"detect_anomaly": bool(value)}
    elif name == "replace_sampler_ddp":
        instead = {"use_distributed_sampler": value}
    elif name == "flush_logs_every_n_steps":
        instead = {}
    elif name == "resume_from_checkpoint":
        _deprecated(name, value, "pass Trainer.fit(..., ckpt_path=...)")
        flags["_resume_from_checkpoint"] = value
        return
    else:
        raise TypeError(f"Trainer() got an unexpected flag '{name}'.{did_you_mean(name, known)}")
    words = ", ".join(f"{flag}={new!r}" for flag, new in instead.items())
    _deprecated(name, value, f"use Trainer({words})" if instead else "leave it out")
    flags.update(instead)


def _instead_of_gpus(value: Any) -> dict[str, Any]:
    """Old programs say ``gpus=1`` everywhere; on a machine without a GPU they shall still run, and say so."""
    if engine.cuda.is_available():
        return {"accelerator": "gpu", "devices": value}
    warnings.warn(
        f"[W105] Trainer(gpus={value!r}): no usable GPU was found, training on the CPU."
        " HINT: on a machine with an NVIDIA GPU: pip install 'litengine[cuda12]' (or [cuda13]).",
        stacklevel=4,
    )
    return {"accelerator": "cpu"}


def _appended(flags: dict[str, Any], callback: Any) -> list[Any]:
    given = flags.get("callbacks") or []
    return [*(given if isinstance(given, (list, tuple)) else [given]), callback]


def _deprecated(name: str, value: Any, instead: str) -> None:
    # Level 4 is the line with Trainer(...): _deprecated <- _translate <- wrapper <- the user.
    warnings.warn(f"[W106] Trainer({name}={value!r}) is an old spelling. HINT: {instead}.", DeprecationWarning, stacklevel=4)


def batch_limit(name: str, value: Any) -> int | float:
    """A number of batches (int), or a share of them (float from 0 to 1); None means all."""
    if value is None:
        return 1.0
    good_int = isinstance(value, int) and not isinstance(value, bool) and value >= 0
    good_float = isinstance(value, float) and (0.0 <= value <= 1.0 or value.is_integer() and value > 1)
    if not (good_int or good_float):
        raise MisconfigurationException(
            f"Trainer({name}={value!r}): expected a number of batches (int, 0 or more) or a share of them (float from"
            " 0.0 to 1.0)."
        )
    return value if value <= 1 else int(value)


def sanity_steps(value: int | None) -> int | float:
    """``num_sanity_val_steps``: 2 if not given, inf for -1 (all batches)."""
    if value is None:
        return 2
    if not isinstance(value, int) or isinstance(value, bool) or value < -1:
        raise MisconfigurationException(
            f"Trainer(num_sanity_val_steps={value!r}): expected an integer of at least -1 (-1: all batches)."
        )
    return float("inf") if value == -1 else value


def check_counts(**counts: Any) -> None:
    """Each of ``counts`` must be None or an integer of at least -1 (``max_*``), 0 or 1.

    Raises:
        MisconfigurationException: naming the first that is not.
    """
    least = {"max_epochs": -1, "max_steps": -1, "accumulate_grad_batches": 1}
    for name, value in counts.items():
        smallest = least.get(name, 0)
        if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < smallest):
            raise MisconfigurationException(
                f"Trainer({name}={value!r}): expected an integer of at least {smallest}"
                f"{' (-1: no limit)' if smallest == -1 else ''}."
            )


def check_clipping(value: Any, algorithm: Any) -> None:
    """``gradient_clip_val`` must be a number of at least 0, ``gradient_clip_algorithm`` "norm" or "value"."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if value is not None and not is_number:
        raise TypeError(f"Trainer(gradient_clip_val={value!r}): expected a number, got {type(value).__name__}.")
    if value is not None and value < 0:
        raise MisconfigurationException(f"Trainer(gradient_clip_val={value!r}): expected 0 or more.")
    if algorithm is not None and str(algorithm).lower() not in ("norm", "value"):
        raise MisconfigurationException(f"Trainer(gradient_clip_algorithm={algorithm!r}): expected 'norm' or 'value'.")


def refuse_unsupported(model_registry: Any) -> None:
    """The flag we know and do not have.

    Raises:
        NotImplementedError: it is set.
    """
    if model_registry is not None:
        raise not_supported(f"Trainer(model_registry={model_registry!r})", "save with ModelCheckpoint.")


def check_barebones(**given: Any) -> None:
    """``barebones=True`` turns these flags off.

    Raises:
        ValueError: one of them was turned on explicitly.
    """
    for name, value in given.items():
        if value:
            raise ValueError(f"Trainer(barebones=True, {name}={value!r}): barebones turns {name} off.")
