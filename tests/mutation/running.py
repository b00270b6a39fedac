"""Run mutants, each in a fork of one process that has collected the tests and run none of them.

A process that has run a backward pass, or an OpenMP region, cannot be forked for another. So even
what the tests reach is found out in a fork, which hands it back in a file.
"""

import ast
import contextlib
import gc
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter, defaultdict
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import pytest

from . import floor, recorder
from .floor import KILLED, SURVIVED, TIMEOUT, Outcome
from .making import Mutant

PATIENCE = 30.0
"""Seconds' worth of tests that a mutant is given, the quickest first, before it has survived."""

RED = "red.txt"
"""Where it stands how tests failed on the unmutated code."""

SLOW = 1.0
"""Seconds from which on a test waits until all the quicker ones have run."""

TRACEBACKS = "--tb=native"
"""Pytest's own would parse the whole file of mutants for each failure: six times as long a run."""

fork = get_context("fork")


class RunError(Exception):
    """The mutants cannot be run, or what was run says nothing."""


@dataclass(frozen=True)
class Reached:
    """What one test does when nothing is mutated.

    Attributes:
        functions: The functions of the package that it calls, as mutmut's switch names them.
        seconds: How long it takes, its fixtures included.
        state: ``passed``, ``skipped`` or ``failed``.
    """

    functions: frozenset[str]
    seconds: float
    state: str


class Collected:
    """A pytest plugin that hands the collected tests to ``work`` instead of running them."""

    def __init__(self, work: Callable[[list[pytest.Item]], None]) -> None:
        self._work = work
        self.fault: BaseException | None = None
        self.ran = False

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        """Run the work; what it raises is kept for the caller, without pytest's own words."""
        if session.testsfailed:
            raise session.Interrupted("a test file cannot be collected")
        self.ran = True
        try:
            self._work(session.items)
        except BaseException as error:  # or pytest would make it an error of its own
            self.fault = error
        return True


def with_tests(folder: Path, work: Callable[[list[pytest.Item]], None]) -> None:
    """Collect the tests of the copy in ``folder`` and call ``work`` with them.

    Raises:
        RunError: they cannot be collected; and what ``work`` raises.
    """
    _import_what_tests_would()
    scratch()
    collected = Collected(work)
    options = ["-q", "--device", "cpu,meta", "--test-limit", "0", f"--rootdir={folder}"]
    arguments = ["spec", "tests", *options, "-p", "no:cacheprovider", "--capture=sys", TRACEBACKS]
    log = folder / "collected.txt"
    with log.open("w") as stream, contextlib.redirect_stdout(stream):
        try:
            pytest.main(arguments, plugins=[collected])
        finally:
            shutil.rmtree(scratch(), ignore_errors=True)
    if collected.fault is not None:
        raise collected.fault
    if not collected.ran:
        raise RunError("the tests cannot be collected:\n" + log.read_text(encoding="utf-8"))


def _import_what_tests_would() -> None:
    """Here, once, and not in every fork."""
    import torch
    import torchvision.transforms.v2  # noqa: F401

    with contextlib.suppress(ImportError):
        import matplotlib.pyplot  # noqa: F401

    torch.set_num_threads(1)
    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])


def reach(items: Sequence[pytest.Item], folder: Path, limit: float = 3600.0) -> dict[str, Reached]:
    """What each of ``items`` reaches, by its id, found out in a fork.

    Raises:
        RunError: the fork did not come to its end.
    """
    file = folder / "reached.tmp"
    file.unlink(missing_ok=True)
    process = _started(_reach, (list(items), folder, file))
    process.join(limit)
    if process.is_alive():
        _kill(process)
        raise RunError(f"the tests did not end within {limit:.0f} s")
    try:
        found = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise RunError(f"the process that ran the unmutated tests died: {error}") from error
    return {
        test: Reached(frozenset(functions), seconds, state)
        for test, (functions, seconds, state) in found.items()
    }


