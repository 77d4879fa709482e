"""Module: the base class of everything that has parameters.

A module keeps every value once, in its instance ``__dict__``, where Python finds it without further ado. Three name
tables beside the values say which of them are parameters, buffers and submodules. (torch keeps three dicts of values
and finds them in ``__getattr__``, one more Python call for every ``self.weight``.) The attributes ``_parameters``,
``_buffers`` and ``_modules``, which many programs use, are live views over tables and values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, MutableMapping
from typing import Any

from engine.nn._convert import ConversionMethods
from engine.nn._hooks import GLOBAL_HOOKS, HookMethods, call_with_hooks
from engine.nn._state import StateMethods
from engine.nn.parameter import Buffer, Parameter
from engine.tensor import Tensor

__all__ = ["Module"]

_TABLES = ("_parameter_names", "_buffer_names", "_module_names")


class _Members(MutableMapping):
    """Live mapping name -> value of one module's parameters, buffers or submodules."""

    __slots__ = ("_names", "_values")

    def __init__(self, values: dict, table: str) -> None:
        self._values = values
        self._names = values.get(table, {})

    def __getitem__(self, name: str) -> Any:
        if name not in self._names:
            raise KeyError(name)
        return self._values[name]

    def __setitem__(self, name: str, value: Any) -> None:
        self._names.setdefault(name, True)
        self._values[name] = value

    def __delitem__(self, name: str) -> None:
        del self._names[name]
        self._values.pop(name, None)

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __reversed__(self) -> Iterator[str]:
        return reversed(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def __repr__(self) -> str:
        return repr(dict(self))

    def items(self) -> Any:
        """Pairs (name, value): a list, so that a loop over it may replace members."""
        values = self._values
        return [(name, values[name]) for name in self._names]

    def values(self) -> Any:
        """The values: a list, so that a loop over it may replace members."""
        values = self._values
        return [values[name] for name in self._names]

    def copy(self) -> dict:
        """A plain dict of the members."""
        return dict(self)


class Module(ConversionMethods, StateMethods, HookMethods):
    """Base class of all layers and models: subclass it, make submodules in ``__init__``, compute in ``forward``.

    Assigning a Parameter, a Module or a Buffer to an attribute registers it. Calling the module calls ``forward``.

    Example::

        >>> class Net(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.body = nn.Linear(3, 2)
        ...     def forward(self, x):
        ...         return self.body(x).relu()
        >>> Net()
        Net(
          (body): Linear(in_features=3, out_features=2, bias=True)
        )
        >>> [name for name, _ in Net().named_parameters()]
        ['body.weight', 'body.bias']
    """

    training: bool
    call_super_init = False
    _leads = False  # may be computed together with the module after it (`_with_next`)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        if not self.call_super_init and (args or kwargs):
            what = (
                f"takes 1 positional argument but {len(args) + 1} were given"
                if args
                else f"got an unexpected keyword argument '{next(iter(kwargs))}'"
            )
            raise TypeError(f"{type(self).__name__}.__init__() {what}")
        values = self.__dict__
        values["training"] = True
        values["_hooks"] = None
        for table in _TABLES:
            values[table] = {}
        if self.call_super_init:
            super().__init__(*args, **kwargs)

    # -- calling ---------------------------------------------------------------------------------------------------

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        if self._hooks is None and not GLOBAL_HOOKS:
            return self.forward(*args, **kwargs)
        return call_with_hooks(self, args, kwargs)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """What the module computes: every subclass defines it."""
        raise NotImplementedError(f'Module [{type(self).__name__}] is missing the required "forward" function')

    def _with_next(self, input: Any, after: Module) -> Any:
        """What `after` makes of this module's output, computed with it in one, for modules that lead; None: one by one."""

    def compile(self, *args: Any, **kwargs: Any) -> None:
        """Accepted and without effect: there is no compiler, the module already runs as it is."""

    # -- registration ----------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        values = self.__dict__
        if isinstance(value, Parameter):
            self._take_name(name, "_parameter_names", "parameters")
            self.register_parameter(name, value)
        elif isinstance(value, Module):
            self._take_name(name, "_module_names", "module")
            values["_module_names"][name] = True
            values[name] = value
        elif isinstance(value, Buffer):
            self._take_name(name, "_buffer_names", "buffers")
            self.register_buffer(name, value, value.persistent)
        else:
            for table, kind, allowed in _EXPECTED:
                if name in values.get(table, ()):
                    if value is not None and not (table == "_buffer_names" and isinstance(value, Tensor)):
                        raise TypeError(f"cannot assign '{_type_name(value)}' as {kind} '{name}' ({allowed} expected)")
                    values[name] = value
                    return
            super().__setattr__(name, value)

    def _take_name(self, name: str, table: str, kind: str) -> None:
        """Make `name` free for `table`: it may have been a plain attribute or another kind of member."""
        values = self.__dict__
        if table not in values:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if name not in values[table]:
            for other in _TABLES:
                values[other].pop(name, None)
            values.pop(name, None)

    def __getattr__(self, name: str) -> Any:
        # Reached only for names that do not exist; Python adds its own did-you-mean from `name` and `obj`.
        if name in ("_hooks", *_TABLES):
            raise AttributeError(f"{type(self).__name__}: Module.__init__() was not called before the module was used")
        raise AttributeError(f"'{type(self).__name__}' object has no attribute '{name}'", name=name, obj=self)

    def __delattr__(self, name: str) -> None:
        for table in _TABLES:
            self.__dict__.get(table, {}).pop(name, None)
        super().__delattr__(name)

    def __dir__(self) -> list[str]:
        return sorted(name for name in super().__dir__() if not name[0].isdigit())

    @property
    def _parameters(self) -> _Members:
        return _Members(self.__dict__, "_parameter_names")

    @property
    def _buffers(self) -> _Members:
        return _Members(self.__dict__, "_buffer_names")

    @property
    def _modules(self) -> _Members:
        return _Members(self.__dict__, "_module_names")

    @property
    def _non_persistent_buffers_set(self) -> set[str]:
        return {name for name, persistent in self._buffer_names.items() if not persistent}

    def register_parameter(self, name: str, param: Parameter | None) -> None:
        """Add a parameter that is then the attribute `name`; None reserves the name.

        Raises:
            TypeError: if `param` is not a Parameter or None.
            KeyError: if the name is empty, holds a dot or is taken.
            ValueError: if `param` has a history (only leaves can be trained).
        """
        self._check_name(name, "_parameter_names", "parameter")
        if param is not None and not isinstance(param, Parameter):
            raise TypeError(
                f"cannot assign '{_type_name(param)}' object to parameter '{name}' "
                "(torch.nn.Parameter or None required)"
            )
        if param is not None and param.grad_fn is not None:
            raise ValueError(
                f"Cannot assign non-leaf Tensor to parameter '{name}'. Model parameters must be created explicitly: "
                "to express it as a function of another Tensor, compute the value in forward()."
            )
        self._parameter_names[name] = True
        self.__dict__[name] = param

    def register_buffer(self, name: str, tensor: Tensor | None, persistent: bool = True) -> None:
        """Add a tensor that is state but not trained, such as a running mean; None reserves the name.

        Args:
            name: attribute name.
            tensor: any tensor.
            persistent: whether ``state_dict()`` contains it.

        Raises:
            TypeError: if `tensor` is not a tensor or None.
            KeyError: if the name is empty, holds a dot or is taken.

        Example::

            >>> m = nn.Module()
            >>> m.register_buffer("mean", torch.zeros(2))
            >>> m.mean
            tensor([0., 0.])
        """
        self._check_name(name, "_buffer_names", "buffer")
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(
                f"cannot assign '{_type_name(tensor)}' object to buffer '{name}' (torch Tensor or None required)"
            )
        self._buffer_names[name] = persistent
        self.__dict__[name] = tensor

    def register_module(self, name: str, module: Module | None) -> None:
        """Alias of `add_module`."""
        self.add_module(name, module)

    def add_module(self, name: str, module: Module | None) -> None:
        """Add a child module that is then the attribute `name`.

        Raises:
            TypeError: if `module` is not a Module or None.
            KeyError: if the name is empty, holds a dot or is taken.
        """
        if not isinstance(module, Module) and module is not None:
            raise TypeError(f"{_type_name(module)} is not a Module subclass")
        self._check_name(name, "_module_names", "module")
        self._module_names[name] = True
        self.__dict__[name] = module

    def _check_name(self, name: str, table: str, kind: str) -> None:
        if table not in self.__dict__:
            raise AttributeError(f"cannot assign {kind} before Module.__init__() call")
        if not isinstance(name, str):
            raise TypeError(f"{kind} name should be a string. Got {_type_name(name)}")
        if "." in name:
            raise KeyError(f'{kind} name can\'t contain ".", got: {name!r}')
        if name == "":
            raise KeyError(f'{kind} name can\'t be empty string ""')
        if name not in self.__dict__[table] and hasattr(self, name):
            raise KeyError(f"attribute '{name}' already exists")

    # -- finding ---------------------------------------------------------------------------------------------------

    def get_submodule(self, target: str) -> Module:
        """The module with the dotted name `target` ("" is the module itself).

        Raises:
            AttributeError: if a part of the path does not exist or is not a module.
        """
        module: Any = self
        for name in target.split(".") if target else ():
            if not hasattr(module, name):
                raise AttributeError(f"{type(module).__name__} has no attribute `{name}`", name=name, obj=module)
            module = getattr(module, name)
            if not isinstance(module, Module):
                raise AttributeError(f"`{name}` is not an nn.Module")
        return module

    def get_parameter(self, target: str) -> Parameter:
        """The parameter with the dotted name `target`; AttributeError if there is none."""
        return self._get_member(target, "_parameter_names", "an nn.Parameter")

    def get_buffer(self, target: str) -> Tensor:
        """The buffer with the dotted name `target`; AttributeError if there is none."""
        return self._get_member(target, "_buffer_names", "a buffer")

    def _get_member(self, target: str, table: str, kind: str) -> Any:
        path, _, name = target.rpartition(".")
        owner = self.get_submodule(path)
        if not hasattr(owner, name):
            raise AttributeError(f"{type(owner).__name__} has no attribute `{name}`", name=name, obj=owner)
        if name not in owner.__dict__[table]:
            raise AttributeError(f"`{name}` is not {kind}")
        return getattr(owner, name)

    def named_modules(
        self, memo: set | None = None, prefix: str = "", remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Module]]:
        """(dotted name, module) of this module and all below it, parents first; shared modules once."""
        memo = set() if memo is None else memo
        if self in memo:
            return
        if remove_duplicate:
            memo.add(self)
        yield prefix, self
        for name, child in self._modules.items():
            if child is not None:
                yield from child.named_modules(memo, prefix + ("." if prefix else "") + name, remove_duplicate)

    def modules(self) -> Iterator[Module]:
        """This module and all below it, parents first; shared modules once."""
        return iter(self._walk())

    def _walk(self) -> list[Module]:
        """What `modules` gives, without a generator's cost per item: loops ask for parameters on every step."""
        found: dict[Module, None] = {}
        waiting: list[Module] = [self]
        while waiting:
            module = waiting.pop()
            if module not in found:
                found[module] = None
                values = module.__dict__
                if names := values["_module_names"]:
                    waiting += [values[name] for name in reversed(names) if values[name] is not None]
        return list(found)

    def _collect(self, table: str, recurse: bool) -> Iterator[Any]:
        """Each parameter or buffer once, in order of registration."""
        found: dict[int, Any] = {}
        for module in self._walk() if recurse else (self,):
            values = module.__dict__
            for name in values[table]:
                value = values[name]
                if value is not None:
                    found[id(value)] = value
        return iter(found.values())

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """(name, module) of the direct children; a shared child once."""
        seen = set()
        for name, child in self._modules.items():
            if child is not None and child not in seen:
                seen.add(child)
                yield name, child

    def children(self) -> Iterator[Module]:
        """The direct children; a shared child once."""
        values = self.__dict__
        found = {values[name]: True for name in values["_module_names"] if values[name] is not None}
        return iter(found)

    def named_parameters(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Parameter]]:
        """(dotted name, parameter) in order of registration; shared ones once if `remove_duplicate`."""
        return self._named_members(lambda module: module._parameters.items(), prefix, recurse, remove_duplicate)

    def parameters(self, recurse: bool = True) -> Iterator[Parameter]:
        """All parameters, as an optimizer takes them; with ``recurse=False`` only the module's own."""
        return self._collect("_parameter_names", recurse)

    def named_buffers(
        self, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Tensor]]:
        """(dotted name, buffer), in order of registration, persistent or not."""
        return self._named_members(lambda module: module._buffers.items(), prefix, recurse, remove_duplicate)

    def buffers(self, recurse: bool = True) -> Iterator[Tensor]:
        """All buffers; with ``recurse=False`` only the module's own."""
        return self._collect("_buffer_names", recurse)

    def _named_members(
        self, get_members_fn: Callable, prefix: str = "", recurse: bool = True, remove_duplicate: bool = True
    ) -> Iterator[tuple[str, Any]]:
        seen: set[int] = set()
        modules = self.named_modules(prefix=prefix, remove_duplicate=remove_duplicate) if recurse else [(prefix, self)]
        for module_prefix, module in modules:
            for name, value in get_members_fn(module):
                if value is None or id(value) in seen:
                    continue
                if remove_duplicate:
                    seen.add(id(value))
                yield module_prefix + ("." if module_prefix else "") + name, value

    # -- modes -----------------------------------------------------------------------------------------------------

    def apply(self, fn: Callable[[Module], None]) -> Module:
        """Call ``fn(module)`` on every module below and then on this one, e.g. to initialise weights."""
        for child in self.children():
            child.apply(fn)
        fn(self)
        return self

    def train(self, mode: bool = True) -> Module:
        """Set training mode (dropout active, batch statistics used) on this module and all below it."""
        if not isinstance(mode, bool):
            raise ValueError("training mode is expected to be boolean")
        self.__dict__["training"] = mode
        for child in self.children():
            child.train(mode)
        return self

    def eval(self) -> Module:
        """Set evaluation mode: the same as ``train(False)``."""
        return self.train(False)

    def requires_grad_(self, requires_grad: bool = True) -> Module:
        """Switch gradients of all parameters on or off in place, e.g. to freeze a part of a model."""
        for parameter in self.parameters():
            parameter.requires_grad_(requires_grad)
        return self

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients of all parameters, or with ``set_to_none=False`` fill them with zeros."""
        for parameter in self.parameters():
            if set_to_none:
                parameter.grad = None
            elif parameter.grad is not None:
                parameter.grad = parameter.grad.detach()
                parameter.grad.zero_()

    # -- printing --------------------------------------------------------------------------------------------------

    def _get_name(self) -> str:
        return type(self).__name__

    def extra_repr(self) -> str:
        """What a subclass wants to print between the brackets, e.g. its sizes."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        extra_lines = extra.split("\n") if extra else []
        child_lines = [f"({name}): {_indent(repr(child))}" for name, child in self._modules.items()]
        if len(extra_lines) == 1 and not child_lines:
            return f"{self._get_name()}({extra})"
        lines = extra_lines + child_lines
        body = "\n  " + "\n  ".join(lines) + "\n" if lines else ""
        return f"{self._get_name()}({body})"


_EXPECTED = (
    ("_parameter_names", "parameter", "torch.nn.Parameter or None"),
    ("_module_names", "child module", "torch.nn.Module or None"),
    ("_buffer_names", "buffer", "torch.nn.Buffer, torch.Tensor or None"),
)


def _indent(text: str) -> str:
    return text.replace("\n", "\n  ")


def _type_name(value: Any) -> str:
    if isinstance(value, Tensor) and not isinstance(value, Parameter):
        return value.type()
    kind = type(value)
    return kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
