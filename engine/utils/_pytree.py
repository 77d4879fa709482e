"""Nested tuples, lists and dictionaries as trees: taken apart into leaves, mapped, and put together again.

The names are those of torch's module of the same name, which many libraries import although it is private there.

>>> from engine.utils import _pytree as pytree
>>> pytree.tree_map(lambda x: 2 * x, {"a": 1, "b": [2, (3, 4)]})
{'a': 2, 'b': [4, (6, 8)]}
>>> leaves, spec = pytree.tree_flatten([1, {"x": 2}])
>>> leaves, pytree.tree_unflatten([5, 6], spec)
([1, 2], [5, {'x': 6}])
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

__all__ = ["Context", "GetAttrKey", "LeafSpec", "MappingKey", "PyTree", "SequenceKey", "TreeSpec", "keystr",
           "register_pytree_node", "tree_all", "tree_any", "tree_flatten", "tree_flatten_with_path", "tree_is_leaf",
           "tree_iter", "tree_leaves", "tree_map", "tree_map_", "tree_map_only", "tree_map_with_path", "tree_structure",
           "tree_unflatten"]  # fmt: skip

PyTree = Context = Any

# type -> (take apart: children and what else is needed, put together)
_NODES: dict[type, tuple[Callable[[Any], tuple[list, Any]], Callable[[Iterable, Any], Any]]] = {
    tuple: (lambda t: (list(t), None), lambda children, _: tuple(children)),
    list: (lambda t: (list(t), None), lambda children, _: list(children)),
    dict: (lambda t: (list(t.values()), list(t)), lambda children, keys: dict(zip(keys, children))),
    OrderedDict: (lambda t: (list(t.values()), list(t)), lambda children, keys: OrderedDict(zip(keys, children))),
    defaultdict: (lambda t: (list(t.values()), (t.default_factory, list(t))),
                  lambda children, context: defaultdict(context[0], zip(context[1], children))),
    deque: (lambda t: (list(t), t.maxlen), lambda children, longest: deque(children, maxlen=longest)),
}  # fmt: skip


@dataclass(frozen=True)
class TreeSpec:
    """The shape of a tree without its leaves: the node's type, what it needs besides its children, and their specs."""

    type: Any
    context: Any
    children_specs: list[TreeSpec]

    @property
    def num_leaves(self) -> int:
        """How many leaves there are."""
        return sum(child.num_leaves for child in self.children_specs) if self.type is not None else 1

    @property
    def num_children(self) -> int:
        """How many children the node has."""
        return len(self.children_specs)

    def is_leaf(self) -> bool:
        """Whether this is a leaf's."""
        return self.type is None


def LeafSpec() -> TreeSpec:  # noqa: N802  (torch's name)
    """The spec of a leaf."""
    return TreeSpec(None, None, [])


def register_pytree_node(cls: type, flatten_fn: Callable, unflatten_fn: Callable, **kwargs: Any) -> None:
    """Count instances of `cls` as nodes: `flatten_fn(x)` gives (children, context), `unflatten_fn(children, context)` x."""
    _NODES[cls] = (lambda t: (list(flatten_fn(t)[0]), flatten_fn(t)[1]), unflatten_fn)


_register_pytree_node = register_pytree_node


@dataclass(frozen=True)
class SequenceKey:
    """Where a leaf is in a sequence."""

    idx: int

    def __str__(self) -> str:
        return f"[{self.idx}]"


@dataclass(frozen=True)
class MappingKey:
    """Where a leaf is in a mapping."""

    key: Any

    def __str__(self) -> str:
        return f"[{self.key!r}]"


@dataclass(frozen=True)
class GetAttrKey:
    """Where a leaf is among the fields of a named tuple."""

    name: str

    def __str__(self) -> str:
        return f".{self.name}"


def keystr(kp: Iterable[Any]) -> str:
    """A path as text, like ``['a'][0]``."""
    return "".join(map(str, kp))


def _keys(kind: type, context: Any, count: int) -> list:
    if hasattr(kind, "_fields"):
        return [GetAttrKey(name) for name in kind._fields]
    if issubclass(kind, dict):
        return [MappingKey(key) for key in (context[1] if kind is defaultdict else context)]
    return [SequenceKey(i) for i in range(count)]


def _dict_flatten(d: dict) -> tuple[list, list]:
    return list(d.values()), list(d)


def _dict_flatten_with_keys(d: dict) -> tuple[list, list]:
    return [(MappingKey(key), value) for key, value in d.items()], list(d)


def _dict_unflatten(values: Iterable, context: list) -> dict:
    return dict(zip(context, values))


def _is_named(tree: Any) -> bool:
    return isinstance(tree, tuple) and hasattr(tree, "_fields")


