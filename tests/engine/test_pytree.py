"""engine.utils._pytree: trees taken apart and put together, as torch does it."""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque, namedtuple

import pytest

import engine
from engine.utils import _pytree as pytree

Point = namedtuple("Point", "x y")
TREES = [1, (1, 2), [1, [2, ()]], {"b": 1, "a": (2, 3)}, OrderedDict(b=1, a=[2]), Point(1, [2]), deque([1, 2], maxlen=3),
         defaultdict(list, a=1), None, {}]  # fmt: skip


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_a_tree_survives_flattening(tree) -> None:
    leaves, spec = pytree.tree_flatten(tree)
    back = pytree.tree_unflatten(leaves, spec)
    assert back == tree and type(back) is type(tree)
    assert spec.num_leaves == len(leaves) and spec == pytree.tree_structure(back)


@pytest.mark.parametrize("tree", TREES, ids=repr)
def test_leaves_come_in_torchs_order(tree) -> None:
    theirs = pytest.importorskip("torch").utils._pytree
    assert pytree.tree_leaves(tree) == theirs.tree_leaves(tree)
    assert pytree.tree_map(str, tree) == theirs.tree_map(str, tree)


def test_maps() -> None:
    assert pytree.tree_map(lambda a, b: a + b, [1, (2,)], [10, (20,)]) == [11, (22,)]
    assert pytree.tree_map(len, [[1, 2], [3]], is_leaf=lambda x: isinstance(x, list) and x and isinstance(x[0], int)) == [2, 1]
    halves = pytree.tree_map_only(engine.Tensor, lambda t: t / 2, {"t": engine.ones(1), "n": 1})
    assert halves["t"].item() == 0.5 and halves["n"] == 1
    assert pytree.tree_all(bool, [1, (True,)]) and not pytree.tree_any(bool, [0, ()])
    with pytest.raises(ValueError, match="differ"):
        pytree.tree_map(max, [1], (1,))
    with pytest.raises(ValueError, match="length 1"):
        pytree.tree_unflatten([1], pytree.tree_structure([1, 2]))


def test_own_classes_become_nodes() -> None:
    class Pair:
        def __init__(self, a, b):
            self.a, self.b = a, b

    pytree.register_pytree_node(Pair, lambda p: ([p.a, p.b], None), lambda children, _: Pair(*children))
    mapped = pytree.tree_map(lambda x: -x, Pair(1, (2,)))
    assert (mapped.a, mapped.b) == (-1, (-2,))
    pytree._NODES.pop(Pair)


def test_in_place_forms_take_the_number_first_as_old_programs_write_it() -> None:
    t = engine.ones(2)
    with pytest.warns(UserWarning, match="deprecated"):
        t.add_(2, engine.ones(2))
    with pytest.warns(UserWarning, match="value=number"):
        t.addcmul_(0.5, engine.ones(2), engine.full((2,), 4.0))
    assert t.tolist() == [5.0, 5.0]
    with pytest.raises(TypeError):
        t.add_(2, 3)


@pytest.mark.parametrize("tree", [t for t in TREES if not isinstance(t, deque)], ids=repr)
def test_paths_are_torchs(tree) -> None:
    theirs = pytest.importorskip("torch").utils._pytree
    names = [[(lib.keystr(path), leaf) for path, leaf in lib.tree_flatten_with_path(tree)[0]] for lib in (pytree, theirs)]
    assert names[0] == names[1]
    assert pytree.tree_map_with_path(lambda path, x: x, tree) == tree


@pytest.mark.parametrize("dims", [0, (0, 1), (None, (1, 2)), (0, (1, 2, 3)), (1, {"a": 2})])
def test_one_value_for_every_leaf_below(dims) -> None:
    theirs = pytest.importorskip("torch").utils._pytree
    tree = (5, (6, 7))
    assert (pytree._broadcast_to_and_flatten(dims, pytree.tree_structure(tree))
            == theirs._broadcast_to_and_flatten(dims, theirs.tree_structure(tree)))
