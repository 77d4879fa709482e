"""``lit info FILE``: what is in a checkpoint, or in a file of weights."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import engine
from engine import Tensor, serialization


def summarize_file(path: Path) -> dict[str, Any]:
    """What ``lit info`` tells, as a dict of plain values.

    Raises:
        FileNotFoundError: there is no such file.
        engine.serialization.CheckpointError: it is damaged, or of a kind that is not known.

    Example:
        >>> from lit.tools import summarize_file
        >>> torch.save(nn.Linear(2, 1).state_dict(), "layer.pt")
        >>> found = summarize_file(Path("layer.pt"))
        >>> found["kind"], found["parameters"]
        ('weights (safetensors)', 3)
    """
    content = serialization.load(path, map_location="cpu")  # the whole file, so that its checksum is compared too
    is_checkpoint = isinstance(content, Mapping) and "state_dict" in content
    weights = content["state_dict"] if is_checkpoint else content
    tensors = dict(_named_tensors(weights))
    found: dict[str, Any] = {
        "file": str(path),
        "bytes": path.stat().st_size,
        "kind": kind_of(path, content),
        "parameters": sum(value.numel() for value in tensors.values()),
        "tensors": {name: {"shape": list(t.shape), "dtype": _dtype(t)} for name, t in tensors.items()},
    }
    if is_checkpoint:
        found.update({key: content[key] for key in ("epoch", "global_step") if key in content})
        found["lightning_version"] = content.get("pytorch-lightning_version")
        found["hyper_parameters"] = _plain(content.get("hyper_parameters") or {})
        found["optimizers"] = [_describe_optimizer(state) for state in content.get("optimizer_states", [])]
        found["callbacks"] = {str(name): sorted(map(str, state)) if isinstance(state, Mapping) else []
                              for name, state in (content.get("callbacks") or {}).items()}  # fmt: skip
        found["progress"] = _plain((content.get("loops") or {}).get("fit_loop", {}).get("progress", {}))
        found["can_go_on"] = "optimizer_states" in content and "batches_done" in found["progress"]
    return found


def kind_of(path: Path, content: Any) -> str:
    """The kind of a file in words."""
    with open(path, "rb") as file:
        zipped = file.read(4) == b"PK\x03\x04"
    checkpoint = isinstance(content, Mapping) and "state_dict" in content
    if zipped:
        return "Lightning checkpoint" if checkpoint and "pytorch-lightning_version" in content else "torch archive"
    return "lit checkpoint" if checkpoint else "weights (safetensors)"


def describe_file(path: Path, as_json: bool = False) -> str:
    """``summarize_file`` as text."""
    found = summarize_file(path)
    if as_json:
        return json.dumps(found, indent=2, default=str)
    lines = [f"{found['file']}: {found['kind']}, {_size(found['bytes'])}, readable to the end"]
    if "epoch" in found:
        lines.append(f"after epoch {found['epoch']}, {found['global_step']} optimizer steps")
        lines.append("training can go on from it" if found["can_go_on"] else "weights and hyper-parameters only")
        lines += [f"optimizer: {text}" for text in found["optimizers"]]
        lines += [f"callback state: {name}" for name in found["callbacks"]]
        if found["hyper_parameters"]:
            lines.append("hyper-parameters:")
            lines += [f"  {name}: {value}" for name, value in found["hyper_parameters"].items()]
    lines.append(f"{found['parameters']:,} numbers in {len(found['tensors'])} tensors:")
    width = max((len(name) for name in found["tensors"]), default=0)
    lines += [
        f"  {name:<{width}}  {' x '.join(map(str, about['shape'])) or 'one number'}  {about['dtype']}"
        for name, about in found["tensors"].items()
    ]
    return "\n".join(lines)


def _named_tensors(value: Any, prefix: str = "") -> list[tuple[str, Tensor]]:
    if isinstance(value, Tensor):
        return [(prefix or "value", value)]
    items = value.items() if isinstance(value, Mapping) else enumerate(value) if isinstance(value, (list, tuple)) else ()
    return [pair for key, item in items for pair in _named_tensors(item, f"{prefix}.{key}" if prefix else str(key))]


def _describe_optimizer(state: Mapping[str, Any]) -> str:
    groups = state.get("param_groups", [])
    settings = ", ".join(f"{k}={v}" for k, v in (groups[0] if groups else {}).items() if k in ("lr", "betas", "momentum"))
    return f"{len(state.get('state', {}))} parameters with state, {len(groups)} group(s){', ' + settings if settings else ''}"


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, engine.Tensor):
        return value.tolist()
    return value if isinstance(value, (bool, int, float, str, type(None))) else str(value)


def _dtype(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _size(count: int) -> str:
    for unit in ("bytes", "kB", "MB"):
        if count < 1000:
            return f"{count:.4g} {unit}"
        count /= 1000  # type: ignore[assignment]
    return f"{count:.4g} GB"
