"""vmap: a function of one sample, called on a whole batch."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

import engine
from engine import random
from engine.batched import Batched, Level, NoRule
from engine.func._boundary import Inside, enter, leave
from engine.tensor import Tensor
from engine.utils._pytree import (
    TreeSpec,
    _broadcast_to_and_flatten,
    tree_flatten,
    tree_leaves,
    tree_structure,
    tree_unflatten,
)

__all__ = ["vmap"]


def _name(func: Callable) -> str:
    return getattr(func, "__name__", None) or repr(func)


def vmap(func: Callable, in_dims: Any = 0, out_dims: Any = 0, randomness: str = "error", *,
         chunk_size: int | None = None) -> Callable:
    """`func`, which takes and returns single samples, as a function of batches.

    Operators run once for the whole batch, those without a rule for that once per sample. A function that looks at values
    (`if x.sum() > 0`, `.item()`) runs once per sample as a whole; torch refuses it.

    Args:
        in_dims: the batch dimension of each argument: an int, or nested like the arguments; None where there is none.
        out_dims: where the batch dimension goes in the results.
        randomness: "error": random numbers raise RuntimeError; "same": all samples get the same ones; "different".
        chunk_size: how many samples to compute at once; default: all.

    Raises:
        ValueError: for dimensions that do not fit the arguments, batches of different sizes, results that are no tensors.

    Example::

        >>> dot = torch.vmap(torch.dot)
        >>> dot(torch.ones(2, 3), torch.ones(2, 3))
        tensor([3., 3.])
    """
    if randomness not in ("error", "different", "same"):
        raise RuntimeError(f"Only allowed values for randomness are 'error', 'different', or 'same'. Got {randomness}")
    if not (chunk_size is None or chunk_size > 0):
        raise ValueError(f"vmap: chunk_size should be None or greater than 0. (got {chunk_size})")

    @functools.wraps(func)
    def batched(*args: Any, **kwargs: Any) -> Any:
        call = _Call(func, in_dims, out_dims, randomness, args, kwargs)
        if chunk_size is None or chunk_size >= call.size:
            return call.run(0, call.size)
        parts = [call.run(i, min(i + chunk_size, call.size)) for i in range(0, call.size, chunk_size)]
        return call.concatenated(parts)

    return batched


class _Call:
    """One call of a vmapped function."""

    def __init__(self, func: Callable, in_dims: Any, out_dims: Any, randomness: str, args: tuple, kwargs: dict) -> None:
        self.func, self.out_dims, self.randomness, self.kwargs = func, out_dims, randomness, kwargs
        self.title = f"vmap({_name(func)}, in_dims={in_dims}, ...)(<inputs>): "
        if not isinstance(in_dims, int) and tree_structure(in_dims).is_leaf():
            raise ValueError(f"{self.title}expected `in_dims` to be int or a (potentially nested) tuple matching the structure "
                             f"of inputs, got: {type(in_dims)}.")
        keys = list(kwargs)  # keyword arguments are mapped over their first dimension
        self.leaves, self.spec = tree_flatten((args, tuple(kwargs.values())))
        self.keys = keys
        if not self.leaves:
            raise ValueError(f"vmap({_name(func)})(<inputs>): got no inputs. Maybe you forgot to add inputs, or you are trying "
                             "to vmap over a function with no inputs. The latter is unsupported.")
        dims = _broadcast_to_and_flatten(in_dims, tree_structure(args))
        if dims is None:
            raise ValueError(f"{self.title}in_dims is not compatible with the structure of `inputs`. in_dims has structure "
                             f"{in_dims} but inputs has structure {[type(a).__name__ for a in args]}.")
        extra = self.leaves[len(dims) :]
        self.dims = [self._checked(d, x) for d, x in zip(dims, self.leaves)]
        self.dims += [0 if isinstance(x, Tensor) else None for x in extra]
        sizes = [x.shape[d] for x, d in zip(self.leaves, self.dims) if d is not None]
        if not sizes:
            raise ValueError("vmap: Expected at least one Tensor to vmap over")
        if any(n != sizes[0] for n in sizes):
            raise ValueError("vmap: Expected all tensors to have the same size in the mapped dimension, got sizes "
                             f"{sizes} for the mapped dimension")
        self.size = sizes[0]

    def _checked(self, dim: Any, x: Any) -> int | None:
        if dim is None:
            return None
        if not isinstance(dim, int):
            raise ValueError(f"{self.title}Got in_dim={dim} for an input but in_dim must be either an integer dimension or "
                             "None.")
        if not isinstance(x, Tensor):
            raise ValueError(f"{self.title}Got in_dim={dim} for an input but the input is of type {type(x)}. We cannot vmap "
                             "over non-Tensor arguments, please use None as the respective in_dim")
        if not -x.dim() <= dim < x.dim():
            raise ValueError(f"{self.title}Got in_dim={dim} for some input, but that input is a Tensor of dimensionality "
                             f"{x.dim()} so expected in_dim to satisfy -{x.dim()} <= in_dim < {x.dim()}.")
        return dim % x.dim()

    def run(self, start: int, end: int) -> Any:
        """The results for samples `start` to `end`."""
        leaves = self.leaves
        if (start, end) != (0, self.size):
            leaves = [x if d is None else x.narrow(d, start, end - start) for x, d in zip(leaves, self.dims)]
        if self.randomness == "different" or end == start:
            return self._one_by_one(leaves, end - start)
        before = random.get_rng_state()
        try:
            result = self._together(leaves, end - start)
        except NoRule:
            random.set_rng_state(before)
            result = self._one_by_one(leaves, end - start)
        if self.randomness == "error" and not np.array_equal(before.numpy(), random.get_rng_state().numpy()):
            random.set_rng_state(before)
            raise RuntimeError("vmap: called random operation while in randomness error mode. Please either use the 'same' or "
                               "'different' randomness flags on vmap or perform the randomness operation out of vmap")
        return result

    def _call(self, leaves: list) -> tuple[list, list, TreeSpec]:
        """The function's results: leaves, the batch dimension of each, and how to put them together."""
        args, values = tree_unflatten(leaves, self.spec)
        output = self.func(*args, **dict(zip(self.keys, values)))
        found, spec = tree_flatten(output)
        dims = _broadcast_to_and_flatten(self.out_dims, spec)
        if dims is None and isinstance(output, Tensor) and isinstance(self.out_dims, (tuple, list)) and len(self.out_dims) == 1:
            dims = list(self.out_dims)
        if dims is None:
            raise ValueError(f"vmap({_name(self.func)}, ..., out_dims={self.out_dims})(<inputs>): out_dims is not compatible "
                             f"with the structure of `outputs`. out_dims has structure {self.out_dims} but outputs has "
                             f"structure {type(output).__name__} of {len(found)} leaves.")
        for value, dim in zip(found, dims):
            if not isinstance(value, Tensor) and dim is not None:
                raise ValueError(f"vmap({_name(self.func)}, ...): `{_name(self.func)}` must only return Tensors, got type "
                                 f"{type(value)}. Did you mean to set out_dims= to None for output?")
            if dim is not None and not isinstance(dim, int):
                raise ValueError(f"vmap({_name(self.func)}, ..., out_dims={self.out_dims}): `out_dims` must be an int, None or "
                                 "a python collection of ints representing where in the outputs the vmapped dimension should "
                                 "appear.")
        return found, dims, spec

    def _together(self, leaves: list, size: int) -> Any:
        level = Level(size, 0)
        with Inside(level) as inside:
            entered = [x if d is None else enter(x, level, d) for x, d in zip(leaves, self.dims)]
            found, dims, spec = self._call(entered)
        for value, dim in zip(found, dims):
            if dim is None and isinstance(value, Tensor) and isinstance(value._array, Batched) and value._array.level is level:
                raise ValueError(f"vmap({_name(self.func)}, ...): `{_name(self.func)}` can not return a BatchedTensor when "
                                 "out_dim is None")
        places = [i for i, dim in enumerate(dims) if dim is not None]
        for i, value in zip(places, leave(inside, [(found[i], dims[i]) for i in places])):
            found[i] = value
        return tree_unflatten(found, spec)

    def _one_by_one(self, leaves: list, size: int) -> Any:
        results = []
        state = random.get_rng_state() if self.randomness == "same" else None
        for i in range(size):
            if state is not None:
                random.set_rng_state(state)
            results.append(self._call([x if d is None else x.select(d, i) for x, d in zip(leaves, self.dims)]))
        if not results:
            raise ValueError("vmap: expected at least one sample, got a batch of size 0")
        _, dims, spec = results[0]
        columns = list(zip(*[found for found, _, _ in results]))
        stacked = [column[0] if dim is None else engine.stack(column, dim) for column, dim in zip(columns, dims)]
        return tree_unflatten(stacked, spec)

    def concatenated(self, parts: list) -> Any:
        """The results of several chunks as one."""
        spec = tree_structure(parts[0])
        dims = _broadcast_to_and_flatten(self.out_dims, spec)
        assert dims is not None
        columns = list(zip(*[tree_leaves(part) for part in parts]))
        joined = [column[0] if dim is None else engine.cat(column, dim) for column, dim in zip(columns, dims)]
        return tree_unflatten(joined, spec)
