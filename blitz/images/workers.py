"""A check that worker processes can be started from the script that is running.

A worker that is not forked imports the main script again; without ``if __name__ == "__main__":``
that starts work in the worker too. Python refuses, but under spawn the parent may wait for ever.
So a process that does nothing is tried first.
"""

import multiprocessing
from functools import cache
from typing import Any

from blitz.images.cifar10 import DataError

METHODS = ("fork", "forkserver", "spawn")

_REMEDY = (
    'Put what your script does under `if __name__ == "__main__":`, since every worker imports the '
    "script again; or do without workers: workers=0 (--workers 0)."
)


@cache
def check(method: str) -> None:
    """Start a process that does nothing by ``method``; raise DataError if it cannot be started."""
    if method == "fork":  # a forked worker imports nothing
        return
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
