"""`python -m tests.benchmarks`: all measures in one run, a table for each group."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib
import importlib.util
import json
import os
import platform
from collections.abc import Callable, Sequence

from engine.serialization.atomic import replacing
from tests.benchmarks import costs, operators, rows, training
from tests.benchmarks.timing import Row, table

GROUPS = ("operators", "training", "costs", "models")


def processor() -> str:
    """The processor's name as Linux gives it, or what Python knows elsewhere."""
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        for line in file:
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, action="append", help="a group of measures (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short round each: shows that it works, not how fast")
    parser.add_argument("--rows", metavar="TEXT", default="", help="of the group models, the rows whose name has TEXT in it")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers, with the machine they are of")
    args = parser.parse_args(argv)
    import engine
    import lit

    installed = all(importlib.util.find_spec(name) for name in ("torch", "lightning"))
    torch = importlib.import_module("torch") if installed else None
    libraries = {"ours": (engine, lit)}
    if torch is not None:
        libraries["theirs"] = (torch, importlib.import_module("lightning.pytorch"))
    groups: dict[str, Callable[[], list[Row]]] = {
        "operators": lambda: operators.measure(engine, torch, args.quick),
        "training": lambda: training.measure(libraries, args.quick),
        "costs": lambda: costs.measure(args.quick),
        "models": lambda: rows.measure(engine, torch, args.quick, args.rows),
    }
    versions = "no torch here"
    if torch is not None:
        versions = f"torch {torch.__version__}, lightning {libraries['theirs'][1].__version__}"
    machine = f"Python {platform.python_version()}, {processor()}, {os.cpu_count()} cores, {versions}"
    print(f"{machine}; medians of interleaved rounds")
    measured = {}
    for name in args.only or GROUPS:
        measured[name] = groups[name]()
        print("\n" + table(measured[name]), flush=True)
    if args.json:
        found = {name: [dataclasses.asdict(row) for row in lines] for name, lines in measured.items()}
        with replacing(args.json) as file:
            file.write(json.dumps({"machine": machine, "groups": found}, indent=1).encode())


if __name__ == "__main__":
    main()
