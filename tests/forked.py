"""Run something in a copy of this process, which may be broken there for good."""

import os
import signal
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch.utils import backend_registration

needs_python_backends = pytest.mark.skipif(
    not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"),
    reason=f"torch {torch.__version__} cannot register a backend written in Python",
)

# It imports much of torch on its first call: here, not in every copy. A backward pass must not be
# run here: torch refuses one on a device in the copies of a process that has run any.
torch.testing.assert_close(torch.ones(1), torch.ones(1))


@dataclass(frozen=True)
class Done:
    """How a copy ended: its exit code, negative for a signal, and what it wrote."""

    code: int
    output: str


def call(function: Callable[[], int]) -> Done:
    """Call ``function`` in a copy of this process; what it returns is the exit code.

    Skips the test on a machine with an accelerator: once a backward pass has run there, autograd
    refuses to run in a copy.
    """
    if torch.accelerator.is_available():
        pytest.skip("a copy of a process that has used an accelerator cannot run autograd")
    with tempfile.TemporaryFile("w+") as stream:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of threads, which it leaves alone
            pid = os.fork()
        if pid == 0:
            code = 70
            try:
                for descriptor in (1, 2):
                    os.dup2(stream.fileno(), descriptor)
                sys.stdout = os.fdopen(1, "w", closefd=False)
                sys.stderr = os.fdopen(2, "w", closefd=False)
                _use_one_thread()
                code = int(function())
            except BaseException:
                traceback.print_exc()
            finally:
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        stream.seek(0)
        return Done(os.waitstatus_to_exitcode(status), stream.read())


def _use_one_thread() -> None:
    """Have torch compute with one thread; threads that it starts for that take no signal."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    torch.set_num_threads(1)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)


def gate(folder: Path, *options: str, prepare: Callable[[], None] = lambda: None) -> Done:
    """Run ``pytest spec`` in ``folder`` with these options, in a copy of this process.

    Devices are tried in copies of that copy, so that a backend which ``prepare`` brings is there,
    and torch is not imported anew.
    """

    def run() -> int:
        from blitz.preflight import child

        os.chdir(folder)
        os.environ["COLUMNS"] = "200"  # no line is wrapped
        prepare()
        child.can_fork = lambda *_: True
        return pytest.main(["spec", "-p", "no:cacheprovider", f"--rootdir={folder}", *options])

    return call(run)
