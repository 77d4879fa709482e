"""Microseconds per operator on small tensors: what an operator costs beside its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

from tests.benchmarks.timing import Row, in_turns, scaled, seconds_per_call

Calls = dict[str, Callable[[], Any]]


def arithmetic(torch: ModuleType) -> Calls:
    """name -> one application to tensors of 4 x 4 floats that require gradients; the same code for both libraries."""
    functional = torch.nn.functional
    a = torch.ones(4, 4, requires_grad=True)
    b = torch.full((4, 4), 2.0, requires_grad=True)
    bias = torch.ones(4, requires_grad=True)
    positive = torch.eye(4) > 0
    labels = torch.arange(4)
    return {
        "a + b": lambda: a + b,
        "a * b": lambda: a * b,
        "a * 2": lambda: a * 2.0,
        "2 - a": lambda: 2.0 - a,
        "a ** 2": lambda: a**2,
        "exp": lambda: a.exp(),
        "tanh": lambda: a.tanh(),
        "relu": lambda: functional.relu(a),
        "gelu": lambda: functional.gelu(a),
        "clamp": lambda: a.clamp(0.0, 1.0),
        "where": lambda: torch.where(positive, a, b),
        "sum": lambda: a.sum(),
        "sum(1)": lambda: a.sum(1),
        "mean": lambda: a.mean(),
        "max": lambda: a.max(),
        "var": lambda: a.var(),
        "a @ b": lambda: a @ b,
        "linear": lambda: functional.linear(a, b, bias),
        "softmax": lambda: functional.softmax(a, dim=-1),
        "log_softmax": lambda: functional.log_softmax(a, dim=-1),
        "layer_norm": lambda: functional.layer_norm(a, (4,), bias, bias),
        "cross_entropy": lambda: functional.cross_entropy(a, labels),
        "mse_loss": lambda: functional.mse_loss(a, b),
        "dropout": lambda: functional.dropout(a, 0.5),
        "embedding": lambda: functional.embedding(labels, a),
    }


def shapes(torch: ModuleType) -> Calls:
    """Operators that move elements, on the same tensors."""
    a = torch.ones(4, 4, requires_grad=True)
    b = torch.full((4, 4), 2.0, requires_grad=True)
    labels = torch.arange(4)
    return {
        "reshape": lambda: a.reshape(16),
        "view": lambda: a.view(2, 8),
        "flatten": lambda: a.flatten(),
        "transpose": lambda: a.transpose(0, 1),
        "a.T": lambda: a.T,
        "permute": lambda: a.permute(1, 0),
        "unsqueeze": lambda: a.unsqueeze(0),
        "squeeze": lambda: a.squeeze(0),
        "expand": lambda: a.expand(3, 4, 4),
        "a[1]": lambda: a[1],
        "a[:, 1:3]": lambda: a[:, 1:3],
        "a[indices]": lambda: a[labels],
        "cat": lambda: torch.cat([a, b], 1),
        "stack": lambda: torch.stack([a, b]),
        "chunk": lambda: a.chunk(2)[0],
        "clone": lambda: a.clone(),
    }


def images(torch: ModuleType) -> Calls:
    """A tiny image through layers of a convolutional network."""
    functional = torch.nn.functional
    image = torch.ones(1, 2, 8, 8, requires_grad=True)
    kernel = torch.ones(2, 2, 3, 3, requires_grad=True)
    mean, variance = torch.zeros(2), torch.ones(2)
    query = torch.ones(1, 2, 4, 8, requires_grad=True)
    return {
        "conv2d, 1x2x8x8": lambda: functional.conv2d(image, kernel, padding=1),
        "max_pool2d, 1x2x8x8": lambda: functional.max_pool2d(image, 2),
        "batch_norm, 1x2x8x8": lambda: functional.batch_norm(image, mean, variance, training=True),
        "attention, 1x2x4x8": lambda: functional.scaled_dot_product_attention(query, query, query),
    }


def without_gradients(torch: ModuleType) -> Calls:
    """What surrounds a training step: comparisons, making and converting tensors, calling modules, updating."""
    functional = torch.nn.functional
    a, one, labels = torch.ones(4, 4), torch.ones(1), torch.arange(4)
    tracked = torch.ones(4, 4, requires_grad=True)
    module = torch.nn.Linear(4, 4)
    model = torch.nn.Sequential(torch.nn.Linear(4, 4), torch.nn.ReLU(), torch.nn.Linear(4, 4))
    for p in model.parameters():
        p.grad = torch.ones_like(p)
    adam, sgd = torch.optim.Adam(model.parameters()), torch.optim.SGD(model.parameters(), lr=1e-3)
    return {
        "a > 0": lambda: a > 0,
        "a == b": lambda: a == a,
        "argmax(1)": lambda: a.argmax(1),
        "item": lambda: one.item(),
        "to(float32)": lambda: a.to(torch.float32),
        "to(float64)": lambda: a.to(torch.float64),
        "long()": lambda: a.long(),
        "detach": lambda: tracked.detach(),
        "a.shape": lambda: a.shape,
        "zeros": lambda: torch.zeros(4, 4),
        "ones": lambda: torch.ones(4, 4),
        "zeros_like": lambda: torch.zeros_like(a),
        "arange": lambda: torch.arange(16),
        "tensor(list)": lambda: torch.tensor([1.0, 2.0, 3.0]),
        "randn": lambda: torch.randn(4, 4),
        "a.add_(b)": lambda: a.add_(one),
        "a[1] = 0": lambda: a.__setitem__(1, 0.0),
        "one_hot": lambda: functional.one_hot(labels, 4),
        "Linear module": lambda: module(a),
        "zero_grad": lambda: sgd.zero_grad(set_to_none=False),
        "Adam step, 4 tensors": lambda: adam.step(),
        "SGD step, 4 tensors": lambda: sgd.step(),
    }


def forward_and_backward(torch: ModuleType, operator: Callable[[], Any]) -> Callable[[], None]:
    gradient = torch.ones_like(operator())

    def work() -> None:
        operator().backward(gradient)

    return work


def table_of(torch: ModuleType) -> dict[str, Callable[[], object]]:
    """Measure -> work, for one library."""
    differentiable = {**arithmetic(torch), **shapes(torch), **images(torch)}
    works: dict[str, Callable[[], object]] = {f"{name}, forward": call for name, call in differentiable.items()}
    works |= without_gradients(torch)
    for name, call in differentiable.items():
        works[f"{name}, forward and backward"] = forward_and_backward(torch, call)
    return works


def measure(engine: ModuleType, torch: ModuleType | None, least: float, rounds: int,
            chosen: Callable[[str], bool]) -> list[Row]:
    """The operators whose names are `chosen`."""
    tables = {"ours": table_of(engine), **({"theirs": table_of(torch)} if torch else {})}
    rows = []
    for name in filter(chosen, tables["ours"]):
        found = in_turns({key: seconds_per_call(works[name], least) for key, works in tables.items()}, rounds)
        rows.append(Row(name, "us", scaled(found, 1e6)))
    return rows
