"""Arrays with a hidden batch dimension: what `torch.func.vmap` computes with.

A `Batched` array shows the shape of one sample and holds all of them, the batch first, in `inner`. It speaks NumPy's
protocols (`__array_ufunc__`, `__array_function__`), so that the operators' formulas run on it unchanged. What has no rule in
_batched_rules.py runs once per sample. `NoRule` is raised where neither is possible, such as asking for a Python number.
Levels nest: `inner` may be a `Batched` array of an outer vmap.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

ndarray = np.ndarray
RULES: dict[Any, Callable] = {}  # NumPy function -> rule(level, *arguments); filled by _batched_rules


class NoRule(RuntimeError):
    """An array with a batch dimension was used as if it were one plain array."""


class Level:
    """One running vmap: the size of its batch, and how many vmaps are around it."""

    __slots__ = ("depth", "size")

    def __init__(self, size: int, depth: int) -> None:
        self.size, self.depth = size, depth


class Batched:
    """An array of one sample's shape that stands for a whole batch."""

    __slots__ = ("inner", "level")

    def __init__(self, inner: Any, level: Level) -> None:
        self.inner, self.level = inner, level

    ndim = property(lambda self: self.inner.ndim - 1)
    dtype = property(lambda self: self.inner.dtype)
    itemsize = property(lambda self: self.inner.dtype.itemsize)
    strides = property(lambda self: self.inner.strides[1:])
    flags = property(lambda self: self.inner[:1].flags)  # those of one sample
    device = property(lambda self: self.inner.device)
    base = property(lambda self: self.inner)
    real = property(lambda self: Batched(self.inner.real, self.level))
    imag = property(lambda self: Batched(self.inner.imag, self.level))
    T = property(lambda self: self.transpose())

    @property
    def shape(self) -> tuple:
        """The shape of one sample. Setting it changes the view, and raises AttributeError where that is impossible."""
        return self.inner.shape[1:]

    @shape.setter
    def shape(self, sizes: tuple) -> None:
        inner = self.inner.view()
        inner.shape = (inner.shape[0], *sizes)
        self.inner = inner

    @property
    def size(self) -> int:
        """The number of elements of one sample."""
        n = 1
        for k in self.shape:
            n *= k
        return n

    @property
    def nbytes(self) -> int:
        """Bytes of one sample."""
        return self.size * self.itemsize

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        level = top((inputs, kwargs))
        if method == "at":
            for i in range(level.size):
                ufunc.at(*at((_own(inputs[0], level), *inputs[1:]), level, i))
            return None
        out = kwargs.pop("out", None)
        if method != "__call__" or (ufunc.signature is not None and ufunc is not np.matmul):
            result = loop(level, getattr(ufunc, method), inputs, kwargs)
        elif ufunc is np.matmul:
            result = RULES[np.matmul](level, *inputs)
        else:
            n = max(getattr(x, "ndim", 0) for x in inputs)
            result = wrapped(ufunc(*[lifted(x, level, n) for x in inputs], **kwargs), level)
        if out is None:
            return result
        for target, value in zip(out, result if isinstance(result, tuple) else (result,)):
            _own(target, level).inner[...] = value.inner
        return out[0]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        level = top((args, kwargs))
        rule = RULES.get(func)
        return loop(level, func, args, kwargs) if rule is None else rule(level, *args, **kwargs)

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NoRule("a tensor inside vmap stands for a whole batch and is no single NumPy array")

    def _as_number(self) -> Any:
        raise NoRule("vmap: data-dependent control flow: a tensor inside vmap has no single value")

    __bool__ = __int__ = __float__ = __complex__ = __index__ = item = tolist = nonzero = _as_number

    def __len__(self) -> int:
        return self.shape[0] if self.shape else self._as_number()

    def __getitem__(self, index: Any) -> Any:
        return RULES["getitem"](top((self, index)), self, index)

    def __setitem__(self, index: Any, value: Any) -> None:
        RULES["setitem"](top((self, index, value)), self, index, value)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        function = getattr(np, name, None)
        if callable(function):  # x.sum(...) is np.sum(x, ...)
            return lambda *args, **kwargs: function(self, *args, **kwargs)
        raise NoRule(f"vmap: arrays have no '{name}' here")

    def astype(self, dtype: Any, *args: Any, **kwargs: Any) -> Batched:
        """A copy of another dtype."""
        return Batched(self.inner.astype(dtype, *args, **kwargs), self.level)

    def copy(self, order: str = "C") -> Batched:
        """A copy."""
        return Batched(self.inner.copy(), self.level)

    def view(self, *dtype: Any) -> Batched:
        """The same memory, as another dtype if one is given."""
        return Batched(self.inner.view(*dtype), self.level)

    def reshape(self, *shape: Any) -> Batched:
        """The same elements in another shape."""
        return RULES[np.reshape](self.level, self, shape[0] if len(shape) == 1 else shape)

    def transpose(self, *axes: Any) -> Batched:
        """The dimensions in another order; reversed without arguments."""
        order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
        return RULES[np.transpose](self.level, self, order or None)

    def fill(self, value: Any) -> None:
        """Set all elements."""
        self[...] = value


def _install_operator(name: str, ufunc: Any) -> None:
    """Give `Batched` the operator `name` and its reflected and in-place forms, as far as Python has them."""

    def forward(self: Any, *other: Any) -> Any:
        return ufunc(self, *other)

    def reflected(self: Any, other: Any) -> Any:
        return ufunc(other, self)

    def inplace(self: Any, other: Any) -> Any:
        self[...] = ufunc(self, other)
        return self

    for prefix, function in (("", forward), ("r", reflected), ("i", inplace)):
        if hasattr(ndarray, f"__{prefix}{name}__"):
            setattr(Batched, f"__{prefix}{name}__", function)


