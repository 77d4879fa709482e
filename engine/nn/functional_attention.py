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
    length, batch, embed_dim = query.shape
    if embed_dim != embed_dim_to_check or embed_dim % num_heads != 0:
        raise AssertionError(
            f"was expecting embedding dimension of {embed_dim_to_check}, divisible by num_heads {num_heads}, "
            f"but got {embed_dim}"
        )
    if is_causal and attn_mask is None:
        raise RuntimeError("Need attn_mask if specifying the is_causal hint.")
    key_padding_mask = additive_mask(key_padding_mask, "key_padding_mask", query)
    causal_only = is_causal and key_padding_mask is None and not need_weights
    attn_mask = None if causal_only else additive_mask(attn_mask, "attn_mask", query)
    attn_mask = _with_heads(attn_mask, length, key.shape[0], batch * num_heads)

    weights: Any = (q_proj_weight, k_proj_weight, v_proj_weight) if use_separate_proj_weight else in_proj_weight
    q, k, v = _project(query, key, value, weights, in_proj_bias)
    if bias_k is not None and bias_v is not None:
        k, v = engine.cat([k, bias_k.repeat(1, batch, 1)]), engine.cat([v, bias_v.repeat(1, batch, 1)])
    q = _split_heads(q, num_heads)
    k = _split_heads(k, num_heads) if static_k is None else static_k
    v = _split_heads(v, num_heads) if static_v is None else static_v
    if add_zero_attn:
        k, v = (engine.cat([x, x.new_zeros((x.shape[0], 1, x.shape[2]))], dim=1) for x in (k, v))
    extra = int(bias_k is not None) + int(add_zero_attn)
    mask = _merge_masks(attn_mask, key_padding_mask, extra, num_heads)
    attend = _attend_with_weights if need_weights else _attend
    output, attention = attend(q, k, v, mask, dropout_p if training else 0.0, causal_only, num_heads)
    output = output.transpose(0, 1).reshape(length * batch, embed_dim)
    output = F.linear(output, out_proj_weight, out_proj_bias).view(length, batch, -1)
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


def _with_heads(mask: Tensor | None, length: int, source: int, rows: int) -> Tensor | None:
    """The attention mask as (1 or N * heads, L, S), checked."""
    if mask is None:
        return None
    expected = (length, source) if mask.dim() == 2 else (rows, length, source)
    if tuple(mask.shape) != expected:
        raise RuntimeError(f"The shape of the {mask.dim()}D attn_mask is {mask.shape}, but should be {expected}.")
    return mask.unsqueeze(0) if mask.dim() == 2 else mask


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


def _split_heads(x: Tensor, num_heads: int) -> Tensor:
    """(L, N, E) to (N * heads, L, E / heads)."""
    length, batch, embed_dim = x.shape
    return x.reshape(length, batch * num_heads, embed_dim // num_heads).transpose(0, 1)


def _merge_masks(
    attn_mask: Tensor | None, key_padding_mask: Tensor | None, extra: int, num_heads: int
) -> Tensor | None:
    """One additive mask (1 or N * heads, 1 or L, S + extra); the extra keys are open to all."""
    if extra:
        attn_mask = None if attn_mask is None else F.pad(attn_mask, (0, extra))
        key_padding_mask = None if key_padding_mask is None else F.pad(key_padding_mask, (0, extra))
    if key_padding_mask is None:
        return attn_mask
    batch, source = key_padding_mask.shape
    padding = key_padding_mask.view(batch, 1, 1, source).expand(-1, num_heads, -1, -1)
    padding = padding.reshape(batch * num_heads, 1, source)
    return padding if attn_mask is None else attn_mask + padding


def _attend_with_weights(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, causal: bool, num_heads: int
) -> tuple[Tensor, Tensor]:
    """Output (N * heads, L, E / heads) and the weights (N, heads, L, S); `causal` has become part of the mask."""
    q = q * math.sqrt(1.0 / q.shape[-1])
    scores = engine.bmm(q, k.transpose(-2, -1))
    attention = F.softmax(scores if mask is None else scores + mask, dim=-1)
    if dropout > 0.0:
        attention = F.dropout(attention, p=dropout)
    return engine.bmm(attention, v), attention.view(-1, num_heads, *attention.shape[1:])


def _attend(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, dropout: float, causal: bool, num_heads: int
) -> tuple[Tensor, None]:
    """Output (N * heads, L, E / heads) by the fused operator, which keeps no weights."""
    rows, length, head_dim = q.shape
    q, k, v = (x.view(rows // num_heads, num_heads, x.shape[1], head_dim) for x in (q, k, v))
    if mask is not None:
        mask = mask.view(-1, 1 if mask.shape[0] == 1 else num_heads, *mask.shape[1:])
    output = F.scaled_dot_product_attention(q, k, v, mask, dropout, causal)
    return output.reshape(rows, length, head_dim), None
