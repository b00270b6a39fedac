"""What commands' options have in common: kinds of numbers, and the choice of devices.

argparse turns a wrong number into an error that names the option.
"""

import argparse
import math
from collections.abc import Callable

from blitz import preflight


def add_devices(add: Callable[..., object], choice: str) -> None:
    """``--device``, ``--import`` and ``--preflight-limit``.

    Args:
        add: ``add_argument`` of a parser, or pytest's ``addoption``.
        choice: What is done with the devices that ``--device`` names, and with which by default.
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
        default=preflight.LIMIT,
        metavar="SECONDS",
        help="take a device for hung whose first trial takes longer (default: %(default)g)",
    )


def whole(least: int, most: int = 2**63 - 1) -> Callable[[str], int]:
    """A whole number from ``least`` to ``most``."""

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
    """A learning rate: more than 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number above 0")
    return number


def momentum(text: str) -> float:
    """A momentum: from 0 to less than 1."""
    number = _number(text)
    if not 0 <= number < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to less than 1")
    return number


def seconds(text: str) -> float:
    """A time: 0 or more."""
    number = _number(text)
    if not 0 <= number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give 0 seconds or more")
    return number


def time_limit(text: str) -> float:
    """A time: more than 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give more than 0 seconds")
    return number


def minutes(text: str) -> float:
    """A time: more than 0."""
    number = _number(text)
    if not 0 < number < math.inf:
        raise argparse.ArgumentTypeError(f"{text!r}: give more than 0 minutes")
    return number


def percent(text: str) -> float:
    """A share: 0 to 100."""
    number = _number(text)
    if not 0 <= number <= 100:
        raise argparse.ArgumentTypeError(f"{text!r}: give a number from 0 to 100")
    return number


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan
