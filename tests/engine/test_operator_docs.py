"""Operators made from table rows have examples, too: they run like those of written functions."""

from __future__ import annotations

import doctest

import numpy as np
import pytest

import engine
from engine.ops import FUNCTIONAL, FUNCTIONS

PUBLIC = {f"torch.{name}": fn for name, fn in FUNCTIONS.items()}
PUBLIC |= {f"nn.functional.{name}": fn for name, fn in FUNCTIONAL.items()}


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_example_prints_what_it_says(name):
    import engine.nn as nn

    text = PUBLIC[name].__doc__ or ""
    names = {"torch": engine, "nn": nn, "np": np}
    test = doctest.DocTestParser().get_doctest(text, names, name, None, 0)
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE)
    report: list[str] = []
    engine.manual_seed(0)
    runner.run(test, out=report.append)
    assert runner.failures == 0, "".join(report)
