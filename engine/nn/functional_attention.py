"""``nn.functional.multi_head_attention_forward``: not an operator but a composition of operators."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import engine
from engine.nn import functional as F
from engine.tensor import Tensor

__all__ = ["multi_head_attention_forward"]


def multi_head_attention_forward(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    embed_dim_to_check: int,
    num_heads: int,
    in_proj_weight: Tensor | None,
    in_proj_bias: Tensor | None,
    bias_k: Tensor | None,
    bias_v: Tensor | None,
    add_zero_attn: bool,
    dropout_p: float,
    out_proj_weight: Tensor,
    out_proj_bias: Tensor | None,
    training: bool = True,
    key_padding_mask: Tensor | None = None,
    need_weights: bool = True,
    attn_mask: Tensor | None = None,
    use_separate_proj_weight: bool = False,
    q_proj_weight: Tensor | None = None,
    k_proj_weight: Tensor | None = None,
    v_proj_weight: Tensor | None = None,
    static_k: Tensor | None = None,
    static_v: Tensor | None = None,
    average_attn_weights: bool = True,
    is_causal: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Multi-head attention (Vaswani et al. 2017) with all its projections; `nn.MultiheadAttention` is its module.

    Shapes: query (L, N, E) or (L, E), key and value (S, N, E) or (S, E); masks: `key_padding_mask` (N, S) or (S),
    `attn_mask` (L, S) or (N * num_heads, L, S), True or -inf where attention is forbidden.

    Returns:
        The output, of the query's shape, and the attention weights (N, L, S) if `need_weights`, per head
        (N, num_heads, L, S) if not `average_attn_weights`; else None.

    Raises:
        RuntimeError: for masks of the wrong shape, or `is_causal` without `attn_mask`.
    """
    _check_shapes(query, key, value, key_padding_mask, attn_mask, num_heads)
    batched = query.dim() == 3
    if not batched:
        query, key, value = with_same_objects(lambda x: x.unsqueeze(1), query, key, value)
        key_padding_mask = None if key_padding_mask is None else key_padding_mask.unsqueeze(0)
    _check_width(query, embed_dim_to_check, num_heads)
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    key_padding_mask = additive_mask(key_padding_mask, "key_padding_mask", query)
    causal_only = is_causal and key_padding_mask is None and not need_weights
    attn_mask = None if causal_only else additive_mask(attn_mask, "attn_mask", query)
    attn_mask = _with_heads(attn_mask, query.shape[0], key.shape[0], query.shape[1], num_heads)

    weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    stored = with_same_objects(_as_stored, query, key, value)
    swapped = [x is not given for x, given in zip(stored, (query, key, value))]
    projected = _project(stored[0], stored[1], stored[2], weights, in_proj_bias)
    q, k, v = (_split_heads(x, num_heads, swap) for x, swap in zip(projected, swapped))
    k, v = _more_keys((k, v), (static_k, static_v), (bias_k, bias_v), add_zero_attn)
    mask = _merge_masks(attn_mask, key_padding_mask, k.shape[2])
    attend = _attend_with_weights if need_weights else _attend
    output, attention = attend(q, k, v, mask, dropout_p if training else 0.0, causal_only)
    as_given = swapped[0] and not training  # in training as in torch: a dropout that follows draws in the order of memory
    output = F.linear(_beside_each_other(output, as_given), out_proj_weight, out_proj_bias)
    output = output.transpose(0, 1) if as_given else output
    if attention is not None and average_attn_weights:
        attention = attention.mean(dim=1)
    if batched:
        return output, attention
    return output.squeeze(1), None if attention is None else attention.squeeze(0)


def with_same_objects(change: Callable[[Tensor], Tensor], *tensors: Tensor) -> list[Tensor]:
    """`change` of each tensor; where one object comes twice so does its result (it is projected in one product)."""
    changed = {id(tensor): change(tensor) for tensor in tensors}
    return [changed[id(tensor)] for tensor in tensors]


def additive_mask(mask: Tensor | None, name: str, like: Tensor) -> Tensor | None:
    """A mask to add to the scores: True of a bool mask becomes -inf."""
    if mask is None or mask.is_floating_point():
        return mask
    if mask.dtype != engine.bool:
        raise AssertionError(f"only bool and floating types of {name} are supported")
    return engine.zeros(mask.shape, dtype=like.dtype, device=mask.device).masked_fill(mask, -math.inf)


def _check_width(query: Tensor, expected: int, num_heads: int) -> None:
    width = query.shape[-1]
    if width != expected or width % num_heads != 0:
        raise AssertionError(
            f"was expecting embedding dimension of {expected}, divisible by num_heads {num_heads}, but got {width}"
        )


