"""Download the official CIFAR-10 (170 MB), for `--data`.

Its server is slow: 33 to 52 minutes at the 55 to 85 kB/s of 2026. If the download ends early, the
same command goes on from there. A file counts only when its MD5 is right.
"""

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

FOLDER = "data"
EVERY = 30.0
"""Seconds between two lines of progress where stderr is not a terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options of ``python -m blitz download``."""
    parser.add_argument(
        "--out", default=FOLDER, metavar="DIR", help="where to put it (default: %(default)s)"
    )
    parser.add_argument(
        "--mirror",
        metavar="URL",
        help="another address of cifar-10-python.tar.gz, or of its folder, with / at the end; the "
        "MD5 must be the original's",
    )


def run(args: argparse.Namespace) -> int:
    """Download it and print where it is; return 0, or 130 after Ctrl-C."""
    from blitz.images.download import fetch

    try:
        with shown() as progress:
            folder = fetch(args.out, mirror=args.mirror, progress=progress)
    except KeyboardInterrupt:
        print("interrupted; what came is kept, and the same command goes on", file=sys.stderr)
        return 130
    print(f"The official CIFAR-10 is in {folder}: use it with --data {folder}")
    return 0


@contextmanager
def shown() -> Iterator[Callable[[int, str], None]]:
    """Yield a function that shows progress: a bar on a terminal, else a line now and then."""
    from blitz.base import progress
    from blitz.images.download import SIZE

    bar: Any = None
    last = -math.inf

    def show(received: int, note: str) -> None:
        nonlocal bar, last
        # At the first byte: nothing is drawn where all of it is there already.
        bar = bar or until_the_end.enter_context(progress.bar(SIZE, "B", received, unit_scale=True))
        bar.update(received - bar.n)
        if note or (time.monotonic() - last >= EVERY and not sys.stderr.isatty()):
            last = time.monotonic()
            note = f": {note}" if note else ""
            progress.line(f"{received / 1e6:.1f} of {SIZE / 1e6:.1f} MB{note}")

    with ExitStack() as until_the_end:
        yield show
