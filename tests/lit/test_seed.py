"""seed_everything and the random streams."""

from __future__ import annotations

import os
import random
from typing import Any

import numpy as np
import pytest

import engine as torch
import lit as pl
from lit.rng import isolate_rng


def draws() -> tuple[float, float, list[float]]:
    return random.random(), float(np.random.rand()), torch.rand(2).tolist()  # noqa: NPY002


def test_everything_is_seeded(capsys: pytest.CaptureFixture[str]) -> None:
    assert pl.seed_everything(7) == 7
    assert capsys.readouterr().out == "Seed set to 7\n"
    first = draws()
    pl.seed_everything(7, verbose=False)
    assert draws() == first
    pl.seed_everything(8, verbose=False)
    assert draws() != first
    assert os.environ["PL_GLOBAL_SEED"] == "8"


def test_same_numbers_as_lightning() -> None:
    oracle = pytest.importorskip("torch")
    pl.seed_everything(7, verbose=False)
    mine = torch.rand(3).tolist()
    oracle.manual_seed(7)
    assert mine == oracle.rand(3).tolist()


def test_seed_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PL_GLOBAL_SEED", "123")
    assert pl.seed_everything(verbose=False) == 123
    monkeypatch.delenv("PL_GLOBAL_SEED")
    with pytest.warns(UserWarning, match="no seed given"):
        assert pl.seed_everything(verbose=False) == 0


@pytest.mark.parametrize("seed", [-1, 2**32, "many"])
def test_bad_seeds(seed: Any) -> None:
    with pytest.raises(ValueError, match="seed_everything"):
        pl.seed_everything(seed)


def test_isolate_rng() -> None:
    pl.seed_everything(1, verbose=False)
    with isolate_rng():
        inside = draws()
    assert draws() == inside
    with pytest.raises(ZeroDivisionError), isolate_rng():
        before = draws()
        1 / 0  # noqa: B018
    assert draws() == before
