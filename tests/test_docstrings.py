"""Every `>>>` example in the four rooms runs and prints what it says."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ROOMS = ("engine", "lit", "callbacks", "loggers")
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules_with_examples() -> list[str]:
    names = []
    for path in sorted(path for room in ROOMS for path in (ROOT / room).rglob("*.py")):
        if ">>> " in path.read_text(encoding="utf-8"):
            names.append(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    return names


@pytest.mark.parametrize("name", modules_with_examples())
def test_examples_print_what_they_say(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import engine
    import lit

    monkeypatch.chdir(tmp_path)  # an example may save a file
    prelude = {"torch": engine, "engine": engine, "nn": engine.nn, "pl": lit, "lit": lit}
    runner = doctest.DocTestRunner(optionflags=FLAGS)
    report: list[str] = []
    module = importlib.import_module(name)
    for example in doctest.DocTestFinder(exclude_empty=True).find(module, extraglobs=prelude):
        engine.manual_seed(0)
        runner.run(example, out=report.append)
    assert runner.failures == 0, "".join(report)
