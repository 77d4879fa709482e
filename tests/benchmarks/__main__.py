"""`python -m tests.benchmarks`: all measures in one run, a table for each group."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import platform
from collections.abc import Callable, Sequence

from tests.benchmarks import costs, operators, training
from tests.benchmarks.timing import Row, table

GROUPS = ("operators", "training", "costs")


def main(argv: Sequence[str] | None = None) -> None:
    """Measure and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    parser.add_argument("--only", choices=GROUPS, action="append", help="a group of measures (default: all)")
    parser.add_argument("--quick", action="store_true", help="one short round each: shows that it works, not how fast")
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
    }
    versions = "no torch here"
    if torch is not None:
        versions = f"torch {torch.__version__}, lightning {libraries['theirs'][1].__version__}"
    print(f"Python {platform.python_version()}, {os.cpu_count()} cores, {versions}; medians of interleaved rounds")
    for name in args.only or GROUPS:
        print("\n" + table(groups[name]()), flush=True)


if __name__ == "__main__":
    main()