def _check_shapes(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    key_padding_mask: Tensor | None,
    attn_mask: Tensor | None,
    num_heads: int,
) -> None:
    rank = query.dim()
    if rank not in (2, 3):
        raise AssertionError(f"query should be unbatched 2D or batched 3D tensor but received {rank}-D query tensor")
    if key.dim() != rank or value.dim() != rank:
        raise AssertionError(
            f"For {rank}-D query, expected key and value to be {rank}-D but found {key.dim()}-D and {value.dim()}-D"
        )
    if key_padding_mask is not None and key_padding_mask.dim() != rank - 1:
        raise AssertionError(
            f"For {rank}-D query, expected key_padding_mask to be None or {rank - 1}-D "
            f"but found {key_padding_mask.dim()}-D"
        )
    if rank == 3 and key_padding_mask is not None and tuple(key_padding_mask.shape) != (key.shape[1], key.shape[0]):
        raise AssertionError(f"Expected key_padding_mask of shape {(key.shape[1], key.shape[0])} (batch, source length), but "
                             f"got {tuple(key_padding_mask.shape)}")
    if attn_mask is not None and attn_mask.dim() not in (2, 3):
        raise AssertionError(f"expected attn_mask to be None, 2-D or 3-D but found {attn_mask.dim()}-D")
    if rank == 2 and attn_mask is not None and attn_mask.dim() == 3:
        expected = (num_heads, query.shape[0], key.shape[0])
        if tuple(attn_mask.shape) != expected:
            raise AssertionError(f"Expected `attn_mask` shape to be {expected} but got {tuple(attn_mask.shape)}")


def _with_heads(mask: Tensor | None, length: int, source: int, batch: int, num_heads: int) -> Tensor | None:
    """The attention mask as (L, S) or (N, heads, L, S), checked."""
    if mask is None:
        return None
    expected = (length, source) if mask.dim() == 2 else (batch * num_heads, length, source)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask if mask.dim() == 2 else mask.view(batch, num_heads, length, source)


def _as_stored(x: Tensor) -> Tensor:
    """(N, L, E) where that is how (L, N, E) lies in memory: all rows are then one matrix."""
    swapped = x.transpose(0, 1)
    return swapped if swapped.is_contiguous() and not x.is_contiguous() else x


def _project(
    query: Tensor, key: Tensor, value: Tensor, weights: Tensor | tuple, bias: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Project query, key and value, in as few matrix products as their identity allows."""
    if isinstance(weights, tuple):
        biases = (None, None, None) if bias is None else bias.chunk(3)
        inputs = (query, key, value)
        return tuple(F.linear(x, weight, b) for x, weight, b in zip(inputs, weights, biases))
    embed_dim = query.shape[-1]
    if query is key and key is value:
        return F.linear(query, weights, bias).chunk(3, dim=-1)
    if key is value:
        sizes = [embed_dim, 2 * embed_dim]
        weight_q, weight_kv = weights.split(sizes)
        bias_q, bias_kv = (None, None) if bias is None else bias.split(sizes)
        k, v = F.linear(key, weight_kv, bias_kv).chunk(2, dim=-1)
        return F.linear(query, weight_q, bias_q), k, v
    return _project(query, key, value, tuple(weights.chunk(3)), bias)


def _split_heads(x: Tensor, num_heads: int, swapped: bool) -> Tensor:
    """(L, N, E), or (N, L, E) if `swapped`, to (N, heads, L, E / heads): a view."""
    heads = x.view(*x.shape[:2], num_heads, -1)
    return heads.transpose(1, 2) if swapped else heads.permute(1, 2, 0, 3)


def _beside_each_other(heads: Tensor, swapped: bool) -> Tensor:
    """What `_split_heads` has split, together again."""
    x = heads.transpose(1, 2) if swapped else heads.permute(2, 0, 1, 3)
    return x.reshape(*x.shape[:2], -1)


def _more_keys(pair: tuple, static: tuple, learned: tuple, zero: bool) -> list[Tensor]:
    """Keys and values (N, heads, S, E / heads), taken from elsewhere if they are given, with the extra ones at the end."""
    made = []
    for x, given, bias in zip(pair, static, learned):
        batch, num_heads, _, width = x.shape
        more = [] if bias is None or None in learned else [bias.view(1, num_heads, 1, width).expand(batch, -1, -1, -1)]
        if given is not None:
            x, more = given.view(batch, num_heads, -1, width), []
        if zero:
            more.append(x.new_zeros((batch, num_heads, 1, width)))
        made.append(engine.cat([x, *more], dim=2) if more else x)
    return made


def _merge_masks(attn_mask: Tensor | None, key_padding_mask: Tensor | None, source: int) -> Tensor | None:
    """One additive mask that broadcasts to (N, heads, L, S); extra keys, beyond the masks, are open to all."""
    padding = None if key_padding_mask is None else key_padding_mask[:, None, None, :]
    masks = [mask for mask in (attn_mask, padding) if mask is not None]
    masks = [mask if mask.shape[-1] == source else F.pad(mask, (0, source - mask.shape[-1])) for mask in masks]
    return masks[0] + masks[1] if len(masks) == 2 else masks[0] if masks else None


def _attend_with_weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, causal: bool
) -> tuple[Tensor, Tensor]:
    """Output (N, heads, L, E / heads) and the weights (N, heads, L, S); `causal` has become part of the mask."""
    scores = engine.matmul(q * math.sqrt(1.0 / q.shape[-1]), k.transpose(-2, -1))
    attention = F.softmax(scores if mask is None else scores + mask, dim=-1)
    if dropout > 0.0:
        attention = F.dropout(attention, p=dropout)
    return engine.matmul(attention, v), attention


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, causal: bool
) -> tuple[Tensor, None]:
    """Output (N, heads, L, E / heads) by the fused operator, which keeps no weights."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout, causal), None
