"""What the report shows of a run, as plain values: of a small specification, record by record."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from markupsafe import escape

from blitz.harness import conformance, contents, texts
from blitz.harness.outcomes import Outcome, Results
from blitz.harness.report import gather, rows
from blitz.harness.report.failures import Failures
from blitz.harness.report.releases import Probe
from blitz.harness.report.rows import (
    ClaimRow,
    Column,
    Counted,
    Failure,
    PageRow,
    Reason,
    Report,
    Run,
    TestRow,
    Untrue,
)
from blitz.harness.selection import META, NO_ACCELERATOR, Selected, Selection
from blitz.harness.texts import Message, Said
from blitz.harness.verdict import ExitState

CONTENTS = """
[[page]]
title = "Tensors"
url = "https://example.org/tensors.html"
file = "test_1.py"

[[page.section]]
heading = "Joining"
anchor = "joining"
class = "TestJoining"
[page.section.claims]
T1 = ["sum_is_six"]
T2 = ["shape_is_three", "sign_is_smaller"]
T3 = ["old_habit"]
T4 = { erratum = "A brace is missing." }
T5 = { untestable = "It is a matter of taste." }
T6 = { benchmark = ["sum_is_quick"] }

[[page.section]]
heading = "Leaving"
anchor = "leaving"
class = "TestLeaving"
[page.section.claims]
T7 = ["accelerators_add"]
T8 = ["text_was_never_right"]

[[page]]
title = "Our own"
url = "https://example.org/own.html"
file = "test_2.py"
ours = true

[[page.section]]
heading = "Beside"
anchor = "beside"
class = "TestBeside"
[page.section.claims]
O1 = ["shape_of_nothing"]
O2 = { untestable = "Nobody knows." }
"""

TESTS = '''import torch
import pytest

class TestJoining:
    def test_sum_is_six(self, n, device):
        """The sum is six."""
        text = """
