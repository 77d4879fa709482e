"""Hyper-parameters: taking the arguments of ``__init__`` and keeping them in checkpoints."""

from __future__ import annotations

import copy
import inspect
import types
import warnings
from argparse import Namespace
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import fields, is_dataclass
from pathlib import PurePath
from typing import Any

import engine
from engine import nn


class AttributeDict(dict[str, Any]):
    """A dict whose items are attributes too.

    Example:
        >>> from lit.hparams import AttributeDict
        >>> hparams = AttributeDict(lr=0.1)
        >>> hparams.width = 64
        >>> hparams["width"], hparams.lr
        (64, 0.1)
        >>> hparams
        "lr":    0.1
        "width": 64
    """

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            from engine.errors import did_you_mean

            raise AttributeError(f"Missing attribute '{name}'.{did_you_mean(name, self)}") from None

    def __setattr__(self, name: str, value: Any) -> None:
        self[name] = value

    def __repr__(self) -> str:
        if not self:
            return ""
        width = max(len(str(name)) for name in self) + 3
        lines = [f'"{name}":'.ljust(width + 1) + str(self[name]) for name in sorted(self)]
        return "\n".join(lines)


def init_arguments(obj: object, frame: types.FrameType) -> dict[str, Any]:
    """The arguments with which ``obj`` is being constructed, read from the running ``__init__`` frames.

    ``frame`` is the innermost ``__init__``; frames of subclasses around it are read too, and their arguments win.
    Nothing is called: values are taken from the frames' local variables.
    """
    if is_dataclass(obj) and frame.f_code.co_name == "__post_init__":
        return {field.name: getattr(obj, field.name) for field in fields(obj) if field.init}
    found: dict[str, Any] = {}
    current: types.FrameType | None = frame
    while current is not None and _constructs(current, obj):
        code, local = current.f_code, current.f_locals
        names = code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]
        found.update({name: local[name] for name in names if name in local})
        if code.co_flags & inspect.CO_VARKEYWORDS:
            index = code.co_argcount + code.co_kwonlyargcount + bool(code.co_flags & inspect.CO_VARARGS)
            found.update(local.get(code.co_varnames[index], {}))
        current = current.f_back
    return found


def _constructs(frame: types.FrameType, obj: object) -> bool:
    code = frame.f_code
    return code.co_name == "__init__" and code.co_argcount > 0 and frame.f_locals.get(code.co_varnames[0]) is obj


def _as_mapping(value: Any) -> MutableMapping[str, Any] | None:
    if isinstance(value, Mapping):
        return AttributeDict(value)
    if isinstance(value, Namespace):
        return AttributeDict(vars(value))
    if is_dataclass(value) and not isinstance(value, type):
        return AttributeDict({field.name: getattr(value, field.name) for field in fields(value)})
    return None


