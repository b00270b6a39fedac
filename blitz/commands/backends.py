"""Print what devices do with the claims, as a table made from the results of runs."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz backends``."""
    parser.add_argument(
        "results", type=Path, nargs="+", metavar="A.json", help="the results of runs"
    )


def run(args: argparse.Namespace) -> int:
    """Print the table in Markdown; return 0."""
    from blitz.harness import backends, conformance

    print("\n".join(backends.table([conformance.read(path) for path in args.results])))
    return 0
