"""Microseconds per operator on 16 floats: what an operator costs beside its arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

from tests.benchmarks.timing import Row, interleaved, seconds_per_call


def operators(torch: ModuleType) -> dict[str, Callable[[], object]]:
    """name -> one application to tensors of 4 x 4 floats that require gradients; the same code for both libraries."""
    functional = torch.nn.functional
    a = torch.ones(4, 4, requires_grad=True)
    b = torch.full((4, 4), 2.0, requires_grad=True)
    bias = torch.ones(4, requires_grad=True)
    return {
        "a + b": lambda: a + b,
        "a * b": lambda: a * b,
        "a * 2": lambda: a * 2.0,
        "exp": lambda: a.exp(),
        "tanh": lambda: a.tanh(),
        "relu": lambda: functional.relu(a),
        "sum": lambda: a.sum(),
        "reshape": lambda: a.reshape(16),
        "a[1]": lambda: a[1],
        "a @ b": lambda: a @ b,
        "linear": lambda: functional.linear(a, b, bias),
        "softmax": lambda: functional.softmax(a, dim=-1),
    }


def forward_and_backward(torch: ModuleType, operator: Callable[[], object]) -> Callable[[], None]:
    gradient = torch.ones_like(operator())

    def work() -> None:
        operator().backward(gradient)  # type: ignore[attr-defined]

    return work


def measure(engine: ModuleType, torch: ModuleType | None, quick: bool) -> list[Row]:
    least, rounds = (0.001, 1) if quick else (0.02, 7)
    libraries = {"ours": engine, **({"theirs": torch} if torch else {})}
    forward = {name: operators(library) for name, library in libraries.items()}
    rows = []
    for both in (False, True):
        for operator in forward["ours"]:
            work = {name: forward[name][operator] for name in libraries}
            if both:
                work = {name: forward_and_backward(libraries[name], work[name]) for name in libraries}
            found = interleaved({name: seconds_per_call(work[name], least) for name in libraries}, rounds)
            kind = "forward and backward" if both else "forward"
            rows.append(Row(f"{operator}, {kind}", "us", found["ours"] * 1e6, _micro(found.get("theirs"))))
    return rows


def _micro(seconds: float | None) -> float | None:
    return None if seconds is None else seconds * 1e6
