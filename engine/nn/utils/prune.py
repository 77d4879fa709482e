"""Pruning: a mask over a parameter, chosen once and multiplied in before every forward.

A pruned parameter `weight` is kept as the parameter ``weight_orig`` and the buffer ``weight_mask``; a forward pre-hook
sets `weight` to their product. Pruning again combines the masks (`PruningContainer`).
"""

from __future__ import annotations

import numbers
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from typing import Any

import engine
from engine.nn.module import Module
from engine.nn.utils.convert_parameters import parameters_to_vector
from engine.tensor import Tensor


class BasePruningMethod(ABC):
    """A way to choose a mask: subclasses define `compute_mask` and a ``PRUNING_TYPE``.

    The type says what earlier masks leave for a later method to choose from: ``"unstructured"`` the entries that remain,
    ``"structured"`` the channels along ``self.dim`` that remain, ``"global"`` everything.
    """

    PRUNING_TYPE: str
    _tensor_name: str = ""

    def __call__(self, module: Module, inputs: Any) -> None:
        setattr(module, self._tensor_name, self.apply_mask(module))

    @abstractmethod
    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """The mask for importance scores `t`, where `default_mask` is what earlier pruning left."""

    def apply_mask(self, module: Module) -> Tensor:
        """The pruned tensor: original times mask."""
        if not self._tensor_name:
            raise AssertionError(f"Module {module} has to be pruned")
        original = getattr(module, self._tensor_name + "_orig")
        return getattr(module, self._tensor_name + "_mask").to(dtype=original.dtype) * original

    @classmethod
    def apply(cls, module: Module, name: str, *args: Any, importance_scores: Tensor | None = None,
              **kwargs: Any) -> BasePruningMethod:
        """Prune the parameter `name` of `module` with ``cls(*args, **kwargs)``; returns the method or its container.

        Args:
            importance_scores: tensor of the parameter's shape by which entries are chosen; default: the parameter.
        """
        tensor = getattr(module, name)
        scores = tensor if importance_scores is None else importance_scores
        if scores.shape != tensor.shape:
            raise AssertionError(f"importance_scores should have the same shape as parameter {name} of {module}, "
                                 f"got {scores.shape} vs {tensor.shape}")
        method: BasePruningMethod = cls(*args, **kwargs)
        method._tensor_name = name
        earlier = _find(module, name)
        if earlier is None:
            mask = method.compute_mask(scores, default_mask=engine.ones_like(tensor))
            delattr(module, name)
            module.register_parameter(name + "_orig", tensor)
        else:
            key, before = earlier
            container = before if isinstance(before, PruningContainer) else PruningContainer(before)
            container.add_pruning_method(method)
            method = container
            mask = method.compute_mask(scores, default_mask=getattr(module, name + "_mask").detach().clone())
            del module._forward_pre_hooks[key]
        module.register_buffer(name + "_mask", mask)
        setattr(module, name, method.apply_mask(module))
        module.register_forward_pre_hook(method)
        return method

    def prune(self, t: Tensor, default_mask: Tensor | None = None, importance_scores: Tensor | None = None) -> Tensor:
        """`t` times the mask chosen by `importance_scores` (default: `t`), without touching a module."""
        scores = t if importance_scores is None else importance_scores
        if scores.shape != t.shape:
            raise AssertionError(f"importance_scores should have the same shape as tensor t, got {scores.shape} vs {t.shape}")
        return t * self.compute_mask(scores, default_mask=engine.ones_like(t) if default_mask is None else default_mask)

    def remove(self, module: Module) -> None:
        """Make the pruned values the parameter's own; mask and original go."""
        name = self._tensor_name
        if not name:
            raise AssertionError(f"Module {module} has to be pruned before pruning can be removed")
        pruned = self.apply_mask(module).detach()
        parameter = getattr(module, name + "_orig")
        for attribute in (name, name + "_orig", name + "_mask"):
            delattr(module, attribute)
        parameter.data = pruned
        setattr(module, name, parameter)


