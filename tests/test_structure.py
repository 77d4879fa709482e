"""The rules that keep the house in order, read off the source text.

Imports go down only, one file names CuPy, files and functions stay short, every room says who lives there,
and importing the packages loads nothing heavy.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("engine", "lit", "callbacks", "loggers")
MAX_FILE_LINES = 500
MAX_FUNCTION_LINES = 60
UNFINISHED = re.compile(r"\b(TODO|FIXME|XXX|HACK)\b")

# What each room may import of ours. `lit` inside callbacks is for type checkers only, and those imports are not read.
ROOM_MAY_IMPORT = {
    "engine": {"engine"},
    "loggers": {"loggers"},
    "callbacks": {"callbacks", "engine"},
    "lit": {"lit", "callbacks", "loggers", "engine"},
}

# Levels inside engine: a file imports its own level or a lower one. A name not listed lives on the library floor.
ENGINE_LEVELS = {
    "errors": 0, "dtypes": 0, "layouts": 0,
    "_batched_rules": 1, "backend": 1, "batched": 1, "coo": 1, "copying": 1, "devices": 1, "fast": 1,
    "gpu": 1, "memory": 1, "meta": 1, "pool": 1,
    "autograd": 2,
    "tensor": 3, "protocols": 3, "size": 3, "printing": 3, "random": 3,
    "rng": 3, "rng_checks": 3, "rng_device": 3, "rng_kernels": 3, "rng_meta": 3, "rng_rejection": 3,
    "rng_source": 3, "rng_words": 3,
    "ops": 4,
    "distributed": 6,
}  # fmt: skip
LIBRARY_LEVEL = 5
# `import engine` inside engine means the public face of the levels up to ops, so only the library floor may write it.
PUBLIC_FACE_LEVEL = 5
# Neighbours on one floor that must not know each other.
STRANGERS = {("optim", "nn"), ("amp", "nn")}

HEAVY = (
    "tqdm", "tensorboardX", "safetensors", "torch", "scipy", "sklearn", "multiprocessing", "yaml", "numba", "cupy",
    "unittest", "threadpoolctl", "rich",
)  # fmt: skip


def source_files(*folders: str) -> list[Path]:
    return sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_module(name: str) -> bool:
    path = ROOT.joinpath(*name.split("."))
    return path.is_dir() or path.with_suffix(".py").is_file()


def nodes_at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """Every node below `node`, leaving out what stands under `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            for other in child.orelse:
                yield other
                yield from nodes_at_run_time(other)
            continue
        yield child
        yield from nodes_at_run_time(child)


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """(line, module) of everything a file imports; `from a import b` counts as a.b where that is a module."""
    package = module_of(path).split(".")
    if path.name != "__init__.py":
        package = package[:-1]
    for node in nodes_at_run_time(tree_of(path)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join([*package[: len(package) - node.level + 1], *([node.module] if node.module else [])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                ours = base.split(".")[0] in ROOMS
                yield node.lineno, name if ours and is_module(name) else base


def engine_level(module: str) -> int:
    parts = module.split(".")
    return PUBLIC_FACE_LEVEL if len(parts) == 1 else ENGINE_LEVELS.get(parts[1], LIBRARY_LEVEL)


def at(path: Path, line: int, what: str) -> str:
    return f"{path.relative_to(ROOT)}:{line}: {what}"


def assert_none(problems: list[str]) -> None:
    assert not problems, "\n" + "\n".join(problems)


def test_rooms_import_only_the_rooms_below_them() -> None:
    problems = []
    for room in ROOMS:
        for path in source_files(room):
            for line, name in imports_of(path):
                target = name.split(".")[0]
                if target in ROOMS and target not in ROOM_MAY_IMPORT[room]:
                    problems.append(at(path, line, f"{room} must not import {name}"))
    assert_none(problems)


def test_engine_imports_only_its_own_level_or_a_lower_one() -> None:
    problems = []
    for path in source_files("engine"):
        module = module_of(path)
        if module == "engine":
            continue  # the package's face imports all levels
        for line, name in imports_of(path):
            here, there = engine_level(module), engine_level(name)
            if name.split(".")[0] == "engine" and there > here:
                problems.append(at(path, line, f"a file of level {here} imports {name}, which is of level {there}"))
    assert_none(problems)


def test_neighbours_that_must_not_know_each_other_do_not() -> None:
    problems = []
    for path in source_files("engine"):
        house = module_of(path).split(".")[1:2]
        for line, name in imports_of(path):
            other = name.split(".")[1:2]
            if name.startswith("engine.") and house and other and (house[0], other[0]) in STRANGERS:
                problems.append(at(path, line, f"{house[0]} must not import {name}"))
    assert_none(problems)


def test_nothing_is_imported_with_a_star() -> None:
    assert_none(
        [
            at(path, node.lineno, f"from {node.module} import *")
            for path in source_files(*ROOMS, "examples", "tests")
            for node in ast.walk(tree_of(path))
            if isinstance(node, ast.ImportFrom) and any(alias.name == "*" for alias in node.names)
        ]
    )


def names_cupy(node: ast.AST) -> bool:
    if isinstance(node, ast.Import):
        return any(alias.name.split(".")[0] in ("cupy", "cupyx") for alias in node.names)
    if isinstance(node, ast.ImportFrom):
        return (node.module or "").split(".")[0] in ("cupy", "cupyx")
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value in ("cupy", "cupyx") or node.value.startswith(("cupy.", "cupyx."))
    return isinstance(node, ast.Name) and node.id in ("cupy", "cupyx")


def test_one_file_names_cupy() -> None:
    naming = {
        path.relative_to(ROOT).as_posix()
        for path in source_files(*ROOMS)
        if any(names_cupy(node) for node in ast.walk(tree_of(path)))
    }
    assert naming <= {"engine/backend.py"}


def test_files_are_short() -> None:
    paths = source_files(*ROOMS, "examples", "tests")
    lengths = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert_none([at(path, n, f"more than {MAX_FILE_LINES} lines") for path, n in lengths.items() if n > MAX_FILE_LINES])


def test_functions_are_short() -> None:
    """Signature and docstring do not count: many options and a long explanation are welcome, a long body is not."""
    problems = []
    for path in source_files(*ROOMS, "examples"):
        for node in ast.walk(tree_of(path)):
            if not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            body = node.body[ast.get_docstring(node) is not None :]
            length = (body[-1].end_lineno or 0) - body[0].lineno + 1 if body else 0
            if length > MAX_FUNCTION_LINES:
                problems.append(at(path, node.lineno, f"the body of {node.name} has {length} lines"))
    assert_none(problems)


def test_no_marks_for_later_work() -> None:
    problems = []
    for path in source_files(*ROOMS, "examples", "tests"):
        if path == Path(__file__).resolve():
            continue
        for number, text in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
            if UNFINISHED.search(text):
                problems.append(at(path, number, text.strip()))
    assert_none(problems)


def test_every_room_says_who_lives_there() -> None:
    folders = {path.parent for path in source_files(*ROOMS)} | {ROOT / "tests", ROOT / "examples"}
    assert_none([at(folder, 1, "no README.md") for folder in sorted(folders) if not (folder / "README.md").is_file()])


@pytest.mark.parametrize("room", ROOMS)
def test_packages_list_what_is_public_and_ship_their_types(room: str) -> None:
    face = tree_of(ROOT / room / "__init__.py")
    assert any(isinstance(node, (ast.Assign, ast.AnnAssign)) and "__all__" in ast.unparse(node) for node in face.body)
    assert (ROOT / room / "py.typed").is_file()


def test_importing_the_packages_loads_nothing_heavy() -> None:
    program = f"import sys, engine, lit; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
