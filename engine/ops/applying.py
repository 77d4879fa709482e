"""How cards are applied to Tensors: the hot path.

Per operator: one look at each input, the forward, one Tensor and, if a gradient is wanted, one Node. `apply` does this for
every card and every input. What users repeat a million times, float32 and float64 arrays of NumPy, takes a shorter path that
`single_input` and `several_inputs` make for a card: the same, with everything that the card decides decided beforehand.
Errors are explained after the call has failed: the shorter path then calls `apply`, which fails the same way and says why.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd.graph import Hooks, Node, Pick, Version, next_seq
from ..autograd.modes import state
from ..batched import NoRule, top
from ..copying import row_major_copy
from ..gpu.card import run as run_fused
from ..meta import as_meta
from ..tensor import Tensor, View, wrap
from .casting import casting, for_card

_new = object.__new__
hush, unhush = backend.hush, backend.unhush
F32, F64, BF16, F16 = dtypes.F32, dtypes.F64, dtypes.BF16, dtypes.F16
ndarray = np.ndarray


def single_input(card: Any) -> Callable:
    """`card.apply` for a card with one input and one output."""
    forward, moves, records, finish = card.forward, card.moves, card.differentiable, _finisher(card)

    def apply_to_one(t: Any, *params: Any) -> Tensor:
        if not isinstance(t, Tensor):
            return apply(card, (t,), params)
        a = t._array
        d = a.dtype
        if type(a) is not ndarray or not (d is F32 or d is F64 or moves):
            return apply(card, (t,), params)
        if t._view is not None:
            t._sync()
        quiet = None if moves else hush()
        try:
            out = forward(np, a, *params)
        except (ValueError, TypeError, NoRule):
            return apply(card, (t,), params)
        finally:
            if quiet is not None:
                unhush(quiet)
        return finish(out, (t,), (t._node,) if t._requires_grad and records and state.grad else None, params)

    return apply_to_one


def several_inputs(card: Any) -> Callable:
    """`card.apply` for a card with two or more inputs and one output."""
    n, forward, moves, records, finish = card.n, card.forward, card.moves, card.differentiable, _finisher(card)
    alike = card.promote or card.to_float  # of one floating dtype, or `apply` has to convert

    def apply_to_several(*args: Any) -> Tensor:
        tensors, params = args[:n], args[n:]
        arrays: list = []
        edges: list = []
        kind = None
        track = False
        for t in tensors:
            if not isinstance(t, Tensor):
                if t is not None:
                    return apply(card, tensors, params)
                arrays.append(None)
                edges.append(None)
                continue
            a = t._array
            d = a.dtype
            if type(a) is not ndarray or not (d is F32 or d is F64 or moves or not (alike or d is BF16 or d is F16)):
                return apply(card, tensors, params)
            if alike and d is not kind:
                if kind is not None:
                    return apply(card, tensors, params)
                kind = d
            if t._view is not None:
                t._sync()
            arrays.append(a)
            if t._requires_grad:
                track = True
                edges.append(t._node)
            else:
                edges.append(None)
        quiet = None if moves else hush()
        try:
            out = forward(np, *arrays, *params)
        except (ValueError, TypeError, NoRule):
            return apply(card, tensors, params)
        finally:
            if quiet is not None:
                unhush(quiet)
        return finish(out, tensors, tuple(edges) if track and records and state.grad else None, params)

    return apply_to_several


def _finisher(card: Any) -> Callable:
    """The second half of both: the output's Tensor, and its node if there are edges."""
    node_type, has_aux, keeps_output, view, users = card.Node, card.has_aux, card.keep_output, card.view, users_of(card)

    def finish(out: Any, tensors: tuple, edges: tuple | None, params: tuple) -> Tensor:
        aux = None
        if has_aux:
            out, aux = out
        if type(out) is not ndarray and isinstance(out, np.generic):
            out = np.asarray(out)
        d = out.dtype
        new = _new(Tensor)
        new._array = out
        new._grad = new._vc = new._view = None
        if edges is not None and (d is F32 or d is F64 or d.kind in "fc" or d is BF16):
            node = _new(node_type)
            node.edges = edges
            node.versions = None
            if users:
                keep_inputs(node, users, tensors)
            else:
                node.tensors = ()
            node.out, node.aux, node.params = None, aux, params
            node.shape, node.dtype = out.shape, d
            node.seq = next_seq()
            new._requires_grad, new._node = True, node
            if keeps_output:
                keep_output(node, new)
            if state.watched:
                annotate(node)
        else:
            new._requires_grad, new._node = False, None
        if view:
            attach_view(card, new, tensors[0], params)
        return new

    return finish


