"""The README's first program runs and comes out where it says; its commands are those that CI runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_first_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program = re.search(r"```python\n(.*?)```", README, re.DOTALL)
    assert program is not None
    monkeypatch.chdir(tmp_path)
    exec(compile(program.group(1), "README.md", "exec"), {"__name__": "first_program"})
    printed = re.findall(r"tensor\(\[\[([\d.]+)\]\]\)", capsys.readouterr().out)
    assert float(printed[-1]) == pytest.approx(0.5, abs=0.1)
    assert (tmp_path / "weights.safetensors").is_file()


@pytest.mark.parametrize("command", ["pip install{} -e '.[dev]' && pytest", "pip install{} -e '.[examples]'"])
def test_ci_runs_the_commands_of_the_readme(command: str) -> None:
    command = command.replace("'", '"')
    assert command.format("") in README
    assert command.format(" -q") in (ROOT / ".ci" / "run").read_text(encoding="utf-8")


def test_every_file_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


ROOMS = sorted(path.parent for top in ("lit", "callbacks", "loggers") for path in (ROOT / top).rglob("README.md"))


@pytest.mark.parametrize("room", ROOMS, ids=lambda room: str(room.relative_to(ROOT)))
def test_a_room_says_who_lives_in_each_file(room: Path) -> None:
    text = (room / "README.md").read_text(encoding="utf-8")
    files = {path.name for path in room.glob("*.py")} - {"__init__.py"}
    assert {name for name in files if f"`{name}`" not in text} == set()
    assert {name for name in re.findall(r"^\| `(\w+\.py)`", text, re.MULTILINE) if name not in files} == set()
