"""torch's own files, read and written, with torch as an optional oracle."""

from __future__ import annotations

import argparse
import collections
import io
import math
import os
import pathlib
import pickle
import struct
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as torch
from engine import nn
from engine.serialization import CheckpointError, SaveError, load, save_torch
from engine.tensor import wrap
from tests.serialization.torch_files import FOUR, LEGACY, ZIPPED, archive, read, tensor_pickle

# ------------------------------------------------------------------------------------------------- reading, no torch


@pytest.mark.parametrize("data", [ZIPPED, LEGACY], ids=["zipped", "legacy"])
def test_stored_files_of_torch(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "f.pt").write_bytes(data)
    for options in ({}, {"map_location": "cpu"}, {"weights_only": True}, {"mmap": True}):
        found = load(tmp_path / "f.pt", **options)  # type: ignore[arg-type]
        weights = found["state_dict"]
        assert weights["weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
        assert weights["bias"].dtype is torch.bfloat16 and weights["bias"].tolist() == [1.5, -2.0]
        assert weights._metadata == {"": {"version": 1}}
        assert isinstance(found["p"], nn.Parameter) and found["p"].requires_grad
        found["column"][0] = 7.0  # shares the memory of the weight
        assert weights["weight"][0, 1].item() == 7.0
    nn.Linear(3, 2).load_state_dict(weights)


def test_a_file_object_is_read_from_its_position() -> None:
    file = io.BytesIO(b"before" + LEGACY)
    file.seek(6)
    assert load(file)["column"].tolist() == [1.0, 4.0]


def test_strides_and_offsets() -> None:
    pickled = tensor_pickle(offset=1, size=(2,), stride=(2,))
    assert read(archive(pickled, {"0": FOUR})).tolist() == [1.0, 3.0]
    assert read(archive(tensor_pickle(size=(3, 2), stride=(0, 1)), {"0": FOUR})).tolist() == [[0.0, 1.0]] * 3
    assert read(archive(tensor_pickle(size=(0, 3), stride=(3, 1)), {"0": FOUR})).shape == (0, 3)
    assert read(archive(tensor_pickle(size=(), stride=()), {"0": FOUR})).item() == 0.0


@pytest.mark.parametrize("kind", ["FloatStorage", "ComplexFloatStorage", "BFloat16Storage", "LongStorage", "HalfStorage"])
def test_the_other_byte_order(kind: str) -> None:
    parts = {"FloatStorage": 4, "ComplexFloatStorage": 4, "BFloat16Storage": 2, "LongStorage": 8, "HalfStorage": 2}[kind]
    data = bytes(range(64))
    swapped = np.frombuffer(data, f"u{parts}").byteswap().tobytes()
    count = {"ComplexFloatStorage": 8}.get(kind, 64 // parts)
    pickled = tensor_pickle(kind, count=count, size=(count,), stride=(1,))
    other = {"little": b"big", "big": b"little"}[sys.byteorder]
    ours = read(archive(pickled, {"0": data}, byteorder=sys.byteorder.encode()))
    theirs = read(archive(pickled, {"0": swapped}, byteorder=other))
    assert theirs.numpy().tobytes() == ours.numpy().tobytes() if kind != "BFloat16Storage" else torch.equal(ours, theirs)


def test_conjugated_and_negated_tensors_are_computed() -> None:
    marks = b"}Vconj\nI01\nsVneg\nI01\ns"
    data = np.array([1 + 2j], "<c8").tobytes()
    pickled = tensor_pickle("ComplexFloatStorage", count=1, size=(1,), stride=(1,), metadata=marks)
    assert read(archive(pickled, {"0": data})).tolist() == [-1 + 2j]


def test_map_location_is_asked_once_per_storage() -> None:
    asked = []

    def where(storage: Any, location: str) -> Any:
        asked.append((location, storage.shape))
        return storage

    data = archive(tensor_pickle(location="cuda:0"), {"0": FOUR})
    assert read(data, map_location=where).tolist() == [[0.0, 1.0], [2.0, 3.0]]
    assert asked == [("cuda:0", (4,))]
    assert read(data, map_location={"cuda:0": "cpu"}).device.type == "cpu"
    if not torch.cuda.is_available():
        with pytest.raises(CheckpointError, match="were on cuda:0.*HINT: load"):
            read(data)
    with pytest.raises(CheckpointError, match="were on mps:0"):
        read(archive(tensor_pickle(location="mps:0"), {"0": FOUR}))


def test_plain_values_of_every_pickle_protocol_that_torch_writes() -> None:
    value = {
        "texts": ["a", "é\n", ""], "numbers": (1, -1, 2**40, 2**80, -(2**90), 0.5, math.inf), "words": [None, True, False],
        "complex": 1 + 2j, "bytes": b"\xff\x00", "nothing": b"", "bytearray": bytearray(b"ab"), "set": {1, 2},
        "frozen": frozenset({(1, "a")}), "ordered": collections.OrderedDict(a=1), "counter": collections.Counter("aab"),
        "default": collections.defaultdict(list, {3: [4]}), "deque": collections.deque([1, 2], 2), "range": range(3),
        "slice": slice(1, None), "namespace": argparse.Namespace(lr=0.1), "path": pathlib.PurePosixPath("a/b"),
    }  # fmt: skip
    for protocol in range(2, 6):
        found = read(archive(pickle.dumps(value, protocol)))
        assert {**found, "path": str(found["path"])} == {**value, "path": "a/b"}
        assert [type(found[key]) for key in value if key != "path"] == [type(value[k]) for k in value if k != "path"]
        assert found["default"].default_factory is list and found["deque"].maxlen == 2


@pytest.mark.parametrize("protocol", range(6))
def test_numpy_arrays_and_numbers(protocol: int) -> None:
    arrays = [np.arange(6.0).reshape(2, 3), np.arange(6).reshape(2, 3).T, np.arange(3, dtype=">i4"), np.zeros((0, 2)),
              np.array(["ab", "c"]), np.array(True), np.arange(2000, dtype=np.int16)]  # fmt: skip
    found = read(archive(pickle.dumps([*arrays, np.float32(1.5), np.int64(3)], protocol)))
    for ours, theirs in zip(found, arrays):
        assert ours.shape == theirs.shape and np.array_equal(ours, theirs) and ours.flags.writeable
    assert found[-2:] == [1.5, 3] and isinstance(found[-2], np.float32)


@pytest.mark.parametrize("name", ["lightning.fabric.utilities.data", "pytorch_lightning.utilities.parsing"])
def test_the_hyper_parameters_of_lightning_become_a_dict(name: str) -> None:
    found = read(archive(b"\x80\x02c%s\nAttributeDict\n)\x81(Vlr\nF0.5\nu." % name.encode()))
    assert found == {"lr": 0.5} and type(found) is dict


def test_what_was_one_object_is_one_object() -> None:
    shared = [1]
    found = read(archive(pickle.dumps({"a": shared, "b": shared})))
    assert found["a"] is found["b"]


# --------------------------------------------------------------------------------------------------------- writing


def everything() -> dict[str, Any]:
    weight = torch.arange(12.0).reshape(3, 4)
    value = {
        "state_dict": nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)).state_dict(),
        "weight": weight, "again": weight, "column": weight[:, 1], "transposed": weight.t()[1:],
        "parameter": nn.Parameter(torch.ones(2)), "frozen": nn.Parameter(torch.ones(2), requires_grad=False),
        "leaf": torch.ones(2, requires_grad=True), "buffer": nn.Buffer(torch.ones(1)), "flipped": torch.flip(weight, [0]),
        "expanded": torch.ones(1).expand(5), "empty": torch.empty(0, 3), "number": torch.tensor(3),
        "half": torch.tensor([1.5], dtype=torch.float16), "brain": torch.tensor([1.5, 2.5], dtype=torch.bfloat16),
        "complex": torch.tensor([1 + 2j]), "bools": torch.tensor([True, False]),
        "unsigned": torch.tensor([1, 2, 3], dtype=torch.uint16)[1:], "bytes": b"\xff\x00", "array": bytearray(b"ab"),
        "words": [None, True, False], "numbers": (0, -5, 2**31, -(2**31), 2**80, -0.5, 1j), "texts": ["é", ""],
        "set": {1, 2}, "counter": collections.Counter("aab"), "size": torch.Size([1, 2]), "dtype": torch.bool,
        "device": torch.device("cuda:1"), 3: {"nested": [()]},
    }  # fmt: skip
    value["tagged"] = tagged = torch.ones(1)
    tagged.note = value["marked"] = nn.Parameter(torch.ones(1))
    value["marked"].note = "mine"
    return value


