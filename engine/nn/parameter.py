"""Parameter and Buffer: tensors that a Module registers when they are assigned to it; and their forms without a shape."""

from __future__ import annotations

from typing import Any

import numpy as np

from engine import devices, dtypes
from engine.tensor import Tensor, wrap

__all__ = ["Buffer", "Parameter", "UninitializedBuffer", "UninitializedParameter", "is_lazy"]


def _alias(cls: type, data: Tensor | None) -> Any:
    """A leaf of class `cls` that shares `data`'s storage and takes no part in its history."""
    if data is None:
        return wrap(np.empty(0, dtypes.get_default_dtype().np), cls=cls)
    if not isinstance(data, Tensor):
        raise TypeError(f"{cls.__name__}(): expected data to be a Tensor, got {type(data).__name__}")
    leaf = wrap(data._array, cls=cls)
    leaf._vc = data._version_counter()
    return leaf


class Parameter(Tensor):
    """A tensor that a Module trains: assigning it to a module attribute registers it.

    Args:
        data: tensor of any shape; floating point or complex if ``requires_grad``. Storage is shared. Default: empty.
        requires_grad: whether ``backward()`` accumulates a gradient into ``.grad``. Default: ``True``.

    Raises:
        TypeError: if `data` is not a tensor.
        RuntimeError: if `requires_grad` is asked of an integer or bool tensor.

    Example::

        >>> p = nn.Parameter(torch.zeros(2))
        >>> p
        Parameter containing:
        tensor([0., 0.], requires_grad=True)
    """

    def __new__(cls, data: Tensor | None = None, requires_grad: bool = True) -> Parameter:
        return _alias(cls, data).requires_grad_(requires_grad)

    def __init__(self, data: Tensor | None = None, requires_grad: bool = True) -> None:
        """Everything happens in ``__new__``; this keeps the signature visible to ``help``."""

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return "Parameter containing:\n" + super().__repr__()


class Buffer(Tensor):
    """A tensor that belongs to a Module's state but is not trained (see `Module.register_buffer`).

    Args:
        data: tensor of any shape and dtype; storage is shared. Default: empty.
        persistent: whether ``state_dict()`` contains it. Default: ``True``.

    Raises:
        TypeError: if `data` is not a tensor.

    Example::

        >>> m = nn.Module()
        >>> m.steps = nn.Buffer(torch.tensor([3]))
        >>> m.state_dict()["steps"]
        tensor([3])
    """

    persistent: bool

    def __new__(cls, data: Tensor | None = None, *, persistent: bool = True) -> Buffer:
        leaf = _alias(cls, data)
        leaf.persistent = persistent
        return leaf

    def __init__(self, data: Tensor | None = None, *, persistent: bool = True) -> None:
        """Everything happens in ``__new__``."""


class _NoData:
    """Stands in for the array of a tensor without a shape: whoever asks it for anything is told what to do."""

    __slots__ = ("kind",)

    def __init__(self, kind: str) -> None:
        self.kind = kind

    def __getattr__(self, name: str) -> Any:
        raise ValueError(
            "Attempted to use an uninitialized parameter. This error happens when you are using a `LazyModule` or explicitly "
            f"manipulating `torch.nn.parameter.{self.kind}` objects. When using LazyModules call `forward` with a dummy "
            "batch to initialize the parameters before calling torch functions"
        )


