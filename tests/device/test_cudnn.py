"""Convolutions by cuDNN's graphs: on the stand-in with a host form of the library that reads the same descriptions."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn
from engine.gpu import cudnn
from tests.device import test_cards as cards
from tests.fake_cupy import cudnn as host

CONVOLUTIONS = [c for c in cards.CASES if c[0] in ("_convolution", "_conv_transpose")]


pytestmark = pytest.mark.usefixtures("cudnn_library")


@pytest.mark.parametrize("kind", ["float64", "float32", "float16", "bfloat16", "gradient"])
@pytest.mark.parametrize("sample", [c[2] for c in CONVOLUTIONS], ids=[f"{c[0]}-{c[1]}" for c in CONVOLUTIONS])
def test_samples_agree_with_the_cpu(sample, kind):
    cards.compare(sample, kind)


SHAPES: dict[str, Any] = {
    "strided": ((2, 8, 9, 7), (8, 8, 3, 3), {"stride": 2, "padding": 1}), "one by one": ((2, 8, 5, 5), (16, 8, 1, 1), {}),
    "grouped": ((2, 8, 6, 6), (16, 2, 3, 3), {"groups": 4}), "space": ((2, 4, 4, 5, 6), (8, 4, 2, 3, 3), {"padding": 1}),
    "dilated": ((2, 8, 9, 9), (8, 8, 3, 3), {"dilation": 2, "padding": 2}),
    "depthwise": ((2, 8, 6, 6), (8, 1, 3, 3), {"groups": 8, "padding": 1}),
    "even, same": ((2, 8, 6, 6), (8, 8, 2, 4), {"padding": "same"}),
}  # fmt: skip


def last(t):
    """The tensor with its channels innermost in memory."""
    inner = (0, *range(2, t.dim()), 1)
    return t.permute(*inner).contiguous().permute(0, t.dim() - 1, *range(1, t.dim() - 1)) if t.dim() > 2 else t


def is_last(t):
    return t.permute(0, *range(2, t.dim()), 1).is_contiguous() and not t.is_contiguous()


def near(ours, expected, tolerance):
    expected = expected.detach().numpy()
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(ours.detach().cpu().float().numpy() / scale, expected / scale, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("dtype", [engine.float32, engine.bfloat16], ids=str)
@pytest.mark.parametrize("name", SHAPES)
def test_channels_last_in_channels_last_out(name, dtype, device):
    x_shape, w_shape, options = SHAPES[name]
    conv = nn.functional.conv2d if len(x_shape) == 4 else nn.functional.conv3d
    there = [last(engine.randn(*s, device=device).to(dtype)) for s in (x_shape, w_shape, w_shape[:1])]
    here = [t.cpu().float() for t in there]  # as rounded
    for t in (*here, *there):
        t.requires_grad_()
    expected, ours = conv(*here, **options), conv(*there, **options)
    assert is_last(ours) and ours.dtype is dtype
    g = engine.randn(*expected.shape)
    wanted = engine.autograd.grad(expected, here, g)
    grads = engine.autograd.grad(ours, there, last(g.to(device).to(dtype)))
    for a, b in zip((ours, *grads), (expected, *wanted)):
        near(a, b, 2e-4 if dtype is engine.float32 else 3e-2)
    assert is_last(grads[0])


def test_a_plan_is_made_once_per_kind(device, events):
    conv = nn.Conv2d(8, 8, 3, padding=1).to(device)
    for size in (6, 6, 5, 6):
        x = engine.randn(2, 8, size, size, device=device, requires_grad=True)
        conv(x).sum().backward()
    assert events["cudnn plan"] == 2 * 3 and events["cudnn run"] == 4 * 3
    assert events["cudnn handle"] == 1 and events["cudnn stream"] == 1 and events["cudnn execute"] == 0


def test_the_stream_is_set_when_it_changes(device, events):
    x, w = engine.ones(1, 1, 4, 4, device=device), engine.ones(1, 1, 3, 3, device=device)
    side = engine.cuda.Stream()
    for _ in range(2):
        nn.functional.conv2d(x, w)
    with engine.cuda.stream(side):
        nn.functional.conv2d(x, w)
    assert events["cudnn stream"] == 2 and host._streams[max(host._streams)] == side.raw.ptr


def test_switches_are_part_of_the_key(device):
    gpu = engine.backend.require_cuda()
    a = cudnn.operand(gpu.zeros((1, 1, 4, 4), np.float32), (1, 1, 4, 4), (16, 16, 4, 1))
    plain = cudnn.key_of("fprop", [a], [a])
    assert plain.tf32 and not plain.deterministic  # torch's defaults
    with engine.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False):
        other = cudnn.key_of("fprop", [a], [a])
        assert not other.tf32 and other.deterministic
        assert engine.backends.cudnn.deterministic and not engine.backends.cudnn.allow_tf32
    assert cudnn.key_of("fprop", [a], [a]) == plain
    assert cudnn.key_of("dgrad", [a], [a]) != plain != cudnn.key_of("fprop", [a], [a], 1)


def notes_of(**flags):
    """What the only plan that a small convolution makes must not use."""
    cudnn._plans.clear()
    with engine.backends.cudnn.flags(enabled=True, **flags):
        nn.functional.conv2d(engine.ones(1, 1, 4, 4, device="cuda"), engine.ones(1, 1, 3, 3, device="cuda"))
    (plan,) = cudnn._plans.values()
    assert plan is not None
    return {note.name for note in plan.graph.notes}


def test_kernels_are_chosen_by_the_switches(events):
    assert notes_of() == {"DOWN_CONVERT_INPUTS"}
    assert notes_of(allow_tf32=False) == {"DOWN_CONVERT_INPUTS", "TENSOR_CORE"}
    assert notes_of(deterministic=True) == {"DOWN_CONVERT_INPUTS", "NONDETERMINISTIC"}


def test_benchmark_tries_every_candidate_once(device, events):
    x, w = engine.randn(1, 2, 4, 4, device=device), engine.randn(2, 2, 3, 3, device=device)
    expected = nn.functional.conv2d(x.cpu(), w.cpu())
    engine.backends.cudnn.benchmark = True
    try:
        for _ in range(2):
            ours = nn.functional.conv2d(x, w)
    finally:
        engine.backends.cudnn.benchmark = False
    assert events["cudnn candidate"] == 2 + 1 and events["cudnn run"] == 2 * (1 + cudnn.TRIALS) + 2
    near(ours, expected, 1e-5)


@pytest.mark.parametrize("how", ["absent", "switched off"])
def test_without_cudnn_columns_serve(how, device, events, monkeypatch):
    x, w = engine.randn(2, 2, 5, 5, device=device, requires_grad=True), engine.randn(3, 2, 3, 3, device=device)
    if how == "absent":
        monkeypatch.setattr(cudnn, "library", lambda: None)
    with engine.backends.cudnn.flags(enabled=how == "absent"):
        out = nn.functional.conv2d(x, w)
        out.sum().backward()
    assert not events["cudnn run"]
    near(out, nn.functional.conv2d(x.detach().cpu(), w.cpu()), 1e-5)


def test_other_versions_execute_with_a_dictionary(device, events, monkeypatch):
    monkeypatch.delattr(host.pygraph, "_execute_with_raw_ptrs")
    x, w = engine.randn(1, 2, 4, 4, device=device), engine.randn(2, 2, 3, 3, device=device)
    ours = nn.functional.conv2d(x, w)
    assert events["cudnn execute"] == 1
    near(ours, nn.functional.conv2d(x.cpu(), w.cpu()), 1e-5)


def test_a_capture_wants_its_plans_made_before(device, events):
    x, w = engine.randn(1, 2, 4, 4, device=device), engine.randn(2, 2, 3, 3, device=device)
    graph = engine.cuda.CUDAGraph()
    with pytest.raises(RuntimeError, match="HINT: run the step once"), engine.cuda.graph(graph):
        nn.functional.conv2d(x, w)
    expected = nn.functional.conv2d(x, w)
    with engine.cuda.graph(graph):
        ours = nn.functional.conv2d(x, w)
    graph.replay()
    near(ours, expected.cpu(), 1e-6)
    x.mul_(2)
    graph.replay()
    near(ours, 2 * expected.cpu(), 1e-6)


def test_what_has_no_plan_goes_another_way(device, events):
    x, w = (engine.randn(*s, device=device) for s in ((1, 3, 5), (3, 2, 2)))  # an output row that no window makes
    out = nn.functional.conv_transpose1d(x, w, dilation=2, output_padding=1)
    assert not events["cudnn run"]
    near(out, nn.functional.conv_transpose1d(x.cpu(), w.cpu(), dilation=2, output_padding=1), 1e-5)


@pytest.mark.parametrize("version", [92801, 0])
def test_the_module_is_loaded_without_torch_and_wants_its_library(version, monkeypatch, tmp_path):
    lines = ["try:", "    import torch", "except ImportError:", "    torch = None", "class pygraph: pass",
             f"def backend_version(): return {version}"]
    (tmp_path / "cudnn.py").write_text("\n".join(lines))
    monkeypatch.undo()  # the host form of the library
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("cudnn", "torch"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    found = cudnn.library.__wrapped__()
    assert "torch" not in sys.modules and sys.modules.pop("cudnn").torch is None
    assert (found is None) == (version == 0)


def test_the_stand_in_refuses_what_the_real_module_refuses(device):
    graph = host.pygraph(io_data_type=host.data_type.FLOAT)
    with pytest.raises(TypeError):
        host.pygraph(io_type=host.data_type.FLOAT)
    with pytest.raises(TypeError):
        graph.conv_fprop(images=None, weight=None)
    with pytest.raises(TypeError):
        graph.tensor(dim=[1], stride=[1], data_type=host.data_type.FLOAT, uid=1).set_dim((1,))
