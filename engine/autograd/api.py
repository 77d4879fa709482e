"""`backward` and `grad`: what starts a pass over the graph."""

from __future__ import annotations

from typing import Any

from . import driver, graph


def _as_tuple(value: Any) -> tuple:
    """One tensor, None, or any iterable of them (`model.parameters()`, `values()` of a dict) as a tuple."""
    return (value,) if value is None or hasattr(value, "_array") or not hasattr(value, "__iter__") else tuple(value)


def _targets(inputs: Any) -> tuple:
    """The tensors to differentiate by; RuntimeError for anything else and for those that need no gradient."""
    targets = _as_tuple(inputs)
    for t in targets:
        if not hasattr(t, "_array"):
            raise RuntimeError(f"all inputs have to be Tensors, but got {type(t).__name__}")
        if not t.requires_grad:
            raise RuntimeError("One of the differentiated Tensors does not require grad")
    return targets


def _start(tensors: tuple, grads: tuple, create_graph: bool) -> list:
    """The gradients to start from: those given, or 1 for tensors of one element. Errors as torch's."""
    out: list = []
    if len(grads) == 1 and grads[0] is None:
        grads = (None,) * len(tensors)
    if len(grads) != len(tensors):
        raise RuntimeError(f"got {len(tensors)} tensors and {len(grads)} gradients")
    for i, (t, g) in enumerate(zip(tensors, grads)):
        if not t.requires_grad:
            raise RuntimeError(f"element {i} of tensors does not require grad and does not have a grad_fn")
        if g is None:
            if t._array.size != 1:
                raise RuntimeError("grad can be implicitly created only for scalar outputs")
            if t._array.dtype.kind not in "f" and t._array.dtype.kind == "c":
                raise RuntimeError("grad can be implicitly created only for real scalar outputs but got "
                                   f"{t.dtype}")
            with graph.backend.beside(t._array):
                one = graph.backend.namespace(t._array).empty(t._array.shape, t._array.dtype)
                one[...] = 1
            out.append(graph.Hooks.wrap(one) if create_graph else one)
            continue
        if not hasattr(g, "_array"):
            raise TypeError(f"gradients can be either Tensors or None, but got {type(g).__name__}")
        if g._array.shape != t._array.shape:
            raise RuntimeError(f"Mismatch in shape: grad_output[{len(out)}] has a shape of {g.shape} and output[{len(out)}] "
                               f"has a shape of {t.shape}.")
        out.append(g if create_graph else g._array)
    return out


def backward(tensors: Any, grad_tensors: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
             grad_variables: Any = None, inputs: Any = None) -> None:
    """Add the gradients of `tensors` to the `.grad` of the leaves (or only of `inputs`) they were computed from.

    `grad_tensors` match the tensors' shapes; None for one-element tensors. Raises RuntimeError without a graph, on a
    second pass over a freed graph, and when a tensor the gradient needs was changed in place.

    >>> x = torch.tensor([1., 2.], requires_grad=True)
    >>> torch.autograd.backward((x * x).sum()); x.grad
    tensor([2., 4.])
    """
    roots = _as_tuple(tensors)
    grads = _start(roots, _as_tuple(grad_tensors), create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    if inputs is None:
        driver.backward(list(roots), grads, keep, create_graph)
        return
    targets = _targets(inputs)
    if not targets:
        raise RuntimeError("'inputs' argument to backward cannot be empty")
    for t, g in zip(targets, driver.backward(list(roots), grads, keep, create_graph, [t._node for t in targets])):
        if g is not None:
            t._accumulate_grad(g, create_graph)


def grad(outputs: Any, inputs: Any, grad_outputs: Any = None, retain_graph: bool | None = None,
         create_graph: bool = False, only_inputs: bool = True, allow_unused: bool | None = None,
         is_grads_batched: bool = False, materialize_grads: bool = False) -> tuple:
    """The gradients of `outputs` with respect to `inputs`, as a tuple; `.grad` is not touched.

    Raises RuntimeError for an input that was not used, unless `allow_unused` (None in its place) or `materialize_grads`
    (zeros in its place). With `is_grads_batched` the first dimension of every grad_output, and of every result, counts
    several of them. `only_inputs` is accepted for old programs; it changes nothing.

    >>> x = torch.tensor(3., requires_grad=True)
    >>> torch.autograd.grad(x ** 2, x)
    (tensor(6.),)
    """
    if is_grads_batched:
        return _grad_rows(outputs, inputs, _as_tuple(grad_outputs), create_graph, allow_unused, materialize_grads)
    roots, targets = _as_tuple(outputs), _targets(inputs)
    starts = _start(roots, _as_tuple(grad_outputs), create_graph)
    keep = create_graph if retain_graph is None else retain_graph
    found = driver.backward(list(roots), starts, keep, create_graph, [t._node for t in targets])
    out: list = []
    for i, (t, g) in enumerate(zip(targets, found)):
        if g is None:
            if materialize_grads:
                out.append(graph.Hooks.wrap(graph.backend.namespace(t._array).zeros(t._array.shape, t._array.dtype)))
            elif not allow_unused:
                raise RuntimeError(f"The differentiated Tensor at index {i} appears to not have been used in the graph. Set "
                                   "allow_unused=True if this is the desired behavior.")
            else:
                out.append(None)
        else:
            out.append(g if create_graph else graph.Hooks.wrap(g))
    return tuple(out)


def _grad_rows(outputs: Any, inputs: Any, grad_outputs: tuple, create_graph: bool, allow_unused: bool | None,
               materialize_grads: bool) -> tuple:
    """`grad` for every row of `grad_outputs`, stacked."""
    sizes = {-1 if g is None else g._array.shape[0] for g in grad_outputs}
    if len(sizes) != 1 or -1 in sizes:
        raise RuntimeError("If `is_grads_batched=True`, we interpret the first dimension of each grad_output as the batch "
                           f"dimension; they must all have the same one, got {sizes}")
    rows = [grad(outputs, inputs, [g[i] for g in grad_outputs], True, create_graph, True, allow_unused, False,
                 materialize_grads) for i in range(sizes.pop())]
    cat = graph.Hooks.traced.cat
    return tuple(None if column[0] is None else cat([g.unsqueeze(0) for g in column], 0) for column in zip(*rows))
