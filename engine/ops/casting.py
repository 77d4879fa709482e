"""Which operators autocast runs in which dtype, and the casts themselves (the context is `engine.amp.autocast`).

Three policies, with torch's lists for CPU and for CUDA, which differ
(`torch._C._dispatch_get_registrations_for_dispatch_key("AutocastCUDA")`):
- `lower`: products and convolutions, in autocast's dtype. Each of them begins with `if casting.on: ... = lower(...)`;
- `widest`: in the widest floating dtype among an operator's tensors;
- float32: what loses too much in half precision.

`install` wraps the public functions named in `RULES`. CUDA's list has further cards (`FLOAT32_CARDS`), which are cast where
they are applied to arrays of a GPU, and functions with a `dtype` (`sum`, `softmax`, ...), which ask `in_full` if it is missing.

`casting.on` is false unless some thread is inside an autocast context, so that reading it is all that autocast costs
programs that do not use it. Everything else is per thread.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

from .. import dtypes
from ..autograd.graph import AccumulateGrad
from ..autograd.modes import state as modes
from ..dtypes import bfloat16, dtype, float16, float32
from ..tensor import Tensor

BF16, F16, F32 = dtypes.BF16, dtypes.F16, dtypes.F32

_CPU, _CUDA = frozenset({"cpu"}), frozenset({"cuda"})
_BOTH = _CPU | _CUDA
_FLOAT32 = {
    _BOTH: """
        binary_cross_entropy_with_logits cdist cosine_embedding_loss cross_entropy hinge_embedding_loss huber_loss kl_div
        l1_loss margin_ranking_loss mse_loss multi_margin_loss multilabel_margin_loss nll_loss poisson_nll_loss prod
        smooth_l1_loss soft_margin_loss triplet_margin_loss""",
    _CPU: """
        adaptive_avg_pool3d adaptive_max_pool3d avg_pool3d binary_cross_entropy cholesky cholesky_inverse cholesky_solve
        ctc_loss fractional_max_pool2d fractional_max_pool3d geqrf grid_sample grid_sampler grid_sampler_2d grid_sampler_3d
        inverse lu_solve max_unpool2d max_unpool3d nanquantile orgqr ormqr pinverse polar qr quantile stft svd trace
        triangular_solve view_as_complex""",
    _CUDA: """
        cosine_similarity dist frobenius_norm multilabel_soft_margin_loss nuclear_norm pairwise_distance pdist
        renorm""",
}  # fmt: skip
_WIDEST = {_CUDA: """
    bilinear cross dot inner grid_sample grid_sampler grid_sampler_2d grid_sampler_3d index_put scatter_add tensordot vdot"""}
_LOWER = {_CUDA: "addmv addr mv"}  # besides those that ask `lower` themselves
_KEPT = {_CUDA: f"index_copy instance_norm ldexp nanmean nansum {_FLOAT32[_CPU]}"}  # not to be cast, nor what they are made of
_REFUSED = {_CUDA: "binary_cross_entropy"}
UNSAFE = "HINT: leave out the sigmoid before it and use binary_cross_entropy_with_logits or BCEWithLogitsLoss."
# name of a public function -> [(its policy, the types of devices that have it)]
RULES: dict[str, list[tuple[str, frozenset]]] = {}
for _policy, _table in (("float32", _FLOAT32), ("widest", _WIDEST), ("lower", _LOWER), ("kept", _KEPT), ("refused", _REFUSED)):
    for _devices, _names in _table.items():
        for _name in _names.split():
            RULES.setdefault(_name, []).append((_policy, _devices))

# Cards that CUDA's autocast computes in float32.
_NAMES_OF_CARDS = """
    acos asin cosh erfinv exp expm1 log log10 log1p log2 reciprocal rsqrt sinh tan pow _pow_scalar square _softplus
    layer_norm group_norm rms_norm logsumexp
"""
FLOAT32_CARDS = frozenset(_NAMES_OF_CARDS.split())


class _Casting(threading.local):
    """Autocast's state in one thread; class attributes are the defaults of every new thread."""

    enabled: frozenset = frozenset()  # types of devices
    cache_enabled = True
    nesting = 0

    def __init__(self) -> None:
        self.dtypes = {"cpu": bfloat16, "cuda": float16}
        self.cache: dict[tuple, tuple] = {}  # casts of parameters: each is made once per outermost context


class _Switch:
    """`on`: whether autocast is enabled on any device in any thread."""

    __slots__ = ("on", "lock")

    def __init__(self) -> None:
        self.on, self.lock = 0, threading.Lock()


state = _Casting()
casting = _Switch()


def enable(device_type: str, enabled: bool) -> None:
    """Switch autocast for a type of device in this thread."""
    before = state.enabled
    state.enabled = before | {device_type} if enabled else before - {device_type}
    with casting.lock:
        casting.on += bool(state.enabled) - bool(before)


