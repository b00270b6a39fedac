"""Argument types, and the options that choose devices, for commands and for pytest.

argparse turns their ArgumentTypeError into one line that names the option.
"""

import argparse
import math
from collections.abc import Callable

DATA = (
    "the images: the folder that holds cifar-10-batches-py/, or one with train/<class>/ and "
    "test/<class>/ (default: made on the spot)"
)
DEVICE = (
    "cpu, cuda, cuda:1, … (default: the first accelerator, else the cpu); under torchrun the kind "
    "alone, since each process has a device of its own"
)


def add_devices(add: Callable[..., object], choice: str, *, limit: float) -> None:
    """Add ``--device`` (its help is ``choice``), ``--import`` and ``--preflight-limit``.

    ``add`` is ``add_argument`` of a parser or pytest's ``addoption``; ``limit`` is in seconds.
    """
    add("--device", metavar="NAME[,NAME…]", help=choice)
    add(
        "--import",
        action="append",
        default=[],
        dest="imports",
        metavar="MODULE",
        help="import MODULE first, for a backend that torch does not load by itself (torch_npu, "
        "…); may be given several times",
    )
    add(
        "--preflight-limit",
        type=time_limit,
        default=limit,
        metavar="SECONDS",
        help="take a device for hung whose first trial takes longer (default: %(default)g)",
    )


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least`` to ``most``."""

    def parse(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if not least <= number <= most:
            limit = f"{least} or more" if most == 2**63 - 1 else f"{least} to {most}"
            raise argparse.ArgumentTypeError(f"{text!r}: give a whole number, {limit}")
        return number

    return parse


def rate(text: str) -> float:
    """Parse a learning rate: more than 0."""
    return _number(text, lambda number: 0 < number < math.inf, "a number above 0")


def momentum(text: str) -> float:
    """Parse a momentum: from 0 to less than 1."""
    return _number(text, lambda number: 0 <= number < 1, "a number from 0 to less than 1")


def seconds(text: str) -> float:
    """Parse a time in seconds: 0 or more."""
    return _number(text, lambda number: 0 <= number < math.inf, "0 seconds or more")


def time_limit(text: str) -> float:
    """Parse a time in seconds: more than 0."""
    return _number(text, lambda number: 0 < number < math.inf, "more than 0 seconds")


def minutes(text: str) -> float:
    """Parse a time in minutes: more than 0."""
    return _number(text, lambda number: 0 < number < math.inf, "more than 0 minutes")


def percent(text: str) -> float:
    """Parse a percentage: 0 to 100."""
    return _number(text, lambda number: 0 <= number <= 100, "a number from 0 to 100")


def _number(text: str, fits: Callable[[float], bool], wanted: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan  # which no comparison accepts
    # float() takes "inf" and "nan" too: the bounds of each option leave them out.
    if not fits(number):
        raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}")
    return number
