"""What every error that a user can mend has in common."""

from typing import ClassVar


class BlitzError(Exception):
    """Something outside of the program is amiss; the message names it, the fault and the remedy.

    The command line shows the message alone, without a traceback.

    Attributes:
        exit_code: What the command line ends with: 2 for an argument or an input that cannot be
            used, 1 for work that failed on the way.
    """

    exit_code: ClassVar[int] = 2
