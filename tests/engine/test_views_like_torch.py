"""Views, changes in place, aliasing, hooks and histories: small programs that run on both libraries with equal results."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

import engine

from .history_cases import HISTORIES
from .ops_harness import array
from .tables import counted
from .view_cases import VIEWS


def outcome(program: Any, library: Any) -> Any:
    """What a program returns, tensors as (dtype, requires_grad, numbers), or the class of its error."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return plain(program(library))
    except Exception as error:
        return type(error).__name__


def plain(value: Any) -> Any:
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if hasattr(value, "requires_grad"):
        return str(value.dtype), value.requires_grad, array(value).astype(np.complex128).round(5).tolist()
    return value


@pytest.mark.parametrize("program", VIEWS + HISTORIES, ids=lambda program: program.__name__)
def test_both_libraries_agree(program: Any) -> None:
    torch = pytest.importorskip("torch")
    assert repr(outcome(program, engine)) == repr(outcome(program, torch))


def pieces(torch: Any, how: str) -> Any:
    """A program on pieces of a tensor, which torch refuses, and the same on single views, which it does not."""
    x = counted(torch, 4)
    y = x * 1
    a, b = y.split(2) if how == "pieces" else (y[:2], y[2:])
    a.mul_(3)
    y.add_(x.detach())
    (a * b * y[1:3]).sum().backward()
    return plain([x.grad, y, a, b])


def test_pieces_are_views_like_any_other() -> None:
    torch = pytest.importorskip("torch")
    assert pieces(engine, "pieces") == pieces(torch, "views")
    with pytest.raises(RuntimeError, match="view"):
        pieces(torch, "pieces")


def test_a_change_of_a_piece_is_noticed_by_what_has_kept_the_whole() -> None:
    x, w = engine.ones(4), counted(engine, 4)
    y = (x * w).sum()
    x.split(2)[0].add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.backward()