class HyperparametersMixin:
    """``save_hyperparameters`` and ``hparams`` for modules and datamodules."""

    CHECKPOINT_HYPER_PARAMS_KEY = "hyper_parameters"
    CHECKPOINT_HYPER_PARAMS_NAME = "hparams_name"

    _log_hyperparams: bool = False

    def save_hyperparameters(
        self,
        *args: Any,
        ignore: Iterable[str] | str | None = None,
        frame: types.FrameType | None = None,
        logger: bool = True,
    ) -> None:
        """Keep the arguments of ``__init__`` in ``self.hparams`` and in every checkpoint.

        Args:
            *args: names of the arguments to keep, or one object (dict, Namespace, dataclass) to keep instead.
            ignore: names to leave out.
            frame: the frame of ``__init__``; the caller's by default.
            logger: whether the Trainer hands them to the loggers.

        Example:
            >>> class Net(pl.LightningModule):
            ...     def __init__(self, width, lr=0.1):
            ...         super().__init__()
            ...         self.save_hyperparameters()
            >>> Net(64).hparams
            "lr":    0.1
            "width": 64
        """
        if frame is None:
            current = inspect.currentframe()
            assert current is not None and current.f_back is not None
            frame = current.f_back
        if len(args) == 1 and not isinstance(args[0], str):
            self._keep_object(args[0], frame)
        else:
            ignored = {ignore} if isinstance(ignore, str) else set(ignore or ())
            given = {name: value for name, value in init_arguments(self, frame).items() if name not in ignored}
            self._hparams = AttributeDict({**self.hparams, **self._chosen(given, args)})
        self._log_hyperparams = logger
        _warn_about_modules(self._hparams)
        self._hparams_initial = _snapshot(self._hparams)

    def _chosen(self, given: dict[str, Any], names: tuple[Any, ...]) -> dict[str, Any]:
        if not names:
            return given
        missing = [name for name in names if name not in given]
        if missing:
            raise ValueError(
                f"save_hyperparameters({', '.join(map(repr, names))}): {missing[0]!r} is not an argument of __init__"
                f" (or is in `ignore`), which has: {', '.join(given) or 'none'}."
            )
        return {name: given[name] for name in names}

    def _keep_object(self, value: Any, frame: types.FrameType) -> None:
        mapping = _as_mapping(value)
        if mapping is None:
            raise ValueError(
                f"save_hyperparameters({value!r}): expected names of arguments, a dict, a Namespace or a dataclass,"
                f" got {type(value).__name__}."
            )
        self._hparams = AttributeDict(mapping)
        for name, argument in init_arguments(self, frame).items():
            if argument is value:  # load_from_checkpoint passes the object back under this name
                self._hparams_name = name

    @property
    def hparams(self) -> AttributeDict:
        """The kept hyper-parameters; may be changed, and is saved in checkpoints as it is at that time."""
        if not hasattr(self, "_hparams"):
            self._hparams = AttributeDict()
        return self._hparams

    @property
    def hparams_initial(self) -> AttributeDict:
        """A copy of the hyper-parameters as they were when they were saved."""
        return _snapshot(getattr(self, "_hparams_initial", AttributeDict()))


def _snapshot(hparams: Mapping[str, Any]) -> AttributeDict:
    return AttributeDict(
        {name: value if isinstance(value, nn.Module) else copy.deepcopy(value) for name, value in hparams.items()}
    )


def _warn_about_modules(hparams: AttributeDict) -> None:
    for name, value in hparams.items():
        if isinstance(value, nn.Module):
            warnings.warn(
                f"[W102] save_hyperparameters(): {name!r} is a Module; its weights are in the checkpoint already and the"
                f" hyper-parameters of the checkpoint will not hold it. HINT: save_hyperparameters(ignore=[{name!r}])"
                f" and load_from_checkpoint(path, {name}=...).",
                stacklevel=4,
            )


def storable(value: Any) -> tuple[bool, Any]:
    """Whether a checkpoint can hold ``value`` without executing anything at load, and the form it takes there.

    Example:
        >>> from lit.hparams import storable
        >>> from pathlib import Path
        >>> storable({"lr": 0.1, "root": Path("data")})
        (True, {'lr': 0.1, 'root': 'data'})
        >>> storable(print)[0]
        False
    """
    if value is None or isinstance(value, (bool, int, float, str, engine.Tensor)):
        return True, value
    if isinstance(value, PurePath):
        return True, str(value)
    if isinstance(value, (list, tuple)):
        items = [storable(item) for item in value]
        form = [item for _, item in items]
        return all(good for good, _ in items), form if isinstance(value, list) else tuple(form)
    if isinstance(value, Mapping):
        pairs = {key: storable(item) for key, item in value.items()}
        good = all(ok for ok, _ in pairs.values()) and all(isinstance(key, (str, int)) for key in pairs)
        return good, {key: item for key, (_, item) in pairs.items()}
    if hasattr(value, "item") and getattr(value, "shape", None) == ():  # a NumPy scalar
        return True, value.item()
    return False, value


def storable_hparams(obj: HyperparametersMixin) -> dict[str, Any]:
    """The hyper-parameters that a checkpoint can hold; names the others in a warning."""
    kept, dropped = {}, []
    for name, value in obj.hparams.items():
        good, form = storable(value)
        if good:
            kept[name] = form
        elif not isinstance(value, nn.Module):  # named already when it was saved
            dropped.append(f"{name} ({type(value).__name__})")
    if dropped:
        warnings.warn(
            f"[W103] The checkpoint does not hold the hyper-parameters {', '.join(dropped)}: only numbers, strings, tensors"
            " and containers of them are stored, because a checkpoint executes nothing when it is loaded."
            " HINT: pass them to load_from_checkpoint(path, name=...).",
            stacklevel=2,
        )
    return kept
