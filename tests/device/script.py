"""`python -m tests.device`: everything to be learnt on a machine with a GPU, in one call with a time limit.

    python -m tests.device --out "$OUT" --seconds 500

Three parts, each going on when a piece of it fails: facts (what was only read in sources), cards (every operator against the
CPU's), times (steps beside torch). The report is rewritten after every piece, so that a run that is cut off still tells.
`--stand-in` runs the same on the stand-in for CuPy, to see that the script itself works.
"""

from __future__ import annotations

import argparse
import json
import re
import time
import traceback
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from engine import backend

PARTS = ("facts", "cards", "times")


class Report:
    """What was found so far, in a file."""

    def __init__(self, out: Path, seconds: float) -> None:
        self.path, self.end = out / "report.json", time.monotonic() + seconds
        self.found: dict[str, Any] = {}

    def left(self) -> float:
        return self.end - time.monotonic()

    def add(self, part: str, name: str, value: Any) -> None:
        self.found.setdefault(part, {})[name] = value
        self.path.write_text(json.dumps(self.found, indent=1, default=str) + "\n")
        print(f"{part} | {name} | {json.dumps(value, default=str)[:600]}", flush=True)


def attempt(fn: Callable[[], Any]) -> Any:
    """What `fn` gives, or where and how it failed."""
    try:
        return fn()
    except Exception as error:
        frames = [f"{Path(f.filename).name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__)][-3:]
        return f"FAILED {type(error).__name__}: {str(error)[:400]} at {' < '.join(reversed(frames))}"


def run_facts(report: Report, only: str) -> None:
    from tests.device import captures, facts_cudnn  # noqa: F401 - more facts
    from tests.device.facts import FACTS

    for name, fn in FACTS.items():
        if re.search(only, name) and report.left() > 0:
            report.add("facts", name, attempt(fn))


def run_cards(report: Report, only: str) -> None:
    """Every sample in float32 and bfloat16 with its gradients; failures by cause."""
    from tests.device import test_cards as cards

    causes: dict[str, list[str]] = defaultdict(list)
    tried = 0
    for (label, i, sample) in cards.CASES:
        if not re.search(only, label) or report.left() < 0:
            continue
        for kind in ("float32", "bfloat16", "gradient"):
            tried += 1
            try:
                cards.compare(sample, kind)
            except BaseException as error:
                if isinstance(error, KeyboardInterrupt):
                    raise
                cause = error.__context__ if isinstance(error, RuntimeError) and error.__context__ else error
                frames = [f for f in traceback.extract_tb(cause.__traceback__) if "/engine/" in f.filename]
                place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else "?"
                text = " ".join(str(cause).split())[:160]
                causes[f"{type(cause).__name__} at {place}: {text}"].append(f"{label}-{i} {kind}")
    ordered = sorted(causes.items(), key=lambda item: -len(item[1]))
    report.add("cards", "failed", {cause: [len(names), *names[:3]] for cause, names in ordered[:80]})
    report.add("cards", "tried", tried)
    report.add("cards", "failures", sum(map(len, causes.values())))


def run_times(report: Report, only: str) -> None:
    from tests.benchmarks import gpu

    report.add("times", "at most", attempt(gpu.ceilings))
    for row in gpu.ROWS:
        if re.search(only, row.name) and report.left() > 0:
            report.add("times", row.name, attempt(lambda: gpu.measure(row, gpu.peer()).summary()))  # noqa: B023 - called at once


def main(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Run the parts that are asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.device", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("."), help="the folder for report.json")
    parser.add_argument("--seconds", type=float, default=500, help="time for everything; half of what is left goes to cards")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--only", default="", help="a regular expression for names")
    parser.add_argument("--stand-in", action="store_true", help="on the stand-in for CuPy")
    args = parser.parse_args(argv)
    if args.stand_in:
        from tests import fake_cupy

        backend._cuda_ok, backend._cupy = True, fake_cupy.install()
    args.out.mkdir(parents=True, exist_ok=True)
    report = Report(args.out, args.seconds)
    report.add("device", "is_available", attempt(backend.cuda_available))
    whole_end = report.end
    for part, run in (("facts", run_facts), ("cards", run_cards), ("times", run_times)):
        if part in args.parts.split(","):
            report.end = min(whole_end, time.monotonic() + (whole_end - time.monotonic()) / (2 if part == "cards" else 1))
            outcome = attempt(lambda: run(report, args.only))  # noqa: B023 - called at once
            if outcome is not None:
                report.add(part, "stopped", outcome)
            report.end = whole_end
    return report.found
