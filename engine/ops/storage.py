"""Tensors and their memory: shape changes in place, resizing, sharing, pinning, raw buffers."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .. import backend, devices, dtypes
from ..autograd.graph import AccumulateGrad
from ..autograd.modes import state
from ..tensor import Tensor, wrap
from .base import composite
from .creation import empty, finish, tensor
from .inplace import check_inplace
from .rearranging import AsStrided
from .shape import squeeze, t, transpose, unsqueeze
from .storages import StorageBase, tensor_on


def become(target: Tensor, view: Tensor, what: str) -> Tensor:
    """Let `target` take the shape, and the history, of a view of itself."""
    target._array = view._array
    if state.grad:
        target._node, target._requires_grad = view._node, view._requires_grad
    elif type(target._node) is AccumulateGrad:
        target._node.shape = view._array.shape
    if target._view is not None:
        target._view = view._view
    target._bump(what)
    return target


def _changed_by(name: str, view: Callable, *aliases: str) -> None:
    def inplace(input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        check_inplace(input)
        return become(input, view(input, *args, **kwargs), name)

    inplace.__doc__ = f"In-place form of `{name[:-1]}`: the tensor itself takes the new shape; no element moves."
    composite(name, *aliases, function=False)(inplace)


_changed_by("unsqueeze_", unsqueeze)
_changed_by("squeeze_", squeeze)
_changed_by("transpose_", transpose, "swapaxes_", "swapdims_")
_changed_by("t_", t)
_changed_by("as_strided_", AsStrided.call)


@composite("resize_", function=False)
def resize_(input: Tensor, *sizes: Any, memory_format: Any = None) -> Tensor:
    """Change the size in place: elements stay in row-major order, new ones are uninitialised (here zeros).

    RuntimeError for tensors that require grad.

    >>> torch.tensor([1, 2, 3, 4]).resize_(3)
    tensor([1, 2, 3])
    """
    if input.requires_grad:
        raise RuntimeError("cannot resize variables that require grad")
    shape = tuple(sizes[0]) if len(sizes) == 1 and not isinstance(sizes[0], int) else tuple(sizes)
    xp, flat = backend.namespace(input._array), input._array.reshape(-1)
    n = int(np.prod(shape))
    if n > flat.size:
        flat = xp.concatenate([flat, xp.zeros(n - flat.size, flat.dtype)])
    input._array = flat[:n].reshape(shape)
    input._bump("resize_")
    return input


@composite("resize_as_", function=False)
def resize_as_(input: Tensor, the_template: Tensor, memory_format: Any = None) -> Tensor:
    """`resize_` to another tensor's size.

    >>> torch.tensor([1, 2, 3]).resize_as_(torch.zeros(2))
    tensor([1, 2])
    """
    return resize_(input, the_template.shape)


@composite("resize", function=False)
def resize(input: Tensor, *sizes: Any) -> Tensor:
    """The old name of `reshape` for a size of as many elements: works, with a warning.

    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     torch.tensor([1, 2]).resize(1, 2)
    tensor([[1, 2]])
    """
    warnings.warn("Tensor.resize is deprecated: write reshape, or resize_ for another number of elements.", stacklevel=2)
    return input.reshape(*sizes)  # type: ignore[attr-defined]


@composite("resize_as", function=False)
def resize_as(input: Tensor, tensor: Tensor) -> Tensor:
    """The old name of `reshape_as`: works, with a warning."""
    return resize(input, tensor.shape)


@composite("set_", function=False)
def set_(input: Tensor, source: Any = None, storage_offset: int = 0, size: Any = None, stride: Any = None) -> Tensor:
    """Make the tensor share the memory of a tensor or a storage; without one it becomes empty.

    `storage_offset`, `size` and `stride`, in elements, say which part of a storage; without them all of it.

    >>> x = torch.zeros(2)
    >>> x.set_(torch.tensor([5., 6., 7.]))
    tensor([5., 6., 7.])
    """
    check_inplace(input)
    if source is None:
        source = empty(0, dtype=input.dtype, device=input.device)
    if isinstance(source, StorageBase):
        source = tensor_on(source, input.dtype, storage_offset, size, stride)
    if source._array.dtype != input._array.dtype:
        raise RuntimeError(f"Could not set tensor of type {source.dtype} to a tensor of type {input.dtype}")
    input._array, input._vc, input._view = source._array, source._version_counter(), None
    return input


@composite("is_set_to", function=False)
def is_set_to(input: Tensor, tensor: Tensor) -> bool:
    """Whether both have the same memory, shape and strides.

    >>> x = torch.zeros(2)
    >>> x.is_set_to(x.detach())
    True
    """
    a, b = input._array, tensor._array
    return input.data_ptr() == tensor.data_ptr() and a.shape == b.shape and a.strides == b.strides


# -- memory that others see -------------------------------------------------------------------------------------------


def _owner(array: Any) -> Any:
    """What owns an array's memory: follows `base` to its end, through memoryviews."""
    while getattr(array, "base", None) is not None:
        array = array.base
    return array.obj if isinstance(array, memoryview) else array


