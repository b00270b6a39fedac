"""Isolation: a test that kills, hangs or poisons its process costs that process, not the run.

Whenever anything but the cpu and meta is judged, the tests run in one xdist worker. This process
watches it from outside, which works inside a driver and with the GIL held too. A test whose worker
dies is ``crashed``, one that overruns the limit is ``hung`` and its worker is killed; the next test
gets a new worker, for which the devices are tried again.
"""

import contextlib
import faulthandler
import linecache
import math
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Generator
from functools import cached_property
from pathlib import Path
from time import monotonic
from typing import Any

import pytest

from blitz import devices, preflight
from blitz.harness import xdist
from blitz.harness.claim_check import located
from blitz.harness.context import RunContext
from blitz.harness.judge import what_failed
from blitz.harness.outcomes import CRASHED, HUNG, OUTCOME, device_of, is_known_gap, properties_of
from blitz.harness.selection import Selection, kind

LIMIT = 300.0
"""Seconds that a test may take; the longest of the specification takes a few."""

FIRST, FACTOR = 20, 50.0
"""Where one of the first tests takes long, any may take so many times that: graphs are compiled."""

GRACE = 5.0
"""Seconds between SIGABRT, on which Python tells where the test hangs, and SIGKILL."""

CONTEXT_LOST = 86
"""The exit code of a worker that gives up since a device no longer answers."""

FAILED_INSIDE = 87
"""The exit code of a worker in which pytest itself failed: without memory it cannot report."""

DUMP = "blitz_dump"
"""Under which a worker is told the file that Python writes its stacks to as it dies."""

STARTS, IN_A_ROW = 3, 20
"""Deaths of workers without a test, and of tests without one that ends, after which a run ends."""


def supervise(config: pytest.Config, selection: Selection) -> bool:
    """Have xdist run the tests in one worker where that is called for; return whether it is.

    Call it in ``pytest_configure`` before xdist's own, which comes last.
    """
    options = config.option
    here = (
        not config.pluginmanager.hasplugin("xdist")
        or xdist.is_worker(config)
        or getattr(options, "numprocesses", None) is not None  # -n, of whatever number
        or getattr(options, "tx", None)
        or options.collectonly
        or options.usepdb
        or options.capture == "no"
        or config.getoption("benchmark_only")
    )
    if here or not (selection.of_kinds(["accelerator"]) or options.test_limit is not None):
        return False
    options.numprocesses, options.tx, options.dist = 1, ["popen"], "load"
    if options.maxworkerrestart is None:
        options.maxworkerrestart = "1000000"  # xdist's own is 4 a worker
    return True


class SupervisorPlugin:
    """A pytest plugin of the controller: it kills what hangs, and reports what died.

    A device that does not come back after a crash is lost to the run.
    """

    def __init__(self, config: pytest.Config, run: RunContext) -> None:
        self._config, self._run = config, run
        given: float | None = config.getoption("--test-limit")
        self._limit = LIMIT if given is None else given
        self._to_time = FIRST if given is None else 0
        self._running: dict[str, float] = {}
        self._hung: set[str] = set()
        self._ended: dict[Any, float] = {}
        self._idle_deaths = self._deaths = 0
        self._over = threading.Event()
        config.add_cleanup(self._over.set)

    def pytest_sessionstart(self) -> None:
        """Begin to watch."""
        if self._limit:
            threading.Thread(target=self._watch, daemon=True, name="blitz-supervisor").start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        """Note when a test began."""
        self._running[nodeid] = monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        """Note that a test ended by itself, and how long the first ones took."""
        began = self._running.pop(nodeid, None)
        if self._to_time and began is not None:
            self._to_time -= 1
            self._limit = max(self._limit, FACTOR * (monotonic() - began))
        self._deaths = self._idle_deaths = 0

    @cached_property
    def _dumps(self) -> Path:
        folder = Path(tempfile.mkdtemp(prefix="blitz-"))
        self._config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        return folder

    @pytest.hookimpl(optionalhook=True, tryfirst=True)
    def pytest_configure_node(self, node: Any) -> None:
        """Try the devices again before a worker replaces one that died."""
        node.workerinput[DUMP] = str(self._dumps / node.gateway.id)
        self._ended[node] = math.inf
        if self._deaths or self._idle_deaths:
            self._try_devices()

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: pytest.TestReport) -> None:
        """Say what became of a test whose worker died: hung, crashed, or reported before."""
        code = _exit_code(report.node)
        self._running.pop(crashitem, None)
        self._deaths, self._idle_deaths = self._deaths + 1, 0
        if code == CONTEXT_LOST:  # the test told its own outcome, and its device is gone
            report.outcome, report.when, report.longrepr = "passed", "teardown", None
            return
        state = HUNG if crashitem in self._hung else CRASHED
        report.longrepr = (
            f"hung: no end after {self._limit:g} s" if state == HUNG else f"crashed: {_cause(code)}"
        )
        report.longrepr += self._where(report.node)
        found = located(crashitem, self._run)
        if found is not None:
            report.user_properties = [*properties_of(*found), (OUTCOME, state)]
            marks = {name: str(value) for name, value in report.user_properties}
            report.longrepr += "\n{}\n{}".format(*what_failed(marks))
        if self._deaths >= IN_A_ROW:
            self._end(f"{IN_A_ROW} tests in a row crashed or hung")

    @pytest.hookimpl(optionalhook=True)
    def pytest_testnodedown(self, node: Any, error: object) -> None:
        """End a run whose workers die before they have a test."""
        if error:
            self._idle_deaths += 1
            if self._idle_deaths >= STARTS:
                self._end(
                    f"{STARTS} workers died before they ran a test: {_cause(_exit_code(node))}"
                )

    def _where(self, worker: Any) -> str:
        """Return the line of the specification that a worker was in as it died, if it is known."""
        with contextlib.suppress(OSError):
            dump = (self._dumps / worker.gateway.id).read_text(encoding="utf-8", errors="replace")
            for file, number in re.findall(r'File "(.+)", line (\d+)', dump):
                if Path(file).is_relative_to(self._config.rootpath / "spec"):
                    line = linecache.getline(file, int(number)).strip()
                    return f", in {Path(file).name}:{number}: {line}"
        return ""

    def _end(self, why: str) -> None:
        session = self._config.pluginmanager.getplugin("dsession")
        session.shouldstop = session.shouldstop or f"the run is broken off: {why}"
        # xdist would start one more worker all the same, and wait for it for ever.
        session._max_worker_restart = session._failed_nodes_count

    def _try_devices(self) -> None:
        limit, modules = self._config.option.preflight_limit, self._config.option.imports
        lost = self._run.selection.lost
        for selected in self._run.selection.of_kinds(["accelerator"]):
            if selected.place not in lost:
                found = preflight.check(selected.place, modules=modules, limit=limit)
                if not found.usable:
                    lost[selected.place] = str(found)

    def _watch(self) -> None:
        while not self._over.wait(min(0.5, self._limit / 4)):
            late = monotonic() - self._limit
            for node in [name for name, began in list(self._running.items()) if began < late]:
                self._running.pop(node, None)
                self._kill(node)
            self._tell_of_the_dead()

    def _tell_of_the_dead(self) -> None:
        """Tell xdist of a worker that has ended: it waits for a pipe that a child may hold open."""
        for worker, ended in list(self._ended.items()):
            if _process(worker).poll() is None:
                continue
            self._ended[worker] = min(ended, monotonic())
            if monotonic() - ended > GRACE and not worker._down:  # what it has sent is read
                worker._down = True
                worker.notify_inproc("errordown", node=worker, error="its process has ended")

    def _kill(self, node: str) -> None:
        worker = self._worker_of(node)
        if worker is None or worker.poll() is not None:
            return
        self._hung.add(node)
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGABRT)
            if not self._over.wait(GRACE) and worker.poll() is None:
                worker.kill()

    def _worker_of(self, node: str) -> Any:
        scheduler = self._config.pluginmanager.getplugin("dsession").sched
        for worker in scheduler.nodes:
            chapters = getattr(scheduler, "assigned_work", {}).get(worker, {}).values()
            pending = getattr(scheduler, "node2pending", {}).get(worker)
            running = pending and scheduler.collection[pending[0]] == node
            alone = len(scheduler.nodes) == 1
            if alone or running or any(chapter.get(node) is False for chapter in chapters):
                return _process(worker)
        return None