class _Uninitialized(Tensor):
    """A tensor whose shape is not known yet; it has a dtype, a device and `materialize`, and nothing else."""

    cls_to_become: type[Tensor]
    _wants_grad: bool
    _like: Tensor  # an empty tensor of the dtype and on the device

    @classmethod
    def _make(cls, requires_grad: bool, device: Any, dtype: Any) -> Any:
        leaf: Any = wrap(_NoData(cls.__name__), cls=cls)
        kind = dtypes.as_dtype(dtype) if dtype is not None else dtypes.get_default_dtype()
        leaf._like = wrap(devices.place(np.empty(0, kind.np), devices.as_device(device)))
        leaf._wants_grad = requires_grad
        return leaf

    def materialize(self, shape: Any, device: Any = None, dtype: Any = None) -> None:
        """Become an ordinary tensor of this shape, with undefined values."""
        like = self._like.to(device=device or self._like.device, dtype=dtype or self._like.dtype)
        del self.__dict__["_like"]
        self.__class__ = self.cls_to_become  # type: ignore[assignment]
        self._array = like.new_empty(shape)._array
        self.requires_grad_(self.__dict__.pop("_wants_grad"))

    @property
    def data(self) -> Tensor:
        """An empty tensor of the dtype and device; assigning another one changes these."""
        return self._like

    @data.setter
    def data(self, value: Tensor) -> None:
        self._like = value

    @property
    def requires_grad(self) -> bool:
        """Whether the tensor will require gradients."""
        return self._wants_grad

    @requires_grad.setter
    def requires_grad(self, on: bool) -> None:
        self._wants_grad = on

    def requires_grad_(self, requires_grad: bool = True) -> Any:
        """Set whether the tensor will require gradients."""
        self._wants_grad = requires_grad
        return self

    dtype = property(lambda self: self._like.dtype, doc="The element type.")  # type: ignore[assignment]
    device = property(lambda self: self._like.device, doc="Where the elements will be.")  # type: ignore[assignment]

    @property
    def shape(self) -> Any:
        """Not known: raises RuntimeError."""
        raise RuntimeError(
            "Can't access the shape of an uninitialized parameter or buffer. This error usually happens in `load_state_dict` "
            "when trying to load an uninitialized parameter into an initialized one. Call `forward` to initialize the "
            "parameters before accessing their attributes."
        )

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"<{type(self).__name__}>"

    def __deepcopy__(self, memo: dict) -> Any:
        twin = memo[id(self)] = type(self)._make(self._wants_grad, self.device, self.dtype)
        return twin

    def __reduce_ex__(self, protocol: Any) -> Any:
        return type(self), (self._wants_grad, self.device, self.dtype)


class UninitializedParameter(_Uninitialized, Parameter):  # type: ignore[misc]
    """A Parameter whose shape is not known yet, as lazy layers have them.

    Example::

        >>> p = nn.UninitializedParameter()
        >>> p
        <UninitializedParameter>
        >>> p.materialize((1, 2))
        >>> type(p).__name__, p.shape, p.requires_grad
        ('Parameter', torch.Size([1, 2]), True)
    """

    cls_to_become = Parameter

    def __new__(cls, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> Any:  # type: ignore[misc]
        return cls._make(requires_grad, device, dtype)

    def __init__(self, requires_grad: bool = True, device: Any = None, dtype: Any = None) -> None:
        """Everything happens in ``__new__``."""


class UninitializedBuffer(_Uninitialized, Buffer):
    """A Buffer whose shape is not known yet; `materialize` makes it a plain Tensor.

    Example::

        >>> b = nn.UninitializedBuffer(dtype=torch.float64)
        >>> b.materialize(3)
        >>> b.shape, b.dtype
        (torch.Size([3]), torch.float64)
    """

    cls_to_become = Tensor

    def __new__(cls, requires_grad: bool = False, device: Any = None, dtype: Any = None,  # type: ignore[misc]
                persistent: bool = True) -> Any:
        leaf = cls._make(requires_grad, device, dtype)
        leaf.persistent = persistent
        return leaf

    def __init__(self, requires_grad: bool = False, device: Any = None, dtype: Any = None, persistent: bool = True) -> None:
        """Everything happens in ``__new__``."""


def is_lazy(param: Any) -> bool:
    """Whether `param` is an UninitializedParameter or an UninitializedBuffer."""
    return isinstance(param, _Uninitialized)
