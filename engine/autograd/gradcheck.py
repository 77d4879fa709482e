"""Check gradients against finite differences."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from . import graph
from .api import grad
from .modes import enable_grad, no_grad


class GradcheckError(RuntimeError):
    """Raised by `gradcheck` when a gradient disagrees with the finite difference."""


def _outputs(func: Callable, inputs: tuple) -> list:
    result = func(*inputs)
    many = result if isinstance(result, (tuple, list)) else (result,)
    return [o for o in many if hasattr(o, "_array")]


def _checked(inputs: tuple) -> list:
    found = [t for t in inputs if hasattr(t, "_array") and t.requires_grad]
    if not found:
        raise ValueError("gradcheck expects at least one input tensor to require gradient, but none of them have "
                         "requires_grad=True.")
    for i, t in enumerate(found):
        if t._array.dtype not in (np.float64, np.complex128):
            import warnings

            warnings.warn(f"Input #{i} requires gradient and is not a double precision floating point or complex. This "
                          "check will likely fail if all the inputs are not of double precision floating point or complex.",
                          stacklevel=3)
    return found


def _numerical(func: Callable, inputs: tuple, target: Any, eps: float) -> list[np.ndarray]:
    """For each output, the matrix d output / d target by central differences: [target elements, output elements].

    For complex targets entry (i, j) is the gradient in torch's convention, of real and imaginary parts together.
    """
    flat = target._array.reshape(-1)
    if not np.shares_memory(flat, target._array):
        raise ValueError("gradcheck needs contiguous inputs. HINT: call .contiguous() and make that the leaf.")
    rows: list[list] = []
    steps = [eps, 1j * eps] if flat.dtype.kind == "c" else [eps]
    for i in range(flat.size):
        kept = flat[i]
        derivatives = []
        for step in steps:
            with no_grad():
                flat[i] = kept + step
                high = [o._array.copy() for o in _outputs(func, inputs)]
                flat[i] = kept - step
                low = [o._array.copy() for o in _outputs(func, inputs)]
            flat[i] = kept
            derivatives.append([((h - lo) / (2 * eps)).reshape(-1) for h, lo in zip(high, low)])
        rows.append(derivatives)
    count = len(rows[0][0]) if rows else 0
    return [np.stack([np.stack([d[k] for d in row]) for row in rows]) for k in range(count)]


def _analytical(outputs: list, k: int, targets: list, seed: complex) -> list[np.ndarray]:
    """For each target, the gradients of every element of output k, started with `seed`: [target elements, outputs]."""
    out = outputs[k]
    columns: list[list] = [[] for _ in targets]
    for j in range(out._array.size):
        start = np.zeros(out._array.size, out._array.dtype)
        start[j] = seed
        grads = grad([out], targets, [graph.Hooks.wrap(start.reshape(out._array.shape))], retain_graph=True,
                     allow_unused=True)
        for column, g, t in zip(columns, grads, targets):
            column.append(np.zeros(t._array.size, t._array.dtype) if g is None else g._array.reshape(-1))
    return [np.stack(c, axis=1) if c else np.zeros((t._array.size, 0)) for c, t in zip(columns, targets)]


def _agree(numeric: np.ndarray, outputs: list, k: int, targets: list, which: int, atol: float, rtol: float) -> None:
    """Compare d output_k / d target: numeric is [target elements, 1 or 2 directions, outputs]."""
    complex_out = outputs[k]._array.dtype.kind == "c"
    for seed in (1.0, 1j) if complex_out else (1.0,):
        got = _analytical(outputs, k, targets, seed)[which]
        # torch's convention: for L = Re(conj(seed) * output), gradient = dL/dx + i dL/dy
        parts = (np.conj(seed) * numeric).real
        expected = parts[:, 0] + (1j * parts[:, 1] if parts.shape[1] == 2 else 0)
        if not np.allclose(got, expected, rtol, atol):
            raise GradcheckError(f"Jacobian mismatch for output {k} with respect to input {which},\nnumerical:{expected}\n"
                                 f"analytical:{got}\n")


def gradcheck(func: Callable, inputs: Any, *, eps: float = 1e-6, atol: float = 1e-5, rtol: float = 1e-3,
              raise_exception: bool = True, nondet_tol: float = 0.0, check_undefined_grad: bool = True,
              check_grad_dtypes: bool = False, check_batched_grad: bool = False, check_batched_forward_grad: bool = False,
              check_forward_ad: bool = False, check_backward_ad: bool = True, fast_mode: bool = False,
              masked: bool | None = None) -> bool:
    """Compare the gradients of `func(*inputs)` with central finite differences of step `eps`.

    Inputs should be float64 leaves. Returns True; raises GradcheckError (or returns False without `raise_exception`).
    Batched and forward-mode checks do not exist here and raise NotImplementedError; `fast_mode` makes no difference.

    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradcheck(torch.sin, (x,))
    True
    """
    if check_forward_ad or check_batched_grad or check_batched_forward_grad:
        raise NotImplementedError("gradcheck: forward-mode and batched checks are not supported. HINT: leave them False.")
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    targets = _checked(inputs)
    try:
        outputs = _outputs(func, inputs)
        differentiable = [k for k, o in enumerate(outputs) if o.requires_grad]
        for which, target in enumerate(targets):
            numeric = _numerical(func, inputs, target, eps)
            for k, _ in enumerate(outputs):
                if k in differentiable:
                    _agree(numeric[k], outputs, k, targets, which, atol, rtol)
                elif outputs[k]._array.dtype.kind in "fc" and not np.allclose(numeric[k], 0, rtol, atol):
                    raise GradcheckError(f"Numerical gradient for function expected to be zero (output {k})")
    except GradcheckError:
        if raise_exception:
            raise
        return False
    return True


def gradgradcheck(func: Callable, inputs: Any, grad_outputs: Any = None, *, eps: float = 1e-6, atol: float = 1e-5,
                  rtol: float = 1e-3, gen_non_contig_grad_outputs: bool = False, raise_exception: bool = True,
                  nondet_tol: float = 0.0, check_undefined_grad: bool = True, check_grad_dtypes: bool = False,
                  check_batched_grad: bool = False, check_fwd_over_rev: bool = False, check_rev_over_rev: bool = True,
                  fast_mode: bool = False, masked: bool = False) -> bool:
    """Compare second derivatives: `gradcheck` of the gradient of `func`, with respect to inputs and `grad_outputs`.

    >>> x = torch.tensor([0.5, 1.0], dtype=torch.float64, requires_grad=True)
    >>> torch.autograd.gradgradcheck(torch.sin, (x,))
    True
    """
    inputs = tuple(inputs) if isinstance(inputs, (tuple, list)) else (inputs,)
    targets = _checked(inputs)
    outputs = [o for o in _outputs(func, inputs) if o.requires_grad]
    if grad_outputs is None:
        rng = np.random.default_rng(0)
        starts = []
        for o in outputs:
            values = rng.standard_normal(o._array.shape).astype(o._array.dtype)
            starts.append(graph.Hooks.wrap(np.asarray(values)).requires_grad_())
    else:
        starts = list(grad_outputs) if isinstance(grad_outputs, (tuple, list)) else [grad_outputs]
    where = [i for i, t in enumerate(inputs) if any(t is u for u in targets)]

    def first(*values: Any) -> tuple:
        moved, seeds = values[: len(inputs)], values[len(inputs) :]
        produced = [o for o in _outputs(func, moved) if o.requires_grad]
        return grad(produced, [moved[i] for i in where], seeds, create_graph=True, allow_unused=True)

    return gradcheck(_with_grad(first), (*inputs, *starts), eps=eps, atol=atol, rtol=rtol, raise_exception=raise_exception)


def _with_grad(first: Callable) -> Callable:
    """`first` computes gradients, so it needs recording even where gradcheck switches it off."""
    def recorded(*values: Any) -> tuple:
        with enable_grad():
            return tuple(g for g in first(*values) if g is not None)

    return recorded
