"""Several processes that work together, for the claims about them: forked where torch is unused.

A process that has computed something with torch cannot be forked safely: the threads that it
computed with are not there in the copy. And a new process imports torch for seconds. So before the
first test a copy of this process is set aside, only where some test asks for it, and that copy is
forked for each call, as often as there are to be processes.

Whatever becomes of this process, the copies end: each of them waits for the end of a pipe that only
its parent can write to.
"""

import faulthandler
import gc
import importlib
import os
import pickle
import signal
import sys
import tempfile
import threading
import time
import traceback
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import connection, get_context
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

LIMIT = 60.0
"""Seconds that a call may take."""

PATIENCE = 2.0

RETURNED = ".pickle"

PREPARED = ("torch._dynamo", "torch.distributed", "torch.nn.parallel")
"""Imported once in the copy that is set aside: torch imports the first of them as soon as a
DistributedDataParallel or an optimizer is made, and takes seconds for it."""


def as_torchrun_would(rank: int, count: int, port: int) -> None:
    """Give this process the environment that torchrun gives one, whose agent keeps the store.

    Args:
        rank: This process, from 0.
        count: How many there are, all of them on this machine.
        port: Of the store.
    """
    os.environ |= {
        "RANK": str(rank),
        "LOCAL_RANK": str(rank),
        "WORLD_SIZE": str(count),
        "LOCAL_WORLD_SIZE": str(count),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "TORCHELASTIC_USE_AGENT_STORE": "True",
    }


class RanksError(Exception):
    """Processes that did not do what they were to do; the message says which, and their errors."""


@dataclass(frozen=True)
class Outcome:
    """How one of the processes ended.

    Attributes:
        code: Its exit code, negative for a signal.
        result: What its function returned.
        error: The traceback of what its function raised; empty where it returned.
        output: What it wrote to stdout and stderr.
    """

    code: int
    result: Any = None
    error: str = ""
    output: str = ""


@dataclass(frozen=True)
class Call:
    """What is to be run.

    Attributes:
        function: Called as ``function(rank, *arguments)`` in each process. As it goes to a process
            that was set aside earlier, it stands at the top level of a module.
        count: How many processes.
        arguments: The same for all of them.
        limit: Seconds after which those still running are killed.
        kills: Rank → signal and the seconds after which it is sent.
        together: Whether the others are ended when one has failed, as torchrun does it: by SIGTERM
            and, :data:`PATIENCE` seconds later, by SIGKILL.
    """

    function: Callable[..., Any]
    count: int
    arguments: tuple[Any, ...] = ()
    limit: float = LIMIT
    kills: Mapping[int, tuple[int, float]] | None = None
    together: bool = False


class Ranks:
    """Runs functions in several processes at once; to be made before torch computes anything."""

    def __init__(self) -> None:
        self._aside: connection.Connection | None = None
        self._pid = 0
        if hasattr(os, "fork"):
            for module in PREPARED:
                importlib.import_module(module)
            self._aside, self._pid = _set_aside()

    def outcomes(
        self,
        function: Callable[..., Any],
        count: int,
        *arguments: Any,
        limit: float = LIMIT,
        kills: Mapping[int, tuple[int, float]] | None = None,
        together: bool = False,
    ) -> list[Outcome]:
        """Run ``function(rank, *arguments)`` in ``count`` processes; how each of them ended."""
        call = Call(function, count, arguments, limit, kills, together)
        if self._aside is None:
            return _run(call, get_context("spawn"))
        asked = uuid.uuid4()
        self._aside.send((asked, call))
        end = time.monotonic() + limit + 20
        while self._aside.poll(max(0.0, end - time.monotonic())):
            try:
                answered, found = self._aside.recv()
            except EOFError:
                raise RanksError(f"{function} cannot be found where it is to be run") from None
            if answered == asked:  # and not what a fork of this process asked, which is gone
                outcomes: list[Outcome] = found
                return outcomes
        self.close()
        raise RanksError(f"no answer after {limit + 20:.0f} s")

    def results(
        self, function: Callable[..., Any], count: int, *arguments: Any, limit: float = LIMIT
    ) -> list[Any]:
        """Run ``function(rank, *arguments)`` in ``count`` processes; what each returned.

        Raises:
            RanksError: one raised something, died or took longer than ``limit`` seconds.
        """
        outcomes = self.outcomes(function, count, *arguments, limit=limit)
        faults = [
            f"rank {rank} ended with {outcome.code}: {outcome.error or outcome.output}"
            for rank, outcome in enumerate(outcomes)
            if outcome.code
        ]
        if faults:
            raise RanksError("\n".join(faults))
        return [outcome.result for outcome in outcomes]

    def close(self) -> None:
        """Let the copy go, and all that it started."""
        if self._aside is not None:
            self._aside.close()
            os.waitpid(self._pid, 0)
            self._aside = None


