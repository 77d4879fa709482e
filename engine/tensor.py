"""The Tensor: an array, and what autograd and views need to know about it.

Operators are not here: the registry (engine/ops/base.py) installs them as methods. This file holds storage, identity,
gradient bookkeeping, and the Python protocols that are not operators.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from . import backend, devices, dtypes, layouts, memory
from .autograd import backward
from .autograd.graph import AccumulateGrad, Handle, Hooks, Node, Version
from .autograd.modes import state
from .coo import Coo
from .copying import row_major_copy
from .gpu import order
from .meta import Meta
from .protocols import PythonProtocols
from .size import Size, check_dim

_new = object.__new__


if TYPE_CHECKING:

    def _operator(self: Any, other: Any) -> Tensor: ...
    def _unary(self: Any) -> Tensor: ...


class View:
    """How a tensor views its base: the steps to replay from the base, and the base's history it was taken at."""

    __slots__ = ("base", "steps", "history", "frozen")

    def __init__(self, base: Tensor, steps: tuple, history: int, frozen: bool) -> None:
        self.base, self.steps, self.history = base, steps, history
        self.frozen = frozen  # made under no_grad: never joins the base's graph


class Tensor(PythonProtocols):
    """A multi-dimensional array of one dtype on one device, with reverse-mode differentiation.

    `torch.Tensor(2, 3)` is the legacy constructor (uninitialised float32); prefer `torch.tensor`, `torch.empty`.

    >>> x = torch.tensor([2.0], requires_grad=True)
    >>> y = x * 3 + 1
    >>> y
    tensor([7.], grad_fn=<AddBackward0>)
    >>> y.backward(); x.grad
    tensor([3.])
    """

    __slots__ = ("_array", "_requires_grad", "_node", "_grad", "_vc", "_view", "__weakref__", "__dict__")
    __array_priority__ = 1000

    if TYPE_CHECKING:  # what the operator registry installs
        __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _operator
        __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _operator
        __and__ = __rand__ = __or__ = __ror__ = __xor__ = __rxor__ = __lshift__ = __rshift__ = _operator
        __lt__ = __le__ = __gt__ = __ge__ = _operator
        __neg__ = __pos__ = __abs__ = __invert__ = _unary

        def __getitem__(self, index: Any) -> Tensor: ...
        def __setitem__(self, index: Any, value: Any) -> None: ...
        def __getattr__(self, name: str) -> Any: ...

    _array: Any
    _requires_grad: bool
    _node: Node | None
    _grad: Tensor | None
    _vc: Version | None
    _view: View | None

    def __new__(cls, *args: Any, device: Any = None) -> Tensor:
        where = devices.as_device(device)
        if len(args) == 1 and not isinstance(args[0], int):
            value = args[0]
            if isinstance(value, Size):
                array: Any = np.zeros(value, dtypes.get_default_dtype().np)
            elif isinstance(value, Tensor):
                array = value._array
            else:
                array = np.array(value, dtype=dtypes.get_default_dtype().np)
        else:
            array = np.zeros(args or (0,), dtypes.get_default_dtype().np)
        return wrap(devices.place(array, where), cls=cls)

    # -- what it is ---------------------------------------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes of all dimensions."""
        return Size(self._array.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension (negative counts from the end)."""
        if dim is None:
            return Size(self._array.shape)
        return self._array.shape[check_dim(dim, self._array.ndim)]

    @property
    def dtype(self) -> dtypes.dtype:
        """The element type."""
        return dtypes.from_numpy_dtype(self._array.dtype)

    @property
    def device(self) -> devices.device:
        """Where the elements are."""
        return devices.device_of(self._array)

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    def dim(self) -> int:
        """The number of dimensions."""
        return self._array.ndim

    ndimension = dim

    def numel(self) -> int:
        """The number of elements."""
        return self._array.size

    nelement = numel

    @property
    def itemsize(self) -> int:
        """Bytes per element."""
        return self._array.itemsize

    def element_size(self) -> int:
        """Bytes per element."""
        return self._array.itemsize

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self._array.nbytes

    def stride(self, dim: int | None = None) -> Any:
        """Steps between neighbours, in elements: all, or of one dimension."""
        a = self._array
        steps = tuple(s // a.itemsize for s in a.strides)
        if 0 in steps:
            steps = _told_steps(a.shape, steps if a.size else (0,) * a.ndim)
        return steps if dim is None else steps[check_dim(dim, len(steps))]

    def data_ptr(self) -> int:
        """The address of the first element."""
        return backend.address(self._array)

    def storage_offset(self) -> int:
        """The position of the first element in its storage, in elements."""
        return backend.memory_of(self._array)[1]

    def is_contiguous(self, memory_format: Any = None) -> bool:
        """Whether the elements lie in memory in row-major order without gaps, or with the channels innermost."""
        if memory_format is not None and (rank := order.rank_of(memory_format)):
            return self._array.ndim == rank and order.has_strides(self._array, True)
        return self._array.flags.c_contiguous

    @property
    def is_cuda(self) -> bool:
        """Whether the elements are on an NVIDIA GPU."""
        return not isinstance(backend.plain(self._array), np.ndarray)

    is_cpu = property(lambda self: not (self.is_cuda or self.is_meta), doc="Whether the elements are in main memory.")
    is_sparse = property(lambda self: type(self._array) is Coo and self._array.axis is None,
                         doc="Whether the tensor holds coordinates and values.")
    is_sparse_csr = property(lambda self: type(self._array) is Coo and self._array.axis == 0,
                             doc="Whether the tensor is a sparse matrix in the order of its rows.")
    is_quantized = property(lambda self: False, doc="Always False: there are no quantized tensors.")
    is_meta = property(lambda self: type(self._array) is Meta, doc="Whether there is a shape and no elements.")
    layout = property(lambda self: layouts.of_axis(self._array.axis) if type(self._array) is Coo else layouts.strided,
                      doc="How the elements are kept: strided, sparse_coo, sparse_csr or sparse_csc.")

    def get_device(self) -> int:
        """The GPU's index, or -1 on the CPU."""
        return backend.cuda_index(self._array) if self.is_cuda else -1

    def is_floating_point(self) -> bool:
        """Whether the dtype is a floating type."""
        return self.dtype.is_floating_point

    def is_complex(self) -> bool:
        """Whether the dtype is a complex type."""
        return self.dtype.is_complex

    def is_signed(self) -> bool:
        """Whether the dtype has negative values."""
        return self.dtype.is_signed

    # -- gradient bookkeeping -----------------------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether operators record this tensor. Settable on leaves of floating or complex dtype."""
        if self._view is not None:
            self._sync()
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self.requires_grad_(on)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` in place and return the tensor.

        Raises RuntimeError on integer dtypes, and when switching off a tensor that was computed.
        """
        if not self.is_leaf:
            if requires_grad:
                return self
            raise RuntimeError(
                "you can only change requires_grad flags of leaf variables. If you want to use a computed variable in a "
                "subgraph that doesn't require differentiation use var_no_grad = var.detach()."
            )
        if requires_grad and self._array.dtype.kind not in "fc" and self._array.dtype is not dtypes.BF16:
            raise RuntimeError("only Tensors of floating point and complex dtype can require gradients")
        self._requires_grad = bool(requires_grad)
        self._node = AccumulateGrad(self) if requires_grad and self._node is None else self._node
        if not requires_grad:
            self._node = None
        return self

    @property
    def is_leaf(self) -> bool:
        """Whether the tensor was not computed from others that require gradients."""
        if self._view is not None:
            self._sync()
        return self._node is None or type(self._node) is AccumulateGrad

    @property
    def grad_fn(self) -> Node | None:
        """The node that computed this tensor; None for leaves."""
        return None if self.is_leaf else self._node

    @property
    def output_nr(self) -> int:
        """The index of this tensor among its operator's outputs."""
        return getattr(self._node, "index", 0)

    @property
    def grad(self) -> Tensor | None:
        """The accumulated gradient: None until a backward pass reaches this leaf."""
        if self._grad is None and not self.is_leaf and self._node.retain is None:  # type: ignore[union-attr]
            import warnings

            warnings.warn(
                "The .grad attribute of a Tensor that is not a leaf Tensor is being accessed. Its .grad attribute won't "
                "be populated during autograd.backward(). If you indeed want the .grad field to be populated for a "
                "non-leaf Tensor, use .retain_grad() on the non-leaf Tensor.", UserWarning, stacklevel=2)
        return self._grad

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None:
            if not isinstance(value, Tensor):
                raise TypeError(f"assigned grad expected to be a Tensor or None but got grad of type {type(value).__name__}")
            if value is self:
                raise RuntimeError("can't assign Variable as its own grad")
            if value._array.shape != self._array.shape:
                raise RuntimeError(f"assigned grad has data of a different size: expected {list(self.shape)}, "
                                   f"got {list(value.shape)}")
            if value._array.dtype != self._array.dtype:
                raise RuntimeError(f"assigned grad has data of a different type: expected {self.dtype}, got {value.dtype}")
            if value.device != self.device:
                raise RuntimeError(f"assigned grad has data located on a different device: expected {self.device}, "
                                   f"got {value.device}")
        self._grad = value

    @grad.deleter
    def grad(self) -> None:
        self._grad = None

    def _accumulate_grad(self, g: Any, traced: bool) -> None:
        """Add a gradient that reached this leaf to `.grad` (raw array, or Tensor when `traced`)."""
        before = self._grad
        if traced:
            self._grad = g if before is None else before + g
        elif before is None:
            own = (((g.base is None or memory.is_sole_view(g)) if type(g) is np.ndarray else backend.owns_memory(g))
                   and g.flags.c_contiguous and sys.getrefcount(g) <= _UNSHARED)
            self._grad = wrap(g if own else row_major_copy(g))
        elif before._requires_grad or type(g) is Coo or type(before._array) is Coo:
            self._grad = wrap(before._array + g)
        else:
            xp = backend.namespace(g)
            xp.add(before._array, g, out=before._array)
            if before._vc is not None:
                before._vc.count += 1

    def _store_grad(self, g: Any, traced: bool) -> None:
        """Keep the gradient of a computed tensor (`retain_grad`)."""
        g = g if traced else wrap(backend.namespace(g).array(g))
        self._grad = g if self._grad is None else self._grad + g

    def retain_grad(self) -> None:
        """Have backward fill `.grad` of this computed tensor as well. Raises RuntimeError without requires_grad."""
        if not self.requires_grad:
            raise RuntimeError("can't retain_grad on Tensor that has requires_grad=False")
        if not self.is_leaf:
            import weakref

            self._node.retain, self._node.watched = weakref.ref(self), True  # type: ignore[union-attr]

    @property
    def retains_grad(self) -> bool:
        """Whether `retain_grad` was called on this computed tensor."""
        return not self.is_leaf and self._node.retain is not None  # type: ignore[union-attr]

    def register_hook(self, hook: Callable[[Tensor], Tensor | None]) -> Handle:
        """Call `hook(grad)` when this tensor's gradient is complete; a returned Tensor replaces it.

        >>> x = torch.ones(1, requires_grad=True)
        >>> handle = x.register_hook(lambda g: g * 2)
        >>> (x * 3).backward(); x.grad
        tensor([6.])
        """
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        node: Any = self._node
        node.tensor_hooks, node.watched = {} if node.tensor_hooks is None else node.tensor_hooks, True
        return Handle(node.tensor_hooks, hook)

    def register_post_accumulate_grad_hook(self, hook: Callable[[Tensor], None]) -> Handle:
        """Call `hook(leaf)` after a backward pass has added to this leaf's `.grad`."""
        if not self.requires_grad:
            raise RuntimeError("cannot register a hook on a tensor that doesn't require gradient")
        if not self.is_leaf:
            raise RuntimeError("post accumulate grad hooks cannot be registered on non-leaf tensors")
        node: Any = self._node
        node.hooks = {} if node.hooks is None else node.hooks
        return Handle(node.hooks, hook)

    def backward(self, gradient: Any = None, retain_graph: bool | None = None, create_graph: bool = False,
                 inputs: Any = None) -> None:
        """Add the gradients of this tensor to the `.grad` of the leaves it was computed from.

        `gradient` has this tensor's shape and may be left out for one element. With `inputs` only those get gradients.
        `create_graph` makes the gradients differentiable themselves. Raises RuntimeError without a graph.
        """
        backward(self, gradient, retain_graph, create_graph, inputs=inputs)

    def detach(self) -> Tensor:
        """A tensor that shares this one's storage and not its history."""
        alias = wrap(self._array)
        alias._vc = self._vc = self._vc or Version()
        return alias

    def detach_(self) -> Tensor:
        """Cut this tensor off its history, in place. Raises RuntimeError on views."""
        if self._view is not None and not self._view.frozen:
            raise RuntimeError("Can't detach views in-place. Use detach() instead.")
        self._node, self._requires_grad = None, False
        return self

    @property
    def data(self) -> Tensor:
        """A tensor of the same storage outside of autograd; assigning replaces the storage."""
        return wrap(self._array)

    @data.setter
    def data(self, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise TypeError(f"Variable data has to be a tensor, but got {type(value).__name__}")
        if self._requires_grad and value.dtype.category < 2:
            raise RuntimeError("data set to a tensor that requires gradients must be floating point or complex dtype, got "
                               f"{value.dtype}")
        self._array = value._array
        if type(self._node) is AccumulateGrad:
            self._node.shape, self._node.dtype = self._array.shape, self._array.dtype

    # -- versions and views -------------------------------------------------------------------------------------------

    def _version_counter(self) -> Version:
        vc = self._vc
        if vc is None:
            vc = self._vc = Version()
        return vc

    def _bump(self, what: str) -> None:
        """Note that `_array` was changed in place by `what`."""
        self._version_counter().bump(what)

    @property
    def _version(self) -> int:
        """How often the storage was changed in place."""
        return 0 if self._vc is None else self._vc.count

    @property
    def _base(self) -> Tensor | None:
        """The tensor this one views."""
        return None if self._view is None else self._view.base

    def _is_view(self) -> bool:
        return self._view is not None

    def _sync(self) -> None:
        """If the base's graph changed since this view was taken, take the view's history from the base anew."""
        view: Any = self._view
        if view.history != self._vc.history and not view.frozen:  # type: ignore[union-attr]
            view.history = self._vc.history  # type: ignore[union-attr]
            before, state.grad = state.grad, True
            try:
                again = view.base
                for card, params in view.steps:
                    again = card.apply(again, *params)
            finally:
                state.grad = before
            self._node, self._requires_grad = again._node, again._requires_grad


def _told_steps(shape: tuple, steps: tuple) -> tuple:
    """Strides as torch tells them: NumPy gives zeros for a new dimension of size 1 and for empty arrays, torch what follows
    from the next dimension. A zero that repeats elements stays."""
    told: list[int] = []
    following = 1
    for n, step in zip(reversed(shape), reversed(steps)):
        told.append(step if step or (n > 1 and 0 not in shape) else following)
        following = told[-1] * max(n, 1)
    return tuple(reversed(told))


def wrap(array: Any, node: Node | None = None, cls: type = Tensor) -> Tensor:
    """A Tensor around a raw array, without copying. NumPy scalars become 0-d arrays."""
    t: Any = _new(cls)
    t._array = array if not isinstance(array, np.generic) else np.asarray(array)
    t._requires_grad = node is not None
    t._node = node
    t._grad = t._vc = t._view = None
    return t


def is_tensor(obj: Any, /) -> bool:
    """Whether `obj` is a Tensor."""
    return isinstance(obj, Tensor)


Hooks.wrap = wrap

# A gradient array that nobody else holds becomes `.grad` without a copy. How many references such an array has inside
# `_accumulate_grad` depends on the interpreter, so it is measured, on the very same path, when the operators are ready.
_UNSHARED = 0


def calibrate() -> None:
    """Measure `_UNSHARED`. Called once, by engine.ops.base."""
    global _UNSHARED
    from .autograd.driver import Run

    seen: list[int] = []

    class Probe(Tensor):
        def _accumulate_grad(self, g: Any, traced: bool) -> None:
            seen.append(sys.getrefcount(g))

    leaf = wrap(np.zeros(1), cls=Probe).requires_grad_()
    run = Run(False, False)
    run.deliver(leaf._node, np.zeros(1))  # type: ignore[arg-type]
    run.go()
    _UNSHARED = seen[0]
