"""Programs made at random, a dozen lines of tensor functions, views, indices and changes in place, run beside torch.

What no list of cases foresees is what two lines do to each other. A line that torch refuses is left out of the program; what
docs/compatibility.md tells (changes of elements that share memory, values kept for backward) may be refused here.
`python -m tests.engine.test_random_programs 1000 5000` runs five thousand from seed 1000 and prints the first ones that differ.
"""

from __future__ import annotations

import random
import sys
import warnings
from typing import Any

import numpy as np
import pytest

import engine

SHAPES = [(2, 3), (3,), (2, 1, 3), (4, 2, 3), (3, 3), (1, 3), (2, 3, 4), (6,), ()]
INDICES = [":", "0", "-1", "1:", "::2", ":1", "None", "...", "T.tensor([0, 1])", "[1, 0]", "T.tensor([[0], [1]])",
           "T.tensor([True, False])", "T.tensor(1)", "-2:"]
# {a} and {b} are variables, {d} and {e} dimensions, {i} an index.
VIEWS = """
{a}.t() | {a}.T | {a}.mT | {a}.flatten() | {a}.reshape(-1) | {a}.view(-1) | {a}.unsqueeze({d}) | {a}.squeeze()
{a}.squeeze({d}) | {a}.transpose({d}, {e}) | {a}.permute(*range({a}.dim())[::-1]) | {a}.expand(2, *{a}.shape)
{a}.chunk(2, {d})[0] | {a}[{i}] | {a}[{i}] | {a}.split(1, {d})[-1] | {a}.unbind({d})[0] | {a}.narrow({d}, 0, 1)
{a}.select({d}, 0) | {a}.diagonal() | {a}.movedim(0, -1) | {a}.unfold({d}, 2, 1).clone() | {a}.unflatten(-1, (-1, 1))
{a}.swapaxes(0, -1) | {a}.tensor_split(2, {d})[1] | {a}.expand_as({b}) | {a}.view_as({b}) | {a}.detach()
T.broadcast_tensors({a}, {b})[0] | T.atleast_2d({a}) | T.meshgrid({a}, {a}, indexing="ij")[0]
"""
UNARY = """
{a}.exp() | {a}.sin() | {a}.abs() | -{a} | {a}.sigmoid() | {a}.relu() | {a}.tanh() | {a}.clone() | {a}.contiguous()
{a}.sum() | {a}.sum({d}) | {a}.mean({d}, keepdim=True) | {a}.max() | {a}.max({d})[0] | {a}.min({d})[1] | {a}.argmax({d})
{a}.cumsum({d}) | {a}.cumprod({d}) | {a}.flip({d}) | {a}.roll(1, {d}) | {a}.softmax({d}) | {a}.log_softmax({d}) | {a}.std()
{a}.var({d}) | {a}.norm() | {a}.norm(dim={d}) | {a}.prod({d}) | {a}.sort({d})[0].contiguous() | {a}.topk(1, {d})[0]
{a}.repeat(2, *([1] * {a}.dim())) | {a}.tril() | {a}.double() | {a}.long() | {a}.bool() | {a}.clamp(-0.5, 0.5) | {a}.round()
{a} * 2 | 2 - {a} | {a} / 3 | {a} ** 2 | {a} % 2 | {a} > 0 | {a}.any() | {a}.logsumexp({d}) | {a}.repeat_interleave(2, {d})
{a}.nonzero() | {a}.tile(2) | {a}.quantile(0.5) | T.ones_like({a}) | {a}.amax({d}) | T.nn.functional.pad({a}, (1, 1))
T.nn.functional.gelu({a}) | T.nn.functional.layer_norm({a}, {a}.shape[-1:]) | {a}.diff() | {a}.square()
T.nn.functional.normalize({a}, dim={d}) | T.diag({a}) | {a}.count_nonzero({d}) | {a}.index_select({d}, T.tensor([0, 0]))
{a}.erf() | T.var_mean({a}, {d})[0] | {a}.lerp({a}, 0.3) | T.block_diag({a}, {a}) | {a}.fliplr()
{a}.masked_select({a} > 0) | {a}.nansum({d}) | T.trapezoid({a}) | {a}.data | T.nn.functional.softplus({a})
T.logcumsumexp({a}, {d})
"""
BINARY = """
{a} + {b} | {a} - {b} | {a} * {b} | {a} / {b} | {a} @ {b} | T.matmul({a}, {b}.mT) | {a}.maximum({b})
T.where({a} > 0, {a}, {b}) | T.cat([{a}, {b}], {d}) | T.stack([{a}, {b}], {d}) | {a} == {b} | {a}.atan2({b})
T.outer({a}, {b}) | T.kron({a}, {b}) | {a}.gather({d}, {b}) | T.einsum("ij,jk->ik", {a}, {b}) | {a}.masked_fill({b} > 0, 1)
{a}.scatter({d}, {b}, 1.0) | {a}.scatter_add({d}, {b}, {a}) | {a}.index_add({d}, {b}, {a}) | {a}.index_copy({d}, {b}, {a})
{a}[{b}] | {a}.dist({b}) | T.nn.functional.mse_loss({a}, {b}) | T.nn.functional.linear({a}, {b})
T.nn.functional.cross_entropy({a}, {b}) | T.nn.functional.embedding({b}, {a}) | {a}.take({b}) | T.tensordot({a}, {b}, 1)
T.hstack([{a}, {b}]) | T.vstack([{a}, {b}]) | T.column_stack([{a}, {b}]) | T.bmm({a}, {b}) | T.mv({a}, {b})
T.addmm({a}, {b}, {a}) | {a}.masked_scatter({b} > 0, {a}) | T.nn.functional.cosine_similarity({a}, {b}, dim={d})
{a}.type_as({b}) | T.nn.functional.smooth_l1_loss({a}, {b}) | T.nn.functional.binary_cross_entropy_with_logits({a}, {b})
{a}.equal({b})
"""
REFUSED_HERE = ("refers to a single memory location", "modified by an inplace operation")
IN_PLACE = """
{a}.add_({b}) | {a}.mul_(2) | {a}.zero_() | {a}.clamp_(min=0) | {a}.copy_({b}) | {a}[{i}] = 1.5 | {a}[{i}] = {b}
{a}[{i}] += 1 | {a}.masked_fill_({b} > 0, 0) | {a}.exp_() | {a}.unsqueeze_(0) | {a}.fill_(3) | {a} += {b} | {a} *= {b}
{a} -= {b} | {a}.squeeze_() | {a}.div_({b}) | {a}.sub_({b}, alpha=2) | {a}.addcmul_({b}, {b}) | {a}.relu_() | {a}.sigmoid_()
{a}.pow_(2) | {a}.neg_() | {a}.lerp_({b}, 0.5) | {a}.requires_grad_() | {a}.view(-1)[0] = 5 | {a}.diagonal().zero_()
{a}.T.add_(1) | {a}.transpose_(0, -1) | {a}.tril_()
"""


