"""Checkpoints: what a file holds, writing it, and taking a run or a module back from it.

The file itself (one safetensors file, atomic, with a checksum) is engine.serialization's; see docs for the format.
"""

from __future__ import annotations

import csv
import inspect
import warnings
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from engine import serialization
from lit.hparams import AttributeDict, storable_hparams
from lit.lightning_files import FOREIGN
from lit.migration import VERSION, migrated
from lit.plugins.io import CheckpointIO, FileCheckpointIO
from lit.preemption import CHECKPOINT_NAME
from lit.resume import fit_state, restore_fit
from lit.rng import collect_rng_states
from lit.state import TrainerStatus

if TYPE_CHECKING:
    from lit.trainer import Trainer

LIGHTNING_VERSION = "2.6.6"  # whose keys and meanings the checkpoint follows
REQUIRED_KEYS = ("epoch", "global_step", "state_dict")


def dump_checkpoint(trainer: Trainer, weights_only: bool = False) -> dict[str, Any]:
    """Everything a checkpoint holds, as one nested dict; ``weights_only`` leaves the training state out."""
    module, datamodule = trainer.lightning_module, trainer.datamodule
    if module is None:
        raise AttributeError(
            "Trainer.save_checkpoint(...): no model is attached. HINT: call fit, validate, test or predict first."
        )
    checkpoint: dict[str, Any] = {
        "epoch": trainer.current_epoch,
        "global_step": trainer.global_step,
        "pytorch-lightning_version": LIGHTNING_VERSION,
        "state_dict": module.state_dict(),
        "loops": {
            "version": VERSION,
            "fit_loop": {"progress": trainer.state.state_dict()} if weights_only else fit_state(trainer),
        },
    }
    if not weights_only:
        checkpoint["callbacks"] = _callback_states(trainer)
        checkpoint["optimizer_states"] = [optimizer.state_dict() for optimizer in trainer.optimizers]
        checkpoint["lr_schedulers"] = [config.scheduler.state_dict() for config in trainer.lr_scheduler_configs]
        checkpoint["rng_states"] = collect_rng_states()
        if scaler := trainer.precision_plugin.state_dict():
            checkpoint[trainer.precision_plugin.CHECKPOINT_KEY] = scaler
    for owner in (module, datamodule):
        if owner is not None and owner.hparams:
            if hasattr(owner, "_hparams_name"):
                checkpoint[owner.CHECKPOINT_HYPER_PARAMS_NAME] = owner._hparams_name
            checkpoint[owner.CHECKPOINT_HYPER_PARAMS_KEY] = storable_hparams(owner)
    if datamodule is not None:
        state = trainer.hooks.call_on(datamodule, "state_dict")
        if state:
            checkpoint[type(datamodule).__qualname__] = state
    if not weights_only:
        for callback in trainer.callbacks:
            trainer.hooks.call_on(callback, "on_save_checkpoint", trainer, module, checkpoint)
    trainer.hooks.call_on(module, "on_save_checkpoint", checkpoint)
    return checkpoint


def _callback_states(trainer: Trainer) -> dict[str, Any]:
    states = dict(trainer.unclaimed_states)
    for callback in trainer.callbacks:
        state = trainer.hooks.call_on(callback, "state_dict")
        if state:
            states[callback.state_key] = state
    return states


def save_checkpoint(trainer: Trainer, filepath: Any, weights_only: bool = False, storage_options: Any = None) -> None:
    """Write a checkpoint; a failure leaves an older file of that name as it was.

    Raises:
        OSError: the file cannot be written (folder missing and not creatable, disk full, ...), or the one before it
            could not be made durable.
    """
    writer = trainer.strategy.checkpoint_io
    writer.wait()  # so that a failure is heard of, and what the file before replaces is gone before this one says so
    writer.save_checkpoint(dump_checkpoint(trainer, weights_only), filepath, storage_options)
    if trainer.state.status != TrainerStatus.RUNNING:
        writer.teardown()


