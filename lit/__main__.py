"""``python -m lit`` (also installed as ``lit``): look into checkpoints, convert them, report on runs."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lit", description="Look into checkpoints, convert them, report on runs.")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    info = commands.add_parser("info", help="what is in a checkpoint or weights file")
    info.add_argument("file", type=Path)
    info.add_argument("--json", action="store_true", help="as JSON, for programs")
    convert = commands.add_parser("convert", help="to and from the files of Lightning, torch and safetensors")
    convert.add_argument("source", type=Path)
    convert.add_argument("target", type=Path)
    convert.add_argument(
        "--to", choices=("lit", "lightning", "torch", "safetensors"), help="kind of the target; guessed from its name"
    )
    convert.add_argument("--force", action="store_true", help="replace the target if there is one")
    report = commands.add_parser("report", help="one HTML page about a run, several runs, or a folder of runs")
    report.add_argument("folders", type=Path, nargs="+", metavar="RUN_DIR")
    report.add_argument("-o", "--output", type=Path, help="the page; default: report.html in the (first) folder")
    report.add_argument("--title", help="title of the page")
    report.add_argument("--terminal", action="store_true", help="draw the curves in the terminal instead")
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; returns the exit status: 0, 1 where a file is missing or wrong, 2 for a wrong command line."""
    given = _parser().parse_args(arguments)
    try:
        if given.command == "info":
            from lit.tools.info import describe_file

            print(describe_file(given.file, as_json=given.json))
        elif given.command == "convert":
            from lit.tools.convert import convert

            print(convert(given.source, given.target, given.to, given.force))
        elif given.terminal:
            from lit.report import draw_in_terminal

            print(draw_in_terminal(given.folders))
        else:
            from lit.report import write_report

            print(write_report(given.folders, given.output, given.title))
    except BrokenPipeError:  # the reader (head, less) has seen enough
        sys.stderr.close()
    except (OSError, ValueError, TypeError, RuntimeError) as error:
        print(f"lit {given.command}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
