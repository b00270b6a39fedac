"""Honest clocks: a device is waited for at the edges of what is timed, and nowhere inside.

Work on an accelerator is queued and done later. A clock that is read without waiting shows how long
the queueing took; one that waits after every operation adds the waits to each of them.
"""

import math
import statistics
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from blitz.base import backend
from blitz.base.errors import UnusableDevice

Clock = Callable[[], float]
"""Seconds since some moment."""

ROUND = 0.1
"""Seconds that a round takes at least: a hundred thousand times what a reading costs."""

ROW = 3.0
"""Seconds in which the rounds of one benchmark are to be over, where they can be."""

FEWEST, MOST = 3, 9
"""Rounds of a benchmark."""


def clock(device: torch.device) -> Clock:
    """Return a clock for work on ``device``: each reading waits for what was queued there.

    Raises:
        UnusableDevice: the device offers no way to wait for it, or it computes nothing.
    """
    if device.type == "meta":
        raise UnusableDevice(
            "device 'meta' cannot be timed: it computes nothing. Time the cpu or an accelerator."
        )
    backend.synchronize(device)  # raises where there is no way to wait

    def read() -> float:
        backend.synchronize(device)
        return time.perf_counter()

    return read


def seconds(work: Callable[[], object], read: Clock, times: int = 1) -> float:
    """Return the seconds that ``times`` calls of ``work`` take together."""
    start = read()
    for _ in range(times):
        work()
    return read() - start


def no_op_seconds(read: Clock) -> float:
    """Return what timing nothing costs: the median of a hundred pairs of readings."""
    return statistics.median(seconds(lambda: None, read) for _ in range(100))


@dataclass(frozen=True)
class Plan:
    """How a benchmark is run: ``rounds`` times, with ``times`` calls in each."""

    times: int
    rounds: int


def plan(work: Callable[[], object], read: Clock) -> Plan:
    """Warm ``work`` up, and choose rounds that swamp the clock and end in time.

    The first call pays one-off setup (loading cuDNN takes a second) and is discarded. The others
    go on until they have taken :data:`ROUND`, which wakes an idle device.
    """
    # Twice: a first call may be slow with loading, the second is slow by itself.
    if seconds(work, read) > 1 and seconds(work, read) > 1:
        return Plan(times=1, rounds=FEWEST)
    times = 1
    while (taken := seconds(work, read, times)) < ROUND and times < 2**20:
        # At most 16 times as many at once: one lucky reading must not ask for an hour.
        times = max(2 * times, min(math.ceil(1.2 * times * ROUND / max(taken, 1e-9)), 16 * times))
    return Plan(times, max(FEWEST, min(MOST, int(ROW / max(taken, 1e-9)))))


def quartiles(values: Iterable[float]) -> tuple[float, float, float]:
    """Return the lower quartile, the median and the upper quartile of two values or more."""
    low, middle, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, middle, high