class _Reach:
    """A pytest plugin that notes for each test what it calls, how long it takes, how it ends.

    What a fixture of more than one test calls counts for each of them.
    """

    def __init__(self, notes: Path, red: Path) -> None:
        self.notes, self.red = notes, red
        self.state = "skipped"
        self.wide: dict[object, tuple[set[str], float]] = {}
        self.test: set[str] = set()
        self.aside = 0.0  # seconds that belong to wide fixtures

    def read(self) -> set[str]:
        """What was called since the last time."""
        with self.notes.open("r+") as stream:
            found = set(stream.read().split())
            stream.truncate(0)
        recorder.SEEN.clear()
        return found

    @pytest.hookimpl(wrapper=True)
    def pytest_fixture_setup(
        self, fixturedef: pytest.FixtureDef[Any]
    ) -> Generator[None, object, object]:
        """Keep what a fixture of more than one test calls."""
        if fixturedef.scope == "function":
            return (yield)
        self.test |= self.read()
        start = time.monotonic()
        try:
            return (yield)
        finally:
            seconds = time.monotonic() - start
            called, before = self.wide.get(fixturedef, (set(), 0.0))
            self.wide[fixturedef] = (called | self.read(), max(before, seconds))
            self.aside += seconds

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Keep how a test ends."""
        if report.failed:
            self.state = "failed"
            with self.red.open("a") as stream:
                stream.write(f"{report.nodeid}, {report.when}\n{report.longreprtext}\n")
                stream.writelines(f"{text}\n" for _, text in report.sections)
        elif report.when == "call" and report.passed and self.state != "failed":
            self.state = "passed"

    def run(self, item: pytest.Item, following: pytest.Item | None) -> tuple[list[str], float, str]:
        """Run ``item``; what it called, its seconds and its state."""
        self.read()
        self.state, self.test, self.aside = "skipped", set(), 0.0
        start = time.monotonic()
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        seconds = time.monotonic() - start - self.aside
        called = self.test | self.read()
        fixtures = getattr(item, "_fixtureinfo").name2fixturedefs.values()  # noqa: B009
        for fixture in (each for named in fixtures for each in named):
            more, cost = self.wide.get(fixture, (set(), 0.0))
            called |= more
            seconds += cost
        return sorted(called), seconds, self.state


def _reach(items: list[pytest.Item], folder: Path, file: Path) -> None:
    notes = folder / "notes.txt"
    notes.write_text("")
    startup = folder / "startup"
    startup.mkdir(exist_ok=True)
    shutil.copy(recorder.__file__, startup / "sitecustomize.py")
    os.environ["PYTHONPATH"] = os.pathsep.join([str(startup), os.environ["PYTHONPATH"]])
    os.environ["MUTANTS_REACHED"] = str(notes)
    recorder.install()
    red = folder / RED
    red.unlink(missing_ok=True)
    plugin = _Reach(notes, red)
    items[0].config.pluginmanager.register(plugin)
    _own_temporary(items[0].config, scratch() / "reach")
    found = {}
    for item, following in _with_next(items):
        found[item.nodeid] = plugin.run(item, following)
    beside = file.with_suffix(".part")
    beside.write_text(json.dumps(found), encoding="utf-8")
    beside.rename(file)


class Runner:
    """Runs mutants on the collected tests, one fork for each.

    Args:
        items: The collected tests.
        reached: What each of them reaches.
        folder: Mutmut's working folder.
        patience: Seconds' worth of tests for a mutant.
    """

    def __init__(
        self,
        items: Iterable[pytest.Item],
        reached: dict[str, Reached],
        folder: Path,
        patience: float = PATIENCE,
    ) -> None:
        self._items = {item.nodeid: item for item in items}
        self._reached, self._folder, self._patience = reached, folder, patience
        self._tests: dict[str, list[str]] = defaultdict(list)
        for test, what in reached.items():
            if what.state == "passed" and test in self._items:
                for function in what.functions:
                    self._tests[function].append(test)
        self._killers: dict[str, Counter[str]] = defaultdict(Counter)
        self._trusted: dict[str, bool] = {}

    def run(self, mutants: Iterable[Mutant], jobs: int = 1) -> Iterator[Outcome]:
        """The outcome of each of the mutants, as they come in; at most ``jobs`` at once.

        Raises:
            RunError: a mutant's process was killed twice, and that of the unmutated code, too.
        """
        gc.collect()
        gc.freeze()  # a fork's collector leaves alone, and unshared, what was here before
        waiting = list(mutants)
        running: dict[connection.Connection, tuple[Mutant, list[str], _Fork]] = {}
        again: set[str] = set()
        try:
            while waiting or running:
                while waiting and len(running) < jobs:
                    mutant = waiting.pop(0)
                    tests = self._chosen(mutant)
                    if not tests:
                        yield Outcome(mutant.name, mutant.digest, SURVIVED)
                        continue
                    expected = sum(self._reached[test].seconds for test in tests)
                    items = [self._items[test] for test in tests]
                    fork_ = _Fork(mutant.name, items, expected)
                    running[fork_.receiver] = (mutant, tests, fork_)
                ready = connection.wait(list(running), timeout=0.5) if running else []
                for receiver, (mutant, tests, fork_) in list(running.items()):
                    if receiver not in ready and not fork_.late:
                        continue
                    del running[receiver]
                    state, test = fork_.end()
                    if state == "lost" and mutant.name in again:
                        if not self._green(tests):
                            raise RunError(f"{mutant.name}: its process was killed from outside")
                        state = KILLED  # by itself: nothing happens to the unmutated code
                    if state == "lost" or (state == KILLED and test and not self._trust(test)):
                        again.add(mutant.name)
                        waiting.insert(0, mutant)
                        continue
                    if state == KILLED and test:
                        self._killers[mutant.function][test] += 1
                        self._killers[mutant.module][test] += 1
                    yield Outcome(
                        mutant.name,
                        mutant.digest,
                        state,
                        test,
                        digest_of(self._folder, test) if test else "",
                        len(tests),
                        round(fork_.seconds, 2),
                    )
        finally:
            for _, _, fork_ in running.values():
                fork_.end()

    def untrusted(self) -> list[str]:
        """Tests that are red alone on the unmutated code: what they say was left out."""
        return [test for test, trusted in self._trusted.items() if not trusted]

    def _trust(self, test: str) -> bool:
        """Whether a test that has killed for the first time is green alone, unmutated."""
        if test not in self._trusted:
            self._trusted[test] = self._green([test])
        return self._trusted[test]

    def _green(self, tests: Sequence[str]) -> bool:
        """Whether these tests hold on the unmutated code."""
        expected = sum(self._reached[test].seconds for test in tests)
        control = _Fork("", [self._items[test] for test in tests], expected)
        connection.wait([control.receiver], control.limit)
        return control.end()[0] == SURVIVED

    def _chosen(self, mutant: Mutant) -> list[str]:
        """The tests for a mutant, within the patience, those first that seem likeliest to kill.

        That is first what has killed mutants of the same function, then of the same module; then
        the tests named after the module; then the quickest. Those of one file stay together. Slow
        ones wait for all the quick ones. Where a ``device=`` is dropped, those on meta come before
        all others: no cpu is needed to see it.
        """
        tests = [t for t in self._tests[mutant.function] if self._trusted.get(t, True)]
        own, beside = self._killers[mutant.function], self._killers[mutant.module]
        named = mutant.module.rpartition(".")[2]
        quickest: dict[str, float] = {}
        for test in tests:
            file, seconds = test.partition("::")[0], self._reached[test].seconds
            quickest[file] = min(seconds, quickest.get(file, seconds))

        def rank(test: str) -> tuple[Any, ...]:
            file, seconds = test.partition("::")[0], self._reached[test].seconds
            killed = own[test] / (seconds + 0.1), beside[test] / (seconds + 0.1)
            near = not file.endswith(f"_{named}.py")
            elsewhere = mutant.device and not floor.on_meta(test)
            return (
                elsewhere,
                seconds > SLOW,
                -killed[0],
                -killed[1],
                near,
                quickest[file],
                file,
                seconds,
            )

        chosen: list[str] = []
        cost = 0.0
        for test in sorted(tests, key=rank):
            seconds = self._reached[test].seconds
            if chosen and cost + seconds > self._patience:
                continue
            cost += seconds
            chosen.append(test)
        return chosen


class _Fork:
    """A fork that runs tests with one mutant switched on, until the first that fails."""

    numbers = iter(range(10**9))

    def __init__(self, name: str, items: list[pytest.Item], expected: float) -> None:
        self.limit = 30 + 10 * expected  # by the clock, for what waits; a busy machine is slow
        processor = 5 + 2 * expected  # for what computes on and on
        self.temporary = scratch() / str(next(self.numbers))
        self.receiver, sender = fork.Pipe(duplex=False)
        self.start = time.monotonic()
        self.process = _started(_run, (name, items, self.temporary, processor, sender))
        sender.close()
        self.seconds = 0.0

    @property
    def late(self) -> bool:
        return time.monotonic() - self.start > self.limit

    def end(self) -> tuple[str, str]:
        """Its state, and the test that failed; ``lost`` if it was killed from outside."""
        try:
            found: tuple[str, str] | None = self.receiver.recv() if self.receiver.poll() else None
        except EOFError:
            found = None
        late = self.late and found is None
        _kill(self.process)
        self.receiver.close()
        self.seconds = time.monotonic() - self.start
        shutil.rmtree(self.temporary, ignore_errors=True)
        if found is not None:
            return found
        if late or self.process.exitcode == -signal.SIGXCPU:
            return TIMEOUT, ""
        # A mutant that ends or crashes its process does not go unnoticed.
        return ("lost" if self.process.exitcode == -signal.SIGKILL else KILLED), ""


class _FirstFailure:
    """A pytest plugin that sees whether a test has failed."""

    def __init__(self) -> None:
        self.failed = False

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self.failed |= report.failed


def _run(
    name: str,
    items: list[pytest.Item],
    temporary: Path,
    processor: float,
    sender: connection.Connection,
) -> None:
    from mutmut.mutation.trampoline import set_mutant_under_test

    _, most = resource.getrlimit(resource.RLIMIT_CPU)
    resource.setrlimit(resource.RLIMIT_CPU, (math.ceil(processor), most))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    first = _FirstFailure()
    items[0].config.pluginmanager.register(first)
    _own_temporary(items[0].config, temporary)
    set_mutant_under_test(name)
    if any("several" in getattr(item, "fixturenames", ()) for item in items):
        # The copy that was set aside before knows no mutant, and other forks call it meanwhile.
        items[0].config.hook.pytest_collection_finish(session=items[0].session)
    for item, following in _with_next(items):
        try:
            item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
        except BaseException:  # a mutant of the harness may break pytest itself
            traceback.print_exc()
            first.failed = True
        if first.failed:
            sender.send((KILLED, item.nodeid))
            return
    sender.send((SURVIVED, ""))


def _started(target: Callable[..., None], arguments: tuple[Any, ...]) -> Any:
    """Start a fork at the head of a group of its own, which writes to nowhere."""

    def main() -> None:
        os.setsid()
        nowhere = os.open(os.devnull, os.O_RDWR)
        for descriptor in (0, 1, 2):
            os.dup2(nowhere, descriptor)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        code = 70
        try:
            target(*arguments)
            code = 0
        finally:
            os._exit(code)  # nothing that a test registered for the end

    process = fork.Process(target=main)
    with warnings.catch_warnings():  # the fork touches no thread but its own
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    return process


def _kill(process: Any) -> None:
    """End a fork, if it has not ended, and whatever it left running."""
    process.join(0.2)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.join()


@cache
def scratch() -> Path:
    """Where temporary files go: not below the copy, whose pytest.ini runs of pytest would find."""
    return Path(tempfile.mkdtemp(prefix="mutants-"))


def _own_temporary(config: pytest.Config, folder: Path) -> None:
    """Temporary files of this fork's tests go into ``folder``."""
    folder.mkdir(parents=True)
    getattr(config, "_tmp_path_factory")._basetemp = folder  # noqa: B009


def _with_next(
    items: Sequence[pytest.Item],
) -> Iterator[tuple[pytest.Item, pytest.Item | None]]:
    return zip(items, [*items[1:], None], strict=True)


@cache
def digest_of(folder: Path, test: str) -> str:
    """Of a test and of all that stands beside it in its file, but for the other tests."""
    file, *names = test.partition("[")[0].split("::")
    tree = ast.parse((folder / file).read_bytes())
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef):
            node.body = [each for each in node.body if not _is_other(each, names)]
    return hashlib.sha256(ast.dump(tree).encode()).hexdigest()[:16]


def _is_other(node: ast.stmt, names: list[str]) -> bool:
    """Whether this is a test, or a class of tests, and none of those that ``names`` leads to."""
    is_test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    is_tests = isinstance(node, ast.ClassDef) and node.name.startswith("Test")
    return (is_test or is_tests) and getattr(node, "name", "") not in names