class PruningContainer(BasePruningMethod):
    """Several methods applied to one tensor, one after the other."""

    def __init__(self, *args: BasePruningMethod) -> None:
        self._pruning_methods: tuple[BasePruningMethod, ...] = ()
        if len(args) == 1:
            self._tensor_name = args[0]._tensor_name
        for method in args:
            self.add_pruning_method(method)

    def add_pruning_method(self, method: Any) -> None:
        """Put `method`, which must act on the same tensor, behind the others."""
        if not isinstance(method, BasePruningMethod):
            raise TypeError(f"{type(method)} is not a BasePruningMethod subclass")
        if self._tensor_name != method._tensor_name:
            raise ValueError(f"Can only add pruning methods acting on the parameter named '{self._tensor_name}' to "
                             f"PruningContainer {self}. Found '{method._tensor_name}'")
        self._pruning_methods += (method,)

    def __len__(self) -> int:
        return len(self._pruning_methods)

    def __iter__(self) -> Iterator[BasePruningMethod]:
        return iter(self._pruning_methods)

    def __getitem__(self, idx: int) -> BasePruningMethod:
        return self._pruning_methods[idx]

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        """`default_mask`, with what the newest method prunes of what was left."""
        method = self._pruning_methods[-1]
        left = _left_by(method, t, default_mask)
        mask = default_mask.clone()
        mask[left] = method.compute_mask(t[left], default_mask=mask[left]).to(dtype=mask.dtype)
        return mask


def _left_by(method: Any, t: Tensor, mask: Tensor) -> Any:
    """The index of what `method` may choose from after earlier pruning left `mask`."""
    kind = method.PRUNING_TYPE
    if kind == "unstructured":
        return mask == 1
    if kind == "global":
        return (slice(None),) * t.dim()
    if kind != "structured":
        raise ValueError(f"Unrecognized PRUNING_TYPE {kind}")
    if not hasattr(method, "dim"):
        raise AttributeError('Pruning methods of PRUNING_TYPE "structured" need to have the attribute `dim` defined.')
    if method.dim < -t.dim():
        raise IndexError(f"Index is out of bounds for tensor with dimensions {t.dim()}")
    dim = method.dim % t.dim()
    kept = mask.sum(dim=[d for d in range(t.dim()) if d != dim]) != 0
    return (*(slice(None),) * dim, kept)


def _count(amount: Any, size: int) -> int:
    """How many of `size` units `amount` (a number or a share of them) means."""
    count = int(amount) if isinstance(amount, numbers.Integral) else round(amount * size)
    if count > size:
        raise ValueError(f"amount={amount} should be smaller than the number of parameters to prune={size}")
    return count


class _ByAmount(BasePruningMethod):
    """A method that prunes a number or a share of units."""

    def __init__(self, amount: Any) -> None:
        if not isinstance(amount, numbers.Real):
            raise TypeError(f"Invalid type for amount: {amount}. Must be int or float.")
        if float(amount) < 0.0 or (not isinstance(amount, numbers.Integral) and float(amount) > 1.0):
            raise ValueError(f"amount={amount} should either be a float in the range [0, 1] or a non-negative integer")
        self.amount = amount


class _Unstructured(_ByAmount):
    """Prunes single entries: those with the lowest (or, at random, the highest) scores."""

    PRUNING_TYPE = "unstructured"

    def _without(self, scores: Tensor, mask: Tensor, count: int, largest: bool) -> Tensor:
        flat = mask.clone().reshape(-1)
        if count:
            flat[engine.topk(scores.reshape(-1), k=count, largest=largest).indices] = 0
        return flat.reshape(mask.shape)


