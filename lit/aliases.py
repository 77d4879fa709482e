"""``lit.callbacks.x`` and ``lit.loggers.x`` are the modules ``callbacks.x`` and ``loggers.x``, not copies of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOMS = ("callbacks", "loggers")


class _SameModule(MetaPathFinder, Loader):
    """Answers imports below ``lit.callbacks`` and ``lit.loggers`` with the module of the room itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        package, _, rest = fullname.partition(".")
        if package != "lit" or rest.partition(".")[0] not in ROOMS:
            return None
        return ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        module = importlib.import_module(spec.name.partition(".")[2])
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import machinery has put the alias's spec there


def install() -> None:
    """Make the aliases importable."""
    if not any(isinstance(finder, _SameModule) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SameModule())
    for room in ROOMS:
        sys.modules[f"lit.{room}"] = importlib.import_module(room)
