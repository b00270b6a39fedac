"""Download the official CIFAR-10 (170 MB), for `--data`.

Its server is slow: 33 to 52 minutes at the 55 to 85 kB/s of 2026. Whatever ends the download, the
same command goes on from where it was. A file counts only when its digest is right.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, TextIO

from blitz.base import arguments

if TYPE_CHECKING:
    from blitz.images.download import Progress

FOLDER = "data"
EVERY = 30.0
"""Seconds between two lines of progress where the output is no terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of ``python -m blitz download``."""
    parser.add_argument(
        "--out", default=FOLDER, metavar="DIR", help="where to put it (default: %(default)s)"
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        help="another address of cifar-10-python.tar.gz, or of the folder it lies in, with / at "
        "its end; the digest must be the original's",
    )
    parser.add_argument(
        "--time-limit",
        type=arguments.minutes,
        default=120.0,
        metavar="MINUTES",
        help="give up after so long; what came is kept (default: %(default)g)",
    )
    parser.add_argument(
        "--tries",
        type=arguments.whole(1),
        default=5,
        metavar="N",
        help="failures in a row at which to give up; the pauses between them double "
        "(default: %(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Download, and say where it is: 0, or 130 where it was interrupted."""
    from blitz.images.download import fetch

    try:
        folder = fetch(
            args.out,
            mirror=args.mirror,
            progress=shown(sys.stderr),
            time_limit=60 * args.time_limit,
            tries=args.tries,
        )
    except KeyboardInterrupt:
        print(
            "interrupted; what came is kept, and the same command goes on from there",
            file=sys.stderr,
        )
        return 130
    print(f"The official CIFAR-10 is in {folder}: use it with --data {folder}")
    return 0


def shown(stream: TextIO) -> Callable[["Progress"], None]:
    """A function that shows progress: one line kept up to date on a terminal, else a line at
    first, at each wait, every half minute and at the end."""
    terminal = stream.isatty()
    last = -math.inf

    def show(progress: "Progress") -> None:
        nonlocal last
        whole = progress.received == progress.size
        if terminal:
            end = "\n" if progress.note or whole else ""
            print(f"\r\x1b[K{progress}", end=end, file=stream, flush=True)
        elif progress.note or whole or time.monotonic() - last >= EVERY:
            last = time.monotonic()
            print(progress, file=stream, flush=True)

    return show
