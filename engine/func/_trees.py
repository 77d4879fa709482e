"""Nested containers of tensors: lists, tuples, named tuples and dicts, flattened and put together again."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["flatten", "map_tree", "same_structure", "spread"]


def is_container(value: Any) -> bool:
    """Whether `value` is a container that is looked into."""
    return type(value) in (list, tuple, dict, OrderedDict) or isinstance(value, tuple)


def _children(tree: Any) -> list:
    return list(tree.values()) if isinstance(tree, dict) else list(tree)


def _rebuilt(tree: Any, children: list) -> Any:
    if isinstance(tree, dict):
        return type(tree)(zip(tree, children))
    return type(tree)(*children) if hasattr(tree, "_fields") else type(tree)(children)


def map_tree(function: Callable, tree: Any) -> Any:
    """The same containers with `function(leaf)` in place of every leaf."""
    return _rebuilt(tree, [map_tree(function, t) for t in _children(tree)]) if is_container(tree) else function(tree)


def flatten(tree: Any) -> tuple[list, Callable[[list], Any]]:
    """All leaves, and the function that puts as many others in their places."""
    leaves: list = []
    map_tree(leaves.append, tree)

    def rebuild(values: list) -> Any:
        remaining: Iterator = iter(values)
        return map_tree(lambda _: next(remaining), tree)

    return leaves, rebuild


def same_structure(a: Any, b: Any) -> bool:
    """Whether two trees differ in their leaves only."""
    if not is_container(a) or not is_container(b):
        return is_container(a) == is_container(b)
    if type(a) is not type(b) or (isinstance(a, dict) and list(a) != list(b)):
        return False
    one, other = _children(a), _children(b)
    return len(one) == len(other) and all(same_structure(x, y) for x, y in zip(one, other))


def spread(prefix: Any, tree: Any) -> list | None:
    """One value of `prefix` for every leaf of `tree`: a value at a container's place counts for all leaves below.

    None if the structures do not fit.
    """
    if not is_container(tree):
        return None if is_container(prefix) else [prefix]
    children = _children(tree)
    if is_container(prefix):
        parts = _children(prefix)
        if type(prefix) is not type(tree) and not (isinstance(prefix, (list, tuple)) and isinstance(tree, (list, tuple))):
            return None
        if len(parts) != len(children):
            return None
    else:
        parts = [prefix] * len(children)
    out: list = []
    for part, child in zip(parts, children):
        below = spread(part, child)
        if below is None:
            return None
        out += below
    return out
