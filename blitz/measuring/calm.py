"""Whether the machine did other work while something was measured, and measuring it again then."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, TypeVar

T = TypeVar("T")

BUSY = 0.2
"""The share of all cores' time that others may take before a figure is not to be believed."""

ATTEMPTS = 3

PROC = Path("/proc")


class Usage(NamedTuple):
    """Seconds of processor time since some moment: of all processes, of ours; and the clock."""

    all: float
    ours: float
    clock: float


def usage() -> Usage | None:
    """Return the processor time used so far; None where the system does not tell (not Linux)."""
    try:
        ticks = [int(word) for word in (PROC / "stat").read_text().split("\n")[0].split()[1:9]]
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = ticks
        # Workers of a DataLoader are ours; os.times() counts them only when they have ended.
        ours = sum(_of(child.pid) for child in multiprocessing.active_children())
    except (OSError, ValueError):
        return None
    a_second = os.sysconf("SC_CLK_TCK")
    # Without guest time, which Linux counts in user already.
    every = (user + nice + system + interrupts + soft_interrupts + stolen) / a_second
    return Usage(every, sum(os.times()[:4]) + ours / a_second, time.monotonic())


def _of(pid: int | None) -> int:
    """Return the ticks of one process, from what follows its name in parentheses."""
    # From the right: the name of a program may hold a parenthesis itself.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def others_share(before: Usage | None, after: Usage | None) -> float | None:
    """Return the share of all cores' time that other processes took; None if not known."""
    if before is None or after is None or after.clock <= before.clock:
        return None
    # Below zero by rounding: a tick is 10 ms on most systems.
    others = (after.all - before.all) - (after.ours - before.ours)
    return max(0.0, others / (after.clock - before.clock) / (os.cpu_count() or 1))


def measured(work: Callable[[], T]) -> tuple[T, float | None]:
    """Do ``work()`` until the machine is calm meanwhile; return the last result and the share.

    After :data:`ATTEMPTS` the share that others took is above :data:`BUSY`, and says so.
    """
    for _ in range(ATTEMPTS):
        before = usage()
        result = work()
        share = others_share(before, usage())
        if share is None or share <= BUSY:
            break
    return result, share
