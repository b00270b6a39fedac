"""What a test's report carries: properties, and whether it is a gap, a known gap or broken."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from blitz.harness import properties
from blitz.harness.profile import SKIP, TOLERANCE, XFAIL, Line
from blitz.harness.reports import Reports
from blitz.harness.selection import Selected, Selection

CLAIMED = [
    ("claim", "T1"),
    ("key", "T1"),
    ("device", "cuda:0"),
    ("verdict", "holds"),
    ("section", "https://example.org/tensors.html#joining"),
    ("sentence", "The sum is six."),
]


def place(kind: str | None) -> Any:
    """Where a test stands: of claim T1, with a verdict of this kind."""
    verdict = None if kind is None else SimpleNamespace(kind=kind)
    return SimpleNamespace(
        claim=SimpleNamespace(key="T1"),
        section=SimpleNamespace(address="https://example.org/tensors.html#joining"),
        test=SimpleNamespace(verdict=verdict, sentence="The sum is six."),
    )


class TestProperties:
    @pytest.mark.parametrize(("kind", "verdict"), [(None, "holds"), ("changed", "changed")])
    def test_of_a_claim_are_its_key_device_verdict_section_and_sentence(
        self, kind: str | None, verdict: str
    ) -> None:
        item: Any = SimpleNamespace(user_properties=[("other", 1), ("device", "cpu")])

        properties.of_claim(item, place(kind), "cuda:0")

        claimed = dict(CLAIMED) | {"verdict": verdict}
        assert item.user_properties == [("other", 1), *claimed.items()]

    def test_are_found_as_text_by_their_names(self) -> None:
        pairs = [("one", 1), ("two", 2), ("two", 3)]

        assert properties.get(pairs, "two") == "2"
        assert properties.get(pairs, "three") is None


MISSING = NotImplementedError("Could not run 'aten::mm' with arguments from the 'CUDA' backend")
NO_DOUBLE = RuntimeError("no double")


class TestOutcome:
    def made(
        self,
        outcome: str = "failed",
        error: BaseException | None = None,
        device: str | None = "cuda:0",
        line: Line | None = None,
        number: int | None = 41,
        when: str = "call",
        claimed: bool = True,
    ) -> pytest.TestReport:
        """The report of a test that ended so, as it leaves the plugin."""
        selected = Selected("cuda", "cuda:0", gaps={"float64": "no double"})
        parameters = {} if device is None else {"device": torch.device(device)}
        item: Any = SimpleNamespace(
            user_properties=list(CLAIMED) if claimed else [],
            callspec=SimpleNamespace(params=parameters),
            reportinfo=lambda: (Path("spec/test_1.py"), number, "name"),
        )
        applied: Any = SimpleNamespace(line_of=lambda asked: line if asked is item else None)
        plugin = Reports(Selection((selected,)), None if line is None else applied)
        ended = None if error is None else SimpleNamespace(value=error)
        report = pytest.TestReport("id", ("file", 1, "name"), {}, outcome, None, when)
        call: Any = SimpleNamespace(excinfo=ended)
        hook = plugin.pytest_runtest_makereport(item, call)
        next(hook)
        with pytest.raises(StopIteration) as stopped:
            hook.send(report)
        assert stopped.value.value is report
        return report

    def outcome(self, report: pytest.TestReport) -> str | None:
        return properties.get(report.user_properties, properties.OUTCOME)

    @pytest.mark.parametrize(
        ("outcome", "known"), [("passed", "held"), ("skipped", "not run"), ("failed", "broken")]
    )
    def test_is_that_of_the_test(self, outcome: str, known: str) -> None:
        report = self.made(outcome, AssertionError("6 is not 7"))

        assert self.outcome(report) == known
        assert report.outcome == outcome
        assert report.user_properties == [*CLAIMED, ("outcome", known)]

    def test_of_a_broken_claim_says_which(self) -> None:
        said = "T1: The sum is six.\nhttps://example.org/tensors.html#joining"

        assert self.made(error=AssertionError()).sections == [("broken claim on cuda:0", said)]
        assert self.made("passed").sections == []

    @pytest.mark.parametrize(
        ("error", "name", "gap"),
        [
            (MISSING, "cuda:0", "aten::mm"),
            (MISSING, "cuda:1", "aten::mm"),
            (NO_DOUBLE, "cuda:0", "float64"),
            (AttributeError(name="Event", obj=torch.cuda), "cuda:0", "torch.cuda.Event"),
        ],
        ids=["operation", "of_a_device_not_chosen", "dtype", "means"],
    )
    @pytest.mark.parametrize(("number", "line"), [(41, 42), (0, 1), (None, 1)])
    def test_of_a_gap_is_unsupported_and_no_failure(
        self, error: Any, name: str, gap: str, number: int | None, line: int
    ) -> None:
        report = self.made(error=error, device=name, number=number)

        assert self.outcome(report) == "unsupported"
        assert report.outcome == "skipped"
        assert report.longrepr == ("spec/test_1.py", line, f"unsupported: {gap}")
        assert report.sections == []

    @pytest.mark.parametrize(
        ("error", "name"),
        [
            (MISSING, "cpu"),
            (MISSING, "meta"),
            (MISSING, None),
            (NO_DOUBLE, "cuda:1"),
            (None, "cuda:0"),
        ],
        ids=["cpu", "meta", "no_device", "another_device", "no_error"],
    )
    def test_of_what_is_no_gap_of_an_accelerator_is_broken(
        self, error: Any, name: str | None
    ) -> None:
        report = self.made(error=error, device=name)

        assert self.outcome(report) == "broken"
        assert report.outcome == "failed"

    @pytest.mark.parametrize("error", [MISSING, AssertionError("6 is not 7")], ids=["gap", "value"])
    def test_foreseen_by_the_profile_is_a_known_gap(self, error: Any) -> None:
        report = self.made(error=error, line=Line("T1", XFAIL, "rounds"))

        assert self.outcome(report) == "known gap"
        assert (report.outcome, report.wasxfail) == ("skipped", "profile: rounds")

    @pytest.mark.parametrize("action", [SKIP, TOLERANCE])
    def test_with_another_line_of_the_profile_is_broken(self, action: str) -> None:
        report = self.made(error=AssertionError(), line=Line("T1", action, "rounds"))

        assert self.outcome(report) == "broken"

    def test_that_holds_against_the_profile_is_held(self) -> None:
        assert self.outcome(self.made("passed", line=Line("T1", XFAIL, "rounds"))) == "held"

    @pytest.mark.parametrize(
        ("outcome", "known"), [("passed", None), ("skipped", "not run"), ("failed", "broken")]
    )
    def test_is_settled_before_the_test_only_where_it_did_not_begin(
        self, outcome: str, known: str | None
    ) -> None:
        report = self.made(outcome, AssertionError(), when="setup")

        assert self.outcome(report) == known

    def test_of_a_test_without_a_claim_is_left_as_it_is(self) -> None:
        report = self.made(error=MISSING, claimed=False)

        assert (report.outcome, report.sections, report.user_properties) == ("failed", [], [])
