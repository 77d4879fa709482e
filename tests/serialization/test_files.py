"""Files: atomic writing, readers of other software, and every kind of damage refused by name."""

from __future__ import annotations

import errno
import io
import json
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import engine as torch
from engine.serialization import (
    CheckpointError,
    atomic,
    container,
    files,
    load,
    load_file,
    read_metadata,
    save,
    save_file,
)
from tests.serialization.tampering import rewrite_structure

OBJECT = {"state_dict": {"a.weight": torch.arange(6.0).reshape(2, 3), "a.mask": torch.tensor([True, False])},
          "optimizer": [{"step": torch.tensor(3.0)}], "epoch": 7}  # fmt: skip


@pytest.fixture
def path(tmp_path: Path) -> Path:
    save(OBJECT, tmp_path / "good")
    return tmp_path / "good"


def put(path: Path, header: Any, data: bytes) -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


# ------------------------------------------------------------------------------------------------------- writing


def test_a_save_replaces_the_file_and_leaves_nothing_else(path: Path) -> None:
    save({"epoch": 8}, path)
    assert load(path) == {"epoch": 8}
    assert list(path.parent.iterdir()) == [path]


class FullDisk:
    """Lets `count` calls of write through, then says that the disk is full."""

    def __init__(self, file: Any, count: int) -> None:
        self.file, self.count = file, count

    def write(self, data: Any) -> int:
        self.count -= 1
        if self.count < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return self.file.write(data)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.file, name)


@pytest.mark.parametrize("count", range(5))
def test_a_full_disk_at_any_write_leaves_the_old_file_whole(path: Path, count: int, monkeypatch: Any) -> None:
    before = path.read_bytes()
    inner = container._write_to
    monkeypatch.setattr(container, "_write_to", lambda file, *rest: inner(FullDisk(file, count), *rest))
    with pytest.raises(OSError, match="No space left"):
        save(OBJECT, path)
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_failure_at_the_end_leaves_the_old_file_whole(path: Path, failing: str, monkeypatch: Any) -> None:
    before = path.read_bytes()

    def fail(*args: Any) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(atomic.os, failing, fail)
    with pytest.raises(OSError, match="Input/output"):
        save({}, path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_file_and_directory_are_flushed_around_the_rename(path: Path, monkeypatch: Any) -> None:
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def kind(handle: int) -> str:
        return "directory" if os.path.isdir(f"/dev/fd/{handle}") else "file"

    monkeypatch.setattr(atomic.os, "fsync", lambda handle: (calls.append(kind(handle)), fsync(handle)))
    monkeypatch.setattr(atomic.os, "replace", lambda a, b: (calls.append("rename"), replace(a, b)))
    save({}, path)
    assert calls == ["file", "rename", "directory"]


def test_what_cannot_be_saved_leaves_the_old_file_whole(path: Path) -> None:
    before = path.read_bytes()
    with pytest.raises(TypeError):
        save({"f": print}, path)
    assert path.read_bytes() == before


def test_a_symbolic_link_is_written_through(path: Path) -> None:
    link = path.with_name("link")
    link.symlink_to(path)
    save({"epoch": 9}, link)
    assert link.is_symlink() and load(path) == {"epoch": 9}


def test_a_missing_directory_and_a_directory_are_named(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"parent directory {tmp_path}/no does not exist"):
        save({}, tmp_path / "no" / "file")
    with pytest.raises(IsADirectoryError, match="it is a directory"):
        save({}, tmp_path)
    with pytest.raises(TypeError, match="expected a path or a file object"):
        save({}, 3)  # type: ignore[arg-type]


def test_the_same_object_gives_the_same_bytes(path: Path) -> None:
    other = path.with_name("other")
    save(OBJECT, other)
    assert other.read_bytes() == path.read_bytes()


# -------------------------------------------------------------------------------------------------- file objects


def test_file_objects_of_all_sorts() -> None:
    class Pipe(io.RawIOBase):
        def __init__(self) -> None:
            self.data = b""

        def write(self, data: Any) -> int:
            self.data += bytes(data)
            return len(data)

    class OnlyRead:
        def __init__(self, data: bytes) -> None:
            self.read = io.BytesIO(data).read

    pipe = Pipe()
    save(OBJECT, pipe)
    for source in (io.BytesIO(pipe.data), OnlyRead(pipe.data)):
        assert load(source)["epoch"] == 7  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="expected a path or a file object"):
        load(None)  # type: ignore[arg-type]


