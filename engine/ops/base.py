"""Operator cards: what one is, how it is registered, and how it is applied.

A card is a class with everything there is to know about one operator; `docs/adding_an_operator.md` walks through one.
How a card is applied to Tensors is in `applying.py`.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any

from ..autograd.graph import Node
from ..tensor import Tensor
from .applying import F32, F64, apply, scalar_array, several_inputs, single_input
from .casting import RULES, ruled

CARDS: dict[str, type[Op]] = {}  # every operator, by its first name
FUNCTIONS: dict[str, Callable] = {}  # what `engine` exports
FUNCTIONAL: dict[str, Callable] = {}  # what `engine.nn.functional` exports


class Op:
    """Base of all operator cards.

    The author writes `forward` (raw arrays in, raw array out), `backward` (one formula, valid on raw arrays and on
    Tensors), and usually `call`, the public function with torch's signature, which ends in `Card.apply(...)`.
    """

    name = ""
    n = 1  # leading arguments of `forward` that are tensors (None allowed for optional ones); -1: one list of tensors
    keep: Any = ()  # inputs that backward needs, by index; or {input: (inputs whose gradient needs it,)}
    keep_output = False  # backward needs the output
    output_again = False  # ... and computes it anew if a program has changed it in place, which torch would let pass
    has_aux = False  # forward returns (out, aux); aux is kept for backward
    outputs = 1  # 0: forward returns a list of outputs
    view: Any = False  # True: the output shares the input's memory; "maybe": if NumPy could do without a copy
    shares = False  # several outputs lie in the first input's memory
    promote = False  # inputs are brought to their common dtype first
    to_float = False  # integer inputs are computed in the default floating dtype
    wide_numbers = False  # numbers and 0-d tensors meet 16-bit inputs in float32, not rounded to 16 bits first
    moves = False  # moves elements without arithmetic: half precision needs no detour through float32
    gpu: Any = None  # a fused form for CUDA (engine/gpu/card.py), where it serves the layout
    scalars = False  # forward takes a NumPy scalar in the place of an array
    differentiable = True
    batched: Any = None  # (level, *forward's arguments) -> forward's result on batched arrays, or None: see batching.py
    node_name = ""  # printed in grad_fn=<...>
    Node: type[Node]
    call: Callable

    @classmethod
    def apply(cls, *args: Any) -> Any:
        """Apply the card to forward's arguments, tensors first. Registering a card may put a shorter path in its place."""
        n = cls.n
        if n < 0:
            return apply(cls, args[0], args[1:])
        return apply(cls, args[:n], args[n:])

    @staticmethod
    def forward(xp: Any, *args: Any) -> Any:
        raise NotImplementedError

    @staticmethod
    def backward(xp: Any, s: Any, g: Any) -> Sequence:
        raise NotImplementedError

    @classmethod
    def backward_traced(cls, xp: Any, s: Any, g: Any) -> Sequence:
        """The formula on Tensors; cards whose `backward` is a fused kernel give a composite body here."""
        return cls.backward(xp, s, g)

    @classmethod
    def explain(cls, error: Exception, tensors: Sequence, params: Sequence) -> Exception:
        """The error to raise after forward has failed on these inputs. Called only then."""
        inputs = ", ".join(_phrase(t) for t in tensors)
        if any(isinstance(p, str) for p in params) and isinstance(error, TypeError):
            return TypeError(f"{cls.name.strip('_')}(): argument must be Number, not str (inputs: {inputs})")
        if isinstance(error, TypeError) and "not supported for the input types" in str(error):
            words = {t.dtype.word for t in tensors if isinstance(t, Tensor)}
            return NotImplementedError(f"\"{cls.name.strip('_')}\" not implemented for '{', '.join(sorted(words))}' "
                                       f"(inputs: {inputs})")
        return RuntimeError(f"{cls.name}(): {error} (inputs: {inputs})")

    @staticmethod
    def samples(make: Any) -> Any:
        """Yield `Sample`s: calls that the registry-driven tests run (see ops/samples.py)."""
        return ()

    @staticmethod
    def errors(make: Any) -> Any:
        """Yield `(call, exception class, text)`: bad input and what it raises."""
        return ()


