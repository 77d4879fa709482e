"""`python -m tests.benchmarks.gpu`: training steps and kernels on a GPU, beside torch in the same run.

    python -m tests.benchmarks.gpu --out "$OUT" --seconds 400 --markdown docs/performance.md

Milliseconds by events on the device, contestants in turns, the median of rounds. Ours run eager and captured as a graph, torch
eager and, where a row says so, compiled. A row that fails says why and the next one goes on. `--stand-in` runs tiny sizes on
the stand-in for CuPy, to see that the rows themselves work.
"""

from __future__ import annotations

import argparse
import dataclasses
import importlib
import importlib.util
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import engine
from engine import backend
from engine.gpu import cudnn, gemm
from tests.benchmarks import report
from tests.benchmarks.gpu_rows import ROWS, Row, small

ROUND = 0.3  # seconds that a contestant's turn takes about
TITLES = {"torch": "torch", "compiled": "torch.compile", "ours": "litengine", "captured": "captured"}


def peer() -> Any:
    """torch with CUDA, or None."""
    if importlib.util.find_spec("torch") is None:
        return None
    torch = importlib.import_module("torch")
    return torch if torch.cuda.is_available() else None


def spent(lib: Any, step: Callable[[], Any], calls: int) -> float:
    """Milliseconds per call, by events."""
    first, last = lib.cuda.Event(enable_timing=True), lib.cuda.Event(enable_timing=True)
    first.record()
    for _ in range(calls):
        step()
    last.record()
    last.synchronize()
    return first.elapsed_time(last) / calls


def captured(step: Callable[[], Any]) -> Callable[[], Any]:
    """The step as a graph."""
    graph = engine.cuda.CUDAGraph()
    with engine.cuda.graph(graph):
        step()
    return graph.replay


def ceilings() -> dict[str, float]:
    """What this card does at most: TFLOP/s of a large product of bfloat16, and GB/s of a copy, reading and writing."""
    n, size = (128, 1 << 12) if small() else (8192, 1 << 29)
    a, x = engine.randn(n, n, device="cuda").bfloat16(), engine.zeros(size, device="cuda")
    found = {}
    for name, work, amount in (("TFLOP/s", lambda: a @ a, 2 * n**3 / 1e9), ("GB/s", lambda: x.clone(), 2 * x.nbytes / 1e6)):
        spent(engine, work, 3)
        found[name] = amount / statistics.median([spent(engine, work, 3 if small() else 20) for _ in range(3)])
    return found


@dataclasses.dataclass
class Found:
    """What a row gave: milliseconds per call of every round by contestant, and why one could not take part."""

    row: Row
    rounds: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    failures: dict[str, str] = dataclasses.field(default_factory=dict)

    def median(self, name: str) -> float | None:
        return statistics.median(self.rounds[name]) if self.rounds.get(name) else None

    def ratio(self, ours: str, theirs: str = "torch") -> float | None:
        """The median of the rounds' ratios."""
        pairs = zip(self.rounds.get(ours, ()), self.rounds.get(theirs, ()))
        ratios = [a / b for a, b in pairs if b]
        return statistics.median(ratios) if ratios else None

    def summary(self) -> dict[str, Any]:
        """For a report: medians, ratios, goals, what is reached of the row's work per second, failures."""
        best = min((m for m in (self.median("ours"), self.median("captured")) if m), default=None)
        rates = {unit: round(amount / best, 2) for unit, amount in self.row.work.items()} if best else {}
        return {"milliseconds": {name: round(m, 4) for name in self.rounds if (m := self.median(name)) is not None},
                "ratio": {name: round(r, 3) for name in ("ours", "captured") if (r := self.ratio(name)) is not None},
                "ratio to torch.compile": self.ratio("captured", "compiled"), "goals": self.row.goals, **rates,
                **({"failed": self.failures} if self.failures else {})}  # fmt: skip


