"""Argument types, and the options that choose devices, for commands and for pytest.

argparse turns their ArgumentTypeError into one line that names the option.
"""

import argparse
import math
from collections.abc import Callable
from typing import Any

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


def number(
    fits: Callable[[Any], bool], wanted: str, kind: Callable[[str], Any] = float
) -> Callable[[str], Any]:
    """Return a parser of the numbers that ``fits`` accepts; ``wanted`` is what the error asks for.

    Infinity and NaN, which ``float()`` takes too, are refused.
    """

    def parse(text: str) -> Any:
        try:
            found = kind(text)
        except ValueError:
            found = math.nan
        if not (fits(found) and math.isfinite(found)):
            raise argparse.ArgumentTypeError(f"{text!r}: give {wanted}")
        return found

    return parse


def whole(least: int) -> Callable[[str], int]:
    """Return a parser of whole numbers from ``least`` to the largest that int64 holds."""
    return number(lambda found: least <= found < 2**63, f"a whole number, {least} or more", int)


rate = number(lambda found: found > 0, "a number above 0")
momentum = number(lambda found: 0 <= found < 1, "a number from 0 to less than 1")
seconds = number(lambda found: found >= 0, "0 seconds or more")
time_limit = number(lambda found: found > 0, "more than 0 seconds")
percent = number(lambda found: 0 <= found <= 100, "a number from 0 to 100")
