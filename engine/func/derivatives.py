"""Derivatives of functions: grad, vjp, jvp, linearize, Jacobians and Hessians, nested at will and under vmap.

Everything is reverse mode. J v is the gradient of w^T J with respect to w, times v: two backward passes, and so forward mode
for every operator that can be differentiated twice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import engine
from engine.autograd import grad as gradients
from engine.autograd.graph import AccumulateGrad
from engine.autograd.modes import enable_grad, state
from engine.errors import not_supported
from engine.func.mapping import vmap
from engine.tensor import Tensor
from engine.utils._pytree import tree_flatten, tree_leaves, tree_map, tree_structure, tree_unflatten

__all__ = ["functionalize", "grad", "grad_and_value", "hessian", "jacfwd", "jacrev", "jvp", "linearize", "vjp"]


class _Point:
    """Where a function is differentiated: aliases of its arguments, and what it returned for them."""

    def __init__(self, api: str, func: Callable, args: tuple, has_aux: bool, traced: Sequence[int] | None = None) -> None:
        self.api = api
        recording = state.grad
        self.chosen = range(len(args)) if traced is None else traced
        self.inputs: list[Tensor] = []
        given = [tree_map(self._alias, a) if i in self.chosen else a for i, a in enumerate(args)]
        self.chosen_args = [given[i] for i in self.chosen]
        with enable_grad():
            result = func(*given)
        self.aux = None
        if has_aux:
            if not isinstance(result, tuple) or len(result) != 2:
                raise RuntimeError(f"{api}: output of function f should be a tuple: (output, aux) if has_aux is True")
            result, aux = result
            self.aux = tree_map(lambda t: t.detach() if isinstance(t, Tensor) and not recording else t, aux)
        self.output = result
        self.outputs, self.spec = tree_flatten(result)
        for t in self.outputs:
            if not isinstance(t, Tensor):
                raise RuntimeError(f"{api}: Expected f to return only tensors, got unsupported type {type(t)}")
        self.outer = recording and _reaches_outside(self.outputs, self.inputs)
        if has_aux and not self.outer:
            self.aux = tree_map(lambda t: t.detach() if isinstance(t, Tensor) else t, self.aux)

    def _alias(self, t: Any) -> Tensor:
        if not isinstance(t, Tensor):
            raise ValueError(f"Thing passed to transform API must be Tensor, got {type(t)}")
        alias = t.view_as(t) if t.requires_grad and state.grad else t.detach().requires_grad_()
        self.inputs.append(alias)
        return alias

    def value(self) -> Any:
        """What the function returned, with a graph only if something outside can be differentiated."""
        return tree_unflatten([t if self.outer else t.detach() for t in self.outputs], self.spec)

    def pull(self, cotangents: Sequence[Tensor], create_graph: bool) -> list[Tensor]:
        """w^T J for every input."""
        pairs = [(o, c) for o, c in zip(self.outputs, cotangents) if o.requires_grad]
        if not pairs:
            return [engine.zeros_like(t) for t in self.inputs]
        outs, weights = [o for o, _ in pairs], [c for _, c in pairs]
        found = gradients(outs, self.inputs, weights, True, create_graph, allow_unused=True)
        return [engine.zeros_like(t) if g is None else g for g, t in zip(found, self.inputs)]

    def pusher(self) -> Callable[[Sequence[Tensor]], list[Tensor]]:
        """The function from v to J v for every output."""
        weights = [engine.zeros_like(o).requires_grad_() for o in self.outputs]
        with enable_grad():
            slopes = self.pull(weights, True)

        def push(tangents: Sequence[Tensor]) -> list[Tensor]:
            pairs = [(s, t) for s, t in zip(slopes, tangents) if s.requires_grad]
            found: Sequence = [None] * len(weights)
            if pairs:
                traced = state.grad and (self.outer or any(t.requires_grad for t in tangents))
                found = gradients([s for s, _ in pairs], weights, [t for _, t in pairs], True, traced, allow_unused=True)
            return [engine.zeros_like(o).detach() if g is None else g for g, o in zip(found, self.outputs)]

        return push


def _reaches_outside(outputs: Sequence[Tensor], inputs: Sequence[Tensor]) -> bool:
    """Whether the graph of `outputs` leads to leaves, or to nodes, that were there before the aliases `inputs`."""
    own = {t._node for t in inputs}
    if any(type(node) is not AccumulateGrad for node in own):
        return True
    stack, seen = [t._node for t in outputs if t.requires_grad], set()
    while stack:
        node = stack.pop()
        if node is None or node in seen or node in own:
            continue
        seen.add(node)
        if type(node) is AccumulateGrad:
            return True
        stack.extend(node.edges)
    return False


def _argnums(argnums: Any, count: int) -> tuple[int, ...]:
    """`argnums` as non-negative numbers; torch's errors for others."""
    many = (argnums,) if isinstance(argnums, int) else argnums
    if not isinstance(many, tuple):
        raise RuntimeError(f"argnums must be int or Tuple[int, ...], got: {type(argnums)}")
    if not many:
        raise RuntimeError("argnums must be non-empty")
    for n in many:
        if not isinstance(n, int):
            raise RuntimeError(f"argnum must be int, got: {type(n)}")
        if not -count <= n < count:
            raise RuntimeError(f"Got argnum={n}, but only {count} positional inputs")
    found = tuple(n % count for n in many)
    if len(set(found)) != len(found):
        raise RuntimeError(f"argnums elements must be unique, got {argnums}")
    return found


