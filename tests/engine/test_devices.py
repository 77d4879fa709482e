"""Device objects, and what is said where there is no GPU."""

from __future__ import annotations

import pickle

import pytest

import engine
from engine import backend

no_gpu = pytest.mark.skipif(backend.cuda_available(), reason="there is a GPU")


@pytest.mark.parametrize(("args", "kind", "index"), [
    (("cpu",), "cpu", None), (("cuda",), "cuda", None), (("cuda:1",), "cuda", 1), (("cuda", 0), "cuda", 0), ((1,), "cuda", 1),
    (("cpu:0",), "cpu", 0),
])  # fmt: skip
def test_device_objects_equal_torchs(args, kind, index):
    device = engine.device(*args)
    assert (device.type, device.index) == (kind, index)
    assert device == engine.device(device) == pickle.loads(pickle.dumps(device))
    assert hash(device) == hash(engine.device(*args))
    if kind == "cpu":
        torch = pytest.importorskip("torch")
        theirs = torch.device(*args)
        assert (str(device), repr(device)) == (str(theirs), repr(theirs))


@pytest.mark.parametrize("text", ["tpu", "cuda:x", "cuda:", "", "cpu cuda"])
def test_bad_device_strings(text):
    with pytest.raises(RuntimeError):
        engine.device(text)
    with pytest.raises(RuntimeError):
        engine.ones(1).to(text)


def test_device_of_tensors():
    x = engine.ones(2)
    assert x.device == engine.device("cpu")
    assert (x.is_cuda, x.is_cpu, x.get_device()) == (False, True, -1)
    assert x.cpu() is x
    assert x.to("cpu") is x
    assert engine.ones(1, device="cpu").device.type == "cpu"


@no_gpu
@pytest.mark.parametrize("call", [
    lambda: engine.ones(2).cuda(), lambda: engine.ones(2).to("cuda:0"), lambda: engine.zeros(2, device="cuda"),
    lambda: engine.tensor([1.0], device="cuda"), lambda: engine.rand(2, device="cuda"), lambda: engine.ones(2).pin_memory(),
])  # fmt: skip
def test_without_a_gpu_the_error_says_what_to_do(call):
    assert not engine.cuda.is_available()
    with pytest.raises(RuntimeError, match="HINT: (pip install|check `nvidia-smi`)"):
        call()


@pytest.mark.skipif(not backend.cuda_available(), reason="needs a GPU")
def test_mixing_devices_names_both():
    with pytest.raises(RuntimeError, match="same device"):
        engine.ones(2) + engine.ones(2, device="cuda")
