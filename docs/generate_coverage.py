"""Write docs/coverage.md and docs/coverage/: every public name of torch, and whether it is here.

``python docs/generate_coverage.py`` needs no torch: torch's names and signatures are in docs/torch_names.txt, which
``python docs/generate_coverage.py --names`` writes where torch is installed. tests/test_coverage.py fails when either
is stale.
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import sys
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

DOCS = ROOT / "docs"
NAMES = DOCS / "torch_names.txt"
NAMESPACES = (
    "torch", "Tensor", "nn", "nn.functional", "nn.init", "nn.utils", "nn.utils.rnn", "nn.utils.parametrize",
    "nn.utils.parametrizations", "optim", "optim.lr_scheduler", "optim.swa_utils", "linalg", "fft", "special",
    "distributions", "signal.windows", "autograd", "autograd.functional", "func", "utils.data", "utils.checkpoint",
    "random", "amp",
)  # fmt: skip
PRESENT, PLANNED, REFUSED = "present", "absent (planned)", "refused"
FUNCTION = "  # function"  # how docs/torch_names.txt marks functions and methods

# Why whole groups of torch's names are not here: (reason, namespaces, patterns). The first that fits an absent name counts.
REASONS: tuple[tuple[str, str, str], ...] = (
    ("the compiler behind TorchScript: `torch.jit.script` and `trace` are here, and return what they are given", "torch",
     "AliasDb *Type AggregationType AnyType Argument ArgumentSpec Block CallStack Capsule Code CompilationUnit "
     "CompleteArgumentSpec ConcreteModuleTypeBuilder DeepCopyMemoTable *StorageContext ErrorReport ExecutionPlan "
     "FileCheck FunctionSchema Gradient Graph GraphExecutorState IODescriptor JITException LiteScriptModule "
     "LockingLogger LoggerBase NoopLogger ModuleDict ParameterDict BufferDict Node OperatorInfo PyTorchFile* Script* "
     "StaticModule TracingState Type Use Value import_ir_module* merge_type_from_type_comment parse_ir parse_schema "
     "parse_type_comment unify_type_list DeviceObjType StreamObjType AwaitType Tag Stream*Type"),
    ("quantised tensors: use bfloat16 or float16 for small files", "torch Tensor",
     "*quantize* *quantized* q_* qint* quint* Q*Storage qscheme QInt* QUInt* fbgemm* choose_qparams* fused_moving_avg* "
     "int_repr per_channel_* per_tensor_* dequantize fake_quantize* empty_quantized"),
    ("types below 8 bits, and half precision complex numbers, which NumPy does not have", "torch",
     "bit bits* int[1-7] uint[1-7] float4_* complex32 chalf"),
    ("half precision complex numbers, which NumPy does not have", "Tensor", "chalf"),
    ("kernels of one library (cuDNN, MIOpen, MKL-DNN): the operator has its plain name", "torch Tensor",
     "cudnn_* miopen_* mkldnn_* *mkldnn native_norm batch_norm_*"),
    ("other devices than the CPU and CUDA", "torch Tensor", "*xpu *ipu *mtia *maia"),
    ("autocast on other devices than the CPU and CUDA", "torch", "*autocast_ipu* *autocast_xla*"),
    ("sparse layouts in blocks (BSR, BSC), hybrid products, resizing of sparse tensors", "torch Tensor",
     "sparse_bs* to_sparse_bs* *_sparse_ sparse_resize_* hsmm hspmm saddmm"),
    ("nested and named tensors: use padding and masks, or a list of tensors", "torch Tensor",
     "jagged is_nested to_padded_tensor *names name"),
    ("constant storages: every tensor may be written to", "Tensor",
     "const_data_ptr"),
    ("inside of torch that no program needs", "torch Tensor",
     "AVG SUM DispatchKey* DisableTorch* ExcludeDispatchKeyGuard BenchmarkConfig BenchmarkExecutionStats "
     "ThroughputBenchmark PRIVATE_OPS USE_* TYPE_CHECKING classproperty compiled_with_cxx11_abi get_file_path init_num_threads "
     "hash_tensor prepare_multiprocessing_environment profiler_* FatalError "
     "thread_safe_generator slice_inverse grad_dtype "
     "reinforce volatile map2_ legacy_contiguous_format"),
    ("removed from torch's documentation: use the class without the suffix, or Sequential", "nn",
     "Container NLLLoss2d factory_kwargs"),
    ("scaled and grouped products in float8", "nn.functional", "*scaled_mm *grouped_mm ScalingType SwizzleType"),
    ("helpers of torch's own file", "nn.functional", "assert_int_or_pair conv_tbc native_channel_shuffle"),
    ("data pipes, which torch has stopped developing: use IterableDataset", "utils.data",
     "*DataPipe DataChunk argument_validation functional_datapipe *determin* runtime_validation*"),
    ("the reentrant checkpoint's inside", "utils.checkpoint",
     "CheckpointFunction check_backward_validity detach_variable *_device_states DefaultDeviceType GraphExecGroup "
     "set_checkpoint_debug_enabled"),
    ("selective checkpointing chooses operators of a compiled graph: checkpoint smaller functions", "utils.checkpoint",
     "CheckpointPolicy Selective* create_selective* SAC_*"),
    ("the backward pass runs on one thread", "autograd", "NestedIOFunction enforce_grad*"),
    ("compilers' transformations", "func", "debug_unwrap rearrange"),
    ("one process holds one generator", "random", "thread_safe_generator"),
    ("inside of swapping parameters between devices", "optim", "swap_in_*"),
)


@dataclasses.dataclass(frozen=True)
class Row:
    """One name of torch: its state here, and a reason or a difference of signature."""

    name: str
    state: str
    note: str = ""
    function: bool = False  # or method, as opposed to classes, constants and attributes


# -- torch's side -----------------------------------------------------------------------------------------------------


def names_of_torch() -> str:
    """The text of docs/torch_names.txt, read off the installed torch: names, with signatures where Python code has one."""
    import torch

    lines = [f"# The public names of torch {torch.__version__.split('+')[0]}, with the signatures that Python shows. "
             "Written by docs/generate_coverage.py --names."]
    for namespace in NAMESPACES:
        lines.append(f"\n[{namespace}]")
        owner = resolve("torch", namespace)
        for name in _public(owner):
            value = getattr(owner, name)
            lines.append(name + signature_text(value, namespace == "Tensor") + FUNCTION * inspect.isroutine(value))
    return "\n".join(lines) + "\n"


def _public(owner: Any) -> Iterator[str]:
    """Public names: what `__all__` lists; without one, and for torch itself (whose list has gaps), what torch defines."""
    listed = getattr(owner, "__all__", None)
    whole = owner.__name__ in ("torch", "Tensor")
    for name in sorted(dir(owner) if whole or not listed else listed):
        value = getattr(owner, name, None)
        if name.startswith("_") or isinstance(value, ModuleType) or name == "Tensor" and not whole:
            continue
        if whole or listed or (callable(value) and _is_torchs(owner, value)):
            yield name


def _is_torchs(owner: ModuleType, value: Any) -> bool:
    home = str(getattr(value, "__module__", ""))
    borrowed = ("torch.overrides", "torch._jit_internal")
    helper = "torch_function" in getattr(value, "__name__", "")
    return home.startswith("torch") and not home.startswith(borrowed) and not helper


def stored_names() -> dict[str, dict[str, str]]:
    """docs/torch_names.txt as {namespace: {name: signature or ""}}."""
    table: dict[str, dict[str, str]] = {}
    section: dict[str, str] = {}
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = table.setdefault(line[1:-1], {})
        elif line and not line.startswith("#"):
            name, bracket, rest = line.removesuffix(FUNCTION).partition("(")
            section[name] = bracket + rest
    return table


@cache
def functions() -> set[tuple[str, str]]:
    """(namespace, name) of what torch has as a function or method."""
    found, namespace = set(), ""
    for line in NAMES.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            namespace = line[1:-1]
        elif line.endswith(FUNCTION):
            found.add((namespace, line.removesuffix(FUNCTION).partition("(")[0]))
    return found


# -- both sides -------------------------------------------------------------------------------------------------------


def resolve(package: str, namespace: str) -> Any:
    """The module or class called `namespace` in torch or in engine; None where there is none."""
    if namespace == "torch":
        return importlib.import_module(package)
    if namespace == "Tensor":
        return importlib.import_module(package).Tensor
    try:
        return importlib.import_module(f"{package}.{namespace}")
    except ModuleNotFoundError as error:
        if not f"{package}.{namespace}".startswith(str(error.name)):
            raise
        return None


class _Shown:
    """A default value that prints as itself in both libraries."""

    def __init__(self, value: Any) -> None:
        text = f"{value:.10g}" if isinstance(value, float) else getattr(value, "__name__", None) or repr(value)
        self.text = type(value).__name__ if " at 0x" in text else text

    def __repr__(self) -> str:
        return self.text.replace("engine.", "torch.")


def signature_text(value: Any, method: bool = False) -> str:
    """`value`'s arguments as "(a, *, b=1)", without annotations, private arguments and a method's receiver.

    "" where Python shows none.
    """
    try:
        signature = inspect.signature(value)
    except (TypeError, ValueError):
        return ""
    if not inspect.isroutine(value) and not inspect.isclass(value):
        return ""
    arguments = [
        p.replace(annotation=p.empty, default=p.empty if p.default is p.empty else _Shown(p.default))
        for p in signature.parameters.values()
        if not p.name.startswith("_")
    ][method:]
    if any(p.kind is p.VAR_POSITIONAL for p in arguments) and any(p.kind is p.VAR_KEYWORD for p in arguments):
        return ""  # a wrapper, which says nothing
    try:
        return str(signature.replace(parameters=arguments, return_annotation=signature.empty))
    except ValueError:
        return ""


# -- our side ---------------------------------------------------------------------------------------------------------

_ABSENT = object()


def reason_for(namespace: str, name: str) -> str:
    """Why an absent name is refused, or ""."""
    for reason, namespaces, patterns in REASONS:
        if namespace in namespaces.split() and any(fnmatchcase(name, pattern) for pattern in patterns.split()):
            return reason
    return ""


def row(namespace: str, owner: Any, name: str, theirs: str) -> Row:
    """The state of one name. What raises NotImplementedError when named, or says that it does when called, is refused."""
    try:
        value = getattr(owner, name, _ABSENT)
    except NotImplementedError as error:
        return Row(name, REFUSED, str(error).partition("HINT: ")[2] or str(error))
    if value is _ABSENT:
        reason = reason_for(namespace, name)
        return Row(name, REFUSED if reason else PLANNED, reason)
    doc = inspect.getdoc(value) or ""
    if doc.startswith("NotImplementedError"):
        return Row(name, REFUSED, " ".join(doc.partition("\n\n")[0].removeprefix("NotImplementedError:").split()))
    ours = signature_text(value, namespace == "Tensor")
    return Row(name, PRESENT, f"torch: `{theirs}`; here: `{ours}`" if theirs and ours and theirs != ours else "")


@cache
def rows() -> dict[str, list[Row]]:
    """Every name of every namespace."""
    table = {}
    for namespace, names in stored_names().items():
        owner = resolve("engine", namespace)
        made = [row(namespace, owner, name, signature) for name, signature in names.items()]
        table[namespace] = [dataclasses.replace(r, function=(namespace, r.name) in functions()) for r in made]
    return table


# -- pages ------------------------------------------------------------------------------------------------------------

HEAD = """\
# Coverage: torch's names, one by one