def test_written_files_are_read_back(tmp_path: Path) -> None:
    value = everything()
    save_torch(value, tmp_path / "f.pt")
    found = load(tmp_path / "f.pt")
    assert str(found) == str(value)
    assert found["again"] is found["weight"] and found["tagged"].note is found["marked"]
    assert found["marked"].note == "mine" and found["state_dict"]._metadata == value["state_dict"]._metadata
    found["weight"][0, 1] = 50.0
    assert found["column"][0].item() == 50.0 and found["transposed"][0, 0].item() == 50.0
    assert list(tmp_path.iterdir()) == [tmp_path / "f.pt"]


def test_the_same_object_gives_the_same_bytes_and_aligned_storages() -> None:
    first, second = io.BytesIO(), io.BytesIO()
    save_torch(everything(), first)
    save_torch(everything(), second)
    everything_but_weights = len(first.getvalue())
    assert everything_but_weights == len(second.getvalue())
    data = first.getvalue()
    for info in zipfile.ZipFile(first).infolist():
        name, extra = struct.unpack("<HH", data[info.header_offset + 26 : info.header_offset + 30])
        assert (info.header_offset + 30 + name + extra) % 64 == 0


def test_only_what_is_used_is_written(tmp_path: Path) -> None:
    save_torch(torch.zeros(1000, 1000)[:2, :2], tmp_path / "f.pt")
    assert os.path.getsize(tmp_path / "f.pt") < 10_000