def load_checkpoint(
    path: Any, map_location: Any = None, checkpoint_io: CheckpointIO | None = None
) -> dict[str, Any]:
    """Read a checkpoint file.

    Raises:
        FileNotFoundError: there is no such file.
        engine.serialization.CheckpointError: it is truncated, not a checkpoint, or from a newer version.
    """
    checkpoint = (checkpoint_io or FileCheckpointIO()).load_checkpoint(path, map_location)
    missing = [key for key in REQUIRED_KEYS if not isinstance(checkpoint, Mapping) or key not in checkpoint]
    if missing:
        raise serialization.CheckpointError(
            f"{str(path)!r} is not a checkpoint of a Trainer: it has no {missing[0]!r}."
            " HINT: weights alone are loaded with module.load_state_dict(engine.load(path))."
        )
    return checkpoint if "optimizer_states" not in checkpoint else migrated(dict(checkpoint), path)


# ---------------------------------------------------------------------- which file


def find_checkpoint(trainer: Trainer, ckpt_path: Any, model_given: bool) -> Path | None:
    """The file that ``ckpt_path`` means: a path, "last", "best", or None.

    Raises:
        ValueError: "best" or "last" cannot be answered.
    """
    fn = trainer.state.fn
    if ckpt_path is None:
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if fn == "fit" or model_given or not best:
            return None
        warnings.warn(
            f"[W115] Trainer.{fn}(...) without a model uses the best checkpoint of the fit before ({best})."
            " HINT: pass the model to use its current weights, or ckpt_path='best' to say so.",
            stacklevel=6,
        )
        return Path(best)
    if ckpt_path == "best":
        best = getattr(trainer.checkpoint_callback, "best_model_path", "")
        if not best:
            raise ValueError(
                f"Trainer.{fn}(ckpt_path='best'): there is no best checkpoint yet."
                " HINT: fit first, with a ModelCheckpoint."
            )
        return Path(best)
    if ckpt_path in ("hpc", "registry"):
        raise NotImplementedError(
            f"Trainer.{fn}(ckpt_path={ckpt_path!r}) is not supported. HINT: pass the path of the file."
        )
    return Path(ckpt_path)


def open_checkpoint(
    trainer: Trainer, ckpt_path: Any, model_given: bool
) -> tuple[Path, dict[str, Any]] | tuple[None, None]:
    """The file that ``ckpt_path`` means, and its content. Of "last", a damaged file is reported and the one before taken.

    Raises:
        engine.serialization.CheckpointError: the file is damaged; with "last", every file that was found is.
    """
    reader = trainer.strategy.checkpoint_io
    if ckpt_path != "last":
        path = find_checkpoint(trainer, ckpt_path, model_given)
        return (None, None) if path is None else (path, load_checkpoint(path, checkpoint_io=reader))
    failure = None
    for path in _last_checkpoints(trainer):
        try:
            checkpoint = load_checkpoint(path, checkpoint_io=reader)
        except serialization.CheckpointError as error:
            failure = error
            warnings.warn(
                f"[W125] Trainer.{trainer.state.fn}(ckpt_path='last'): {error}. The checkpoint before it is tried."
                " HINT: remove the damaged file.",
                stacklevel=5,
            )
            continue
        if trainer.state.fn != "fit" or "optimizer_states" in checkpoint:
            return path, checkpoint
    if failure is not None:
        raise failure
    warnings.warn(
        f"[W116] Trainer.{trainer.state.fn}(ckpt_path='last'): no last checkpoint was found, so none is loaded."
        " HINT: ModelCheckpoint(dirpath=..., save_last=True) writes it.",
        stacklevel=5,
    )
    return None, None


def _last_checkpoints(trainer: Trainer) -> list[Path]:
    """Checkpoints that a run may go on from, in the order in which to try them.

    First those that a checkpoint callback of this Trainer, or of one like it before, wrote as its last, and that of a
    preempted run; then all others beside them; the newest first.
    """
    folders = [Path(trainer.default_root_dir) / "checkpoints"]
    for logger in trainer.loggers:  # every version of the experiment has its own folder
        folders += Path(logger.root_dir).glob("*/checkpoints") if logger.root_dir else []
    candidates = []
    for callback in trainer.checkpoint_callbacks:
        own = getattr(callback, "dirpath", None)
        name = getattr(callback, "CHECKPOINT_NAME_LAST", "last")
        candidates += [path for folder in ([Path(own)] if own else folders) for path in folder.glob(f"*{name}*.ckpt")]
        folders += [Path(own)] if own else []
    folders.append(Path(trainer.default_root_dir))
    candidates += [path for folder in folders if (path := folder / CHECKPOINT_NAME).is_file()]
    others = {path for folder in folders for path in folder.glob("*.ckpt")} - set(candidates)
    found = [sorted(set(group), key=lambda path: path.stat().st_mtime, reverse=True) for group in (candidates, others)]
    return [*found[0], *found[1]]


