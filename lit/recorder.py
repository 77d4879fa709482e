"""Record the start and the end of every hook of a run: for tests, for docs/hooks.md, and to look at a run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from lit.hooks import HOOKS

# Not hooks, but methods whose place among them matters.
ALSO_RECORDED = {"M": ("forward", "zero_grad", "eval", "train", "clip_gradients"), "C": (), "D": ()}


@dataclass
class Recorder:
    """Makes subclasses that record their hooks; ``events`` holds ("start" or "end", "M.training_step", arguments).

    Only numbers and strings among the arguments are kept. ``base`` may be a class of any library with the same names,
    so that two libraries can be compared.

    Example:
        >>> from lit.recorder import Recorder
        >>> recorder = Recorder()
        >>> callback = recorder.recording(pl.Callback, "C")()
        >>> callback.on_fit_start(None, None)
        >>> recorder.starts()
        ['C.on_fit_start']
    """

    events: list[tuple[str, str, tuple[Any, ...]]] = field(default_factory=list)

    def starts(self) -> list[str]:
        """Names in the order in which the hooks began."""
        return [name for phase, name, _ in self.events if phase == "start"]

    def ends(self) -> list[str]:
        """Names in the order in which the hooks finished."""
        return [name for phase, name, _ in self.events if phase == "end"]

    def recording(self, base: type, letter: str) -> type:
        """A subclass of ``base`` that records the hooks of its kind: "C" callback, "M" module, "D" datamodule."""
        names = [hook.name for hook in HOOKS if letter in hook.receivers] + list(ALSO_RECORDED[letter])
        methods = {name: self._recorded(base, name, letter) for name in names if hasattr(base, name)}
        return type(f"Recorded{base.__name__}", (base,), methods)

    def _recorded(self, base: Any, name: str, letter: str) -> Callable[..., Any]:
        inner, events = getattr(base, name), self.events

        def method(self: Any, *args: Any, **kwargs: Any) -> Any:
            plain = tuple(value for value in (*args, *kwargs.values()) if isinstance(value, (int, str)))
            events.append(("start", f"{letter}.{name}", plain))
            result = inner(self, *args, **kwargs)
            events.append(("end", f"{letter}.{name}", plain))
            return result

        method.__name__ = name
        return method