def templates(text: str) -> list[str]:
    return [template for line in text.split("\n") for template in line.split(" | ") if template]


def make_program(seed: int) -> list[tuple[str | None, str]]:
    """Lines of (variable or None, expression or statement)."""
    r = random.Random(seed)
    lines: list[tuple[str | None, str]] = []
    for n in range(r.randint(2, 4)):
        dtype = r.choice(["float32"] * 5 + ["float64", "int64", "bool"])
        grad = dtype.startswith("float") and r.random() < 0.6
        lines.append((f"v{n}", f"make({r.choice(SHAPES)}, {r.randint(0, 99)}, '{dtype}', {grad})"))
    variables = [name for name, _ in lines]
    for _ in range(r.randint(3, 9)):
        kind = r.choices((VIEWS, UNARY, BINARY, IN_PLACE), (3, 4, 4, 3))[0]
        index = [r.choice(INDICES) for _ in range(r.randint(1, 3))]
        line = r.choice(templates(kind)).format(a=r.choice(variables), b=r.choice(variables), d=r.choice((0, 1, -1, -2, 2)),
                                                e=r.choice((0, 1, -1)), i=", ".join(index))
        name = None if kind is IN_PLACE else f"v{len(variables)}"
        lines.append((name, line))
        variables += [name] if name else []
    return lines


