"""What training programs call on a GPU without a value in mind makes the host wait for nothing, and copies nothing there.

Both would also be refused while a graph is captured. The stand-in counts.
"""

from __future__ import annotations

import pytest

import engine
from engine.nn import functional as F  # noqa: F401 - the calls use it
from tests.fake_cupy.kernels import compiler

CALLS = """
x.gather(1, index) | x.scatter(1, index, y) | x.scatter_add(1, index, y) | x.index_select(0, rows) | x.index_add(0, rows, y[:3])
x[rows] | x[:, rows] | x[1:3, ::2] | F.embedding(rows, x) | F.one_hot(rows, 3) | x.topk(3, 1)[0] | x.sort(1)[0] | x.argmax(1)
x.masked_fill(y > 0, 0.5) | t.where(x > 0, x, y) | x.clamp(min=0) | t.cat([x, y]) | t.stack([x, y]) | x.tril()
F.cross_entropy(x, classes) | F.cross_entropy(x, classes, weight=y[0]) | F.cross_entropy(x, classes, label_smoothing=0.1)
F.cross_entropy(x, classes, ignore_index=0) | F.cross_entropy(x, y) | F.multi_margin_loss(x, classes) | F.mse_loss(x, y)
F.binary_cross_entropy_with_logits(x, y) | F.smooth_l1_loss(x, y) | F.kl_div(x, y, reduction='sum') | F.dropout(x) | F.gelu(x)
F.layer_norm(x, (8,)) | F.rms_norm(x, (8,)) | F.group_norm(x, 2) | F.batch_norm(x, None, None, training=True) | x.cumsum(1)
F.max_pool2d(x[None], 2) | F.avg_pool2d(x[None], 2) | F.adaptive_avg_pool2d(x[None], 2) | F.pad(x, (1, 1))
F.unfold(x[None, None], 2) | x.std() | x.norm() | x.logsumexp(1) | x @ y.T | t.einsum('ij,kj->ik', x, y)
t.arange(5, device='cuda') | t.randn(3, device='cuda')
"""
EACH = [call.strip() for line in CALLS.strip().splitlines() for call in line.split("|")]


@pytest.mark.parametrize("call", EACH)
def test_the_host_does_not_wait(call, device, events):
    if compiler() is None:
        pytest.skip("no g++")
    x, y = engine.randn(4, 8, device=device, requires_grad=True), engine.rand(4, 8, device=device)
    index, rows, classes = (engine.zeros(*shape, dtype=engine.int64, device=device) for shape in ((4, 8), (3,), (4,)))
    names = {"t": engine, "F": F, "x": x, "y": y, "index": index, "rows": rows, "classes": classes}
    events.clear()
    out = eval(call, names)
    if out.requires_grad:
        out.sum().backward()
    assert (events["synchronize"], events["to_host"], events["to_device"]) == (0, 0, 0)


def test_a_leaf_takes_its_gradient_over(device, events):
    """The gradient of a parameter is not copied where nobody else holds it."""
    x, y = engine.ones(3, 2, device=device, requires_grad=True), engine.full((3, 2), 2.0, device=device)
    out = (x * y).sum()
    events.clear()
    out.backward()
    once = events["launch"]
    again = (x * y).sum()
    events.clear()
    again.backward()
    assert events["launch"] == once + 1  # the addition to the first, which was not even copied
    assert x.grad.tolist() == [[4.0, 4.0]] * 3
