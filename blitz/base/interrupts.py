"""Ctrl-C and SIGTERM between two steps of a training instead of in the middle of one."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Deferred:
    """The signal by which the process was asked to stop.

    Attributes:
        signal: Its number; None before there was one.
    """

    def __init__(self) -> None:
        self.signal: int | None = None

    def __call__(self, number: int, frame: FrameType | None) -> None:
        """Note the signal; raise KeyboardInterrupt for a second one."""
        # The step that is under way may hang on a device; a second Ctrl-C is no mistake.
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number


@contextmanager
def deferred() -> Iterator[Deferred]:
    """Note Ctrl-C and SIGTERM instead of ending at once; a second one ends at once.

    Python delivers signals to the main thread: in another one this changes nothing.
    """
    asked = Deferred()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    former = {number: signal.signal(number, asked) for number in (signal.SIGINT, signal.SIGTERM)}
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
