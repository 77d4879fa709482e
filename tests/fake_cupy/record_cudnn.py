"""Writes `cudnn.json`: the names of the real `cudnn` module and how they are called, which its stand-in then keeps to.

Needs the module and no GPU: `pip install nvidia-cudnn-frontend==1.26.0 && python -m tests.fake_cupy.record_cudnn`.
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("cudnn.json")
MODULE = ("backend_version", "create_handle", "destroy_handle", "set_stream", "create_device_properties")
ENUMS = ("data_type", "heur_mode", "numerical_note", "diagonal_alignment")
GRAPH = ("__init__", "tensor", "conv_fprop", "conv_dgrad", "conv_wgrad", "bias", "sdpa", "sdpa_backward", "validate",
         "build_operation_graph", "create_execution_plans", "deselect_numeric_notes", "check_support", "build_plans",
         "build_plan_at_index", "get_execution_plan_count", "get_workspace_size", "get_workspace_size_plan_at_index",
         "execute", "_execute_with_raw_ptrs", "_prepare_variant_pack_template", "_get_variant_pack_uids_sorted")
TENSOR = ("set_output", "set_uid", "set_dim", "set_stride", "set_data_type", "set_alignment", "set_is_virtual")
_SIGNATURE = re.compile(r"^(?:\d+\. )?\w+\((.*)\) -> .*$")


def split(parameters: str) -> list[str]:
    """The parameters of a signature, at the commas outside of brackets."""
    parts, depth, start = [], 0, 0
    for i, c in enumerate(parameters + ","):
        depth += c in "[(<{"
        depth -= c in "])}" or (c == ">" and parameters[i - 1] != "-")
        if c == "," and not depth:
            parts.append(parameters[start:i].strip())
            start = i + 1
    return [p for p in parts if p]


def signatures(value: Any) -> list[str]:
    """Every way to call a function: from its code, or from the docstring that pybind11 writes. No types; defaults are None."""
    if inspect.isfunction(value):
        names = [f"{p.name}{'' if p.default is p.empty else '=None'}" for p in inspect.signature(value).parameters.values()]
        return [f"({', '.join(names)})"]
    found = []
    for line in (value.__doc__ or "").splitlines():
        match = _SIGNATURE.match(line.strip())
        if match and not match[1].startswith("*args"):
            names = [re.match(r"\w+", p)[0] + ("=None" if " = " in p else "") for p in split(match[1])]  # type: ignore[index]
            found.append(f"({', '.join(names)})")
    return found


def main() -> None:
    """Record the module that is installed."""
    cudnn = importlib.import_module("cudnn")
    record = {
        "version": cudnn.__version__, "module": {name: signatures(getattr(cudnn, name)) for name in MODULE},
        "enums": {name: sorted(getattr(cudnn, name).__members__) for name in ENUMS},
        "pygraph": {name: signatures(getattr(cudnn.pygraph, name)) for name in GRAPH},
        "tensor": {name: signatures(getattr(cudnn.tensor, name)) for name in TENSOR},
    }
    FILE.write_text(json.dumps(record, indent=0, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