def _apart(tree: Any, is_leaf: Callable | None) -> tuple[Any, list, Any] | None:
    """(type, children, context) of a node, None for a leaf."""
    if is_leaf is not None and is_leaf(tree):
        return None
    if _is_named(tree):
        return type(tree), list(tree), None
    known = _NODES.get(type(tree))
    return None if known is None else (type(tree), *known[0](tree))


def tree_flatten(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """(the leaves from left to right, the spec that puts them together again)."""
    node = _apart(tree, is_leaf)
    if node is None:
        return [tree], LeafSpec()
    leaves, specs = [], []
    for child in node[1]:
        more, spec = tree_flatten(child, is_leaf)
        leaves += more
        specs.append(spec)
    return leaves, TreeSpec(node[0], node[2], specs)


def tree_is_leaf(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `tree` is not looked into."""
    return _apart(tree, is_leaf) is None


def tree_flatten_with_path(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> tuple[list, TreeSpec]:
    """([(the keys that lead to it, leaf), ...], the spec)."""
    leaves, spec = tree_flatten(tree, is_leaf)
    return list(zip(_paths(spec), leaves)), spec


def _paths(spec: TreeSpec) -> list[tuple]:
    if spec.type is None:
        return [()]
    keys = _keys(spec.type, spec.context, spec.num_children)
    return [(key, *path) for key, child in zip(keys, spec.children_specs) for path in _paths(child)]


def tree_map_with_path(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map` of `func(path, leaf, ...)`."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves, *(tree_leaves(rest, is_leaf) for rest in rests)]
    return tree_unflatten([func(path, *row) for path, row in zip(_paths(spec), zip(*columns))], spec)


def _broadcast_to_and_flatten(tree: Any, treespec: TreeSpec, is_leaf: Callable[[Any], bool] | None = None) -> list | None:
    """One value of `tree` for every leaf of `treespec`: a value at a node's place counts for all leaves below.

    None if the structures do not fit; a list fits a tuple.
    """
    node = _apart(tree, is_leaf)
    if node is None:
        return [tree] * treespec.num_leaves
    if treespec.type is None or treespec.num_children != len(node[1]):
        return None
    if node[0] is not treespec.type and not (issubclass(node[0], (list, tuple)) and issubclass(treespec.type, (list, tuple))):
        return None
    out: list = []
    for child, spec in zip(node[1], treespec.children_specs):
        below = _broadcast_to_and_flatten(child, spec, is_leaf)
        if below is None:
            return None
        out += below
    return out


def tree_unflatten(leaves: Iterable[Any], treespec: TreeSpec) -> Any:
    """The tree of `treespec` with these leaves. ValueError for a wrong number of them."""
    leaves = list(leaves)
    if len(leaves) != treespec.num_leaves:
        raise ValueError(f"tree_unflatten(leaves, treespec): `leaves` has length {len(leaves)} but the spec refers to a pytree "
                         f"that holds {treespec.num_leaves} items ({treespec}).")
    rest = iter(leaves)

    def build(spec: TreeSpec) -> Any:
        if spec.type is None:
            return next(rest)
        children = [build(child) for child in spec.children_specs]
        return spec.type(*children) if hasattr(spec.type, "_fields") else _NODES[spec.type][1](children, spec.context)

    return build(treespec)


def tree_leaves(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> list:
    """The leaves from left to right."""
    return tree_flatten(tree, is_leaf)[0]


def tree_iter(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Iterable:
    """An iterator over the leaves."""
    return iter(tree_leaves(tree, is_leaf))


def tree_structure(tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> TreeSpec:
    """The spec alone."""
    return tree_flatten(tree, is_leaf)[1]


def tree_map(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """The tree with `func(leaf, ...)` for every leaf; further trees have the same structure. ValueError if they have not."""
    leaves, spec = tree_flatten(tree, is_leaf)
    columns = [leaves]
    for rest in rests:
        more, other = tree_flatten(rest, is_leaf)
        if other != spec:
            raise ValueError(f"tree_map(): the trees differ: {spec} and {other}")
        columns.append(more)
    return tree_unflatten([func(*row) for row in zip(*columns)], spec)


def tree_map_(func: Callable, tree: Any, *rests: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """Call `func` on every leaf for what it does; returns the tree."""
    tree_map(func, tree, *rests, is_leaf=is_leaf)
    return tree


def tree_map_only(type_or_types: Any, func: Callable, tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> Any:
    """`tree_map`, for leaves of these types; others stay."""
    return tree_map(lambda leaf: func(leaf) if isinstance(leaf, type_or_types) else leaf, tree, is_leaf=is_leaf)


def tree_all(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for every leaf."""
    return all(map(pred, tree_leaves(tree, is_leaf)))


def tree_any(pred: Callable[[Any], bool], tree: Any, is_leaf: Callable[[Any], bool] | None = None) -> bool:
    """Whether `pred` holds for some leaf."""
    return any(map(pred, tree_leaves(tree, is_leaf)))
