"""What ran, on which device, and with which outcome: gathered from pytest's reports."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

HELD, BROKEN, NOT_RUN = "held", "broken", "not run"
NO_DEVICE = "no device"


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test of one claim.

    Attributes:
        node: The test's pytest id.
        key: The claim's key.
        device: The device it ran on (``cuda:0``), or ``no device`` for a test that needs none.
        state: ``held``, ``broken`` or ``not run``.
        reason: Why it was not run.
    """

    node: str
    key: str
    device: str
    state: str
    reason: str = ""


class Results:
    """The outcomes of a run, one per test; a pytest plugin, since under xdist the reports of every
    worker arrive at the controller's hook."""

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a report; those of tests without a claim are passed over."""
        marks = dict(report.user_properties)
        if "claim" not in marks or (report.passed and report.when != "call"):
            return
        state = HELD if report.passed else BROKEN if report.failed else NOT_RUN
        before = self._outcomes.get(report.nodeid)
        if before is None or before.state == HELD:
            reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else ""
            self._outcomes[report.nodeid] = Outcome(
                report.nodeid, marks["claim"], marks["device"], state, reason
            )

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes.values())

    def __len__(self) -> int:
        return len(self._outcomes)

    def devices(self) -> list[str]:
        """The devices that have outcomes, in the order in which they came."""
        return list(dict.fromkeys(outcome.device for outcome in self))

    def ran_on(self, device: str) -> int:
        """How many tests ran to an end on ``device``."""
        return sum(o.device == device and o.state != NOT_RUN for o in self)

    def ran(self) -> int:
        """How many tests of claims ran to an end, on any device or none."""
        return sum(o.state != NOT_RUN for o in self)

    def claims(self, device: str) -> dict[str, str]:
        """Key → state on ``device``: broken if any test broke, held if all that ran held."""
        states: dict[str, str] = {}
        rank = {NOT_RUN: 0, HELD: 1, BROKEN: 2}
        for outcome in self:
            if outcome.device == device:
                before = states.get(outcome.key, NOT_RUN)
                states[outcome.key] = max(before, outcome.state, key=rank.__getitem__)
        return states

    def reasons(self, device: str) -> dict[str, int]:
        """Why tests on ``device`` were not run → how many."""
        counts: dict[str, int] = {}
        for outcome in self:
            if outcome.device == device and outcome.state == NOT_RUN:
                reason = outcome.reason.removeprefix("Skipped: ")
                counts[reason] = counts.get(reason, 0) + 1
        return counts