def _eligible(value: Any, devices: frozenset = _BOTH) -> bool:
    """Whether autocast may cast this: a tensor of a floating dtype below float64 on a device where it is enabled."""
    if not isinstance(value, Tensor):
        return False
    d = value._array.dtype
    return (d is F32 or d is BF16 or d is F16) and value.device.type in state.enabled & devices


def _lowered(value: Any) -> Any:
    if not _eligible(value):
        return value
    to = state.dtypes[value.device.type]
    if value._array.dtype is to.np:
        return value
    if type(value._node) is AccumulateGrad and value._view is None and value._array.dtype is F32 and state.cache_enabled:
        return _remembered(value, to)
    return value.to(to)  # type: ignore[attr-defined]


def _remembered(leaf: Tensor, to: dtype) -> Tensor:
    key = (id(leaf), to, modes.grad)
    found = state.cache.get(key)
    if found is None or found[1] != leaf._version:
        found = state.cache[key] = (leaf, leaf._version, leaf.to(to))  # type: ignore[attr-defined]
    return found[2]


def lower(*values: Any) -> tuple:
    """Tensors that are eligible in autocast's dtype; everything else as it is."""
    if not state.enabled:
        return values
    return tuple([_lowered(v) for v in values])


def widest(tensors: Sequence) -> Sequence:
    """Eligible tensors of the CPU in float32 if one of them is, else unchanged. RuntimeError for a half dtype not autocast's
    own. (CUDA's operators promote by themselves.)"""
    found = [t for t in tensors if _eligible(t, _CPU)] if state.enabled else []
    if any(t._array.dtype is F32 for t in found):
        return [_cast(t, float32) for t in tensors]
    for t in found:
        if t.dtype is not state.dtypes[t.device.type]:
            raise RuntimeError(f"Unexpected floating ScalarType in autocast: {t.dtype}, expected float32 or "
                               f"{state.dtypes[t.device.type]}")
    return tensors


def in_full(value: Any) -> Any:
    """A tensor in float32 if it is half precision on a GPU and autocast is enabled there."""
    return value.to(float32) if "cuda" in state.enabled and _half_on_cuda(value) else value


def _half_on_cuda(value: Any) -> bool:
    return isinstance(value, Tensor) and (value._array.dtype is F16 or value._array.dtype is BF16) and value.is_cuda


def for_card(card: Any, tensors: Sequence) -> Sequence | None:
    """A card's inputs as CUDA's list wants them; None if they may stay as they are."""
    if card.name not in FLOAT32_CARDS or "cuda" not in state.enabled or not any(map(_half_on_cuda, tensors)):
        return None
    return [in_full(t) for t in tensors]


def _cast(value: Any, to: dtype, devices: frozenset = _BOTH) -> Any:
    if isinstance(value, (list, tuple)) and not hasattr(value, "_fields"):
        return type(value)(_cast(v, to, devices) for v in value)
    return value.to(to) if _eligible(value, devices) else value


def _any_float32(value: Any, devices: frozenset) -> bool:
    if isinstance(value, (list, tuple)):
        return any(_any_float32(v, devices) for v in value)
    return _eligible(value, devices) and value._array.dtype is F32


def in_float32(call: Callable) -> Callable:
    """`call` with its eligible tensors of the CPU cast to float32 where autocast is enabled, and autocast off inside it."""
    return ruled(call, [("float32", _CPU), ("kept", _CUDA)])


def ruled(call: Callable, rules: list[tuple[str, frozenset]]) -> Callable:
    """`call` with its eligible tensors cast by these rules wherever autocast is enabled, and autocast off inside it."""

    @functools.wraps(call)
    def cast_first(*args: Any, **kwargs: Any) -> Any:
        if not casting.on or not state.enabled or kwargs.get("out") is not None:
            return call(*args, **kwargs)
        off: frozenset = frozenset()
        for policy, devices in rules:
            off |= devices
            if policy == "refused" and any(_eligible(v, devices) for v in args):
                raise RuntimeError(f"torch.nn.functional.{call.__name__} is unsafe to autocast, as is its module. {UNSAFE}")
            if policy == "lower":
                args = tuple([_lowered(a) if _eligible(a, devices) else a for a in args])
            elif policy == "float32" or (policy == "widest" and _any_float32((*args, *kwargs.values()), devices)):
                args = _cast(args, float32, devices)
                kwargs = {name: _cast(value, float32, devices) for name, value in kwargs.items()}
        return without(call, args, kwargs, off)

    return cast_first


def without(call: Callable, args: Sequence, kwargs: dict, devices: frozenset = _BOTH) -> Any:
    """`call(*args, **kwargs)` with autocast off in this thread for these types of devices."""
    before, state.enabled = state.enabled, state.enabled - devices
    try:
        return call(*args, **kwargs)
    finally:
        state.enabled = before
