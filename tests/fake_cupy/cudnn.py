"""NVIDIA's module `cudnn` on the host: graphs computed from their description, as the library would read it.

It has the names and parameters of the real module (`cudnn.json`, recorded by `record_cudnn.py`) and refuses what the real one
refused when its plans were built for an H100 (`tests/device/test_cudnn_plans.py` does that where the library is installed).
"""

from __future__ import annotations

import ctypes
import functools
import json
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import ml_dtypes
import numpy as np

from . import capture, state
from . import cudnn_arithmetic as arithmetic
from .surface import binder

RECORD = json.loads(Path(__file__).with_name("cudnn.json").read_text())
data_type: Any
heur_mode: Any
numerical_note: Any
diagonal_alignment: Any
data_type, heur_mode, numerical_note, diagonal_alignment = (
    Enum(name, RECORD["enums"][name]) for name in ("data_type", "heur_mode", "numerical_note", "diagonal_alignment"))
_NUMPY = {"FLOAT": np.dtype("f4"), "DOUBLE": np.dtype("f8"), "HALF": np.dtype("f2"), "BFLOAT16": np.dtype(ml_dtypes.bfloat16)}


class cudnnGraphNotSupportedError(RuntimeError):  # noqa: N801, N818 - cuDNN's name
    """No kernels for this graph."""


def recorded(where: str) -> Callable[[Callable], Callable]:
    """Refuse calls that the real method would not take; the method gets its arguments by name."""

    def wrap(method: Callable) -> Callable:
        binders = [binder(text) for text in RECORD[where][method.__name__]]

        @functools.wraps(method)
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            for bind in binders:
                try:
                    given = bind(self, *args, **kwargs)
                except TypeError:
                    continue
                return method(self, **{k: v for k, v in given.arguments.items() if k != "self"})
            raise TypeError(f"{method.__name__}(): incompatible function arguments: {args}, {kwargs}")

        return call

    return wrap


class Tensor:
    """`cudnn.tensor`."""

    def __init__(self, dim: Any = None, stride: Any = None, dtype: Any = None, uid: Any = None) -> None:
        self.dim, self.stride, self.dtype, self.uid, self.alignment, self.output = dim, stride, dtype, uid, 16, False

    @recorded("tensor")
    def set_output(self, arg0: bool) -> Tensor:
        return self._set("output", arg0, bool)

    @recorded("tensor")
    def set_uid(self, arg0: int) -> Tensor:
        return self._set("uid", arg0, int)

    @recorded("tensor")
    def set_dim(self, arg0: list) -> Tensor:
        return self._set("dim", arg0, list)

    @recorded("tensor")
    def set_stride(self, arg0: list) -> Tensor:
        return self._set("stride", arg0, list)

    @recorded("tensor")
    def set_alignment(self, arg0: int) -> Tensor:
        return self._set("alignment", arg0, int)

    @recorded("tensor")
    def set_data_type(self, data_type: Any) -> Tensor:
        return self._set("dtype", data_type, type(globals()["data_type"].FLOAT))

    def _set(self, name: str, value: Any, kind: type) -> Tensor:
        if type(value) is not kind:
            raise TypeError(f"set_{name}(): incompatible function arguments: {value!r}")
        setattr(self, name, value)
        return self

    def array(self, pointer: int) -> np.ndarray:
        """What lies there, under these dimensions and strides."""
        if pointer % self.alignment:
            raise RuntimeError("CUDNN_STATUS_BAD_PARAM: misaligned pointer")
        dtype = _NUMPY[self.dtype.name]
        span = sum((n - 1) * s for n, s in zip(self.dim, self.stride)) + 1
        flat = np.frombuffer((ctypes.c_uint8 * (span * dtype.itemsize)).from_address(pointer), dtype)
        return np.lib.stride_tricks.as_strided(flat, self.dim, [s * dtype.itemsize for s in self.stride])


