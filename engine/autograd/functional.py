"""Derivatives of functions: `jacobian`, `hessian`, and products of both with vectors, by reverse mode.

Every function takes `func` (tensors in, tensor or tuple of tensors out) and `inputs` (a tensor or a tuple of them).
`create_graph=True` makes the result differentiable; `strict=True` raises RuntimeError where an output does not depend on
an input instead of giving zeros.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from .api import grad
from .graph import Hooks, backend
from .modes import enable_grad


def _many(value: Any, function: str, what: str) -> tuple[tuple, bool]:
    """`value` as a tuple of tensors, and whether it was one already. TypeError for what is no tensor."""
    many = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    for i, t in enumerate(many):
        if not hasattr(t, "_array"):
            raise TypeError(f"The {what} of {function} must be Tensors, but element {i} is of type {type(t).__name__}")
    return many, isinstance(value, (tuple, list))


def _fresh(inputs: Sequence, create_graph: bool) -> tuple:
    """The inputs as new tensors that require grad, so that what `func` captures is told from what it was given."""
    return tuple(t.view_as(t) if create_graph and t.requires_grad else t.detach().requires_grad_() for t in inputs)


def _zeros(like: Any, shape: tuple | None = None) -> Any:
    shape = like._array.shape if shape is None else shape
    return Hooks.wrap(backend.namespace(like._array).zeros(shape, like._array.dtype))


def _evaluate(func: Callable, inputs: tuple, function: str, strict: bool) -> tuple[tuple, bool]:
    outputs, is_tuple = _many(func(*inputs), function, "outputs of the user-provided function given to")
    if strict and not all(o.requires_grad for o in outputs):
        raise RuntimeError(f"The output of the user-provided function does not require gradients ({function}). The outputs "
                           "must be computed in a differentiable manner from the input when running in strict mode.")
    return outputs, is_tuple


def _gradients(outputs: Sequence, inputs: Sequence, weights: Any, traced: bool, strict: bool, function: str) -> tuple:
    """`grad` with zeros (or, if strict, an error) for inputs that the outputs do not depend on."""
    pairs = [(o, w) for o, w in zip(outputs, weights or [None] * len(outputs)) if o.requires_grad]
    found: Sequence = [None] * len(inputs)
    if pairs:
        found = grad([o for o, _ in pairs], inputs, [w for _, w in pairs], retain_graph=True, create_graph=traced,
                     allow_unused=True)
    if strict and any(g is None for g in found):
        i = next(i for i, g in enumerate(found) if g is None)
        raise RuntimeError(f"The output of the user-provided function is independent of input {i}. This is not allowed in "
                           f"strict mode ({function}).")
    return tuple(_zeros(t) if g is None else g for g, t in zip(found, inputs))


def _vector(v: Any, like: tuple, is_tuple: bool, function: str) -> tuple:
    """`v` checked against the tensors it multiplies; ones for a single element."""
    if v is None:
        if len(like) != 1 or like[0]._array.size != 1:
            raise RuntimeError(f"The vector v can only be None if the user-provided function of {function} returns (or is "
                               "given) a single Tensor with a single element.")
        return (_zeros(like[0]) + 1,)
    many, _ = _many(v, function, "vector v given to")
    if len(many) != len(like):
        raise RuntimeError(f"{function}: v has invalid length: should be {len(like)} but got {len(many)}.")
    for i, (a, b) in enumerate(zip(many, like)):
        if a._array.shape != b._array.shape:
            raise RuntimeError(f"{function}: entry {i} of v has invalid size: should be {b.shape} but got {a.shape}.")
    return many


def _done(values: Sequence, is_tuple: bool, create_graph: bool) -> Any:
    out = tuple(values) if create_graph else tuple(v.detach() for v in values)
    return out if is_tuple else out[0]


def _jacobian_of(output: Any, inputs: tuple, traced: bool, strict: bool) -> list:
    """d output / d input for each input, of shape output.shape + input.shape."""
    flat = output.reshape(-1)
    rows = [_gradients([flat[i]], inputs, None, traced, strict, "jacobian") for i in range(flat._array.size)]
    jacobians = []
    for k, t in enumerate(inputs):
        shape = (*output._array.shape, *t._array.shape)
        if not rows:
            jacobians.append(_zeros(t, shape))
        else:
            jacobians.append(Hooks.traced.cat([row[k].reshape(1, -1) for row in rows], 0).reshape(shape))
    return jacobians


def jacobian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
             strategy: str = "reverse-mode") -> Any:
    """The Jacobian of `func` at `inputs`, one backward pass per output element; shape output.shape + input.shape.

    Several inputs give a tuple, several outputs a tuple of those. `vectorize` and `strategy` change nothing here.

    >>> torch.autograd.functional.jacobian(lambda x: x ** 2, torch.tensor([1., 2.]))
    tensor([[2., 0.],
            [0., 4.]])
    """
    _check_strategy("jacobian", vectorize, strategy, strict, create_graph)
    given, many_in = _many(inputs, "jacobian", "inputs given to")
    with enable_grad():
        fresh = _fresh(given, create_graph)
        outputs, many_out = _evaluate(func, fresh, "jacobian", strict)
        rows = [_done(_jacobian_of(o, fresh, create_graph, strict), many_in, create_graph) for o in outputs]
    return tuple(rows) if many_out else rows[0]


def _check_strategy(function: str, vectorize: bool, strategy: str, strict: bool, create_graph: bool) -> None:
    """torch's errors. Otherwise nothing follows from either: the numbers are the same, and rows are computed one by one."""
    if strategy not in ("reverse-mode", "forward-mode"):
        raise ValueError(f"{function}: expected strategy \"reverse-mode\" or \"forward-mode\", got {strategy!r}")
    if strict and vectorize:
        raise RuntimeError(f"torch.autograd.functional.{function}: `strict=True` and `vectorized=True` are not supported "
                           "together. Please either set `strict=False` or `vectorize=False`.")
    if strategy == "forward-mode" and create_graph:
        raise NotImplementedError(f"torch.autograd.functional.{function}: `create_graph=True` and `strategy=\"forward-mode\"` "
                                  "are not supported together (yet). Please either set `create_graph=False` or "
                                  "`strategy=\"reverse-mode\"`.")


