"""einsum: sums of products written with subscripts, as batched matrix products that are differentiable by themselves.

Operands are contracted from left to right, two at a time: dimensions of a pair fall into batch (in both, kept), summed
(in both, not needed any more), and those of one side only; permute and reshape bring them into the order of one matmul.
"""

from __future__ import annotations

import math
from typing import Any

from ..tensor import Tensor
from .base import composite
from .matmul import Matmul
from .samples import samples_for


@composite("einsum", method=False)
def einsum(*args: Any) -> Tensor:
    """Sums of products by Einstein's convention: `einsum("ij,jk->ik", a, b)`, or `einsum(a, [0, 1], b, [1, 2], [0, 2])`.

    Subscripts are letters; `...` stands for dimensions that broadcast; without `->` the output has, in alphabetical order,
    the letters that occur once. A letter twice in one operand takes the diagonal. RuntimeError for what does not fit.

    >>> torch.einsum("ij,kj->ik", torch.tensor([[1., 2.]]), torch.tensor([[3., 4.]]))
    tensor([[11.]])
    """
    terms, output, operands = _parse(args)
    lead = max((t.ndim - (len(term) - 1) for term, t in zip(terms, operands) if None in term), default=0)
    terms = [_expand(i, term, t, lead) for i, (term, t) in enumerate(zip(terms, operands))]
    out = _output(terms, output, lead)
    sizes = _sizes(terms, operands)
    parts = [_diagonal(list(term), t) for term, t in zip(terms, operands)]
    labels, result = parts[0]
    for i in range(1, len(parts)):
        later = set(out).union(*[p[0] for p in parts[i + 1 :]])
        labels, result = _contract(labels, result, *parts[i], later, sizes)
    gone = [i for i, label in enumerate(labels) if label not in out]
    if gone:
        result = result.sum(dim=gone)  # type: ignore[attr-defined]
        labels = [label for label in labels if label in out]
    return result.permute([labels.index(label) for label in out]) if labels != out else result  # type: ignore[attr-defined]


# -- reading the subscripts: labels are letters, numbers, or None for the ellipsis ------------------------------------


def _parse(args: tuple) -> tuple[list, list | None, list]:
    if not args:
        raise ValueError("einsum(): must specify the equation string and at least one operand, or at least one operand and "
                         "its subscripts list")
    if isinstance(args[0], Tensor):
        return _parse_lists(args)
    operands = list(args[1]) if len(args) == 2 and isinstance(args[1], (list, tuple)) else list(args[1:])
    left, arrow, right = args[0].replace(" ", "").partition("->")
    terms = [_letters(term) for term in left.split(",")]
    if len(terms) != len(operands):
        what = "more" if len(terms) < len(operands) else "fewer"
        raise RuntimeError(f"einsum(): {what} operands were provided than specified in the equation")
    return terms, _letters(right) if arrow else None, operands


def _parse_lists(args: tuple) -> tuple[list, list | None, list]:
    operands, lists = list(args[0::2]), list(args[1::2])
    output = None
    if len(args) % 2:
        output = operands.pop()
    terms = [[None if s is Ellipsis else s for s in term] for term in lists]
    return terms, None if output is None else [None if s is Ellipsis else s for s in output], operands


def _letters(term: str) -> list:
    out: list = []
    at = 0
    while at < len(term):
        if term[at] == ".":
            if term[at : at + 3] != "..." or None in out:
                raise RuntimeError("einsum(): found '.' in a subscript that is not part of any ellipsis, or a second ellipsis")
            out.append(None)
            at += 3
            continue
        if not (term[at].isascii() and term[at].isalpha()):
            raise RuntimeError(f"einsum(): invalid subscript '{term[at]}' given at index {at} in '{term}'; subscripts must be "
                               "in [a-zA-Z]")
        out.append(term[at])
        at += 1
    return out


def _expand(i: int, term: list, t: Tensor, lead: int) -> list:
    """A term with its ellipsis replaced by labels ("...", k), counted from the right."""
    n = t.ndim - len(term) + (1 if None in term else 0)
    if n < 0 or (None not in term and n):
        raise RuntimeError(f"einsum(): the number of subscripts in the equation ({len(term)}) does not match the number of "
                           f"dimensions ({t.ndim}) for operand {i} and no ellipsis was given")
    if None not in term:
        return term
    at = term.index(None)
    return [*term[:at], *[("...", lead - n + k) for k in range(n)], *term[at + 1 :]]


def _output(terms: list, output: list | None, lead: int) -> list:
    every = [label for term in terms for label in term]
    dots = [("...", k) for k in range(lead)]
    if output is None:
        once = sorted(s for s in set(every) if not isinstance(s, tuple) and every.count(s) == 1)
        return [*[d for d in dots if d in every], *once]
    out: list = []
    for label in output:
        if label is None:
            out.extend(dots)
            continue
        if label in out:
            raise RuntimeError(f"einsum(): output subscript {label} appears more than once in the output")
        if label not in every:
            raise RuntimeError(f"einsum(): output subscript {label} does not appear in the equation for any input operand")
        out.append(label)
    return out




