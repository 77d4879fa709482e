"""How pointwise operators become cards: one table row each, and the short paths that run them.

A row gives the ufunc, the gradient formula per input (as in torch's derivatives.yaml) and what the formula needs.
The functions made here do for the commonest case (float32/float64, no dtype mixing) only what DESIGN's hot path allows,
and hand everything else to `base.apply`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, dtypes
from ..autograd.graph import Version, next_seq
from ..autograd.modes import state
from ..gpu.pointwise import Activation, Pair
from ..pool import LARGE
from ..tensor import Tensor, wrap
from ._blocked import COMPILED, SINGLE, elements, is_large, pointwise, write, written
from .applying import annotate
from .base import F32, F64, Op, apply, expect_tensor, install, op
from .inplace import check_inplace, write_out

_new = object.__new__
ndarray = np.ndarray
hush, unhush = backend.hush, backend.unhush
_NUMBERS = (int, float, complex, bool, np.number, np.bool_)


class Unary(Op):
    """Base of table rows with one input. `grad(xp, g, x, y)` is the gradient; `x`, `y` are there if `keep` names them."""

    n = 1
    ufunc: Callable
    grad: Any = None
    domain: tuple[float, float] = (-2.0, 2.0)  # where the tests draw inputs

    @classmethod
    def samples(cls, make: Any) -> Any:
        lo, hi = cls.domain
        for shape in ((), (5,), (3, 4), (0,)):
            yield make(cls.name, make.uniform(shape, lo, hi))
        yield make(cls.name, make.uniform((4, 3), lo, hi).t())


class Binary(Op):
    """Base of table rows with two inputs. `grads = (da, db)`, each `(xp, g, a, b, y)`, or None for no gradient."""

    n = 2
    promote = True
    scalars = True
    ufunc: Callable
    grads: tuple = (None, None)
    dunder: Callable  # the function as an operator method
    domain: tuple[float, float] = (-2.0, 2.0)
    domain_b: tuple[float, float] | None = None

    @classmethod
    def samples(cls, make: Any) -> Any:
        lo, hi = cls.domain
        lo_b, hi_b = cls.domain_b or cls.domain
        for left, right in (((5,), (5,)), ((3, 4), (4,)), ((2, 1, 3), (4, 1)), ((), (3,)), ((0, 3), (3,)), ((), ())):
            yield make(cls.name, make.uniform(left, lo, hi), make.uniform(right, lo_b, hi_b))
        yield make(cls.name, make.uniform((4, 3), lo, hi).t(), make.uniform((3, 4), lo_b, hi_b))
        yield make(cls.name, make.uniform((3,), lo, hi), (lo_b + 2 * hi_b) / 3)


def unary(name: str, *aliases: str, ufunc: Callable, grad: Any = None, keep: str = "", to_float: bool = True,
          doc: str, domain: tuple[float, float] = (-2.0, 2.0), inplace: bool = True, functional: bool = False,
          differentiable: bool = True, node: str = "", compiled: str = "", gpu: bool = False,
          plain: Callable | None = None) -> type[Unary]:
    """Register a one-input row. `keep`: letters of what `grad` needs, of "x" (input) and "y" (output).

    `compiled`: "backward" if `engine/fast/elements.py` has a kernel `<name>_backward` of the gradient and what is kept,
    "both" if it has one of the forward, too.
    `gpu`: `engine/gpu/kernels/pointwise.cu` has kernels `<name>` and `<name>_backward`.
    `plain`: writes the gradient of large arrays of NumPy in fewer passes, `plain(g, kept, out)`.
    """
    body: dict[str, Any] = {
        "__doc__": doc, "ufunc": staticmethod(ufunc), "grad": staticmethod(grad) if grad else None, "domain": domain,
        "keep": (0,) if "x" in keep else (), "keep_output": "y" in keep, "to_float": to_float,
        "differentiable": differentiable and grad is not None,
        "forward": staticmethod(lambda xp, x: ufunc(x)),
        "backward": staticmethod(_unary_backward(grad, "x" in keep, name + "_backward" if compiled else "", plain)),
    }
    if gpu:
        body["gpu"] = Activation(name, of_output="y" in keep)
    card: Any = type("".join(p.capitalize() for p in name.split("_")), (Unary,), body)
    op(name, node=node)(card)
    card.call = _unary_function(card, compiled == "both")
    install(card.call, name, *aliases, functional=functional, doc=doc)
    if inplace:
        _install_inplace(card, (name, *aliases), functional)
    return card


def _unary_backward(grad: Any, keeps_input: bool, kernel: str, plain: Callable | None) -> Callable:
    def backward(xp: Any, s: Any, g: Any) -> tuple:
        x, y = s.inputs[0] if keeps_input else None, s.output
        if is_large(g):
            kept = x if keeps_input else y
            gx = elements(kernel, g, kept) if kernel else None
            if gx is None and plain:
                gx = written(plain, g, kept)
            return (gx if gx is not None else pointwise(lambda g, x, y: grad(xp, g, x, y), g, x, y),)
        return (grad(xp, g, x, y),)

    return backward


def _large_unary(name: str, ufunc: Callable, compiled: bool) -> Callable:
    def large(a: Any) -> Any:
        y = elements(name, a) if compiled else None
        return pointwise(ufunc, a, longest=SINGLE) if y is None else y

    return large


def _unary_function(card: Any, compiled: bool) -> Callable:
    ufunc, node_type, keeps_x, keeps_y, records = card.ufunc, card.Node, bool(card.keep), card.keep_output, card.differentiable
    name = card.name
    limit, large = COMPILED if compiled else LARGE, _large_unary(name, ufunc, compiled)

    def call(input: Tensor, *, out: Tensor | None = None) -> Tensor:
        if not isinstance(input, Tensor):
            expect_tensor(input, name)
        a = input._array
        d = a.dtype
        if type(a) is not ndarray or out is not None or not (d is F32 or d is F64):
            result = apply(card, (input,))
            return result if out is None else write_out(out, result)
        if input._view is not None:
            input._sync()
        quiet = hush()
        try:
            y = ufunc(a) if a.size < limit else large(a)
        finally:
            unhush(quiet)
        t = _new(Tensor)
        t._array = y if type(y) is ndarray or not isinstance(y, np.generic) else np.asarray(y)
        t._grad = t._vc = t._view = None
        if input._requires_grad and records and state.grad:
            node = _new(node_type)
            node.edges = (input._node,)
            node.tensors = (input,) if keeps_x else ()
            node.versions = (input._vc.count,) if keeps_x and input._vc is not None else None
            node.aux = None
            node.shape, node.dtype = y.shape, y.dtype
            node.seq = next_seq()
            t._requires_grad, t._node = True, node
            if keeps_y:
                node.out = t._array
                t._vc = vc = Version()
                node.out_version = (vc, 0)
            else:
                node.out = None
            if state.watched:
                annotate(node)
        else:
            t._requires_grad, t._node = False, None
        return t

    return call


def binary(name: str, *aliases: str, ufunc: Callable, grads: tuple = (None, None), keep: Any = (), doc: str,
           to_float: bool = False, domain: tuple = (-2.0, 2.0), domain_b: tuple | None = None, inplace: bool = True,
           quiet: bool = True, node: str = "", differentiable: bool = True, public: bool = True,
           wide_numbers: bool = False, gpu: str = "") -> type[Binary]:
    """Register a two-input row. `keep`: as `Op.keep`; `quiet=False` for operators that hardly ever raise a warning. `gpu`: the
    name of its kernels in `engine/gpu/kernels/arithmetic.cu`."""
    body: dict[str, Any] = {
        "__doc__": doc, "ufunc": staticmethod(ufunc), "grads": grads, "keep": keep, "to_float": to_float,
        "domain": domain, "domain_b": domain_b, "differentiable": differentiable and grads != (None, None),
        "wide_numbers": wide_numbers, "forward": staticmethod(lambda xp, a, b: ufunc(a, b)),
        "backward": staticmethod(_binary_backward(grads, bool(keep))), "gpu": Pair(gpu) if gpu else None,
    }
    card: Any = type("".join(p.capitalize() for p in name.split("_")), (Binary,), body)
    op(name, node=node)(card)
    card.call = _binary_function(card, quiet, dunder=False)
    card.dunder = _binary_function(card, quiet, dunder=True)
    if public:
        install(card.call, name, *aliases, doc=doc)
    if inplace and public:
        _install_inplace(card, (name, *aliases), False)
    return card


class Times:
    """The gradient formula `g * conj(input)`, of the first or the second input; for large arrays without a temporary."""

    def __init__(self, which: int) -> None:
        self.which = which

    def __call__(self, xp: Any, g: Any, a: Any, b: Any) -> Any:
        return g * xp.conj((a, b)[self.which])


def _large_gradient(formula: Callable, xp: Any, g: Any, a: Any, b: Any) -> Any:
    if isinstance(formula, Times) and g.dtype.kind == "f":
        return pointwise(np.multiply, g, (a, b)[formula.which], longest=SINGLE)
    return pointwise(lambda g, a, b: formula(xp, g, a, b), g, a, b)


def _binary_backward(grads: tuple, keeps: bool) -> Callable:
    da, db = grads

    def backward(xp: Any, s: Any, g: Any) -> tuple:
        need_a, need_b = s.needs
        a, b = s.inputs if keeps else (None, None)
        if keeps and is_large(g):
            return tuple([_large_gradient(d, xp, g, a, b) if need and d else None for d, need in ((da, need_a), (db, need_b))])
        return (da(xp, g, a, b) if need_a and da else None, db(xp, g, a, b) if need_b and db else None)

    return backward


def _keep_flags(keep: Any) -> tuple[bool, bool, bool, bool]:
    """(keep a for da, keep a for db, keep b for da, keep b for db)."""
    if not isinstance(keep, dict):
        keep = dict.fromkeys(keep, (0, 1))
    return 0 in keep.get(0, ()), 1 in keep.get(0, ()), 0 in keep.get(1, ()), 1 in keep.get(1, ())


def _binary_function(card: Any, quiet: bool, dunder: bool) -> Callable:
    ufunc, node_type, records = card.ufunc, card.Node, card.differentiable
    a_for_a, a_for_b, b_for_a, b_for_b = _keep_flags(card.keep)

    def call(input: Any, other: Any, *, out: Tensor | None = None) -> Tensor:
        scalar = not isinstance(other, Tensor)
        if not scalar and (type(input) is float or type(input) is int):
            b = other._array
            if type(b) is ndarray and (b.dtype is F32 or b.dtype is F64):
                input = wrap(np.asarray(input, b.dtype))
        if out is not None or not isinstance(input, Tensor) or (scalar and type(other) is not float and type(other) is not int):
            return _binary_slow(card, input, other, out, dunder)
        a = input._array
        b = other if scalar else other._array
        d = a.dtype
        if type(a) is not ndarray or not (d is F32 or d is F64) or not (scalar or (b.dtype is d and type(b) is ndarray)):
            return _binary_slow(card, input, other, None, dunder)
        if input._view is not None:
            input._sync()
        if not scalar and other._view is not None:
            other._sync()
        token: Any = hush() if quiet else None
        try:
            if a.size < LARGE:
                y = ufunc(a, b)
            else:
                y = pointwise(ufunc, a, b, longest=SINGLE)
        except (ValueError, TypeError):
            return _binary_slow(card, input, other, None, dunder)
        finally:
            if quiet:
                unhush(token)
        t = _new(Tensor)
        t._array = y if type(y) is ndarray or not isinstance(y, np.generic) else np.asarray(y)
        t._grad = t._vc = t._view = None
        track_a = input._requires_grad
        track_b = not scalar and other._requires_grad
        if (track_a or track_b) and records and state.grad:
            node = _new(node_type)
            node.edges = (input._node if track_a else None, other._node if track_b else None)
            keep_a = (track_a and a_for_a) or (track_b and a_for_b)
            keep_b = (track_a and b_for_a) or (track_b and b_for_b)
            node.versions = None
            if keep_a or keep_b:
                _keep_pair(node, input if keep_a else None, other if keep_b else None, d)
            else:
                node.tensors = ()
            node.out = node.aux = None
            node.shape, node.dtype = y.shape, y.dtype
            node.seq = next_seq()
            t._requires_grad, t._node = True, node
            if state.watched:
                annotate(node)
        else:
            t._requires_grad, t._node = False, None
        return t

    return call


def _keep_pair(node: Any, a: Tensor | None, b: Any, np_dtype: Any) -> None:
    """Keep a binary operator's inputs (a Python scalar as a 0-d tensor) with their versions."""
    if b is not None and not isinstance(b, Tensor):
        b = wrap(np.asarray(b, np_dtype))
    node.tensors = (a, b)
    va = 0 if a is None or a._vc is None else a._vc.count
    vb = 0 if b is None or b._vc is None else b._vc.count
    if va or vb:
        node.versions = (va, vb)