left
"""

        assert torch.full((3,), n, device=device).sum() == 6

    @pytest.mark.on("cpu", "accelerator", "meta")
    def test_shape_is_three(self, device):
        """The shape is three."""
        assert torch.ones(3, device=device).shape == (3,)

    def test_sign_is_smaller(self):
        """One is smaller than two."""
        assert 1 < 2

    @pytest.mark.changed(since="2.0", text="Habits are zeros.")
    def test_old_habit(self):
        """Habits are None."""
        assert None is None

class TestLeaving:
    @pytest.mark.on("accelerator")
    def test_accelerators_add(self, device):
        """Accelerators add."""
        assert torch.ones(1, device=device) + 1 == 2

    @pytest.mark.mistaken(text="It was so.")
    def test_text_was_never_right(self):
        """It was never so."""
        assert True
'''

OWN_TESTS = '''class TestBeside:
    @pytest.mark.on("meta")
    def test_shape_of_nothing(self, device):
        """Nothing has a shape."""
'''

BENCHMARKS = '''def test_sum_is_quick(benchmark):
    """A sum is quick."""
'''

CPU = Selected("cpu", "cpu")
NO_GPU = Selection((CPU, META), missing=NO_ACCELERATOR)

NODES = {
    "sum_is_six": ("T1", "TestJoining"),
    "shape_is_three": ("T2", "TestJoining"),
    "sign_is_smaller": ("T2", "TestJoining"),
    "old_habit": ("T3", "TestJoining"),
    "accelerators_add": ("T7", "TestLeaving"),
    "text_was_never_right": ("T8", "TestLeaving"),
}

HABIT = Probe(
    "habit",
    ("T3", "T1"),
    {"en": "Are habits zeros?", "zh": "习惯是零吗？"},
    "habit.next()",
    "next(habit)",
    {"1.7.1": (True, "0"), "1.8.1": (None, ""), "2.0.1": (False, "None\x07")},
)

ENVIRONMENT = {
    "date": "2026-11-23T10:20:30+00:00",
    "torch": "2.15.0",
    "torchvision": "0.29.2",
    "numpy": "2.4.6",
    "python": "3.11.7",
    "platform": "Linux-6.18",
}


def outcome(name: str, device: str, state: str, reason: str = "") -> Outcome:
    """What came of a test, named with its parameters if it has any."""
    if name.startswith("shape_of_nothing"):
        return Outcome(f"test_2.py::TestBeside::test_{name}", "O1", device, state, reason)
    key, class_name = NODES[name.partition("[")[0]]
    return Outcome(f"spec/test_1.py::{class_name}::test_{name}", key, device, state, reason)


HELD = [
    outcome("sum_is_six[cpu-2]", "cpu", "held"),
    outcome("sum_is_six[cpu-a::b]", "cpu", "held"),
    outcome("shape_is_three[cpu]", "cpu", "held"),
    outcome("shape_is_three[meta]", "meta", "held"),
    outcome("sign_is_smaller", "no device", "held"),
    outcome("old_habit", "no device", "held"),
    outcome("accelerators_add[accelerator]", "accelerator", "not run", "needs accelerator: none"),
]


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> contents.Contents:
    folder = tmp_path_factory.mktemp("house") / "spec"
    folder.mkdir()
    files = {
        "contents.toml": CONTENTS,
        "test_1.py": TESTS,
        "test_2.py": OWN_TESTS,
        "bench_throughput.py": BENCHMARKS,
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    return contents.load(folder / "contents.toml")


@pytest.fixture
def run(table: contents.Contents, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Run]:
    """Makes a run of the small specification, on a machine that is always the same."""
    real = conformance.environment

    def environment(selection: Selection, images: str, threads: int) -> dict[str, Any]:
        return real(selection, images, threads) | ENVIRONMENT

    monkeypatch.setattr(conformance, "environment", environment)
    monkeypatch.setattr(gather, "cpu_name", lambda: "a cpu")
    paths = {place.file for place in table.places()}

    def made(outcomes: list[Outcome], failed: dict[str, str] | None = None, **other: Any) -> Any:
        results, failures = Results(), Failures()
        results._outcomes |= {outcome.node: outcome for outcome in outcomes}
        failures._texts |= failed or {}
        given: dict[str, Any] = {
            "contents": table,
            "sources": {file: file.read_text(encoding="utf-8") for file in paths},
            "selection": NO_GPU,
            "results": results,
            "failures": failures,
            "faults": [],
            "ending": ExitState(),
            "images": None,
            "threads": 2,
            "probes": [HABIT],
        }
        return Run(**given | other)

    return made


Made = Callable[..., Run]


def shown(run: Run, lang: str = "en", **said: dict[str, str]) -> Report:
    return gather.report(run, replace(texts.texts(lang), said=said))


def row(report: Report, test_id: str) -> TestRow:
    found = [
        test
        for page in report.pages
        for section in page.sections
        for claim in section.claims
        for test in claim.tests
    ]
    return next(row for row in found if row.id == test_id)


def claims(report: Report) -> dict[str, ClaimRow]:
    return {c.key: c for p in report.pages for section in p.sections for c in section.claims}


def states(row: TestRow) -> dict[str, str | None]:
    return {name: cell.state for name, cell in row.cells.items()}


CPU_COLUMN = Column("cpu", "cpu", "cpu")
META_COLUMN = Column("meta", "meta", "meta")


class TestHead:
    """The verdict, the machine and the counts."""

    def test_run_that_holds_is_told_with_its_machine(self, run: Made) -> None:
        report = shown(run(HELD))

        assert str(report.verdict) == "Passed: all 3 claims that were checked hold."
        assert report.good is True
        assert report.faults == []
        assert report.date == "2026-11-23T10:20:30+00:00"
        assert report.machine == [
            ("date", "2026-11-23 10:20:30 UTC"),
            ("versions", "torch 2.15.0, torchvision 0.29.2, NumPy 2.4.6, Python 3.11.7"),
            ("system", "Linux-6.18"),
            ("devices", "cpu (a cpu), meta"),
            ("no accelerator", "torch finds no accelerator on this machine"),
            ("threads", "2"),
            ("images", "made on the spot, no file, no network"),
        ]

    def test_machine_names_each_device_its_model_what_it_lacks_and_what_is_left_out(
        self, run: Made
    ) -> None:
        chosen = Selection(
            (
                Selected("cpu", "cpu", model="an old cpu"),
                Selected("cuda", "cuda:0", visible=3, model="a GPU"),
                Selected("xpu:1", "xpu:1", gaps={"float64": "no", "sparse": "none"}),
            ),
            unusable=("mps: died", "hpu: hung"),
            missing="mps: died",
        )

        report = shown(run(HELD, selection=chosen, images="/data/cifar", threads=4))

        assert report.machine[3:] == [
            ("devices", "cpu (an old cpu), cuda:0 to cuda:2 by turns (a GPU), xpu:1"),
            ("no accelerator", "mps: died"),
            ("left out", "hpu: hung"),
            ("unsupported on xpu:1", "float64, sparse"),
            ("threads", "4"),
            ("images", "/data/cifar"),
        ]

    def test_machine_with_an_accelerator_says_nothing_of_one_that_is_missing(
        self, run: Made
    ) -> None:
        report = shown(run(HELD, selection=Selection((CPU, Selected("cuda", "cuda:0")))))

        assert [name for name, _ in report.machine][3:] == ["devices", "threads", "images"]
        assert report.machine[3] == ("devices", "cpu (a cpu), cuda:0")

    def test_each_device_is_counted_with_the_reasons_the_most_frequent_first(
        self, run: Made
    ) -> None:
        outcomes = [
            outcome("sum_is_six[cpu-2]", "cpu", "unsupported", "once"),
            outcome("sum_is_six[cpu-3]", "cpu", "known gap", "twice"),
            outcome("shape_is_three[cpu-1]", "cpu", "known gap", "twice"),
            outcome("shape_is_three[cpu-2]", "cpu", "not run", "twice"),
            outcome("shape_is_three[cpu-3]", "cpu", "not run"),
            outcome("shape_is_three[cpu-4]", "cpu", "held", "said beside"),
            outcome("shape_is_three[meta]", "meta", "broken", "an error"),
            *HELD[4:],
        ]

        report = shown(run(outcomes), "zh")

        accelerator, none = Column("accelerator", "加速器", "加速器"), report.columns[3]
        counts = dict.fromkeys(rows.SIGNS, 0)
        needs = "需要 加速器：torch 在本机上没有找到加速器"
        assert report.counted == [
            Counted(
                CPU_COLUMN,
                counts | {"unsupported": 1, "known gap": 1},
                3,
                [
                    Reason("cpu", "known gap", "twice", 2),
                    Reason("cpu", "unsupported", "once", 1),
                    Reason("cpu", "not run", "twice", 1),
                ],
            ),
            Counted(
                accelerator, counts | {"not run": 1}, 0, [Reason("加速器", "not run", needs, 1)]
            ),
            Counted(META_COLUMN, counts | {"broken": 1}, 1, []),
            Counted(none, counts | {"held": 2}, 2, []),
        ]
        assert report.states == ["held", "broken", "unsupported", "known gap", "not run"]
        assert shown(run(HELD)).states == ["held", "broken", "unsupported", "not run"]

    @pytest.mark.parametrize(
        ("ending", "off"),
        [
            (ExitState(), False),
            (ExitState(2, broken_off=True), True),
        ],
        ids=["a part", "broken off"],
    )
    def test_notes_say_what_was_not_part_of_the_run(
        self, run: Made, ending: ExitState, off: bool
    ) -> None:
        part = (
            "The run was broken off. What was not reached is shown as not run."
            if off
            else "This run was of a part of the specification; the rest is shown as not run."
        )
        outcomes = [*HELD, outcome("shape_of_nothing[meta]", "meta", "held")]
        none = "0 claims ran on an accelerator: torch finds no accelerator on this machine"
        unreached = "claims of which no test was part of this run: "
        partly = "claims of which only some tests were part of this run: "
        rest = [outcome("text_was_never_right", "no device", "held")]

        def notes(outcomes: list[Outcome]) -> list[str]:
            return list(shown(run(outcomes, ending=ending)).notes)

        assert notes([*outcomes, *rest]) == [none]
        assert notes(outcomes) == [none, part, f"{unreached}1"]
        assert notes([*outcomes[3:], *rest]) == [none, part, f"{unreached}1", f"{partly}1"]
        assert notes([*outcomes[:4], *outcomes[5:], *rest]) == [none, part, f"{partly}1"]
        assert notes([]) == [none, part, f"{unreached}6"]

    def test_notes_of_a_machine_with_an_accelerator_do_not_say_that_none_ran(
        self, run: Made
    ) -> None:
        chosen = Selection((Selected("cuda", "cuda:0"),))

        assert shown(run([], selection=chosen), "zh").notes == [
            "本次只运行了规范的一部分，其余显示为未运行。",
            "没有任何测试在本次运行之内的论断：6 条",
        ]

    @pytest.mark.parametrize(
        ("outcomes", "faults", "code", "good"),
        [
            (HELD, (), 0, True),
            ([outcome("sum_is_six[cpu]", "cpu", "known gap")], (), 0, True),
            ([outcome("sum_is_six[cpu]", "cpu", "broken")], (), 1, False),
            (HELD, [Message("fault.idle", {"device": "cuda"})], 1, False),
            (HELD, (), 3, False),
            ([], (), 5, None),
        ],
        ids=["held", "gap", "broken", "fault", "otherwise", "nothing"],
    )
    def test_verdict_is_good_bad_or_open(
        self, run: Made, outcomes: list[Outcome], faults: Any, code: int, good: bool | None
    ) -> None:
        report = shown(run(outcomes, faults=faults, ending=ExitState(code)))

        assert report.good is good
        assert report.faults is faults
        assert (report.verdict.values.get("fault") is not None) == bool(faults)

    def test_claims_that_are_untrue_are_gathered_with_their_evidence(self, run: Made) -> None:
        report = shown(run(HELD))

        strips = claims(shown(run(HELD)))["T1"].strips
        assert report.untrue == [
            Untrue("T3", [row(report, "old_habit")], strips),
            Untrue("T8", [row(report, "text_was_never_right")], []),
        ]
        assert report.slips == [("T4", Said("A brace is missing."))]


class TestPages:
    """The chapters with their sections, claims and tests."""

    def test_chapter_without_a_section_has_no_address(
        self, run: Made, table: contents.Contents
    ) -> None:
        empty = contents.Contents((replace(table.pages[0], sections=()),), [])

        assert shown(run([], contents=empty)).pages == [
            PageRow("page-1", Said("Tensors"), "", False, [])
        ]

    def test_code_is_told_without_the_indent_of_its_class(self, run: Made) -> None:
        code = row(shown(run(HELD)), "sum_is_six").code

        assert code == (
            "<b>def</b> <dfn>test_sum_is_six</dfn>(self, n, device):\n"
            '    <i>"""The sum is six."""</i>\n'
            '    text = <i>"""\nleft\n"""</i>\n'
            "\n"
            "    <b>assert</b> torch.full((3,), n, device=device).sum() == 6"
        )

    def test_worst_of_its_cases_is_the_state_of_a_test_on_a_device(self, run: Made) -> None:
        outcomes = [
            outcome("sum_is_six[1]", "cpu", "held"),
            outcome("sum_is_six[2]", "cpu", "broken"),
            outcome("sum_is_six[3]", "cpu", "held"),
            outcome("shape_is_three[cpu-1]", "cpu", "known gap"),
            outcome("shape_is_three[cpu-2]", "cpu", "not run"),
            outcome("accelerators_add[cpu]", "cpu", "unsupported"),
        ]

        report = shown(run(outcomes))

        nowhere = {"cpu": None, "accelerator": None, "meta": None, "no device": None}
        assert states(row(report, "sum_is_six")) == nowhere | {"cpu": "broken"}
        assert states(row(report, "shape_is_three")) == nowhere | {
            "cpu": "known gap",
            "meta": "not run",
        }
        assert states(row(report, "accelerators_add")) == nowhere | {
            "cpu": "unsupported",
            "accelerator": "not run",
        }
        assert states(row(report, "sign_is_smaller")) == nowhere | {"no device": "not run"}
        assert [key for key, claim in claims(report).items() if claim.broken] == ["T1"]
        assert [(page.broken, page.first_broken) for page in report.pages] == [(1, "T1"), (0, "")]

    @pytest.mark.parametrize(
        ("selection", "came", "said"),
        [
            (NO_GPU, "accelerators_add", "需要 加速器：torch 在本机上没有找到加速器"),
            (Selection((CPU,)), "accelerators_add", "需要 加速器：所要求的设备都不合适"),
            (
                Selection((CPU,), missing="cuda: died"),
                "accelerators_add",
                "需要 加速器：cuda: died",
            ),
            (Selection((META,)), "sum_is_six", "需要 cpu 或 加速器：所要求的设备都不合适"),
            (Selection((CPU,)), "sum_is_six", "a red reason\ufffd"),
            (Selection((META,)), "old_habit", "a red reason\ufffd"),
        ],
        ids=[
            "no accelerator",
            "none asked for",
            "unusable",
            "one of two",
            "asked for",
            "no device",
        ],
    )
    def test_test_that_was_not_run_says_what_it_lacks(
        self, run: Made, selection: Selection, came: str, said: str
    ) -> None:
        device = {"accelerators_add": "accelerator", "sum_is_six": "cpu", "old_habit": "no device"}
        outcomes = [
            outcome(f"{came}[{n}]", device[came], "not run", "a \x1b[31mred\x1b[0m reason\x07")
            for n in range(2)
        ]

        report = shown(run(outcomes, selection=selection), "zh")

        label = {"accelerators_add": "加速器", "sum_is_six": "cpu", "old_habit": "不涉及设备"}
        assert row(report, came).reasons == [Reason(label[came], "not run", said, 2)]


class TestFailures:
    """The texts of tests that failed, and how much of them there is room for."""

    def broken(self, count: int, name: str = "sum_is_six") -> list[Outcome]:
        return [outcome(f"{name}[{n}]", "cpu", "broken", f"error {n}") for n in range(count)]

    def test_failure_names_device_and_case_and_says_what_the_test_left(self, run: Made) -> None:
        outcomes = [
            outcome("sum_is_six[cpu-<1>\x07]", "accelerator", "broken", "error \x00"),
            outcome("sum_is_six", "cpu", "broken", "in short"),
            outcome("old_habit", "no device", "held"),
        ]
        failed = {outcomes[1].node: "at length", outcomes[2].node: "nothing"}

        report = shown(run(outcomes, failed), "zh")

        assert row(report, "sum_is_six").failures == [
            Failure("加速器", "cpu-<1>\ufffd", "error \ufffd", 0),
            Failure("cpu", "", "at length", 0),
        ]
        assert row(report, "sum_is_six").more_failures == 0
        assert row(report, "old_habit").failures == []

    @pytest.mark.parametrize(
        ("broken", "kept", "more"),
        [(5, 5, 0), (6, 5, 1), (100, 5, 95), (101, 1, 100)],
    )
    def test_few_of_many_failures_are_shown(
        self, run: Made, broken: int, kept: int, more: int
    ) -> None:
        sums = row(shown(run(self.broken(broken))), "sum_is_six")

        assert [failure.text for failure in sums.failures] == [f"error {n}" for n in range(kept)]
        assert sums.more_failures == more

    def test_failures_of_many_tests_are_those_of_the_first(
        self, run: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(gather, "FAILING_SHOWN", 1)
        outcomes = [*self.broken(2), *self.broken(3, "shape_is_three"), *HELD[3:]]
        failed = {outcome.node: "0123456789" * 10 for outcome in outcomes}

        report = shown(run(outcomes, failed, room=100))

        first, second = row(report, "sum_is_six"), row(report, "shape_is_three")
        assert [failure.cut for failure in first.failures] == [50, 50]
        assert (first.more_failures, second.more_failures) == (0, 3)
        assert second.failures == []

    @pytest.mark.parametrize(("length", "cut"), [(7999, 0), (8000, 0), (8001, 1)])
    def test_long_text_loses_its_beginning(self, run: Made, length: int, cut: int) -> None:
        outcomes = self.broken(1)
        text = "".join(str(n % 10) for n in range(length))

        [failure] = row(shown(run(outcomes, {outcomes[0].node: text})), "sum_is_six").failures

        assert failure == Failure("cpu", "0", text[cut:], cut)

    def test_texts_share_the_room_that_there_is(self, run: Made) -> None:
        outcomes = [*self.broken(7), *self.broken(1, "shape_is_three"), *HELD[3:]]
        failed = {o.node: "0123456789" * 10 for o in outcomes}

        report = shown(run(outcomes, failed, room=125))

        failures = [*row(report, "sum_is_six").failures, *row(report, "shape_is_three").failures]
        assert [(failure.text, failure.cut) for failure in failures] == [("0123456789" * 2, 80)] * 6

    @pytest.mark.parametrize(
        ("text", "room", "kept"),
        [
            ("<" * 30, 20, 5),
            ("<" * 30, 19, 4),
            ("<" * 2 + "x" * 20, 20, 20),
            ("é" * 30, 20, 10),
            ("x" * 6 + "'" * 14, 20, 4),
            ("x", 0, 0),
        ],
    )
    def test_room_is_measured_in_the_bytes_of_the_page(
        self, run: Made, text: str, room: int, kept: int
    ) -> None:
        outcomes = self.broken(1)

        [failure] = row(
            shown(run(outcomes, {outcomes[0].node: text}, room=room)), "sum_is_six"
        ).failures

        cut = len(text) - kept
        assert (failure.text, failure.cut) == (text[cut:], cut)
        assert len(escape(failure.text).encode()) <= room