def _contestants(row: Row, torch: Any, found: Found) -> dict[str, tuple[Any, Callable[[], Any]]]:
    """(library, step) by name, warmed up; those that fail are noted in `found`."""
    makers: dict[str, Callable[[], tuple[Any, Callable]]] = {"ours": lambda: (engine, row.make(engine))}
    if torch is not None:
        makers["torch"] = lambda: (torch, row.make(torch))
        if row.compiled:
            makers["compiled"] = lambda: (torch, row.make(torch, compile=True))
    ready: dict[str, tuple[Any, Callable[[], Any]]] = {}

    def attempt(name: str, make: Callable[[], tuple[Any, Callable]]) -> None:
        try:
            lib, step = make()
            for _ in range(3):
                step()
            lib.cuda.synchronize()
            ready[name] = lib, step
        except Exception as error:  # the others are worth having all the same
            found.failures[name] = f"{type(error).__name__}: {str(error)[:300]}"

    for name, make in makers.items():
        attempt(name, make)
    if "ours" in ready:
        attempt("captured", lambda: (engine, captured(ready["ours"][1])))
    return ready


def measure(row: Row, torch: Any = None, rounds: int = 5, calls: int | None = None) -> Found:
    """A row's rounds, each contestant in turn."""
    found = Found(row)
    ready = _contestants(row, torch, found)
    counts = {name: calls or max(1, min(1000, int(ROUND * 1000 / max(spent(lib, step, 2), 1e-3))))
              for name, (lib, step) in ready.items()}
    for _ in range(rounds):
        for name, (lib, step) in ready.items():
            found.rounds.setdefault(name, []).append(spent(lib, step, counts[name]))
    return found


def table(found: Sequence[Found], limits: dict[str, float]) -> str:
    """The rows in Markdown, with what the card does at most below."""
    lines = [["measure, ms", *TITLES.values(), "ratio", "captured", "to torch.compile", "goal", "reached"], ["---"] * 10]
    for one in found:
        cells = [one.row.name, *("-" if (m := one.median(name)) is None else f"{m:.4g}" for name in TITLES)]
        ratios = [one.ratio("ours"), one.ratio("captured"), one.ratio("captured", "compiled")]
        cells += ["-" if r is None else f"{r:.2f}" for r in ratios]
        rates = [f"{value:.0f} {unit} ({value / limits[unit]:.0%})" for unit in one.row.work
                 if (value := one.summary().get(unit)) is not None]
        lines.append([*cells, ", ".join(f"{k} {v:g}" for k, v in one.row.goals.items()) or "-", ", ".join(rates) or "-"])
    most = ", ".join(f"{value:.0f} {unit}" for unit, value in limits.items())
    failed = [f"- {one.row.name}, {TITLES[name]}: {why}" for one in found for name, why in one.failures.items()]
    return "\n".join(["| " + " | ".join(line) + " |" for line in lines] + ["", f"This card at most: {most}.", *failed])


def main(argv: Sequence[str] | None = None) -> list[Found]:
    """Measure, print as it goes, and write what is asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.gpu", description=__doc__)
    parser.add_argument("--out", type=Path, help="a folder for gpu.json, which grows as rows are done")
    parser.add_argument("--seconds", type=float, default=400, help="no row is begun after that")
    parser.add_argument("--rows", metavar="TEXT", default="", help="only rows whose name has TEXT in it")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--markdown", metavar="FILE", type=Path, help="fill the table between the marks of FILE")
    parser.add_argument("--stand-in", action="store_true", help="on the stand-in for CuPy, once")
    args = parser.parse_args(argv)
    if args.stand_in:
        from tests import fake_cupy
        from tests.fake_cupy import cublaslt
        from tests.fake_cupy import cudnn as host

        backend._cuda_ok, backend._cupy = True, fake_cupy.install()
        gemm.library, cudnn.library = lambda: cublaslt, lambda: host
    end, torch, found = time.monotonic() + args.seconds, peer(), []
    limits = ceilings()
    print(f"at most: {limits}", flush=True)
    for row in ROWS:
        if args.rows.lower() in row.name.lower() and time.monotonic() < end:
            found.append(measure(row, torch, *((1, 1) if args.stand_in else (args.rounds, None))))
            print(row.name, json.dumps(found[-1].summary()), flush=True)
            if args.out is not None:
                args.out.mkdir(parents=True, exist_ok=True)
                rows = {one.row.name: {**one.summary(), "rounds": one.rounds} for one in found}
                (args.out / "gpu.json").write_text(json.dumps({"at most": limits, "rows": rows}, indent=1) + "\n")
    if args.markdown is not None:
        report.put(args.markdown, {"gpu": f"{engine.cuda.get_device_name()}.\n\n{table(found, limits)}"})
    return found


if __name__ == "__main__":
    main()
