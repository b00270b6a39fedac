"""A check that worker processes can be started from the script that is running.

A worker that is not forked imports the main script again. A script that starts work as it is
imported, with no ``if __name__ == "__main__":`` around it, then starts it in the worker too, where
Python refuses; on POSIX, under spawn, the process that waits for the worker may wait for ever. So
a process that does nothing is tried first.
"""

import multiprocessing
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pickle import PicklingError
from typing import Any

from blitz.images.cifar10 import DataError

METHODS = ("fork", "forkserver", "spawn")

_REMEDY = (
    'Put what your script does under `if __name__ == "__main__":`, since every worker imports the '
    "script again; or do without workers: workers=0 (--workers 0)."
)


def check(method: str | None = None) -> None:
    """Start a process by ``method`` that does nothing; none for fork, and none the second time.

    Args:
        method: ``"fork"``, ``"forkserver"`` or ``"spawn"``; None for Python's default here.

    Raises:
        DataError: it cannot be started; the message says why and what to do.
    """
    name = method or multiprocessing.get_start_method()
    if name != "fork":  # a forked worker imports nothing
        _try(name)


@cache
def _try(method: str) -> None:
    context: Any = multiprocessing.get_context(method)  # the base class names no Process
    process = context.Process(target=_nothing)
    try:
        process.start()
        process.join()
    except (RuntimeError, OSError, EOFError) as error:
        words = str(error).strip().partition("\n")[0] or type(error).__name__
        raise DataError(
            f"worker processes cannot be started by {method}: {words} {_REMEDY}"
        ) from error
    if process.exitcode != 0:
        raise DataError(
            f"worker processes cannot be started by {method}: the first one ended with exit code "
            f"{process.exitcode} as it imported the main script. {_REMEDY}"
        )


def _nothing() -> None:
    """Do nothing: the work of the process that is tried."""


@contextmanager
def sending(what: object) -> Iterator[None]:
    """Say what to do if ``what`` cannot be pickled for a worker that is started inside.

    Raises:
        DataError: it cannot.
    """
    try:
        yield
    except (PicklingError, AttributeError, TypeError) as error:
        if not re.search(r"pickle|local object", str(error)):
            raise
        raise DataError(
            f"a {type(what).__name__} cannot be sent to a worker process: {error}. Define its "
            "class, and every function in it, at the top level of a module, without lambda; or do "
            "without workers: workers=0 (--workers 0)."
        ) from error
