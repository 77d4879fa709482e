"""The default generator: seeding it, saving it, forking it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import engine
from engine.random import default_generator
from engine.rng import F32


def draw() -> list[float]:
    return default_generator.uniform((3,), F32).tolist()


def test_manual_seed_starts_the_stream_and_returns_the_generator() -> None:
    assert engine.manual_seed(0) is default_generator is engine.default_generator
    first = draw()
    assert first == pytest.approx([0.49625659, 0.76822180, 0.08847743])
    engine.manual_seed(0)
    assert draw() == first and engine.initial_seed() == 0
    engine.manual_seed("12")  # anything that int() takes, as in torch
    assert engine.initial_seed() == 12
    assert engine.seed() == engine.initial_seed()


@pytest.mark.parametrize(("seed", "error"), [("a", ValueError), (None, TypeError), (2**64, ValueError)])
def test_bad_seeds(seed: Any, error: type) -> None:
    with pytest.raises(error):
        engine.manual_seed(seed)


def test_state_is_a_byte_tensor_and_can_be_put_back() -> None:
    state = engine.get_rng_state()
    assert state.dtype is engine.uint8 and tuple(state.shape) == (5056,)
    first = draw()
    engine.set_rng_state(state)
    assert draw() == first
    with pytest.raises(TypeError, match="ByteTensor"):
        engine.set_rng_state(engine.zeros(5056))
    with pytest.raises(TypeError, match="ByteTensor, but got list"):
        engine.set_rng_state([1, 2])


def test_generator_states_are_independent() -> None:
    g = engine.Generator()
    state = g.get_state()
    assert g.set_state(state) is g
    engine.manual_seed(1)
    g.manual_seed(2)
    assert engine.initial_seed() == 1
    assert (g.get_state().numpy() == np.asarray(g.state_array())).all()


def test_fork_rng_leaves_the_stream_where_it_was() -> None:
    engine.manual_seed(3)
    with engine.random.fork_rng():
        engine.manual_seed(4)
        draw()
    inside = draw()
    engine.manual_seed(3)
    assert draw() == inside
    engine.manual_seed(3)
    with pytest.raises(KeyError), engine.random.fork_rng(devices=[]):
        draw()
        raise KeyError
    assert draw() == inside
    engine.manual_seed(3)
    with engine.random.fork_rng(enabled=False):
        draw()
    assert draw() != inside
