"""`python -m engine.backends.precompile`."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

import engine
from engine.backends import precompile

ROOT = Path(__file__).resolve().parents[2]
needs_numba = pytest.mark.skipif(importlib.util.find_spec("numba") is None, reason="numba is not installed")


def run(*args, **environment):
    command = [sys.executable, "-m", "engine.backends.precompile", *args]
    return subprocess.run(command, cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300)


@pytest.mark.parametrize("kind", precompile.KINDS)
def test_every_kind_is_a_program_that_runs(kind):
    with engine.backends.fast.flags(enabled=False):
        precompile.KINDS[kind]()


@needs_numba
def test_what_is_compiled_is_kept(tmp_path):
    done = run("random", "random", NUMBA_CACHE_DIR=str(tmp_path))  # each in a process of its own
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["random", "random"], done.stderr
    assert {"random.words", "random.permute"} <= {path.name.split("-")[0] for path in tmp_path.rglob("*.nbi")}


def test_errors():
    for args, environment, text in ((["convolution"], {}, "no kind 'convolution', only convolutions"),
                                    ([], {"LITENGINE_FAST": "0"}, "nothing to compile")):  # fmt: skip
        done = run(*args, **environment)
        assert done.returncode == 2 and text in done.stderr
