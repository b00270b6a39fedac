"""Whether the machine did other work while something was measured, and measuring it again then."""

import multiprocessing
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

BUSY = 0.2
"""The share of all cores' time that others may take before a figure is not to be believed."""

ATTEMPTS = 3

PROC = Path("/proc")


def others() -> float | None:
    """Return the seconds of processor time that other processes used so far; None if not known."""
    try:
        ticks = [int(word) for word in (PROC / "stat").read_text().split("\n")[0].split()[1:9]]
        user, nice, system, _, _, interrupts, soft_interrupts, stolen = ticks
        # Workers of a DataLoader are ours; os.times() counts them only when they have ended.
        workers = sum(_of(child.pid) for child in multiprocessing.active_children())
    except (OSError, ValueError):  # not Linux
        return None
    # Without guest time, which Linux counts in user already.
    every = user + nice + system + interrupts + soft_interrupts + stolen
    return (every - workers) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def _of(pid: int | None) -> int:
    """Return the ticks of one process, from what follows its name in parentheses."""
    # From the right: the name of a program may hold a parenthesis itself.
    fields = (PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def measured(work: Callable[[], T]) -> tuple[T, float | None]:
    """Do ``work()`` until the machine is calm meanwhile; return the last result and the share.

    After :data:`ATTEMPTS` the share that others took is above :data:`BUSY`, and says so.
    """
    for _ in range(ATTEMPTS):
        before, began = others(), time.monotonic()
        result = work()
        after, took = others(), time.monotonic() - began
        if before is None or after is None:
            return result, None
        # Below zero by rounding: a tick is 10 ms on most systems.
        share = max(0.0, (after - before) / took / (os.cpu_count() or 1))
        if share <= BUSY:
            break
    return result, share
