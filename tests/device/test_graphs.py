"""Capturing work in a CUDA graph: what is recorded, what is refused, random numbers in replays."""

from __future__ import annotations

import pytest

import engine
from engine.gpu import gemm
from tests.fake_cupy import cublaslt
from tests.fake_cupy.kernels import compiler


@pytest.fixture(autouse=True)
def products(request):
    """cuBLASLt, which unlike CuPy's own products can be captured."""
    if request.config.getoption("--device") == "cuda":
        if gemm.library() is None:
            pytest.skip("no nvmath-python")
        yield
        return
    if compiler() is None:
        pytest.skip("no g++")
    with cublaslt.installed(gemm):
        yield


def test_a_step_is_captured_and_replayed(device):
    x, w = engine.randn(4, 5, device=device), engine.randn(5, 3, device=device, requires_grad=True)

    def step():
        loss = engine.nn.functional.gelu(x @ w).softmax(1).square().sum()
        (w.grad,) = engine.autograd.grad(loss, [w])
        return loss

    expected = step().item()
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        out = step()
    graph.replay()
    assert out.item() == pytest.approx(expected, rel=1e-6)
    x.mul_(2)
    graph.replay()
    assert out.item() == pytest.approx(step().item(), rel=1e-6) != expected


def test_what_waits_is_refused_with_a_hint_and_leaves_the_device_usable(device):
    x = engine.ones(3, device=device)
    graph = engine.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="can't be captured in a CUDA graph.*HINT: take what waits"), \
            engine.cuda.graph(graph):
        x.sum().item()
    assert x.sum().item() == 3
    with pytest.raises(RuntimeError, match="without a preceding successful capture"):
        graph.replay()


def test_the_default_stream_is_refused(device):
    with pytest.raises(RuntimeError, match="non-default stream"):
        engine.cuda.CUDAGraph().capture_begin()


def test_replays_draw_new_numbers_and_eager_draws_come_between(device):
    x = engine.zeros(100, device=device)
    x.uniform_()
    graph = engine.cuda.CUDAGraph()
    before = engine.cuda.get_rng_state().tolist()
    with engine.cuda.graph(graph):
        x.uniform_()
        x.normal_()
        x.uniform_()
    generator = engine.random.on_devices()[0]
    seen = []
    for _ in range(3):
        graph.replay()
        seen.append(tuple(x.tolist()))
        seen.append(tuple(engine.rand(100, device=device).tolist()))
    assert len(set(seen)) == 6
    assert generator.draws() == before[8] + 3 * 4


def test_a_graphed_callable_copies_its_arguments_in(device):
    layer = engine.nn.Linear(3, 2).to(device)
    with engine.no_grad():
        graphed = engine.cuda.make_graphed_callables(layer, (engine.zeros(4, 3, device=device),))
        out = graphed(engine.ones(4, 3, device=device))
        assert out.shape == (4, 2)
        assert engine.allclose(out, layer(engine.ones(4, 3, device=device)))
    with pytest.raises(NotImplementedError, match="HINT"):
        engine.cuda.make_graphed_callables((layer, layer), ((), ()))