def test_a_file_object_is_used_from_its_position() -> None:
    buffer = io.BytesIO()
    buffer.write(b"before")
    save({"a": torch.ones(2)}, buffer)
    buffer.seek(6)
    assert load(buffer)["a"].tolist() == [1.0, 1.0]


# ------------------------------------------------------------------------------------------------- interoperation


def test_any_safetensors_reader_finds_the_weights(path: Path) -> None:
    from safetensors.numpy import load_file as reader

    arrays = reader(path)
    assert arrays["a.weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert arrays["a.mask"].tolist() == [True, False]
    assert sorted(arrays) == ["__litengine__/optimizer/0/step", "a.mask", "a.weight"]


def test_files_of_the_safetensors_package_load(tmp_path: Path) -> None:
    from safetensors.numpy import save_file as writer

    arrays = {"b": np.arange(3, dtype=np.int16), "a": np.ones((2, 2), np.float16), "e": np.zeros((0, 3))}
    writer(arrays, tmp_path / "f", metadata={"made": "elsewhere"})
    for mmap in (False, True):
        back = load(tmp_path / "f", mmap=mmap)
        assert {name: t.tolist() for name, t in back.items()} == {name: a.tolist() for name, a in arrays.items()}
        assert back["b"].dtype == torch.int16
    assert read_metadata(tmp_path / "f") == {
        "version": None,
        "metadata": {"made": "elsewhere"},
        "tensors": {"b": {"dtype": "int16", "shape": [3]}, "a": {"dtype": "float16", "shape": [2, 2]},
                    "e": {"dtype": "float64", "shape": [0, 3]}},
        "structure": None,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["float32", "bfloat16", "int64", "bool", "float16", "uint8"])
def test_state_dicts_to_torch_and_back(name: str, tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    from safetensors.torch import load_file as reader
    from safetensors.torch import save_file as writer

    tensor = torch.tensor([[1.0, 0.0], [0.0, 1.0]]).to(getattr(torch, name))
    save_file({"w": tensor, "0-d": tensor[0, 0]}, tmp_path / "ours", metadata={"format": "pt"})
    theirs = reader(tmp_path / "ours")
    assert theirs["w"].dtype == getattr(oracle, name) and theirs["w"].tolist() == tensor.tolist()
    writer(theirs, tmp_path / "theirs")
    assert torch.equal(load_file(tmp_path / "theirs")["w"], tensor)


def test_save_file_writes_tied_tensors_under_both_names(tmp_path: Path) -> None:
    weight = torch.ones(2)
    save_file({"a": weight, "b": weight[:1]}, tmp_path / "f")
    assert {name: t.tolist() for name, t in load_file(tmp_path / "f").items()} == {"a": [1.0, 1.0], "b": [1.0]}


def test_load_file_leaves_out_what_is_not_weights(path: Path) -> None:
    assert sorted(load_file(path)) == ["a.mask", "a.weight"]


def test_save_file_takes_tensors_by_name_only(tmp_path: Path) -> None:
    for tensors in ({"a": 1}, {1: torch.ones(1)}, {"a": torch.ones(1, dtype=torch.complex128)}):
        with pytest.raises(TypeError, match=r"save_file\(\)"):
            save_file(tensors, tmp_path / "f")  # type: ignore[arg-type]


def test_metadata_is_read_without_the_data(path: Path) -> None:
    save(OBJECT, path, metadata={"who": "me"})
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1  # damage in the data does not matter here
    path.write_bytes(raw)
    facts = read_metadata(path)
    assert facts["version"] == 2 and facts["metadata"] == {"who": "me"}
    assert facts["structure"]["epoch"] == 7
    assert facts["tensors"]["a.weight"] == {"dtype": "float32", "shape": [2, 3]}
    for bad in ({1: "a"}, {"a": 1}, {"__litengine__.version": "9"}):
        with pytest.raises(TypeError, match="metadata"):
            save({}, path, metadata=bad)  # type: ignore[arg-type]


def test_mmap_reads_values_and_never_writes_the_file(path: Path) -> None:
    before = path.read_bytes()
    back = load(path, mmap=True)
    back["state_dict"]["a.weight"].zero_()
    assert load(path, mmap=True)["state_dict"]["a.weight"].tolist() == [[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]]
    assert path.read_bytes() == before
    with pytest.raises(TypeError, match="mmap=True needs a path"):
        load(io.BytesIO(before), mmap=True)


# --------------------------------------------------------------------------------------------------------- places


def test_map_location(path: Path) -> None:
    seen = []

    def function(storage: Any, location: str) -> Any:
        seen.append(location)
        return storage

    for where in (None, "cpu", torch.device("cpu"), {"cuda:0": "cpu"}, function, lambda storage, location: None):
        back = load(path, map_location=where)
        assert back["state_dict"]["a.weight"].shape == (2, 3)
    assert seen == ["cpu"] * 3


def test_a_device_that_is_not_there(path: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    with pytest.raises(RuntimeError, match="HINT"):
        load(path, map_location="cuda")
    edit(path, lambda structure: structure["tensors"][0].update(device="cuda:0"))
    with pytest.raises(CheckpointError, match="were on cuda:0.*HINT: load\\(..., map_location='cpu'\\)"):
        load(path)
    assert load(path, map_location="cpu")["epoch"] == 7


# --------------------------------------------------------------------------------------------------------- damage


@pytest.mark.parametrize("mmap", [False, True])
def test_every_truncation_is_refused(path: Path, mmap: bool) -> None:
    raw = path.read_bytes()
    short = path.with_name("short")
    for length in range(len(raw)):
        short.write_bytes(raw[:length])
        with pytest.raises(CheckpointError, match=f"cannot load {short}: "):
            load(short, mmap=mmap)


def test_every_changed_byte_is_noticed(path: Path) -> None:
    raw = path.read_bytes()
    for position in range(len(raw)):
        changed = bytearray(raw)
        changed[position] ^= 0x01
        path.write_bytes(changed)
        with pytest.raises(CheckpointError, match=f"cannot load {path}: "):
            load(path)


def foreign(tmp_path: Path) -> dict[str, tuple[bytes, str]]:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("archive/data.pkl", pickle.dumps({}))
    return {
        "empty": (b"", "the file is empty"),
        "zip": (archive.getvalue(), "zip archive"),
        "pickle": (pickle.dumps({"a": 1}), "this is a pickle, which is never executed"),
        "text": (b"just some text, nothing else", "not a safetensors file"),
        "short": (b"abc", "not a safetensors file"),
        "huge header": ((2**63).to_bytes(8, "little") + b"{}", "not a safetensors file"),
        "header beyond the end": ((1000).to_bytes(8, "little") + b"{}", "ends early"),
        "no JSON": ((8).to_bytes(8, "little") + b"nonsense", "header is damaged"),
        "no object": ((2).to_bytes(8, "little") + b"[]", "not a JSON object"),
        "no UTF-8": ((2).to_bytes(8, "little") + b"\xff\xfe", "header is damaged"),
        "deep": ((200_000).to_bytes(8, "little") + b"[" * 200_000, "header is damaged"),
        "twice": ((24).to_bytes(8, "little") + b'{"a":{},"a":{}}         ', "a name occurs twice"),
    }


@pytest.mark.parametrize("name", list(foreign(Path())))
def test_foreign_files_are_refused_by_name(name: str, tmp_path: Path) -> None:
    data, text = foreign(tmp_path)[name]
    (tmp_path / "f").write_bytes(data)
    for read in (load, load_file, read_metadata):
        with pytest.raises(CheckpointError, match=text):
            read(tmp_path / "f")


def test_readers_of_safetensors_refuse_a_torch_file_by_name(tmp_path: Path) -> None:
    oracle = pytest.importorskip("torch")
    for zipped, text in ((True, "zip archive.*HINT: engine.load"), (False, "pickle")):
        oracle.save({"a": oracle.ones(1)}, tmp_path / "f", _use_new_zipfile_serialization=zipped)
        for read in (load_file, read_metadata):
            with pytest.raises(CheckpointError, match=text):
                read(tmp_path / "f")


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "missing")
    with pytest.raises(CheckpointError, match="it is a directory"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="not a regular file"):
        load("/dev/null")


def entry(dtype: Any = "F32", shape: Any = (2,), offsets: Any = (0, 8)) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "data_offsets": offsets}


@pytest.mark.parametrize(
    ("header", "text"),
    [
        ({"a": entry(dtype="F31")}, "element type 'F31'"),
        ({"a": entry(dtype=["F32"])}, "element type"),
        ({"a": entry(shape=[3])}, "does not take 8 bytes"),
        ({"a": entry(shape=[-2])}, r"shape \[-2\]"),
        ({"a": entry(shape=[2.0])}, "shape"),
        ({"a": entry(shape=[True, 2])}, "shape"),
        ({"a": entry(shape=[1] * 100 + [2])}, "shape"),
        ({"a": entry(shape=[0, 2**70], offsets=[0, 0]), "b": entry()}, "cannot be made"),
        ({"a": entry(offsets=[0, 2**62], shape=[2**60])}, "ends early"),
        ({"a": entry(offsets=[8, 16])}, "leaves a gap"),
        ({"a": entry(offsets=[-8, 0])}, "data offsets"),
        ({"a": entry(offsets=[0])}, "data offsets"),
        ({"a": entry(), "b": entry(shape=[1], offsets=[4, 8])}, "overlaps"),
        ({"a": entry(shape=[1], offsets=[0, 4])}, "4 bytes follow the data"),
        ({"a": 3}, "description of 'a' is damaged"),
        ({"a": {"dtype": "F32"}}, "description of 'a' is damaged"),
        ({"a": entry(dtype="BOOL", shape=[8])}, "other bytes than 0 and 1"),
        ({"__metadata__": [], "a": entry()}, "not a table of texts"),
        ({"__metadata__": {"x": 1}, "a": entry()}, "not a table of texts"),
        ({"__metadata__": {files.VERSION: "1"}, "a": entry()}, "checksums are missing"),
        ({"__metadata__": {container.HEADER_SUM: "x"}, "a": entry()}, "checksums are missing"),
        ({"__metadata__": {container.HEADER_SUM: "x", container.DATA_SUM: "x"}, "a": entry()}, "does not match"),
    ],
)
def test_headers_that_do_not_fit_are_refused(header: Any, text: str, tmp_path: Path) -> None:
    put(tmp_path / "f", header, b"\x02" * 8)
    with pytest.raises(CheckpointError, match=text):
        load(tmp_path / "f")


@pytest.mark.parametrize(
    ("metadata", "text"),
    [
        ({files.VERSION: "3"}, "version 3 of the format.*reads up to 2"),
        ({files.VERSION: "one"}, "format version is 'one'"),
        ({files.VERSION: "1"}, "structure is damaged"),
        ({files.VERSION: "1", files.STRUCTURE: "[1]"}, "structure is damaged"),
        ({files.VERSION: "1", files.STRUCTURE: '{"root": 1, "arrays": [], "tensors": []}'}, "structure is damaged"),
        ({files.VERSION: "1", files.STRUCTURE: "{"}, "structure is damaged"),
    ],
)
def test_versions_and_structures_that_do_not_fit_are_refused(metadata: Any, text: str, tmp_path: Path) -> None:
    container.write(tmp_path / "f", {}, metadata)
    for read in (load, read_metadata):
        with pytest.raises(CheckpointError, match=text):
            read(tmp_path / "f")


def edit(path: Path, change: Callable[[Any], Any]) -> None:
    """Change the structure of a file."""

    def rewrite(text: str) -> str:
        structure = json.loads(text)
        change(structure)
        return json.dumps(structure)

    rewrite_structure(path, rewrite)


@pytest.mark.parametrize(
    "node",
    [
        {"$unknown": 1}, {"$tuple": [], "$list": []}, {"$tuple": 3}, {"$tensor": 99}, {"$tensor": -1}, {"$tensor": "0"},
        {"$tensor": None}, {"$tensor": [0]}, {"$array": 99}, {"$array": True}, {"$module": 0}, {"$dict": [[1]]},
        {"$dict": [[[1], 2]]}, {"$set": [[1]]}, {"$int": "zz"}, {"$int": 5}, {"$float": "1.0"}, {"$bytes": "?"},
        {"$complex": [1, 2, 3]}, {"$path": 1}, {"$dtype": "np"}, {"$device": "moon"}, {"$size": ["x"]},
        {"$generator": {"device": "cpu", "state": 0}}, {"$deque": {"items": [], "maxlen": -1}}, {"$range": [0, 1, 0]},
        {"$defaultdict": {"factory": "eval", "items": []}}, {"$ordered": {"items": []}}, {"$scalar": {}},
        {"$enum": ["os:system", "X"]}, {"$enum": ["enum:Enum", "X"]}, {"$enum": []},
        {"$namedtuple": {"class": "builtins:tuple", "items": [1]}},
        {"$mapping": {"class": "builtins:int", "items": []}},
        {"$function": "_private"}, {"$function": "__builtins__"}, {"$function": 3}, {"$class": "builtins:int"},
    ],
    ids=str,
)  # fmt: skip
def test_nodes_that_make_no_sense_are_refused(node: Any, path: Path) -> None:
    edit(path, lambda structure: structure["root"].update(epoch=node))
    with pytest.raises(CheckpointError, match=f"cannot load {path}: "):
        load(path)


def test_a_tree_nested_too_deeply_is_refused(path: Path) -> None:
    text = "[" * 50_000 + "]" * 50_000
    rewrite_structure(path, lambda structure: structure.replace('"epoch":7', f'"epoch":{text}'))
    with pytest.raises(CheckpointError, match="damaged|nested|recursion"):
        load(path)


@pytest.mark.parametrize(
    "reference",
    [
        {"entry": "nothing"},
        {},
        {"entry": "a.weight", "dtype": "complex64"},
        {"entry": "a.weight", "dtype": "nonsense"},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [7], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": -4, "shape": [1], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [2], "strides": [-4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 1, "shape": [1], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [2], "strides": [3]},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [2, 2], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [0], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 2**70, "shape": [1], "strides": [4]},
        {"entry": "a.weight", "dtype": "float32", "offset": 0, "shape": [2**61], "strides": [2**61]},
        {"entry": "a.weight", "dtype": "complex128", "offset": 16, "shape": [1], "strides": [16]},
    ],
    ids=str,
)
def test_references_that_leave_their_entry_are_refused(reference: Any, path: Path) -> None:
    edit(path, lambda structure: structure["arrays"].__setitem__(0, reference))
    with pytest.raises(CheckpointError, match=f"cannot load {path}: "):
        load(path)


def test_pickle_arguments_of_torch_warn() -> None:
    buffer = io.BytesIO()
    with pytest.warns(UserWarning, match="nothing is pickled"):
        torch.save({}, buffer, pickle_protocol=4)