def test_memory_that_torch_has_no_strides_for_is_copied(tmp_path: Path) -> None:
    mixed = np.zeros(3, [("a", "i1"), ("b", "f4")])  # the floats are 5 bytes apart
    mixed["b"] = [1.0, 2.0, 3.0]
    save_torch([wrap(np.arange(3.0)[::-1]), wrap(mixed["b"])], tmp_path / "f.pt")
    assert [tensor.tolist() for tensor in load(tmp_path / "f.pt")] == [[2.0, 1.0, 0.0], [1.0, 2.0, 3.0]]


class Own:
    pass


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (Own(), "the object itself is of class .*Own"),
        ({"a": [Own()]}, r"`a\.0` is of class"),
        (np.ones(1), "numpy.ndarray"),
        (nn.Linear(1, 1), "Linear.*HINT: state_dict"),
        (pathlib.Path("a"), "Path"),
        (2**3000, "integers"),
        ({"f": print}, "builtin_function"),
    ],
)
def test_what_cannot_be_written_is_named_and_the_old_file_stays(value: Any, text: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    with pytest.raises(SaveError, match=text):
        save_torch(value, tmp_path / "f")
    assert (tmp_path / "f").read_bytes() == b"old" and len(list(tmp_path.iterdir())) == 1


def test_what_contains_itself_or_two_types_of_one_memory_is_not_written() -> None:
    loop: list[Any] = []
    loop.append(loop)
    with pytest.raises(SaveError, match="contains itself"):
        save_torch({"a": loop}, io.BytesIO())
    deep: list[Any] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(SaveError, match="too deeply"):
        save_torch(deep, io.BytesIO())
    number = torch.tensor([1 + 2j])
    with pytest.raises(SaveError, match="different element types.*c, r.*clone"):
        save_torch({"c": number, "r": torch.view_as_real(number)}, io.BytesIO())
    with pytest.raises(TypeError, match="expected a path or a file object"):
        save_torch({}, 3)  # type: ignore[arg-type]


# ---------------------------------------------------------------------------------------------- with torch as oracle


def same(ours: Any, theirs: Any) -> bool:
    if isinstance(ours, torch.Tensor):
        facts = str(ours.dtype) == str(theirs.dtype) and tuple(ours.shape) == tuple(theirs.shape)
        return facts and ours.requires_grad == theirs.requires_grad and ours.tolist() == theirs.tolist()
    if isinstance(ours, dict):
        return list(map(str, ours)) == list(map(str, theirs)) and all(map(same, ours.values(), theirs.values()))
    if isinstance(ours, (list, tuple)):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    return str(ours) == str(theirs)


def test_torch_reads_what_we_write(tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    value = everything()
    save_torch(value, tmp_path / "f.pt")
    for mmap in (False, True):
        found = oracle.load(tmp_path / "f.pt", weights_only=True, mmap=mmap)
        assert same(value, found)
        assert isinstance(found["parameter"], oracle.nn.Parameter)
        assert found["again"] is found["weight"] and found["marked"].note == "mine"
        found["weight"][0, 1] = 50.0
        assert found["column"][0] == 50.0
    oracle.nn.Sequential(oracle.nn.Linear(2, 3), oracle.nn.BatchNorm1d(3)).load_state_dict(found["state_dict"])


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("protocol", [2, 4])
def test_we_read_what_torch_writes(zipped: bool, protocol: int, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    kinds = ("float64", "float16", "bfloat16", "int8", "uint8", "int16", "int32", "int64", "bool", "complex64", "complex128")
    model = oracle.nn.Sequential(oracle.nn.Linear(2, 3), oracle.nn.BatchNorm1d(3))
    optimizer = oracle.optim.Adam(model.parameters())
    model(oracle.ones(4, 2)).sum().backward()
    optimizer.step()
    value = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "parameter": model[0].weight,
        "tensors": [oracle.arange(3).to(getattr(oracle, kind)) for kind in kinds], "size": oracle.Size([2]),
        "conj": oracle.tensor([1 + 2j]).conj(), "transposed": oracle.arange(6.0).reshape(2, 3).t(),
        "buffer": oracle.nn.Buffer(oracle.ones(1)), "dtype": oracle.float32, "device": oracle.device("cpu"),
    }  # fmt: skip
    oracle.save(value, tmp_path / "f.pt", _use_new_zipfile_serialization=zipped, pickle_protocol=protocol)
    found = load(tmp_path / "f.pt")
    assert same(found, value)
    assert found["transposed"].stride() == (1, 3)


def test_sparse_tensors_of_torch() -> None:
    oracle = pytest.importorskip("torch")
    indices, values = oracle.tensor([[0, 2], [1, 0]]), oracle.tensor([1.5, -2.0])
    plain = oracle.sparse_coo_tensor(indices, values, (3, 2))
    for theirs in (plain, plain.coalesce()):
        file = io.BytesIO()
        oracle.save({"w": theirs}, file)
        ours = load(io.BytesIO(file.getvalue()))["w"]
        assert ours.is_sparse and ours.is_coalesced() == theirs.is_coalesced()
        assert ours.to_dense().tolist() == theirs.to_dense().tolist()


def test_unsigned_integers_of_torch() -> None:
    oracle = pytest.importorskip("torch")
    for name in ("uint16", "uint32", "uint64"):
        buffer = io.BytesIO()
        oracle.save(oracle.tensor([1, 2, 3]).to(getattr(oracle, name))[1:], buffer)
        found = read(buffer.getvalue())
        assert found.dtype is getattr(torch, name) and found.tolist() == [2, 3]


@pytest.mark.parametrize("zipped", [True, False])
def test_a_whole_module_of_torch_is_refused_by_name(zipped: bool) -> None:
    oracle = pytest.importorskip("torch")
    buffer = io.BytesIO()
    oracle.save(oracle.nn.Linear(1, 1), buffer, _use_new_zipfile_serialization=zipped)
    with pytest.raises(CheckpointError, match=r"torch\.nn\.modules\.linear\.Linear.*HINT.*state_dict"):
        read(buffer.getvalue())
