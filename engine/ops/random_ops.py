"""Random tensors and in-place random fills: torch's numbers for the same seed on the CPU.

On a GPU they come from its own generator (`rng_device.py`): reproducible by seed, but not torch's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .. import backend, devices, dtypes, random
from ..dtypes import F32
from ..rng import Generator, assign_in_memory_order
from ..tensor import Tensor, wrap
from . import creation
from .base import composite
from .creation import _sizes, finish


def source(generator: Generator | None, device: Any = None) -> Generator:
    """The generator to draw numbers for a device from. RuntimeError for one of another kind of device."""
    if device is None and generator is None and devices.on_cpu():
        return random.default_generator
    where = devices.get_default_device() if device is None else devices.as_device(device)
    if generator is None:
        return random.of_device(where)
    if not isinstance(generator, Generator):
        raise TypeError(f"generator must be a torch.Generator, not {type(generator).__name__}")
    if generator.device.type != where.type:
        raise RuntimeError(f"Expected a '{where.type}' device type for generator but found '{generator.device.type}'")
    return generator


def _floating(dtype: Any) -> dtypes.dtype:
    return dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)


def _deliver(array: np.ndarray, device: Any, requires_grad: bool, out: Tensor | None = None) -> Tensor:
    if device is None and out is None and not requires_grad and devices.on_cpu():
        return wrap(array)
    where = devices.get_default_device() if device is None else devices.as_device(device)
    return finish(devices.place(array, where), requires_grad, out)


def _normals(shape: tuple, d: dtypes.dtype, generator: Generator | None, device: Any, contiguous: bool = True) -> Any:
    if d is dtypes.float32:
        return source(generator, device).normal(shape, F32, 0.0, 1.0, contiguous)
    if d.is_complex:  # real and imaginary parts of variance 1/2
        parts = source(generator, device).normal((*shape, 2), d.to_real().np, 0.0, 0.5**0.5)
        return parts.view(d.np).reshape(shape)
    if not d.is_floating_point:
        raise NotImplementedError(f"\"normal_kernel_cpu\" not implemented for '{d.word}'")
    return source(generator, device).normal(shape, d.np, contiguous=contiguous)


def _uniforms(shape: tuple, d: dtypes.dtype, generator: Generator | None, device: Any, contiguous: bool = True) -> Any:
    if d is dtypes.float32:
        return source(generator, device).uniform(shape, F32)
    if d.is_complex:
        return source(generator, device).uniform((*shape, 2), d.to_real().np).view(d.np).reshape(shape)
    if not d.is_floating_point:
        raise NotImplementedError(f"\"check_uniform_bounds\" not implemented for '{d.word}'")
    return source(generator, device).uniform(shape, d.np)


@composite("rand", method=False)
def rand(*sizes: Any, size: Any = None, generator: Generator | None = None, out: Tensor | None = None,
        dtype: Any = None,
         layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Uniform numbers on [0, 1).

    >>> _ = torch.manual_seed(0); torch.rand(2)
    tensor([0.4963, 0.7682])
    """
    shape = _sizes(sizes if size is None else (size,), "rand")
    return _deliver(_uniforms(shape, _floating(dtype), generator, device), device, requires_grad, out)


