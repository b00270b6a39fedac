"""How much memory a device has free, how much of it torch has given out, and what work takes."""

import os
from collections.abc import Callable
from pathlib import Path

import torch

from blitz.devices import module_of

MEMINFO = Path("/proc/meminfo")


def free(device: torch.device) -> int | None:
    """Bytes that can still be had on ``device``; None where the system does not say.

    Of the cpu's, what the kernel would give back from its caches counts as free; a limit on this
    process alone, as a container's, is not seen.
    """
    if device.type == "cpu":
        return _free_on_host()
    ask = getattr(module_of(device), "mem_get_info", None)
    return None if ask is None else ask(device)[0]


def allocated(device: torch.device) -> int | None:
    """Bytes in tensors on ``device``; None where torch does not count them, as on the cpu."""
    ask = getattr(module_of(device), "memory_allocated", None)
    return None if ask is None else ask(device)


def taken(work: Callable[[], object], device: torch.device) -> int | None:
    """Bytes on ``device`` that one ``work()`` takes for tensors, even if it gives them back.

    Measured while it runs. None where torch does not count them.
    """
    if device.type == "cpu":
        from torch.autograd.profiler import profile

        with profile(profile_memory=True) as profiled:
            work()
        return sum(max(0, int(event.self_cpu_memory_usage)) for event in profiled.function_events)
    ask = getattr(module_of(device), "memory_stats", None)
    if ask is None:
        return None
    before = ask(device).get(_TAKEN, 0)
    work()
    after: int | None = ask(device).get(_TAKEN)
    return None if after is None else after - before


_TAKEN = "allocated_bytes.all.allocated"
"""What torch's allocators call the sum of all that was ever taken."""


def _free_on_host() -> int | None:
    try:
        lines = MEMINFO.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) * 1024 for line in lines if "MemAvailable" in line)
    except (OSError, StopIteration):
        pass  # not Linux
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
