"""What becomes of a test: held, broken, unsupported or a known gap; and why, in its report."""

from collections.abc import Generator

import pytest

from blitz.base.errors import first_line
from blitz.harness import refusals, unsupported
from blitz.harness.device_use import DeviceUse, asked_for_accelerator
from blitz.harness.outcomes import (
    BROKEN,
    DEVICE,
    HELD,
    KEY,
    KNOWN,
    NOT_RUN,
    OUTCOME,
    SECTION,
    SENTENCE,
    UNSUPPORTED,
    device_of,
    get_property,
    put_property,
)
from blitz.harness.profile import XFAIL, ProfilePlugin
from blitz.harness.selection import Selection, kind

USE = pytest.StashKey[DeviceUse]()


class JudgePlugin:
    """A pytest plugin that tells gaps from broken claims, and asks devices for proof of work."""

    def __init__(self, selection: Selection, profile: ProfilePlugin | None) -> None:
        self._selection, self._profile = selection, profile

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, None, None]:
        """Fail a test of a device during which nothing was computed there.

        The cpu needs no proof: there is nowhere else to compute in silence.
        """
        device = device_of(item)
        if device is None or device.type == "cpu":
            return (yield)
        use = DeviceUse(device)
        item.stash[USE] = use

        def from_torch(error: BaseException) -> bool:
            return use.refused is not None and unsupported.is_same(error, use.refused.error)

        with (
            use,
            asked_for_accelerator(use),
            refusals.in_any_words(lambda error: self._gap(item, error), from_torch),
        ):
            result = yield
        use.check(getattr(item, "funcargs", {}).values())
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, item: pytest.Item, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        """Settle the outcome of a test of a claim, and say what is broken."""
        report = yield
        if get_property(item, KEY) is None:
            return report
        outcome = self._outcome(item, call, report)
        if not (report.passed and report.when != "call"):
            put_property(item, OUTCOME, outcome)
            report.user_properties = list(item.user_properties)
        if report.failed:
            marks = {name: str(value) for name, value in item.user_properties}
            report.sections.insert(0, what_failed(marks))
        return report

    def _outcome(
        self, item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport
    ) -> str:
        if not report.failed:
            return HELD if report.passed else NOT_RUN
        gap = None if call.excinfo is None else self._gap(item, call.excinfo.value, trying=True)
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

    def _gap(self, item: pytest.Item, error: BaseException, trying: bool = False) -> str | None:
        device = device_of(item)
        if device is None:  # a backend may refuse what is done on the cpu too
            others = (each.device for each in self._selection.of_kinds(["accelerator"]))
            found = trying and any(unsupported.from_backend(error, each) for each in others)
            return f"{type(error).__name__}: {first_line(error)}" if found else None
        if kind(device) != "accelerator":
            return None
        selected = self._selection.get(device)
        known = {} if selected is None else selected.gaps
        gap = unsupported.met(error, device.type, known)
        if gap is None and trying:  # a fixture that failed has made no calls that were noted
            gap = unsupported.tried(error, known, item.stash.get(USE, DeviceUse(device)))
        return gap


def what_failed(marks: dict[str, str]) -> tuple[str, str]:
    """Return title and text of the section that names device and claim in a failure's report."""
    state = marks.get(OUTCOME, BROKEN)
    return f"{state} claim on {marks[DEVICE]}", f"{marks[KEY]}: {marks[SENTENCE]}\n{marks[SECTION]}"
