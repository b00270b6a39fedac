"""The process in which a device is tried, and what its end says.

It writes each stage into a file before it begins it, so that its last words outlive it. For the cpu
it is a copy of this process, which spares it the import of torch; for all else it is a new process,
since drivers do not survive a fork.
"""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Sequence
from multiprocessing import get_context
from pathlib import Path

from blitz.preflight.findings import LIMIT, Finding, Verdict
from blitz.preflight.trial import tell

SCRIPT = """
import json, sys
from blitz.preflight.trial import tell
tell(*json.loads(sys.argv[1]))
"""

Arguments = tuple[str, list[str], str]
"""What :func:`tell` takes."""

AFTER_KILL = 5.0
"""Seconds to wait for a killed child; one that is stuck in its driver never ends."""


def check(device: str, *, modules: Sequence[str] = (), limit: float = LIMIT) -> Finding:
    """Try ``device`` in a child process.

    Args:
        device: Any name that torch or a backend's plug-in knows, or ``ANY``.
        modules: Plug-ins to import first.
        limit: Seconds after which the child is killed and the verdict is ``HUNG``.
    """
    run = _forked if can_fork(device, modules) else _spawned
    with tempfile.TemporaryDirectory(prefix="blitz-preflight-") as folder:
        words, errors = Path(folder, "words"), Path(folder, "errors")
        words.touch()
        errors.touch()
        code = run((device, list(modules), str(words)), errors, limit)
        return _finding(device, words, errors, code, limit)


def can_fork(device: str, modules: Sequence[str]) -> bool:
    """Return whether a copy of this process will do: for the cpu, with no accelerator there."""
    if device != "cpu" or modules or sys.platform != "linux" or "torch" not in sys.modules:
        return False
    from blitz.base import backend  # imports torch, which a parent such as doctor has no need of

    # After one backward pass with an accelerator there, autograd refuses to run in a fork.
    return not backend.finds_accelerator()


def _forked(arguments: Arguments, errors: Path, limit: float) -> int | None:
    """Run the trial in a copy of this process; return its exit code, None if it was killed."""
    child = get_context("fork").Process(target=_in_copy, args=(arguments, errors))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of threads, none of which is needed
        child.start()
    try:
        child.join(limit)
        return child.exitcode
    finally:
        if child.exitcode is None:
            child.kill()
            child.join(AFTER_KILL)


def _in_copy(arguments: Arguments, errors: Path) -> None:
    with errors.open("w") as stream:
        os.dup2(stream.fileno(), 2)
    tell(*arguments)


def _spawned(arguments: Arguments, errors: Path, limit: float) -> int | None:
    """Run the trial in a new process; return its exit code, None if it was killed."""
    here = [str(Path(__file__).resolve().parents[2]), *(path for path in sys.path if path)]
    with errors.open("w") as stream:
        child = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, json.dumps(arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stream,
            # So that the child imports this blitz, and plug-ins that stand beside a script.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(here)},
        )
    try:
        return child.wait(limit)
    except subprocess.TimeoutExpired:
        return None
    finally:
        # Not terminate(): a plug-in may have a handler for SIGTERM.
        child.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(AFTER_KILL)


def _finding(device: str, words: Path, errors: Path, code: int | None, limit: float) -> Finding:
    stage, verdict, detail = "start", None, ""
    facts: dict[str, str] = {}
    gaps: dict[str, str] = {}
    for line in words.read_text(encoding="utf-8").splitlines():
        kind, what = json.loads(line)
        if kind == "stage":
            stage = what
        elif kind == "facts":
            facts |= what
        elif kind == "gap":
            gaps[what[0]] = what[1]
        else:
            verdict, detail = Verdict[what[0]], what[1]
    if verdict is None:
        last = errors.read_text(errors="replace").strip().splitlines()[-1:]
        verdict, detail = _ending(code, limit, "".join(last))
    return Finding(device, verdict, detail, stage, facts, gaps)


def _ending(code: int | None, limit: float, last_words: str) -> tuple[Verdict, str]:
    """Return the verdict on a child that ended without giving one."""
    if code is None:
        return Verdict.HUNG, f"no end after {limit:g} s"
    # POSIX: a process that a signal ended has minus its number for an exit code.
    how = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    if how == "SIGKILL":
        how += ", perhaps from a system short of memory"
    return Verdict.CRASHED, f"{how}: {last_words}" if last_words else how
