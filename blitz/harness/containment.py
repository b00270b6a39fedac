"""Containment: one hanging test or one lost device does not take the rest of the run with it.

A test that fails on a device puts the device under suspicion. Before the next test of that device
a small sum is tried on it; where that fails, the device's context is lost, and what remains of its
tests is not run.

A test that goes on for longer than the limit is interrupted and fails. Where it cannot be
interrupted, since it hangs inside of a kernel or a driver, the whole process is ended, and the
test is named: by a thread, or, where the hanging code does not let threads run, by the
interpreter's own watchdog.
"""

import contextlib
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterator
from time import monotonic  # this one, whatever a test puts in its place
from types import FrameType

import pytest
import torch

from blitz import devices
from blitz.harness.selection import kind

LIMIT = 300.0
"""Seconds that a test may take; the longest of the specification takes a few."""

GRACE = 10.0
"""Seconds between a test's interruption and the end of the process."""

CAN_INTERRUPT = hasattr(signal, "SIGALRM")


class Containment:
    """A pytest plugin that keeps tests to the limit and tests off lost devices.

    Attributes:
        lost: The devices that are lost, and how.
    """

    def __init__(self, limit: float, end_run: Callable[[str, str], None]) -> None:
        """Begin without a suspicion.

        Args:
            limit: Seconds that each phase of a test (set-up, call, tear-down) may take; 0 for
                no limit.
            end_run: Called from another thread with the id of the test that hangs and the fault;
                ends the process.
        """
        self.lost: dict[torch.device, str] = {}
        self._suspicion: dict[torch.device, str] = {}
        self._clock = _Clock(limit, end_run)

    def alive(self, used: list[torch.device]) -> list[torch.device]:
        """Those of ``used`` that are not lost."""
        return [device for device in used if device not in self.lost]

    def stop(self) -> None:
        """Give back what the limits needed."""
        self._clock.stop()

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None, None, None]:
        """Skip the tests of a lost device; keep to the limit."""
        device = device_of(item)
        with self._clock.limits(item.nodeid):
            if device is not None and device in self._suspicion:
                self._examine(device)
            if device is not None and device in self.lost:
                pytest.skip(f"context lost: {self.lost[device]}")
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Keep to the limit."""
        with self._clock.limits(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, None, None]:
        """Keep to the limit."""
        with self._clock.limits(item.nodeid):
            return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Suspect the device of a test that came to no good end."""
        device, ended = device_of(item), call.excinfo
        badly = ended is not None and not ended.errisinstance(pytest.skip.Exception)
        if badly and device is not None and kind(device) == "accelerator":
            self._suspicion.setdefault(device, item.name)
        return (yield)

    def _examine(self, device: torch.device) -> None:
        after = self._suspicion.pop(device)
        try:
            fault = devices.why_unusable(device)
        except (Exception, pytest.fail.Exception) as error:  # it may raise anything, or hang
            fault = f"{type(error).__name__}: {error}"
        if fault is not None:
            self.lost[device] = f"after {after}: {fault.splitlines()[0]}"


def device_of(item: pytest.Item) -> torch.device | None:
    """The device of a test; None for one that needs none, or whose device is not there."""
    callspec = getattr(item, "callspec", None)
    return None if callspec is None else callspec.params.get("device")


class _Clock:
    """Interrupts what takes too long, and ends the process where that does not help."""

    def __init__(self, limit: float, end_run: Callable[[str, str], None]) -> None:
        self._limit, self._end_run = limit, end_run
        self._running: tuple[str, float] | None = None  # what runs, and when its time is up
        self._stopped = threading.Event()
        self._forking = threading.Lock()  # held while the process is copied
        self._stderr = os.dup(2) if limit else -1  # not pytest's, which it captures
        self._old_handler: Callable[[int, FrameType | None], object] | int | None = None
        self._thread: threading.Thread | None = None

    def stop(self) -> None:
        self._let_go()
        self._stopped.set()
        if self._thread is not None:
            self._thread.join(1)
        if self._old_handler is not None:
            signal.signal(signal.SIGALRM, self._old_handler)
        if self._stderr >= 0:
            os.close(self._stderr)
            self._stderr = -1

    @contextlib.contextmanager
    def limits(self, what: str) -> Iterator[None]:
        """Let the body take no more than the limit."""
        if not self._limit:
            yield
            return
        self._start_once()
        self._running = (what, monotonic() + self._limit + GRACE)
        if CAN_INTERRUPT:
            signal.setitimer(signal.ITIMER_REAL, self._limit)
        try:
            yield
        finally:
            if CAN_INTERRUPT:
                signal.setitimer(signal.ITIMER_REAL, 0)
            self._running = None

    def _start_once(self) -> None:
        if self._thread is not None:
            return
        # The interpreter's watchdog is a thread, and a copy of the process would wait for it for
        # ever if it were set once more there.
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(
                before=self._before_fork,
                after_in_parent=self._forking.release,
                after_in_child=self._forking.release,
            )
        self._put_off()
        self._thread = threading.Thread(target=self._watch, daemon=True, name="blitz-watchdog")
        self._thread.start()
        if CAN_INTERRUPT:
            self._old_handler = signal.signal(signal.SIGALRM, self._interrupt)

    def _put_off(self) -> None:
        """Wind up the interpreter's watchdog, which bites when this has not been done for long."""
        last = self._limit + 2 * GRACE
        faulthandler.dump_traceback_later(last, exit=True, file=self._stderr)

    def _before_fork(self) -> None:
        self._forking.acquire()  # or the thread would wind the watchdog up before the copy is made
        self._let_go()

    def _let_go(self) -> None:
        if not self._stopped.is_set():
            faulthandler.cancel_dump_traceback_later()

    def _interrupt(self, *_: object) -> None:
        pytest.fail(f"hung: no end after {self._limit:g} s")

    def _watch(self) -> None:
        while not self._stopped.wait(min(0.5, GRACE / 4)):
            with self._forking:
                self._put_off()
            running = self._running
            if running is not None and monotonic() > running[1]:
                self._end_run(running[0], f"hung: no end after {self._limit:g} s")
                return
