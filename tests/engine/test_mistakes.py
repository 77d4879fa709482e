"""The commonest mistakes, each made on this library and, where it is installed, on torch: same class, same facts."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest

import engine

from .mistakes import ALLOWED, SECTIONS
from .tables import LOOSE

# torch's C++ names of dtypes, which its messages use beside the names that programs write.
DTYPE_WORDS = {"Float": "float32", "float": "float32", "Double": "float64", "double": "float64", "Long": "int64",
               "ComplexFloat": "complex64"}

ROWS = [pytest.param(*row[1:3], row[3:], id=f"{section}: {row[0]}") for section, rows in SECTIONS.items() for row in rows]


def message_of(library: Any, mistake: Callable, error: type[Exception]) -> str:
    with pytest.raises(error) as caught:
        mistake(library)
    return str(caught.value)


def facts_in(message: str) -> set[str]:
    """Every number and every quoted name of a message, leaving out the C++ signatures and links that may follow."""
    said = re.split(r"\(function |but expected one of|Exception raised|https?:", message)[0]
    without_words = re.sub(r"[A-Za-z]\w*", "", said)
    return {*re.findall(r"'([\w.]+)'", said), *re.findall(r"(?<![\w.])-?\d+(?:\.\d+)?(?!\w)", without_words)}


def missing_facts(theirs: str, ours: str) -> set[str]:
    """The facts of their message that ours gives under none of their names: torch's, the program's, the engine's own."""
    return {fact for fact in facts_in(theirs)
            if not any(name in ours for name in (fact, DTYPE_WORDS.get(fact, fact), re.sub(r"^torch\b", "engine", fact)))}


@pytest.mark.parametrize(("mistake", "error", "facts"), ROWS)
def test_a_mistake_is_named(mistake: Callable, error: type[Exception], facts: tuple) -> None:
    message = message_of(engine, mistake, error)
    assert message
    for fact in facts:
        assert fact is LOOSE or fact in message, message


@pytest.mark.parametrize(("mistake", "error", "facts"), ROWS)
def test_torch_says_the_same(mistake: Callable, error: type[Exception], facts: tuple) -> None:
    torch = pytest.importorskip("torch")
    theirs, ours = message_of(torch, mistake, error), message_of(engine, mistake, error)
    for fact in facts:
        assert fact is LOOSE or fact in theirs, theirs
    if LOOSE not in facts:
        assert not missing_facts(theirs, ours), f"\n torch: {theirs}\n ours:  {ours}"


@pytest.mark.parametrize("mistake", [row[1] for row in ALLOWED], ids=[row[0] for row in ALLOWED])
def test_what_only_torch_refuses(mistake: Callable) -> None:
    mistake(engine)
    torch = pytest.importorskip("torch")
    with pytest.raises((RuntimeError, TypeError, ValueError)):
        mistake(torch)
