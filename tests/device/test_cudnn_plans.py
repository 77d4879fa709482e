"""The real cuDNN accepts every graph of ours for an H100. Needs `nvidia-cudnn-frontend` and cuDNN's library, and no GPU."""

from __future__ import annotations

import importlib.util
import json
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version

import pytest


def is_installed():
    for name in ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"):
        try:
            return importlib.util.find_spec("cudnn") is not None and tuple(map(int, version(name).split(".")[:2])) >= (9, 11)
        except PackageNotFoundError:
            continue
    return False


@pytest.mark.skipif(not is_installed() or shutil.which("gcc") is None, reason="no cuDNN 9.11, or no C compiler")
def test_every_graph_gets_its_kernels():
    done = subprocess.run([sys.executable, "-m", "tests.device.cudnn_plans"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    found = json.loads(done.stdout)
    assert len(found) > 200
    assert not {key: answer for key, answer in found.items() if "REFUSED" in answer or "without" in answer}
