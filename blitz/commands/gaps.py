"""Write the known gaps of a backend from a run's result, as a profile to be read by hand."""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz gaps``."""
    parser.add_argument("result", type=Path, metavar="A.json", help="the result of a run")
    parser.add_argument("--device", metavar="NAME", help="default: the accelerator of the run")


def run(args: argparse.Namespace) -> int:
    """Print the profile: a line for each claim that failed on the device; return 0."""
    from blitz.harness import backends, conformance

    result = conformance.read(args.result)
    print("\n".join(backends.profile(result, args.device)))
    return 0
