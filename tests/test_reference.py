"""The pages of the API reference, as the site's generator writes them from the docstrings."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
SPEC = importlib.util.spec_from_file_location("generate_reference", ROOT / "docs" / "generate_reference.py")
reference = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(reference)


@pytest.mark.parametrize(("name", "title", "path"), reference.PAGES)
def test_a_page_has_every_name_and_closed_code_blocks(name, title, path):
    text = reference.page(title, path)
    assert text.startswith(f"# {title}\n") and text.count("```") % 2 == 0
    names = reference.names_of(reference.find(path))
    assert len(names) >= 5 and all(f"\n## {n}\n" in text for n in names)
    assert " at 0x" not in text


def test_the_site_lists_every_page():
    listed = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f"reference/{name}.md" in listed for name, _, _ in reference.PAGES)


def test_arguments_become_lists_and_examples_code():
    text = "\n".join(reference.markdown("Adds.\n\nArgs:\n    x: the first.\n        More.\n\n>>> 1 + 1\n2\n\nEnd."))
    assert "- `x`: the first.\n  More." in text and "```pycon\n>>> 1 + 1\n2\n```\n" in text
