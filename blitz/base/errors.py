"""The base of every error that a user can mend."""

import textwrap
from typing import ClassVar


class BlitzError(Exception):
    """A fault outside of the program; the message names it, the fault and the remedy.

    The command line shows the message alone, without a traceback.

    Attributes:
        exit_code: What the command line ends with: 2 for an argument or an input that cannot be
            used, 1 for work that failed on the way.
    """

    exit_code: ClassVar[int] = 2


class UnusableDevice(BlitzError, RuntimeError):
    """A device that was asked for and cannot be used; the message says why and what to do."""


def first_line(error: BaseException) -> str:
    """Return the first line of an error, shortened; its type if it says nothing."""
    text = str(error).strip() or type(error).__name__
    return textwrap.shorten(text.splitlines()[0], 300, placeholder=" …")