class _Structured(_ByAmount):
    """Prunes whole channels, the slices along one dimension."""

    PRUNING_TYPE = "structured"

    def __init__(self, amount: Any, dim: int = -1) -> None:
        super().__init__(amount)
        self.dim = dim

    def _channels(self, t: Tensor) -> tuple[int, int]:
        """(channels there are, channels to prune)."""
        if t.dim() <= 1:
            raise ValueError("Structured pruning can only be applied to multidimensional tensors. Found tensor of shape "
                             f"{t.shape} with {t.dim()} dims")
        if self.dim >= t.dim():
            raise IndexError(f"Invalid index {self.dim} for tensor of size {t.shape}")
        size = t.shape[self.dim]
        return size, _count(self.amount, size)

    def _keeping(self, t: Tensor, channels: Tensor, mask: Tensor) -> Tensor:
        kept = engine.zeros_like(t)
        kept[(*(slice(None),) * (self.dim % t.dim()), channels)] = 1
        return kept * mask.to(dtype=kept.dtype)


class Identity(BasePruningMethod):
    """Prunes nothing; the mask is all ones."""

    PRUNING_TYPE = "unstructured"

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return default_mask


class RandomUnstructured(_Unstructured):
    """Prunes `amount` entries at random."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        count = _count(self.amount, t.numel())
        return self._without(engine.rand_like(t) if count else t, default_mask, count, largest=True)


class L1Unstructured(_Unstructured):
    """Prunes the `amount` entries with the smallest absolute values."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        return self._without(t.detach().abs(), default_mask, _count(self.amount, t.numel()), largest=False)


class RandomStructured(_Structured):
    """Prunes `amount` channels along `dim` at random."""

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        size, count = self._channels(t)
        if not count:
            return default_mask
        draws = engine.rand(size)
        return self._keeping(t, draws > engine.kthvalue(draws, k=count).values, default_mask)


class LnStructured(_Structured):
    """Prunes the `amount` channels along `dim` with the smallest `n`-norms."""

    def __init__(self, amount: Any, n: Any, dim: int = -1) -> None:
        super().__init__(amount, dim)
        self.n = n

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        size, count = self._channels(t)
        if not count:
            return default_mask
        others = [d for d in range(t.dim()) if d != self.dim % t.dim()]
        norms = engine.norm(t.detach(), p=self.n, dim=others)
        return self._keeping(t, engine.topk(norms, k=size - count, largest=True).indices, default_mask)


class CustomFromMask(BasePruningMethod):
    """Prunes what a given mask says."""

    PRUNING_TYPE = "global"

    def __init__(self, mask: Tensor) -> None:
        self.mask = mask

    def compute_mask(self, t: Tensor, default_mask: Tensor) -> Tensor:
        if default_mask.shape != self.mask.shape:
            raise AssertionError(f"default_mask shape {default_mask.shape} must match self.mask shape {self.mask.shape}")
        return default_mask * self.mask.to(dtype=default_mask.dtype)


def _find(module: Module, name: str | None = None) -> tuple[int, BasePruningMethod] | None:
    """The pruning hook of `module` for the parameter `name` (None: for any), with its key."""
    for key, (hook, *_) in module._forward_pre_hooks.items():
        if isinstance(hook, BasePruningMethod) and name in (None, hook._tensor_name):
            return key, hook
    return None


def identity(module: Module, name: str) -> Module:
    """Give the parameter `name` a mask of ones; returns the module."""
    Identity.apply(module, name)
    return module


def random_unstructured(module: Module, name: str, amount: Any) -> Module:
    """Prune `amount` (a number or a share) of the entries of the parameter `name` at random; returns the module."""
    RandomUnstructured.apply(module, name, amount)
    return module


def l1_unstructured(module: Module, name: str, amount: Any, importance_scores: Tensor | None = None) -> Module:
    """Prune the `amount` entries of the parameter `name` with the smallest absolute values (or scores).

    Example::

        >>> layer = nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=0.5)
        >>> list(layer.state_dict()), int((layer.weight == 0).sum())
        (['bias', 'weight_orig', 'weight_mask'], 3)
    """
    L1Unstructured.apply(module, name, amount=amount, importance_scores=importance_scores)
    return module


def random_structured(module: Module, name: str, amount: Any, dim: int) -> Module:
    """Prune `amount` channels along `dim` of the parameter `name` at random; returns the module."""
    RandomStructured.apply(module, name, amount, dim)
    return module


