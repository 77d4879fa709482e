"""The Python blocks of README.md and docs/*.md run in order, and print what the text block under them says."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FILES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```\n(?:\n*^```text\n(.*?)^```$)?", re.DOTALL | re.MULTILINE)

# Names that the page takes for granted.
PRELUDES = {
    "adding_an_operator.md": "import engine as torch\nfrom engine.ops.base import Op, op\n"
                             "from engine.ops.pointwise import unary\nfrom engine.size import check_dim\n"
                             "from engine.ops.base import CARDS\n"
                             "for name in ('softsign', 'cumsum'):  # which the page adds as if they were not there\n"
                             "    CARDS.pop(name, None)\n",
}  # fmt: skip
# Runs in a process of its own: a page may register operators. Prints what each block has printed.
RUNNER = """
import contextlib, io, json, sys
names, printed = {"__name__": "__main__"}, []
for number, block in enumerate(json.load(sys.stdin)):
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(block, f"block {number}", "exec"), names)
    printed.append(out.getvalue())
json.dump(printed, sys.stdout)
"""


def blocks_of(path: Path) -> list[tuple[str, str | None]]:
    """(program, expected output or None) of every block that runs."""
    return [(match[1], match[2]) for match in BLOCK.finditer(path.read_text(encoding="utf-8"))]


@pytest.mark.parametrize("path", [path for path in FILES if blocks_of(path)], ids=lambda path: path.name)
def test_blocks_run_and_print_what_stands_under_them(path: Path, tmp_path: Path) -> None:
    blocks = [(PRELUDES.get(path.name, ""), None), *blocks_of(path)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r})\n{RUNNER}"],
        input=json.dumps([code for code, _ in blocks]), cwd=tmp_path, capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for (_, expected), printed in zip(blocks, json.loads(done.stdout)):
        assert expected is None or printed == expected


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_the_quickstart_is_among_them() -> None:
    """Guards the pattern above: a page whose blocks were not found would pass."""
    assert len(blocks_of(ROOT / "docs" / "quickstart.md")) >= 8


def what_is_refused() -> list[str]:
    """The longest word of every `not_supported(what, instead)` in the rooms: the name that the error is about."""
    names = []
    for path in sorted(path for room in ("engine", "lit", "callbacks", "loggers") for path in (ROOT / room).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "not_supported":
                pieces = [piece.value for piece in ast.walk(node.args[0]) if isinstance(piece, ast.Constant)]
                words = re.findall(r"[A-Za-z_][\w.]*", " ".join(map(str, pieces)))
                names.append(max(words, key=len))
    return names


def test_the_compatibility_page_names_what_is_refused() -> None:
    page = (ROOT / "docs" / "compatibility.md").read_text(encoding="utf-8")
    names = what_is_refused()
    assert len(names) > 20
    assert [name for name in names if name not in page] == []
