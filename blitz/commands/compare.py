"""Say what changed between two results of pytest spec --conformance FILE, and whether for worse."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz compare``."""
    parser.add_argument("before", type=Path, metavar="A.json", help="the first result")
    parser.add_argument("after", type=Path, metavar="B.json", help="the second result")


def run(args: argparse.Namespace) -> int:
    """Print what changed; return 1 if a claim was lost on a device, else 0."""
    from blitz.harness import conformance

    before, after = conformance.read(args.before), conformance.read(args.after)
    for name, was, now in conformance.differences(before, after):
        print(f"{name}: {was} → {now}")
    changes = conformance.compare(before, after)
    for change in sorted(changes, key=lambda change: not change.regression):
        print(change)
    lost = sum(change.regression for change in changes)
    print(f"{lost} regressions, {len(changes) - lost} other changes")
    return int(lost > 0)
