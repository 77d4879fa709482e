"""Capturing work in a CUDA graph: what is recorded, what is refused, random numbers in replays."""

from __future__ import annotations

import pytest

import engine

pytestmark = pytest.mark.usefixtures("products")


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
    with pytest.raises(RuntimeError, match=r"can't be captured in a CUDA graph.*test_graphs.py:\d+\).*HINT: take what waits"), \
            engine.cuda.graph(graph):
        x.sum().item()
    assert x.sum().item() == 3
    with pytest.raises(RuntimeError, match="without a preceding successful capture"):
        graph.replay()


def test_a_product_of_new_shapes_is_refused_because_its_plan_would_be_made_then(device):
    x = engine.ones(7, 11, device=device)
    with pytest.raises(RuntimeError, match="first matrix product of these shapes.*HINT: run the step three times"), \
            engine.cuda.graph(engine.cuda.CUDAGraph()):
        x @ x.T


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


def test_graphed_modules_learn_as_eager_ones(device):
    """Two of them in one step, forward and backward replayed; in another mode the module runs as it is."""
    models = []
    for graphed in (False, True):
        engine.manual_seed(0)
        first = engine.nn.Linear(3, 4).to(device)
        second = engine.nn.Sequential(engine.nn.Linear(4, 2), engine.nn.Tanh()).to(device)
        if graphed:
            x = engine.zeros(5, 3, device=device)
            first, second = engine.cuda.make_graphed_callables(
                (first, second), ((x,), (engine.zeros(5, 4, device=device, requires_grad=True),)))
        optimizer = engine.optim.SGD([*first.parameters(), *second.parameters()], lr=0.1)
        for i in range(3):
            optimizer.zero_grad()
            second(first(engine.full((5, 3), float(i), device=device))).square().sum().backward()
            optimizer.step()
        models.append([p.tolist() for p in (*first.parameters(), *second.parameters())])
        first.eval()
        assert first(engine.ones(1, 3, device=device)).shape == (1, 4)
    assert models[0] == models[1]


def test_two_graphs_and_a_seed_share_one_count(device):
    """Capturing another graph, or seeding, leaves the first one's numbers where it reads them."""
    engine.cuda.manual_seed(3)
    x, y = engine.zeros(4, device=device), engine.zeros(4, device=device)
    graphs = engine.cuda.CUDAGraph(), engine.cuda.CUDAGraph()
    x.uniform_()
    for graph, t in zip(graphs, (x, y)):
        with engine.cuda.graph(graph):
            t.uniform_()
    engine.cuda.manual_seed(4)
    drawn = []
    for graph, t in (*zip(graphs, (x, y)), (graphs[0], x)):
        graph.replay()
        drawn.append(t.tolist())
    engine.cuda.manual_seed(4)
    assert drawn == [engine.rand(4, device=device).tolist() for _ in range(3)]


def test_a_graphed_function_without_gradients(device):
    graphed = engine.cuda.make_graphed_callables(lambda x: x * 2 + 1, (engine.zeros(3, device=device),))
    assert graphed(engine.ones(3, device=device)).tolist() == [3.0] * 3
    with pytest.raises(TypeError, match="HINT"):
        engine.cuda.make_graphed_callables(lambda x: x, (1,))


def test_memory_that_a_graph_reads_must_stay(device, events):
    x = engine.ones(3, device=device)
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        y = x + 1
    graph.replay()
    assert y.tolist() == [2.0] * 3
    del x
    with pytest.raises(RuntimeError, match="memory that was freed"):  # the stand-in says so; a GPU reads something else
        graph.replay()


def test_nothing_runs_while_it_is_captured(device):
    x = engine.zeros(3, device=device)
    graph = engine.cuda.CUDAGraph()
    assert not engine.cuda.is_current_stream_capturing()
    with engine.cuda.graph(graph):
        x += 1
        assert engine.cuda.is_current_stream_capturing()
    assert x.tolist() == [0.0] * 3
    graph.replay()
    graph.replay()
    assert x.tolist() == [2.0] * 3


def test_numbers_drawn_in_a_capture_that_failed_are_not_missing_afterwards(device):
    engine.cuda.manual_seed(3)
    engine.rand(2, device=device)
    state = engine.cuda.get_rng_state()
    with pytest.raises(RuntimeError), engine.cuda.graph(engine.cuda.CUDAGraph()):
        engine.rand(2, device=device).sum().item()
    assert engine.cuda.get_rng_state().tolist() == state.tolist()