@composite("share_memory_", function=False)
def share_memory_(input: Tensor) -> Tensor:
    """Move the elements to memory shared with processes forked from now on; GPU tensors stay as they are.

    Pickling (so also starting processes by "spawn") copies the elements.

    >>> torch.zeros(2).share_memory_().is_shared()
    True
    """
    if isinstance(input._array, np.ndarray) and not is_shared(input):
        import mmap

        a = input._array
        memory = mmap.mmap(-1, max(a.nbytes, 1))
        shared = np.frombuffer(memory, np.uint8, a.nbytes).view(a.dtype).reshape(a.shape)
        shared[...] = a
        input._array = shared
    return input


@composite("is_shared", function=False)
def is_shared(input: Tensor) -> bool:
    """Whether `share_memory_` was called on the tensor (or what it views); always True on a GPU.

    >>> torch.zeros(2).is_shared()
    False
    """
    return not isinstance(input._array, np.ndarray) or type(_owner(input._array)).__name__ == "mmap"


@composite("pin_memory", function=False)
def pin_memory(input: Tensor, device: Any = None) -> Tensor:
    """The tensor in page-locked memory, from which copies to a GPU are faster.

    RuntimeError without a GPU, as in torch. HINT in the text: check `torch.cuda.is_available()`.
    """
    backend.require_cuda()
    if not isinstance(input._array, np.ndarray):
        raise RuntimeError(f"cannot pin '{input.type()}' only dense CPU tensors can be pinned")  # type: ignore[attr-defined]
    pinned = wrap(backend.pinned_copy(input._array))
    pinned.__dict__["_pinned"] = True
    return pinned


@composite("is_pinned", function=False)
def is_pinned(input: Tensor, device: Any = None) -> bool:
    """Whether the tensor came from `pin_memory`.

    >>> torch.zeros(2).is_pinned()
    False
    """
    return "_pinned" in input.__dict__


@composite("frombuffer", method=False)
def frombuffer(buffer: Any, *, dtype: Any, count: int = -1, offset: int = 0, requires_grad: bool = False) -> Tensor:
    """A 1-D tensor that shares memory with an object of Python's buffer protocol. ValueError where sizes do not fit.

    >>> torch.frombuffer(bytearray([1, 2, 3]), dtype=torch.uint8)
    tensor([1, 2, 3], dtype=torch.uint8)
    """
    return finish(np.frombuffer(buffer, dtypes.as_dtype(dtype).np, count, offset), requires_grad)


@composite("from_file", method=False)
def from_file(filename: str, shared: bool | None = None, size: int | None = 0, *, dtype: Any = None, layout: Any = None,
              device: Any = None, pin_memory: bool | None = None) -> Tensor:
    """A 1-D tensor of `size` elements in a file, mapped into memory: with `shared` changes go to the file, which is made if
    it is not there. RuntimeError for a file that is too small.

    >>> torch.from_file("/tmp/engine-doctest.bin", shared=True, size=2, dtype=torch.float64).fill_(3).tolist()
    [3.0, 3.0]
    """
    kind = (dtypes.get_default_dtype() if dtype is None else dtypes.as_dtype(dtype)).np
    count, there = size or 0, os.path.exists(filename)
    held = os.path.getsize(filename) if there else 0
    if not shared and (not there or held < count * kind.itemsize):
        raise RuntimeError(f"unable to mmap {count * kind.itemsize} bytes from file <{filename}>: it has {held}")
    if not count:
        return finish(np.empty(0, kind), False)
    mode: Any = ("r+" if held >= count * kind.itemsize else "w+") if shared else "c"
    if mode == "w+" and there:  # longer, and what is there stays
        os.truncate(filename, count * kind.itemsize)
        mode = "r+"
    return finish(np.asarray(np.memmap(filename, kind, mode, 0, (count,))), False)