def apply(card: Any, tensors: Sequence, params: Sequence = ()) -> Any:
    """Run a card's forward on Tensors (None where an optional one is missing) and record it if a gradient is wanted."""
    arrays: list = []
    track = False
    half = None
    for t in tensors:
        if isinstance(t, Tensor):
            if t._view is not None:
                t._sync()
            a = t._array
            d = a.dtype
            if d is BF16 or d is F16:
                half = d
            arrays.append(a)
            if t._requires_grad:
                track = True
        else:
            arrays.append(t)
    if backend.devices_in_use:
        if casting.on and (cast := for_card(card, tensors)) is not None:
            return apply(card, cast, params)
        if (elsewhere := backend.another_device(arrays)) is not None:
            with elsewhere:
                return apply(card, tensors, params)
        tensors = _together(tensors, arrays)
    if card.promote or card.to_float:
        arrays = common_arrays(card, arrays)
        if half is not None:
            half = next((a.dtype for a in arrays if a is not None and (a.dtype is BF16 or a.dtype is F16)), None)
    half = None if card.moves else half
    quiet = None if card.moves else hush()
    try:
        out, half = _forward(card, arrays, params, half)
    except (ValueError, TypeError, NoRule) as error:
        level = top((arrays, params))
        if level is None:
            raise _explained(card, error, tensors, params) from None
        out = Hooks.retry(card, level, arrays if half is None else [_lift_half(a) for a in arrays], params)
    finally:
        if quiet is not None:
            unhush(quiet)
    aux = None
    if card.has_aux:
        out, aux = out
    if half is not None:
        out = _lower_half(out, half)
    if track and state.grad and card.differentiable:
        return _record(card, tensors, params, out, aux)
    if card.outputs != 1:
        results = tuple([_result(card, tensors, params, o) for o in out])
        if card.shares:
            _attach_pieces(card, results, tensors[0], params)
        return results
    return _result(card, tensors, params, out)


def _forward(card: Any, arrays: Sequence, params: Sequence, half: Any) -> tuple:
    """What the card's forward returns, and the half-precision type it is to be brought back to (None: it is what it is).

    Half precision is computed in float32, except by a form for GPUs.
    """
    if card.gpu is not None and backend.devices_in_use:
        fused = run_fused(card.gpu, arrays, params, card.n < 0)
        if fused is not NotImplemented:
            return fused, None
    if half is not None:
        arrays = [_lift_half(a) for a in arrays]
    space = _space(arrays)
    if space is not np:
        return _on_device(card, space, list(arrays), params), half
    return (card.forward(np, arrays, *params) if card.n < 0 else card.forward(np, *arrays, *params)), half


def _together(tensors: Sequence, arrays: list) -> Sequence:
    """0-d tensors of the CPU among those of a GPU are moved there, recorded; `arrays` then holds what they became."""
    where = next((a for a in arrays if a is not None and backend.is_on_device(a)), None)
    if where is None:
        return tensors
    moved = list(tensors)
    for i, (t, a) in enumerate(zip(tensors, arrays)):
        if type(a) is ndarray and not a.ndim and isinstance(t, Tensor):
            moved[i] = Hooks.move(t, where)
            arrays[i] = moved[i]._array
    return moved


def _space(arrays: Sequence) -> Any:
    """The library of the inputs. NumPy's 0-d arrays go with those of any device; others are refused there."""
    host = False
    for a in arrays:
        if type(a) is ndarray:
            if a.ndim:
                return np
            host = True
        elif a is not None and backend.is_array(a):
            return backend.namespace(a) if not host or backend.is_on_device(a) else np
    return np


def _on_device(card: Any, space: Any, arrays: list, params: Sequence) -> Any:
    """A card's forward on arrays that are not NumPy's."""
    first = next(a for a in arrays if a is not None and type(a) is not ndarray and backend.is_array(a))
    if not backend.is_on_device(first):
        out = card.forward(space, arrays, *params) if card.n < 0 else card.forward(space, *arrays, *params)
        return as_meta(out) if space is backend.META else out
    backend.check_one_device(arrays)
    arrays = [backend.scalar_on_device(a, card.scalars) if type(a) is ndarray and not a.ndim else a for a in arrays]
    return card.forward(space, arrays, *params) if card.n < 0 else card.forward(space, *arrays, *params)