# ---------------------------------------------------------------------- back into a run


def restore_model_and_callbacks(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Weights, the datamodule's state, and the callbacks' states."""
    module, datamodule, hooks = trainer.lightning_module, trainer.datamodule, trainer.hooks
    hooks.call_on(module, "on_load_checkpoint", checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading)
    if datamodule is not None and type(datamodule).__qualname__ in checkpoint:
        hooks.call_on(datamodule, "load_state_dict", checkpoint[type(datamodule).__qualname__])
    if "callbacks" not in checkpoint or not _has_our_loop(checkpoint):  # only weights, or by other software
        return
    states = dict(checkpoint["callbacks"])
    for callback in trainer.callbacks:
        hooks.call_on(callback, "on_load_checkpoint", trainer, module, checkpoint)
    for callback in trainer.callbacks:
        if callback.state_key in states:
            try:
                hooks.call_on(callback, "load_state_dict", states.pop(callback.state_key))
            except (KeyError, TypeError, AttributeError, ValueError) as error:
                if FOREIGN not in checkpoint:
                    raise
                warnings.warn(
                    f"[W128] The checkpoint was written by Lightning, whose {type(callback).__name__} keeps another state than"
                    f" ours ({type(error).__name__}: {error}): this callback begins anew. HINT: it is all that is left out.",
                    stacklevel=2,
                )
    trainer.unclaimed_states = states
    if states:
        warnings.warn(
            f"[W117] The checkpoint holds the state of callbacks that this Trainer does not have: {', '.join(states)}."
            " It is kept, and written to this run's checkpoints. HINT: pass the callbacks to let them go on.",
            stacklevel=2,
        )


def resume_loggers(trainer: Trainer, checkpoint: dict[str, Any] | None, same_run: bool) -> None:
    """Cut the logs where the checkpoint was written; ``same_run``: go on in the folders of that run, too."""
    for logger in trainer.loggers:
        logger.continues = False
    if checkpoint is None:
        return
    saved = checkpoint["loops"]["fit_loop"].get("loggers", []) if _has_our_loop(checkpoint) else []
    for logger, state in zip(trainer.loggers, saved, strict=False):
        if same_run:
            logger.continue_run(state)
        logger.load_state_dict(state)


def restore_training(trainer: Trainer, checkpoint: dict[str, Any]) -> None:
    """Optimizers, schedulers, and where the loop was.

    Raises:
        KeyError: the checkpoint holds only weights, or was written by other software.
        ValueError: it holds another number of optimizers or schedulers.
    """
    if "optimizer_states" not in checkpoint:
        raise KeyError(
            "Trainer.fit(ckpt_path=...): the checkpoint holds only weights (save_weights_only=True), so training"
            " cannot go on from it. HINT: LightningModule.load_from_checkpoint(path), then fit without ckpt_path."
        )
    if not _has_our_loop(checkpoint):
        raise KeyError(
            "Trainer.fit(ckpt_path=...): the checkpoint was written by other software: it does not say where in the training"
            " it was written (loops.fit_loop), so training cannot go on from it. HINT:"
            " LightningModule.load_from_checkpoint(path) takes its weights and hyper-parameters; then fit without ckpt_path."
        )
    parts = (
        ("optimizer", checkpoint["optimizer_states"], trainer.optimizers),
        ("lr scheduler", checkpoint["lr_schedulers"], [config.scheduler for config in trainer.lr_scheduler_configs]),
    )
    for kind, states, objects in parts:
        if len(states) != len(objects):
            raise ValueError(
                f"Trainer.fit(ckpt_path=...): the checkpoint holds {len(states)} {kind} states, but"
                f" `configure_optimizers` returned {len(objects)}."
            )
        for state, obj in zip(states, objects, strict=True):
            obj.load_state_dict(state)
    trainer.precision_plugin.load_state_dict(checkpoint.get(trainer.precision_plugin.CHECKPOINT_KEY, {}))
    restore_fit(trainer, checkpoint["loops"]["fit_loop"], checkpoint["rng_states"])
    _check_epochs(trainer)


def _has_our_loop(checkpoint: dict[str, Any]) -> bool:
    """Whether the checkpoint says where in the training it was written."""
    return "progress" in checkpoint.get("loops", {}).get("fit_loop", {})


def _check_epochs(trainer: Trainer) -> None:
    limit = trainer.fit_loop.max_epochs
    if limit is not None and 0 <= limit < trainer.current_epoch:
        raise ValueError(
            f"Trainer.fit(ckpt_path=...): the checkpoint was written in epoch {trainer.current_epoch}, after"
            f" Trainer(max_epochs={limit}) would have stopped. HINT: raise max_epochs."
        )


# ---------------------------------------------------------------------- back into an object


def rebuild_module(
    cls: type, path: Any, map_location: Any, hparams_file: Any, strict: bool | None, overrides: dict[str, Any]
) -> Any:
    """What ``LightningModule.load_from_checkpoint`` does."""
    checkpoint = load_checkpoint(path, map_location)
    module = _construct(cls, path, checkpoint, _read_hparams(hparams_file), overrides)
    module.on_load_checkpoint(checkpoint)
    module.load_state_dict(checkpoint["state_dict"], strict=module.strict_loading if strict is None else strict)
    if map_location is not None and not isinstance(map_location, Mapping) and not callable(map_location):
        module.to(map_location)
    return module


def rebuild_datamodule(
    cls: type, path: Any, map_location: Any, hparams_file: Any, overrides: dict[str, Any]
) -> Any:
    """What ``LightningDataModule.load_from_checkpoint`` does."""
    checkpoint = load_checkpoint(path, map_location)
    datamodule = _construct(cls, path, checkpoint, _read_hparams(hparams_file), overrides)
    if cls.__qualname__ in checkpoint:
        datamodule.load_state_dict(checkpoint[cls.__qualname__])
    return datamodule


def _construct(
    cls: Any, path: Any, checkpoint: dict[str, Any], from_file: dict[str, Any], overrides: dict[str, Any]
) -> Any:
    saved = {**checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_KEY, {}), **from_file}
    parameters = inspect.signature(cls.__init__).parameters
    name = checkpoint.get(cls.CHECKPOINT_HYPER_PARAMS_NAME)
    arguments: dict[str, Any]
    if name is not None and name in parameters:  # save_hyperparameters(args): one argument holds them all
        together = {**saved, **overrides.pop(name, {})}
        arguments = {name: Namespace(**together) if _is_namespace(parameters[name]) else AttributeDict(together)}
    else:
        takes_all = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
        arguments = {arg: value for arg, value in saved.items() if takes_all or arg in parameters}
    arguments.update(overrides)
    missing = [
        arg
        for arg, parameter in list(parameters.items())[1:]
        if parameter.default is parameter.empty
        and parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY)
        and arg not in arguments
    ]
    if missing:
        raise TypeError(
            f"{cls.__name__}.load_from_checkpoint({str(path)!r}): `__init__` needs {', '.join(map(repr, missing))},"
            f" which the checkpoint does not hold (it holds: {', '.join(map(repr, saved)) or 'no hyper-parameters'})."
            f" HINT: load_from_checkpoint(path, {missing[0]}=...), or call self.save_hyperparameters() in `__init__`"
            " before training."
        )
    return cls(**arguments)


def _is_namespace(parameter: inspect.Parameter) -> bool:
    return parameter.annotation in (Namespace, "Namespace", "argparse.Namespace")


def _read_hparams(path: Any) -> dict[str, Any]:
    """Hyper-parameters from a ``hparams.yaml`` or a two-column CSV file."""
    if path is None:
        return {}
    path = Path(path)
    if path.suffix in (".yaml", ".yml"):
        try:
            import yaml
        except ModuleNotFoundError:
            raise ModuleNotFoundError(
                f"load_from_checkpoint(hparams_file={str(path)!r}) needs PyYAML. HINT: pip install pyyaml, or pass the"
                " values as arguments."
            ) from None
        return dict(yaml.safe_load(path.read_text()) or {})
    if path.suffix == ".csv":
        with path.open(newline="") as file:
            return {row["key"]: _number_or_text(row["value"]) for row in csv.DictReader(file)}
    raise ValueError(f"load_from_checkpoint(hparams_file={str(path)!r}): expected a .yaml or a .csv file.")


def _number_or_text(text: str) -> Any:
    for convert in (int, float):
        try:
            return convert(text)
        except ValueError:
            continue
    return {"True": True, "False": False, "None": None, "": None}.get(text, text)
