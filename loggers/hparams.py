"""Hyper-parameters on their way into files: as a plain dict, flattened, and as YAML text."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from typing import Any

# Text that YAML reads as itself without quotes; all other text is quoted.
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_./+-]*(?: [A-Za-z0-9_./+-]+)*")
_WORDS_WITH_A_MEANING = {"true", "false", "null", "yes", "no", "on", "off", "y", "n"}


def to_dict(params: Any) -> dict[str, Any]:
    """``params`` as a dict: a mapping, a dataclass, a namespace (its attributes), or None for none.

    Raises:
        TypeError: ``params`` is something else.

    Example:
        >>> from argparse import Namespace
        >>> from loggers.hparams import to_dict
        >>> to_dict(Namespace(lr=0.1))
        {'lr': 0.1}
    """
    if params is None:
        return {}
    if isinstance(params, Mapping):
        return dict(params)
    if dataclasses.is_dataclass(params) and not isinstance(params, type):
        return dataclasses.asdict(params)
    if hasattr(params, "__dict__") and not callable(params):
        return dict(vars(params))
    raise TypeError(
        f"log_hyperparams({params!r}): expected a dict, a namespace or a dataclass, got {type(params).__name__}."
    )


def flatten(params: Mapping[Any, Any], separator: str = "/", parent: str = "") -> dict[str, Any]:
    """Nested mappings as one level, with the keys joined.

    Example:
        >>> from loggers.hparams import flatten
        >>> flatten({"optim": {"lr": 0.1, "betas": [0.9, 0.99]}, "epochs": 3})
        {'optim/lr': 0.1, 'optim/betas': [0.9, 0.99], 'epochs': 3}
    """
    flat: dict[str, Any] = {}
    for key, value in params.items():
        name = f"{parent}{separator}{key}" if parent else str(key)
        if isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
            value = {str(index): item for index, item in enumerate(value)}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            value = dataclasses.asdict(value)
        if isinstance(value, Mapping):
            flat.update(flatten(value, separator, name))
        else:
            flat[name] = value
    return flat


def to_simple(value: Any) -> bool | int | float | str:
    """``value`` if it is a bool, a number or text (NumPy's included), else its ``str``.

    Example:
        >>> from loggers.hparams import to_simple
        >>> to_simple(3), to_simple([1, 2]), to_simple(None)
        (3, '[1, 2]', 'None')
    """
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        value = value.item()
    return value if isinstance(value, (bool, int, float, str)) else str(value)


def to_yaml(params: Mapping[Any, Any]) -> str:
    """``params`` as a YAML document, without PyYAML; what YAML has no form for is written as its ``str``.

    Any YAML reader gives back the same dicts, lists, numbers, booleans, None and text (tuples come back as lists).

    Example:
        >>> from loggers.hparams import to_yaml
        >>> print(to_yaml({"lr": 1e-05, "layers": [64, 10], "name": "yes", "optim": {"betas": (0.9, 0.99)}}), end="")
        lr: 1.0e-05
        layers:
        - 64
        - 10
        name: "yes"
        optim:
          betas:
          - 0.9
          - 0.99
    """
    return "".join(line + "\n" for line in _mapping_lines(params)) if params else "{}\n"


def _mapping_lines(mapping: Mapping[Any, Any]) -> list[str]:
    lines = []
    for key, value in mapping.items():
        lines.extend(_entry_lines(f"{_scalar(key)}:", value, nested_indent="  ", list_indent=""))
    return lines


def _entry_lines(head: str, value: Any, nested_indent: str, list_indent: str) -> list[str]:
    """The lines of one ``key:`` or ``-`` with its value, on the same line if it is short, else below it."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    if isinstance(value, Mapping) and value:
        return [head, *(nested_indent + line for line in _mapping_lines(value))]
    if isinstance(value, (list, tuple)) and value:
        lines = [head]
        for item in value:
            lines.extend(list_indent + line for line in _entry_lines("-", item, nested_indent="  ", list_indent="  "))
        return lines
    return [f"{head} {_scalar(value)}"]


def _scalar(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{}"
    if isinstance(value, (list, tuple)):
        return "[]"
    if value is None:
        return "null"
    value = to_simple(value)
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(int(value))
    if isinstance(value, float):
        return _float(float(value))
    if _PLAIN_TEXT.fullmatch(value) and value.lower() not in _WORDS_WITH_A_MEANING:
        return str(value)
    # A JSON string is a YAML string; other characters than ASCII stay as they are, for YAML knows no surrogate pairs.
    return json.dumps(str(value), ensure_ascii=False).replace("\x7f", "\\x7f")


def _float(value: float) -> str:
    if math.isnan(value):
        return ".nan"
    if math.isinf(value):
        return ".inf" if value > 0 else "-.inf"
    text = repr(value)
    # YAML 1.1 readers take 1e-05 for text: a float must have a point.
    return text.replace("e", ".0e", 1) if "e" in text and "." not in text else text
