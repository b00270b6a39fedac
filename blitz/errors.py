"""What every error that a user can mend has in common."""


class BlitzError(Exception):
    """Something outside of the program is amiss; the message names it, the fault and the remedy.

    The command line shows the message alone, without a traceback.
    """
