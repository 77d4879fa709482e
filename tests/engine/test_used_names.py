"""The names that training programs use most: each is here, and each that computes something gives what torch gives.

`used_names.txt` lists them by namespace. What has samples in the registry is checked by test_ops.py; the others by CALLS.
"""

from __future__ import annotations

import importlib
import re
from operator import attrgetter
from pathlib import Path

import numpy as np
import pytest

import engine
from engine.ops.samples import all_samples

LINES = (Path(__file__).parent / "used_names.txt").read_text().splitlines()
# Not here, with the reason in docs/compatibility.md.
REFUSED = {"distributed.get_world_size", "distributed.all_reduce", "distributed.init_process_group",
           "distributed.get_rank", "distributed.barrier", "distributed.all_gather"}  # fmt: skip
# Functions and methods that the registry has no samples of. `t` is the library; `x` is 3 x 4, `v` has 4 elements (both
# float64, with gradient), `b` and `n` are 3 x 4 of bool and int64; `y` is a fresh tensor with a history, to be changed.
CALLS = (
    "t.zeros(2, 3)", "t.ones(2, 3)", "t.empty(2, 3).shape", "t.full((2,), 3)", "t.full((2,), 1.5)", "t.eye(2, 3)",
    "t.arange(1, 7, 2)", "t.arange(0., 1., .3)", "t.linspace(0, 1, 5)", "t.tensor([[1, 2], [3, 4]])", "t.tensor(True)",
    "t.as_tensor([1., 2.])", "t.from_numpy(__import__('numpy').arange(3))", "t.zeros_like(x)", "t.ones_like(n)",
    "t.full_like(n, 2)", "t.empty_like(b).shape", "x.new_zeros(2, 2)", "n.new_ones((2,))", "x.new_tensor([1, 2])",
    "n.new_empty((2, 1)).dtype == n.dtype", "x.to(t.float32)", "n.to(x)", "x.to('cpu', t.float16)", "x.cpu()", "x.float()",
    "n.double()", "x.half()", "x.bfloat16().float()", "x.long()", "x.int()", "x.bool()", "n.byte()", "x.type(t.float32)",
    "n.type()", "n.type_as(x)", "x.contiguous()", "x.t().contiguous()", "x.detach()", "x[0, 0].item()", "x.tolist()",
    "x.detach().numpy().sum()", "v.detach().clone().requires_grad_().requires_grad", "hasattr(x, 'cuda')",
    "x.view(2, 6)", "x.view(-1)", "x.view_as(x.reshape(4, 3))", "x.unsqueeze(-1)", "x[None].squeeze(0)", "x[None].squeeze()",
    "x.transpose(0, 1)", "x.swapaxes(0, -1)", "x.flatten()", "t.flatten(x[None], 1)", "x.T", "x.mT", "x.t()", "x.ravel()",
    "v.expand_as(x)", "t.concat([x, x], 1)", "y.copy_(v)", "y.fill_(2)", "y.zero_()", "y.masked_fill_(b, 7.)",
    "y.scatter_(1, n[:, :1], 5.)", "y.scatter_add_(1, n, x)", "y.index_add_(0, n[0, :2], x[:2])", "y.fill_diagonal_(3.)",
    "t.zeros(9, 3).fill_diagonal_(1, wrap=True)", "t.zeros(3, 5).fill_diagonal_(1, wrap=True)", "y.fill_diagonal_(2., True)",
    "(v[:2] * x[:, :1].repeat(3, 1)).fill_diagonal_(2., True)", "t.zeros(3, 3, 3).fill_diagonal_(1, True)",
    "t.arange(6).resize_(2, 2)", "y.mul_(x)", "y.add_(v, alpha=2)", "t.div(x, v)", "n / 2",
    "t.div(x, v, rounding_mode='floor').detach()", "y.div_(v)", "y.clamp_(-.5, .5)", "t.clip(x, max=0.3)",
    "(y * y).pow_(1.5)", "y.sub_(1)", "(y * y + 1).sqrt_()",
    "y.exp_()", "y.addcmul_(x, v, value=.5)", "x.numel()", "t.numel(n)", "t.allclose(x, x + 1e-12)", "t.equal(x, x)",
    "t.is_tensor(x), t.is_tensor(1)", "t.is_floating_point(n), x.is_floating_point()", "t.is_complex(x + 1j), x.is_complex()",
    "t.linalg.svd(x)[1]", "t.linalg.svd(x, full_matrices=False)[0].abs()", "t.randn(3)", "t.rand(2, 3)", "t.randint(9, (5,))",
    "t.randint(-3, 3, (5,))", "t.randperm(9)", "x.detach().uniform_(-1, 2)", "t.randn_like(x)", "t.rand_like(x)",
    "t.multinomial(t.tensor([.2, .5, .3]), 7, True)", "t.normal(0., 2., (4,))", "t.normal(x.detach(), 1.)",
    "x.detach().normal_(1, 3)", "t.bernoulli(t.full((9,), .4))", "n.clone().random_(0, 50)",
    "t.manual_seed(3).initial_seed()",
    "t.rand(3, generator=t.Generator().manual_seed(5))", "t.result_type(n, 1.5)", "t.promote_types(t.int8, t.uint8)",
    "t.finfo(t.float32).eps", "t.finfo(t.bfloat16).max", "t.nn.utils.clip_grad_norm_([w], 1.0)",
    "t.nn.utils.rnn.pad_sequence([x, x[:1]], True)", "t.autograd.grad((x * x).sum(), x)[0]",
    "t.func.vmap(lambda a: a @ a)(x)", "t.func.grad(lambda a: (a * a).sum())(v)", "t.utils.checkpoint.checkpoint(t.sin, x,"
    " use_reentrant=False)", "t.nn.init.zeros_(w)", "t.nn.init.ones_(w)", "t.nn.init.constant_(w, .5)",
    "t.nn.init.normal_(w, 0, .1)", "t.nn.init.uniform_(w)", "t.nn.init.xavier_uniform_(w)", "t.nn.init.xavier_normal_(w)",
    "t.nn.init.kaiming_uniform_(w)", "t.nn.init.kaiming_normal_(w)", "t.nn.init.orthogonal_(w).abs()",
    "t.nn.init.trunc_normal_(w)",
)  # fmt: skip
# Checked elsewhere: modes, files, hooks and settings are not functions of tensors.
SETTINGS = """
    no_grad enable_grad set_grad_enabled inference_mode backward grad retain_grad register_hook save load autocast
    register_post_accumulate_grad_hook device dtype set_default_dtype set_printoptions compile float32 float64 float16
    int64 uint8 set_float32_matmul_precision use_deterministic_algorithms sparse_coo_tensor Generator vmap cuda
"""