def _scalar(outputs: tuple, is_tuple: bool, function: str) -> Any:
    if is_tuple:
        raise RuntimeError(f"The function given to {function} should return a single Tensor")
    if outputs[0]._array.size != 1:
        raise RuntimeError(f"The Tensor returned by the function given to {function} should contain a single element")
    return outputs[0].reshape(())


def hessian(func: Callable, inputs: Any, create_graph: bool = False, strict: bool = False, vectorize: bool = False,
            outer_jacobian_strategy: str = "reverse-mode") -> Any:
    """The matrix of second derivatives of a scalar `func`; shape input.shape + input.shape, a tuple of tuples for several.

    >>> torch.autograd.functional.hessian(lambda x: (x ** 3).sum(), torch.tensor([1., 2.]))
    tensor([[ 6.,  0.],
            [ 0., 12.]])
    """
    _check_strategy("hessian", vectorize, outer_jacobian_strategy, strict, create_graph)
    given, many_in = _many(inputs, "hessian", "inputs given to")
    with enable_grad():
        fresh = _fresh(given, create_graph)
        outputs, many_out = _evaluate(func, fresh, "hessian", strict)
        slopes = _gradients([_scalar(outputs, many_out, "hessian")], fresh, None, True, strict, "hessian")
        rows = [_done(_jacobian_of(s, fresh, create_graph, strict), many_in, create_graph) for s in slopes]
    return tuple(rows) if many_in else rows[0]


def vjp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """`(func(inputs), v^T J)`: the product of a vector (of the output's shape) with the Jacobian.

    >>> torch.autograd.functional.vjp(lambda x: x ** 2, torch.tensor([1., 2.]), torch.tensor([1., 10.]))
    (tensor([1., 4.]), tensor([ 2., 40.]))
    """
    given, many_in = _many(inputs, "vjp", "inputs given to")
    with enable_grad():
        fresh = _fresh(given, create_graph)
        outputs, many_out = _evaluate(func, fresh, "vjp", strict)
        weights = _vector(v, outputs, many_out, "vjp")
        product = _gradients(outputs, fresh, weights, create_graph, strict, "vjp")
    return _done(outputs, many_out, create_graph), _done(product, many_in, create_graph)


def _forward_product(outputs: Sequence, inputs: Sequence, v: tuple, traced: bool, strict: bool, function: str) -> tuple:
    """J v with two backward passes: w -> w^T J is linear in w, and its own adjoint applied to v is J v."""
    weights = [_zeros(o).requires_grad_() for o in outputs]
    slopes = _gradients(outputs, inputs, weights, True, strict, function)
    return _gradients(slopes, weights, v, traced, strict, function)


def jvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """`(func(inputs), J v)`: the derivative in the direction `v` (of the inputs' shapes), by two backward passes.

    >>> torch.autograd.functional.jvp(lambda x: x.sum() * x, torch.tensor([1., 2.]), torch.tensor([1., 0.]))
    (tensor([3., 6.]), tensor([4., 2.]))
    """
    given, many_in = _many(inputs, "jvp", "inputs given to")
    with enable_grad():
        v = _vector(v, given, many_in, "jvp")
        fresh = _fresh(given, create_graph)
        outputs, many_out = _evaluate(func, fresh, "jvp", strict)
        product = _forward_product(outputs, fresh, v, create_graph, strict, "jvp")
    return _done(outputs, many_out, create_graph), _done(product, many_out, create_graph)


def vhp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """`(func(inputs), v^T H)` for a scalar `func` with Hessian H.

    >>> torch.autograd.functional.vhp(lambda x: (x ** 3).sum(), torch.tensor([1., 2.]), torch.tensor([1., 1.]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _hessian_product(_gradients, "vhp", func, inputs, v, create_graph, strict)


def hvp(func: Callable, inputs: Any, v: Any = None, create_graph: bool = False, strict: bool = False) -> tuple:
    """`(func(inputs), H v)` for a scalar `func` with Hessian H; `vhp` is cheaper and equal where H is symmetric.

    >>> torch.autograd.functional.hvp(lambda x: (x ** 3).sum(), torch.tensor([1., 2.]), torch.tensor([1., 1.]))
    (tensor(9.), tensor([ 6., 12.]))
    """
    return _hessian_product(_forward_product, "hvp", func, inputs, v, create_graph, strict)


def _hessian_product(
    product: Callable, name: str, func: Callable, inputs: Any, v: Any, create_graph: bool, strict: bool
) -> tuple:
    """The scalar, and the `product` of its gradient's derivative with `v` from one side or the other."""
    given, many_in = _many(inputs, name, "inputs given to")
    with enable_grad():
        v = _vector(v, given, many_in, name)
        fresh = _fresh(given, create_graph)
        outputs, many_out = _evaluate(func, fresh, name, strict)
        slopes = _gradients([_scalar(outputs, many_out, name)], fresh, None, True, strict, name)
        found = product(slopes, fresh, v, create_graph, strict, name)
    return _done(outputs, False, create_graph), _done(found, many_in, create_graph)


__all__ = ["hessian", "hvp", "jacobian", "jvp", "vhp", "vjp"]
