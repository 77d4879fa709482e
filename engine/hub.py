"""`engine.hub`: models defined by a `hubconf.py` in a local folder. Nothing is downloaded."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from .errors import did_you_mean, not_supported

__all__ = ["get_dir", "help", "list", "load", "load_state_dict_from_url", "set_dir"]

_dir: Path | None = None


def _entries(folder: Any) -> dict[str, Any]:
    """The public functions of a folder's hubconf.py, which is run. FileNotFoundError without one."""
    path = Path(folder).expanduser() / "hubconf.py"
    if not path.is_file():
        raise FileNotFoundError(f"[Errno 2] No such file or directory: '{path}'. HINT: the folder needs a hubconf.py that "
                                "defines its models as functions.")
    sys.path.insert(0, str(path.parent))
    try:
        spec: Any = importlib.util.spec_from_file_location("hubconf", path)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    missing = [name for name in getattr(module, "dependencies", ()) if importlib.util.find_spec(name) is None]
    if missing:
        raise RuntimeError(f"Missing dependencies: {', '.join(missing)}")
    return {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}


def _check_local(source: str, what: str) -> None:
    if source.lower() != "local":
        raise not_supported(f"{what} from '{source}'", "other people's code is not downloaded: get the folder yourself and "
                            "pass its path with source='local'.")


def _find(folder: Any, model: Any) -> Any:
    if not isinstance(model, str):
        raise ValueError("Invalid input: model should be a string of function name")
    entries = _entries(folder)
    if model not in entries:
        raise RuntimeError(f"Cannot find callable {model} in hubconf.{did_you_mean(model, entries)}")
    return entries[model]


def load(repo_or_dir: Any, model: str, *args: Any, source: str = "github", trust_repo: Any = None,
         force_reload: bool = False, verbose: bool = True, skip_validation: bool = False, **kwargs: Any) -> Any:
    """What the function `model` of a local folder's hubconf.py returns for the remaining arguments.

    `source` must be "local": NotImplementedError for others. FileNotFoundError without a hubconf.py, RuntimeError for a
    function that it does not define and for dependencies that are not installed.
    """
    _check_local(source, "torch.hub.load")
    return _find(repo_or_dir, model)(*args, **kwargs)


def list(github: Any, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = None,
         verbose: bool = True, source: str = "local") -> Sequence[str]:
    """The names of the functions that a local folder's hubconf.py defines."""
    _check_local(source, "torch.hub.list")
    return sorted(_entries(github))


def help(github: Any, model: str, force_reload: bool = False, skip_validation: bool = False, trust_repo: Any = None,
         source: str = "local") -> str | None:
    """The documentation of a function of a local folder's hubconf.py."""
    _check_local(source, "torch.hub.help")
    return _find(github, model).__doc__


def get_dir() -> str:
    """The folder for downloaded files, which nothing here uses: `set_dir`'s, or ~/.cache/torch/hub."""
    return str(_dir or Path.home() / ".cache" / "torch" / "hub")


def set_dir(d: Any) -> None:
    """Set what `get_dir` returns."""
    global _dir
    _dir = Path(d).expanduser()


def load_state_dict_from_url(*args: Any, **kwargs: Any) -> NoReturn:
    """NotImplementedError: files are not downloaded."""
    raise not_supported("torch.hub.load_state_dict_from_url", "download the file and read it with torch.load(path).")
