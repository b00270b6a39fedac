"""The end of a run: its summary, the files that it was asked for, and its exit code."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from blitz.base.errors import BlitzError
from blitz.harness import conformance, summary, verdict, xdist
from blitz.harness.results import Results
from blitz.harness.run import Run


class End:
    """A pytest plugin that says what a run comes to and writes what it was asked for.

    Args:
        config: Pytest's.
        run: The run.
        result: Where the result for machines goes; None where it is not asked for.
    """

    def __init__(self, config: pytest.Config, run: Run, result: Path | None) -> None:
        self._config, self._run, self._result = config, run, result
        self._ending: verdict.Ending | None = None
        self._unwritten: list[str] = []

    def pytest_terminal_summary(self, terminalreporter: "pytest.TerminalReporter") -> None:
        """Show the summary, why the run fails, and where its report is."""
        run, write = self._run, terminalreporter.write_line
        if len(run.results):
            terminalreporter.section("the 60 Minute Blitz on this machine")
            columns = shutil.get_terminal_size().columns
            for line in summary.lines(run.contents(), run.results, run.selection.missing):
                write(summary.wrapped(line, columns))
            faults = run.faults()
            for fault in faults:
                write(f"FAILED: {fault}", red=True, bold=True)
            if run.report is not None and self._ending is not None and not self._unwritten:
                said = verdict.sentence(run.results, faults, self._ending)
                write(f"{said} The report: {run.report.path}")
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
            self._write(verdict.Ending(int(session.exitstatus), _broken_off(session)))
        if session.exitstatus == pytest.ExitCode.OK and self._unwritten:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def hung(self, node: str, fault: str) -> None:
        """End the process, since the test ``node`` hangs and cannot be interrupted."""
        hung = verdict.Ending(1, broken_off=True, hung=node)
        end_run(self._config, self._run.results, lambda: self._write(hung), node, fault)

    def _write(self, ending: verdict.Ending) -> None:
        """Write all that was asked for; what cannot be written is kept for the summary."""
        run, self._ending = self._run, ending
        faults = run.faults()
        if self._result is not None:
            words = [str(fault) for fault in faults]
            if ending.broken_off:  # what did not run may be broken
                words.append(str(verdict.sentence(run.results, faults, ending)))
            self._try(conformance.write, self._result, self._document(words))
        if run.report is not None:
            images = None if run.made else run.images
            of_the_run = (run.selection, run.results, faults, ending, images, run.threads)
            self._try(run.report.write, *of_the_run)

    def _document(self, faults: list[str]) -> dict[str, Any]:
        run = self._run
        return conformance.document(
            run.contents(),
            run.selection,
            run.results,
            run.tolerances(),
            faults,
            run.images,
            run.threads,
        )

    def _try(self, write: Callable[..., None], *what: object) -> None:
        try:
            write(*what)
        except BlitzError as error:
            self._unwritten.append(str(error))


def _broken_off(session: pytest.Session) -> bool:
    ended_badly = (pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR)
    return session.exitstatus in ended_badly or bool(session.shouldstop or session.shouldfail)


def end_run(
    config: pytest.Config, results: Results, write: Callable[[], None], node: str, fault: str
) -> None:
    """Name the test, show what is known so far, and end the process with exit code 1.

    Called from another thread than the one that hangs.

    Args:
        config: Of the run.
        results: What came of the tests so far.
        write: Writes the files that the run was asked for.
        node: The id of the test that hangs.
        fault: What is the matter with it.
    """
    words = f"FAILED: {node} {fault}, and it cannot be interrupted; the run ends here"
    results.add_fault(node, fault)
    try:
        terminal = config.pluginmanager.getplugin("terminalreporter")
        capture = config.pluginmanager.getplugin("capturemanager")
        if capture is not None:
            capture.suspend_global_capture(in_=True)
        if terminal is None or hasattr(config, "workerinput"):
            print(words, file=sys.stderr, flush=True)
        else:
            terminal.ensure_newline()
            terminal.write_line(words, red=True, bold=True)
            config.hook.pytest_terminal_summary(
                terminalreporter=terminal, exitstatus=pytest.ExitCode.TESTS_FAILED, config=config
            )
            write()
        sys.stdout.flush()
    finally:
        os._exit(1)
