"""The benchmarks run and print their table. How fast things are is not asserted here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks.timing import Row, interleaved, seconds_per_call, table
from tests.benchmarks.training import calls


@pytest.mark.parametrize("group", benchmarks.GROUPS)
def test_every_group_prints_its_rows(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["--quick", "--only", group])
    lines = capsys.readouterr().out.splitlines()
    assert lines[2].split("|")[1].strip() == "measure"
    assert len(lines) > 5


def test_numbers_are_written_as_json_too(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["--quick", "--only", "models", "--rows", "one sample", "--json", str(tmp_path / "numbers.json")])
    found = json.loads((tmp_path / "numbers.json").read_text())
    assert [row["measure"] for row in found["groups"]["models"]] == ["inference: MLP 64-128-10, one sample"]
    assert "cores" in found["machine"]


def test_the_table_shows_ratios_where_there_is_something_to_compare() -> None:
    text = table([Row("a", "us", 1.0, 4.0, "0.7"), Row("b", "us", 2.0)])
    assert [line.split("|")[5].strip() for line in text.splitlines()[2:]] == ["0.25", "-"]


def test_rounds_are_interleaved_and_give_medians() -> None:
    order: list[str] = []
    numbers = iter([5.0, 1.0, 1.0, 2.0, 3.0, 9.0])

    def contestant(name: str) -> float:
        order.append(name)
        return next(numbers)

    found = interleaved({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=3)
    assert order == ["a", "b"] * 3
    assert found == {"a": 3.0, "b": 2.0}


def test_time_and_calls_are_per_call() -> None:
    def inner() -> None:
        pass

    assert seconds_per_call(inner, least=0.0001)() < 0.01
    assert calls(lambda: [inner() for _ in range(10)]) >= 11
