"""What is saved comes back: values, types, identity, and memory that was shared."""

from __future__ import annotations

import enum
import io
import math
import pathlib
import random
from collections import Counter, OrderedDict, defaultdict, deque, namedtuple
from typing import Any

import numpy as np
import pytest

import engine as torch
from engine.serialization import SaveError, load, read_metadata, save

Point = namedtuple("Point", "x y")
ALL_DTYPES = ("bool", "uint8", "int8", "int16", "int32", "int64", "uint16", "uint32", "uint64",
              "float16", "bfloat16", "float32", "float64", "complex64", "complex128")  # fmt: skip


class Color(enum.Enum):
    RED = 1


class Settings(dict):
    def __getattr__(self, name: str) -> Any:
        return self[name]


def through_file(obj: Any, **options: Any) -> Any:
    buffer = io.BytesIO()
    save(obj, buffer)
    buffer.seek(0)
    return load(buffer, **options)


def same(a: Any, b: Any) -> bool:
    """Equal values of equal types, NaN being equal to itself."""
    if type(a) is not type(b):
        return False
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and a.shape == b.shape and a._array.tobytes() == b._array.tobytes()
    if isinstance(a, np.ndarray):
        return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, dict):
        return list(a) == list(b) and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple, deque)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b or (isinstance(a, (float, complex)) and repr(a) == repr(b))


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 2**53, 2**53 + 1, -(2**200), 0.1, -0.0, 1e-320, math.inf, -math.inf, math.nan, 1 + 2j,
        complex(math.nan, -math.inf), "", "text", "\ud800", "$tag", b"", b"\x00\xff", b"x" * 1000, bytearray(b"ab"),
        [], [1, [2.0, ["3"]]], [1, -(2**70)], [1.0, math.inf], (True, "a", None),
        list(range(700)), (), (1,), ((1, 2), [3]), set(), {3, 1, 2}, frozenset({"a"}), range(1, 10, 3),
        slice(None, 5, None), pathlib.Path("a") / "b.txt", {}, {"a": {"b": [None]}}, {1: "int", "1": "text"},
        {(1, 2): 3, None: 4, 1.5: 5}, {"$tensor": 0}, {"$dict": [[1, 2]]}, OrderedDict([("b", 1), ("a", 2)]),
        Counter("abca"), defaultdict(list, {"a": [1]}), defaultdict(None), deque([1, 2], maxlen=3), Point(1, y="2"),
        Color.RED, Settings(lr=0.1), np.float32(0.1), np.int64(7), np.bool_(True),
    ],
    ids=repr,
)  # fmt: skip
def test_plain_data(value: Any) -> None:
    assert same(through_file(value), value)
    assert same(through_file({"nested": [value]}), {"nested": [value]})


def test_minus_zero_keeps_its_sign() -> None:
    assert math.copysign(1, through_file(-0.0)) == -1


def test_a_dict_keeps_its_order() -> None:
    keys = [str(i) for i in range(50)]
    random.Random(0).shuffle(keys)
    assert list(through_file(dict.fromkeys(keys))) == keys


def test_engine_values() -> None:
    for value in (torch.Size([2, 3]), torch.float32, torch.bfloat16, torch.device("cpu"), torch.device("cuda:1")):
        assert same(through_file(value), value)


def test_a_state_dict_keeps_its_class_and_metadata() -> None:
    state = torch.nn.Linear(2, 1).state_dict()
    state._metadata = OrderedDict([("", {"version": 1})])
    back = through_file(state)
    assert type(back) is OrderedDict and back._metadata == state._metadata
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_a_generator_continues_its_stream() -> None:
    generator = torch.Generator().manual_seed(3)
    torch.randn(5, generator=generator)
    again = through_file({"rng": generator})["rng"]
    assert torch.equal(torch.randn(7, generator=again), torch.randn(7, generator=generator))


@pytest.mark.parametrize("name", ALL_DTYPES)
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3), (2, 3)], ids=str)
def test_tensors_of_every_dtype_and_shape(name: str, shape: tuple[int, ...]) -> None:
    dtype = getattr(torch, name)
    tensor = (torch.arange(math.prod(shape)).reshape(shape) % 2).to(dtype)
    assert same(through_file(tensor), tensor)


def test_special_values_are_bit_exact() -> None:
    array = np.array([0x7FC00001, 0xFF800000, 0x80000000, 1], np.uint32).view(np.float32)
    assert through_file(torch.from_numpy(array)).numpy().tobytes() == array.tobytes()


def test_requires_grad_and_class_are_kept() -> None:
    leaf = torch.ones(2, requires_grad=True)
    weight = torch.nn.Parameter(torch.ones(2))
    frozen = torch.nn.Parameter(torch.ones(2), requires_grad=False)
    back = through_file([leaf, weight, frozen, torch.ones(2)])
    assert [type(t) for t in back] == [torch.Tensor, torch.nn.Parameter, torch.nn.Parameter, torch.Tensor]
    assert [t.requires_grad for t in back] == [True, True, False, False]
    (back[0] * back[1]).sum().backward()
    assert torch.equal(back[1].grad, torch.ones(2))


