"""cuDNN: its library, loaded when first needed; a handle per device and thread; plans, remembered by what they depend on.

A plan is a graph of cuDNN's operations on tensors of given shapes, strides and types, and the kernels chosen for it. It runs on
bare pointers. What cuDNN does not do has no plan: the caller then goes another way.
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
import sys
import threading
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

import numpy as np

from .. import backend

# What programs may choose, as `torch.backends.cudnn`.
switches = SimpleNamespace(enabled=True, benchmark=False, deterministic=False, allow_tf32=True)
TYPES = {"float32": "FLOAT", "float64": "DOUBLE", "float16": "HALF", "bfloat16": "BFLOAT16"}
ALIGNED = 16  # bytes; what cuDNN takes for granted
TRIALS = 3  # runs of each candidate under `benchmark`


class Spec(NamedTuple):
    """A tensor as cuDNN is told of it; strides in elements."""

    dims: tuple
    strides: tuple
    dtype: str
    alignment: int = ALIGNED


class Key(NamedTuple):
    """All that a plan depends on: the kind of graph, its tensors in the order of their numbers, and its parameters."""

    kind: str
    inputs: tuple
    outputs: tuple
    params: tuple
    tf32: bool
    deterministic: bool


Operand = tuple[Any, Spec]  # an array, and how cuDNN sees it


def operand(array: Any, dims: tuple, strides: tuple) -> Operand:
    """An array under these dimensions and strides."""
    pointer = array.data.ptr
    alignment = ALIGNED if pointer % ALIGNED == 0 else next(n for n in (8, 4, 2, 1) if pointer % n == 0)
    return array, Spec(dims, strides, array.dtype.name, alignment)


def key_of(kind: str, inputs: Sequence[Operand], outputs: Sequence[Operand], *params: Any) -> Key:
    """The key of a graph on these operands under the present switches."""
    return Key(kind, tuple([s for _, s in inputs]), tuple([s for _, s in outputs]), params,
               switches.allow_tf32 and inputs[0][1].dtype == "float32", switches.deterministic)


def _imported() -> Any:
    """The module, which would import torch as well wherever that is installed, for things that are not used here."""
    modules: dict[str, Any] = sys.modules
    keep_out = "torch" not in modules
    if keep_out:
        modules["torch"] = None  # importing it is then an ImportError, which the module expects
    try:
        return importlib.import_module("cudnn")
    finally:
        if keep_out:
            del modules["torch"]


@functools.cache
def library() -> Any:
    """NVIDIA's module `cudnn`, if it and the library behind it are there; otherwise None."""
    if importlib.util.find_spec("cudnn") is None:
        return None
    try:
        module = _imported()
        return module if hasattr(module, "pygraph") and module.backend_version() > 0 else None
    except Exception:  # a library that does not load: there is another form of everything
        return None


Describe = Callable[[Any, Any, Key, Sequence], Sequence]
KINDS: dict[str, Describe] = {}  # kind of graph -> (library, graph, key, input tensors) -> output tensors


def describes(kind: str) -> Callable[[Describe], Describe]:
    """Register the function that puts a kind of graph together."""

    def register(fn: Describe) -> Describe:
        KINDS[kind] = fn
        return fn

    return register


