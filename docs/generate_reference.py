"""The API reference: one page per namespace, written from the docstrings while MkDocs builds the site (`mkdocs.yml`).

    mkdocs build --strict        # -> site/

The pages exist in the site only, so that they cannot be stale. Docstrings are Markdown; here their `Args:` and `Raises:`
become lists and their examples code blocks.
"""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from typing import Any

# (page, title, what its names are read from)
PAGES = (
    ("torch", "engine: functions", "engine"), ("tensor", "engine.Tensor", "engine.Tensor"),
    ("nn", "engine.nn", "engine.nn"), ("nn_functional", "engine.nn.functional", "engine.nn.functional"),
    ("nn_init", "engine.nn.init", "engine.nn.init"), ("nn_utils", "engine.nn.utils", "engine.nn.utils"),
    ("optim", "engine.optim", "engine.optim"), ("lr_scheduler", "engine.optim.lr_scheduler", "engine.optim.lr_scheduler"),
    ("linalg", "engine.linalg", "engine.linalg"), ("fft", "engine.fft", "engine.fft"),
    ("special", "engine.special", "engine.special"), ("autograd", "engine.autograd", "engine.autograd"),
    ("distributions", "engine.distributions", "engine.distributions"), ("amp", "engine.amp", "engine.amp"),
    ("data", "engine.utils.data", "engine.utils.data"), ("serialization", "engine.serialization", "engine.serialization"),
    ("cuda", "engine.cuda", "engine.cuda"), ("lit", "lit", "lit"), ("callbacks", "callbacks", "callbacks"),
    ("loggers", "loggers", "loggers"),
)  # fmt: skip
SECTION = re.compile(r"^(Args|Raises|Returns|Attributes|Yields|Example|Shape):\s*(.*)$")
ENTRY = re.compile(r"^\s+(\*{0,2}[\w, `./]+?): (.*)$")


def find(path: str) -> Any:
    """The module or class of a dotted path."""
    head, _, tail = path.rpartition(".")
    try:
        return importlib.import_module(path)
    except ModuleNotFoundError:
        return getattr(importlib.import_module(head), tail)


def names_of(owner: Any) -> list[str]:
    """The public functions and classes of a module, or methods and properties of a class."""
    listed = None if inspect.isclass(owner) else getattr(owner, "__all__", None)
    names = sorted(set(listed or dir(owner)), key=lambda n: (n.lower(), n))
    public = [n for n in names if not n.startswith("_")]
    return [n for n in public if documented(inspect.getattr_static(owner, n, None) or getattr(owner, n))]


def documented(value: Any) -> bool:
    """Whether a value is something with a docstring of its own."""
    return bool(callable(value) or isinstance(value, property)) and bool(inspect.getdoc(value))


def signature(value: Any) -> str:
    """`(arguments)` without annotations, which the docstring explains; empty for properties."""
    if isinstance(value, property):
        return ""
    try:
        found = inspect.signature(value)
    except (TypeError, ValueError):
        return "(...)"
    plain = [p.replace(annotation=inspect.Parameter.empty) for p in found.parameters.values()]
    return re.sub(r" at 0x[0-9a-f]+", "", str(found.replace(parameters=plain, return_annotation=inspect.Signature.empty)))


def markdown(text: str) -> Iterator[str]:
    """A docstring's lines as Markdown."""
    example = listing = False
    for line in text.splitlines():
        if line.lstrip().startswith(">>>") and not example:
            example = True
            yield from ("", "```pycon")
        elif example and not line.strip():
            example = False
            yield "```"
        section, entry = SECTION.match(line), ENTRY.match(line)
        if example:
            yield line.strip() if line.lstrip().startswith((">>>", "...")) else line
        elif section:
            listing = True
            yield from ("", f"**{section[1]}.** {section[2]}", "")
        elif listing and entry and line.startswith("    ") and not line.startswith("      "):
            yield f"- `{entry[1].strip('`')}`: {entry[2]}"
        elif listing and line.startswith("    "):
            yield "  " + line.strip()
        else:
            listing = listing and not line.strip()
            yield line
    if example:
        yield "```"


def page(title: str, path: str) -> str:
    """The Markdown text of a namespace's page."""
    owner = find(path)
    lines = [f"# {title}", "", *markdown(inspect.getdoc(owner) or ""), ""]
    for name in names_of(owner):
        value = inspect.getattr_static(owner, name, None) or getattr(owner, name)
        plain = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
        kind = "class " if inspect.isclass(plain) else ""
        lines += ["", f"## {name}", "", "```python", f"{kind}{name}{signature(plain)}", "```", ""]
        lines += markdown(inspect.getdoc(plain) or "")
    return "\n".join(lines) + "\n"


def on_files(files: Any, config: Any) -> Any:
    """MkDocs calls this with the files of docs/: the generated pages join them."""
    from mkdocs.structure.files import File

    for name, title, path in PAGES:
        files.append(File.generated(config, f"reference/{name}.md", content=page(title, path)))
    return files
