"""An object as JSON beside arrays, and back.

None, bools, texts, numbers, lists and dicts with text keys are themselves. Everything else is `{"$kind": payload}`, and
each kind is one card in a table (kinds.py, modules.py): how it is written and how it is read. Tensors, arrays and
modules are written once, in lists beside the tree, so that what was one object is one object again.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from operator import methodcaller
from typing import Any

from engine.serialization import layout
from engine.serialization.container import RESERVED, Piece
from engine.serialization.errors import SaveError

Path = tuple[str, ...]
SMALL_INT = 2**53  # larger ones would be rounded by JSON readers that know only doubles
WORDS = {str, bool, type(None)}
_is_tag = methodcaller("startswith", "$")


class Kind:
    """A card: the tag in the file, which objects it writes, and both directions."""

    def __init__(self, tag: str, matches: type | tuple[type, ...], write: Callable, read: Callable) -> None:
        self.tag, self.matches, self.write, self.read = tag, matches, write, read


EXACT: dict[type, Kind] = {}  # by the very class of the object
FAMILIES: list[Kind] = []  # by isinstance, in order, for objects of other classes
BY_TAG: dict[str, Kind] = {}


def register(kind: Kind, exact: bool = True) -> None:
    """Add a card; with `exact=False` it serves subclasses too."""
    BY_TAG[kind.tag] = kind
    classes = kind.matches if isinstance(kind.matches, tuple) else (kind.matches,)
    if exact:
        EXACT.update(dict.fromkeys(classes, kind))
    else:
        FAMILIES.append(kind)


@functools.lru_cache(maxsize=256)
def card_of(kind: type) -> Kind | None:
    """The card that writes objects of a class."""
    return EXACT.get(kind) or next((card for card in FAMILIES if issubclass(kind, card.matches)), None)


def is_json(items: Any) -> bool:
    """Whether all items are words, or all are numbers, that stand in the file as they are."""
    kinds = set(map(type, items))
    if kinds == {int}:
        return min(items) >= -SMALL_INT and max(items) <= SMALL_INT
    return kinds <= WORDS or (kinds == {float} and all(map(math.isfinite, items)))


class Writer:
    """Turns one object into a tree; afterwards `finish` gives what the file needs.

    Args:
        plain: a key of the root mapping; the tensors below it get their names without it, and all others get names
            under the reserved prefix. Without such a key every tensor has the dotted path to it as its name.
    """

    def __init__(self, plain: str) -> None:
        self.plain = plain
        self.keeps_prefix = False
        self.held: list[layout.Held] = []
        self.tensors: list[dict[str, Any]] = []
        self.modules: list[dict[str, Any]] = []
        self.known: dict[int, tuple[int, Any]] = {}  # id -> index, and the object, which must outlive its id
        self._open: set[int] = set()

    def root(self, value: Any) -> Any:
        self.keeps_prefix = isinstance(value, dict) and isinstance(value.get(self.plain), dict)
        return self.value(value, ())

    def value(self, value: Any, path: Path) -> Any:
        """The JSON form of one object, met at `path`."""
        kind = type(value)
        if kind in WORDS or (kind is int and -SMALL_INT <= value <= SMALL_INT):
            return value
        if kind is int:
            return {"$int": hex(value)}
        if kind is float:
            return value if math.isfinite(value) else {"$float": repr(value)}
        if id(value) in self.known:  # tensors and modules may be met again, even inside themselves
            return self._compound(value, kind, path)
        if id(value) in self._open:
            raise SaveError(f"save(): {where(path)} contains itself")
        self._open.add(id(value))
        try:
            return self._compound(value, kind, path)
        finally:
            self._open.discard(id(value))

    def _compound(self, value: Any, kind: type, path: Path) -> Any:
        if kind is list:
            return self.values(value, path)
        if kind is dict and set(map(type, value)) <= {str} and not any(map(_is_tag, value)):
            # Most items of a checkpoint are words, and most checkpoints are small: their time goes here.
            return {
                key: item if type(item) in WORDS else self.value(item, (*path, key)) for key, item in value.items()
            }
        card = card_of(kind)
        if card is None:
            raise refusal(value, path)
        return {card.tag: card.write(value, self, path)}

    def values(self, items: Any, path: Path) -> list[Any]:
        if is_json(items):  # random states are thousands of numbers, written with every checkpoint
            return list(items)
        return [self.value(item, (*path, str(i))) for i, item in enumerate(items)]

    def pairs(self, mapping: Any, path: Path) -> list[list[Any]]:
        return [[self.value(key, path), self.value(item, (*path, str(key)))] for key, item in mapping.items()]

    def array(self, array: Any, path: Path) -> int:
        """Keep a raw array for writing; returns its number."""
        try:
            self.held.append(layout.Held(array, self._name(path)))
        except TypeError as error:
            raise SaveError(f"save(): the array at {where(path)} cannot be written: {error}") from error
        return len(self.held) - 1

    def _name(self, path: Path) -> str:
        if self.keeps_prefix:
            name = ".".join(path[1:]) if path[:1] == (self.plain,) else f"{RESERVED}/{'/'.join(path)}"
        else:
            name = ".".join(path) or "tensor"
        usable = name.isprintable() and name != "__metadata__"
        return name if usable else f"{RESERVED}/unnamed"

    def finish(self, root: Any) -> tuple[dict[str, Piece], dict[str, Any]]:
        """The pieces to write, and the whole structure."""
        pieces, references = layout.plan(self.held)
        return pieces, {"root": root, "arrays": references, "tensors": self.tensors, "modules": self.modules}


class Reader:
    """Rebuilds an object from the structure of a file.

    Args:
        structure: what `Writer.finish` gave.
        entries: the file's arrays by name.
        place: `place(array, device)` gives the array where it is wanted; `device` is where it was.
        modules_allowed: whether whole modules may be rebuilt.
    """

    def __init__(
        self, structure: dict[str, Any], entries: dict[str, Any], place: Callable, modules_allowed: bool
    ) -> None:
        self.structure, self.entries, self.place, self.modules_allowed = structure, entries, place, modules_allowed
        self.placed: dict[tuple[str, str], Any] = {}
        self.arrays: dict[tuple[int, str], Any] = {}
        self.tensors: dict[int, Any] = {}
        self.modules: dict[int, Any] = {}

    def root(self) -> Any:
        return self.value(self.structure["root"])

    def value(self, node: Any) -> Any:
        """The object of one JSON value."""
        if isinstance(node, list):
            return node if is_json(node) else [self.value(item) for item in node]
        if not isinstance(node, dict):
            return node
        tag = next(iter(node), "")
        if not tag.startswith("$"):
            return {key: self.value(item) for key, item in node.items()}
        if tag not in BY_TAG or len(node) != 1:
            raise ValueError(f"unknown kind of object {tag!r}")
        return BY_TAG[tag].read(node[tag], self)

    def pairs(self, node: Any) -> list[tuple[Any, Any]]:
        return [(self.value(key), self.value(item)) for key, item in node]

    def item(self, table: str, index: Any) -> dict[str, Any]:
        """One description of the lists beside the tree."""
        if type(index) is not int or not 0 <= index < len(self.structure[table]):
            raise ValueError(f"there is no number {index!r} among the {table}")
        return self.structure[table][index]

    def array(self, index: Any, device: str = "cpu") -> Any:
        """Raw array number `index`, placed; arrays that shared memory share it again."""
        reference = self.item("arrays", index)
        key = (index, device)
        if key not in self.arrays:
            entry = reference["entry"]
            if (entry, device) not in self.placed:
                self.placed[entry, device] = self.place(self.entries[entry], device)
            self.arrays[key] = layout.find({entry: self.placed[entry, device]}, reference)
        return self.arrays[key]


def where(path: Path) -> str:
    """A path for a message."""
    return f"`{'.'.join(path)}`" if path else "the object itself"


def refusal(value: Any, path: Path) -> SaveError:
    """Why an object of an unknown kind cannot be written."""
    kind = type(value)
    name = f"{kind.__module__}.{kind.__qualname__}"
    called = getattr(value, "__qualname__", None)
    what = f"the function {called} ({name})" if callable(value) and called else f"an object of class {name}"
    return SaveError(
        f"save(): {where(path)} is {what}, which cannot be written to a file that executes nothing when it is read. "
        "HINT: save state_dict(), or keep only tensors, modules, containers, numbers and texts"
    )
