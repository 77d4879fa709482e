"""Import names: ``lit.callbacks.x`` is the module ``callbacks.x``, and Lightning's module paths lead to ours.

Never a copy: the same module object under another name.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

ROOMS = ("callbacks", "loggers")
# Where Lightning has a name, and where it lives here.
PLACES = {
    "lit.core": "lit",
    "lit.core.module": "lit.module",
    "lit.core.datamodule": "lit.datamodule",
    "lit.core.optimizer": "lit.optimizers",
    "lit.core.hooks": "lit.core_hooks",
    "lit.core.mixins": "lit.hparams",
    "lit.trainer.trainer": "lit.trainer",
    "lit.trainer.states": "lit.state",
    "lit.tuner.tuning": "lit.tuner",
    "lit.tuner.lr_finder": "callbacks.lr_finder",
    "lit.utilities.combined_loader": "lit.combined_loader",
    "lit.utilities.exceptions": "callbacks.exceptions",
    "lit.utilities.parsing": "lit.hparams",
    "lit.utilities.seed": "lit.seed",
    "lit.plugins.environments": "lit.plugins",
    "lit.fabric": "lit",
    "lit.fabric.utilities": "lit.utilities",
    "lit.fabric.utilities.seed": "lit.seed",
    "lit.fabric.utilities.rank_zero": "lit.utilities.rank_zero",
    "lit.fabric.utilities.types": "lit.utilities.types",
    "lit.loggers.logger": "loggers.base",
    "lit.callbacks.callback": "callbacks.base",
    "lit.callbacks.stochastic_weight_avg": "callbacks.stochastic_weight_averaging",
    "lit.callbacks.spike": "callbacks.spike_detection",
    "lit.callbacks.progress.rich_progress": "callbacks.progress.rich_progress",
    "lit.callbacks.progress.base": "callbacks.progress.progress_bar",
}
PARENTS = ("lit.trainer", "lit.tuner")  # modules here, packages there


def home_of(name: str) -> str | None:
    """The module that an import name means; None where it is none of ours.

    Example:
        >>> from lit.aliases import home_of
        >>> home_of("lit.pytorch.callbacks"), home_of("lit.pytorch"), home_of("lit.trainer.states"), home_of("lit.loop")
        ('callbacks', 'lit', 'lit.state', None)
    """
    package, _, rest = name.partition(".")
    if package != "lit":
        return None
    if rest == "pytorch" or rest.startswith("pytorch."):
        plain = "lit" + rest.removeprefix("pytorch")
        return home_of(plain) or plain
    if name in PLACES:
        return PLACES[name]
    return rest if rest.partition(".")[0] in ROOMS else None


class _SameModule(MetaPathFinder, Loader):
    """Answers imports of another name with the module itself."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        return None if home_of(fullname) is None else ModuleSpec(fullname, self)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        home = home_of(spec.name)
        assert home is not None
        module = importlib.import_module(home)
        self._own_spec = module.__spec__
        return module

    def exec_module(self, module: ModuleType) -> None:
        module.__spec__ = self._own_spec  # the import machinery has put the alias's spec there


def install() -> None:
    """Make the names importable."""
    if not any(isinstance(finder, _SameModule) for finder in sys.meta_path):
        sys.meta_path.insert(0, _SameModule())
    for room in ROOMS:
        sys.modules[f"lit.{room}"] = importlib.import_module(room)
    for parent in PARENTS:
        sys.modules[parent].__path__ = []  # type: ignore[attr-defined]
