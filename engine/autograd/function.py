"""`autograd.Function`: operators that users write, with their own forward and backward."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from . import graph
from .modes import enable_grad, no_grad, state


class FunctionCtx:
    """The context `ctx` that a custom function's forward and backward share. Any attribute may be set on it."""

    def __init__(self) -> None:
        self._saved: tuple = ()
        self._versions: tuple = ()
        self._dirty: tuple = ()
        self._fixed: tuple = ()
        self._materialize = True
        self._outputs: tuple = ()
        self.needs_input_grad: tuple[bool, ...] = ()

    def save_for_backward(self, *tensors: Any) -> None:
        """Keep tensors (inputs, outputs or others; None allowed) for backward."""
        for i, t in enumerate(tensors):
            if t is not None and not hasattr(t, "_array"):
                raise TypeError(f"save_for_backward can only save variables, but argument {i} is of type {type(t).__name__}")
        self._saved = tensors

    def save_for_forward(self, *tensors: Any) -> None:
        """Accepted for compatibility; forward mode does not exist here."""

    def mark_dirty(self, *args: Any) -> None:
        """Say which inputs forward changed in place; they must be returned."""
        self._dirty = args

    def mark_non_differentiable(self, *args: Any) -> None:
        """Say which outputs have no gradient."""
        self._fixed = args

    def set_materialize_grads(self, value: bool) -> None:
        """Whether backward gets zeros (the default) or None for outputs without a gradient."""
        self._materialize = value

    @property
    def saved_tensors(self) -> tuple:
        """What `save_for_backward` kept. RuntimeError after the graph was freed or when one was changed in place."""
        if self._saved is graph.RELEASED:
            raise RuntimeError("Trying to backward through the graph a second time (or directly access saved tensors after "
                               "they have already been freed). Specify retain_graph=True if you need to backward through "
                               "the graph a second time.")
        out = []
        for t, (vc, count) in zip(self._saved, self._versions or [(None, 0)] * len(self._saved)):
            if t is not None and vc is not None and vc.count != count:
                raise graph.modified(self._node(), t._array, vc, count)  # type: ignore[attr-defined]
            out.append(t.tensor() if isinstance(t, (_Saved, graph.Packed)) else t)
        return tuple(out)


class CustomNode(graph.Node):
    """The node of one `Function.apply`."""

    __slots__ = ("function", "ctx", "metas", "op_outputs")

    function: Any  # the Function subclass
    ctx: Any
    metas: list  # shape, dtype and array module of each output
    op_outputs: int

    def name(self) -> str:
        return f"{self.function.__name__}Backward"

    def _arguments(self, g: Any) -> tuple:
        gs = g if isinstance(g, list) else [g]
        out = []
        for one, (shape, dtype, xp) in zip(gs, self.metas):
            if one is None and self.ctx._materialize:
                one = graph.Hooks.wrap(xp.zeros(shape, dtype))
            out.append(one)
        return tuple(out)

    def run(self, g: Any, xp: Any) -> list:
        raw = g if isinstance(g, list) else [g]
        tensors = [None if r is None else graph.Hooks.wrap(r) for r in raw]
        with no_grad():
            return [None if t is None else t._array for t in self._call(self._arguments(tensors))]

    def run_traced(self, g: Any) -> list:
        with enable_grad():
            return self._call(self._arguments(g))

    def _call(self, grads: tuple) -> list:
        result = self.function.backward(self.ctx, *grads)
        result = list(result) if isinstance(result, (tuple, list)) else [result]
        wanted = len(self.ctx._shapes)
        while len(result) > wanted and result[-1] is None:
            result.pop()
        if len(result) != wanted:
            raise RuntimeError(f"function {self.name()} returned an incorrect number of gradients (expected {wanted}, got "
                               f"{len(result)})")
        for i, (t, shape) in enumerate(zip(result, self.ctx._shapes)):
            if t is not None:
                self._check_gradient(i, t, shape)
        return [t for t, shape in zip(result, self.ctx._shapes) if shape is not None]

    def _check_gradient(self, i: int, t: Any, shape: Any) -> None:
        """Refuse what the user's backward returned for argument `i` unless it is a gradient of this shape."""
        if shape is None:
            raise RuntimeError(f"function {self.name()} returned a gradient different from None at position {i + 1}, for an "
                               "argument that is not a Tensor")
        if not hasattr(t, "_array"):
            raise RuntimeError(f"function {self.name()} returned an invalid gradient at index {i} - expected a Tensor or "
                               f"None (got {type(t).__name__})")
        given = t._array.shape
        lead = len(given) - len(shape)  # a larger gradient is summed if broadcasting the argument explains its shape
        if lead < 0 or any(n not in (1, g) for n, g in zip(shape, given[lead:])):
            raise RuntimeError(f"function {self.name()} returned an invalid gradient at index {i} - got {list(given)} but "
                               f"expected shape compatible with {list(shape)}")

    def release(self) -> None:
        """Let go of the saved tensors; attributes that the user set on ctx stay."""
        if self.ctx._saved:
            self.ctx._saved = graph.RELEASED


