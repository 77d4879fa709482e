"""engine.cuda: devices, memory, streams, events, errors."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from tests import fake_cupy


def test_tensors_say_where_they_are(device):
    x = engine.ones(2, device=device)
    assert x.device == engine.device("cuda", 0)
    assert (x.is_cuda, x.is_cpu, x.get_device()) == (True, False, 0)
    assert repr(x) == "tensor([1., 1.], device='cuda:0')"
    assert x.cuda() is x and x.to("cuda:0") is x and x.to(device) is x
    assert x.cpu().tolist() == [1.0, 1.0]


def test_a_second_device(device):
    if engine.cuda.device_count() < 2:
        pytest.skip("one GPU")
    x = engine.arange(3, device="cuda:1") * 2.0
    assert x.device == engine.device("cuda:1") and engine.cuda.current_device() == 0
    assert (x + 1).sum().item() == 9
    y = engine.ones(3, device="cuda:1", requires_grad=True)
    (y * x).sum().backward()
    assert y.grad.device == engine.device("cuda:1") and y.grad.tolist() == [0.0, 2.0, 4.0]
    with engine.cuda.device(1):
        assert engine.ones(1, device="cuda").get_device() == 1
    with pytest.raises(RuntimeError, match=r"two devices, cuda:1 and cuda:0!"):
        x + engine.ones(3, device="cuda:0")
    with pytest.raises(RuntimeError, match="invalid device ordinal"):
        engine.cuda.set_device(99)


@pytest.mark.parametrize("call", [
    lambda a, b: a + b, lambda a, b: a @ b, lambda a, b: engine.cat([a, b]), lambda a, b: engine.where(a > 0, a, b),
    lambda a, b: engine.nn.functional.linear(a, b), lambda a, b: engine.nn.functional.mse_loss(a, b),
])  # fmt: skip
def test_mixing_devices_names_both(device, call):
    with pytest.raises(RuntimeError, match="same device, but found at least two devices, cuda:0 and cpu"):
        call(engine.ones(2, 2, device=device), engine.ones(2, 2))


def test_numbers_and_0_d_tensors_of_the_cpu_go_along(device):
    x = engine.ones(2, device=device, requires_grad=True)
    w = engine.tensor(3.0, requires_grad=True)
    (x * w * 2).sum().backward()
    assert x.grad.is_cuda and x.grad.tolist() == [6.0, 6.0]
    assert not w.grad.is_cuda and w.grad.item() == 4.0


def test_nothing_becomes_a_numpy_array_unasked(device):
    x = engine.ones(2, device=device)
    for convert in (lambda: x.numpy(), lambda: np.asarray(x)):
        with pytest.raises(TypeError, match="can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu()"):
            convert()
    assert x.numpy(force=True).tolist() == [1.0, 1.0]


def test_out_of_memory_says_how_much_and_leaves_the_process_usable(device):
    free, total = engine.cuda.mem_get_info()
    with pytest.raises(engine.cuda.OutOfMemoryError, match=r"Tried to allocate .* total capacity of .* is free") as caught:
        engine.empty(2 * total, dtype=engine.uint8, device=device)
    assert isinstance(caught.value, RuntimeError) and engine.OutOfMemoryError is engine.cuda.OutOfMemoryError
    assert engine.ones(2, device=device).sum().item() == 2


def test_memory_is_counted_with_its_peak(device):
    engine.cuda.empty_cache()
    engine.cuda.reset_peak_memory_stats()
    before = engine.cuda.memory_allocated()
    x = engine.zeros(1 << 20, dtype=engine.uint8, device=device)
    assert engine.cuda.memory_allocated() == before + (1 << 20)
    del x
    assert engine.cuda.memory_allocated() == before
    assert engine.cuda.max_memory_allocated() == before + (1 << 20)
    assert engine.cuda.max_memory_reserved() >= before + (1 << 20)
    engine.cuda.reset_peak_memory_stats()
    assert engine.cuda.max_memory_allocated() == before
    assert set(engine.cuda.memory_stats()) and "GiB" not in engine.cuda.memory_summary()


def test_streams_and_events(device):
    first, second = engine.cuda.Event(enable_timing=True), engine.cuda.Event(enable_timing=True)
    stream = engine.cuda.Stream()
    x = engine.ones(1000, device=device)
    stream.wait_stream(engine.cuda.current_stream())
    with engine.cuda.stream(stream):
        assert engine.cuda.current_stream() == stream
        first.record()
        y = x * 2
        second.record()
    assert engine.cuda.current_stream() == engine.cuda.default_stream() != stream
    engine.cuda.current_stream().wait_stream(stream)
    second.synchronize()
    assert second.query() and first.elapsed_time(second) >= 0
    assert y.sum().item() == 2000
    with pytest.raises(RuntimeError, match="enable_timing"):
        engine.cuda.Event().elapsed_time(second)


def test_what_is_said_of_the_device(device):
    assert engine.cuda.get_device_name() and engine.cuda.get_device_properties(0).total_memory > 0
    assert len(engine.cuda.get_device_capability()) == 2
    engine.cuda.synchronize()
    assert engine.cuda.is_bf16_supported()


# -- random numbers ---------------------------------------------------------------------------------------------------


@pytest.fixture
def kernels(request):
    if request.config.getoption("--device") == "fake-cuda" and fake_cupy.kernels.compiler() is None:
        pytest.skip("no g++")


def test_a_seed_repeats_the_numbers_and_leaves_the_cpus_alone(device, kernels):
    engine.manual_seed(5)
    on_cpu = engine.rand(3)
    engine.manual_seed(5)
    first = engine.rand(1000, device=device)
    assert (engine.rand(3) == on_cpu).all()
    engine.cuda.manual_seed(5)
    again = engine.rand(1000, device=device)
    assert (first == again).all() and not (engine.rand(1000, device=device) == again).any()
    assert first.min().item() >= 0 and first.max().item() < 1


def test_states_are_saved_and_put_back(device, kernels):
    engine.rand(2, device=device)
    states = engine.cuda.get_rng_state_all()
    first = engine.randn(20, device=device)
    engine.cuda.set_rng_state_all(states)
    assert (engine.randn(20, device=device) == first).all()
    with engine.random.fork_rng():
        engine.rand(2, device=device)
    state = engine.cuda.get_rng_state()
    with engine.random.fork_rng():
        engine.rand(2, device=device)
    assert (engine.cuda.get_rng_state() == state).all()


def test_own_generators_belong_to_a_device(device, kernels):
    g = engine.Generator(device).manual_seed(3)
    first = engine.randint(0, 100, (50,), generator=g, device=device)
    g.manual_seed(3)
    assert (engine.randint(0, 100, (50,), generator=g, device=device) == first).all()
    assert first.min().item() >= 0 and first.max().item() < 100
    with pytest.raises(RuntimeError, match="Expected a 'cuda' device type for generator but found 'cpu'"):
        engine.rand(2, generator=engine.Generator(), device=device)


@pytest.mark.parametrize("fill", ["normal_", "uniform_", "exponential_", "random_", "bernoulli_", "log_normal_", "cauchy_"])
def test_every_fill_works_on_the_device(device, kernels, fill):
    x = engine.zeros(4, 5, device=device)
    assert getattr(x, fill)().is_cuda and x.abs().sum().item() > 0


def test_dropout_draws_on_the_device(device, kernels):
    x = engine.ones(1000, device=device)
    y = engine.nn.functional.dropout(x, 0.25)
    assert y.is_cuda and 0.65 < (y > 0).float().mean().item() < 0.85
    assert sorted(set(y.tolist())) == pytest.approx([0, 4 / 3])
    assert sorted(engine.randperm(10, device=device).tolist()) == list(range(10))