for _name, _ufunc in {
    "add": np.add, "sub": np.subtract, "mul": np.multiply, "truediv": np.true_divide, "floordiv": np.floor_divide,
    "mod": np.remainder, "pow": np.power, "matmul": np.matmul, "and": np.bitwise_and, "or": np.bitwise_or,
    "xor": np.bitwise_xor, "lshift": np.left_shift, "rshift": np.right_shift, "lt": np.less, "le": np.less_equal,
    "gt": np.greater, "ge": np.greater_equal, "eq": np.equal, "ne": np.not_equal, "neg": np.negative, "pos": np.positive,
    "abs": np.absolute, "invert": np.invert,
}.items():  # fmt: skip
    _install_operator(_name, _ufunc)
Batched.__hash__ = object.__hash__  # type: ignore[method-assign]


class BatchedModule:
    """NumPy (or CuPy) for formulas on batched arrays: new arrays that may be written to have the batch dimension, too."""

    def __init__(self, level: Level, below: Any) -> None:
        self._level, self._below = level, below

    def __getattr__(self, name: str) -> Any:
        return getattr(np, name)

    def _new(self, make: str, shape: Any, *args: Any, **kwargs: Any) -> Batched:
        shape = tuple(shape) if hasattr(shape, "__iter__") else (operator.index(shape),)
        return Batched(getattr(self._below, make)((self._level.size, *shape), *args, **kwargs), self._level)

    def zeros(self, shape: Any, *args: Any, **kwargs: Any) -> Batched:
        """A batch of zeros."""
        return self._new("zeros", shape, *args, **kwargs)

    def ones(self, shape: Any, *args: Any, **kwargs: Any) -> Batched:
        """A batch of ones."""
        return self._new("ones", shape, *args, **kwargs)

    def empty(self, shape: Any, *args: Any, **kwargs: Any) -> Batched:
        """An uninitialised batch."""
        return self._new("empty", shape, *args, **kwargs)

    def full(self, shape: Any, *args: Any, **kwargs: Any) -> Batched:
        """A batch of one value."""
        return self._new("full", shape, *args, **kwargs)

    def array(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """A copy."""
        return value.copy() if isinstance(value, Batched) else self._below.array(value, *args, **kwargs)

    def asarray(self, value: Any, *args: Any, **kwargs: Any) -> Any:
        """The value itself if it is batched."""
        return value if isinstance(value, Batched) else self._below.asarray(value, *args, **kwargs)

    ascontiguousarray = asarray


# -- what the rules are made of ---------------------------------------------------------------------------------------


def top(tree: Any, best: Any = None) -> Any:
    """The innermost level among all batched arrays in nested containers; None without any."""
    if isinstance(tree, Batched):
        return tree.level if best is None or tree.level.depth > best.depth else best
    if isinstance(tree, dict):
        tree = tree.values()
    elif not isinstance(tree, (tuple, list)):
        return best
    for value in tree:
        best = top(value, best)
    return best


def at(tree: Any, level: Level, i: int) -> Any:
    """Nested containers with every batched array of `level` replaced by its sample `i`."""
    if isinstance(tree, Batched):
        return tree.inner[i : i + 1].reshape(tree.inner.shape[1:]) if tree.level is level else tree
    if isinstance(tree, dict):
        return {k: at(v, level, i) for k, v in tree.items()}
    if isinstance(tree, (tuple, list)):
        values = [at(v, level, i) for v in tree]
        return type(tree)(*values) if hasattr(tree, "_fields") else type(tree)(values)
    return tree


def join(results: list, level: Level) -> Any:
    """The results of all samples as one: arrays stacked, containers joined element by element, others if they are equal."""
    first = results[0]
    if isinstance(first, (ndarray, np.generic, Batched)) or hasattr(first, "__cuda_array_interface__"):
        if any(np.shape(r) != np.shape(first) for r in results):
            raise NoRule("vmap: samples give results of different shapes")
        return Batched(np.stack(results), level)
    if isinstance(first, (tuple, list)):
        values = [join(list(parts), level) for parts in zip(*results)]
        return type(first)(*values) if hasattr(first, "_fields") else type(first)(values)
    if any(r is not first and r != first for r in results):
        raise NoRule("vmap: samples give different Python values")
    return first


def loop(level: Level, func: Callable, args: Any, kwargs: Any) -> Any:
    """`func` once per sample."""
    return join([func(*at(args, level, i), **at(kwargs, level, i)) for i in range(level.size)], level)


def lifted(x: Any, level: Level, n: int) -> Any:
    """The array behind `x`, with as many dimensions after the batch as samples of `n` dimensions have."""
    if not isinstance(x, Batched) or x.level is not level:
        return x
    shape = x.inner.shape
    return x.inner if len(shape) == n + 1 else x.inner.reshape(shape[0], *[1] * (n + 1 - len(shape)), *shape[1:])


def wrapped(result: Any, level: Level) -> Any:
    """Arrays whose first dimension is the batch, as batched ones."""
    return tuple(Batched(r, level) for r in result) if isinstance(result, tuple) else Batched(result, level)


def promoted(x: Any, level: Level) -> Any:
    """`x` with a batch dimension of `level`; repeated (without a copy) if it has none."""
    if isinstance(x, Batched) and x.level is level:
        return x
    return Batched(np.broadcast_to(x, (level.size, *np.shape(x))), level)


def _own(x: Any, level: Level) -> Batched:
    if isinstance(x, Batched) and x.level is level:
        return x
    raise NoRule("vmap: in-place change of an array without a batch dimension by values that have one")
