"""A pickle read as data: a stack machine that knows containers, numbers and texts, and calls nothing from the file.

Python's unpickler imports and calls whatever a pickle names. This one goes through the same opcodes (parsed by the
standard library's `pickletools`, which only reads) and turns a name into an entry of a fixed table, or refuses it.
Opcodes are described in the standard library's `pickletools`.
"""

from __future__ import annotations

import argparse
import pickletools
from collections import OrderedDict, deque
from collections.abc import Callable, Iterable
from typing import Any, BinaryIO

from engine.dtypes import dtype
from engine.tensor import Tensor

MAX_DEPTH = 200  # of containers in containers; everything that walks the object afterwards is recursive
MAX_KEY = 100  # parts of one dict key: hashing nested tuples that share parts takes exponential time
COPIES = 4  # how often the pickle's size may be copied by its own instructions

PUSHED = {
    "INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING",
    "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES",
    "BINBYTES8", "BYTEARRAY8",
}  # fmt: skip
CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False, "EMPTY_TUPLE": ()}
FRESH: dict[str, Callable[[], Any]] = {"EMPTY_LIST": list, "EMPTY_DICT": dict, "EMPTY_SET": set}
SKIPPED = {"PROTO", "FRAME"}
PUTS = {"PUT", "BINPUT", "LONG_BINPUT"}
GETS = {"GET", "BINGET", "LONG_BINGET"}
TUPLES = {"TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}


class Maker:
    """A class or function that a pickle may name: `make(spend, *arguments)` stands for calling it.

    `spend(n)` must be called before n elements or bytes are copied.
    """

    __slots__ = ("name", "make")

    def __init__(self, name: str, make: Callable[..., Any]) -> None:
        self.name, self.make = name, make


class Pending:
    """Base of the values that exist only while an object is put together, and must not be left in it."""

    __slots__ = ()


class Interpreter:
    """Runs one pickle.

    Args:
        stream: positioned at the pickle; afterwards behind it.
        size: bytes the pickle has at most; what its instructions copy is bounded by it.
        makers: what may be named, by "module.name".
        resolve: gives a maker or value for other names, or refuses them.
        persistent: gives the object for a persistent id.
        build: `build(object, state, spend)` puts state into an object, or refuses to.
    """

    def __init__(
        self,
        stream: BinaryIO,
        size: int,
        makers: dict[str, Maker],
        resolve: Callable[[str], Any],
        persistent: Callable[[Any], Any],
        build: Callable[[Any, Any, Callable[[int], None]], None],
    ) -> None:
        self.stream, self.makers, self.resolve, self.persistent, self.build = stream, makers, resolve, persistent, build
        self.budget = COPIES * size
        self.stack: list[Any] = []
        self.marked: list[list[Any]] = []  # the stacks below each open mark
        self.memo: dict[int, Any] = {}

    def spend(self, count: int) -> None:
        """Refuse a pickle that copies more than its size allows: its instructions are small, their results need not be."""
        self.budget -= count
        if self.budget < 0:
            raise ValueError("its pickle is made to unfold into far more than its size")

    def run(self) -> Any:
        """The object. ValueError, TypeError, LookupError and the like for anything that is not plain data."""
        argument: Any
        for opcode, argument, _ in pickletools.genops(self.stream):
            name = opcode.name
            if name in PUSHED:
                self.stack.append(argument)
            elif name in PUTS:
                self.memo[argument] = self.stack[-1]
            elif name in GETS:
                self.stack.append(self.memo[argument])
            elif name in CONSTANTS:
                self.stack.append(CONSTANTS[name])
            elif name in FRESH:
                self.stack.append(FRESH[name]())
            elif name in TUPLES:
                self._tuple(TUPLES[name])
            elif name in ACTIONS:
                ACTIONS[name](self, argument)
            elif name == "STOP":
                break
            elif name not in SKIPPED:
                raise ValueError(f"its pickle uses the opcode {name}, which is refused; nothing was executed")
        if len(self.stack) != 1 or self.marked:
            raise ValueError("its pickle ends in the middle of an object")
        check_finished(self.stack[0])
        return self.stack[0]

    def _tuple(self, count: int) -> None:
        if len(self.stack) < count:
            raise ValueError("its pickle takes from an empty stack")
        items = tuple(self.stack[-count:])
        del self.stack[-count:]
        self.stack.append(items)

    def _mark(self, _: Any) -> None:
        self.marked.append(self.stack)
        self.stack = []

    def _since_mark(self) -> list[Any]:
        items = self.stack
        self.stack = self.marked.pop()
        return items

    def _collect(self, kind: Callable[[list[Any]], Any]) -> None:
        items = self._since_mark()  # first, because it changes which stack is the one to push on
        self.stack.append(kind(items))

    def _dict(self, _: Any) -> None:
        items = self._since_mark()
        self.stack.append({})
        self._update(items)

    def _pop(self, _: Any) -> None:
        if self.stack:
            self.stack.pop()
        else:
            self._since_mark()

    def _pop_mark(self, _: Any) -> None:
        self._since_mark()

    def _memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def _append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def _extend(self, items: Iterable[Any]) -> None:
        target = self.stack[-1]
        if type(target) not in (list, deque):
            raise TypeError(f"its pickle appends to {type(target).__name__}")
        target.extend(items)

    def _additems(self, _: Any) -> None:
        items = self._since_mark()
        if type(self.stack[-1]) is not set:
            raise TypeError(f"its pickle adds members to {type(self.stack[-1]).__name__}")
        self.stack[-1].update(map(checked_key, items))

    def _setitem(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def _update(self, items: list[Any]) -> None:
        target = self.stack[-1]
        if not isinstance(target, dict) or len(items) % 2:
            raise TypeError(f"its pickle sets items of {type(target).__name__}")
        for key, value in zip(items[::2], items[1::2]):
            target[checked_key(key)] = value

    def _global(self, argument: str) -> None:
        self._name(*argument.split(" ", 1))

    def _stack_global(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise TypeError("its pickle names a class by something that is no text")
        self._name(module, name)

    def _name(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        self.stack.append(self.makers[full] if full in self.makers else self.resolve(full))

    def _call(self, _: Any) -> None:
        arguments, maker = self.stack.pop(), self.stack.pop()
        if not isinstance(maker, Maker) or not isinstance(arguments, tuple):
            raise TypeError(f"its pickle calls {type(maker).__name__}, which is refused")
        self.stack.append(maker.make(self.spend, *arguments))

    def _build(self, _: Any) -> None:
        state = self.stack.pop()
        self.build(self.stack[-1], state, self.spend)

    def _persistent(self, _: Any) -> None:
        self.stack.append(self.persistent(self.stack.pop()))


ACTIONS: dict[str, Callable[[Interpreter, Any], None]] = {
    "MARK": Interpreter._mark,
    "POP": Interpreter._pop,
    "POP_MARK": Interpreter._pop_mark,
    "MEMOIZE": Interpreter._memoize,
    "TUPLE": lambda machine, _: machine._collect(tuple),
    "LIST": lambda machine, _: machine._collect(list),
    "APPEND": Interpreter._append,
    "APPENDS": lambda machine, _: machine._extend(machine._since_mark()),
    "ADDITEMS": Interpreter._additems,
    "FROZENSET": lambda machine, _: machine._collect(lambda items: frozenset(map(checked_key, items))),
    "DICT": Interpreter._dict,
    "SETITEM": Interpreter._setitem,
    "SETITEMS": lambda machine, _: machine._update(machine._since_mark()),
    "GLOBAL": Interpreter._global,
    "STACK_GLOBAL": Interpreter._stack_global,
    "REDUCE": Interpreter._call,
    "NEWOBJ": Interpreter._call,
    "BUILD": Interpreter._build,
    "BINPERSID": Interpreter._persistent,
}


def described(value: Any) -> str:
    """A value for a message. Not its repr: that of nested tuples which share parts is of exponential length."""
    if isinstance(value, str):
        return repr(value[:100])
    if isinstance(value, tuple) and len(value) <= 16 and all(type(item) is int and abs(item) < 2**64 for item in value):
        return str(value)
    return f"a {type(value).__name__}"


def checked_key(key: Any) -> Any:
    """`key`, if it may be a dict key or a set's member. TypeError otherwise."""
    todo, seen = [key], 0
    while todo:
        part = todo.pop()
        seen += 1
        if isinstance(part, (tuple, frozenset)):
            todo.extend(part)
        elif isinstance(part, (Pending, Maker, Tensor)):
            raise TypeError(f"its pickle has a key of class {type(part).__name__}")
        if seen + len(todo) > MAX_KEY:
            raise TypeError("its pickle has a key of too many parts")
    return key


def check_finished(root: Any) -> None:
    """Refuse what contains itself, is nested too deeply, or holds anything that is no value.

    Goes depth first without recursion: a container's depth is known when all its members are done.
    """
    depths: dict[int, int] = {}
    opened: set[int] = set()
    todo: list[tuple[Any, bool]] = [(root, False)]
    while todo:
        node, members_done = todo.pop()
        if members_done:
            opened.discard(id(node))
            depths[id(node)] = 1 + max((depths.get(id(member), 0) for member in _members(node)), default=0)
            if depths[id(node)] > MAX_DEPTH:
                raise ValueError(f"its object is nested more than {MAX_DEPTH} deep")
        elif isinstance(node, (Pending, Maker)):
            what = node.name if isinstance(node, Maker) else type(node).__name__
            raise ValueError(f"it holds {what} itself as a value, which is refused")
        elif id(node) in opened:
            raise ValueError("its object contains itself")
        elif id(node) not in depths:
            members = _members(node)
            if members:
                opened.add(id(node))
                todo.append((node, True))
                todo.extend((member, False) for member in members)


LEAVES = (str, int, float, bool, type(None), bytes, dtype)


def _members(node: Any) -> list[Any]:
    kind = type(node)
    if kind in LEAVES:
        return []
    members: list[Any] = []
    if isinstance(node, dict):
        members += [*node, *node.values()]
    elif isinstance(node, (list, tuple, set, frozenset, deque)):
        members += node
    if isinstance(node, (OrderedDict, Tensor, argparse.Namespace)):
        members += vars(node).values()
    return members
