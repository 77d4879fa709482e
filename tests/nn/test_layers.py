"""Every layer and loss of `cases.CASES`: against torch where it is installed, and on its own terms."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import engine
from engine import nn

from .cases import CASES, Case

EVERY_CASE = pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.source}({case.inputs})")
WITH_FORWARD = pytest.mark.parametrize(
    "case", [case for case in CASES if case.inputs], ids=lambda case: f"{case.source}({case.inputs})"
)


def tensors_in(value: Any) -> Iterator[Any]:
    """All tensors of nested tuples."""
    if isinstance(value, (tuple, list)):
        for item in value:
            yield from tensors_in(item)
    elif hasattr(value, "requires_grad"):
        yield value


def build(case: Case, library: Any, neural: Any) -> Any:
    library.manual_seed(7)
    return case.build(neural, library)


def numbers(tensor: Any) -> np.ndarray:
    return tensor.detach().numpy()


def run(case: Case, library: Any, module: Any) -> tuple[list, list, list]:
    """(outputs, gradients of inputs and parameters, buffers) of one forward and backward, as arrays."""
    arguments = case.arguments(library.from_numpy)
    leaves = [tensor for tensor in tensors_in(arguments) if tensor.requires_grad]
    library.manual_seed(11)
    outputs = [tensor for tensor in tensors_in((module(*arguments),)) if tensor is not None]
    weights = np.random.default_rng(3)
    total = sum(
        (output * library.from_numpy(np.asarray(weights.standard_normal(tuple(output.shape)), np.float32))).sum()
        for output in outputs
        if output.is_floating_point() and output.requires_grad
    )
    if not isinstance(total, int):
        total.backward()
    gradients = [tensor.grad for tensor in [*leaves, *module.parameters()]]
    return (
        [numbers(output) for output in outputs],
        [None if gradient is None else numbers(gradient) for gradient in gradients],
        [numbers(buffer) for buffer in module.buffers()],
    )


@EVERY_CASE
def test_state_and_print_are_torchs(case: Case) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = build(case, engine, nn), build(case, torch, torch.nn)
    assert repr(ours) == repr(theirs)
    shapes = [(key, tuple(value.shape)) for key, value in ours.state_dict().items()]
    assert shapes == [(key, tuple(value.shape)) for key, value in theirs.state_dict().items()]
    assert [name for name, _ in ours.named_parameters()] == [name for name, _ in theirs.named_parameters()]
    assert [name for name, _ in ours.named_modules()] == [name for name, _ in theirs.named_modules()]


@EVERY_CASE
def test_the_same_seed_gives_torchs_weights(case: Case) -> None:
    torch = pytest.importorskip("torch")
    ours, theirs = build(case, engine, nn), build(case, torch, torch.nn)
    expected = theirs.state_dict()
    for key, value in ours.state_dict().items():
        np.testing.assert_array_equal(numbers(value), numbers(expected[key]), err_msg=key)


@WITH_FORWARD
def test_forward_and_backward_give_torchs_numbers(case: Case) -> None:
    torch = pytest.importorskip("torch")
    ours = run(case, engine, build(case, engine, nn))
    theirs = run(case, torch, build(case, torch, torch.nn))
    for kind, mine, expected in zip(("output", "gradient", "buffer"), ours, theirs):
        assert len(mine) == len(expected)
        for place, (got, want) in enumerate(zip(mine, expected)):
            assert (got is None) == (want is None), f"{kind} {place}"
            if got is not None:
                assert got.dtype == want.dtype
                np.testing.assert_allclose(got, want, rtol=2e-4, atol=2e-5, err_msg=f"{kind} {place}")


@WITH_FORWARD
def test_a_twin_with_the_same_state_computes_the_same(case: Case) -> None:
    module = build(case, engine, nn).eval()
    twin = case.build(nn, engine).eval()
    twin.load_state_dict(module.state_dict())
    arguments = case.arguments(engine.from_numpy)
    engine.manual_seed(11)
    expected = list(tensors_in((module(*arguments),)))
    engine.manual_seed(11)
    for first, second in zip(expected, tensors_in((twin(*arguments),))):
        np.testing.assert_array_equal(numbers(first), numbers(second))


@EVERY_CASE
def test_copies_and_pickles_keep_print_and_state(case: Case) -> None:
    module = build(case, engine, nn)
    for twin in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        assert repr(twin) == repr(module)
        assert [name for name, _ in twin.named_parameters()] == [name for name, _ in module.named_parameters()]
        for key, value in twin.state_dict().items():
            np.testing.assert_array_equal(numbers(value), numbers(module.state_dict()[key]))
        shared = {id(parameter) for parameter in module.parameters()}
        assert not any(id(parameter) in shared for parameter in twin.parameters())


@EVERY_CASE
def test_double_makes_everything_floating_double(case: Case) -> None:
    module = build(case, engine, nn).double()
    values = [*module.parameters(), *module.buffers()]
    assert {value.dtype for value in values if value.is_floating_point()} <= {engine.float64}


def test_the_list_misses_no_public_layer() -> None:
    bases = {"Module", "RNNBase", "RNNCellBase", "Parameter", "Buffer", "LinearCrossEntropyOptions"}
    classes = {name for name in nn.__all__ if isinstance(getattr(nn, name), type)} - bases
    classes -= {name for name in classes if name.startswith(("Lazy", "Uninitialized"))}  # tests/nn/test_lazy.py
    covered = {name for name in classes if any(f"nn.{name}(" in case.source for case in CASES)}
    assert classes == covered