def _binary_slow(card: Any, input: Any, other: Any, out: Tensor | None, dunder: bool) -> Any:
    """Everything out of the ordinary: mixed dtypes, scalars on the left, arrays, `out=`, and bad arguments."""
    pair = []
    for position, (label, value) in enumerate((("input", input), ("other", other)), 1):
        if isinstance(value, ndarray):
            from .creation import from_numpy

            value = from_numpy(value)
        elif backend.is_on_device(value):  # a raw array in a formula that is read on Tensors
            value = wrap(value)
        if not isinstance(value, (Tensor, *_NUMBERS)):
            if dunder:
                return NotImplemented
            raise TypeError(f"{card.name}(): argument '{label}' (position {position}) must be Tensor or Number, "
                            f"not {type(value).__name__}")
        pair.append(value)
    if not any(isinstance(v, Tensor) for v in pair):
        raise TypeError(f"{card.name}(): argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    result = apply(card, pair)
    return result if out is None else write_out(out, result)


def explain_broadcast(tensors: Any) -> Exception:
    """torch's sentence for shapes that do not broadcast."""
    shapes = [t.shape if isinstance(t, Tensor) else () for t in tensors]
    a, b = shapes[0], shapes[1]
    for back in range(1, min(len(a), len(b)) + 1):
        if a[-back] != b[-back] and 1 not in (a[-back], b[-back]):
            at = max(len(a), len(b)) - back
            return RuntimeError(f"The size of tensor a ({a[-back]}) must match the size of tensor b ({b[-back]}) at "
                                f"non-singleton dimension {at}")
    return RuntimeError(f"shapes {list(a)} and {list(b)} cannot be combined")


Binary.explain = classmethod(lambda cls, error, tensors, params: (  # type: ignore[method-assign, assignment]
    explain_broadcast(tensors) if "broadcast" in str(error) else Op.explain.__func__(cls, error, tensors, params)))  # type: ignore[attr-defined]


def _install_inplace(card: Any, names: tuple, functional: bool) -> None:
    """Install `name_` for a row and its aliases."""
    inplace = inplace_function(card, names[0] + "_")
    doc = f"In-place form of `{names[0]}`: changes and returns the tensor."
    for name in names:
        install(inplace, name + "_", functional=functional, doc=doc)


def inplace_function(card: Any, what: str, call: Callable | None = None) -> Callable:
    """The in-place form: with a graph as for every operator; without one the ufunc writes straight into the tensor.
    `call` is the public function where that is more than the card's."""
    from .inplace import inplace_form

    recorded, ufunc = inplace_form(call or card.call, what[:-1]), card.ufunc

    def inplace(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        other = args[0] if len(args) == 1 and not kwargs else None
        simple = not args if card.n == 1 else (isinstance(other, Tensor) or type(other) in (float, int))
        if simple and not kwargs and isinstance(ufunc, np.ufunc):
            a = input._array
            tracked = input.requires_grad or (isinstance(other, Tensor) and other.requires_grad)
            if not (tracked and state.grad) and type(a) is ndarray and (a.dtype is F32 or a.dtype is F64):
                return _write_ufunc(input, a, other, ufunc, what, recorded)
        return recorded(input, *args, **kwargs)

    inplace.__name__, inplace.__doc__ = what, recorded.__doc__
    return inplace


def _write_ufunc(input: Tensor, a: Any, other: Any, ufunc: Any, what: str, recorded: Callable) -> Tensor:
    b = other._array if isinstance(other, Tensor) else other
    if isinstance(other, Tensor) and (b.dtype is not a.dtype or b.ndim > a.ndim):
        return recorded(input, other)
    check_inplace(input)
    quiet = hush()
    try:
        if a.size >= LARGE:
            write(ufunc, a, *(() if b is None else (b,)))
        elif b is None:
            ufunc(a, out=a)
        else:
            ufunc(a, b, out=a)
    except ValueError:
        return recorded(input) if other is None else recorded(input, other)
    finally:
        unhush(quiet)
    input._bump(what)
    return input


def default_float(array: Any) -> Any:
    """An integer or bool array in the default floating dtype; others unchanged."""
    return array.astype(dtypes.get_default_dtype().np) if array.dtype.kind in "iub" else array