def seen(tensor: Any, layout: bool = True) -> Any:
    """What a program can see of a tensor: dtype, sizes, strides of dimensions longer than one, history, numbers."""
    if not hasattr(tensor, "requires_grad"):
        return repr(tensor)
    strides = [s for s, n in zip(tensor.stride(), tensor.shape) if n > 1] if tensor.numel() and layout else []
    return str(tensor.dtype), tuple(tensor.shape), strides, tensor.requires_grad, tensor.detach().numpy().copy()


def run(lines: list, library: Any, refuses: bool) -> tuple[list, list]:
    """(the lines that ran, what was seen of every variable at the end and of the leaves' gradients).

    `refuses`: a line that raises is left out; else its error goes on."""
    def make(shape: tuple, seed: int, dtype: str, grad: bool) -> Any:
        rng = np.random.default_rng(seed)
        values = rng.standard_normal(shape) if dtype.startswith("float") else rng.integers(0, 2, shape)
        return library.tensor(values.tolist(), dtype=getattr(library, dtype)).requires_grad_(grad)

    scope: dict[str, Any] = {"T": library, "make": make}
    ran: list[tuple[str | None, str]] = []
    for name, line in lines:
        try:
            exec(line if name is None else f"{name} = {line}", scope)
            ran.append((name, line))
        except Exception:
            if not refuses:
                raise
            if name is None:
                return [], []  # a change in place that failed may have been made in part
    values = [scope[name] for name, _ in ran if name]
    report = [seen(value) for value in values]
    used = [v for v in values if hasattr(v, "requires_grad") and v.requires_grad]
    try:
        if used:
            sum((v * v).sum().double() for v in used).backward()
    except Exception:
        if not refuses:
            raise
        return [], []  # torch cannot go back through this program: nothing to compare
    return ran, report + [seen(v.grad, layout=False) for v in used if v.is_leaf]


def differ(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, str) or isinstance(theirs, str):
        return bool(ours != theirs)
    return ours[:4] != theirs[:4] or not np.allclose(ours[4], theirs[4], rtol=2e-4, atol=1e-5, equal_nan=True)


def difference(seed: int, torch: Any) -> str | None:
    """None where both libraries agree, else the program and what differs."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        ran, theirs = run(make_program(seed), torch, refuses=True)
        text = "\n".join(f"{name} = {line}" if name else line for name, line in ran)
        try:
            ours = run(ran, engine, refuses=False)[1]
        except Exception as error:
            told = any(why in str(error) for why in REFUSED_HERE)
            return None if told else f"seed {seed}\n{text}\nengine refuses: {type(error).__name__}: {error}"
    wrong = [(a, b) for a, b in zip(ours, theirs) if differ(a, b)]
    return f"seed {seed}\n{text}\nengine {wrong[0][0]}\ntorch  {wrong[0][1]}" if wrong else None


@pytest.mark.parametrize("first", range(0, 600, 50))
def test_random_programs_see_what_torch_shows(first: int) -> None:
    torch = pytest.importorskip("torch")
    found = [text for seed in range(first, first + 50) if (text := difference(seed, torch))]
    assert not found, "\n\n".join(found)


if __name__ == "__main__":
    import torch

    start, count = int(sys.argv[1]), int(sys.argv[2])
    differences = [text for seed in range(start, start + count) if (text := difference(seed, torch))]
    print("\n\n".join([*differences[:40], f"{len(differences)} of {count} programs differ"]))
