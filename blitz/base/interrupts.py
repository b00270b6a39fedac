"""Ctrl-C and SIGTERM between two steps of a training instead of in the middle of one."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred() -> Iterator[list[int]]:
    """Note Ctrl-C and SIGTERM in the list that is yielded, instead of ending; a second one ends.

    For the main thread, which Python delivers signals to.
    """
    asked: list[int] = []

    def note(number: int, frame: object) -> None:
        # The step that is under way may hang on a device; a second Ctrl-C is no mistake.
        if asked:
            raise KeyboardInterrupt
        asked.append(number)

    former = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in former.items():
            # None stands for a handler that was not installed from Python.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def left_to_parent(worker: int) -> None:
    """Make a worker process ignore Ctrl-C, which the terminal sends to it too.

    Its parent decides when to stop. For ``DataLoader(worker_init_fn=…)``.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
