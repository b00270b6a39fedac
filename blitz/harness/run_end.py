"""The end of a run: its summary, the files that it was asked for, and its exit code."""

import shutil
import signal
import threading
from collections.abc import Callable
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

import pytest
from _pytest.terminal import TerminalReporter  # pytest 8.3 does not export it

from blitz.base.errors import BlitzError
from blitz.harness import conformance, summary, xdist
from blitz.harness.context import ExitState, RunContext
from blitz.harness.report.options import Request

SAVED_EVERY = 60.0
"""Seconds between two writings of what is known so far; each takes about one."""


class RunEndPlugin:
    """A pytest plugin that says what a run comes to and writes what it was asked for.

    Args:
        config: Pytest's.
        run: The run.
        report: The page that is asked for.
    """

    def __init__(self, config: pytest.Config, run: RunContext, report: Request | None) -> None:
        asked: Path | None = config.getoption("--conformance")
        self._result = None if config.getoption("collectonly") else asked
        self._config, self._run, self._report = config, run, report
        self._ending: ExitState | None = None
        self._unwritten: dict[str, None] = {}
        self._saved = monotonic()

    def pytest_sessionstart(self) -> None:
        """Let SIGTERM, which a CI's time limit sends first, end the run as Ctrl-C does."""
        here = threading.current_thread() is threading.main_thread()
        if here and not xdist.is_worker(self._config):
            before: Any = signal.signal(signal.SIGTERM, _interrupt)

            def put_back() -> None:
                signal.signal(signal.SIGTERM, before)

            self._config.add_cleanup(put_back)

    def pytest_runtest_logreport(self) -> None:
        """Write what is known so far now and then: a run can be killed outright."""
        if monotonic() - self._saved > SAVED_EVERY and not xdist.is_worker(self._config):
            self._write(ExitState(int(pytest.ExitCode.INTERRUPTED), broken_off=True))
            self._saved = monotonic()

    def pytest_terminal_summary(self, terminalreporter: TerminalReporter) -> None:
        """Show the summary, why the run fails, and where its report is."""
        run, write = self._run, terminalreporter.write_line
        if len(run.results):
            terminalreporter.section("the 60 Minute Blitz on this machine")
            columns = shutil.get_terminal_size().columns
            for line in summary.lines(run.contents(), run.results, run.selection.missing):
                write(summary.wrapped(line, columns))
            for fault in run.faults():
                write(f"FAILED: {fault}", red=True, bold=True)
            if self._report is not None and self._ending is not None and not self._unwritten:
                write(f"{run.sentence(self._ending)} The report: {self._report.path}")
        for words in self._unwritten:
            write(f"FAILED: {words}", red=True, bold=True)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Write the files, and fail a run that has a fault."""
        if xdist.is_worker(self._config):
            return
        if session.exitstatus == pytest.ExitCode.OK and self._run.faults():
            session.exitstatus = pytest.ExitCode.TESTS_FAILED
        if session.exitstatus != pytest.ExitCode.USAGE_ERROR:
            self._write(ExitState(int(session.exitstatus), _broken_off(session)))
        if session.exitstatus == pytest.ExitCode.OK and self._unwritten:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def _write(self, ending: ExitState) -> None:
        """Write all that was asked for; what cannot be written is kept for the summary."""
        self._ending = ending
        self._unwritten.clear()
        if self._result is not None:
            self._try(conformance.write, self._result, self._run, ending)
        if self._report is not None:
            from blitz.harness.report import page  # jinja2 is for those who want a page

            self._try(page.write, self._run, self._report, ending)

    def _try(self, write: Callable[..., None], *what: object) -> None:
        try:
            write(*what)
        except BlitzError as error:
            self._unwritten[str(error)] = None


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(number, signal.SIG_IGN)  # timeout(1) sends it twice; files are written meanwhile
    raise KeyboardInterrupt("SIGTERM")


def _broken_off(session: pytest.Session) -> bool:
    ended_badly = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    return session.exitstatus in ended_badly or bool(session.shouldstop or session.shouldfail)
