"""Draw training throughput over the width of the net, from results of the benchmarks.

FILE is what `pytest --benchmark-only --benchmark-json FILE` wrote; several of them, from several
machines, are laid over each other. There is a panel for each batch size and a line for each device;
where an accelerator overtakes the cpu of its machine is marked, and said in words.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz plot-benchmark``."""
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results")
    parser.add_argument(
        "-o", "--out", type=Path, required=True, metavar="PNG", help="the picture to write"
    )


def run(args: argparse.Namespace) -> int:
    """Write the picture, print where each accelerator overtakes its cpu, and return 0."""
    from blitz import plots
    from blitz.base import files
    from blitz.harness.benchmarks import verdicts
    from blitz.measuring import picture, throughput

    machines = [throughput.read(file) for file in args.files]
    drawn = plots.png(picture.throughput_over_width(machines))
    files.write(args.out, drawn, "the picture")
    for machine in machines:
        for sentence in verdicts(machine.points, machine.no_accelerator):
            print(f"{machine.name}: {sentence}")
    print(f"wrote {args.out}")
    return 0