@composite("module_load", function=False)
def module_load(input: Tensor, other: Tensor, assign: bool = False) -> Tensor:
    """What `load_state_dict` puts in the place of this tensor: its copy of `other`, or with `assign` `other` itself.

    >>> torch.zeros(2).module_load(torch.ones(2))
    tensor([1., 1.])
    """
    return other.detach() if assign else input.detach().copy_(other)  # type: ignore[attr-defined]


@composite("scalar_tensor", method=False)
def scalar_tensor(s: Any, *, dtype: Any = None, layout: Any = None, device: Any = None, pin_memory: bool = False,
                  requires_grad: bool = False) -> Tensor:
    """A 0-d tensor of a number, in the default dtype unless `dtype` is given.

    >>> torch.scalar_tensor(2)
    tensor(2.)
    """
    d = dtypes.get_default_dtype() if dtype is None else dtype
    return tensor(s, dtype=d, device=device, requires_grad=requires_grad)


@composite("empty_strided", method=False)
def empty_strided(size: Sequence, stride: Sequence, *, dtype: Any = None, layout: Any = None, device: Any = None,
                  requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """An uninitialised tensor of a size and strides (in elements).

    >>> torch.empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    span = 1 + sum((n - 1) * step for n, step in zip(size, stride)) if all(size) else 0
    flat = empty(span, dtype=dtype, device=device)
    xp = devices.module_for(flat.device)
    steps = tuple(step * flat._array.itemsize for step in stride)
    return finish(xp.lib.stride_tricks.as_strided(flat._array, tuple(size), steps), requires_grad)


@composite("empty_permuted", method=False)
def empty_permuted(size: Sequence, physical_layout: Sequence, *, dtype: Any = None, layout: Any = None, device: Any = None,
                   requires_grad: bool = False, pin_memory: bool = False) -> Tensor:
    """An uninitialised tensor whose dimensions lie in memory in the order `physical_layout`, outermost first.

    >>> torch.empty_permuted((2, 3), (1, 0)).stride()
    (1, 2)
    """
    if sorted(physical_layout) != list(range(len(size))):
        raise RuntimeError(f"empty_permuted(): expected physical_layout to order the {len(size)} dimensions of size "
                           f"{list(size)}, got {list(physical_layout)}")
    stride, step = [1] * len(size), 1
    for d in reversed(physical_layout):
        stride[d], step = step, step * size[d]
    return empty_strided(size, stride, dtype=dtype, device=device, requires_grad=requires_grad)


@composite("new_empty_strided", function=False)
def new_empty_strided(input: Tensor, size: Sequence, stride: Sequence, dtype: Any = None, layout: Any = None,
                      device: Any = None, pin_memory: bool = False, requires_grad: bool = False) -> Tensor:
    """`empty_strided` in this tensor's dtype and on its device.

    >>> torch.zeros(1).new_empty_strided((2, 3), (1, 2)).stride()
    (1, 2)
    """
    return empty_strided(size, stride, dtype=input.dtype if dtype is None else dtype,
                         device=input.device if device is None else device, requires_grad=requires_grad)


# -- element by element in Python -------------------------------------------------------------------------------------


@composite("apply_", function=False)
def apply_(input: Tensor, callable: Callable) -> Tensor:
    """Replace each element by `callable(element)`, in place: a Python loop, for small CPU tensors only.

    >>> torch.tensor([1, 2]).apply_(lambda v: v * 10)
    tensor([10, 20])
    """
    return _loop(input, callable, "apply_")


@composite("map_", function=False)
def map_(input: Tensor, tensor: Tensor, callable: Callable) -> Tensor:
    """Replace each element by `callable(element, the other tensor's element)`, in place: a Python loop.

    >>> torch.tensor([1, 2]).map_(torch.tensor([3, 4]), lambda a, b: a * b)
    tensor([3, 8])
    """
    return _loop(input, callable, "map_", np.broadcast_to(tensor.numpy(), input.shape))


def _loop(target: Tensor, function: Callable, what: str, *others: np.ndarray) -> Tensor:
    if not isinstance(target._array, np.ndarray):
        raise TypeError(f"{what} is only implemented on CPU tensors")
    if target.requires_grad:
        raise RuntimeError(f"Can't call {what} on a tensor that requires grad. HINT: use detach() or torch.no_grad().")
    rows = zip(target._array.reshape(-1).tolist(), *[o.reshape(-1).tolist() for o in others])
    target._array[...] = np.array([function(*row) for row in rows], target._array.dtype).reshape(target._array.shape)
    target._bump(what)
    return target


__all__ = ["become", "frombuffer", "resize_", "set_", "share_memory_"]
