"""The same script on torch and here prints the same losses: twelve kinds of models, from initialisation to the last step."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from tests.training_curves import MODELS, curve


@pytest.fixture
def torch():
    """torch on one thread: its threads wait for each other by spinning, which takes minutes on a busy machine."""
    library = pytest.importorskip("torch")
    before = library.get_num_threads()
    library.set_num_threads(1)
    yield library
    library.set_num_threads(before)


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_a_hundred_steps_in_float64_lose_what_torch_loses(model, torch):
    here = curve(engine, model, "float64", 100)
    np.testing.assert_allclose(here, curve(torch, model, "float64", 100), rtol=1e-9)
    assert here[-1] != here[0]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: m.__name__)
def test_twenty_steps_in_float32_stay_within_rounding(model, torch):
    np.testing.assert_allclose(curve(engine, model, "float32", 20), curve(torch, model, "float32", 20), rtol=1e-4)
