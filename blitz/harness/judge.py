"""What becomes of a test: held, broken, unsupported or a known gap; and why. A plug-in.

Gaps are told from broken claims here, and a device is asked for proof of its work.
"""

from collections.abc import Generator

import pytest

from blitz.base.errors import first_line
from blitz.harness import refusals, unsupported
from blitz.harness.context import CONTEXT
from blitz.harness.device_use import DeviceUse
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
    is_known_gap,
    put_property,
)
from blitz.harness.selection import kind

USE = pytest.StashKey[DeviceUse]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
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

    with use, refusals.in_any_words(lambda error: _gap(item, error), from_torch):
        result = yield
    use.check(getattr(item, "funcargs", {}).values())
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Settle the outcome of a test of a claim, and say what is broken."""
    report = yield
    if get_property(item, KEY) is None:
        return report
    if not (report.passed and report.when != "call"):
        put_property(item, OUTCOME, _outcome(item, call, report))
        report.user_properties = list(item.user_properties)
    if report.failed:
        marks = {name: str(value) for name, value in item.user_properties}
        report.sections.insert(0, what_failed(marks))
    return report


def _outcome(item: pytest.Item, call: pytest.CallInfo[None], report: pytest.TestReport) -> str:
    if report.passed:
        return HELD
    if report.skipped:
        return KNOWN if is_known_gap(report) else NOT_RUN
    gap = None if call.excinfo is None else _gap(item, call.excinfo.value, trying=True)
    if gap is None:
        return BROKEN
    path, number, _ = item.reportinfo()
    report.outcome = "skipped"
    report.longrepr = (str(path), (number or 0) + 1, f"unsupported: {gap}")
    return UNSUPPORTED


def _gap(item: pytest.Item, error: BaseException, trying: bool = False) -> str | None:
    device, selection = device_of(item), item.config.stash[CONTEXT].selection
    if device is None:  # a backend may refuse what is done on the cpu too
        others = (each.device for each in selection.of_kinds(["accelerator"]))
        found = trying and any(unsupported.from_backend(error, each) for each in others)
        return f"{type(error).__name__}: {first_line(error)}" if found else None
    if kind(device) != "accelerator":
        return None
    selected = selection.get(device)
    known = {} if selected is None else selected.gaps
    gap = unsupported.met(error, device.type, known)
    if gap is None and trying:  # a fixture that failed has made no calls that were noted
        gap = unsupported.tried(error, known, item.stash.get(USE, DeviceUse(device)))
    return gap


def what_failed(marks: dict[str, str]) -> tuple[str, str]:
    """Return title and text of the section that names device and claim in a failure's report."""
    state = marks.get(OUTCOME, BROKEN)
    return f"{state} claim on {marks[DEVICE]}", f"{marks[KEY]}: {marks[SENTENCE]}\n{marks[SECTION]}"
