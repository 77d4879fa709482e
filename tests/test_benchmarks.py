"""The benchmarks run, and write their tables, numbers and plot. How fast things are is not asserted here."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.benchmarks import __main__ as benchmarks
from tests.benchmarks import report
from tests.benchmarks.timing import Row, in_turns, seconds_per_call, table
from tests.benchmarks.training import calls


@pytest.mark.parametrize("group", benchmarks.GROUPS)
def test_every_group_prints_its_rows(group: str, capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["--quick", "--only", group, *(["--rows", "one sample"] if group == "memory" else [])])
    machine, _, title, _, head, _, *lines = capsys.readouterr().out.splitlines()
    assert "2 threads each" in machine and title == group
    assert head.split("|")[1].strip() == "measure"
    assert lines


def test_numbers_are_kept_and_the_page_is_filled_from_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    numbers, page = tmp_path / "numbers.json", tmp_path / "page.md"
    marked = "Before\n<!-- measured: models -->old<!-- end -->\nBetween\n<!-- measured: sizes -->kept<!-- end -->\nAfter"
    page.write_text(marked)
    report.save(numbers, "a machine", {"models": [Row("another row", "ms", {"numpy": [1.0]})]})
    benchmarks.main(["--quick", "--only", "models", "--rows", "one sample", "--json", str(numbers), "--markdown", str(page)])
    machine, groups = report.load(numbers)
    assert [row.measure for row in groups["models"]] == ["another row", "inference: MLP 64-128-10, one sample"]
    assert "2 threads each" in machine
    text = page.read_text()
    assert "one sample" in text and "old" not in text
    assert [part in text for part in ("Before\n", "\nBetween\n", "kept", "\nAfter")] == [True] * 4


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(ValueError, match="has no marks like"):
        report.fill(tmp_path / "page.md", "a machine", {})


def test_the_plot_is_drawn(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    row = Row("a", "us", {"fast": [1.0, 2.0], "numpy": [2.0, 3.0], "theirs": [2.0, 2.0]}, {"fast": 0.5, "numpy": 1.0})
    report.plot(tmp_path / "plot.png", "a machine", {"models": [row], "costs": [Row("b", "MB", {"ours": [1.0]})]})
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_a_profile_says_where_the_time_goes(capsys: pytest.CaptureFixture[str]) -> None:
    benchmarks.main(["--quick", "--profile", "MLP 64-128-10, batch"])
    text = capsys.readouterr().out
    for part in ("linear, forward", "Addmm, backward", "optimizer.step", "Python between operators", "thread-ms", "tottime"):
        assert part in text


def test_the_table_shows_ratios_where_there_is_something_to_compare() -> None:
    compared = Row("a", "us", {"ours": [1.0, 2.0], "theirs": [4.0, 4.0]}, {"ours": 0.7})
    lines = table([compared, Row("b", "us", {"ours": [2.0]}, limit="flat")]).splitlines()
    cells = [[cell.strip() for cell in line.split("|")[3:-1]] for line in lines[2:]]
    assert cells == [["4", "1.5", "0.38", "0.25 to 0.50", "0.7"], ["-", "2", "-", "-", "flat"]]


def test_rounds_are_interleaved() -> None:
    order: list[str] = []
    numbers = iter([5.0, 1.0, 1.0, 2.0, 3.0, 9.0])

    def contestant(name: str) -> float:
        order.append(name)
        return next(numbers)

    found = in_turns({"a": lambda: contestant("a"), "b": lambda: contestant("b")}, rounds=3)
    assert order == ["a", "b"] * 3
    assert found == {"a": [5.0, 1.0, 3.0], "b": [1.0, 2.0, 9.0]}


def test_time_and_calls_are_per_call() -> None:
    def inner() -> None:
        pass

    assert seconds_per_call(inner, least=0.0001)() < 0.01
    assert calls(lambda: [inner() for _ in range(10)]) >= 11