def ln_structured(module: Module, name: str, amount: Any, n: Any, dim: int,
                  importance_scores: Tensor | None = None) -> Module:
    """Prune the `amount` channels along `dim` of the parameter `name` with the smallest `n`-norms; returns the module."""
    LnStructured.apply(module, name, amount, n, dim, importance_scores=importance_scores)
    return module


def global_unstructured(parameters: Iterable[tuple[Module, str]], pruning_method: Any,
                        importance_scores: dict | None = None, **kwargs: Any) -> None:
    """Prune several parameters together: entries are chosen among all of them.

    Args:
        parameters: pairs (module, name).
        pruning_method: an unstructured method, such as `L1Unstructured`; made with `kwargs`.
        importance_scores: {(module, name): tensor of the parameter's shape}; default: the parameters themselves.

    Raises:
        TypeError: for a structured method, or arguments of the wrong kind.

    Example::

        >>> net = nn.Sequential(nn.Linear(10, 4), nn.Linear(4, 1))
        >>> prune = nn.utils.prune
        >>> prune.global_unstructured([(net[0], "weight"), (net[1], "weight")], prune.L1Unstructured, amount=10)
        >>> int(sum((mask == 0).sum() for mask in net.buffers()))
        10
    """
    if not isinstance(parameters, Iterable):
        raise TypeError("global_unstructured(): parameters is not an Iterable")
    given = {} if importance_scores is None else importance_scores
    if not isinstance(given, dict):
        raise TypeError("global_unstructured(): importance_scores must be of type dict")
    pairs = list(parameters)
    tensors = [getattr(module, name) for module, name in pairs]
    method = pruning_method(**kwargs)
    if method.PRUNING_TYPE != "unstructured":
        raise TypeError('Only "unstructured" PRUNING_TYPE supported for the `pruning_method`. '
                        f"Found method {pruning_method} of type {method.PRUNING_TYPE}")
    scores = parameters_to_vector([given.get(pair, tensor) for pair, tensor in zip(pairs, tensors)])
    before = parameters_to_vector([
        getattr(module, name + "_mask") if hasattr(module, name + "_mask") else engine.ones_like(tensor)
        for (module, name), tensor in zip(pairs, tensors)
    ])
    mask = PruningContainer(method).compute_mask(scores, before)
    start = 0
    for (module, name), tensor in zip(pairs, tensors):
        custom_from_mask(module, name, mask=mask[start : start + tensor.numel()].view_as(tensor))
        start += tensor.numel()


def custom_from_mask(module: Module, name: str, mask: Tensor) -> Module:
    """Prune the parameter `name` where `mask` is 0; returns the module.

    Example::

        >>> nn.utils.prune.custom_from_mask(nn.Linear(5, 3), "bias", torch.tensor([0, 1, 0])).bias_mask
        tensor([0., 1., 0.])
    """
    CustomFromMask.apply(module, name, mask)
    return module


def remove(module: Module, name: str) -> Module:
    """Make pruning of the parameter `name` permanent: a plain parameter with its zeros; returns the module.

    Raises:
        ValueError: if the parameter is not pruned.

    Example::

        >>> layer = nn.utils.prune.l1_unstructured(nn.Linear(2, 3), "weight", amount=0.5)
        >>> sorted(nn.utils.prune.remove(layer, "weight").state_dict())
        ['bias', 'weight']
    """
    found = _find(module, name)
    if found is None:
        raise ValueError(f"Parameter '{name}' of module {module} has to be pruned before pruning can be removed")
    key, method = found
    method.remove(module)
    del module._forward_pre_hooks[key]
    return module


def is_pruned(module: Module) -> bool:
    """Whether the module, or any below it, has a pruned parameter.

    Example::

        >>> nn.utils.prune.is_pruned(nn.Linear(5, 7))
        False
    """
    return any(_find(submodule) is not None for submodule in module.modules())
