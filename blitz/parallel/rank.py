"""Which of the processes that train together this one is."""

from typing import NamedTuple


class Rank(NamedTuple):
    """A process among those of one training.

    Attributes:
        rank: Its number, from 0.
        processes: How many there are.
        beside: How many of them share the memory of this machine.
    """

    rank: int = 0
    processes: int = 1
    beside: int = 1


WHOLE = Rank()
"""The only process, which has all of every batch."""
