"""A lock between processes that dies with its owner."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

POLL = 0.2
"""Seconds between two tries for a lock that another process holds."""


@contextmanager
def held(
    path: Path, *, deadline: float = float("inf"), on_wait: Callable[[], object] | None = None
) -> Iterator[None]:
    """Hold the lock of the file or folder ``path`` inside; one process at a time, or one thread.

    The system gives the lock back when the file is closed, as it is by the end of the process,
    however that comes: there is no stale lock to remove, and a forked child does not share it. The
    empty file stays, since removing it would let a third process lock another file of the same
    name. On Windows, where there is no ``fcntl.flock``, the first byte is locked by
    ``msvcrt.locking``, which the system gives back likewise; folders cannot be locked there.

    Args:
        path: What to lock; an empty file is made where nothing is there.
        deadline: Until when to wait, on the clock of ``time.monotonic``.
        on_wait: Called before every wait, of :data:`POLL` seconds each.

    Raises:
        TimeoutError: another process still holds the lock at the deadline.
        OSError: it cannot be made or opened, or its file system has no locks.
    """
    handle = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_CREAT, 0o666)
    _open.add(handle)
    try:
        while not _try(handle):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process still holds {path}")
            if on_wait is not None:
                on_wait()
            time.sleep(POLL)
        yield
    finally:
        if handle in _open:  # else this is a forked child, which has closed it
            _open.discard(handle)
            os.close(handle)


_open: set[int] = set()
"""What this process has locked. A forked child closes its copies, or would keep the locks."""


def _forget() -> None:
    while _open:
        os.close(_open.pop())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _try(handle: int) -> bool:
    """Take the lock of what is open as ``handle`` if nobody has it; whether it was taken."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # PermissionError is how Windows says it
        return False
    return True
