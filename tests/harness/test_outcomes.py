"""The outcomes of a run, gathered from pytest's reports."""

from types import SimpleNamespace
from typing import Any

import pytest

from blitz.harness.outcomes import (
    BROKEN,
    CRASHED,
    HELD,
    HUNG,
    KNOWN,
    NOT_RUN,
    UNSUPPORTED,
    Outcome,
    Results,
)

T1 = (("claim", "T1"), ("device", "cpu"))


def report(
    outcome: str = "passed", when: str = "call", *marks: tuple[str, str], **more: Any
) -> pytest.TestReport:
    """A report on the test ``a`` of the claim T1 on the cpu, where ``marks`` name no other."""
    known = {"longrepr": None, "properties": T1} | more
    found = pytest.TestReport(
        "a", ("a.py", 1, "a"), {}, outcome, known["longrepr"], when,
        user_properties=[*known["properties"], *marks],
    )  # fmt: skip
    if "wasxfail" in more:
        found.wasxfail = more["wasxfail"]
    return found


def taken_in(*reports: pytest.TestReport) -> list[Outcome]:
    found = Results()
    for one in reports:
        found.pytest_runtest_logreport(one)
    return list(found)


def test_text_of_a_failure_is_what_pytest_tells_and_what_the_test_printed() -> None:
    failed = report("failed", longrepr="E  2 is not 3")
    failed.sections = [("Captured stdout call", "\n out\n\n"), ("Captured log call", " \n")]
    failed.sections += [("broken claim on cpu", "T1"), ("Captured stderr call", "err")]

    printed = "--- Captured stdout call ---\n\n out\n\n--- Captured stderr call ---\nerr"
    assert taken_in(failed)[0].text == f"E  2 is not 3\n\n{printed}"
    assert taken_in(report())[0].text == ""


class TestReports:
    @pytest.mark.parametrize(
        ("reports", "state"),
        [
            ([report("passed", "setup"), report(), report("passed", "teardown")], HELD),
            ([report("failed", "setup")], BROKEN),
            ([report("skipped", "setup")], NOT_RUN),
            ([report("failed")], BROKEN),
            ([report("passed"), report("failed", "teardown")], BROKEN),
            ([report("failed"), report("failed", "teardown")], BROKEN),
            ([report("skipped", "setup"), report("failed", "teardown")], NOT_RUN),
            ([report("skipped", "call", ("outcome", UNSUPPORTED))], UNSUPPORTED),
            ([report("skipped", "call", ("outcome", KNOWN))], KNOWN),
            ([report("failed", "call", ("outcome", UNSUPPORTED))], BROKEN),
            ([report(), report("failed", "???", ("outcome", CRASHED))], CRASHED),
            ([report("failed"), report("failed", "???", ("outcome", HUNG))], HUNG),
        ],
    )
    def test_test_has_the_state_of_what_ended_it(
        self, reports: list[pytest.TestReport], state: str
    ) -> None:
        assert taken_in(*reports) == [Outcome("a", "T1", "cpu", state)]

    @pytest.mark.parametrize(
        ("said", "reason"),
        [
            (("a.py", 3, "Skipped: needs an accelerator"), "needs an accelerator"),
            (("a.py", 3, "Skipped: unsupported: aten::sum"), "aten::sum"),
            (("a.py", 3, "unsupported: aten::sum"), "aten::sum"),
            (SimpleNamespace(reprcrash=SimpleNamespace(message="2 is\nnot 3")), "2 is"),
            (SimpleNamespace(reprcrash=SimpleNamespace(message="\n 2 is\nnot 3\n")), "2 is"),
            (SimpleNamespace(reprcrash=SimpleNamespace(message=" \n")), ""),
            ("it died\nsomewhere", "it died"),
            (None, ""),
        ],
    )
    def test_reason_is_a_line_of_what_pytest_was_told(self, said: Any, reason: str) -> None:
        [outcome] = taken_in(report("failed", longrepr=said))

        assert outcome.reason == reason
