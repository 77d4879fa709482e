"""Registry-driven: what a program may do after an operator. Changing its output or inputs in place must not fail where
torch lets it pass, and results of transposed inputs lie in memory as torch's do (`.view()` and random fills depend on it)."""

from __future__ import annotations

import numpy as np
import pytest

import engine
from engine.ops.samples import all_samples
from tests.engine.ops_harness import array, build, find, flat

CASES = [(f"{name}-{i}", sample) for name, i, sample in all_samples() if sample.oracle]
IDS = [c[0] for c in CASES]

# Operators whose gradient here needs what torch does not keep; each with the reason.
NEEDS_MORE = {
    "cross_entropy": "keeps the logits, where torch keeps log-probabilities",
    "copysign": "keeps the input, where torch keeps the ratio of output and input",
    "erfinv": "keeps the output",
    "matmul-7": "keeps inputs whose batches broadcast, where torch keeps expanded copies",
    "nextafter": "has no gradient here; torch's fails",
    **dict.fromkeys(("kron()", "norm()", "mse_loss()", "pinverse()", "lu_solve()", "cov()"), "is a composition"),
}


def outcome(lib, sample, target: str):
    """Gradients after the output ("output") or all inputs ("inputs") were changed in place; or the error's text."""
    leaves: list = []
    args = build(sample.args, lib, "float64", leaves, sample.grad)
    kwargs = build(sample.kwargs, lib, "float64", leaves, sample.grad)
    inputs = [leaf * 1 for leaf in leaves]  # not leaves, so that they may be changed
    swap = {id(leaf): t for leaf, t in zip(leaves, inputs)}

    def put(value):
        if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
            return type(value)(put(v) for v in value)
        return swap.get(id(value), value)

    outs = [o for o in flat(find(lib, sample)(*put(args), **{k: put(v) for k, v in kwargs.items()}))
            if getattr(o, "requires_grad", False)]  # fmt: skip
    if not outs:
        return None
    total = sum((lib.real(o) if o.is_complex() else o).sum() for o in outs)
    try:
        with lib.no_grad():
            for t in outs if target == "output" else inputs:
                t.mul_(1.5)
        total.backward()
    except RuntimeError as error:
        return str(error)
    return [None if leaf.grad is None else array(leaf.grad) for leaf in leaves]


@pytest.mark.parametrize("target", ["output", "inputs"])
@pytest.mark.parametrize(("label", "sample"), CASES, ids=IDS)
def test_in_place_changes_pass_where_torch_lets_them_pass(label: str, sample, target: str) -> None:
    torch = pytest.importorskip("torch")
    for known in (label, label.rsplit("-", 1)[0]):
        if known in NEEDS_MORE:
            pytest.skip(NEEDS_MORE[known])
    if not sample.grad:
        pytest.skip("nothing to differentiate")
    theirs = outcome(torch, sample, target)
    if theirs is None or isinstance(theirs, str):
        pytest.skip("torch refuses")
    ours = outcome(engine, sample, target)
    assert not isinstance(ours, str), ours
    for a, b in zip(ours, theirs):
        np.testing.assert_allclose(0 if a is None else a, 0 if b is None else b, rtol=1e-8, atol=1e-9)


LAYOUTS = {
    "softmax": lambda t, x: x.softmax(-1),
    "log_softmax": lambda t, x: x.log_softmax(1),
    "cat": lambda t, x: t.cat([x, x], 1),
    "stack": lambda t, x: t.stack([x, x]),
    "sum": lambda t, x: x.sum(0),
    "mean": lambda t, x: x.mean(1, keepdim=True),
    "zeros_like": lambda t, x: t.zeros_like(x),
    "full_like": lambda t, x: t.full_like(x, 2.0),
    "zeros_like in rows": lambda t, x: t.zeros_like(x, memory_format=t.contiguous_format),
    "rand_like": lambda t, x: t.rand_like(x),
    "randn_like": lambda t, x: t.randn_like(x),
    "flip": lambda t, x: x.flip(0),
    "mask": lambda t, x: x[x > 0],
    "cumsum": lambda t, x: x.cumsum(0),
    "roll": lambda t, x: x.roll(1, 0),
    "masked_fill": lambda t, x: x.masked_fill(x > 0, 0.0),
    "tril": lambda t, x: x.tril(),
    "max_pool2d": lambda t, x: t.nn.functional.max_pool2d(x, 2),
    "avg_pool2d": lambda t, x: t.nn.functional.avg_pool2d(x, 2),
    "einsum": lambda t, x: t.einsum("bhij,bhkj->bhik", x, x),
    "exp": lambda t, x: x.exp(),
    "clone": lambda t, x: x.clone(),
    "gelu": lambda t, x: t.nn.functional.gelu(x),
    "dropout": lambda t, x: t.nn.functional.dropout(x, 0.5),
    "layer_norm": lambda t, x: t.nn.functional.layer_norm(x, x.shape[-1:]),
    "where": lambda t, x: t.where(x > 0, x, x),
    "to": lambda t, x: x.to(t.float64),
    "pad": lambda t, x: t.nn.functional.pad(x, (1, 1)),
}


@pytest.mark.parametrize("dims", [(0, 2, 1, 3), (3, 1, 2, 0), (0, 1, 3, 2)])
@pytest.mark.parametrize("name", LAYOUTS)
def test_results_of_permuted_inputs_lie_in_memory_as_torchs(name: str, dims: tuple) -> None:
    torch = pytest.importorskip("torch")
    values = np.random.default_rng(0).normal(size=(4, 3, 5, 6)).astype(np.float32)
    engine.manual_seed(0)
    torch.manual_seed(0)
    ours = LAYOUTS[name](engine, engine.tensor(values).permute(dims))
    theirs = LAYOUTS[name](torch, torch.tensor(values).permute(dims))
    assert tuple(ours.stride()) == tuple(theirs.stride())
    np.testing.assert_allclose(array(ours), array(theirs), rtol=2e-5, atol=2e-6)


def test_random_numbers_like_a_slice_are_those_of_rows() -> None:
    torch = pytest.importorskip("torch")
    engine.manual_seed(0)
    torch.manual_seed(0)
    ours, theirs = engine.randn_like(engine.zeros(16, 4)[:, :2]), torch.randn_like(torch.zeros(16, 4)[:, :2])
    assert tuple(ours.stride()) == tuple(theirs.stride())
    np.testing.assert_array_equal(array(ours), array(theirs))
