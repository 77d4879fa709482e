"""Operator cards: what one is, how it is registered, and how it is applied.

A card is a class with everything there is to know about one operator; `docs/adding_an_operator.md` walks through one.
`apply` is the hot path: one loop over the inputs, the forward, one Tensor and, if a gradient is wanted, one Node.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd.graph import Hooks, Node, Pick, Version, next_seq
from ..autograd.modes import state
from ..batched import NoRule, top
from ..tensor import Tensor, View, wrap
from .casting import FLOAT32, in_float32

_new = object.__new__
hush, unhush = backend.hush, backend.unhush
F32, F64, BF16, F16 = dtypes.F32, dtypes.F64, dtypes.BF16, dtypes.F16
ndarray = np.ndarray

CARDS: dict[str, type[Op]] = {}  # every operator, by its first name
FUNCTIONS: dict[str, Callable] = {}  # what `engine` exports
FUNCTIONAL: dict[str, Callable] = {}  # what `engine.nn.functional` exports


class Op:
    """Base of all operator cards.

    The author writes `forward` (raw arrays in, raw array out), `backward` (one formula, valid on raw arrays and on
    Tensors), and usually `call`, the public function with torch's signature, which ends in `Card.apply(...)`.
    """

    name = ""
    n = 1  # leading arguments of `forward` that are tensors (None allowed for optional ones); -1: one list of tensors
    keep: Any = ()  # inputs that backward needs, by index; or {input: (inputs whose gradient needs it,)}
    keep_output = False  # backward needs the output
    has_aux = False  # forward returns (out, aux); aux is kept for backward
    outputs = 1  # 0: forward returns a list of outputs
    view: Any = False  # True: the output shares the input's memory; "maybe": if NumPy could do without a copy
    shares = False  # several outputs lie in the first input's memory
    promote = False  # inputs are brought to their common dtype first
    to_float = False  # integer inputs are computed in the default floating dtype
    moves = False  # moves elements without arithmetic: half precision needs no detour through float32
    differentiable = True
    batched: Any = None  # (level, *forward's arguments) -> forward's result on batched arrays, or None: see batching.py
    node_name = ""  # printed in grad_fn=<...>
    Node: type[Node]
    call: Callable

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Apply the card to forward's arguments, tensors first."""
        n = cls.n
        if n == 1:
            return apply(cls, args[:1], args[1:])
        if n < 0:
            return apply(cls, args[0], args[1:])
        return apply(cls, args[:n], args[n:])

    @staticmethod
    def forward(xp: Any, *args: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> Sequence:
        raise NotImplementedError

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> Sequence:
        """The formula on Tensors; cards whose `backward` is a fused kernel give a composite body here."""
        return cls.backward(xp, s, g)

    @classmethod
    def explain(cls, error: Exception, tensors: Sequence, params: Sequence) -> Exception:
        """The error to raise after forward has failed on these inputs. Called only then."""
        return RuntimeError(f"{cls.name}(): {error} (inputs: {', '.join(_phrase(t) for t in tensors)})")

    @staticmethod
    def samples(make: Any) -> Any:
        """Yield `Sample`s: calls that the registry-driven tests run (see ops/samples.py)."""
        return ()

    @staticmethod
    def errors(make: Any) -> Any:
        """Yield `(call, exception class, text)`: bad input and what it raises."""
        return ()


def _phrase(t: Any) -> str:
    if isinstance(t, Tensor):
        return f"{t.dtype} {list(t.shape)} on {t.device}"
    return repr(t)


def op(name: str, *aliases: str, function: bool = True, method: bool = True, functional: bool = False,
       inplace: bool = False, node: str = "") -> Callable[[type], type]:
    """Class decorator that registers a card and installs its public function.

    `function`: `engine.<name>`; `method`: `Tensor.<name>`; `functional`: `engine.nn.functional.<name>`;
    `inplace`: also the `<name>_` forms of those.
    """

    def register(cls: Any) -> Any:
        if name in CARDS:
            raise ValueError(f"an operator named '{name}' is registered already")
        cls.name = name
        pretty = node or "".join(part.capitalize() for part in name.strip("_").split("_")) + "Backward0"
        cls.node_name = pretty
        cls.Node = type(pretty, (Node,), {"__slots__": (), "op": cls, "op_outputs": 0})
        if not (cls.keep_output or cls.has_aux or cls.keep):
            cls.keep = ()
        CARDS[name] = cls
        if "call" in cls.__dict__:
            install(cls.call, name, *aliases, function=function, method=method, functional=functional,
                    inplace=inplace, doc=cls.__doc__)
        return cls

    return register


def install(call: Callable, name: str, *aliases: str, function: bool = True, method: bool = True,
            functional: bool = False, inplace: bool = False, doc: str | None = None) -> None:
    """Make a public function of `call` under its names. Compositions of operators that need no card use this as well."""
    call.__name__ = call.__qualname__ = name
    call.__doc__ = call.__doc__ or doc
    changed = None
    if inplace:
        from .inplace import inplace_form

        changed = inplace_form(call, name)
    if name in FLOAT32:
        call = in_float32(call)
    forms = [(n, call) for n in (name, *aliases)]
    if changed is not None:
        forms += [(n + "_", changed) for n in (name, *aliases)]
    for public, fn in forms:
        if function:
            FUNCTIONS[public] = fn
        if method:
            setattr(Tensor, public, fn)
        if functional:
            FUNCTIONAL[public] = fn


def composite(name: str, *aliases: str, **where: Any) -> Callable[[Callable], Callable]:
    """Decorator form of `install` for a function that is a composition of operators."""

    def register(fn: Callable) -> Callable:
        install(fn, name, *aliases, **where)
        return fn

    return register


# -- applying ---------------------------------------------------------------------------------------------------------


def apply(card: type[Op], tensors: Sequence, params: Sequence = ()) -> Any:
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
    if card.promote or card.to_float:
        arrays = common_arrays(card, arrays)
        if half is not None:
            d = next(a.dtype for a in arrays if a is not None)
            half = d if d is BF16 or d is F16 else None
    if half is not None and not card.moves:
        arrays = [_lift_half(a) for a in arrays]
    else:
        half = None
    quiet = None if card.moves else hush()
    try:
        if card.n < 0:
            out = card.forward(_space(arrays), arrays, *params)
        else:
            out = card.forward(_space(arrays), *arrays, *params)
    except (ValueError, TypeError, NoRule) as error:
        level = top((arrays, params))
        if level is None:
            raise _explained(card, error, tensors, params) from None
        out = Hooks.retry(card, level, arrays, params)
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
        return tuple([_result(card, tensors, params, o) for o in out])
    return _result(card, tensors, params, out)


def _space(arrays: Sequence) -> Any:
    if type(arrays[0]) is ndarray:
        return np
    for a in arrays:
        if type(a) is ndarray:
            return np
        if a is not None and backend.is_array(a):
            return backend.namespace(a)
    return np


def _result(card: type[Op], tensors: Sequence, params: Sequence, out: Any) -> Tensor:
    t = wrap(out)
    if card.view:
        _attach_view(card, t, tensors[0], params)
    return t


def _attach_view(card: type[Op], out: Tensor, source: Tensor, params: Sequence) -> None:
    """Make `out` a view of `source` if they share memory: one version counter, and the way back to the base."""
    a = source._array
    if card.view == "maybe" and not a.flags.c_contiguous and not backend.namespace(a).may_share_memory(out._array, a):
        return
    vc = out._vc = source._version_counter()
    step = (card, params)
    before = source._view
    frozen = not state.grad and source._requires_grad
    if before is None:
        out._view = View(source, (step,), vc.history, frozen)
    else:
        out._view = View(before.base, (*before.steps, step), vc.history, frozen or before.frozen)


def _record(card: type[Op], tensors: Sequence, params: Sequence, out: Any, aux: Any) -> Any:
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
        _attach_view(card, t, tensors[0], params)
    return t


def _record_many(card: type[Op], tensors: Sequence, params: Sequence, node: Any, outs: Sequence) -> tuple:
    node.shape, node.dtype = None, next(o.dtype for o in outs if o is not None)
    node.op_outputs = len(outs)
    made = []
    for i, o in enumerate(outs):
        o = np.asarray(o) if isinstance(o, np.generic) else o
        float_like = o is not None and (o.dtype.kind in "fc" or o.dtype is BF16)
        made.append(None if o is None else wrap(o, Pick(node, i, o) if float_like else None))
        if card.view and o is not None:
            _attach_view(card, made[-1], tensors[0], params)  # type: ignore[arg-type]
        elif card.shares:
            made[-1]._vc = tensors[0]._version_counter()  # type: ignore[union-attr]
    if card.keep_output:
        node.out = tuple(outs)
    return tuple(made)


def new_node(card: type[Op], tensors: Sequence) -> Node:
    """A node of this card with its edges and kept inputs."""
    node = _new(card.Node)
    node.edges = tuple([t._node if isinstance(t, Tensor) and t._requires_grad else None for t in tensors])
    keep = card.keep
    if not keep:
        node.tensors = ()
    elif card.n < 0:
        node.tensors = tuple(tensors)
    else:
        node.tensors = _kept(keep, tensors, node.edges)
    node.versions = None
    for t in node.tensors:
        if t is not None and t._vc is not None:
            node.versions = tuple([0 if t is None or t._vc is None else t._vc.count for t in node.tensors])
            break
    node.out = node.aux = None
    node.seq = next_seq()
    if state.anomaly:
        import traceback

        node.trace = traceback.format_stack()[:-2]
    return node


def _kept(keep: Any, tensors: Sequence, edges: tuple) -> tuple:
    if isinstance(keep, dict):
        wanted = [i for i, users in keep.items() if any(edges[u] is not None for u in users)]
    else:
        wanted = list(keep)
    return tuple([_keepable(t, tensors) if i in wanted else None for i, t in enumerate(tensors)])


def _keepable(value: Any, others: Sequence) -> Any:
    """A Python scalar among an operator's inputs as a 0-d tensor of the common dtype; tensors and None as they are."""
    if value is None or isinstance(value, Tensor):
        return value
    return wrap(scalar_array(value, dtypes.result_dtype([t for t in others if t is not None]).np))


def keep_output(node: Node, t: Tensor) -> None:
    """Keep an operator's output for its gradient, guarded by its version."""
    node.out = t._array
    vc = t._vc = t._vc or Version()
    node.out_version = (vc, vc.count)


# -- dtypes of inputs -------------------------------------------------------------------------------------------------


def common_arrays(card: type[Op], arrays: list) -> list:
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
        if backend.is_array(a):
            out.append(a if a.dtype is d.np else a.astype(d.np))
        else:
            out.append(scalar_array(a, d.np))
    return out


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


def _explained(card: type[Op], error: Exception, tensors: Sequence, params: Sequence) -> Exception:
    places = {str(t.device) for t in tensors if isinstance(t, Tensor) and t.ndim}
    if len(places) > 1:
        return RuntimeError("Expected all tensors to be on the same device, but found at least two devices, "
                            f"{' and '.join(sorted(places, reverse=True))}! (in {card.name}())")
    return card.explain(error, tensors, params)


def expect_tensor(value: Any, function: str, argument: str = "input", position: int = 1) -> Tensor:
    """`value` if it is a Tensor; otherwise torch's TypeError."""
    if isinstance(value, Tensor):
        return value
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Tensor, not {type(value).__name__}")
