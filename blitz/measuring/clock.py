"""Honest clocks: a device is waited for at the edges of what is timed, and nowhere inside.

Work on an accelerator is queued and done later. A clock that is read without waiting shows how long
the queueing took; one that waits after every operation adds the waits to each of them.
"""

import time
from collections.abc import Callable

import torch

from blitz.base import backend
from blitz.base.errors import UnusableDevice

Clock = Callable[[], float]
"""Seconds since some moment."""


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
