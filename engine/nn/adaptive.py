"""AdaptiveLogSoftmaxWithLoss: a softmax over many classes that spends little on the rare ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import engine
from engine.nn import functional as F
from engine.nn.containers import ModuleList, Sequential
from engine.nn.linear import Linear
from engine.nn.module import Module
from engine.tensor import Tensor

__all__ = ["AdaptiveLogSoftmaxWithLoss"]


class _ASMoutput(NamedTuple):
    output: Tensor
    loss: Tensor


class AdaptiveLogSoftmaxWithLoss(Module):
    """Log-probabilities of classes sorted by frequency, the rare ones in clusters of small projections (Grave 2016).

    Args:
        in_features: size of each input row.
        n_classes: number of classes.
        cutoffs: where the clusters begin; classes below the first have scores of their own in the head.
        div_value: cluster i projects the input to in_features / div_value^(i + 1) features.
        head_bias: whether the head has a bias.

    Shapes: input (N, in_features) or (in_features), target (N) or (); returns ``(output, loss)``: the targets'
    log-probabilities (N) or (), and minus their mean.

    Raises:
        ValueError: for cutoffs that are not unique, increasing, positive and below n_classes.
        RuntimeError: for shapes that do not fit, and targets that are no class.

    Example::

        >>> model = nn.AdaptiveLogSoftmaxWithLoss(16, 20, cutoffs=[5, 10])
        >>> model(torch.zeros(3, 16), torch.tensor([0, 7, 19])).output.shape
        torch.Size([3])
    """

    def __init__(
        self,
        in_features: int,
        n_classes: int,
        cutoffs: Sequence[int],
        div_value: float = 4.0,
        head_bias: bool = False,
        device: Any = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        limits = list(cutoffs)
        if not limits:
            raise ValueError("cutoffs should be a sequence of length larger than 0")
        if limits != sorted(set(limits)) or limits[0] <= 0 or limits[-1] > n_classes - 1:
            raise ValueError(
                "cutoffs should be a sequence of unique, positive integers sorted in an increasing order, where each "
                "value is between 1 and n_classes-1"
            )
        place = {"device": device, "dtype": dtype}
        self.in_features = in_features
        self.n_classes = n_classes
        self.cutoffs = [*limits, n_classes]
        self.div_value = div_value
        self.head_bias = head_bias
        self.shortlist_size = limits[0]
        self.n_clusters = len(limits)
        self.head_size = self.shortlist_size + self.n_clusters
        self.head = Linear(in_features, self.head_size, bias=head_bias, **place)
        self.tail = ModuleList()
        for i, (low, high) in enumerate(self._clusters()):
            width = int(in_features // (div_value ** (i + 1)))
            self.tail.append(
                Sequential(
                    Linear(in_features, width, bias=False, **place), Linear(width, high - low, bias=False, **place)
                )
            )

    def _clusters(self) -> list[tuple[int, int]]:
        return list(zip(self.cutoffs, self.cutoffs[1:]))

    def reset_parameters(self) -> None:
        """Draw all weights anew."""
        self.head.reset_parameters()
        for cluster in self.tail:
            for layer in cluster.children():
                layer.reset_parameters()

    def forward(self, input: Tensor, target: Tensor) -> _ASMoutput:
        if target.dim() == 0 and input.dim() == 1:
            output, loss = self.forward(input.unsqueeze(0), target.unsqueeze(0))
            return _ASMoutput(output.squeeze(0), loss)
        if target.dim() != 1 or input.dim() != 2:
            raise RuntimeError(
                f"AdaptiveLogSoftmaxWithLoss: expected input (N, {self.in_features}) with target (N), got shapes "
                f"{tuple(input.shape)} and {tuple(target.shape)}"
            )
        if input.shape[0] != target.shape[0]:
            raise RuntimeError("Input and target should have the same size in the batch dimension.")
        if bool(((target < 0) | (target >= self.n_classes)).any()):
            raise RuntimeError(
                f"Target values should be in [0, {self.n_classes - 1}], but values in range "
                f"[{target.min().item()}, {target.max().item()}] were found. "
            )
        head = F.log_softmax(self.head(input), dim=1)
        column = target.clamp(max=self.shortlist_size - 1)  # in the head: the class, or its cluster's place
        within = input.new_zeros(len(target))
        for i, (low, high) in enumerate(self._clusters()):
            inside = (target >= low) & (target < high)
            rows = inside.nonzero().squeeze(1)
            if len(rows):
                cluster = F.log_softmax(self.tail[i](input.index_select(0, rows)), dim=1)
                chosen = cluster.gather(1, (target.index_select(0, rows) - low).unsqueeze(1)).squeeze(1)
                within = within.index_copy(0, rows, chosen)
                column = column.masked_fill(inside, self.shortlist_size + i)
        output = head.gather(1, column.unsqueeze(1)).squeeze(1) + within
        return _ASMoutput(output, -output.mean())

    def log_prob(self, input: Tensor) -> Tensor:
        """Log-probabilities of all classes: (N, in_features) gives (N, n_classes)."""
        head = F.log_softmax(self.head(input), dim=1)
        parts = [head[:, : self.shortlist_size]]
        for i, cluster in enumerate(self.tail):
            place = self.shortlist_size + i
            parts.append(F.log_softmax(cluster(input), dim=1) + head[:, place : place + 1])
        return engine.cat(parts, dim=1)

    def predict(self, input: Tensor) -> Tensor:
        """The most probable class of each row: (N, in_features) gives (N)."""
        return self.log_prob(input).argmax(dim=1)