def names():
    where = ""
    for line in LINES:
        if line.startswith("["):
            where = line[1:-1]
        else:
            yield from ((where, name) for name in line.split())


@pytest.mark.parametrize(("where", "name"), list(names()))
def test_it_is_here(where, name):
    if f"{where}.{name}" in REFUSED:
        pytest.skip("in docs/compatibility.md")
    if where == "torch or Tensor":
        assert hasattr(engine, name) or hasattr(engine.Tensor, name)
    elif where == "utils.tensorboard":
        assert hasattr(importlib.import_module("engine.utils.tensorboard"), name)
    else:
        assert hasattr(attrgetter(where)(engine), name)


def test_every_function_is_compared_with_torch():
    sampled = {sample.name for _, _, sample in all_samples()}
    called = {word for text in CALLS for word in re.findall(r"[A-Za-z_]\w*", text)}
    functions = {name for where, name in names() if where in ("torch or Tensor", "nn.functional", "linalg", "fft", "nn.init")}
    assert functions - sampled - called - set(SETTINGS.split()) == set()


def outcome(lib, text):
    numbers = np.random.default_rng(4)
    x, v = (lib.tensor(numbers.normal(size=s), requires_grad=True) for s in ((3, 4), (4,)))
    n = lib.tensor(np.argsort(numbers.normal(size=(3, 4)), 0))  # no index twice in a column
    w = lib.nn.Parameter(lib.tensor(numbers.normal(size=(4, 5))))
    w.grad = lib.tensor(numbers.normal(size=(4, 5)))
    lib.manual_seed(0)
    value = eval(text, {"t": lib, "x": x, "v": v, "n": n, "b": n > 1, "w": w, "y": x * 1})
    if isinstance(value, lib.Tensor) and value.requires_grad and not value.is_leaf:
        (value * value).sum().backward()
    return value, [x.grad, v.grad]


@pytest.mark.parametrize("text", CALLS)
def test_it_gives_what_torch_gives(text):
    torch = pytest.importorskip("torch")
    (got, grads), (expected, their_grads) = outcome(engine, text), outcome(torch, text)
    if isinstance(expected, torch.Tensor):
        for a, b in zip([got, *grads], [expected, *their_grads], strict=True):
            if b is not None and (a is not None or b.any()):  # no gradient is a gradient of zero
                assert str(a.dtype) == str(b.dtype) and tuple(a.shape) == tuple(b.shape)
                np.testing.assert_allclose(a.detach().numpy(), b.detach().numpy(), rtol=2e-6, atol=1e-9)
    elif isinstance(expected, (torch.Size, torch.dtype)):
        assert str(got) == str(expected)
    else:
        assert got == expected
