"""`python -m tests.benchmarks`: everything measured beside torch and Lightning, interleaved in one run."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import engine
import lit
from tests.benchmarks import contestants, costs, large, machine, memory, operators, profiling, report, rows, training
from tests.benchmarks.timing import table

GROUPS = ("models", "sizes", "operators", "large", "training", "costs", "memory")
SUBSET = ("MLP 64-128-10", "operator, 16 floats", "in memory, 8192", "size 32", " @ ", "softmax", "sum,", "a + b")


def parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    made.add_argument("--only", choices=GROUPS, action="append", help="a group of measures (default: all)")
    made.add_argument("--rows", metavar="TEXT", action="append", help="only rows whose name has TEXT in it")
    made.add_argument("--subset", action="store_true", help="a few rows, in less than a minute")
    made.add_argument("--quick", action="store_true", help="few rows, one short round: shows that it works, not how fast")
    made.add_argument("--rounds", type=int, help="how often each contestant has its turn (default: 5)")
    made.add_argument("--json", metavar="FILE", type=Path, help="keep the numbers in FILE, with those that it has already")
    made.add_argument("--markdown", metavar="FILE", type=Path, help="fill the tables between the marks of FILE")
    made.add_argument("--plot", metavar="FILE", type=Path, help="draw the ratios (needs matplotlib: the extra `bench`)")
    made.add_argument("--show", action="store_true", help="measure nothing: --markdown and --plot of what --json has")
    made.add_argument("--profile", metavar="ROW", help="say where the time of the row with ROW in its name goes")
    made.add_argument("--mode", choices=("fast", "numpy"), default=contestants.modes()[0], help="of --profile")
    return made


def installed() -> tuple[ModuleType, ModuleType] | None:
    """torch and Lightning, if both are there."""
    if not all(importlib.util.find_spec(name) for name in ("torch", "lightning")):
        return None
    return importlib.import_module("torch"), importlib.import_module("lightning.pytorch")


def measured(args: argparse.Namespace, theirs: tuple[ModuleType, ModuleType] | None) -> report.Groups:
    """Run the groups, and print each one's table when it is done."""
    torch = theirs[0] if theirs else None
    wanted = args.rows or (SUBSET if args.subset else ("",))
    rounds = args.rounds or (1 if args.quick else 3 if args.subset else 5)

    def chosen(name: str) -> bool:
        return any(text.lower() in name.lower() for text in wanted)

    def of(cases: Sequence[rows.Case]) -> list[rows.Case]:
        return [case for case in cases if chosen(case.name)][:: 12 if args.quick else 1]

    least = 0.001 if args.quick else 0.1
    libraries = {"ours": (engine, lit), **({"theirs": theirs} if theirs else {})}
    measures: dict[str, Callable[[], list]] = {
        "models": lambda: rows.measure(of(rows.CASES), torch, least, rounds),
        "sizes": lambda: rows.measure(of(rows.SIZED_CASES), torch, least, rounds),
        "operators": lambda: operators.measure(engine, torch, least / 5, rounds, chosen),
        "large": lambda: rows.measure(of(large.cases(engine)), torch, least, rounds),
        "training": lambda: training.measure(libraries, least, rounds, 1 if args.quick else 5),
        "costs": lambda: costs.measure(torch is not None, rounds, *((200, 10**5) if args.quick else (10_000, 10**8))),
        "memory": lambda: memory.measure(of(rows.CASES), torch is not None),
    }
    groups = {}
    for name in args.only or (("models", "sizes", "operators") if args.subset else GROUPS):
        if found := measures[name]():
            groups[name] = found
            print(f"\n{name}\n\n{table(found)}", flush=True)
    return groups


def main(argv: Sequence[str] | None = None) -> None:
    """Measure, print, and write what is asked for."""
    args = parser().parse_args(argv)
    theirs = installed()
    torch = theirs[0] if theirs else None
    if args.profile:
        found = [case for case in (*rows.CASES, *rows.SIZED_CASES) if args.profile.lower() in case.name.lower()]
        if not found:
            raise SystemExit(f"no row has {args.profile!r} in its name; there are:\n" + "\n".join(c.name for c in rows.CASES))
        with contestants.same_threads(engine, torch):
            print(profiling.report(found[0], torch, args.mode, 0.01 if args.quick else 2.0))
        return
    where, groups = report.load(args.json) if args.json else ("", {})
    if not args.show:
        where = machine.description()
        print(where, flush=True)
        with contestants.same_threads(engine, torch):
            groups = report.merged(groups, measured(args, theirs))
    if args.json and not args.show:
        report.save(args.json, where, groups)
    if args.markdown:
        report.fill(args.markdown, where, groups)
    if args.plot:
        report.plot(args.plot, where, groups)


if __name__ == "__main__":
    main()
