"""Table look-ups: Embedding, EmbeddingBag."""

from __future__ import annotations

from typing import Any

import engine
from engine.nn import functional as F
from engine.nn import init
from engine.nn.module import Module
from engine.nn.parameter import Parameter
from engine.tensor import Tensor

__all__ = ["Embedding", "EmbeddingBag"]


class _Table(Module):
    """A table of `num_embeddings` rows that starts standard normal, the padding row zero."""

    def _make_weight(
        self, num_embeddings: int, embedding_dim: int, padding_idx: int | None, given: Tensor | None, **place: Any
    ) -> None:
        self.num_embeddings = num_embeddings
        self.embedding_dim = embedding_dim
        if padding_idx is not None:
            if not -num_embeddings <= padding_idx < num_embeddings:
                raise AssertionError("Padding_idx must be within num_embeddings")
            padding_idx %= num_embeddings
        self.padding_idx = padding_idx
        requires_grad = place.pop("requires_grad", True)
        if given is None:
            self.weight = Parameter(engine.empty((num_embeddings, embedding_dim), **place), requires_grad)
            self.reset_parameters()
            return
        if list(given.shape) != [num_embeddings, embedding_dim]:
            raise AssertionError("Shape of weight does not match num_embeddings and embedding_dim")
        self.weight = Parameter(given, requires_grad)

    def reset_parameters(self) -> None:
        """Draw the table anew."""
        init.normal_(self.weight)
        if self.padding_idx is not None:
            with engine.no_grad():
                self.weight[self.padding_idx].fill_(0)

    def _settings(self, *names_and_defaults: tuple[str, Any]) -> str:
        text = f"{self.num_embeddings}, {self.embedding_dim}"
        for name, default in names_and_defaults:
            value = getattr(self, name)
            if value != default:
                text += f", {name}={value}"
        return text


class Embedding(_Table):
    """Rows of a trained table, picked by integer indices.

    Args:
        num_embeddings: number of rows.
        embedding_dim: size of a row.
        padding_idx: row that gets no gradient; starts as zeros.
        max_norm: rows longer than this are shortened to it when used, in the `norm_type` norm.
        scale_grad_by_freq: whether gradients are divided by how often the row is used in the batch.
        sparse: whether the weight's gradient is a sparse tensor of the rows in use; for `SGD` and `SparseAdam`.

    Shapes: indices (*) of any integer dtype, output (*, embedding_dim); ``weight`` (num_embeddings, embedding_dim).

    Raises:
        AssertionError: if `padding_idx` is no row.
        IndexError: if an index is no row.

    Example::

        >>> table = nn.Embedding.from_pretrained(torch.tensor([[1.0, 2.0], [3.0, 4.0]]))
        >>> table(torch.tensor([1, 1, 0]))
        tensor([[3., 4.],
                [3., 4.],
                [1., 2.]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
        _weight: Tensor | None = None,
        _freeze: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.sparse = sparse
        self._make_weight(
            num_embeddings, embedding_dim, padding_idx, _weight, device=device, dtype=dtype, requires_grad=not _freeze
        )

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        padding_idx: int | None = None,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        sparse: bool = False,
    ) -> Embedding:
        """An Embedding with the rows of a 2-D tensor, which are not trained if `freeze`."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        return cls(
            rows,
            columns,
            padding_idx,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            sparse,
            _weight=embeddings,
            _freeze=freeze,
        )

    def forward(self, input: Tensor) -> Tensor:
        return F.embedding(
            input, self.weight, self.padding_idx, self.max_norm, self.norm_type, self.scale_grad_by_freq, self.sparse
        )

    def extra_repr(self) -> str:
        return self._settings(
            ("padding_idx", None),
            ("max_norm", None),
            ("norm_type", 2),
            ("scale_grad_by_freq", False),
            ("sparse", False),
        )


class EmbeddingBag(_Table):
    """Sums, means or maxima of bags of rows of a trained table, without making the rows first.

    Args:
        mode: "sum", "mean" or "max".
        include_last_offset: whether `offsets` ends with the total number of indices.
        padding_idx: row that counts as absent.
        others: as in `Embedding`.

    Shapes: indices (B, N), or (N) with `offsets` (B) saying where each bag starts; output (B, embedding_dim).

    Example::

        >>> table = torch.tensor([[1.0], [2.0], [4.0]])
        >>> nn.EmbeddingBag.from_pretrained(table, mode="sum")(torch.tensor([0, 1, 2]), torch.tensor([0, 1]))
        tensor([[1.],
                [6.]])
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        _weight: Tensor | None = None,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.max_norm = max_norm
        self.norm_type = norm_type
        self.scale_grad_by_freq = scale_grad_by_freq
        self.mode = mode
        self.sparse = sparse
        self.include_last_offset = include_last_offset
        self._make_weight(num_embeddings, embedding_dim, padding_idx, _weight, device=device, dtype=dtype)

    @classmethod
    def from_pretrained(
        cls,
        embeddings: Tensor,
        freeze: bool = True,
        max_norm: float | None = None,
        norm_type: float = 2.0,
        scale_grad_by_freq: bool = False,
        mode: str = "mean",
        sparse: bool = False,
        include_last_offset: bool = False,
        padding_idx: int | None = None,
    ) -> EmbeddingBag:
        """An EmbeddingBag with the rows of a 2-D tensor, which are not trained if `freeze`."""
        if embeddings.dim() != 2:
            raise AssertionError("Embeddings parameter is expected to be 2-dimensional")
        rows, columns = embeddings.shape
        bag = cls(
            rows,
            columns,
            max_norm,
            norm_type,
            scale_grad_by_freq,
            mode,
            sparse,
            _weight=embeddings,
            include_last_offset=include_last_offset,
            padding_idx=padding_idx,
        )
        bag.weight.requires_grad_(not freeze)
        return bag

    def forward(self, input: Tensor, offsets: Tensor | None = None, per_sample_weights: Tensor | None = None) -> Tensor:
        return F.embedding_bag(
            input,
            self.weight,
            offsets,
            self.max_norm,
            self.norm_type,
            self.scale_grad_by_freq,
            self.mode,
            self.sparse,
            per_sample_weights,
            self.include_last_offset,
            self.padding_idx,
        )

    def extra_repr(self) -> str:
        text = self._settings(("max_norm", None), ("norm_type", 2), ("scale_grad_by_freq", False))
        padding = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"{text}, mode={self.mode!r}{padding}"
