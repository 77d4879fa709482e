"""Batches of sequences of different lengths: padded tensors, and packed ones that hold no padding."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import engine
from engine.tensor import Tensor

__all__ = [
    "PackedSequence",
    "invert_permutation",
    "pack_padded_sequence",
    "pack_sequence",
    "pad_packed_sequence",
    "pad_sequence",
    "unpack_sequence",
    "unpad_sequence",
]


class _PackedFields(NamedTuple):
    data: Tensor
    batch_sizes: Tensor
    sorted_indices: Tensor | None
    unsorted_indices: Tensor | None


class PackedSequence(_PackedFields):
    """Sequences of different lengths, stored time step by time step without padding; recurrent layers take it.

    Made by `pack_padded_sequence` and `pack_sequence`, not by hand.

    Fields: data (sum of lengths, *), batch_sizes (longest length): how many sequences are still running at each
    step; sorted_indices and unsorted_indices: the order by decreasing length and its inverse, or None.

    Example::

        >>> packed = nn.utils.rnn.pack_sequence([torch.tensor([1, 2, 3]), torch.tensor([4, 5])])
        >>> packed.data, packed.batch_sizes
        (tensor([1, 4, 2, 5, 3]), tensor([2, 2, 1]))
    """

    __slots__ = ()

    def __new__(
        cls,
        data: Tensor,
        batch_sizes: Tensor | None = None,
        sorted_indices: Tensor | None = None,
        unsorted_indices: Tensor | None = None,
    ) -> PackedSequence:
        if batch_sizes is None:
            raise ValueError("PackedSequence(): expected batch_sizes, got None: use pack_padded_sequence to make one")
        if batch_sizes.device.type != "cpu":
            raise ValueError(
                "batch_sizes should always be on CPU. Instances of PackedSequence should never be created manually. "
                "They should be instantiated by functions like pack_sequence and pack_padded_sequence."
            )
        if unsorted_indices is None:
            unsorted_indices = invert_permutation(sorted_indices)
        return super().__new__(cls, data, batch_sizes, sorted_indices, unsorted_indices)

    def to(self, *args: Any, **kwargs: Any) -> PackedSequence:
        """`Tensor.to` of the data; the indices follow to its device."""
        data = self.data.to(*args, **kwargs)
        indices = (None if x is None else x.to(data.device) for x in (self.sorted_indices, self.unsorted_indices))
        return type(self)(data, self.batch_sizes, *indices)

    def cpu(self) -> PackedSequence:
        """The same on the CPU."""
        return self.to("cpu")

    def cuda(self, device: Any = "cuda") -> PackedSequence:
        """The same on a CUDA device."""
        return self.to(device)

    def double(self) -> PackedSequence:
        """The same in float64."""
        return self.to(engine.float64)

    def float(self) -> PackedSequence:
        """The same in float32."""
        return self.to(engine.float32)

    def half(self) -> PackedSequence:
        """The same in float16."""
        return self.to(engine.float16)

    @property
    def is_cuda(self) -> bool:
        """Whether the data is on a CUDA device."""
        return self.data.is_cuda


def invert_permutation(permutation: Tensor | None) -> Tensor | None:
    """The permutation that undoes `permutation` (None stays None).

    Example::

        >>> nn.utils.rnn.invert_permutation(torch.tensor([2, 0, 1]))
        tensor([1, 2, 0])
    """
    return None if permutation is None else engine.argsort(permutation)


def pack_padded_sequence(
    input: Tensor, lengths: Tensor | Sequence[int], batch_first: bool = False, enforce_sorted: bool = True
) -> PackedSequence:
    """Pack a padded batch.

    Args:
        input: (T, B, *), or (B, T, *) if `batch_first`.
        lengths: (B) lengths, on the CPU.
        enforce_sorted: whether sequences must come by decreasing length; False sorts them.

    Raises:
        RuntimeError: for lengths below 1, above T, not B of them, or not sorted if they must be.

    Example::

        >>> padded = torch.tensor([[1, 2, 0], [3, 0, 0], [4, 5, 6]])
        >>> packed = nn.utils.rnn.pack_padded_sequence(padded, [2, 1, 3], batch_first=True, enforce_sorted=False)
        >>> packed.data, packed.sorted_indices
        (tensor([4, 1, 3, 5, 2, 6]), tensor([2, 0, 1]))
    """
    counts = [int(length) for length in (lengths.tolist() if isinstance(lengths, Tensor) else lengths)]
    order = None
    if not enforce_sorted:
        order = sorted(range(len(counts)), key=lambda i: -counts[i])
        counts = [counts[i] for i in order]
    steps, batch = (input.shape[1], input.shape[0]) if batch_first else (input.shape[0], input.shape[1])
    _check_lengths(counts, steps, batch)
    running = [sum(length > step for length in counts) for step in range(counts[0])]
    columns = list(range(batch)) if order is None else order
    if batch_first:
        rows = [columns[i] * steps + step for step, size in enumerate(running) for i in range(size)]
    else:
        rows = [step * batch + columns[i] for step, size in enumerate(running) for i in range(size)]
    flat = input.reshape(steps * batch, *input.shape[2:])
    data = flat.index_select(0, engine.tensor(rows, dtype=engine.long, device=input.device))
    indices = None if order is None else engine.tensor(order, dtype=engine.long, device=input.device)
    return PackedSequence(data, engine.tensor(running, dtype=engine.long), indices)


def _check_lengths(lengths: list[int], steps: int, batch: int) -> None:
    if len(lengths) != batch:
        raise RuntimeError(
            f"Expected `len(lengths)` to be equal to batch_size, but got {len(lengths)} (batch_size={batch})"
        )
    if min(lengths, default=0) <= 0:
        raise RuntimeError(
            "Length of all samples has to be greater than 0, but found an element in 'lengths' that is <= 0"
        )
    if any(before < after for before, after in zip(lengths, lengths[1:])):
        raise RuntimeError(
            "`lengths` array must be sorted in decreasing order when `enforce_sorted` is True: "
            "pass `enforce_sorted=False` to have it sorted"
        )
    if lengths[0] > steps:
        raise RuntimeError(f"Expected lengths of at most {steps}, the padded batch's, but got {lengths[0]}")


def pad_packed_sequence(
    sequence: PackedSequence, batch_first: bool = False, padding_value: float = 0.0, total_length: int | None = None
) -> tuple[Tensor, Tensor]:
    """Undo `pack_padded_sequence`: the padded batch (T, B, *), or (B, T, *) if `batch_first`, and the lengths (B).

    Args:
        padding_value: what to fill with.
        total_length: T to pad to; default: the longest length.

    Raises:
        ValueError: if `total_length` is below the longest length.

    Example::

        >>> packed = nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])])
        >>> nn.utils.rnn.pad_packed_sequence(packed, batch_first=True)
        (tensor([[1, 2],
                [3, 0]]), tensor([2, 1]))
    """
    running = sequence.batch_sizes.tolist()
    batch, steps = running[0], len(running)
    if total_length is not None:
        if total_length < steps:
            raise ValueError(
                f"Expected total_length to be at least the length of the longest sequence in input, "
                f"but got total_length={total_length} and max sequence length being {steps}"
            )
        steps = total_length
    data = sequence.data
    padding = len(data)  # one more row, which every padded place points at
    place = [[padding] * batch for _ in range(steps)]
    start = 0
    for step, size in enumerate(running):
        place[step][:size] = range(start, start + size)
        start += size
    lengths = [sum(size > i for size in running) for i in range(batch)]
    if sequence.unsorted_indices is not None:
        order = sequence.unsorted_indices.tolist()
        place = [[row[i] for i in order] for row in place]
        lengths = [lengths[i] for i in order]
    if batch_first:
        place = [list(column) for column in zip(*place)]
    rows = engine.cat([data, engine.full_like(data[:1], padding_value)])
    index = engine.tensor(place, dtype=engine.long, device=data.device)
    padded = rows.index_select(0, index.reshape(-1)).reshape(*index.shape, *data.shape[1:])
    return padded, engine.tensor(lengths, dtype=engine.long)


def pad_sequence(
    sequences: Iterable[Tensor],
    batch_first: bool = False,
    padding_value: float = 0.0,
    padding_side: str = "right",
) -> Tensor:
    """Stack sequences (L_i, *) of different lengths into one tensor (T, B, *), or (B, T, *) if `batch_first`.

    Args:
        padding_value: what to fill with.
        padding_side: "right" or "left".

    Raises:
        RuntimeError: if `sequences` is not an iterable of tensors.
        ValueError: for another `padding_side`.

    Example::

        >>> nn.utils.rnn.pad_sequence([torch.tensor([1, 2]), torch.tensor([3])], batch_first=True)
        tensor([[1, 2],
                [3, 0]])
    """
    if not isinstance(sequences, Iterable):
        raise RuntimeError(
            f"pad_sequence: Expected iterable for input sequences, but got arg of type: {type(sequences)}"
        )
    if padding_side not in ("left", "right"):
        raise ValueError(f"Expected padding_side to be one of left or right, got {padding_side}.")
    rows = list(sequences)
    if not rows:
        raise RuntimeError("received an empty list of sequences")
    longest = max(len(row) for row in rows)
    filled = []
    for row in rows:
        missing = longest - len(row)
        if missing:
            filling = row.new_full((missing, *row.shape[1:]), padding_value)
            row = engine.cat([row, filling] if padding_side == "right" else [filling, row])
        filled.append(row)
    return engine.stack(filled, dim=0 if batch_first else 1)


def unpad_sequence(padded_sequences: Tensor, lengths: Tensor, batch_first: bool = False) -> list[Tensor]:
    """Undo `pad_sequence`: a list of tensors (L_i, *).

    Example::

        >>> nn.utils.rnn.unpad_sequence(torch.tensor([[1, 2], [3, 0]]), torch.tensor([2, 1]), batch_first=True)
        [tensor([1, 2]), tensor([3])]
    """
    batch = padded_sequences if batch_first else padded_sequences.transpose(0, 1)
    return [batch[i, : int(length)] for i, length in enumerate(lengths.tolist())]


def pack_sequence(sequences: Sequence[Tensor], enforce_sorted: bool = True) -> PackedSequence:
    """Pack a list of sequences (L_i, *); see `pack_padded_sequence`.

    Example::

        >>> nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]).batch_sizes
        tensor([2, 1])
    """
    lengths = [len(row) for row in sequences]
    return pack_padded_sequence(pad_sequence(sequences), lengths, enforce_sorted=enforce_sorted)


def unpack_sequence(packed_sequences: PackedSequence) -> list[Tensor]:
    """Undo `pack_sequence`.

    Example::

        >>> nn.utils.rnn.unpack_sequence(nn.utils.rnn.pack_sequence([torch.tensor([1, 2]), torch.tensor([3])]))
        [tensor([1, 2]), tensor([3])]
    """
    padded, lengths = pad_packed_sequence(packed_sequences, batch_first=True)
    return unpad_sequence(padded, lengths, batch_first=True)
