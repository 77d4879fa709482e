"""The prepared run for a machine with a GPU works, on the stand-in, and goes on when a piece of it fails."""

from __future__ import annotations

import json

import pytest

from tests.device import facts, script
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


def test_a_step_is_timed_eager_and_captured(device, monkeypatch):
    if compiler() is None:
        pytest.skip("no g++")
    from tests.device import times

    found = times.measure("Adam, 124M", rounds=1, calls=1)
    assert {"ours", "captured"} <= set(found)
