"""Names that programs touch at their start: settings, backends, autocast, compile, old constructors, what is absent."""

from __future__ import annotations

import importlib
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import engine
from engine import compiler, nn

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture(autouse=True)
def notices_are_new(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_said", set())


@pytest.fixture
def settings_are_restored() -> Iterator[None]:
    threads, precision = engine.get_num_threads(), engine.get_float32_matmul_precision()
    yield
    engine.set_num_threads(threads)
    engine.set_float32_matmul_precision(precision)
    engine.use_deterministic_algorithms(False)


def test_there_is_no_accelerator_without_a_gpu() -> None:
    assert engine.accelerator.is_available() == engine.cuda.is_available()
    assert (engine.accelerator.current_accelerator() is None) == (engine.accelerator.device_count() == 0)


def test_backends_answer_and_keep_their_switches() -> None:
    cudnn = importlib.import_module("engine.backends.cudnn")
    assert not engine.backends.mps.is_available() and not cudnn.is_available()
    before = cudnn.benchmark
    with cudnn.flags(enabled=False, benchmark=not before):
        assert cudnn.benchmark is not before and cudnn.enabled is False
    assert cudnn.benchmark is before and cudnn.enabled is True
    engine.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.usefixtures("settings_are_restored")
def test_settings_are_kept() -> None:
    engine.set_num_threads(1)
    assert engine.get_num_threads() == 1
    engine.set_float32_matmul_precision("high")
    assert engine.get_float32_matmul_precision() == "high"
    engine.use_deterministic_algorithms(True, warn_only=True)
    assert engine.are_deterministic_algorithms_enabled() and engine.is_deterministic_algorithms_warn_only_enabled()


@pytest.mark.parametrize(
    ("call", "error", "words"),
    [
        (lambda: engine.set_num_threads(0), RuntimeError, "positive"),
        (lambda: engine.set_num_threads("2"), TypeError, "int"),
        (lambda: engine.set_float32_matmul_precision("best"), ValueError, "highest"),
        (lambda: engine.set_default_tensor_type("torch.DoubelTensor"), TypeError, "DoubleTensor"),
        (lambda: engine.autocast("tpu"), RuntimeError, "tpu"),
        (lambda: engine.distributed.get_rank(), ValueError, "not been initialized"),
        (lambda: engine.distributed.init_process_group("gloo"), NotImplementedError, "one process"),
        (lambda: nn.parallel.DistributedDataParallel(nn.Linear(1, 1)), NotImplementedError, "one process"),
        (lambda: engine.hub.load("a/b", "c"), NotImplementedError, "not downloaded"),
        (lambda: engine.onnx.export(nn.Linear(1, 1)), NotImplementedError, "safetensors"),
        (lambda: engine.jit.save(nn.Linear(1, 1), "x"), NotImplementedError, "torch.save"),
        (lambda: engine.multiprocessing.spawn(print), NotImplementedError, "one process"),
    ],
)
def test_what_is_not_there_says_what_to_do(call, error, words) -> None:
    with pytest.raises(error, match=words):
        call()


@pytest.mark.skipif(engine.cuda.is_available(), reason="about machines without a GPU")
def test_cuda_amp_is_disabled_without_a_gpu() -> None:
    from engine.cuda.amp import GradScaler, autocast

    with pytest.warns(UserWarning, match="not available"), autocast(dtype=engine.float16):
        pass
    with pytest.warns(UserWarning, match="not available"):
        scaler = GradScaler()
    assert not scaler.is_enabled() and scaler.get_scale() == 1.0 and scaler.state_dict() == {}


def scaled_step(w: engine.Tensor, scaler: engine.amp.GradScaler, factor: float) -> None:
    optimizer = engine.optim.SGD([w], lr=1.0)
    scaler.scale((w * factor).sum()).backward()
    scaler.unscale_(optimizer)
    scaler.step(optimizer)
    scaler.update()


def test_grad_scaler_steps_skips_and_adapts() -> None:
    w = engine.zeros(2, requires_grad=True)
    scaler = engine.amp.GradScaler("cpu", init_scale=8.0, growth_interval=1)
    scaled_step(w, scaler, 2.0)
    assert w.tolist() == [-2.0, -2.0] and scaler.get_scale() == 16.0
    w.grad = None
    scaled_step(w, scaler, float("inf"))
    assert w.tolist() == [-2.0, -2.0] and scaler.get_scale() == 8.0
    other = engine.amp.GradScaler("cpu")
    other.load_state_dict(scaler.state_dict())
    assert other.get_scale() == 8.0


def test_grad_scaler_refuses_to_unscale_twice() -> None:
    w = engine.zeros(1, requires_grad=True)
    optimizer, scaler = engine.optim.SGD([w], lr=1.0), engine.amp.GradScaler("cpu")
    scaler.scale(w.sum()).backward()
    scaler.unscale_(optimizer)
    with pytest.raises(RuntimeError, match="already been called"):
        scaler.unscale_(optimizer)


def test_compile_and_jit_return_what_they_get_and_say_so_once() -> None:
    model = nn.Linear(1, 1)
    with pytest.warns(UserWarning, match="does not compile"):
        assert engine.compile(model) is model
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert engine.compile(model, mode="max-autotune") is model

        @engine.compile(fullgraph=True)
        def twice(x: engine.Tensor) -> engine.Tensor:
            return x + x

        @engine.jit.ignore(drop=True)
        def ignored() -> int:
            return 1

    assert twice(engine.ones(1)).item() == 2.0 and ignored() == 1 and not engine.jit.is_scripting()
    with pytest.warns(UserWarning, match="jit.script"):
        assert engine.jit.script(model) is model


def test_old_constructors() -> None:
    assert engine.FloatTensor(2, 3).shape == (2, 3) and engine.LongTensor().shape == (0,)
    assert engine.LongTensor(range(3)).tolist() == [0, 1, 2]
    assert engine.FloatTensor(np.ones(2)).dtype == engine.float32
    assert engine.ones(1).type(engine.LongTensor).dtype == engine.int64
    assert engine.ByteTensor([1]).dtype == engine.uint8
    t = engine.DoubleTensor([1.0])
    assert isinstance(t, engine.DoubleTensor) and not isinstance(t, engine.FloatTensor) and isinstance(t, engine.Tensor)
    with pytest.raises(TypeError, match="float64"):
        engine.FloatTensor(t)
    engine.set_default_tensor_type("torch.DoubleTensor")
    assert engine.zeros(1).dtype == engine.float64


def test_old_variables_are_tensors() -> None:
    v = engine.autograd.Variable(engine.ones(2), requires_grad=True)
    assert isinstance(v, engine.autograd.Variable) and v.requires_grad
    assert not isinstance(3, engine.autograd.Variable)


def test_dense_products_under_their_sparse_names() -> None:
    a = engine.eye(2)
    assert engine.spmm(a, a).tolist() == engine.sparse.mm(a, a).tolist() == [[1.0, 0.0], [0.0, 1.0]]


def test_multiprocessing_is_pythons() -> None:
    import multiprocessing

    assert engine.multiprocessing.Process is multiprocessing.Process
    assert engine.multiprocessing.get_sharing_strategy() in engine.multiprocessing.get_all_sharing_strategies()


def test_versions_agree() -> None:
    assert engine.version.__version__ == engine.__version__
    assert engine.version.cuda is None
    assert engine.__version__.split("+")[1] == f"litengine.{engine.version.litengine}"
    assert f'\nversion = "{engine.version.litengine}"\n' in (ROOT / "pyproject.toml").read_text()


@pytest.mark.parametrize(("other", "order"), [("1.9", 1), ("2.13", 0), ("2.13.0", 0), ("2.14.0a1", -1), ("3", -1),
                                              ((2, 0), 1), ((2, 13, 0), 0), ((10,), -1)])
def test_versions_compare_by_their_numbers(other: object, order: int) -> None:
    version = engine.version.TorchVersion("2.13.0+litengine.0.1.0")
    assert (version > other, version == other, version < other) == (order > 0, order == 0, order < 0)
    assert (version >= other, version != other, version <= other) == (order >= 0, order != 0, order <= 0)


def test_checkpoint_gives_the_same_gradients_and_dropout() -> None:
    net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 1))
    x = engine.randn(3, 4)

    def gradients(call) -> list:
        net.zero_grad()
        engine.manual_seed(3)
        inputs = x.clone().requires_grad_()
        call(inputs).sum().backward()
        state = engine.get_rng_state()
        return [inputs.grad.tolist(), *(p.grad.tolist() for p in net.parameters()), state.tolist()]

    plain = gradients(net)
    assert gradients(lambda x: engine.utils.checkpoint.checkpoint(net, x, use_reentrant=False)) == plain
    assert gradients(lambda x: engine.utils.checkpoint.checkpoint_sequential(net, 2, x)) == plain


def test_summary_writer_takes_tensors_and_does_not_load_torch(tmp_path: Path) -> None:
    program = (
        "import sys, engine\n"
        "from engine.utils.tensorboard import SummaryWriter\n"
        f"w = SummaryWriter({str(tmp_path)!r})\n"
        "x = engine.ones(3, 4, 4, requires_grad=True)\n"
        "w.add_scalar('loss', x.sum(), 0); w.add_histogram('x', x, 0); w.add_image('i', x, 0)\n"
        "w.add_scalars('many', {'a': x.sum()}, 0); w.close()\n"
        "print('torch' in sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "False" and list(tmp_path.glob("events*"))


@pytest.mark.parametrize("name", ["sparse", "hub", "onnx", "jit", "distributions", "distributed", "amp", "backends"])
def test_modules_can_be_imported_by_name(name: str) -> None:
    assert importlib.import_module(f"engine.{name}") is getattr(engine, name)
