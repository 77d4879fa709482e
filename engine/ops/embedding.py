"""Rows of a table by index: embedding, and embedding_bag, which reduces bags of rows."""

from __future__ import annotations

from typing import Any

from .. import backend
from ..autograd.graph import AccumulateGrad
from ..coo import Coo
from ..gpu.pointwise import EmbeddingLookup
from ..tensor import Tensor
from ._scatter import scatter_rows
from .base import CARDS, Op, expect_tensor, op


def _check_indices(function: str, input: Any, rows: int) -> None:
    """TypeError or RuntimeError unless `input` is an int tensor, IndexError for an index outside of the table."""
    a = expect_tensor(input, function)._array
    if a.dtype.kind not in "iu":
        raise RuntimeError(
            f"Expected tensor for argument #1 'indices' to have one of the following scalar types: Long, Int; "
            f"but got {input.dtype} instead (while checking arguments for {function})"
        )
    if backend.readable(a) and (int(a.min()) < 0 or int(a.max()) >= rows):
        raise IndexError(
            f"index out of range in self: {function}() has {rows} rows, got indices from {int(a.min())} to "
            f"{int(a.max())}"
        )


def _row(padding_idx: int | None, rows: int) -> int:
    """`padding_idx` counted from the front, -1 for none. AssertionError outside of the table, as torch raises it."""
    if padding_idx is None:
        return -1
    if not -rows <= padding_idx < rows:
        raise AssertionError(
            f"Padding_idx must be within num_embeddings: expected -{rows} <= padding_idx < {rows}, got {padding_idx}"
        )
    return padding_idx % rows


def renorm_rows(weight: Tensor, indices: Any, max_norm: float, norm_type: float) -> None:
    """Scale, in place and outside of autograd, the rows named by `indices` that are longer than `max_norm`."""
    table = weight._array
    rows = sorted(set(indices.reshape(-1).tolist()))
    chosen = table[rows]
    absolute = abs(chosen)
    norms = absolute.max(-1) if norm_type == float("inf") else (absolute**norm_type).sum(-1) ** (1.0 / norm_type)
    scale = max_norm / (norms + 1e-7)
    scale[norms <= max_norm] = 1
    table[rows] = chosen * scale[:, None].astype(table.dtype)
    weight._bump("embedding(max_norm=...)")


