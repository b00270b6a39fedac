"""What a report says of a test that did not hold: a gap, a known gap, or a broken claim."""

from collections.abc import Generator

import pytest

from blitz.harness import gaps, properties
from blitz.harness.containment import device_of
from blitz.harness.profile import XFAIL, Applied
from blitz.harness.results import BROKEN, HELD, KNOWN, NOT_RUN, UNSUPPORTED
from blitz.harness.selection import Selection, kind
from blitz.harness.work import Work


class Reports:
    """A pytest plugin that tells gaps from broken claims, and asks devices for proof of work."""

    def __init__(self, selection: Selection, profile: Applied | None) -> None:
        self._selection, self._profile = selection, profile

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fail a test of a device during which nothing was computed there.

        The cpu needs no proof: there is nowhere else to compute in silence.
        """
        device = device_of(item)
        if device is None or device.type == "cpu":
            return (yield)
        with Work(device) as work:
            result = yield
        work.check(getattr(item, "funcargs", {}).values())
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Settle the outcome of a test of a claim, and say what is broken."""
        report = yield
        if properties.get(item.user_properties, properties.KEY) is None:
            return report
        outcome = self._outcome(item, call, report)
        if outcome is not None and not (report.passed and report.when != "call"):
            properties.put(item, properties.OUTCOME, outcome)
            report.user_properties = list(item.user_properties)
        if report.failed:
            report.sections.insert(0, _broken(item))
        return report

    def _outcome(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> str:
        if not report.failed:
            return HELD if report.passed else NOT_RUN
        gap = self._gap(item, call)
        line = None if self._profile is None else self._profile.line_of(item)
        if line is not None and line.action == XFAIL:
            report.outcome, report.wasxfail = "skipped", f"profile: {line.reason}"
            return KNOWN
        if gap is not None:
            path, number, _ = item.reportinfo()
            report.outcome = "skipped"
            report.longrepr = (str(path), (number or 0) + 1, f"unsupported: {gap}")
            return UNSUPPORTED
        return BROKEN

    def _gap(self, item: pytest.Item, call: pytest.CallInfo[None]) -> str | None:
        device = device_of(item)
        if device is None or kind(device) != "accelerator" or call.excinfo is None:
            return None
        selected = self._selection.get(device)
        known = {} if selected is None else selected.gaps
        return gaps.met(call.excinfo.value, device.type, known)


def _broken(item: pytest.Item) -> tuple[str, str]:
    marks = dict(item.user_properties)
    said = f"{marks[properties.KEY]}: {marks[properties.SENTENCE]}\n{marks[properties.SECTION]}"
    return f"broken claim on {marks[properties.DEVICE]}", said
