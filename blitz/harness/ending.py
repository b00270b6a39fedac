"""The end of a run whose test hangs where nothing can interrupt it."""

import os
import sys
from collections.abc import Callable

import pytest

from blitz.harness.results import Results


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