@pytest.mark.parametrize(
    "make",
    [
        lambda x: x.t(),
        lambda x: x[::2],
        lambda x: x[:, 1],
        lambda x: x[1:3, 2:],
        lambda x: x[:1].expand(7, 4),
        lambda x: x[2, 3],
    ],
    ids=["transposed", "every second row", "column", "block", "expanded", "element"],
)
def test_views_are_saved_with_what_they_show(make: Any) -> None:
    view = make(torch.arange(12.0).reshape(3, 4))
    assert torch.equal(through_file(view), view)


def test_a_view_does_not_drag_its_base_along(tmp_path: pathlib.Path) -> None:
    save(torch.zeros(100_000)[:10], tmp_path / "view")
    assert (tmp_path / "view").stat().st_size < 2000


def test_an_expanded_tensor_stays_small(tmp_path: pathlib.Path) -> None:
    wide = torch.ones(1, 1).expand(1000, 1000)
    save(wide, tmp_path / "wide")
    assert (tmp_path / "wide").stat().st_size < 2000
    assert load(tmp_path / "wide").shape == (1000, 1000)


def test_one_tensor_met_twice_is_one_tensor_again() -> None:
    x = torch.ones(2)
    back = through_file({"a": x, "b": [x]})
    assert back["a"] is back["b"][0]


def test_tied_weights_stay_tied() -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 3, bias=False), torch.nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    state = through_file(model.state_dict())
    state["0.weight"].fill_(5.0)
    assert torch.equal(state["1.weight"], torch.full((3, 3), 5.0))


def test_a_tensor_and_its_views_share_memory_again() -> None:
    base = torch.arange(12.0).reshape(3, 4)
    back = through_file({"row": base[1], "base": base, "column": base[:, 2], "corner": base[2, 3], "turned": base.t()})
    back["base"].zero_()
    assert all(torch.equal(t, torch.zeros_like(t)) for t in back.values())


def test_overlapping_views_without_their_base_share_memory_again() -> None:
    base = torch.arange(10)
    back = through_file([base[2:6], base[4:9]])
    assert back[0].tolist() == [2, 3, 4, 5] and back[1].tolist() == [4, 5, 6, 7, 8]
    back[0][2] = 99
    assert back[1][0] == 99


def test_a_tensor_and_the_array_it_was_made_from_share_memory_again() -> None:
    array = np.arange(4.0)
    back = through_file({"array": array, "reversed": array[::-1], "tensor": torch.from_numpy(array)})
    back["array"][0] = 7.0
    assert back["tensor"][0] == 7.0 and back["reversed"][-1] == 7.0


def test_neighbours_in_one_buffer_are_saved_under_their_own_names(tmp_path: pathlib.Path) -> None:
    flat = torch.arange(6.0)  # as an optimizer that keeps all parameters in one piece has them
    save({"a": flat[:2], "b": flat[2:]}, tmp_path / "f")
    assert set(read_metadata(tmp_path / "f")["tensors"]) == {"a", "b"}


def test_loaded_tensors_can_be_written_to() -> None:
    back = through_file({"x": torch.zeros(2)})
    back["x"] += 1
    assert back["x"].tolist() == [1.0, 1.0]


def test_an_optimizer_continues_where_it_was() -> None:
    def steps(model: Any, optimizer: Any, count: int) -> None:
        for _ in range(count):
            optimizer.zero_grad()
            (model(torch.ones(1, 3)) ** 2).sum().backward()
            optimizer.step()

    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    steps(model, optimizer, 2)
    saved = through_file({"model": model.state_dict(), "optimizer": optimizer.state_dict()})
    steps(model, optimizer, 2)
    twin = torch.nn.Linear(3, 2)
    twin.load_state_dict(saved["model"])
    other = torch.optim.Adam(twin.parameters(), lr=0.5)
    other.load_state_dict(saved["optimizer"])
    steps(twin, other, 2)
    assert torch.equal(twin.weight, model.weight) and torch.equal(twin.bias, model.bias)


def test_a_structure_that_contains_itself_is_refused() -> None:
    loop: list[Any] = []
    loop.append({"again": loop})
    with pytest.raises(SaveError, match=r"`0\.again` contains itself"):
        through_file(loop)


def test_the_same_list_twice_is_no_loop() -> None:
    shared = [1]
    assert through_file([shared, shared]) == [[1], [1]]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (lambda x: x, r"`config\.0` is the function .*<lambda>"),
        (math.sin, r"`config\.0` is the function sin"),
        (object(), r"`config\.0` is an object of class builtins\.object"),
        (np.array(["text"]), r"`config\.0` cannot be written.*<U4"),
        (np.array([object()]), r"`config\.0` cannot be written"),
        (defaultdict(lambda: 0), r"`config\.0` is a defaultdict with a factory"),
        (int, r"`config\.0` is the class int"),
        (iter([1]), r"`config\.0` is an object of class builtins\.list_iterator"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_saved_is_named(value: Any, text: str, tmp_path: pathlib.Path) -> None:
    with pytest.raises(SaveError, match=text):
        save({"config": [value]}, tmp_path / "f")
    assert list(tmp_path.iterdir()) == []


def test_a_class_that_cannot_be_found_again_is_refused() -> None:
    local = namedtuple("local", "x")
    with pytest.raises(SaveError, match="cannot be found by that name"):
        through_file(local(1))