def _result(card: Any, tensors: Sequence, params: Sequence, out: Any) -> Tensor:
    t = wrap(out)
    if card.view:
        attach_view(card, t, tensors[0], params)
    return t


def attach_view(card: Any, out: Tensor, source: Tensor, params: Sequence) -> None:
    """Make `out` a view of `source` if they share memory: one version counter, and the way back to the base."""
    a = source._array
    if card.view == "maybe" and not _shares(out._array, a):
        return
    vc = out._vc = source._vc or source._version_counter()
    step = (card, params)
    before = source._view
    frozen = source._requires_grad and not state.grad
    if before is None:
        out._view = View(source, (step,), vc.history, frozen)
    else:
        out._view = View(before.base, (*before.steps, step), vc.history, frozen or before.frozen)


def _shares(out: Any, a: Any) -> bool:
    """Whether a reshaped array is a view. NumPy keeps the owner of the memory as the base of every view of it."""
    if type(out) is ndarray:
        return out.base is not None and (out.base is a or out.base is a.base)
    return a.flags.c_contiguous or backend.namespace(a).may_share_memory(out, a)


def _record(card: Any, tensors: Sequence, params: Sequence, out: Any, aux: Any) -> Any:
    """Wrap the outputs with a node that can compute their gradient."""
    node = new_node(card, tensors)
    node.aux, node.params = aux, params
    if card.outputs != 1:
        return _record_many(card, tensors, params, node, out)
    if type(out) is not ndarray and isinstance(out, np.generic):
        out = np.asarray(out)
    node.shape, node.dtype = out.shape, out.dtype
    if out.dtype.kind not in "fc" and out.dtype is not BF16:
        return _result(card, tensors, params, out)
    t = wrap(out, node)
    if card.keep_output:
        keep_output(node, t)
    if card.view:
        attach_view(card, t, tensors[0], params)
    if state.watched:
        annotate(node)
    return t


def _record_many(card: Any, tensors: Sequence, params: Sequence, node: Any, outs: Sequence) -> tuple:
    node.shape, node.dtype = None, next(o.dtype for o in outs if o is not None)
    node.op_outputs = len(outs)
    made = []
    for i, o in enumerate(outs):
        o = np.asarray(o) if isinstance(o, np.generic) else o
        float_like = o is not None and (o.dtype.kind in "fc" or o.dtype is BF16)
        made.append(None if o is None else wrap(o, Pick(node, i, o) if float_like else None))
        if card.view and o is not None:
            attach_view(card, made[-1], tensors[0], params)  # type: ignore[arg-type]
    if card.keep_output:
        node.out = tuple(outs)
    if state.watched:
        annotate(node)
    if card.shares:
        _attach_pieces(card, made, tensors[0], params)
    return tuple(made)


class Piece:
    """One output of a card that gives several views, as the view operator that leads to it."""

    __slots__ = ("card", "index")
    view, has_aux = True, False

    def __init__(self, card: Any, index: int) -> None:
        self.card, self.index = card, index

    def forward(self, xp: Any, x: Any, *params: Any) -> Any:
        outs = self.card.forward(xp, x, *params)
        return (outs[0] if self.card.has_aux else outs)[self.index]

    def apply(self, t: Tensor, *params: Any) -> Tensor:
        return self.card.apply(t, *params)[self.index]


def _attach_pieces(card: Any, pieces: Sequence, source: Tensor, params: Sequence) -> None:
    for i, piece in enumerate(pieces):
        attach_view(Piece(card, i), piece, source, params)


def new_node(card: Any, tensors: Sequence) -> Node:
    """A node of this card with its edges and kept inputs."""
    node = _new(card.Node)
    node.edges = tuple([t._node if isinstance(t, Tensor) and t._requires_grad else None for t in tensors])
    node.versions = None
    if not card.keep:
        node.tensors = ()
    else:
        keep_inputs(node, users_of(card) or [range(len(tensors))] * len(tensors), tensors)
    node.out = node.aux = None
    node.seq = next_seq()
    return node


def users_of(card: Any) -> list:
    """For each input that a card keeps the inputs whose gradient needs it, and () for the others; no list if it keeps none."""
    keep, n = card.keep, card.n
    if n < 0 or not keep:
        return []
    users = keep if isinstance(keep, dict) else dict.fromkeys(keep, range(n))
    return [users.get(i, ()) for i in range(n)]


