"""Every warning of lit, callbacks and loggers has a code of its own, a remedy, and a line in docs/warnings.md."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest

import lit

ROOT = Path(__file__).resolve().parent.parent
PASSES_ON = {("lit/utilities/rank_zero.py", "message")}  # rank_zero_warn: the text is the caller's


def text_of(node: ast.expr) -> str:
    """The text of a literal, an f-string or a sum of them, with {} for what is put in."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(part.value if isinstance(part, ast.Constant) else f"{{{ast.unparse(part)}}}" for part in node.values)
    return ast.unparse(node)


def warned_texts() -> Iterator[tuple[str, int, str]]:
    """(file, line, text) of every call of ``warnings.warn``."""
    for path in sorted(path for room in ("lit", "callbacks", "loggers") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "warnings.warn":
                where = path.relative_to(ROOT).as_posix()
                if (where, ast.unparse(node.args[0])) not in PASSES_ON:
                    yield where, node.lineno, text_of(node.args[0])


def listed() -> dict[str, str]:
    page = (ROOT / "docs" / "warnings.md").read_text(encoding="utf-8")
    return dict(re.findall(r"^\| `(W\d{3})` \| .*? \| (.*?) \|$", page, re.MULTILINE))


def test_every_warning_has_a_code_of_its_own() -> None:
    without = [f"{file}:{line} {text[:60]}" for file, line, text in warned_texts() if not re.match(r"\[W\d{3}\] ", text)]
    assert without == [], 'a warning begins with its code, as in "[W123] ..."; docs/warnings.md lists them'
    codes = [text[1:5] for _, _, text in warned_texts()]
    assert len(codes) == len(set(codes)) and len(codes) >= 35


def test_every_warning_says_what_to_do() -> None:
    silent = [text for _, _, text in warned_texts() if "HINT" not in text and "message" not in text]
    assert silent == []


def test_the_page_lists_exactly_these_codes() -> None:
    assert set(listed()) == {text[1:5] for _, _, text in warned_texts()}
    assert all(listed().values())


def test_silence_turns_off_one_warning_and_leaves_the_others() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        lit.silence("W104")
        lit.LightningModule().log("loss", 1.0)
        warnings.warn("[W105] another", stacklevel=1)
    assert [str(warning.message) for warning in caught] == ["[W105] another"]
    with pytest.raises(ValueError, match="loud"):
        lit.silence("loud")


@pytest.mark.parametrize(("value", "shown"), [("", True), ("W101, W104", False), ("W101", True), ("all", False)])
def test_the_environment_turns_warnings_off(value: str, shown: bool) -> None:
    program = "import lit; lit.LightningModule().log('loss', 1.0)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, cwd=ROOT,
        env={**os.environ, "LITENGINE_SILENCE": value},
    )  # fmt: skip
    assert done.returncode == 0 and ("[W104]" in done.stderr) is shown
