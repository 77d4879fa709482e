"""Files that look like torch's and are damaged or hostile: each ends in a clear error, and nothing in it runs."""

from __future__ import annotations

import io
import struct
import warnings
import zipfile
from pathlib import Path
from typing import Any

import pytest

from engine.serialization import CheckpointError
from tests.serialization.torch_files import FOUR, LEGACY, ZIPPED, archive, read, tensor_pickle


@pytest.mark.parametrize(
    "name",
    ["os system", "posix system", "builtins eval", "builtins exec", "__builtin__ getattr", "builtins __import__",
     "subprocess Popen", "torch load", "torch.storage _load_from_bytes", "torch._utils _rebuild_nested_tensor",
     "numpy.core.multiarray _vec_string", "numpy load", "codecs decode", "_codecs decode", "__main__ Net", "a.b.c d",
     "functools partial", "types CodeType", "torch.jit load", "copyreg __newobj__", "importlib import_module"],
)  # fmt: skip
@pytest.mark.parametrize("way", ["GLOBAL", "STACK_GLOBAL", "INST", "legacy"])
def test_names_that_are_not_data_are_refused_and_nothing_runs(name: str, way: str, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    module, function = name.split()
    argument = f"(Vtouch {marker}\n".encode()
    text = f"it needs {module}\\.{function}, .*nothing was executed.*HINT"
    if way == "INST":
        data, text = archive(argument + f"i{module}\n{function}\n.".encode()), "opcode INST.*nothing was executed"
    elif way == "STACK_GLOBAL":
        data = archive(f"V{module}\nV{function}\n\x93".encode("latin1") + argument + b"tR.")
    else:
        data = archive(f"c{module}\n{function}\n".encode() + argument + b"tR.")
    if way == "legacy":
        data = LEGACY[: LEGACY.index(b"}q\x00(X\x0a\x00\x00\x00state_dict")] + data[data.index(b"c" + module.encode()) :]
    with pytest.raises(CheckpointError, match=text):
        read(data)
    assert not marker.exists()


def test_attributes_of_permitted_names_are_not_reached() -> None:
    for data in (b"ccollections\nOrderedDict.__init__.__globals__\n.", b"ctorch\n__dict__\n.", b"Vtorch\nVSize.mro\n\x93."):
        with pytest.raises(CheckpointError, match="it needs"):
            read(archive(data))


SPEND_BYTES = b"c_codecs\nencode\np1\n0Vlatin1\np2\n0V" + b"a" * 10_000 + b"\np3\n0(" + b"g1\n(g3\ng2\ntR" * 1_000 + b"l."
# A tuple of two of a tuple of two of ...: hashing or printing it would never end.
DOUBLED = b"(I1\ntp0\n" + b"".join(b"0(g%d\ng%d\ntp%d\n" % (n, n, n + 1) for n in range(60)) + b"p99\n"


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "exhausted"),
        (b"(.", "middle of an object"),
        (b".", "middle of an object"),
        (b"NN.", "middle of an object"),
        (b"N", "before seeing STOP|exhausted"),
        (b"t.", "empty"),
        (b"\x85.", "empty stack"),
        (b"g7\n.", "no 7 where"),
        (b"\xff.", "opcode"),
        (b"Na.", ""),
        (b"N(NNu.", "sets items of NoneType"),
        (b"}(Nu.", "sets items"),
        (b"N(Ne.", "appends to NoneType"),
        (b"N)R.", "calls NoneType"),
        (b"ccollections\nOrderedDict\nNR.", "calls"),
        (b"ccollections\nOrderedDict\n.", "collections.OrderedDict itself as a value"),
        (b"ctorch\nFloatStorage\n.", "as a value"),
        (b"ccollections\nOrderedDict\n)R}Vitems\nNsb.", "gives a state to OrderedDict"),
        (b"]}Va\nNsb.", "gives a state to list"),
        (b"ccollections\nOrderedDict\n(]]]a]aatR.", ""),
        (b"ccollections\ndefaultdict\n(cos\nsystem\ntR.", "os.system"),
        (b"ccollections\ndefaultdict\n(ccollections\nCounter\ntR.", "factory"),
        (b"cbuiltins\nbytearray\n(I1000000000000\ntR.", "bytearray"),
        (b"cbuiltins\nset\n(I5\ntR.", "made of int"),
        (b"cbuiltins\nint\n(V5\ntR.", "builtin class is called"),
        (b"cbuiltins\ncomplex\n(V1\nV2\ntR.", "complex"),
        (b"}]Ns.", "unhashable"),
        (b"]p0\ng0\na.", "contains itself"),
        (b"(]p0\ntp1\n0g0\ng1\na.", "contains itself"),
        (b"]" * 100_000 + b"a" * 99_999 + b".", "nested more than 200 deep"),
        (b"(" * 100_000 + b"t" * 100_000 + b".", "nested more than 200 deep"),
        (DOUBLED + b"0}g99\nNs.", "key of too many parts"),
        (DOUBLED + b"Q.", "not one to a storage"),
        (DOUBLED + b"0ctorch\nSize\n(g99\ntR.", "size is a tuple"),
        (DOUBLED + b"0ctorch\ndevice\n(g99\ntR.", "device is a tuple"),
        (DOUBLED + b"0cnumpy\ndtype\n(g99\ntR.", "element type a tuple"),
        (DOUBLED + b"0]g99\nb.", "gives a state to list"),
        (SPEND_BYTES, "far more than its size"),
        (b"ctorch\nSize\n((I-1\nttR.", "size"),
        (b"ctorch\ndevice\n(Vmoon\ntR.", "moon"),
        (b"cnumpy\ndtype\n(VO8\ntR.", "element type 'O8', which is not plain"),
        (b"cnumpy\ndtype\n(Vf4\ntR.", "as a value"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(N(I0\ntVb\ntR.", "class that is not rebuilt"),
        (b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(Vf8\ntRC\x01atR.", "number is not well formed"),
        (b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR(I1\n(I9999999999\ntcnumpy\ndtype\n(Vf8\n"
         b"tRI00\nC\x01atb.", "does not take 1 bytes"),
        (b"Vstorage\nQ.", "not one to a storage"),
        (b"(Vstorage\nVFloat\nV0\nVcpu\nI4\ntQ.", "not well formed"),
        (b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\n(V1\nI0\nI4\nttQ.", "not one to a storage"),
        (b"P0\n.", "opcode PERSID"),
        (b"(Vstorage\nctorch\nFloatStorage\nV0\nVcpu\nI4\ntQ.", "Storage itself as a value"),
        (b"X\xff\xff\xff\x7fabc.", "2147483647|expected"),
        (b"\x8d" + b"\xff" * 7 + b"\x7fabc.", ""),
        (b"\x8b\xff\xff\xff\x7fa.", ""),
        (b"I" + b"9" * 100_000 + b"\n.", ""),
        (b"\x82\x01.", "opcode EXT1"),
        (b"ctorch._tensor\n_rebuild_from_type_v2\n(ccollections\nOrderedDict\nctorch\nTensor\n)}tR.", "unknown way"),
        (b"ctorch\nTensor\n)R.", "class of tensors is called"),
        (b"ctorch._utils\n_rebuild_parameter\n(NI01\nNtR.", "made of NoneType"),
    ],
)  # fmt: skip
def test_pickles_that_make_no_sense_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(CheckpointError, match=f"cannot load <BytesIO>: .*{text}"):
        read(archive(data, {"0": FOUR}))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"count": 5}, "16 bytes where 20 belong"),
        ({"count": 3}, "16 bytes where 12 belong"),
        ({"count": 10**30}, "not well formed"),
        ({"count": -4}, "not well formed"),
        ({"kind": "DoubleStorage"}, "16 bytes where 32"),
        ({"kind": "QInt8Storage"}, "torch.QInt8Storage"),
        ({"kind": "UntypedStorage", "count": 16}, "no storage"),
        ({"kind": "BoolStorage", "count": 16}, "other bytes than 0 and 1"),
        ({"key": "1"}, "storage '1' is not there"),
        ({"key": "../data.pkl"}, "is not there"),
        ({"first": "module"}, "not one to a storage"),
        ({"offset": 1}, "reaches out of its storage of 4"),
        ({"offset": -1}, "offset"),
        ({"size": (3, 2)}, "reaches out"),
        ({"size": (2**40, 2**40), "stride": (0, 0)}, ""),
        ({"size": (-2, 2)}, "size"),
        ({"stride": (2, -1)}, "stride is"),
        ({"stride": (2,)}, "has the strides"),
        ({"size": (2**62, 2), "stride": (4, 1)}, "reaches out"),
        ({"size": (1, 2), "stride": (2**70, 1)}, ""),
        ({"size": (1,) * 100, "stride": (1,) * 100}, ""),
        ({"size": (0, 2**62), "stride": (1, 1)}, ""),
        ({"size": (10**6,), "stride": (0,), "metadata": b"}Vneg\nI01\ns"}, "expanded"),
        ({"metadata": b"}Vother\nI01\ns"}, "unknown marks"),
        ({"location": "moon"}, "were on moon"),
    ],
    ids=str,
)  # fmt: skip
def test_tensors_that_do_not_fit_their_storage_are_refused(changes: dict[str, Any], text: str) -> None:
    assert read(archive(tensor_pickle(), {"0": FOUR})).shape == (2, 2)
    with pytest.raises(CheckpointError, match=f"cannot load <BytesIO>: .*{text}"):
        read(archive(tensor_pickle(**changes), {"0": FOUR}))


def zipped(entries: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    out = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(out, "w", compression) as file:
        warnings.simplefilter("ignore")  # a name that is there twice
        for name, data in entries:
            file.writestr(name, data)
    return out.getvalue()


GOOD = [("a/data.pkl", b"N."), ("a/version", b"3\n")]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (zipped([("a/x", b"")]), "not one of torch.save"),
        (zipped(GOOD[:1]), "not one of torch.save"),
        (zipped([*GOOD, ("a/constants.pkl", b"N.")]), "TorchScript"),
        (zipped([GOOD[0], ("a/version", b"11")]), "version '11'"),
        (zipped([GOOD[0], ("a/version", b"x")]), "version 'x'"),
        (zipped([*GOOD, ("a/byteorder", b"mixed")]), "byte order is 'mixed'"),
        (zipped([*GOOD, ("a/../../etc/passwd", b"")]), "not named as torch"),
        (zipped([*GOOD, ("/etc/passwd", b"")]), "not named as torch"),
        (zipped([*GOOD, ("a/data\\..\\x", b"")]), "not named as torch"),
        (zipped([*GOOD, ("a//x", b"")]), "not named as torch"),
        (zipped([*GOOD, ("../x", b"")]), "not named as torch"),
        (zipped([*GOOD, ("x", b"")]), "not named as torch"),
        (zipped([*GOOD, ("b/other", b"")]), "several top folders"),
        (zipped([*GOOD, ("a/data.pkl", b"K.")]), "there twice"),
        (zipped([*GOOD, ("b/data.pkl", b"K.")]), "there twice"),
        (zipped([*GOOD, ("a/data/0", bytes(10**6))], zipfile.ZIP_DEFLATED), "compressed"),
        (b"PK\x03\x04" + b"\xff" * 100, "not a zip file"),
    ],
)
def test_archives_that_are_not_torchs_are_refused(data: bytes, text: str) -> None:
    with pytest.raises(CheckpointError, match=text):
        read(data)


def test_entries_that_overlap_are_refused() -> None:
    """Three entries of a directory that are one and the same piece of the file: the zip bomb without compression."""
    whole = archive(tensor_pickle(), {str(key): bytes(10_000) for key in range(3)})
    offsets = [zipfile.ZipFile(io.BytesIO(whole)).getinfo(f"archive/data/{key}").header_offset for key in range(3)]
    directory = whole.index(b"PK\x01\x02")
    data = bytearray(whole[: offsets[1]] + whole[directory:])
    for key in (1, 2):
        name = data.rindex(f"archive/data/{key}".encode())
        struct.pack_into("<I", data, name - 4, offsets[0])
    struct.pack_into("<I", data, len(data) - 6, offsets[1])
    assert len(zipfile.ZipFile(io.BytesIO(data)).infolist()) == 5
    with pytest.raises(CheckpointError, match="claim more bytes than the"):
        read(bytes(data))


@pytest.mark.parametrize("data", [ZIPPED, LEGACY], ids=["zipped", "legacy"])
def test_every_truncation_is_refused(data: bytes) -> None:
    for length in range(1, len(data)):
        with pytest.raises(CheckpointError, match="cannot load <BytesIO>: "):
            read(data[:length])


@pytest.mark.parametrize("data", [ZIPPED, LEGACY], ids=["zipped", "legacy"])
@pytest.mark.parametrize("change", [0x01, 0x80])
def test_a_changed_byte_gives_a_value_or_a_clear_error(data: bytes, change: int) -> None:
    refused = 0
    for position in range(len(data)):
        changed = bytearray(data)
        changed[position] ^= change
        try:
            read(bytes(changed))
        except CheckpointError:
            refused += 1
    assert refused > len(data) // 4


def test_legacy_files_that_do_not_fit_are_refused() -> None:
    start = LEGACY.index(b"}q\x00(X\x0a\x00\x00\x00state_dict")
    for ending in (b"N.", b"N.]Va\na.", tensor_pickle(count=2**50), tensor_pickle() + b"]V0\na." + b"\x05" + bytes(30)):
        with pytest.raises(CheckpointError):
            read(LEGACY[:start] + ending)
    good = tensor_pickle().replace(b"I4\ntQ", b"I4\nNtQ") + b"]V0\na." + struct.pack("<q", 4) + FOUR
    assert read(LEGACY[:start] + good).tolist() == [[0.0, 1.0], [2.0, 3.0]]
