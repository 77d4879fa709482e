"""docs/coverage.md and docs/coverage/ are what their generator writes, and what they call present is there."""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).resolve().parent.parent
AGAIN = "run: python docs/generate_coverage.py"
ROW = re.compile(r"\| `(\w+)` \| present \|")


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate_coverage", ROOT / "docs" / "generate_coverage.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def generator() -> ModuleType:
    return load_generator()


def test_pages_are_fresh(generator: ModuleType) -> None:
    stale = [path.name for path, text in generator.pages().items() if not path.exists() or path.read_text() != text]
    assert not stale, f"stale: {stale}; {AGAIN}"


def test_no_page_is_left_over(generator: ModuleType) -> None:
    assert set((ROOT / "docs" / "coverage").iterdir()) == set(generator.pages()) - {ROOT / "docs" / "coverage.md"}


def test_present_names_are_there(generator: ModuleType) -> None:
    """Names that the committed pages call present; regenerating a page does not excuse a name that has gone."""
    gone = []
    for namespace in generator.NAMESPACES:
        owner = generator.resolve("engine", namespace)
        names = ROW.findall((ROOT / "docs" / "coverage" / f"{namespace}.md").read_text())
        gone += [f"{namespace}.{n}" for n in names if generator.row(namespace, owner, n, "").state != generator.PRESENT]
    assert not gone, f"marked present and gone: {gone}"


def test_every_reason_is_used(generator: ModuleType) -> None:
    """A reason for a group of names goes when its last name is implemented."""
    used = {row.note for rows in generator.rows().values() for row in rows if row.state == generator.REFUSED}
    assert not {reason for reason, _, _ in generator.REASONS} - used


def test_a_missing_name_is_planned_or_refused(generator: ModuleType) -> None:
    import engine

    assert generator.row("torch", engine, "no_such_name", "").state == generator.PLANNED
    refused = generator.row("torch", engine, "quantize_per_tensor", "")
    assert refused.state == generator.REFUSED and "uantised" in refused.note
    assert generator.row("torch", engine, "add", "").state == generator.PRESENT


def test_a_signature_that_differs_is_noted(generator: ModuleType) -> None:
    from engine import nn

    assert generator.row("nn", nn, "Linear", "(a, *, b=1)").note.startswith("torch: `(a, *, b=1)`; here: ")


def test_the_stored_names_are_those_of_the_installed_torch(generator: ModuleType) -> None:
    torch = pytest.importorskip("torch")
    stored = generator.NAMES.read_text()
    if f"torch {torch.__version__.split('+')[0]}," not in stored:
        pytest.skip(f"docs/torch_names.txt is of another torch than {torch.__version__}")
    assert stored == generator.names_of_torch(), "run: python docs/generate_coverage.py --names"
