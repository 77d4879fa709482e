"""torch.nn.attention.flex_attention: attention whose scores and mask are functions of the positions.

A mask or score function is called once, with index tensors that broadcast against each other in place of numbers.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import engine
from engine.tensor import Tensor

__all__ = ["AuxOutput", "AuxRequest", "BlockMask", "and_masks", "create_block_mask", "create_mask", "flex_attention",
           "noop_mask", "or_masks"]

_DEFAULT_SPARSE_BLOCK_SIZE = 128


class AuxOutput(tuple):
    """Never returned: no auxiliary outputs are computed."""


class AuxRequest(AuxOutput):
    """Never honoured: no auxiliary outputs are computed."""


class BlockMask:
    """A mask function and the mask it gives, (B, H, Q_LEN, KV_LEN) of booleans; nothing is kept by blocks here."""

    def __init__(self, mask: Tensor, mask_mod: Callable, block_size: Any) -> None:
        self.mask, self.mask_mod, self.BLOCK_SIZE = mask, mask_mod, block_size

    @property
    def shape(self) -> tuple:
        """(B, H, Q_LEN, KV_LEN)."""
        return tuple(self.mask.shape)

    def to_dense(self) -> Tensor:
        """The mask."""
        return self.mask

    def sparsity(self) -> float:
        """The share of positions that are masked, in percent."""
        return 100.0 * (1.0 - float(self.mask.float().mean()))

    def to(self, device: Any) -> BlockMask:
        """The same mask on another device."""
        return BlockMask(self.mask.to(device), self.mask_mod, self.BLOCK_SIZE)


def noop_mask(batch: Tensor, head: Tensor, token_q: Tensor, token_kv: Tensor) -> Tensor:
    """A mask function that hides nothing."""
    return token_q.eq(token_q)


def and_masks(*mask_mods: Callable) -> Callable:
    """The mask function of what all of them show."""

    def both(*at: Tensor) -> Tensor:
        shown = noop_mask(*at)
        for mask_mod in mask_mods:
            shown = shown & mask_mod(*at)
        return shown

    return both


def or_masks(*mask_mods: Callable) -> Callable:
    """The mask function of what any of them shows."""

    def either(*at: Tensor) -> Tensor:
        shown = ~noop_mask(*at)
        for mask_mod in mask_mods:
            shown = shown | mask_mod(*at)
        return shown

    return either


def _positions(sizes: tuple, device: Any) -> list[Tensor]:
    """Index tensors (B, 1, 1, 1), (1, H, 1, 1), ... that broadcast to `sizes`."""
    return [engine.arange(n, device=device).reshape([n if i == k else 1 for k in range(4)]) for i, n in enumerate(sizes)]


def create_mask(mod_fn: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,  # noqa: N803 - torch's names
                device: Any = None) -> Tensor:
    """The mask (B, H, Q_LEN, KV_LEN) of a mask function (batch, head, query position, key position) -> shown."""
    sizes = (B or 1, H or 1, Q_LEN, KV_LEN)
    return mod_fn(*_positions(sizes, device)).expand(sizes).contiguous()


def create_block_mask(mask_mod: Callable, B: int | None, H: int | None, Q_LEN: int, KV_LEN: int,  # noqa: N803
                      device: Any = None, BLOCK_SIZE: Any = _DEFAULT_SPARSE_BLOCK_SIZE, _compile: bool = False) -> BlockMask:
    """A `BlockMask` of a mask function.

    >>> from engine.nn.attention.flex_attention import create_block_mask
    >>> create_block_mask(lambda b, h, q, kv: q >= kv, None, None, 2, 2).to_dense()
    tensor([[[[ True, False],
              [ True,  True]]]])
    """
    return BlockMask(create_mask(mask_mod, B, H, Q_LEN, KV_LEN, device), mask_mod, BLOCK_SIZE)


def flex_attention(query: Tensor, key: Tensor, value: Tensor, score_mod: Callable | None = None,
                   block_mask: BlockMask | None = None, scale: float | None = None, enable_gqa: bool = False,
                   return_lse: bool = False, kernel_options: Any = None) -> Any:
    """softmax(score_mod(query key^T * scale)) value, where `block_mask` shows; hidden rows give zeros.

    Shapes: query (B, Hq, L, E), key (B, H, S, E), value (B, H, S, Ev); Hq a multiple of H with `enable_gqa`.
    `score_mod(score, b, h, q, kv)` gets all scores at once. With `return_lse` also the log of the sum of exponentials.
    ValueError for other numbers of dimensions.

    >>> from engine.nn.attention.flex_attention import flex_attention
    >>> q = torch.tensor([[[[1., 0.], [0., 1.]]]])
    >>> flex_attention(q, q, q, lambda score, b, h, q_idx, kv_idx: torch.where(q_idx >= kv_idx, score, -float("inf")))
    tensor([[[[1.0000, 0.0000],
              [0.3302, 0.6698]]]])
    """
    if not query.ndim == key.ndim == value.ndim == 4:
        raise ValueError("NYI: query, key, and value must be 4D tensors")
    if enable_gqa:
        times = query.shape[1] // key.shape[1]
        key, value = (t.repeat_interleave(times, 1) for t in (key, value))
    scores = query @ key.transpose(-1, -2) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if score_mod is not None:
        scores = score_mod(scores, *_positions(tuple(scores.shape), query.device))
    if block_mask is not None:
        shown = block_mask.mask[..., : scores.shape[-2], : scores.shape[-1]]
        scores = scores.masked_fill(~shown, -math.inf)
    lse = scores.logsumexp(-1)
    empty = (lse == -math.inf).unsqueeze(-1)
    out = scores.softmax(-1).masked_fill(empty, 0.0) @ value
    return (out, lse) if return_lse else out
