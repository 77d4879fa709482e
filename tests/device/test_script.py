"""The prepared run for a machine with a GPU works, on the stand-in, and goes on when a piece of it fails."""

from __future__ import annotations

import json

import pytest

from engine.gpu import gemm
from tests.benchmarks import gpu
from tests.device import facts, script
from tests.fake_cupy import cublaslt
from tests.fake_cupy.kernels import compiler


def test_a_report_is_written_in_spite_of_failures(tmp_path, device, monkeypatch, capsys):
    monkeypatch.setitem(facts.FACTS, "version of nothing", lambda: 1 / 0)
    script.main(["--out", str(tmp_path), "--seconds", "100", "--only", "version|element|^cumsum$", "--parts", "facts,cards"])
    found = json.loads((tmp_path / "report.json").read_text())
    assert found["facts"]["version of nothing"].startswith("FAILED ZeroDivisionError")
    assert found["facts"]["element types"]["bf16 + bf16"] == "bfloat16"
    assert found["cards"]["tried"] > 0 and found["cards"]["failures"] == 0
    assert "cards | failures | 0" in capsys.readouterr().out


def test_failures_of_cards_are_grouped_by_cause(tmp_path, device, monkeypatch, capsys):
    def fail(sample, kind):
        raise ValueError("wrong")

    monkeypatch.setattr("tests.device.test_cards.compare", fail)
    found = script.main(["--out", str(tmp_path), "--seconds", "100", "--only", "^sin$", "--parts", "cards"])
    (cause, names), = found["cards"]["failed"].items()
    assert "wrong" in cause and names[0] == found["cards"]["tried"] and names[1] == "sin-0 float32"


def test_what_is_asked_about_captures_has_answers(tmp_path, device):
    if compiler() is None:
        pytest.skip("no g++")
    with cublaslt.installed(gemm):
        found = script.main(["--out", str(tmp_path), "--seconds", "100", "--only", "captured|copies of|wait",
                             "--parts", "facts"])
    facts_ = found["facts"]
    assert facts_["a captured step follows its schedule"] == {"moved (expected 1, 0.5, 0.25)": [1.0, 0.5, 0.25],
                                                              "count (expected 6)": 6.0}
    assert facts_["what makes the host wait is found"] | {"afterwards": 0} == {
        "item": 1, "bool": 1, "mask": 1, "cpu": 1, "nonzero": 1, "repr": 1, "none": 0, "afterwards": 0}
    assert facts_["copies of batches beside the work"]["the same numbers"] is True
    for name, answer in facts_["the Trainer, eager and captured"].items():
        assert "'not captured': []" in answer and answer.count("synchronizing") <= (3 if "mixed" in name else 1), (name, answer)


@pytest.mark.parametrize("row", gpu.ROWS, ids=lambda row: row.name.split(",")[0])
def test_a_row_is_timed_eager_and_captured(row, device, cudnn_library):
    if compiler() is None:
        pytest.skip("no g++")
    with cublaslt.installed(gemm):
        found = gpu.measure(row, rounds=1, calls=1)
    assert not found.failures and {"ours", "captured"} <= set(found.rounds)
    limits = gpu.ceilings()
    assert set(row.work) <= set(limits) and row.name in gpu.table([found], limits)


def test_facts_of_cudnn(device, cudnn_library, request, monkeypatch):
    if request.config.getoption("--device") == "cuda":
        pytest.skip("the script itself asks there")
    if compiler() is None:
        pytest.skip("no g++")
    from tests.device import facts_cudnn

    assert facts_cudnn.cudnn_is_there()["library"] == 92801
    monkeypatch.setattr(facts_cudnn, "KINDS", {name: facts_cudnn.KINDS[name] for name in ("odd", "even, same")})
    monkeypatch.setattr(facts_cudnn, "RESNET", facts_cudnn.RESNET[:3])
    for name in ("milliseconds", "microseconds"):  # once is enough here
        monkeypatch.setattr(facts_cudnn, name, lambda fn, *calls: float(fn() is not None))
    found = facts_cudnn.convolutions()
    assert found.pop("no plan") == [] and all(float(error) < 2e-2 for error in found.values())
    assert all(error < 2e-2 for error in facts_cudnn.attention().values())
    timed = [*facts_cudnn.resnet_convolutions().values(), *facts_cudnn.norms_and_attention().values()]
    assert all("Error" not in str(value) for value in timed)
