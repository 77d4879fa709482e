"""Fixtures of the lit tests: no flag of one test reaches the next."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import engine


@pytest.fixture(autouse=True)
def in_own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Work in an empty folder, and with the process-wide settings of engine put back."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PL_GLOBAL_SEED", raising=False)
    monkeypatch.delenv("PL_SEED_WORKERS", raising=False)
    dtype, grad = engine.get_default_dtype(), engine.is_grad_enabled()
    engine.manual_seed(0)
    yield
    engine.set_default_dtype(dtype)
    engine.set_grad_enabled(grad)