def _phrase(t: Any) -> str:
    if isinstance(t, Tensor):
        return f"{t.dtype} {list(t.shape)} on {t.device}"
    return repr(t)


def op(name: str, *aliases: str, function: bool = True, method: bool = True, functional: bool = False,
       inplace: bool = False, node: str = "") -> Callable[[type], type]:
    """Class decorator that registers a card and installs its public function.

    `function`: `engine.<name>`; `method`: `Tensor.<name>`; `functional`: `engine.nn.functional.<name>`;
    `inplace`: also the `<name>_` forms of those.
    """

    def register(cls: Any) -> Any:
        if name in CARDS:
            raise ValueError(f"an operator named '{name}' is registered already")
        cls.name = name
        pretty = node or "".join(part.capitalize() for part in name.strip("_").split("_")) + "Backward0"
        cls.node_name = pretty
        cls.Node = type(pretty, (Node,), {"__slots__": (), "op": cls, "op_outputs": 0})
        if not (cls.keep_output or cls.has_aux or cls.keep):
            cls.keep = ()
        if cls.outputs == 1 and cls.n > 0:
            cls.apply = staticmethod(single_input(cls) if cls.n == 1 else several_inputs(cls))
        CARDS[name] = cls
        if "call" in cls.__dict__:
            install(cls.call, name, *aliases, function=function, method=method, functional=functional,
                    inplace=inplace, doc=cls.__doc__)
        return cls

    return register


def install(call: Callable, name: str, *aliases: str, function: bool = True, method: bool = True,
            functional: bool = False, inplace: bool = False, doc: str | None = None) -> None:
    """Make a public function of `call` under its names. Compositions of operators that need no card use this as well."""
    call.__name__ = call.__qualname__ = name
    call.__doc__ = call.__doc__ or doc
    call = with_numpy_names(call)
    changed = None
    if inplace:
        from .inplace import inplace_form

        changed = inplace_form(call, name)
    if name in RULES:
        call = ruled(call, RULES[name])
    forms = [(n, call) for n in (name, *aliases)]
    if changed is not None:
        forms += [(n + "_", changed) for n in (name, *aliases)]
    for public, fn in forms:
        if function:
            FUNCTIONS[public] = fn
        if method:
            setattr(Tensor, public, fn)
        if functional:
            FUNCTIONAL[public] = fn


_NUMPY_NAMES = {"axis": "dim", "keepdims": "keepdim"}


def with_numpy_names(call: Callable) -> Callable:
    """`call`, which takes `dim`, with NumPy's names of its arguments as well, as torch has them; others as they are."""
    code = getattr(inspect.unwrap(call), "__code__", None)
    names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code else ()
    if "dim" not in names or "axis" in names:
        return call

    @functools.wraps(call)
    def renamed(*args: Any, **kwargs: Any) -> Any:
        if kwargs and not _NUMPY_NAMES.keys().isdisjoint(kwargs):
            kwargs = {_NUMPY_NAMES.get(key, key): value for key, value in kwargs.items()}
        return call(*args, **kwargs)

    return renamed


def composite(name: str, *aliases: str, **where: Any) -> Callable[[Callable], Callable]:
    """Decorator form of `install` for a function that is a composition of operators."""

    def register(fn: Callable) -> Callable:
        install(fn, name, *aliases, **where)
        return fn

    return register


def expect_tensor(value: Any, function: str, argument: str = "input", position: int = 1) -> Tensor:
    """`value` if it is a Tensor; otherwise torch's TypeError."""
    if isinstance(value, Tensor):
        return value
    raise TypeError(f"{function}(): argument '{argument}' (position {position}) must be Tensor, not {type(value).__name__}")


__all__ = ["CARDS", "F32", "F64", "FUNCTIONAL", "FUNCTIONS", "Op", "apply", "composite", "expect_tensor", "install", "op",
           "scalar_array"]
