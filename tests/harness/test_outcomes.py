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
    NO_DEVICE,
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

    def test_profile_s_word_is_kept(self) -> None:
        assert taken_in(report("passed", "call", ("profile", "xfail"))) == [
            Outcome("a", "T1", "cpu", HELD, "", "xfail")
        ]

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

    def test_reason_of_a_failure_that_was_foreseen_is_the_profile_s(self) -> None:
        foreseen = report(
            "skipped", "call", ("outcome", KNOWN), wasxfail="profile: rounds", longrepr="2 is not 3"
        )

        assert taken_in(foreseen) == [Outcome("a", "T1", "cpu", KNOWN, "profile: rounds")]

    def test_test_without_a_claim_is_passed_over(self) -> None:
        assert taken_in(report(properties=()), report("failed", properties=())) == []


class TestCounts:
    @pytest.fixture
    def found(self) -> Results:
        made = Results()
        for number, (key, device, state, reason) in enumerate(
            [
                ("T1", "cpu", HELD, ""),
                ("T1", "cpu", NOT_RUN, "asleep"),
                ("T2", "xpu:0", UNSUPPORTED, "float64"),
                ("T2", "xpu:0", KNOWN, "profile: rounds"),
                ("T2", "cpu", NOT_RUN, "no NumPy"),
                ("T3", "cpu", KNOWN, "profile: rounds"),
                ("T3", "cpu", HELD, ""),
                ("T4", "cpu", BROKEN, "2 is not 3"),
                ("T4", "cpu", UNSUPPORTED, "float64"),
                ("T5", NO_DEVICE, HELD, ""),
                ("T6", "cpu", NOT_RUN, "no NumPy"),
            ]
        ):
            made._outcomes[str(number)] = Outcome(str(number), key, device, state, reason)
        return made

    def test_devices_come_in_the_order_of_their_first_tests(self, found: Results) -> None:
        assert found.devices() == ["cpu", "xpu:0", NO_DEVICE]

    def test_tests_that_came_to_an_end_are_those_that_ran(self, found: Results) -> None:
        assert len(found) == 11
        assert found.ran() == 6
        assert [found.ran_on(device) for device in ("cpu", "xpu:0", NO_DEVICE)] == [4, 1, 1]

    def test_claim_has_the_state_of_its_worst_test(self, found: Results) -> None:
        assert found.claims("cpu") == {
            "T1": HELD,
            "T2": NOT_RUN,
            "T3": KNOWN,
            "T4": BROKEN,
            "T6": NOT_RUN,
        }
        assert found.claims("xpu:0") == {"T2": UNSUPPORTED}

    def test_reasons_come_most_frequent_first(self, found: Results) -> None:
        assert list(found.reasons("cpu").items()) == [("no NumPy", 2), ("asleep", 1)]
        assert found.reasons("cpu", KNOWN) == {"profile: rounds": 1}
        assert found.reasons("xpu:0", UNSUPPORTED) == {"float64": 1}
        assert found.reasons("xpu:0") == {}
