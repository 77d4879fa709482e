"""Milliseconds per operator on large tensors, forward and backward: what is bound by memory or arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.benchmarks.contestants import Work
from tests.benchmarks.rows import Case, numbers

ROWS, COLUMNS = 2048, 1024  # 2 million elements
Operator = Callable[..., Any]


def pointwise(torch: ModuleType) -> dict[str, Operator]:
    """name -> operator of x; x is in [-2, 2)."""
    f = torch.nn.functional
    other = numbers(torch, ROWS, COLUMNS)
    row, column, positive = other[0].clone(), other[:, :1].clone(), other > 0.5
    return {
        "x + other": lambda x: x + other,
        "x * 2": lambda x: x * 2.0,
        "x * row": lambda x: x * row,
        "x + column": lambda x: x + column,
        "(x - 1) * 2 + x * x": lambda x: (x - 1) * 2 + x * x,
        "exp": lambda x: x.exp(),
        "tanh": lambda x: x.tanh(),
        "sigmoid": lambda x: x.sigmoid(),
        "sqrt(x * x + 1)": lambda x: (x * x + 1).sqrt(),
        "abs": lambda x: x.abs(),
        "x ** 3": lambda x: x**3,
        "clamp": lambda x: x.clamp(-1.0, 1.0),
        "where": lambda x: torch.where(positive, x, other),
        "masked_fill": lambda x: x.masked_fill(positive, 0.0),
        "maximum": lambda x: torch.maximum(x, other),
        "relu": f.relu,
        "leaky_relu": f.leaky_relu,
        "elu": f.elu,
        "gelu": f.gelu,
        "gelu, tanh": lambda x: f.gelu(x, approximate="tanh"),
        "silu": f.silu,
        "mish": f.mish,
        "softplus": f.softplus,
        "hardswish": f.hardswish,
        "hardtanh": f.hardtanh,
        "glu": f.glu,
        "dropout": lambda x: f.dropout(x, 0.1),
    }


def reducing(torch: ModuleType) -> dict[str, Operator]:
    """Reductions, rows, losses."""
    f = torch.nn.functional
    target = numbers(torch, ROWS, COLUMNS)
    ones = torch.ones(COLUMNS)
    return {
        "sum": lambda x: x.sum(),
        "sum(0)": lambda x: x.sum(0),
        "sum(1)": lambda x: x.sum(1),
        "mean(1), of 3 dimensions": lambda x: x.view(32, 64, 1024).mean(1),
        "var": lambda x: x.var(),
        "var(0)": lambda x: x.var(0),
        "std(1)": lambda x: x.std(1),
        "amax(0)": lambda x: x.amax(0),
        "max(1)": lambda x: x.max(1)[0],
        "logsumexp(1)": lambda x: x.logsumexp(1),
        "norm": lambda x: x.norm(),
        "cumsum(1)": lambda x: x.cumsum(1),
        "softmax(1)": lambda x: x.softmax(1),
        "softmax(0)": lambda x: x.softmax(0),
        "softmax, rows of 16": lambda x: x.view(-1, 16).softmax(1),
        "log_softmax, middle of 3": lambda x: x.view(32, 64, 1024).log_softmax(1),
        "layer_norm": lambda x: f.layer_norm(x, (COLUMNS,), ones, ones),
        "layer_norm, rows of 32": lambda x: f.layer_norm(x.view(-1, 32), (32,)),
        "mse_loss": lambda x: f.mse_loss(x, target),
        "l1_loss": lambda x: f.l1_loss(x, target),
        "smooth_l1_loss": lambda x: f.smooth_l1_loss(x, target),
        "binary_cross_entropy": lambda x: f.binary_cross_entropy(x.clamp(0.1, 0.9), target),
        "bce_with_logits": lambda x: f.binary_cross_entropy_with_logits(x, target),
        "kl_div": lambda x: f.kl_div(x, target, reduction="batchmean"),
        "cross_entropy": lambda x: f.cross_entropy(x, (target[:, 0] * COLUMNS).long()),
    }


def moving(torch: ModuleType) -> dict[str, Operator]:
    """Operators that move elements."""
    other = numbers(torch, ROWS, COLUMNS)
    index = (other[0] * ROWS).long()
    return {
        "cat": lambda x: torch.cat([x, other], 1),
        "stack": lambda x: torch.stack([x, other]),
        "transposed copy": lambda x: x.t().contiguous(),
        "permuted copy": lambda x: x.view(32, 64, 16, 64).transpose(1, 2).contiguous(),
        "slice": lambda x: x[:, 100:900] * 1.0,
        "rows by index": lambda x: x[index],
        "flip": lambda x: x.flip(1),
        "repeat": lambda x: x[:512].repeat(4, 1),
        "pad": lambda x: torch.nn.functional.pad(x, (1, 1, 1, 1)),
    }


def without_gradients(torch: ModuleType) -> dict[str, Work]:
    """What has no gradient."""
    x, other = numbers(torch, ROWS, COLUMNS), numbers(torch, ROWS, COLUMNS)[:, :]
    whole = (x * 100).long()
    return {
        "x > other": lambda: x > other,
        "(x > 0.3) & (other < 0.7)": lambda: (x > 0.3) & (other < 0.7),
        "argmax(1)": lambda: x.argmax(1),
        "integers + 1": lambda: whole + 1,
        "integers == 3": lambda: whole == 3,
        "to(float64)": lambda: x.to(torch.float64),
        "float()": lambda: whole.float(),
        "sort(1)": lambda: x.sort(1),
        "topk(5)": lambda: x.topk(5),
        "isnan().any()": lambda: x.isnan().any(),
        "x.add_(other)": lambda: x.add_(other),
        "zeros": lambda: torch.zeros(ROWS, COLUMNS),
        "rand": lambda: torch.rand(ROWS, COLUMNS),
        "randn": lambda: torch.randn(ROWS, COLUMNS),
        "randperm": lambda: torch.randperm(1 << 20),
        "bernoulli_": lambda: x.bernoulli_(0.5),
    }


def both_ways(torch: ModuleType, table: Callable, name: str) -> Work:
    """An operator forward and backward."""
    operator = table(torch)[name]
    x = (numbers(torch, ROWS, COLUMNS) * 4 - 2).requires_grad_()
    gradient = torch.ones_like(operator(x))

    def work() -> None:
        operator(x).backward(gradient)
        x.grad = None

    return work


def cases(torch: ModuleType) -> tuple[Case, ...]:
    """A row for each operator, for the names that the tables have with this library."""
    made = [Case(f"{name}, forward and backward", 1.3, 1.6, lambda t, table=table, name=name: both_ways(t, table, name))
            for table in (pointwise, reducing, moving) for name in table(torch)]
    made += [Case(name, 1.3, 1.6, lambda t, name=name: without_gradients(t)[name]) for name in without_gradients(torch)]
    return tuple(made)