def _set_aside() -> tuple[connection.Connection, int]:
    """Fork a copy of this process that waits for calls; the connection to it, and its id."""
    ours, theirs = get_context("fork").Pipe()
    with _quiet_fork():
        pid = os.fork()
    if pid:
        theirs.close()
        return ours, pid
    try:
        ours.close()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then closes
        gc.freeze()
        gc.disable()
        _serve(theirs)
    finally:
        os._exit(0)


class _Superseded(Exception):
    """Whoever made the call is gone, and another, who shares the connection, makes one: this."""


def _serve(caller: connection.Connection) -> None:
    while True:
        try:
            asked, call = caller.recv()
        except EOFError:
            return
        found = None
        while found is None:
            try:
                found = _run(call, get_context("fork"), caller)
            except _Superseded as newer:
                asked, call = newer.args
        caller.send((asked, found))


def _run(call: Call, context: Any, caller: connection.Connection | None = None) -> list[Outcome]:
    """Run a call to its end; where ``caller`` goes away, at once to that of this process."""
    with tempfile.TemporaryDirectory() as scratch:
        alive, life = os.pipe()
        outputs = [Path(scratch, str(rank)) for rank in range(call.count)]
        processes = []
        for rank, output in enumerate(outputs):
            arguments = (call, rank, str(output), alive, life)
            process = context.Process(target=_rank, args=arguments)
            with _quiet_fork():
                process.start()
            processes.append(process)
        os.close(alive)
        try:
            _await(call, processes, caller)
            return [_outcome(*parts) for parts in zip(processes, outputs, strict=True)]
        finally:
            for process in processes:
                process.kill()
                process.join(PATIENCE)
            os.close(life)


def _await(
    call: Call, processes: Sequence[BaseProcess], caller: connection.Connection | None
) -> None:
    """Wait until the processes have ended; send the signals that are asked for meanwhile.

    Raises:
        _Superseded: ``caller`` makes another call.
    """
    started = time.monotonic()
    due = dict(call.kills or {})
    closing = False
    while running := [process for process in processes if process.is_alive()]:
        seconds = time.monotonic() - started
        if seconds > call.limit:
            return
        for rank, (number, when) in list(due.items()):
            if seconds >= when:
                del due[rank]
                if processes[rank].is_alive():
                    os.kill(processes[rank].pid or 0, number)
        if call.together and not closing and any(process.exitcode for process in processes):
            closing = True
            for process in running:
                process.terminate()
            due = dict.fromkeys(range(call.count), (signal.SIGKILL, seconds + PATIENCE))
        pause = min((when - seconds for _, when in due.values()), default=0.5)
        waited_for: list[Any] = [process.sentinel for process in running]
        ready = connection.wait([*waited_for, *([caller] if caller else [])], max(0.0, pause))
        if caller is not None and caller in ready:  # whoever waited for the answer is gone
            try:
                newer = caller.recv()
            except EOFError:
                for process in processes:
                    process.kill()
                os._exit(1)
            raise _Superseded(*newer)


def _outcome(process: BaseProcess, output: Path) -> Outcome:
    hung = process.is_alive()
    if hung:
        os.kill(process.pid or 0, signal.SIGABRT)  # it writes down where it stands
        process.join(PATIENCE)
        process.kill()
    process.join()
    returned = output.with_suffix(RETURNED)
    result, error = pickle.loads(returned.read_bytes()) if returned.exists() else (None, "")
    written = output.read_text(encoding="utf-8", errors="replace") if output.exists() else ""
    code = -signal.SIGKILL if process.exitcode is None else process.exitcode
    return Outcome(code, result, f"it took too long\n{written}" if hung else error, written)


def _rank(call: Call, rank: int, output: str, alive: int, life: int) -> None:
    """One of the processes: run the function, write down what came of it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if hasattr(os, "fork"):
        os.close(life)
        threading.Thread(target=_end_with_parent, args=(alive,), daemon=True).start()
    with open(output, "w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.stdout = os.fdopen(1, "w")
    sys.stderr = os.fdopen(2, "w")
    faulthandler.enable()
    code, came = 0, (None, "")
    try:
        came = call.function(rank, *call.arguments), ""
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        code, came = 1, (None, traceback.format_exc())
    Path(output).with_suffix(RETURNED).write_bytes(pickle.dumps(came))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _end_with_parent(alive: int) -> None:
    os.read(alive, 1)  # nothing is ever written: it returns when nobody could any more
    os._exit(1)


@contextmanager
def _quiet_fork() -> Iterator[None]:
    with warnings.catch_warnings():  # of threads, of which the copy uses none but its own
        warnings.simplefilter("ignore", DeprecationWarning)
        yield