class Function:
    """Base of custom differentiable functions: subclass, write static `forward` and `backward`, call `apply`.

    `forward(ctx, *args)` returns tensors; `backward(ctx, *grad_outputs)` returns one gradient per argument of forward,
    None for those without. The newer form `forward(*args)` with `setup_context(ctx, inputs, output)` works as well.

    >>> class Double(torch.autograd.Function):
    ...     @staticmethod
    ...     def forward(ctx, x):
    ...         return x * 2
    ...     @staticmethod
    ...     def backward(ctx, g):
    ...         return g * 2
    >>> x = torch.ones(1, requires_grad=True)
    >>> Double.apply(x).backward(); x.grad
    tensor([2.])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        raise RuntimeError(f"{type(self).__name__} should not be instantiated. Methods on autograd functions are all static, "
                           f"so you should invoke them on the class itself: {type(self).__name__}.apply(...)")

    @staticmethod
    def forward(*args: Any, **kwargs: Any) -> Any:
        """Compute the outputs."""
        raise NotImplementedError("You must implement the forward function for custom autograd.Function.")

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple, output: Any) -> None:
        """Fill `ctx` after a forward without ctx."""
        raise NotImplementedError("setup_context is not implemented.")

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        """Compute the gradients of forward's arguments."""
        raise NotImplementedError("You must implement the backward function for custom autograd.Function.")

    vjp = backward

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Run `forward`, and record `backward` if an argument requires a gradient."""
        ctx: Any = FunctionCtx()
        tensors = [a for a in args if hasattr(a, "_array")]
        track = state.grad and any(t.requires_grad for t in tensors)
        ctx._shapes = [a._array.shape if hasattr(a, "_array") else None for a in args]
        ctx.needs_input_grad = tuple(hasattr(a, "_array") and a.requires_grad for a in args)
        with no_grad():
            if cls.setup_context is not Function.setup_context:
                result = cls.forward(*args)
                cls.setup_context(ctx, args, result)
            else:
                result = cls.forward(ctx, *args)
        outputs = result if isinstance(result, tuple) else (result,)
        made = _finish(cls, ctx, tensors, outputs, track)
        return made if isinstance(result, tuple) else made[0]


def _finish(cls: type, ctx: Any, tensors: list, outputs: tuple, track: bool) -> tuple:
    """Wrap forward's outputs: aliases for returned inputs, changed inputs as they are, and the node behind them."""
    for t in ctx._dirty:
        if not any(t is o for o in outputs):
            raise RuntimeError("Some elements marked as dirty during the forward method were not returned as output. The "
                               "inputs that are modified inplace must all be outputs of the Function.")
        if track and t.requires_grad and t.is_leaf:
            raise RuntimeError("a leaf Variable that requires grad is being used in an in-place operation.")
        t._bump(f"{cls.__name__}.forward")
    if not any(hasattr(o, "_array") for o in outputs):
        return outputs
    if not track:
        return tuple(o.detach() if any(o is t for t in tensors) and not any(o is d for d in ctx._dirty) else o
                     for o in outputs)
    node = object.__new__(CustomNode)
    node.function, node.ctx, node.op_outputs = cls, ctx, len(outputs)
    node.edges = tuple(t._node if t.requires_grad else None for t in tensors)
    node.tensors, node.versions, node.out, node.aux, node.params = (), None, None, None, ()
    node.seq = graph.next_seq()
    made = []
    node.metas = []
    for i, o in enumerate(outputs):
        if not hasattr(o, "_array"):
            made.append(o)
            node.metas.append(((), None, None))
            continue
        node.metas.append((o._array.shape, o._array.dtype, graph.backend.namespace(o._array)))
        made.append(_attach(ctx, node, o, i, tensors, len(outputs) == 1))
    first = next(m for m in node.metas if m[1] is not None)
    node.shape, node.dtype = first[0], first[1]
    _guard_saved(ctx, node, outputs, made)
    return tuple(made)


