"""``lit convert SOURCE TARGET``: between our checkpoints, Lightning's, torch's and safetensors files."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine
from engine import Tensor, serialization
from lit.tools.info import kind_of

# What Lightning's loader reads of a checkpoint. The position in the data is ours alone: Lightning has no place for it.
SHARED_KEYS = ("epoch", "global_step", "pytorch-lightning_version", "state_dict", "optimizer_states", "lr_schedulers",
               "hparams_name", "hyper_parameters", "datamodule_hparams_name", "datamodule_hyper_parameters",
               "MixedPrecision", "callbacks")  # fmt: skip
BY_SUFFIX = {".safetensors": "safetensors", ".pt": "torch", ".pth": "torch", ".bin": "torch"}


def convert(source: Path, target: Path, to: str | None = None, force: bool = False) -> str:
    """Write ``source`` as a file of another kind; returns what was done, in words.

    Args:
        source: a checkpoint of ours or of Lightning's, or weights as torch's archive or safetensors.
        target: the new file.
        to: "lit" or "lightning" (a whole checkpoint), "torch" or "safetensors" (the weights); None guesses from the
            name, where ``.ckpt`` means ours if the source is Lightning's or torch's, and Lightning's otherwise.
        force: whether an existing target is replaced.

    Raises:
        FileNotFoundError: there is no source.
        FileExistsError: there is a target, and ``force`` is False.
        ValueError: the kind cannot be guessed, or the source has no weights.
        engine.serialization.CheckpointError: the source is damaged or unknown.

    Example:
        >>> from lit.tools import convert
        >>> torch.save(nn.Linear(2, 1).state_dict(), "layer.ckpt")
        >>> print(convert(Path("layer.ckpt"), Path("layer.safetensors")))
        layer.safetensors: weights (safetensors), 2 tensors
    """
    if target.exists() and not force:
        raise FileExistsError(f"{target} exists. HINT: --force replaces it.")
    content = serialization.load(source, map_location="cpu")
    kind = to or _guess(target, kind_of(source, content))
    weights = content["state_dict"] if isinstance(content, Mapping) and "state_dict" in content else content
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise ValueError(f"{source} holds no state_dict: expected names and tensors, or a checkpoint with them.")
    if kind == "safetensors":
        serialization.save_file({str(name): value.contiguous() for name, value in weights.items()}, target)
    elif kind == "torch":
        serialization.save_torch(OrderedDict(weights), target)
    else:
        checkpoint = content if weights is not content else {"epoch": 0, "global_step": 0, "state_dict": weights}
        if kind == "lit":
            serialization.save(dict(checkpoint), target, plain="state_dict")
        else:
            serialization.save_torch(_for_lightning(checkpoint), target)
    written = serialization.load(target, map_location="cpu")  # a file that cannot be read back must not be trusted
    return f"{target}: {kind_of(target, written)}, {len(weights)} tensors"


def _guess(target: Path, source_kind: str) -> str:
    if target.suffix == ".ckpt":
        return "lit" if source_kind in ("Lightning checkpoint", "torch archive") else "lightning"
    if target.suffix not in BY_SUFFIX:
        raise ValueError(f"{target.name}: the kind of file is not clear from its name. HINT: --to lit, lightning, ...")
    return BY_SUFFIX[target.suffix]


def _for_lightning(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    from lit.checkpoint import LIGHTNING_VERSION
    from lit.lightning_files import callbacks_for_lightning, loops_for_lightning

    kept = {key: _builtin(checkpoint[key]) for key in SHARED_KEYS if key in checkpoint}
    kept.setdefault("pytorch-lightning_version", LIGHTNING_VERSION)
    callbacks = callbacks_for_lightning(kept.get("callbacks", {}))
    return {**kept, "callbacks": callbacks, "loops": loops_for_lightning(checkpoint)}


def _builtin(value: Any) -> Any:
    """``value`` with plain dicts and lists inside, as torch's safe loader takes them."""
    if isinstance(value, Mapping):
        return {key: _builtin(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_builtin(item) for item in value)
    if isinstance(value, (Tensor, bool, int, float, str, type(None), engine.dtype)):
        return value
    return str(value)
