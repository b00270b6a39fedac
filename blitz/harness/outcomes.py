"""What ran, on which device, and with which outcome: gathered from pytest's reports.

What a test tells of its claim stands in its user properties, which --junitxml writes and xdist
carries from the workers to the controller.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import torch

from blitz.harness.contents import Place

HELD, BROKEN, NOT_RUN = "held", "broken", "not run"
UNSUPPORTED, KNOWN = "unsupported", "known gap"
CRASHED, HUNG = "crashed", "hung"
RANK = (NOT_RUN, HELD, KNOWN, UNSUPPORTED, BROKEN, HUNG, CRASHED)
"""Severity order; a claim takes its worst test's state."""

FAILED = (BROKEN, HUNG, CRASHED)
RAN = (HELD, KNOWN, *FAILED)

NO_DEVICE = "no device"

KEPT = 20_000
"""Characters of the text of a failure that are kept, from its end, where the error stands."""

KEY, DEVICE, VERDICT, SECTION = "claim", "device", "verdict", "section"
SENTENCE, OUTCOME, PROFILE = "sentence", "outcome", "profile"


def worst(one: str, other: str) -> str:
    """Return the more severe of two states."""
    return max(one, other, key=RANK.index)


@dataclass(frozen=True)
class Outcome:
    """The outcome of one test of one claim.

    Attributes:
        node: The test's pytest id.
        device: ``cuda:0``, or ``no device`` for a test that needs none.
        state: One of :data:`RANK`; docs/conformance.md says what each means.
        reason: Why it was not run, what is unsupported, or the first line of the error.
        profile: What the profile did about it; empty where it says nothing.
        text: The end of what pytest tells of a failure, and of what the test printed.
    """

    node: str
    key: str
    device: str
    state: str
    reason: str = ""
    profile: str = ""
    text: str = ""


class Results:
    """The outcomes of a run, one per test; a pytest plugin.

    Under xdist the reports of every worker arrive at the controller's hook.
    """

    def __init__(self) -> None:
        self._outcomes: dict[str, Outcome] = {}

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Take in a report; those of tests without a claim are passed over."""
        marks = {name: str(value) for name, value in report.user_properties}
        if KEY not in marks or (report.passed and report.when != "call"):
            return
        state = HELD if report.passed else marks.get(OUTCOME, NOT_RUN)
        if report.failed and state not in FAILED:
            state = BROKEN
        before = self._outcomes.get(report.nodeid)
        if before is None or before.state == HELD or state in (CRASHED, HUNG):
            self._outcomes[report.nodeid] = Outcome(
                report.nodeid,
                marks[KEY],
                marks[DEVICE],
                state,
                "" if state == HELD else _reason(report),
                marks.get(PROFILE, ""),
                _text(report) if report.failed else "",
            )

    def __iter__(self) -> Iterator[Outcome]:
        return iter(self._outcomes.values())

    def __len__(self) -> int:
        return len(self._outcomes)

    def devices(self) -> list[str]:
        """Return the devices that have outcomes, in the order in which they came."""
        return list(dict.fromkeys(outcome.device for outcome in self))

    def ran_on(self, device: str) -> int:
        """Return how many tests ran on ``device``."""
        return sum(o.device == device and o.state in RAN for o in self)

    def ran(self) -> int:
        """Return how many tests of claims ran, on any device or none."""
        return sum(o.state in RAN for o in self)

    def failed(self) -> bool:
        """Return whether a test of a claim broke, crashed or hung."""
        return any(o.state in FAILED for o in self)

    def claims(self, device: str) -> dict[str, str]:
        """Return key → state on ``device``: that of the claim's worst test."""
        states: dict[str, str] = {}
        for outcome in self:
            if outcome.device == device:
                before = states.get(outcome.key, NOT_RUN)
                states[outcome.key] = worst(before, outcome.state)
        return states

    def reasons(self, device: str, state: str = NOT_RUN) -> dict[str, int]:
        """Return why tests on ``device`` are in ``state`` → how many, most frequent first."""
        found = Counter(o.reason for o in self if o.device == device and o.state == state)
        return dict(found.most_common())


def _reason(report: pytest.TestReport) -> str:
    known: str | None = getattr(report, "wasxfail", None)
    if known is not None:
        return known
    if isinstance(report.longrepr, tuple):
        return report.longrepr[2].removeprefix("Skipped: ").removeprefix("unsupported: ")
    crash = getattr(report.longrepr, "reprcrash", None)
    text = crash.message if crash is not None else str(report.longrepr or "")
    return text.strip().splitlines()[0] if text.strip() else ""


def is_known_gap(report: pytest.TestReport) -> bool:
    """Return whether a test failed that may fail: the profile marks it as pytest's ``xfail``."""
    return report.skipped and hasattr(report, "wasxfail")


def _text(report: pytest.TestReport) -> str:
    printed = [
        f"\n--- {title} ---\n{content.rstrip()}"
        for title, content in report.sections
        if title.startswith("Captured") and content.strip()
    ]
    return "\n".join([report.longreprtext, *printed])[-KEPT:]


def get_property(item: pytest.Item, name: str) -> str | None:
    """Return the value of the test's property ``name``, or None."""
    return next((str(value) for key, value in item.user_properties if key == name), None)


def put_property(item: pytest.Item, name: str, value: str) -> None:
    """Give the test the property ``name``, in place of one that it has."""
    item.user_properties[:] = [pair for pair in item.user_properties if pair[0] != name]
    item.user_properties.append((name, value))


def properties_of(place: Place, device: str) -> list[tuple[str, object]]:
    """Return the properties of a test of a claim: key, device, verdict, section, sentence."""
    untrue = place.test.untrue
    return [
        (KEY, place.claim.key),
        ("key", place.claim.key),  # junit's readers ask for this word
        (DEVICE, device),
        (VERDICT, untrue.kind if untrue else "holds"),
        (SECTION, place.section.address),
        (SENTENCE, place.test.sentence),
    ]


def device_of(item: pytest.Item) -> torch.device | None:
    """Return the device of a test; None for one that needs none, or whose device is missing."""
    device = _parameters(item).get("device")
    return device if isinstance(device, torch.device) else None


def device_name(item: pytest.Item) -> str:
    """Return the device of a test: ``cuda:0``, the kind that is missing, or ``no device``."""
    return str(_parameters(item).get("device", NO_DEVICE))


def _parameters(item: pytest.Item) -> dict[str, object]:
    return item.callspec.params if hasattr(item, "callspec") else {}