@composite("randn", method=False)
def randn(*sizes: Any, size: Any = None, generator: Generator | None = None, out: Tensor | None = None,
        dtype: Any = None,
          layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Standard normal numbers.

    >>> _ = torch.manual_seed(0); torch.randn(2)
    tensor([ 1.5410, -0.2934])
    """
    shape = _sizes(sizes if size is None else (size,), "randn")
    return _deliver(_normals(shape, _floating(dtype), generator, device), device, requires_grad, out)


def _integers(low: int, high: int, shape: tuple, d: dtypes.dtype, generator: Generator | None, device: Any) -> Any:
    if low >= high:
        raise RuntimeError(f"random_ expects 'from' to be less than 'to', but got from={low} >= to={high}")
    limits = np.iinfo(d.np) if d.category == 1 else None
    if limits is not None and not limits.min <= low < high <= limits.max + 1:
        name, value = ("from", low) if low < limits.min or low > limits.max else ("to - 1", high - 1)
        raise RuntimeError(f"{name} is out of bounds for {d}: {value} is not in [{limits.min}, {limits.max}]")
    return source(generator, device).randint(shape, low, high, d.np)


@composite("randint", method=False)
def randint(low: Any, high: Any = None, size: Any = None, *, generator: Generator | None = None,
            out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
            requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Integers on [low, high), int64 unless `dtype` is given: `randint(high, size)` or `randint(low, high, size)`.

    >>> _ = torch.manual_seed(0); torch.randint(10, (3,))
    tensor([4, 9, 3])
    """
    if size is None:
        if high is None:
            raise TypeError("randint() missing the argument 'size' (a tuple of ints)")
        if isinstance(high, (tuple, list)):
            low, high, size = 0, low, high
        else:
            raise TypeError("randint(): argument 'size' must be tuple of ints, but found "
                            f"{type(high).__name__} at position 2")
    elif high is None:
        low, high = 0, low
    for name, value in (("low", low), ("high", high)):
        if isinstance(value, float):
            raise TypeError(f"randint(): argument '{name}' must be int, not float")
    d = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    drawn = _integers(int(low), int(high), _sizes((size,), "randint"), d, generator, device)
    return _deliver(drawn, device, requires_grad, out)


@composite("randperm", method=False)
def randperm(n: int, *, generator: Generator | None = None, out: Tensor | None = None, dtype: Any = None,
             layout: Any = None, device: Any = None, requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """A random permutation of 0 ... n-1.

    >>> _ = torch.manual_seed(0); torch.randperm(4)
    tensor([0, 1, 3, 2])
    """
    if n < 0:
        raise RuntimeError(f"n must be non-negative, got {n}")
    array = source(generator, device).randperm(n)
    return _deliver(array if dtype is None else array.astype(dtypes.as_dtype(dtype).np), device, requires_grad, out)


def _like(name: str, draw: Callable) -> None:
    def like(input: Tensor, *, generator: Generator | None = None, dtype: Any = None, layout: Any = None,
             device: Any = None, requires_grad: bool = False, memory_format: Any = None, pin_memory: bool = False) -> Tensor:
        d = input.dtype if dtype is None else dtypes.as_dtype(dtype)
        rows = creation.in_rows(input)
        where = input.device if device is None else devices.as_device(device)
        drawn = creation.laid_out_as(input, draw(input._array.shape, d, generator, where, rows), memory_format)
        return _deliver(drawn, where, requires_grad)

    like.__doc__ = f"As `{name[:-5]}`, with the shape, dtype and device of `input`."
    composite(name, method=False)(like)


_like("rand_like", _uniforms)
_like("randn_like", _normals)


@composite("randint_like", method=False)
def randint_like(input: Tensor, low: int = 0, high: int | None = None, *, generator: Generator | None = None,
                 dtype: Any = None, layout: Any = None, device: Any = None, requires_grad: bool = False,
                 memory_format: Any = None, pin_memory: bool = False) -> Tensor:
    """As `randint`, with the shape, dtype and device of `input`: `randint_like(x, high)` or `randint_like(x, low, high)`.

    >>> _ = torch.manual_seed(0); torch.randint_like(torch.zeros(3), 10)
    tensor([4., 9., 3.])
    """
    if high is None:
        low, high = 0, low
    d = input.dtype if dtype is None else dtypes.as_dtype(dtype)
    where = input.device if device is None else devices.as_device(device)
    return _deliver(_integers(low, high, input._array.shape, d, generator, where), where, requires_grad)


@composite("normal", method=False)
def normal(mean: Any = 0.0, std: Any = 1.0, size: Any = None, *, generator: Generator | None = None,
           out: Tensor | None = None, dtype: Any = None, layout: Any = None, device: Any = None,
           requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """Normal numbers with `mean` and `std`: numbers with a `size`, or tensors that give the shape.

    >>> _ = torch.manual_seed(0); torch.normal(0.0, torch.tensor([1., 2.]))
    tensor([ 1.5410, -0.5869])
    """
    if size is not None:
        d = _floating(dtype)
        array = source(generator, device).normal(_sizes((size,), "normal"), d.np, float(mean), float(std))
        return _deliver(array, device, requires_grad, out)
    like = mean if isinstance(mean, Tensor) else std
    if not isinstance(like, Tensor):
        raise TypeError("normal() needs tensors for mean or std, or a size=(...)")
    if isinstance(std, Tensor) and not bool((std._array >= 0).all()):
        raise RuntimeError("normal expects all elements of std >= 0.0")
    a = mean._array if isinstance(mean, Tensor) else mean
    b = std._array if isinstance(std, Tensor) else std
    shape = np.broadcast_shapes(getattr(a, "shape", ()), getattr(b, "shape", ()))
    unit = source(generator, like.device).normal(shape, like._array.dtype)
    return _deliver(backend.namespace(unit).asarray((unit * b + a).astype(like._array.dtype)), like.device, False, out)


@composite("bernoulli")
def bernoulli(input: Tensor, p: Any = None, *, generator: Generator | None = None, out: Tensor | None = None) -> Tensor:
    """Zeros and ones: 1 with the probability in `input`'s element (or `p` everywhere), in `input`'s dtype.

    >>> _ = torch.manual_seed(0); torch.bernoulli(torch.tensor([0.1, 0.9]))
    tensor([0., 1.])
    """
    if p is not None:
        return bernoulli_(creation.empty(input.shape, dtype=input.dtype, device=input.device), p, generator=generator)
    if not input.is_floating_point():
        raise RuntimeError(f"\"bernoulli_tensor_cpu_p_\" not implemented for '{input.dtype.name}'")
    array = source(generator, input.device).bernoulli_array(backend.to_numpy(input._array))
    return _deliver(array, input.device, False, out)


@composite("multinomial")
def multinomial(input: Tensor, num_samples: int, replacement: bool = False, *, generator: Generator | None = None,
                out: Tensor | None = None) -> Tensor:
    """`num_samples` indices drawn by the weights in (each row of) `input`. RuntimeError for bad weights or counts.

    >>> _ = torch.manual_seed(0); torch.multinomial(torch.tensor([0., 1.]), 1)
    tensor([1])
    """
    array = source(generator, input.device).multinomial(backend.to_numpy(input._array), num_samples, replacement)
    return _deliver(array, input.device, False, out)


@composite("poisson", method=False)
def poisson(input: Tensor, generator: Generator | None = None) -> Tensor:
    """Poisson counts with the rates in `input`.

    >>> torch.poisson(torch.full((2,), 4.0)).shape
    torch.Size([2])
    """
    return _deliver(source(generator, input.device).poisson(backend.to_numpy(input._array)), input.device, False)


@composite("binomial", method=False)
def binomial(count: Tensor, prob: Tensor, generator: Generator | None = None) -> Tensor:
    """Successes in `count` trials of probability `prob`, which broadcast; in their (floating) dtype.

    Raises: ValueError: a dtype that is not floating. RuntimeError: the two dtypes differ.

    >>> torch.binomial(torch.full((2,), 8.0), torch.tensor([0.0, 1.0]))
    tensor([0., 8.])
    """
    if count.dtype != prob.dtype:
        raise RuntimeError(f"Found dtype {prob.dtype.name} but expected {count.dtype.name}")
    if not count.is_floating_point():
        raise ValueError(f"binomial only supports floating-point dtypes for count, got: {count.dtype.name}")
    n, p = np.broadcast_arrays(backend.to_numpy(count._array), backend.to_numpy(prob._array))
    return _deliver(source(generator, count.device).binomial(n, p), count.device, False)


# -- in-place fills ---------------------------------------------------------------------------------------------------


def _fill(target: Tensor, values: Any, what: str) -> Tensor:
    """Write random numbers into a tensor, in the order of its memory, as torch does. Its history becomes a constant's."""
    from .inplace import assign, check_inplace

    check_inplace(target)
    if target.is_meta:
        return target
    if target.requires_grad and not target.is_leaf:
        return assign(target, target * 0 + wrap(values), what)  # type: ignore[operator]
    if not isinstance(target._array, np.ndarray):
        target._array[...] = devices.place(values, target.device)
    elif target._array.flags.c_contiguous:
        target._array[...] = values.reshape(target._array.shape)
    else:
        assign_in_memory_order(target._array, values)
    target._bump(what)
    return target


def _need_floating(t: Tensor, name: str) -> Any:
    if not t.is_floating_point():
        raise NotImplementedError(f"\"{name}\" not implemented for '{t.dtype.word}'")
    return t._array.dtype


@composite("normal_", function=False)
def normal_(input: Tensor, mean: float = 0.0, std: float = 1.0, *, generator: Generator | None = None) -> Tensor:
    """Fill with normal numbers, in place. RuntimeError for std < 0.

    >>> _ = torch.manual_seed(0); torch.zeros(2).normal_(1, 0.5)
    tensor([1.7705, 0.8533])
    """
    contiguous = input._array.flags.c_contiguous
    if input.is_complex():  # real and imaginary parts of half the variance
        parts = source(generator, input.device).normal((*input.shape, 2), input.dtype.to_real().np, mean, std * 0.5**0.5)
        return _fill(input, parts.view(input._array.dtype).reshape(input._array.shape), "normal_")
    d = _need_floating(input, "normal_kernel_cpu")
    return _fill(input, source(generator, input.device).normal(input._array.shape, d, mean, std, contiguous), "normal_")


@composite("uniform_", function=False)
def uniform_(input: Tensor, *args: float, generator: Generator | None = None, **bounds: float) -> Tensor:
    """Fill with uniform numbers on [from, to), in place: `uniform_(from=0, to=1)`.

    >>> _ = torch.manual_seed(0); torch.zeros(2).uniform_(-1, 1)
    tensor([-0.0075,  0.5364])
    """
    low = args[0] if args else bounds.pop("from", bounds.pop("a", 0.0))
    high = args[1] if len(args) > 1 else bounds.pop("to", bounds.pop("b", 1.0))
    if bounds:
        raise TypeError(f"uniform_() got an unexpected keyword argument '{next(iter(bounds))}'")
    d = _need_floating(input, "check_uniform_bounds")
    return _fill(input, source(generator, input.device).uniform(input._array.shape, d, float(low), float(high)), "uniform_")


# One above the largest integer up to which a floating dtype has all of them.
_LAST_WHOLE = {"float16": 2**11 + 1, "bfloat16": 2**8 + 1, "float32": 2**24 + 1, "float64": 2**53 + 1}


@composite("random_", function=False)
def random_(input: Tensor, *args: Any, generator: Generator | None = None) -> Tensor:
    """Fill with integers: `random_()` the dtype's range, `random_(to)` [0, to), `random_(from, to)` [from, to).

    With None for `to`: from `from` up to the largest integer that the dtype holds.

    >>> _ = torch.manual_seed(0); torch.zeros(3).random_(10)
    tensor([4., 9., 3.])
    """
    shape, d = input._array.shape, input._array.dtype
    if not args:
        return _fill(input, source(generator, input.device).random(shape, d), "random_")
    low, high = (0, args[0]) if len(args) == 1 else args
    if high is None:
        high = _LAST_WHOLE.get(d.name) or (int(np.iinfo(d).max) + 1 if d.kind in "iu" else 2)
    return _fill(input, source(generator, input.device).randint(shape, low, high, d), "random_")


@composite("bernoulli_", function=False)
def bernoulli_(input: Tensor, p: Any = 0.5, *, generator: Generator | None = None) -> Tensor:
    """Fill with ones with probability `p` (a number, or a tensor of probabilities), zeros elsewhere, in place.

    >>> torch.zeros(3).bernoulli_(1.0)
    tensor([1., 1., 1.])
    """
    if isinstance(p, Tensor):
        probs = np.broadcast_to(backend.to_numpy(p._array), input._array.shape)
        return _fill(input, source(generator, input.device).bernoulli_array(probs, input._array.dtype), "bernoulli_")
    drawn = source(generator, input.device).bernoulli_scalar(float(p), input._array.shape, input._array.dtype)
    return _fill(input, drawn, "bernoulli_")


@composite("exponential_", function=False)
def exponential_(input: Tensor, lambd: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fill with exponentially distributed numbers of rate `lambd`, in place.

    >>> torch.zeros(2).exponential_().shape
    torch.Size([2])
    """
    d = _need_floating(input, "exponential")
    return _fill(input, source(generator, input.device).exponential(input._array.shape, d, lambd), "exponential_")


@composite("geometric_", function=False)
def geometric_(input: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """Fill with the number of trials up to the first success of probability `p`, in place.

    >>> torch.zeros(2).geometric_(0.5).shape
    torch.Size([2])
    """
    if input.dtype is dtypes.bool_:
        raise NotImplementedError("\"geometric_cpu\" not implemented for 'Bool'")
    return _fill(input, source(generator, input.device).geometric(input._array.shape, input._array.dtype, p), "geometric_")


@composite("cauchy_", function=False)
def cauchy_(input: Tensor, median: float = 0, sigma: float = 1, *, generator: Generator | None = None) -> Tensor:
    """Fill with Cauchy distributed numbers, in place.

    >>> torch.zeros(2).cauchy_().shape
    torch.Size([2])
    """
    d = _need_floating(input, "cauchy")
    return _fill(input, source(generator, input.device).cauchy(input._array.shape, d, median, sigma), "cauchy_")


@composite("log_normal_", function=False)
def log_normal_(input: Tensor, mean: float = 1, std: float = 2, *, generator: Generator | None = None) -> Tensor:
    """Fill with numbers whose logarithm is normal with `mean` and `std`, in place.

    >>> torch.zeros(2).log_normal_().shape
    torch.Size([2])
    """
    d = _need_floating(input, "log_normal")
    return _fill(input, source(generator, input.device).log_normal(input._array.shape, d, mean, std), "log_normal_")
