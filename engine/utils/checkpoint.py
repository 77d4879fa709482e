"""Activation checkpointing: forget what forward computed, and compute it again in backward (arXiv:1604.06174)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from engine import autograd, random
from engine.autograd.modes import enable_grad, no_grad
from engine.tensor import Tensor

__all__ = ["checkpoint", "checkpoint_sequential"]


class _Checkpoint(autograd.Function):
    """Runs `function(*args, **kwargs)` without a graph, and with one in backward, from the same random state."""

    @staticmethod
    def forward(ctx: Any, call: tuple, *tensors: Tensor) -> Any:
        ctx.call = call
        ctx.save_for_backward(*tensors)
        ctx.rng = random.get_rng_state() if call[2] else None
        function, rebuild, _ = call
        with no_grad():
            return rebuild(function, tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Any) -> tuple:
        function, rebuild, _ = ctx.call
        tensors = [t.detach().requires_grad_(needed)
                   for t, needed in zip(ctx.saved_tensors, ctx.needs_input_grad[1:])]
        now = random.get_rng_state() if ctx.rng is not None else None
        if now is not None:
            random.set_rng_state(ctx.rng)
        try:
            with enable_grad():
                outputs = rebuild(function, tensors)
        finally:
            if now is not None:
                random.set_rng_state(now)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        wanted = [(o, g) for o, g in zip(outputs, grads) if isinstance(o, Tensor) and o.requires_grad]
        if wanted:
            autograd.backward([o for o, _ in wanted], [g for _, g in wanted])
        return (None, *(t.grad for t in tensors))


def checkpoint(function: Callable, *args: Any, use_reentrant: bool | None = None, preserve_rng_state: bool = True,
               **kwargs: Any) -> Any:
    """`function(*args, **kwargs)`, keeping only its inputs for backward, which calls the function again.

    Args:
        function: returns a tensor or a tuple of tensors.
        use_reentrant: accepted; there is one implementation here.
        preserve_rng_state: run the second call from the random state of the first, so that dropout repeats itself.

    Gradients reach the tensors among `args` and the parameters that `function` uses. At least one tensor of `args`
    must require grad, as with torch's `use_reentrant=True`; otherwise the function is called plainly, and nothing is
    saved by it. Second derivatives through a checkpoint are not supported.

    >>> x = torch.ones(2, requires_grad=True)
    >>> torch.utils.checkpoint.checkpoint(lambda x: (x * x).sum(), x, use_reentrant=False).backward()
    >>> x.grad
    tensor([2., 2.])
    """
    if not any(isinstance(a, Tensor) and a.requires_grad for a in args):
        return function(*args, **kwargs)
    where = [i for i, a in enumerate(args) if isinstance(a, Tensor)]

    def rebuild(call: Callable, tensors: Any) -> Any:
        filled = list(args)
        for i, t in zip(where, tensors):
            filled[i] = t
        return call(*filled, **kwargs)

    return _Checkpoint.apply((function, rebuild, preserve_rng_state), *(args[i] for i in where))


def checkpoint_sequential(functions: Any, segments: int, input: Tensor, use_reentrant: bool | None = None,
                          **kwargs: Any) -> Any:
    """Call the modules of a Sequential (or a list) one after the other, checkpointing all segments but the last.

    Args:
        functions: modules or functions of one argument.
        segments: into how many pieces of equal length they are cut; the last takes the rest.
        input: the first argument.
    """
    steps = list(functions)

    def run(start: int, end: int) -> Callable:
        def segment(x: Any) -> Any:
            for step in steps[start:end]:
                x = step(x)
            return x

        return segment

    size = len(steps) // segments
    end = 0
    for end in range(size, size * segments, size):
        input = checkpoint(run(end - size, end), input, use_reentrant=use_reentrant, **kwargs)
    return run(end, len(steps))(input)