def keep_inputs(node: Any, users: Sequence, tensors: Sequence) -> None:
    """Put into a node the inputs that wanted gradients need, with their versions."""
    kept: list = []
    changed = False
    edges = node.edges
    for t, its_users in zip(tensors, users):
        needed = None
        for i in its_users:
            if edges[i] is not None:
                needed = t if t is None or isinstance(t, Tensor) else _number(t, tensors)
                if needed is not None and needed._vc is not None:
                    changed = True
                break
        kept.append(needed)
    node.tensors = tuple(kept)
    if changed:
        node.versions = tuple([0 if t is None or t._vc is None else t._vc.count for t in kept])


def _number(value: Any, others: Sequence) -> Tensor:
    """A Python scalar among an operator's inputs as a 0-d tensor of the common dtype, float32 for 16-bit ones."""
    dtype = dtypes.result_dtype([t for t in others if t is not None]).np
    number = scalar_array(value, F32 if dtype is BF16 or dtype is F16 else dtype)
    like = next((t for t in others if isinstance(t, Tensor) and t.is_cuda), None) if backend.devices_in_use else None
    return wrap(number) if like is None else Hooks.move(wrap(number), like._array)


def annotate(node: Any) -> None:
    """In anomaly mode: note the forward call. Under `saved_tensors_hooks`: hand over what the node has kept."""
    if state.anomaly:
        import traceback

        node.trace = traceback.format_stack()[:-2]
    if state.saving:
        node.pack()


def keep_output(node: Node, t: Tensor) -> None:
    """Keep an operator's output for its gradient, guarded by its version."""
    node.out = t._array
    vc = t._vc = t._vc or Version()
    node.out_version = (vc, vc.count)


# -- dtypes of inputs -------------------------------------------------------------------------------------------------


def common_arrays(card: Any, arrays: list) -> list:
    """The inputs as arrays of one dtype by torch's promotion rules (`promote`), floating if the card says `to_float`."""
    first = arrays[0]
    kind = getattr(first, "dtype", None)
    if kind is F32 or kind is F64:  # the common case: one floating dtype already
        for a in arrays:
            if a is not None and getattr(a, "dtype", None) is not kind:
                break
        else:
            return arrays
    found = dtypes.result_dtype([a for a in arrays if a is not None]) if card.promote else None
    out: list = []
    for a in arrays:
        if a is None:
            out.append(None)
            continue
        d = found or dtypes.from_numpy_dtype(a.dtype)
        if card.to_float and d.category < 2:
            d = dtypes.get_default_dtype()
        if getattr(a, "dtype", None) is d.np:
            out.append(a)
            continue
        half = d.np is BF16 or d.np is F16
        wanted = F32 if half and card.wide_numbers and not getattr(a, "ndim", 0) else d.np
        out.append(a.astype(wanted) if backend.is_array(a) else scalar_array(a, wanted))
    return out


def row_major(xp: Any, out: Any) -> Any:
    """A result in the order in which torch lays it out, where NumPy's follows that of a transposed input.

    Programs see the difference: `.view()` needs it, and random numbers are filled in in the order of memory.
    """
    if out.flags.c_contiguous:
        return out
    return row_major_copy(out) if xp is np else xp.ascontiguousarray(out)


def scalar_array(value: Any, np_dtype: Any) -> np.ndarray:
    """A Python scalar as a 0-d array; integers wrap around like torch's."""
    if np_dtype.kind in "iu" and isinstance(value, int):
        return np.asarray(value).astype(np_dtype)
    return np.asarray(value, dtype=np_dtype)


def _lift_half(a: Any) -> Any:
    """float16 and bfloat16 arrays as float32: NumPy has no fast or accurate half arithmetic."""
    return a.astype(F32) if getattr(a, "dtype", None) in (BF16, F16) else a


def _lower_half(out: Any, half: Any) -> Any:
    if isinstance(out, (list, tuple)):
        return [o.astype(half) if o is not None and o.dtype is F32 else o for o in out]
    return out.astype(half) if out.dtype is F32 else out


def _explained(card: Any, error: Exception, tensors: Sequence, params: Sequence) -> Exception:
    places = {str(t.device) for t in tensors if isinstance(t, Tensor) and t.ndim}
    if len(places) > 1:
        return RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                            f"{' and '.join(sorted(places, reverse=True))}! (in {card.name}())")
    return card.explain(error, tensors, params)