def _sizes(terms: list, operands: list) -> dict:
    sizes: dict = {}
    for i, (term, t) in enumerate(zip(terms, operands)):
        for label, n in zip(term, t.shape):
            before = sizes.get(label, 1)
            if before != 1 and n != 1 and before != n:
                raise RuntimeError(f"einsum(): subscript {label} has size {n} for operand {i} which does not broadcast with "
                                   f"previously seen size {before}")
            sizes[label] = max(before, n) if n else 0
    return sizes


# -- contracting ------------------------------------------------------------------------------------------------------


def _diagonal(labels: list, t: Tensor) -> tuple[list, Tensor]:
    """Repeated labels of one operand taken as a diagonal."""
    for label in dict.fromkeys(labels):
        while labels.count(label) > 1:
            i = labels.index(label)
            j = labels.index(label, i + 1)
            t = t.diagonal(dim1=i, dim2=j)  # type: ignore[attr-defined]
            labels = [*labels[:i], *labels[i + 1 : j], *labels[j + 1 :], label]
    return labels, t


def _sum_out(labels: list, t: Tensor, needed: set) -> tuple[list, Tensor]:
    gone = [i for i, label in enumerate(labels) if label not in needed]
    if not gone:
        return labels, t
    return [label for label in labels if label in needed], t.sum(dim=gone)  # type: ignore[attr-defined]


def _contract(la: list, a: Tensor, lb: list, b: Tensor, later: set, sizes: dict) -> tuple[list, Tensor]:
    """One pair as one matmul. Sizes of 1 that must broadcast stay on the side where they matter."""
    la, a = _sum_out(la, a, later | {s for s, n in zip(lb, b.shape)})
    lb, b = _sum_out(lb, b, later | set(la))
    a, b = _broadcast(la, a, lb, sizes), _broadcast(lb, b, la, sizes)
    batch = [s for s in la if s in lb and s in later]
    summed = [s for s in la if s in lb and s not in later]
    only_a, only_b = [s for s in la if s not in lb], [s for s in lb if s not in la]

    def size(group: list) -> int:
        return math.prod(sizes[s] for s in group)

    if not summed:  # no sum: plain multiplication
        order = batch + only_a + only_b
        left = a.permute([la.index(s) for s in batch + only_a]).reshape([sizes[s] for s in batch + only_a] + [1] * len(only_b))  # type: ignore[attr-defined]
        right = b.permute([lb.index(s) for s in batch + only_b]).reshape(  # type: ignore[attr-defined]
            [sizes[s] for s in batch] + [1] * len(only_a) + [sizes[s] for s in only_b])
        return order, left * right
    left = a.permute([la.index(s) for s in batch + only_a + summed]).reshape(size(batch), size(only_a), size(summed))  # type: ignore[attr-defined]
    right = b.permute([lb.index(s) for s in batch + summed + only_b]).reshape(size(batch), size(summed), size(only_b))  # type: ignore[attr-defined]
    if not batch:
        left, right = left.reshape(size(only_a), size(summed)), right.reshape(size(summed), size(only_b))
    order = batch + only_a + only_b
    return order, Matmul.call(left, right).reshape([sizes[s] for s in order])  # type: ignore[attr-defined]


def _broadcast(labels: list, t: Tensor, others: list, sizes: dict) -> Tensor:
    """Dimensions of size 1 repeated where the other operand's is larger."""
    shape = [sizes[s] for s in labels]
    return t if list(t.shape) == shape else t.expand(shape)  # type: ignore[attr-defined]


@samples_for("einsum")
def _samples(make: Any) -> Any:
    u = make.uniform
    for equation, *shapes in (("ij,jk->ik", (2, 3), (3, 4)), ("ij,jk", (2, 3), (3, 4)), ("bij,bjk->bik", (2, 3, 4), (2, 4, 5)),
                              ("i,i->", (3,), (3,)), ("i,j->ij", (3,), (4,)), ("ij->ji", (2, 3)), ("ij->", (2, 3)),
                              ("ij->j", (2, 3)), ("bhqd,bhkd->bhqk", (2, 2, 3, 4), (2, 2, 5, 4)),
                              ("...ij,jk->...ik", (2, 2, 3, 4), (4, 5)),
                              ("...ij,...jk", (2, 3, 4), (2, 4, 5)), ("ij,ij->ij", (2, 3), (2, 3)),
                              ("ij,jk,kl->il", (2, 3), (3, 4), (4, 2)),
                              ("ij,j->i", (2, 3), (3,)), ("bij,bij->b", (2, 3, 4), (2, 3, 4)), ("ab,cd->dbac", (2, 3), (2, 2)),
                              ("ij,kj->k", (2, 3), (4, 3)), ("...i->...", (2, 3)), ("a...,...b->...ab", (2, 3), (3, 4)),
                              (" i j , j -> i", (2, 3), (3,)), ("bn,anm,bm->ba", (2, 3), (5, 3, 4), (2, 4)),
                              ("ij,ij", (2, 3), (1, 3))):
        yield make("einsum", equation, *[u(s) for s in shapes])
    yield make("einsum", u((2, 3)), [0, 1], u((3, 4)), [1, 2], [0, 2])
    yield make("einsum", u((2, 3)), [0, 1], u((3, 4)), [1, 2])