def _regrouped(values: list, like: list, argnums: Any) -> Any:
    """A flat list put into the structure of the chosen arguments: one tree for an int, else a tuple of trees."""
    trees = tree_unflatten(values, tree_structure(tuple(like)))
    return trees[0] if isinstance(argnums, int) else trees


def grad_and_value(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns (gradient, value) of `func`, a function with a single number as output.

    Example::

        >>> torch.func.grad_and_value(lambda x: (x ** 2).sum())(torch.tensor([1., 2.]))
        (tensor([2., 4.]), tensor(5.))
    """

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        chosen = _argnums(argnums, len(args))
        point = _Point("grad_and_value(f)(*args)", functools.partial(func, **kwargs), args, has_aux, chosen)
        if not isinstance(point.output, Tensor):
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a single tensor, got "
                               f"{type(point.output)}")
        if point.output.dim() != 0:
            raise RuntimeError("grad_and_value(f)(*args): Expected f(*args) to return a scalar tensor, got tensor with "
                               f"{point.output.dim()} dims. Maybe you wanted to use the vjp or jacrev APIs instead?")
        slopes = point.pull([engine.ones_like(point.output)], point.outer)
        order = sorted(range(len(chosen)), key=chosen.__getitem__)  # aliases were made in the order of the arguments
        result = _by_argument(slopes, point.chosen_args, order, argnums)
        return (result, (point.value(), point.aux)) if has_aux else (result, point.value())

    return wrapper


def _by_argument(values: list, trees: list, order: list, argnums: Any) -> Any:
    """Flat values in the order of the arguments as trees in the order of `argnums`."""
    grouped: list = [None] * len(trees)
    start = 0
    for place in order:
        leaves, spec = tree_flatten(trees[place])
        grouped[place] = tree_unflatten(values[start : start + len(leaves)], spec)
        start += len(leaves)
    return grouped[0] if isinstance(argnums, int) else tuple(grouped)


def grad(func: Callable, argnums: Any = 0, has_aux: bool = False) -> Callable:
    """A function that returns the gradient of `func`, a function with a single number as output.

    Args:
        argnums: which argument(s) to differentiate with respect to; an int, or a tuple for a tuple of gradients.
        has_aux: whether `func` returns (value, anything); the result is then (gradient, anything).

    Raises:
        RuntimeError: for argument numbers that do not exist and results that are not a 0-d tensor.

    Example::

        >>> torch.func.grad(torch.sin)(torch.tensor(0.))
        tensor(1.)
        >>> torch.func.vmap(torch.func.grad(torch.func.grad(lambda x: x ** 3)))(torch.tensor([1., 2.]))
        tensor([ 6., 12.])
    """
    both = grad_and_value(func, argnums, has_aux)

    @functools.wraps(func)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result, value = both(*args, **kwargs)
        return (result, value[1]) if has_aux else result

    return wrapper


def vjp(func: Callable, *primals: Any, has_aux: bool = False) -> tuple:
    """`(func(*primals), vjp_fn)`, where `vjp_fn(cotangents)` is a tuple with w^T J for every primal.

    With `has_aux`, `func` returns (output, aux), and aux is the third result.

    Example::

        >>> value, pull = torch.func.vjp(torch.sin, torch.tensor([0., 1.]))
        >>> pull(torch.tensor([1., 0.]))
        (tensor([1., 0.]),)
    """
    point = _Point("vjp(f, *primals)", func, primals, has_aux)
    for t in point.outputs:
        if not (t.is_floating_point() or t.is_complex()):
            raise RuntimeError("vjp(f, ...): All outputs of f must be floating-point or complex Tensors, got Tensor with "
                               f"dtype {t.dtype}")

    def pull(cotangents: Any, retain_graph: bool = True, create_graph: bool | None = None) -> tuple:
        if tree_structure(cotangents) != tree_structure(point.output):
            raise RuntimeError("Expected pytree structure of cotangents to be the same as pytree structure of outputs to the "
                               "function.")
        weights = tree_leaves(cotangents)
        traced = state.grad and (point.outer or any(w.requires_grad for w in weights))
        return _regrouped(point.pull(weights, traced if create_graph is None else create_graph), point.chosen_args, ())

    return (point.value(), pull, point.aux) if has_aux else (point.value(), pull)


def _check_primals(api: str, primals: Any, tangents: Any) -> None:
    if not isinstance(primals, tuple):
        raise RuntimeError(f"{api}: Expected primals to be a tuple. E.g. it should be valid to call f(*primals).")
    if tree_structure(primals) != tree_structure(tangents):
        raise RuntimeError(f"{api}: Expected primals and tangents to have the same python structure. For example, if primals "
                           "is a tuple of 3 tensors, tangents also must be.")
    leaves = tree_leaves(primals)
    if not leaves:
        raise RuntimeError(f"{api}: Expected primals to contain at least one Tensor.")
    for a, b in zip(leaves, tree_leaves(tangents)):
        if not isinstance(a, Tensor) or not isinstance(b, Tensor):
            raise RuntimeError(f"{api}: Expected primals to only contain Tensors, got {type(a)} and {type(b)}")
        if a.shape != b.shape:
            raise RuntimeError(f"{api}: Expected tangents of the primals' shapes, got {list(b.shape)} for {list(a.shape)}")


def jvp(func: Callable, primals: tuple, tangents: tuple, *, strict: bool = False, has_aux: bool = False) -> tuple:
    """`(func(*primals), J v)`: the value and the derivative in the direction of `tangents` (of the primals' structure).

    With `has_aux`, `func` returns (output, aux), and aux is the third result. `strict` refuses outputs that do not depend on
    the primals.

    Example::

        >>> torch.func.jvp(lambda x, y: x * y, (torch.tensor(2.), torch.tensor(3.)), (torch.tensor(1.), torch.tensor(0.)))
        (tensor(6.), tensor(3.))
    """
    api = "jvp(f, primals, tangents)"
    _check_primals(api, primals, tangents)
    point = _Point(api, func, primals, has_aux)
    if strict and not all(t.requires_grad for t in point.outputs):
        raise RuntimeError("jvp(f, primals, tangents, strict=True): The output of f is independent of the inputs. This is not "
                           "allowed with strict=True.")
    slope = tree_unflatten(point.pusher()(tree_leaves(tangents)), point.spec)
    return (point.value(), slope, point.aux) if has_aux else (point.value(), slope)


def linearize(func: Callable, *primals: Any) -> tuple[Any, Callable]:
    """`(func(*primals), jvp_fn)`: `jvp_fn(*tangents)` is J v at the primals, without running `func` again.

    Example::

        >>> value, push = torch.func.linearize(torch.sin, torch.tensor(0.))
        >>> push(torch.tensor(2.))
        tensor(2.)
    """
    if not tree_leaves(primals):
        raise RuntimeError("linearize(f, *primals): Expected primals to contain at least one Tensor.")
    point = _Point("linearize(f, *primals)", func, primals, False)
    push = point.pusher()

    def jvp_fn(*tangents: Any) -> Any:
        _check_primals("linearize(f, *primals)", primals, tangents)
        return tree_unflatten(push(tree_leaves(tangents)), point.spec)

    return point.value(), jvp_fn


def _basis(t: Tensor) -> Tensor:
    """Unit vectors of a tensor's shape: (numel, *shape)."""
    return engine.eye(t.numel(), dtype=t.dtype, device=t.device).reshape(t.numel(), *t.shape)


def jacrev(func: Callable, argnums: Any = 0, *, has_aux: bool = False, chunk_size: int | None = None,
           _preallocate_and_copy: bool = False) -> Callable:
    """A function that returns the Jacobian of `func`, row by row: for every output and every chosen argument a tensor of
    shape output.shape + input.shape, nested like the outputs and then like the arguments.

    Args:
        chunk_size: how many rows to compute at once; default: all.

    Example::

        >>> torch.func.jacrev(torch.sin)(torch.zeros(2))
        tensor([[1., 0.],
                [0., 1.]])
    """
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError("jacrev: `chunk_size` should be greater than 0.")

    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        chosen = _argnums(argnums, len(args))
        point = _Point("jacrev", func, args, has_aux, chosen)
        _refuse_complex("jacrev", point)
        order = sorted(range(len(chosen)), key=chosen.__getitem__)
        rows = []
        for i, out in enumerate(point.outputs):
            def pull(w: Tensor, i: int = i) -> tuple:
                weights = [w if k == i else engine.zeros_like(o).detach() for k, o in enumerate(point.outputs)]
                return tuple(point.pull(weights, point.outer))

            columns = vmap(pull, chunk_size=chunk_size)(_basis(out.detach()))
            shaped = [c.reshape(*out.shape, *t.shape) for c, t in zip(columns, point.inputs)]
            rows.append(_by_argument(shaped, point.chosen_args, order, argnums))
        result = tree_unflatten(rows, point.spec)
        return (result, point.aux) if has_aux else result

    return wrapper


def jacfwd(func: Callable, argnums: Any = 0, has_aux: bool = False, *, randomness: str = "error") -> Callable:
    """The same as `jacrev`, column by column: cheaper where there are more outputs than inputs.

    Example::

        >>> torch.func.jacfwd(lambda x: torch.stack([x, x ** 2]))(torch.tensor(3.))
        tensor([1., 6.])
    """

    @functools.wraps(func)
    def wrapper(*args: Any) -> Any:
        chosen = _argnums(argnums, len(args))
        point = _Point("jacfwd", func, args, has_aux, chosen)
        _refuse_complex("jacfwd", point)
        order = sorted(range(len(chosen)), key=chosen.__getitem__)
        push = point.pusher()
        blocks = []  # [input][output]
        for i, t in enumerate(point.inputs):
            def column(v: Tensor, i: int = i) -> tuple:
                return tuple(push([v if k == i else engine.zeros_like(x).detach() for k, x in enumerate(point.inputs)]))

            columns = vmap(column, out_dims=-1, randomness=randomness)(_basis(t.detach()))
            blocks.append([c.reshape(*o.shape, *t.shape) for c, o in zip(columns, point.outputs)])
        rows = [_by_argument([block[k] for block in blocks], point.chosen_args, order, argnums)
                for k in range(len(point.outputs))]
        result = tree_unflatten(rows, point.spec)
        return (result, point.aux) if has_aux else result

    return wrapper


def _refuse_complex(api: str, point: _Point) -> None:
    for what, tensors in (("inputs", point.inputs), ("outputs", point.outputs)):
        if any(t.is_complex() for t in tensors):
            raise RuntimeError(f"{api}: Expected all {what} to be real but received complex tensor")


def hessian(func: Callable, argnums: Any = 0) -> Callable:
    """A function that returns the second derivatives of `func`: `jacfwd(jacrev(func))`.

    Example::

        >>> torch.func.hessian(lambda x: (x ** 3).sum())(torch.tensor([1., 2.]))
        tensor([[ 6.,  0.],
                [ 0., 12.]])
    """
    return jacfwd(jacrev(func, argnums), argnums)


def functionalize(func: Callable, *, remove: str = "mutations") -> Callable:
    """NotImplementedError: there is no compiler that needs functions without in-place operators."""
    raise not_supported("func.functionalize", "call the function itself.")
