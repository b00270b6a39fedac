"""Run the specification in random orders, each of its tests alone, and spread over workers.

    python tests/flakes.py                # 20 orders, each test and chapter alone, -n 2 and -n 4
    python tests/flakes.py --orders 200   # what is done before a release: an hour and more

All of that is done with 1 thread and with 2. The tests are collected once; each order, and each
test that runs alone, has a fork of that process to itself. Every test must come out as it does in
the usual order with one thread. Ends with 1 if one does not. It runs on the cpu and on meta: a
process that has looked for a GPU cannot be forked.
"""

import argparse
import itertools
import multiprocessing
import os
import random
import re
import subprocess
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
SPEC = ROOT / "spec"
OPTIONS = ("-q", "--device", "cpu,meta")

THREADS = "FLAKES_THREADS"
"""What tells the workers of pytest-xdist how many threads each of them has."""

Outcomes = dict[str, str]
"""Of each test, by its id: ``passed``, ``skipped`` or ``failed``."""

fork = multiprocessing.get_context("fork")


class Repeats:
    """A pytest plugin that runs what was collected again and again, in forks."""

    def __init__(self, orders: int, alone: bool, threads: Sequence[int]) -> None:
        self.orders = orders
        self.alone = alone
        self.threads = threads
        self.usual: Outcomes = {}
        self.differ: list[str] = []

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtestloop(self, session: pytest.Session) -> bool:
        _import_what_tests_would()
        for threads in self.threads:
            self._repeat(session.items, threads)
        return True

    def _repeat(self, every: list[pytest.Item], threads: int) -> None:
        """All the repetitions with one number of threads."""
        on = f"{threads} thread{'s' * (threads != 1)}"
        found = _forked(every, threads)
        self.usual = self.usual or found
        self._compare(f"{on}, usual order", found, self.usual)
        for number in range(self.orders):
            items = random.Random(number).sample(every, len(every))
            self._compare(f"{on}, random order {number}", _forked(items, threads), self.usual)
        if self.alone:
            found = {}
            for item in every:
                found |= _forked([item], threads)
            self._compare(f"{on}, each test alone", found, self.usual)
        for file in sorted({item.path for item in every}):
            items = [item for item in every if item.path == file]
            expected = {item.nodeid: self.usual.get(item.nodeid, "lost") for item in items}
            self._compare(f"{on}, {file.name} alone", _forked(items, threads), expected)

    def _compare(self, what: str, found: Outcomes, expected: Outcomes) -> None:
        differ = [t for t in expected if found.get(t, "lost") != expected[t]]
        self.differ += [f"{what}: {test} {found.get(test, 'lost')}" for test in differ]
        say(f"{what}: {_count(found)}" + (f", {len(differ)} otherwise" if differ else ""))


class Outcome:
    """A pytest plugin that keeps what became of each test."""

    def __init__(self) -> None:
        self.outcomes: Outcomes = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.when == "call" or not report.passed:
            self.outcomes[report.nodeid] = report.outcome


def _import_what_tests_would() -> None:
    """Here, once, and not in every fork: the first optimizer and comparison take seconds."""
    import torch
    import torchvision  # noqa: F401

    torch.testing.assert_close(torch.zeros(1), torch.zeros(1))
    torch.optim.SGD([torch.zeros(1, requires_grad=True)])


def _forked(items: list[pytest.Item], threads: int) -> Outcomes:
    """What becomes of ``items`` in this order, in a process of their own with so many threads."""
    receiver, sender = fork.Pipe(duplex=False)
    process = fork.Process(target=_run, args=(items, sender, threads))
    with warnings.catch_warnings():  # the fork touches no thread but its own
        warnings.simplefilter("ignore", DeprecationWarning)
        process.start()
    sender.close()
    try:
        return receiver.recv()
    except EOFError:  # it died
        return {}
    finally:
        process.join()


def _run(items: list[pytest.Item], sender: Any, threads: int) -> None:
    import torch

    torch.set_num_threads(threads)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    outcome = Outcome()
    items[0].config.pluginmanager.register(outcome)
    for item, following in zip(items, [*items[1:], None], strict=True):
        item.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    sender.send(outcome.outcomes)


def _spread(tests: list[str], workers: int, threads: int) -> str:
    """The counts of a run on ``workers`` of pytest-xdist, each of them with so many threads."""
    command = [sys.executable, "-m", "pytest", *tests, *OPTIONS, "-n", str(workers)]
    # Workers share the cores out, however few; this plugin of theirs is asked after that.
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, THREADS: str(threads)}
    ended = subprocess.run(
        [*command, "-p", Path(__file__).stem],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    counts = re.findall(r"^.*\b(?:passed|failed|error).* in [\d.]+s.*$", ended.stdout, re.M)
    return re.sub(r" in .*", "", counts[-1]) if counts else f"ended with {ended.returncode}"


@pytest.hookimpl(trylast=True)
def pytest_configure() -> None:
    """Where this is a plugin of a worker: give it its threads."""
    import torch

    torch.set_num_threads(int(os.environ[THREADS]))


def _count(outcomes: Outcomes) -> str:
    states = list(outcomes.values())
    kinds = [kind for kind in ("failed", "passed", "skipped") if kind in states]
    return ", ".join(f"{states.count(kind)} {kind}" for kind in kinds) or "nothing ran"


def say(line: str) -> None:
    """Print ``line`` with the time since the start."""
    print(f"[{time.monotonic() - STARTED:6.0f} s] {line}", file=sys.__stderr__, flush=True)


STARTED = time.monotonic()


def main(arguments: Sequence[str] | None = None) -> int:
    """Repeat, say each count, and return 1 if anything came out otherwise."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("tests", nargs="*", default=[str(SPEC)], help="(default: spec)")
    parser.add_argument("--orders", type=int, default=20, help="random orders (default: 20)")
    parser.add_argument("--no-alone", action="store_true", help="leave out each test alone")
    add = parser.add_argument
    add("--workers", type=int, nargs="*", default=[2, 4], help="of xdist (default: 2 4)")
    add("--threads", type=int, nargs="+", default=[1, 2], help="of torch (default: 1 2)")
    asked = parser.parse_args(arguments)
    os.chdir(ROOT)
    repeats = Repeats(asked.orders, alone=not asked.no_alone, threads=asked.threads)
    with open(os.devnull, "w") as nowhere, redirect_stdout(nowhere):
        pytest.main([*asked.tests, *OPTIONS, "-p", "no:cacheprovider", "-p", "no:xdist"], [repeats])
    failed = [test for test, state in repeats.usual.items() if state == "failed"]
    if failed or not repeats.usual:
        say(f"not green in the usual order: {' '.join(failed) or 'nothing ran'}")
        return 1
    for workers, threads in itertools.product(asked.workers, asked.threads):
        counts = _spread(asked.tests, workers, threads)
        what = f"-n {workers}, {threads} to each: {counts}"
        say(what)
        if counts != _count(repeats.usual):
            repeats.differ.append(what)
    for line in repeats.differ:
        say(f"OTHERWISE {line}")
    return 1 if repeats.differ else 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    raise SystemExit(main())
