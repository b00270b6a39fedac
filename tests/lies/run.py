"""Tell torch's lies to the specification, one at a time, and see which of them it notices.

One process imports torch and torchvision; each lie gets a fork of it, which installs the lie and
runs the tests of the claims that it breaks, then the whole specification, until a test of a claim
fails. A lie counts as noticed only then: not when collection, a fixture or pytest itself breaks.
"""

import multiprocessing
import os
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from multiprocessing import connection, get_context
from pathlib import Path
from typing import Any

import pytest
import torch

from blitz import preflight
from blitz.harness import contents

from .lie import Lie, aten

HERE = Path(__file__).parent
SPEC = HERE.parents[1] / "spec"

NOTICED, GREEN, SPOILED = "noticed", "green", "spoiled"

TRUTH = Lie("nothing_but_the_truth", "Torch as it is.", (), lambda: None)
LOOKED_AT = Lie("truth_seen_from_below", "Torch as it is, passed through.", (), lambda: aten({}))

fork = get_context("fork")


@dataclass(frozen=True)
class Finding:
    """What came of one lie.

    Attributes:
        lie: The lie.
        state: ``noticed`` (a test of a claim failed), ``green`` (every test ran, none failed) or
            ``spoiled`` (nothing can be said: the tests did not run, or something else broke).
        how: How the test failed, or what spoiled the run.
        claim: The key of the broken claim.
        test: The test that noticed.
        ran: How many tests of claims ran to an end.
        seconds: How long it took.
    """

    lie: Lie
    state: str
    how: str
    claim: str = ""
    test: str = ""
    ran: int = 0
    seconds: float = 0.0

    def __str__(self) -> str:
        if self.state == NOTICED:
            return f"{self.lie.name}: {self.claim} {self.test} ({self.seconds:.1f} s) {self.how}"
        return f"{self.lie.name}: NOT NOTICED ({self.seconds:.1f} s) {self.how}"


class Watch:
    """A pytest plugin: stops at the first test of a claim that fails, and remembers it."""

    def __init__(self, lie: Lie) -> None:
        self.lie = lie
        self.ran = 0
        self.noticed: Finding | None = None
        self.beside: list[str] = []

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Any:
        report = yield
        claim = dict(item.user_properties).get("claim")
        self.ran += report.when == "call" and claim is not None and not report.skipped
        if report.failed:
            how = call.excinfo.exconly().strip().splitlines()[0]
            if Path(call.excinfo.traceback[-1].path).parent == HERE:
                how = f"[in the lie's own code] {how}"
            if report.when == "call" and claim is not None:
                self.noticed = Finding(self.lie, NOTICED, how, claim, item.name)
                item.session.shouldstop = "a claim is broken"
            else:
                self.beside.append(f"{item.name}, {report.when}: {how}")
        return report

    def finding(self, code: int) -> Finding:
        """What the run that ended with ``code`` says about the lie."""
        if self.noticed:
            return replace(self.noticed, ran=self.ran)
        if self.beside:
            how = f"no test of a claim failed, but beside them {self.beside[0]}"
        elif not self.ran:
            how = f"no test of a claim ran (pytest ended with {pytest.ExitCode(code).name})"
        elif code != pytest.ExitCode.OK:
            how = f"pytest ended with {pytest.ExitCode(code).name} and no failed test of a claim"
        else:
            how = f"all {self.ran} tests of claims ran and stayed green"
            return Finding(self.lie, GREEN, how, ran=self.ran)
        return Finding(self.lie, SPOILED, how, ran=self.ran)


def examine(
    lies: Iterable[Lie], spec: Path = SPEC, jobs: int = 1, limit: float = 180.0
) -> Iterator[Finding]:
    """A finding for each lie, as they come in; at most ``jobs`` at once, ``limit`` seconds each.

    Args:
        lies: The lies to tell.
        spec: The folder of the specification, with its ``contents.toml``.
        jobs: How many to tell at once.
        limit: Seconds after which a lie counts as not noticed.
    """
    waiting = list(lies)
    running: dict[connection.Connection, tuple] = {}
    tests = _tests_of_claims(spec)
    with tempfile.TemporaryDirectory() as scratch:
        while waiting or running:
            while waiting and len(running) < jobs:
                lie = waiting.pop(0)
                receiver, sender = fork.Pipe(duplex=False)
                first = [test for key in lie.breaks for test in tests.get(key, ())]
                process = fork.Process(target=_tell, args=(lie, first, spec, sender, Path(scratch)))
                with warnings.catch_warnings():  # the fork touches no thread but its own
                    warnings.simplefilter("ignore", DeprecationWarning)
                    process.start()
                sender.close()
                running[receiver] = (lie, process, time.monotonic())
            ready = connection.wait(list(running), timeout=0.5)
            for receiver, (lie, process, start) in list(running.items()):
                seconds = time.monotonic() - start
                if receiver in ready:
                    finding = _received(lie, receiver)
                elif seconds > limit:
                    process.kill()
                    finding = Finding(lie, SPOILED, f"no end after {limit:.0f} s")
                else:
                    continue
                process.join()
                del running[receiver]
                yield replace(finding, lie=lie, seconds=seconds)


def _tests_of_claims(spec: Path) -> dict[str, list[str]]:
    """Key of a claim → the pytest addresses of its tests."""
    found: dict[str, list[str]] = {}
    for place in contents.load(spec / "contents.toml").places():
        inside = "" if place.test.class_name is None else f"::{place.test.class_name}"
        address = f"{place.test.file}{inside}::test_{place.test.id}"
        if not place.test.benchmark:
            found.setdefault(place.claim.key, []).append(address)
    return found


def _received(lie: Lie, receiver: connection.Connection) -> Finding:
    try:
        return replace(Finding(lie, SPOILED, ""), **receiver.recv())
    except EOFError:
        return Finding(lie, SPOILED, "the process that told it died")


def _tell(
    lie: Lie, first: list[str], spec: Path, sender: connection.Connection, scratch: Path
) -> None:
    torch.set_num_threads(1)
    _write_output_to(scratch / f"{lie.name}.log")
    # A lie is told to the specification, not to the trial of the device before it.
    preflight.check = lambda name, **_: preflight.Finding(
        name, preflight.Verdict.USABLE, facts={"device": name, "count": "1"}
    )
    multiprocessing.get_context = lambda method=None: fork  # ranks that a server forks know no lie
    try:
        lie.install()
        finding = _run_pytest(lie, first, scratch / lie.name) if first else None
        if finding is None or finding.state != NOTICED:
            finding = _run_pytest(lie, [str(spec)], scratch / lie.name)
    except BaseException:  # a lie may break anything; the finding says what
        last = traceback.format_exc().strip().splitlines()[-1]
        finding = Finding(lie, SPOILED, f"it could not be told: {last}")
    sender.send({name: value for name, value in vars(finding).items() if name != "lie"})
    sender.close()


def _run_pytest(lie: Lie, tests: list[str], temporary: Path) -> Finding:
    watch = Watch(lie)
    plugins = ["-p", "no:cacheprovider", "-p", "no:xdist"]
    options = ["-q", *plugins, "--device", "cpu,meta", f"--basetemp={temporary}"]
    return watch.finding(pytest.main([*tests, *options], plugins=[watch]))


def _write_output_to(file: Path) -> None:
    with file.open("w") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    sys.stdout = os.fdopen(1, "w", closefd=False)
    sys.stderr = os.fdopen(2, "w", closefd=False)
