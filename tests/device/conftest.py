"""The device that the tests here run on: the stand-in for CuPy, or the real one with `pytest --device cuda`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from engine import backend
from engine import random as engine_random
from engine.gpu import cudnn, gemm
from tests import fake_cupy
from tests.fake_cupy import cublaslt
from tests.fake_cupy.kernels import compiler


@pytest.fixture(autouse=True)
def device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """ "cuda", where a device is; the stand-in is taken away again after the test."""
    if request.config.getoption("--device") == "cuda":
        if not backend.cuda_available():
            pytest.skip("there is no GPU")
        yield "cuda"
        return
    monkeypatch.setattr(backend, "_cuda_ok", True)
    monkeypatch.setattr(backend, "_cupy", fake_cupy.install())
    monkeypatch.setattr(backend, "devices_in_use", False)
    monkeypatch.setattr(engine_random, "_on_devices", {})
    fake_cupy.state.reset()
    yield "cuda"
    fake_cupy.uninstall()


@pytest.fixture
def events(request: pytest.FixtureRequest) -> dict:
    """What the stand-in counted since the test began. Skips on a real GPU, which does not tell."""
    if request.config.getoption("--device") == "cuda":
        pytest.skip("only the stand-in counts")
    return fake_cupy.state.events


@pytest.fixture
def cudnn_library(request: pytest.FixtureRequest, device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The host form of cuDNN on the stand-in; on a GPU the real one, if it is there."""
    if request.config.getoption("--device") == "cuda":
        if cudnn.library() is None:
            pytest.skip("no nvidia-cudnn-frontend")
        return
    from tests.fake_cupy import cudnn as host

    monkeypatch.setattr(cudnn, "library", lambda: host)
    monkeypatch.setattr(cudnn, "_plans", {})
    monkeypatch.setattr(cudnn, "_handles", {})


@pytest.fixture
def products(request: pytest.FixtureRequest) -> Iterator[None]:
    """cuBLASLt, whose products can be captured, which CuPy's own can't."""
    if request.config.getoption("--device") == "cuda":
        if gemm.library() is None:
            pytest.skip("no nvmath-python")
        yield
        return
    if compiler() is None:
        pytest.skip("no g++")
    with cublaslt.installed(gemm):
        yield