class Plan:
    """A graph with its kernels. `where`: the handle it is for, or the properties of a device that need not be there."""

    def __init__(self, lib: Any, key: Key, **where: Any) -> None:
        types = lib.data_type
        wide = types.DOUBLE if key.inputs[0].dtype == "float64" else types.FLOAT
        self.graph = graph = lib.pygraph(io_data_type=getattr(types, TYPES[key.inputs[0].dtype]), intermediate_data_type=wide,
                                         compute_data_type=wide, **where)
        tensors = [graph.tensor(dim=list(s.dims), stride=list(s.strides), data_type=getattr(types, TYPES[s.dtype]),
                                uid=i).set_alignment(s.alignment) for i, s in enumerate(key.inputs, 1)]
        outputs = KINDS[key.kind](lib, graph, key, tensors)
        for i, (tensor, s) in enumerate(zip(outputs, key.outputs, strict=True), len(tensors) + 1):
            tensor.set_output(True).set_uid(i).set_dim(list(s.dims)).set_stride(list(s.strides))
            tensor.set_data_type(getattr(types, TYPES[s.dtype])).set_alignment(s.alignment)
        graph.validate()
        graph.build_operation_graph()
        graph.create_execution_plans([lib.heur_mode.A, lib.heur_mode.FALLBACK])
        notes = lib.numerical_note
        unwanted = {notes.DOWN_CONVERT_INPUTS: True, notes.NONDETERMINISTIC: key.deterministic,
                    notes.TENSOR_CORE: key.inputs[0].dtype == "float32" and not key.tf32}
        graph.deselect_numeric_notes([note for note, no in unwanted.items() if no])
        graph.check_support()
        graph.build_plans()
        self.count = len(tensors) + len(outputs)
        self._prepare()

    def _prepare(self) -> None:
        """Look at the chosen kernels: how much memory they need, and whether pointers may be given without their numbers."""
        self.workspace = self.graph.get_workspace_size()
        raw = getattr(self.graph, "_execute_with_raw_ptrs", None)  # of some versions, and shorter by far than `execute`
        if raw is not None:
            self.graph._prepare_variant_pack_template()
            if list(self.graph._get_variant_pack_uids_sorted()) != list(range(1, self.count + 1)):
                raw = None
        self._raw = raw

    def run(self, handle: int, arrays: Sequence) -> None:
        """Put the work into the handle's stream. `arrays`: inputs, then outputs."""
        work = backend.gpu().empty(self.workspace, np.uint8) if self.workspace else None
        place = 0 if work is None else work.data.ptr
        if self._raw is None:
            self.graph.execute({i: a.data.ptr for i, a in enumerate(arrays, 1)}, place, handle)
            return
        pointers = np.array([a.data.ptr for a in arrays], np.int64)
        self._raw(pointers.ctypes.data, self.count, place, handle)

    def choose_by_time(self, handle: int, arrays: Sequence) -> None:
        """Try all kernels that serve, and keep the fastest."""
        cuda, times = backend.gpu().cuda, {}
        for i in range(self.graph.get_execution_plan_count()):
            try:
                self.graph.build_plan_at_index(i)
                self._prepare()
                self.run(handle, arrays)
            except (RuntimeError, MemoryError):  # listed by the heuristics and yet not for these arrays
                continue
            first, last = cuda.Event(), cuda.Event()
            first.record()
            for _ in range(TRIALS):
                self.run(handle, arrays)
            last.record()
            last.synchronize()
            times[i] = cuda.get_elapsed_time(first, last)
        self.graph.build_plan_at_index(min(times, key=times.__getitem__))  # the last one built is the one that runs
        self._prepare()


_handles: dict[tuple, list] = {}  # (library, device, thread) -> [handle, its stream]
_plans: dict[tuple, Plan | None] = {}


def _handle(lib: Any) -> int:
    """The handle of the current device and thread, on the current stream."""
    cuda = backend.gpu().cuda
    at, stream = (lib, cuda.Device().id, threading.get_ident()), cuda.get_current_stream().ptr
    held = _handles.get(at)
    if held is None:
        held = _handles[at] = [lib.create_handle(), None]
    if held[1] != stream:  # costs as much as a launch
        lib.set_stream(held[0], stream)
        held[1] = stream
    return held[0]


def _make(lib: Any, key: Key, handle: int, arrays: Sequence) -> Plan | None:
    if backend.gpu().cuda.get_current_stream().is_capturing():
        shapes = [s.dims for s in key.inputs]
        raise RuntimeError(f"cuDNN has no plan yet for {key.kind} of {shapes}, and none can be made while a CUDA graph is "
                           "captured. HINT: run the step once with tensors of these shapes before capturing it.")
    try:
        plan = Plan(lib, key, handle=handle)
    except (RuntimeError, lib.cudnnGraphNotSupportedError):
        return None
    if switches.benchmark:
        plan.choose_by_time(handle, arrays)
    return plan


def available() -> bool:
    """Whether cuDNN is there and switched on."""
    return switches.enabled and library() is not None


def run(kind: str, inputs: Sequence[Operand], outputs: Sequence[Operand], *params: Any) -> bool:
    """Put a graph of this kind into the current stream; False if cuDNN is not there, is switched off, or has no plan for it."""
    lib = library() if switches.enabled else None
    if lib is None:
        return False
    handle, key = _handle(lib), key_of(kind, inputs, outputs, *params)
    arrays = [a for a, _ in (*inputs, *outputs)]
    at = (lib, backend.gpu().cuda.Device().id, switches.benchmark, key)
    if at not in _plans:
        _plans[at] = _make(lib, key, handle, arrays)
    plan = _plans[at]
    if plan is None:
        return False
    plan.run(handle, arrays)
    return True