@op("embedding", function=False, method=False, functional=True)
class Embedding(Op):
    """Rows of `weight` (V, D) by the integers in `input` (any shape): the result has shape (*input.shape, D).

    The row `padding_idx` gets no gradient; `max_norm` first shortens, in place, the rows in use whose `norm_type`
    norm is longer; `scale_grad_by_freq` divides gradients by how often a row is used. Raises IndexError for indices
    outside of the table, RuntimeError for indices that are not integers. With `sparse` a leaf's gradient is a sparse
    tensor of the rows in use.

    >>> table = torch.tensor([[0., 1.], [2., 3.]])
    >>> nn.functional.embedding(torch.tensor([1, 0, 1]), table)
    tensor([[2., 3.],
            [0., 1.],
            [2., 3.]])
    """

    moves = True
    has_aux = True
    gpu = EmbeddingLookup()

    @staticmethod
    def forward(xp: Any, weight: Any, index: Any, padding_idx: int, by_count: bool) -> Any:
        return weight.take(index, axis=0), weight.shape[0]

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._embedding_grad(g, s.aux, *s.params),)

    @staticmethod
    def call(
        input: Tensor,
        weight: Tensor,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Tensor:
        rows = expect_tensor(weight, "embedding", "weight", 2)._array.shape[0]
        _check_indices("embedding", input, rows)
        if weight._array.ndim != 2:
            raise RuntimeError("'weight' must be 2-D")
        if sparse and scale_grad_by_freq:
            raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
        if max_norm is not None:
            renorm_rows(weight, input._array, max_norm, norm_type)
        card = SparseEmbedding if sparse else Embedding
        return card.apply(weight, input._array, _row(padding_idx, rows), scale_grad_by_freq)

    @staticmethod
    def samples(make: Any) -> Any:
        def case(shape: tuple, **options: Any) -> Any:
            return make("embedding", make.ints(shape, 0, 6), make.uniform((6, 3)), _module="nn.functional", **options)

        yield case((4,))
        yield case((2, 5), padding_idx=2, _grad=False)  # its "gradient" is not the derivative
        yield case((2, 5), padding_idx=-1, scale_grad_by_freq=True, _grad=False)
        yield case(())
        yield case((0,))


def _rows_gradient(s: Any, rows: Any, index: Any, padding_idx: int, size: int) -> Any:
    """The table's gradient as a sparse array, if the table is a leaf; None if it must be dense."""
    if type(rows) is not backend.ndarray or type(s.edges[0]) is not AccumulateGrad:
        return None
    index = index.reshape(-1)
    rows = rows.reshape(index.size, rows.shape[-1])
    if padding_idx >= 0:
        rows, index = rows[index != padding_idx], index[index != padding_idx]
    return Coo(index.astype("int64")[None], rows, (size, rows.shape[-1]))


@op("_embedding_sparse", function=False, method=False, node="EmbeddingBackward0")
class SparseEmbedding(Embedding):
    """`embedding(sparse=True)`: the same rows, and a gradient that names the rows in use."""

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        index, padding_idx, _ = s.params
        found = _rows_gradient(s, g, index, padding_idx, s.aux)
        return Embedding.backward(xp, s, g) if found is None else (found,)

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> tuple:
        return Embedding.backward(xp, s, g)

    @staticmethod
    def samples(make: Any) -> Any:
        yield make("embedding", make.ints((4,), 0, 6), make.uniform((6, 3)), _module="nn.functional", sparse=True, _grad=False)


@op("_embedding_grad", function=False, method=False, node="EmbeddingBackwardBackward0")
class EmbeddingGrad(Op):
    """The table's gradient: each row's gradients summed, in order of appearance."""

    @staticmethod
    def forward(xp: Any, g: Any, rows: int, index: Any, padding_idx: int, by_count: bool) -> Any:
        index = index.reshape(-1)
        g = g.reshape(index.size, g.shape[-1])
        if by_count and index.size:
            g = g / xp.bincount(index, minlength=rows)[index].astype(g.dtype)[:, None]
        out = scatter_rows(xp, g, index, rows)
        if padding_idx >= 0:
            out[padding_idx] = 0
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        rows, index, padding_idx, by_count = s.params
        return (xp._embedding_rows(g, rows, index, padding_idx, by_count),)


@op("_embedding_rows", function=False, method=False, node="EmbeddingBackwardBackward0")
class EmbeddingRows(Op):
    """The adjoint of `_embedding_grad`: rows by index, zero for the padding row, scaled by frequency if asked."""

    @staticmethod
    def forward(xp: Any, table: Any, rows: int, index: Any, padding_idx: int, by_count: bool) -> Any:
        out = table.take(index, axis=0)
        if by_count and index.size:
            out /= xp.bincount(index.reshape(-1), minlength=rows)[index].astype(table.dtype)[..., None]
        if padding_idx >= 0:
            out[index == padding_idx] = 0
        return out

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        return (xp._embedding_grad(g, *s.params),)


@op("embedding_bag", function=False, method=False, functional=True)
class EmbeddingBag(Op):
    """Sums, means or maxima of bags of rows of `weight` (V, D), without keeping the rows.

    `input` is (B, N), B bags of equal size, or 1-D with `offsets` (B), where each bag begins (with
    `include_last_offset` the last offset is the end of the last bag). `per_sample_weights`, of input's shape, scale
    the rows; only for "sum". Entries equal to `padding_idx` do not count. Empty bags give zeros. Returns (B, D).
    With `sparse` a leaf's gradient is a sparse tensor of the rows in use ("sum" and "mean" only). Raises ValueError for
    arguments that do not go together, IndexError for indices outside of the table.

    >>> table = torch.tensor([[0., 1.], [2., 3.], [4., 5.]])
    >>> nn.functional.embedding_bag(torch.tensor([0, 1, 2]), table, torch.tensor([0, 2]), mode="sum")
    tensor([[2., 4.],
            [4., 5.]])
    """

    n = 2
    keep = {0: (1,), 1: (0,)}
    has_aux = True

    @staticmethod
    def forward(xp: Any, weight: Any, scale: Any, index: Any, bags: Any, count: int, mode: str, by_count: bool,
                sparse: bool) -> Any:
        rows = weight.take(index, axis=0)
        if mode == "max":
            return _bag_max(xp, rows, index, bags, count, weight.shape)
        if scale is not None:
            rows *= scale[:, None]
        out = scatter_rows(xp, rows, bags, count)
        if mode != "mean":
            return out, (weight.shape, None)
        sizes = xp.maximum(xp.bincount(bags, minlength=count), 1).astype(out.dtype)[:, None]
        return out / sizes, (weight.shape, sizes)

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        index, bags, count, mode, by_count, sparse = s.params
        weight, scale = s.inputs
        shape, extra = s.aux
        if mode == "max":
            filled, places = extra
            return xp._add_at(xp._reshape(xp._gather_index(g, filled), (-1,)), shape, places), None
        size = shape[0]
        if mode == "mean":
            g = g / extra
        rows = xp._embedding_rows(g, count, bags, -1, False)
        spread = rows if scale is None else rows * xp._reshape(scale, (-1, 1))
        by_row = _rows_gradient(s, spread, index, -1, size) if sparse and s.needs[0] else None
        if by_row is None and s.needs[0]:
            by_row = xp._embedding_grad(spread, size, index, -1, by_count)
        taken = xp._embedding_rows(weight, size, index, -1, False) if s.needs[1] else None
        return by_row, None if taken is None else xp.sum(rows * taken, (1,), False, None)

    @staticmethod
    def call(
        input: Tensor,
        weight: Tensor,
        offsets: Tensor | None = None,
        max_norm: float | None = None,
        norm_type: float = 2,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        per_sample_weights: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> Tensor:
        rows = expect_tensor(weight, "embedding_bag", "weight", 2)._array.shape[0]
        _check_indices("embedding_bag", input, rows)
        _check_bag_options(mode, sparse, scale_grad_by_freq, per_sample_weights, input)
        index, bags, count = _bags(input, offsets, include_last_offset)
        scale = None if per_sample_weights is None else per_sample_weights.reshape(-1)  # type: ignore[attr-defined]
        if max_norm is not None:
            renorm_rows(weight, index, max_norm, norm_type)
        if padding_idx is not None:
            kept = (index != _row(padding_idx, rows)).nonzero()[0]
            index, bags = index[kept], bags[kept]
            scale = None if scale is None else CARDS["_gather_index"].apply(scale, kept)
        return EmbeddingBag.apply(weight, scale, index, bags, count, mode, scale_grad_by_freq, sparse)

    @staticmethod
    def samples(make: Any) -> Any:
        def case(shape: tuple, *more: Any, **options: Any) -> Any:
            return make(
                "embedding_bag",
                make.ints(shape, 0, 6),
                make.distinct((6, 3)),
                *more,
                _module="nn.functional",
                **options,
            )

        offsets = make.ints((3,), 0, 1)
        for mode in ("sum", "mean", "max"):
            yield case((2, 4), mode=mode)
            yield case((5,), offsets, mode=mode)
        yield case((2, 4), mode="sum", per_sample_weights=make.uniform((2, 4)))
        yield case((2, 4), mode="mean", padding_idx=1)
        yield case((2, 4), mode="sum", padding_idx=1, per_sample_weights=make.uniform((2, 4)))


def _bag_max(xp: Any, rows: Any, index: Any, bags: Any, count: int, shape: tuple) -> tuple:
    """(maxima per bag, (table's shape, (bags that are not empty, which elements of the table their maxima are)))."""
    filled = xp.unique(bags)
    out = xp.zeros((count, shape[1]), rows.dtype)
    row = xp.zeros((filled.size, shape[1]), index.dtype)
    for i, bag in enumerate(filled.tolist()):
        members = (bags == bag).nonzero()[0]
        row[i] = index[members][rows[members].argmax(0)]
        out[bag] = rows[members].max(0)
    columns = xp.broadcast_to(xp.arange(shape[1]), row.shape)
    return out, (shape, (filled, (row.reshape(-1), columns.reshape(-1))))


def _check_bag_options(mode: str, sparse: bool, by_count: bool, scale: Any, input: Tensor) -> None:
    if mode not in ("sum", "mean", "max"):
        raise ValueError(f"mode has to be one of sum, mean or max, got {mode!r}")
    if mode == "max" and sparse:
        raise ValueError("max mode does not support sparse weights")
    if sparse and by_count:
        raise RuntimeError("embedding_backward: scale_grad_by_freq not supported with sparse gradients")
    if mode == "max" and by_count:
        raise ValueError("max mode does not support scaling the gradient by the frequency")
    if scale is not None and mode != "sum":
        raise NotImplementedError(
            "embedding_bag: per_sample_weights was not None. per_sample_weights is only supported for "
            f"mode='sum' (got mode='{mode}')."
        )
    if scale is not None and scale._array.shape != input._array.shape:
        raise ValueError(
            f"embedding_bag: If per_sample_weights ({list(scale.shape)}) is not None, then it must have the same "
            f"shape as the input ({list(input.shape)})"
        )


def _bags(input: Tensor, offsets: Tensor | None, include_last: bool) -> tuple[Any, Any, int]:
    """(flat indices, the bag of each, the number of bags)."""
    a = input._array
    xp = backend.namespace(a)
    if a.ndim == 2:
        if offsets is not None:
            raise ValueError(
                "if input is 2D, then offsets has to be None, as input is treated is a mini-batch of fixed length "
                f"sequences. However, found offsets of type {type(offsets)}"
            )
        return a.reshape(-1), xp.repeat(xp.arange(a.shape[0]), a.shape[1]), a.shape[0]
    if a.ndim != 1:
        raise ValueError(f"input has to be 1D or 2D Tensor, but got Tensor of dimension {a.ndim}")
    if offsets is None:
        raise ValueError("offsets has to be a 1D Tensor but got None")
    if offsets._array.ndim != 1:
        raise ValueError("offsets has to be a 1D Tensor")
    starts = offsets._array
    if starts.size and int(starts[0]) != 0:
        raise RuntimeError(
            f"offsets[0] has to be 0, i.e., the first sequence in the mini-batch has to start from position 0. "
            f"However, got {int(starts[0])}"
        )
    if starts.size and int(starts[-1]) > a.size:
        raise RuntimeError(
            f"offsets[-1] can not be greater than input's length({a.size}), but got offsets[-1] of {int(starts[-1])}"
        )
    count = starts.size - 1 if include_last else starts.size
    bags = xp.searchsorted(starts[:count], xp.arange(a.size), side="right") - 1
    if include_last:
        a, bags = a[: int(starts[-1])], bags[: int(starts[-1])]
    return a, bags, count