class LostContextPlugin:
    """A pytest plugin that tries a device after each test that failed there.

    An error such as CUDA's device-side assert leaves a process in which everything fails.
    """

    def __init__(self, config: pytest.Config, selection: Selection) -> None:
        self._worker, self._selection = xdist.is_worker(config), selection
        self._lost, self._running = "", False
        self._config = config

    def pytest_sessionstart(self) -> None:
        """Have the stacks of a worker that dies written where the controller finds them."""
        dump = getattr(self._config, "workerinput", {}).get(DUMP)
        with contextlib.suppress(OSError):  # the controller may be on another machine
            if dump:
                file = open(dump, "w")  # noqa: SIM115  # until the run ends
                self._config.add_cleanup(file.close)
                faulthandler.enable(file)

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        """Skip the tests of a device that did not come back."""
        lost = self._selection.lost.get(str(device_of(item)))
        if lost is not None:
            pytest.skip(f"did not come back after a crash: {lost}")

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Try the device of a test that failed."""
        report = yield
        device = device_of(item)
        failed = report.failed or is_known_gap(report)
        if failed and device is not None and kind(device) == "accelerator":
            fault = devices.why_unusable(device)
            if fault is not None:
                self._lost = f"{device} no longer answers: {fault.splitlines()[0]}"
                report.sections.append(("context lost", self._lost))
        return report

    def pytest_runtest_logstart(self) -> None:
        """Note that a test is running."""
        self._running = True

    @pytest.hookimpl(tryfirst=True)
    def pytest_internalerror(self, excrepr: object) -> None:
        """End a worker in which pytest fails during a test: xdist would end the whole run."""
        if self._running and self._worker:
            with contextlib.suppress(Exception):
                os.write(2, f"{excrepr}\n".encode())
            os._exit(FAILED_INSIDE)

    @pytest.hookimpl(trylast=True)
    def pytest_runtest_logfinish(self) -> None:
        """Give way to a new worker; without one, end the run."""
        self._running = False
        if self._lost and self._worker:
            os._exit(CONTEXT_LOST)
        if self._lost:
            pytest.exit(
                f"{self._lost}. Leave out -s, --pdb and -n 0, and a new process takes over."
            )


def _process(worker: Any) -> Any:
    """Return the subprocess.Popen of a worker; execnet has no public way to it."""
    return worker.gateway._io.popen


def _exit_code(worker: Any) -> int | None:
    try:
        code: int = _process(worker).wait(timeout=GRACE)
    except Exception:  # a worker on another machine has no process here
        return None
    return code


def _cause(code: int | None) -> str:
    if code is None:
        return "the worker is gone"
    if code == FAILED_INSIDE:
        return "pytest failed in its process, which may have had no memory left"
    if code >= 0:
        return f"the process ended with exit code {code}"
    try:
        return f"the process died of {signal.Signals(-code).name}"
    except ValueError:
        return f"the process died of signal {-code}"