def _attach(ctx: Any, node: CustomNode, o: Any, i: int, tensors: list, single: bool) -> Any:
    if any(o is f for f in ctx._fixed) or o._array.dtype.kind not in "fcV":
        return o.detach() if any(o is t for t in tensors) else o
    behind = node if single else graph.Pick(node, i, o._array)
    if any(o is d for d in ctx._dirty):
        o._node, o._requires_grad = behind, True
        return o
    out = graph.Hooks.wrap(o._array, behind)
    if any(o is t for t in tensors):
        out._vc = o._version_counter()
    return out


def _guard_saved(ctx: Any, node: CustomNode, outputs: tuple, made: list) -> None:
    """Remember the versions of saved tensors; outputs are saved without a reference that would form a cycle."""
    import weakref

    ctx._node = weakref.ref(node)
    saved: list = []
    versions: list = []
    for t in ctx._saved:
        where = next((i for i, o in enumerate(outputs) if o is t), None) if t is not None else None
        if where is not None and made[where] is not t:
            vc = made[where]._version_counter()
            behind = node if len(outputs) == 1 else made[where]._node
            if state.saving:
                saved.append(graph.Packed(made[where], behind))
                versions.append((None, 0))
                continue
            saved.append(_Saved(made[where]._array, behind))
            versions.append((vc, vc.count))
            continue
        if state.saving and t is not None:
            saved.append(graph.Packed(t, t._node))
            versions.append((None, 0))
            continue
        saved.append(t)
        versions.append((None, 0) if t is None else (t._version_counter(), t._version))
    ctx._saved, ctx._versions = tuple(saved), tuple(versions)


class _Saved:
    """An output kept by its own node: array and a weak way back to the node."""

    def __init__(self, array: Any, node: Any) -> None:
        import weakref

        self._array, self._node = array, weakref.ref(node)

    def tensor(self) -> Any:
        return graph.Hooks.wrap(self._array, self._node())


def once_differentiable(fn: Callable) -> Callable:
    """Decorator for a `backward` that itself cannot be differentiated: a second derivative raises RuntimeError."""

    @functools.wraps(fn)
    def backward(ctx: Any, *grads: Any) -> Any:
        if not any(g is not None and hasattr(g, "requires_grad") and g.requires_grad for g in grads) or not state.grad:
            with no_grad():
                return fn(ctx, *grads)
        with no_grad():
            results = fn(ctx, *grads)
        many = results if isinstance(results, tuple) else (results,)
        blocked = tuple(_Once.apply(r, *[g for g in grads if g is not None]) if hasattr(r, "_array") else r for r in many)
        return blocked if isinstance(results, tuple) else blocked[0]

    return backward


class _Once(Function):
    @staticmethod
    def forward(ctx: Any, value: Any, *grads: Any) -> Any:
        return value.detach()

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> Any:
        raise RuntimeError("trying to differentiate twice a function that was marked with @once_differentiable")