class pygraph:  # noqa: N801 - cuDNN's name
    """`cudnn.pygraph`."""

    @recorded("pygraph")
    def __init__(self, **given: Any) -> None:
        self.given, self.tensors, self.nodes, self.stage = given, [], [], 0
        self.notes: list = []

    def _made(self, **fields: Any) -> Tensor:
        made = Tensor(**fields)
        self.tensors.append(made)
        return made

    @recorded("pygraph")
    def tensor(self, dim: list, stride: list, data_type: Any, uid: int) -> Tensor:
        if len(dim) != len(stride) or not all(type(n) is int for n in (*dim, *stride)):
            raise TypeError(f"tensor(): incompatible function arguments: {dim}, {stride}")
        return self._made(dim=dim, stride=stride, dtype=data_type, uid=uid)

    def _node(self, function: Callable, inputs: list, outputs: int = 1, **options: Any) -> list[Tensor]:
        found = [self._made() for _ in range(outputs)]
        self.nodes.append(SimpleNamespace(function=function, inputs=inputs, outputs=found, options=options))
        return found

    @recorded("pygraph")
    def conv_fprop(self, image: Tensor, weight: Tensor, **geometry: Any) -> Tensor:
        return self._node(arithmetic.fprop, [image, weight], **geometry)[0]

    @recorded("pygraph")
    def conv_dgrad(self, loss: Tensor, filter: Tensor, **geometry: Any) -> Tensor:
        return self._node(arithmetic.dgrad, [loss, filter], **geometry)[0]

    @recorded("pygraph")
    def conv_wgrad(self, image: Tensor, loss: Tensor, **geometry: Any) -> Tensor:
        return self._node(arithmetic.wgrad, [image, loss], **geometry)[0]

    @recorded("pygraph")
    def bias(self, input: Tensor, bias: Tensor) -> Tensor:
        return self._node(arithmetic.add, [input, bias])[0]

    @recorded("pygraph")
    def sdpa(self, q: Tensor, k: Tensor, v: Tensor, generate_stats: bool, attn_scale: float, **options: Any) -> list[Tensor]:
        bias = options.pop("bias", None)
        inputs = [q, k, v, *([] if bias is None else [bias])]
        return self._node(arithmetic.attention, inputs, 2, scale=attn_scale, causal=_causal(options))

    @recorded("pygraph")
    def sdpa_backward(self, q: Tensor, k: Tensor, v: Tensor, o: Tensor, dO: Tensor, stats: Tensor,  # noqa: N803
                      attn_scale: float, **options: Any) -> list[Tensor]:
        bias = options.pop("bias", None)
        options.pop("use_deterministic_algorithm", None)
        inputs = [q, k, v, o, dO, stats, *([] if bias is None else [bias])]
        return self._node(arithmetic.attention_gradients, inputs, 3, scale=attn_scale, causal=_causal(options))

    @recorded("pygraph")
    def validate(self) -> None:
        outputs = [t for t in self.tensors if t.output]
        if not outputs or any(t.uid is None or t.dim is None or t.dtype is None for t in outputs):
            raise RuntimeError("an output without number, dimensions or type")
        numbers = [t.uid for t in self.tensors if t.uid is not None]
        if len(set(numbers)) != len(numbers):
            raise RuntimeError("a uid has been already assigned to another tensor")
        self._advance(1)

    @recorded("pygraph")
    def build_operation_graph(self) -> None:
        self._advance(2)

    @recorded("pygraph")
    def create_execution_plans(self, arg0: list) -> None:
        if not arg0 or not all(isinstance(m, heur_mode) for m in arg0):
            raise TypeError("create_execution_plans(): incompatible function arguments")
        self._advance(3)

    @recorded("pygraph")
    def deselect_numeric_notes(self, arg0: list) -> None:
        if not all(isinstance(n, numerical_note) for n in arg0):
            raise TypeError("deselect_numeric_notes(): incompatible function arguments")
        self.notes = arg0

    @recorded("pygraph")
    def check_support(self) -> None:
        self._advance(4)
        io, wide = (self.given[name].name for name in ("io_data_type", "compute_data_type"))
        if (io == "DOUBLE") != (wide == "DOUBLE"):
            raise cudnnGraphNotSupportedError("No valid engine configs")
        for node in self.nodes:
            if all(t.dim for t in node.inputs):  # what comes between two nodes has no dimensions yet
                node.function(*[_Shape(t) for t in node.inputs], check=cudnnGraphNotSupportedError, **node.options)

    @recorded("pygraph")
    def build_plans(self) -> None:
        self._advance(5)
        state.events["cudnn plan"] += 1

    @recorded("pygraph")
    def build_plan_at_index(self, index: int) -> None:
        if not 0 <= index < self.get_execution_plan_count():
            raise RuntimeError(f"no plan {index}")
        state.events["cudnn candidate"] += 1

    @recorded("pygraph")
    def get_execution_plan_count(self) -> int:
        return 2

    @recorded("pygraph")
    def get_workspace_size(self) -> int:
        return 16

    @recorded("pygraph")
    def _get_variant_pack_uids_sorted(self) -> list[int]:
        return sorted(t.uid for t in self.tensors if t.uid is not None)

    @recorded("pygraph")
    def _prepare_variant_pack_template(self) -> None:
        self._advance(5)

    @recorded("pygraph")
    def _execute_with_raw_ptrs(self, user_ptrs_array: int, n_user: int, workspace: int, handle: int) -> None:
        pointers = np.frombuffer((ctypes.c_int64 * n_user).from_address(user_ptrs_array), np.int64).tolist()
        self._run(dict(zip(self._get_variant_pack_uids_sorted(), pointers, strict=True)), workspace, handle)

    @recorded("pygraph")
    def execute(self, tensor_to_device_buffer: dict, workspace: int, handle: int) -> None:
        if not all(type(x) is int for item in tensor_to_device_buffer.items() for x in item):
            raise TypeError("anything but a number and a pointer makes the real module import torch")
        state.events["cudnn execute"] += 1
        self._run(tensor_to_device_buffer, workspace, handle)

    def _advance(self, stage: int) -> None:
        if self.stage not in (stage - 1, 5):
            raise RuntimeError(f"step {stage} after step {self.stage}")
        self.stage = max(self.stage, stage)

    def _run(self, pointers: dict[int, int], workspace: int, handle: int) -> None:
        if handle not in _streams or not workspace:
            raise RuntimeError("CUDNN_STATUS_BAD_PARAM")
        state.events["cudnn run"] += 1
        recording = capture.current()
        if recording is not None:
            for address in pointers.values():
                recording.touch_address(address)
            recording.calls.append(lambda: self._compute(pointers))
        self._compute(pointers)

    def _compute(self, pointers: dict[int, int]) -> None:
        values = {id(t): t.array(pointers[t.uid]) for t in self.tensors if t.uid is not None}
        for node in self.nodes:
            results = node.function(*[values[id(t)] for t in node.inputs], shape=node.outputs[0].dim, **node.options)
            for tensor, result in zip(node.outputs, results, strict=True):
                if tensor.uid is None:
                    values[id(tensor)] = result
                else:
                    values[id(tensor)][...] = result


class _Shape:
    """A tensor without elements, as the checks see it."""

    def __init__(self, tensor: Tensor) -> None:
        self.shape, self.dtype, self.strides = tuple(tensor.dim), _NUMPY[tensor.dtype.name], tuple(tensor.stride)


def _causal(options: dict) -> bool:
    if not options:
        return False
    if options != {"diagonal_alignment": diagonal_alignment.TOP_LEFT, "diagonal_band_right_bound": 0}:
        raise NotImplementedError(str(options))
    return True


_streams: dict[int, int | None] = {}


def backend_version() -> int:
    return 92801


def create_handle() -> int:
    state.events["cudnn handle"] += 1
    _streams[len(_streams) + 1] = None
    return len(_streams)


def set_stream(handle: int, stream: int) -> None:
    state.events["cudnn stream"] += 1
    _streams[handle] = stream
