"""A lock between processes that dies with its owner."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

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
    """Hold the lock of the file ``path`` inside; one process at a time, or one thread.

    The system gives the lock back when the file is closed, as it is by the end of the process,
    however that comes: there is no stale lock to remove, and a forked child does not share it. The
    empty file stays, since removing it would let a third process lock another file of the same
    name. On Windows, where there is no ``fcntl.flock``, the first byte is locked by
    ``msvcrt.locking``, which the system gives back likewise.

    Args:
        path: The file to lock; made where it is not there.
        deadline: Until when to wait, on the clock of ``time.monotonic``.
        on_wait: Called before every wait, of :data:`POLL` seconds each.

    Raises:
        TimeoutError: another process still holds the lock at the deadline.
        OSError: the file cannot be made, or its file system has no locks.
    """
    with open(path, "ab") as file:
        while not _try(file):
            if time.monotonic() >= deadline:
                raise TimeoutError(f"another process still holds {path}")
            if on_wait is not None:
                on_wait()
            time.sleep(POLL)
        _held.add(file)
        try:
            yield
        finally:
            _held.discard(file)


_held: set[IO[bytes]] = set()
"""The locked files of this process. A forked child closes its copies, or would keep the locks."""


def _forget() -> None:
    while _held:
        _held.pop().close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)


def _try(file: IO[bytes]) -> bool:
    """Take the lock of ``file`` if nobody has it; whether it was taken."""
    try:
        if sys.platform == "win32":
            file.seek(0)
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):  # PermissionError is how Windows says it
        return False
    return True
