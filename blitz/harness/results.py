"""What ran, on which device, and with which outcome: gathered from pytest's reports."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from blitz.harness import properties

HELD, BROKEN, NOT_RUN = "held", "broken", "not run"
UNSUPPORTED, KNOWN = "unsupported", "known gap"
RANK = (NOT_RUN, HELD, KNOWN, UNSUPPORTED, BROKEN)
"""A claim is in the state of its test that stands last here."""

NO_DEVICE = "no device"
RAN = (HELD, BROKEN, KNOWN)


def worst(one: str, other: str) -> str:
    """The state of what has a test in each of two states."""
    return max(one, other, key=RANK.index)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test of one claim.

    Attributes:
        node: The test's pytest id.
        key: The claim's key.
        device: The device it ran on (``cuda:0``), or ``no device`` for a test that needs none.
        state: ``held``, ``broken``, ``unsupported`` (it needs what the device does not have),
            ``known gap`` (it failed, as the profile says) or ``not run``.
        reason: Why it was not run, what is unsupported, or the first line of the error.
        profile: What the profile did about it; empty where it says nothing.
    """

    node: str
    key: str
    device: str
    state: str
    reason: str = ""
    profile: str = ""


class Results:
    """The outcomes of a run, one per test; a pytest plugin, since under xdist the reports of every
    worker arrive at the controller's hook."""

    def __init__(self, locate: Callable[[str], tuple[str, str] | None] | None = None) -> None:
        """Begin with no outcome.

        Args:
            locate: Finds a test's key and device by its pytest id, for the report of a test whose
                process died before it could tell them.
        """
        self._outcomes: dict[str, Outcome] = {}
        self._locate = locate

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a report; those of tests without a claim are passed over."""
        marks = {name: str(value) for name, value in report.user_properties}
        if properties.KEY not in marks:
            self._take_in_crash(report)
            return
        if report.passed and report.when != "call":
            return
        state = HELD if report.passed else BROKEN
        if report.skipped:
            state = marks.get(properties.OUTCOME, NOT_RUN)
        before = self._outcomes.get(report.nodeid)
        if before is None or before.state == HELD:
            self._outcomes[report.nodeid] = Outcome(
                report.nodeid,
                marks[properties.KEY],
                marks[properties.DEVICE],
                state,
                _reason(report),
                marks.get(properties.PROFILE, ""),
            )

    def _take_in_crash(self, report: pytest.TestReport) -> None:
        """xdist reports a test during which its worker died, and knows its id alone."""
        when: str | None = report.when  # a word that pytest itself has no use for
        if when == "???" and self._locate is not None:
            self.add_fault(report.nodeid, _reason(report) or "its process died")

    def add_fault(self, node: str, reason: str) -> None:
        """Count the test ``node`` as broken, one that cannot report for itself."""
        found = None if self._locate is None else self._locate(node)
        if found is not None:
            self._outcomes[node] = Outcome(node, *found, BROKEN, reason)

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes.values())

    def __len__(self) -> int:
        return len(self._outcomes)

    def devices(self) -> list[str]:
        """The devices that have outcomes, in the order in which they came."""
        return list(dict.fromkeys(outcome.device for outcome in self))

    def ran_on(self, device: str) -> int:
        """How many tests ran to an end on ``device``."""
        return sum(o.device == device and o.state in RAN for o in self)

    def ran(self) -> int:
        """How many tests of claims ran to an end, on any device or none."""
        return sum(o.state in RAN for o in self)

    def claims(self, device: str) -> dict[str, str]:
        """Key → state on ``device``: broken if any test broke, held if all that ran held."""
        states: dict[str, str] = {}
        for outcome in self:
            if outcome.device == device:
                before = states.get(outcome.key, NOT_RUN)
                states[outcome.key] = worst(before, outcome.state)
        return states

    def reasons(self, device: str, state: str = NOT_RUN) -> dict[str, int]:
        """Why tests on ``device`` are in ``state`` → how many, the most frequent first."""
        counts: dict[str, int] = {}
        for outcome in self:
            if outcome.device == device and outcome.state == state:
                counts[outcome.reason] = counts.get(outcome.reason, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))


def _reason(report: pytest.TestReport) -> str:
    known: str | None = getattr(report, "wasxfail", None)
    if known is not None:
        return known
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ").removeprefix("unsupported: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "")
    return text.strip().splitlines()[0] if text.strip() else ""