Generated by `python docs/generate_coverage.py` from `docs/torch_names.txt` (torch's public names, read off an installed
torch) and from this repository; do not edit. "Present" means that the name is here and works; what works differently is
in [compatibility.md](compatibility.md). "Absent (planned)" names raise AttributeError. "Refused" names are left out for
the reason that their page gives. Two shares tell how much there is: of the names that no structural reason (another
device, TorchScript, quantisation and the like) excludes, and of all of torch's functions and methods, whatever the reason.
"Signatures that differ" counts present names whose arguments, order, defaults or keyword-only marks are not torch's,
among those for which Python shows torch's.
"""


def _title(namespace: str) -> str:
    return namespace if namespace == "torch" else f"torch.{namespace}"


def overview() -> str:
    """The whole text of docs/coverage.md."""
    lines = [HEAD, "| namespace | names | present | absent (planned) | refused | present of those not refused | functions | "
             "of them present | signatures that differ |", "|---|---|---|---|---|---|---|---|---|"]
    totals = [0, 0, 0, 0, 0, 0, 0]
    for namespace, found in rows().items():
        states = [r.state for r in found]
        counts = [len(found), *(states.count(s) for s in (PRESENT, PLANNED, REFUSED))]
        counts.append(sum(r.state == PRESENT and bool(r.note) for r in found))
        counts += [sum(r.function for r in found), sum(r.function and r.state == PRESENT for r in found)]
        totals = [a + b for a, b in zip(totals, counts)]
        lines.append(_counts(f"[{_title(namespace)}](coverage/{namespace}.md)", counts))
    lines.append(_counts("together", totals))
    return "\n".join(lines) + "\n"


def _counts(label: str, counts: list[int]) -> str:
    total, present, planned, refused, differing, functions, there = counts
    share = f"{100 * present // max(1, total - refused)} %"
    of_functions = f"{there} ({100 * there // functions} %)" if functions else "-"
    return f"| {label} | {total} | {present} | {planned} | {refused} | {share} | {functions} | {of_functions} | {differing} |"


def page(namespace: str) -> str:
    """The whole text of docs/coverage/<namespace>.md."""
    found = rows()[namespace]
    lines = [f"# {_title(namespace)}", "", "Generated, see [coverage.md](../coverage.md).", "", "| name | state | note |",
             "|---|---|---|"]
    lines += [f"| `{r.name}` | {r.state} | {r.note.replace('|', chr(92) + '|')} |" for r in found]
    return "\n".join(lines) + "\n"


def pages() -> dict[Path, str]:
    """Every generated page: {path: text}."""
    return {DOCS / "coverage.md": overview(), **{DOCS / "coverage" / f"{n}.md": page(n) for n in rows()}}


def main(arguments: list[str]) -> None:
    if arguments == ["--names"]:
        NAMES.write_text(names_of_torch(), encoding="utf-8")
        print(f"wrote {NAMES}")
        return
    for path, text in pages().items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
    print(f"wrote {DOCS / 'coverage.md'} and {len(rows())} pages in {DOCS / 'coverage'}")


if __name__ == "__main__":
    main(sys.argv[1:])
